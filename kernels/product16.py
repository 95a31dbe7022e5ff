"""The product of two bfloat16 operands, a block of NR x NR float32 sums at a time, by whatever the CPU has for it.

    amx         four 16 x 16 tiles of sums, to each of which an instruction adds 32 products a sum (Intel 2023,
                Architecture Instruction Set Extensions reference, chapter 3)
    others      the register tile of fastff.kernels.tile, MR rows at a time, with a pair of products a lane

The order of summation differs between them, but never with the number of ranks. Like Intel's and AMD's instructions,
which take subnormal numbers as zero, the emulation runs where the kernels have set that mode.
"""

from llvmlite import ir
from numba import types

from .bfloat16 import BLOCK, PAIRS
from .target import BF16, MR, NR, VECTORS
from .tile import accumulate, each
from .vector import I8, I64, IVEC, VEC, address, emits, i64

SIDE = 16  # of an AMX tile: rows, and 32-bit words a row
# palette 1 with every tile SIDE rows of 64 bytes (Intel's reference, 3.2: rows' widths from byte 16, counts from 48)
TILES = bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8])


def _native(name):
    def multiply(e, a, b, sums):
        return e.llvm(name, VEC, sums, e.b.bitcast(a, PAIRS), e.b.bitcast(b, PAIRS))

    return multiply


def unpacked(e, v):
    """The two bfloat16 in each word of v, as float32 vectors."""
    words = e.b.bitcast(v, IVEC)
    low, high = e.b.shl(words, e.iconst(16)), e.b.and_(words, e.iconst(-65536))
    return [e.b.bitcast(low, VEC), e.b.bitcast(high, VEC)]


def _emulated(e, a, b, sums):
    for x, y in zip(unpacked(e, a), unpacked(e, b), strict=True):
        sums = e.fma(x, y, sums)
    return sums


_MULTIPLY = {
    "avx512bf16": _native("llvm.x86.avx512bf16.dpbf16ps.512"),
    "neon": _native("llvm.aarch64.neon.bfdot.v4f32.v8bf16"),
}.get(BF16, _emulated)


def _tile(e, name, tile, base, offset, stride):
    place = e.b.inttoptr(e.b.add(base, I64(offset)), I8.as_pointer())
    e.llvm(f"llvm.x86.tile{name}d64", ir.VoidType(), I8(tile), place, I64(stride))


def _amx_block(e, k_blocks, a, a_jump, right, sums, again):
    """Tiles 0..3 are the sums, 4 and 5 the halves of A's rows, 6 and 7 the halves of B's lanes."""
    b = e.b
    halves = [(i, j, 2 * i + j, 4 * NR * SIDE * i + 4 * SIDE * j) for i in range(2) for j in range(2)]
    with b.if_else(b.icmp_signed("!=", again, I64(0))) as (more, start):
        with more:
            for _, _, tile, offset in halves:
                _tile(e, "load", tile, sums, offset, 4 * NR)
        with start:
            for _, _, tile, _ in halves:
                e.llvm("llvm.x86.tilezero", ir.VoidType(), I8(tile))
    entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.done")
    b.branch(loop)
    b.position_at_end(loop)
    k, pa, pb = b.phi(I64), b.phi(I64), b.phi(I64)
    for i in range(2):
        _tile(e, "load", 4 + i, pa, 2 * NR * SIDE * i, 2 * NR)
        _tile(e, "load", 6 + i, pb, 4 * SIDE * i, 4 * NR)
    for i, j, tile, _ in halves:
        e.llvm("llvm.x86.tdpbf16ps", ir.VoidType(), I8(tile), I8(4 + i), I8(6 + j))
    k1 = b.sub(k, I64(1))
    for phi, first, step in ((k, k_blocks, None), (pa, a, a_jump), (pb, right, I64(BLOCK))):
        phi.add_incoming(first, entry)
        phi.add_incoming(k1 if step is None else b.add(phi, step), loop)
    b.cbranch(b.icmp_signed("!=", k1, I64(0)), loop, done)
    b.position_at_end(done)
    for _, _, tile, offset in halves:
        _tile(e, "store", tile, sums, offset, 4 * NR)


def _register_block(e, k_blocks, a, a_jump, right, sums, again):
    b = e.b
    words = b.mul(k_blocks, I64(NR // 2))
    jump = b.sub(a_jump, I64(4 * (NR // 2 - 1)))
    with e.loop(NR // MR) as strip:
        pa = b.add(a, b.mul(strip, I64(2 * NR * MR)))
        out = b.add(sums, b.mul(strip, I64(4 * NR * MR)))
        tile = accumulate(e, VECTORS, words, pa, right, side_by_side=False, jump=jump, row=NR // 2, multiply=_MULTIPLY)
        with b.if_else(b.icmp_signed("!=", again, I64(0))) as (more, start):
            with more:
                for _, _, o, v in each(tile):
                    e.store(b.fadd(v, e.load(out, o)), out, o)
            with start:
                for _, _, o, v in each(tile):
                    e.store(v, out, o)


@emits(types.void, i64, address, i64, address, address, i64)
def product_block(e, k_blocks, left, jump, right, sums, again):
    """sums [NR][NR] = (again: sums, else: 0) + left . right, over k_blocks >= 1 blocks of k.

    left: at the first of NR rows in the left form, whose blocks of k lie `jump` bytes apart. right: at a block of lanes
    in the right form.
    """
    (_amx_block if BF16 == "amx" else _register_block)(e, k_blocks, left, jump, right, sums, again)


@emits(types.void, address)
def begin_products(e, tiles):
    """Set this thread up for products; tiles is the address of TILES."""
    if BF16 == "amx":
        e.llvm("llvm.x86.ldtilecfg", ir.VoidType(), e.b.inttoptr(tiles, I8.as_pointer()))


@emits(types.void)
def end_products(e):
    """Undo begin_products: what a thread has in its tiles must otherwise be saved whenever it is interrupted."""
    if BF16 == "amx":
        e.llvm("llvm.x86.tilerelease", ir.VoidType())
