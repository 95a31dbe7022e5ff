"""bfloat16, the upper half of a float32: rounding to it, the two forms in which a product reads its operands, and the
product, a block of NR x NR float32 sums at a time.

A product sums over k in pairs, two neighbouring values of k in 32 bits:

    left   rows x k     [k/NR][row][NR]         a row's values of k side by side
    right  k x rows     [rows/NR][k/2][NR][2]   a row's pair of k side by side, NR rows of the batch in the lanes

Read as 32-bit words, the right form of a matrix is the left form of its transpose, transposed block by block: so a
block of NR x NR floats is rounded into both forms at once, and what else is needed is a transposition of words. Rows
and k are padded to whole blocks with zeros.

    amx         four 16 x 16 tiles of sums, to each of which an instruction adds 32 products a sum (Intel 2023,
                Architecture Instruction Set Extensions reference, chapter 3)
    others      the register tile of fastff.kernels.tile, MR rows at a time, with a pair of products a lane

The order of summation differs between these, but never with the number of threads. Like Intel's and AMD's instructions,
which take subnormal numbers as zero, the emulation runs where the driver has set that mode.
"""

import numpy as np
from llvmlite import ir
from numba import types

from .compiler import kernel
from .cpu import BF16, LANES, MR, NR, VECTORS
from .emit import I8, I64, IVEC, VEC, address, cgutils, emits, i64, load_f32, store_f32
from .operation import Field, array, operation, rows_of
from .panels import GATHER_LANES, WEIGHTS, batch, padded, round_up, transpose_block
from .tile import accumulate, each

BLOCK = 2 * NR * NR  # bytes of a block in either form
SIDE = 16  # of an AMX tile: rows, and 32-bit words a row
# palette 1 with every tile SIDE rows of 64 bytes (Intel's reference, 3.2: rows' widths from byte 16, counts from 48)
TILES = bytes([1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8])


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not have."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _BFloat)

    def __hash__(self):
        return hash(_BFloat)


PAIRS = ir.VectorType(_BFloat(), 2 * LANES)
_SHORTS = ir.VectorType(ir.IntType(16), 2 * LANES)
_MIX = ir.VectorType(ir.IntType(32), 2 * LANES)  # of a shuffle's indices


def form_size(rows: int, columns: int) -> int:
    """The values of a matrix in either form; also of a product's float32 sums."""
    return round_up(rows, NR) * round_up(columns, NR)


def form(n_in: str, n_out: str | None = None, *, dtype: type = np.uint16, optional: bool = False) -> Field:
    """The field of an operation that is a matrix in either form: of two fields' sizes, or of a batch's rows."""

    def least(fields, rows):
        return form_size(fields[n_in], rows if n_out is None else fields[n_out])

    return array(dtype, least, optional=optional)


@kernel
def blocks(count):
    """How many blocks hold so many rows, features or lanes."""
    return (count + NR - 1) // NR


def _room(kind, vectors):
    """An intrinsic: room for so many vectors of NR on the stack of the function that it is written in."""

    @emits(address)
    def room(e):
        return e.b.ptrtoint(cgutils.alloca_once(e.b, ir.ArrayType(ir.VectorType(kind, NR), vectors)), I64)

    return room


blocks_of_floats = _room(ir.FloatType(), 2 * NR)  # two blocks of NR x NR
block_of_words = _room(ir.IntType(16), NR)  # a block in one form


def _round(e, v):
    """float32 vector -> words whose upper half is the nearest bfloat16, ties to even; a NaN stays one."""
    b, bits = e.b, e.b.bitcast(v, IVEC)
    odd = b.and_(b.lshr(bits, e.iconst(16)), e.iconst(1))
    rounded = b.add(b.add(bits, odd), e.iconst(0x7FFF))
    return b.select(b.fcmp_unordered("uno", v, v), b.or_(bits, e.iconst(1 << 22)), rounded)


def _both(e, first, second):
    """The vectors' bfloat16 one after the other, as 2 * LANES shorts."""
    if BF16 in ("amx", "avx512bf16"):
        return e.b.bitcast(e.llvm("llvm.x86.avx512bf16.cvtne2ps2bf16.512", PAIRS, second, first), _SHORTS)
    words = [e.b.bitcast(_round(e, v), _SHORTS) for v in (first, second)]
    return e.b.shuffle_vector(*words, ir.Constant(_MIX, [2 * i + 1 for i in range(2 * LANES)]))


@emits(types.void, address, address, i64, i64, address, address)
def _round_pair(e, first, second, lanes0, lanes1, left, right):
    """Two rows of NR floats to two rows of the left form and one of the right; lanes past lanes0 and lanes1 are 0."""
    b, count = e.b, ir.Constant(IVEC, list(range(LANES)))
    for j in range(VECTORS):
        rows = []
        for src, lanes in ((first, lanes0), (second, lanes1)):
            here = b.icmp_signed("<", count, e.splat(b.trunc(b.sub(lanes, I64(j * LANES)), IVEC.element)))
            rows.append(b.select(here, e.load(src, j * LANES), e.const(0.0)))
        shorts = _both(e, *rows)
        with b.if_then(b.icmp_signed("!=", left, I64(0))):
            for row in range(2):
                half = b.shuffle_vector(shorts, shorts, ir.Constant(IVEC, list(range(row * LANES, (row + 1) * LANES))))
                place = b.add(left, I64(2 * (row * NR + j * LANES)))
                b.store(half, b.inttoptr(place, half.type.as_pointer())).align = 2
        pairs = b.shuffle_vector(shorts, shorts, ir.Constant(_MIX, [i // 2 + i % 2 * LANES for i in range(2 * LANES)]))
        e.store(b.bitcast(pairs, VEC), right, j * LANES)


@kernel
def round_block(src, rows, lanes, left, right):
    """Both forms of a block of floats [NR][NR]; rows past `rows` and lanes past `lanes` are 0, and rows not read."""
    for i in range(0, NR, 2):
        at = src + 4 * NR * i if i < rows else src
        first, second = lanes if i < rows else 0, lanes if i + 1 < rows else 0
        to = left + 2 * NR * i if left != 0 else 0
        _round_pair(at, at + 4 * NR if second != 0 else at, first, second, to, right + 2 * NR * i)


@kernel
def transpose_words(src, rows, columns, dst):
    """dst [columns][rows] = src [rows][columns], of 32-bit words."""
    if rows % LANES == 0 and columns % LANES == 0:
        for i in range(0, rows, LANES):
            for j in range(0, columns, LANES):
                transpose_block(src + 4 * (i * columns + j), 4 * columns, dst + 4 * (j * rows + i), 4 * rows)
    else:
        for i in range(rows):
            for j in range(columns):
                store_f32(dst + 4 * (j * rows + i), load_f32(src + 4 * (i * columns + j)))


@kernel
def round_weight_block(w, left, left_t, n_in, n_out, r, q):
    """round_weights for the block of inputs r and outputs q."""
    in_blocks, out_blocks = blocks(n_in), blocks(n_out)
    words = block_of_words()
    to = left + BLOCK * (q * in_blocks + r) if left != 0 else 0
    src = w + 4 * NR * (q * padded(n_in) + r * NR)
    round_block(src, min(NR, n_in - r * NR), min(NR, n_out - q * NR), to, words)
    transpose_words(words, NR // 2, NR, left_t + BLOCK * (r * out_blocks + q))


@operation
def round_weights(
    w: WEIGHTS, left: form("n_in", "n_out", optional=True), left_t: form("n_in", "n_out"), n_in, n_out,
    /, thread, threads,
):  # fmt: skip
    """The left forms of W (in x out), which backward reads where there is one, and of its transpose, for forward."""
    in_blocks = blocks(n_in)
    for r in range(in_blocks * thread // threads, in_blocks * (thread + 1) // threads):
        for q in range(blocks(n_out)):
            round_weight_block(w, left, left_t, n_in, n_out, r, q)


@operation
def round_input(
    x: batch("features"), left: form("features"), right: form("features"), features, /, rows, thread, threads
):
    """The left form of a batch in panels (features x rows), for the update, and its right form, for forward."""
    many = blocks(features)
    for p in range(blocks(rows)):
        for f in range(many * thread // threads, many * (thread + 1) // threads):
            src = x + 4 * NR * (p * padded(features) + f * NR)
            to = BLOCK * (p * many + f)
            round_block(src, min(NR, features - f * NR), min(NR, rows - p * NR), left + to, right + to)


def _gather(dtype):
    gather_lanes = GATHER_LANES[dtype]

    def gather16(
        data: rows_of(dtype), row_stride, stride, mean: array(np.float64, "n_in"), scale: array(np.float32, "n_in"),
        n_in, left: form("n_in"), right: form("n_in"), places: array(np.int64, lambda _, rows: rows, optional=True),
        /, index, rows, thread, threads,
    ):  # fmt: skip
        """The gather of fastff.kernels.panels straight into both forms, as round_input would make them."""
        names = places if places != 0 else index
        many = blocks(n_in)
        # a block's last LANES features can begin before it: there is another block of room in front
        floats = blocks_of_floats() + 4 * NR * NR
        for p in range(blocks(rows)):
            for b in range(many * thread // threads, many * (thread + 1) // threads):
                for v in range(VECTORS):
                    first = p * NR + v * LANES
                    if first < rows:
                        dst, last = floats - 4 * NR * NR * b + 4 * LANES * v, min(LANES, rows - first) - 1
                        for f in range(b * VECTORS, min((b + 1) * VECTORS, (n_in + LANES - 1) // LANES)):
                            gather_lanes(data, row_stride, stride, names + 8 * first, last, mean, scale, n_in, f, dst)
                to = BLOCK * (p * many + b)
                round_block(floats, min(NR, n_in - b * NR), min(NR, rows - p * NR), left + to, right + to)

    gather16.__name__ += f"_{dtype.__name__}"
    return operation(gather16)


GATHER16 = {dtype: _gather(dtype) for dtype in GATHER_LANES}


@operation
def round_gradient(
    g: batch("features"), right: form("features"), right_t: form("features"), features, /, rows, thread, threads
):
    """The right form of a gradient in panels (features x rows), for backward, and of its transpose, for the update."""
    many, row_blocks = blocks(features), blocks(rows)
    words = block_of_words()
    for p in range(row_blocks):
        for f in range(many * thread // threads, many * (thread + 1) // threads):
            src = g + 4 * NR * (p * padded(features) + f * NR)
            to = right + BLOCK * (p * many + f)
            round_block(src, min(NR, features - f * NR), min(NR, rows - p * NR), words, to)
            transpose_words(words, NR, NR // 2, right_t + BLOCK * (f * row_blocks + p))


@operation
def round_columns(
    x: batch("features"), left: form("features"), right_t: form("features"), features, /, rows, thread, threads
):
    """The left form of a batch in panels (features x rows) and the right form of its transpose, for x x^T."""
    many, row_blocks = blocks(features), blocks(rows)
    words = block_of_words()
    for p in range(row_blocks):
        for f in range(many * thread // threads, many * (thread + 1) // threads):
            src = x + 4 * NR * (p * padded(features) + f * NR)
            to = left + BLOCK * (p * many + f)
            round_block(src, min(NR, features - f * NR), min(NR, rows - p * NR), to, words)
            transpose_words(to, NR, NR // 2, right_t + BLOCK * (f * row_blocks + p))


def _native(name, feature=None):
    def multiply(e, a, b, sums):
        if feature:
            e.need(feature)
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
    "neon": _native("llvm.aarch64.neon.bfdot.v4f32.v8bf16", "bf16"),
}.get(BF16, _emulated)


def _tile(e, name, tile, base, offset, stride):
    place = e.b.inttoptr(e.b.add(base, I64(offset)), I8.as_pointer())
    e.llvm(f"llvm.x86.tile{name}d64", ir.VoidType(), I8(tile), place, I64(stride))


def amx_block(e, k_blocks, a, a_jump, right, sums, again):
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

    def add(pa, pb):
        for i in range(2):
            _tile(e, "load", 4 + i, pa, 2 * NR * SIDE * i, 2 * NR)
            _tile(e, "load", 6 + i, pb, 4 * SIDE * i, 4 * NR)
        for i, j, tile, _ in halves:
            e.llvm("llvm.x86.tdpbf16ps", ir.VoidType(), I8(tile), I8(4 + i), I8(6 + j))
        return b.add(pa, a_jump), b.add(pb, I64(BLOCK))

    e.repeat(k_blocks, (a, right), add)
    for _, _, tile, offset in halves:
        _tile(e, "store", tile, sums, offset, 4 * NR)


def strip_of_product(e, k_blocks, a, a_jump, right, strip):
    """A tile of MR rows of a block's product, in registers: where products are those of the register tile."""
    b = e.b
    words, jump = b.mul(k_blocks, I64(NR // 2)), b.sub(a_jump, I64(4 * (NR // 2 - 1)))
    rows = b.add(a, b.mul(strip, I64(2 * NR * MR)))
    return accumulate(e, VECTORS, words, rows, right, jump, row=NR // 2, multiply=_MULTIPLY)


def _register_block(e, k_blocks, a, a_jump, right, sums, again):
    b = e.b
    with e.loop(NR // MR) as strip:
        out = b.add(sums, b.mul(strip, I64(4 * NR * MR)))
        tile = strip_of_product(e, k_blocks, a, a_jump, right, strip)
        with b.if_else(b.icmp_signed("!=", again, I64(0))) as (more, start):
            for branch, adds in ((more, True), (start, False)):
                with branch:
                    for _, _, o, v in each(tile):
                        e.store(b.fadd(v, e.load(out, o)) if adds else v, out, o)


@emits(types.void, i64, address, i64, address, address, i64)
def product_block(e, k_blocks, left, jump, right, sums, again):
    """sums [NR][NR] = (again: sums, else: 0) + left . right, over k_blocks >= 1 blocks of k.

    left: at the first of NR rows in the left form, whose blocks of k lie `jump` bytes apart. right: at a block of lanes
    in the right form.
    """
    (amx_block if BF16 == "amx" else _register_block)(e, k_blocks, left, jump, right, sums, again)


@emits(types.void, address)
def _configure(e, tiles):
    if BF16 == "amx":
        e.llvm("llvm.x86.ldtilecfg", ir.VoidType(), e.b.inttoptr(tiles, I8.as_pointer()))


@emits(types.void)
def _release(e):
    if BF16 == "amx":
        e.llvm("llvm.x86.tilerelease", ir.VoidType())


@operation
def begin_products(tiles: array(np.uint8, len(TILES)), /):
    """Set the thread up for products by AMX; tiles: TILES."""
    _configure(tiles)


@operation
def end_products():
    """Undo begin_products: what a thread has in its tiles must otherwise be saved whenever it is interrupted."""
    _release()
