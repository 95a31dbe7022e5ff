"""Words for writing vector code: float32 vectors of LANES in LLVM IR, and memory by address.

Kernels take memory as int64 addresses (array.ctypes.data), so that one compiled function serves arrays of every size
and an operation is a row of integers. An `Emitter` wraps llvmlite's IR builder with the few operations the tiles
need; the intrinsics at the end give Numba code scalar loads, stores and atomics on addresses.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu import ARCHITECTURE, BF16, FEATURES, FMA, ISA, LANES

F32, F64, I8, I32, I64 = ir.FloatType(), ir.DoubleType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
VEC = ir.VectorType(F32, LANES)
IVEC = ir.VectorType(I32, LANES)
# Whether roots and quotients are refined from estimates where they may: with AMX, other units than those multiply
ESTIMATES = BF16 == "amx"
address, f32, f64, i64 = types.int64, types.float32, types.float64, types.int64


class Emitter:
    """Vector operations on an IR builder. Offsets count floats; addresses are integers."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.b = builder

    def llvm(self, name: str, result: ir.Type, *args: ir.Value) -> ir.Value:
        kind = ir.FunctionType(result, [a.type for a in args])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, kind, name), args)

    def const(self, x: float) -> ir.Constant:
        return ir.Constant(VEC, [x] * LANES)

    def iconst(self, x: int) -> ir.Constant:
        return ir.Constant(IVEC, [x] * LANES)

    def need(self, feature: str) -> None:
        """Have the function that is written compiled for a CPU with this feature besides those that LLVM knows of."""
        names = [f"{'+' if on else '-'}{name}" for name, on in {**FEATURES, feature: True}.items()]
        # past llvmlite's own `add`, which knows no attribute with a value
        set.add(self.b.function.attributes, f'"target-features"="{",".join(names)}"')

    def splat(self, scalar: ir.Value) -> ir.Value:
        if ARCHITECTURE == "arm" and scalar.type == F32:
            # Nothing, in assembly: LLVM would load and repeat a number by one instruction (ld1r), which takes a turn of
            # the pipes that multiply, while a multiplication takes one lane of a register as it is.
            scalar = self.b.asm(ir.FunctionType(F32, [F32]), "", "=w,0", [scalar], side_effect=False)
        kind = ir.VectorType(scalar.type, LANES)
        v = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
        return self.b.shuffle_vector(v, ir.Constant(kind, ir.Undefined), ir.Constant(IVEC, [0] * LANES))

    def at(self, base: ir.Value, floats: int | ir.Value) -> ir.Value:
        """The address `floats` floats past base."""
        offset = I64(4 * floats) if isinstance(floats, int) else self.b.shl(floats, I64(2))
        return self.b.add(base, offset)

    def _pointer(self, base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
        # gep on the pointer, not integer arithmetic: LLVM folds it into the addressing mode of the load
        p = self.b.inttoptr(base, I8.as_pointer())
        return self.b.bitcast(self.b.gep(p, [I64(4 * offset)]), kind.as_pointer())

    def load(self, base: ir.Value, offset: int = 0) -> ir.Value:
        v = self.b.load(self._pointer(base, offset, VEC))
        v.align = 4
        return v

    def store(self, v: ir.Value, base: ir.Value, offset: int = 0) -> None:
        self.b.store(v, self._pointer(base, offset, VEC)).align = 4

    def add_doubles(self, v: ir.Value, base: ir.Value, offset: int = 0) -> None:
        """Add a vector of floats to as many doubles, which begin `offset` doubles past base."""
        kind = ir.VectorType(F64, LANES)
        place = self._pointer(base, 2 * offset, kind)
        sums = self.b.load(place)
        sums.align = 8
        self.b.store(self.b.fadd(sums, self.b.fpext(v, kind)), place).align = 8

    def load_scalar(self, base: ir.Value, offset: int = 0) -> ir.Value:
        return self.b.load(self._pointer(base, offset, F32))

    def spread(self, base: ir.Value, count: int, apart: int = 1) -> Iterator[ir.Value]:
        """Vectors of `count` numbers, each in all lanes, that lie so many floats apart."""
        if ISA == "neon" and apart == 1 and count == LANES:  # a multiplication takes any lane of a register
            v = self.load(base)
            for i in range(LANES):
                yield self.b.shuffle_vector(v, v, ir.Constant(IVEC, [i] * LANES))
            return
        for i in range(count):
            yield self.splat(self.load_scalar(base, i * apart))

    def prefetch(self, base: ir.Value, offset: int) -> None:
        """Fetch what will be read and written there."""
        self.llvm("llvm.prefetch.p0", ir.VoidType(), self._pointer(base, offset, I8), I32(1), I32(3), I32(1))

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return self.llvm(f"{FMA}.v{LANES}f32", VEC, x, y, z)

    def sqrt(self, x: ir.Value) -> ir.Value:
        return self.llvm(f"llvm.sqrt.v{LANES}f32", VEC, x)

    def root(self, x: ir.Value) -> ir.Value:
        """sqrt(x) for x >= 0, refined from an estimate where there is one; NaN for infinity.

        One step of Newton's method squares the estimate's relative error, 2^-14: 1.5 * 2^-28 and three roundings.
        """
        if not ESTIMATES:
            return self.sqrt(x)
        b, tiny = self.b, self.const(2.0**-126)  # for 0: an infinite estimate would make it NaN
        at = self.select("<", x, tiny, tiny, x)
        y = self._estimate("rsqrt14", at)
        guess = b.fmul(x, y)
        error = self.fma(b.fneg(b.fmul(at, y)), y, self.const(1.0))
        return self.fma(b.fmul(guess, self.const(0.5)), error, guess)

    def inverse(self, x: ir.Value) -> ir.Value:
        """1 / x for x > 0, refined from an estimate where there is one; NaN for infinity."""
        if not ESTIMATES:
            return self.b.fdiv(self.const(1.0), x)
        y = self._estimate("rcp14", x)
        return self.fma(y, self.fma(self.b.fneg(x), y, self.const(1.0)), y)

    def _estimate(self, name: str, x: ir.Value) -> ir.Value:
        return self.llvm(f"llvm.x86.avx512.{name}.ps.512", VEC, x, self.const(0.0), ir.Constant(ir.IntType(16), -1))

    def select(self, op: str, x: ir.Value, y: ir.Value, yes: ir.Value, no: ir.Value) -> ir.Value:
        """yes where `x op y` holds and both are numbers, else no."""
        return self.b.select(self.b.fcmp_ordered(op, x, y), yes, no)

    @contextmanager
    def loop(self, count: int | ir.Value) -> Iterator[ir.Value]:
        """What is emitted inside runs for the index 0, 1, ... count - 1."""
        with cgutils.for_range(self.b, I64(count) if isinstance(count, int) else count, intp=I64) as loop:
            yield loop.index

    def repeat(self, count: ir.Value, start: Sequence[ir.Value], body: Callable[..., Sequence[ir.Value]]) -> Any:
        """What body(*values) gives in the end, called count >= 1 times: first on start, then on what it gave before."""
        b = self.b
        entry, loop, done = b.block, b.append_basic_block("repeat"), b.append_basic_block("repeat.done")
        b.branch(loop)
        b.position_at_end(loop)
        phis = [b.phi(value.type) for value in (count, *start)]
        values = body(*phis[1:])
        left = b.sub(phis[0], I64(1))
        for phi, first, again in zip(phis, (count, *start), (left, *values), strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(again, b.block)
        b.cbranch(b.icmp_signed("!=", left, I64(0)), loop, done)
        b.position_at_end(done)
        return values

    def transpose(self, rows: list[ir.Value]) -> list[ir.Value]:
        """LANES vectors of LANES floats, transposed in registers by log2(LANES) rounds of shuffles."""
        s = 1
        while s < LANES:
            new = list(rows)
            low = [k if not k & s else LANES + (k ^ s) for k in range(LANES)]
            high = [(k ^ s) if not k & s else LANES + k for k in range(LANES)]
            for i in range(LANES):
                if not i & s:
                    for row, pick in ((i, low), (i | s, high)):
                        new[row] = self.b.shuffle_vector(rows[i], rows[i | s], ir.Constant(IVEC, pick))
            rows, s = new, s * 2
        return rows


def emits(result: types.Type, *args: types.Type) -> Callable[[Callable[..., Any]], Any]:
    """Turn `generate(e, *values)` into a Numba intrinsic of this signature; a void one need not return."""

    def wrap(generate):
        def typed(context, *_):
            def codegen(ctx, builder, signature, values):
                value = generate(Emitter(builder), *values)
                return ctx.get_dummy_value() if value is None else value

            return result(*args), codegen

        # Numba reads the parameters' names from the function it is given, so it needs as many of them
        names = [f"a{i}" for i in range(len(args))]
        scope = {"typed": typed}
        exec(f"def {generate.__name__}(context, {', '.join(names)}): return typed(context)", scope)
        return intrinsic(scope[generate.__name__])

    return wrap


def _access(name, kind, numba_kind):
    """Two intrinsics: load a number from an address, and store one there."""

    def load(e, base):
        return e.b.load(e.b.inttoptr(base, kind.as_pointer()))

    def store(e, base, value):
        e.b.store(value, e.b.inttoptr(base, kind.as_pointer()))

    load.__name__, store.__name__ = f"load_{name}", f"store_{name}"
    return emits(numba_kind, address)(load), emits(types.void, address, numba_kind)(store)


load_f32, store_f32 = _access("f32", F32, f32)
load_f64, store_f64 = _access("f64", F64, f64)
load_i64, store_i64 = _access("i64", I64, i64)
load_i32, store_i32 = _access("i32", I32, types.int32)
load_u8, store_u8 = _access("u8", I8, types.uint8)


@emits(i64, address, i64)
def atomic_add(e, base, value):
    return e.b.atomic_rmw("add", e.b.inttoptr(base, I64.as_pointer()), value, "seq_cst")


@emits(i64, address)
def atomic_load(e, base):
    return e.b.load_atomic(e.b.inttoptr(base, I64.as_pointer()), "seq_cst", 8)


@emits(types.void, address, i64)
def atomic_store(e, base, value):
    e.b.store_atomic(value, e.b.inttoptr(base, I64.as_pointer()), "seq_cst", 8)


@emits(i64)
def ticks(e):
    """A clock's count, of any unit; always 0 where there is none that programs may read."""
    if ARCHITECTURE == "x86":
        return e.llvm("llvm.readcyclecounter", I64)
    if ARCHITECTURE == "arm":  # where llvm.readcyclecounter would read what Linux and macOS forbid
        register = e.b.module.add_metadata([ir.MetaDataString(e.b.module, "cntvct_el0")])
        return e.llvm("llvm.read_volatile_register.i64", I64, register)
    return I64(0)


@emits(types.void)
def spin_pause(e):
    """Let the core rest for some 40 cycles of a waiting loop.

    Arm's `yield` does nothing on most cores; `isb` takes about as long as x86's `pause` (rust-lang/rust#84725).
    """
    if ARCHITECTURE == "x86":
        e.llvm("llvm.x86.sse2.pause", ir.VoidType())
    elif ARCHITECTURE == "arm":
        e.llvm("llvm.aarch64.isb", ir.VoidType(), I32(15))


_X86_FLUSH = 0x8040  # MXCSR: flush results to zero, and take operands as zero
_ARM_FLUSH = 1 << 24  # FPCR: both


@emits(i64)
def flush_subnormals(e):
    """Have this thread take numbers below the smallest normal one as zero; returns the mode to restore."""
    if ARCHITECTURE == "x86":
        mode = e.b.zext(_mxcsr(e), I64)
        _set_mxcsr(e, e.b.or_(mode, I64(_X86_FLUSH)))
    elif ARCHITECTURE == "arm":
        mode = e.llvm("llvm.aarch64.get.fpcr", I64)
        e.llvm("llvm.aarch64.set.fpcr", ir.VoidType(), e.b.or_(mode, I64(_ARM_FLUSH)))
    else:
        mode = I64(0)
    return mode


@emits(types.void, i64)
def restore_subnormals(e, mode):
    """Put the thread back into the mode it was in: the setting is every library's in it."""
    if ARCHITECTURE == "x86":
        _set_mxcsr(e, mode)
    elif ARCHITECTURE == "arm":
        e.llvm("llvm.aarch64.set.fpcr", ir.VoidType(), mode)


def _mxcsr(e):
    place = cgutils.alloca_once(e.b, I32)
    e.llvm("llvm.x86.sse.stmxcsr", ir.VoidType(), e.b.bitcast(place, I8.as_pointer()))
    return e.b.load(place)


def _set_mxcsr(e, mode):
    place = cgutils.alloca_once(e.b, I32)
    e.b.store(e.b.trunc(mode, I32), place)
    e.llvm("llvm.x86.sse.ldmxcsr", ir.VoidType(), e.b.bitcast(place, I8.as_pointer()))
