"""bfloat16: the upper half of a float32. Rounding to it, and the two forms in which a product reads its operands.

A product sums over k in pairs, two neighbouring values of k in 32 bits:

    left   rows x k     [k/NR][row][NR]         a row's values of k side by side
    right  k x lanes    [lanes/NR][k/2][NR][2]  a lane's pair of k side by side

Read as 32-bit words, the right form of a matrix is the left form of its transpose, transposed block by block: so a
block of NR x NR floats is rounded into both forms at once, and what else is needed is a transposition of words. Rows,
k and lanes are padded to whole blocks with zeros.
"""

from llvmlite import ir
from numba import types

from .compiler import kernel
from .lanes import gather_lanes, transpose_block
from .linear import padded as floats_padded
from .target import BF16, LANES, NR, VECTORS
from .vector import I64, IVEC, VEC, address, cgutils, emits, i64, load_f32, store_f32

BLOCK = 2 * NR * NR  # bytes of a block in either form


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


@kernel
def blocks(count):
    """How many blocks hold so many rows, features or lanes."""
    return (count + NR - 1) // NR


@emits(address)
def blocks_of_floats(e):
    """Room for two blocks of NR x NR floats on the stack of the function that this is written in."""
    kind = ir.ArrayType(ir.VectorType(ir.FloatType(), NR), 2 * NR)
    return e.b.ptrtoint(cgutils.alloca_once(e.b, kind), I64)


@emits(address)
def block_of_words(e):
    """Room for a block in one form, on the stack."""
    kind = ir.ArrayType(ir.VectorType(ir.IntType(16), NR), NR)
    return e.b.ptrtoint(cgutils.alloca_once(e.b, kind), I64)


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
        _round_pair(at, at + 4 * NR if second != 0 else at, first, second, left + 2 * NR * i, right + 2 * NR * i)


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
def round_weights(w, left, left_t, n_in, n_out, rank, size):
    """The left forms of W (in x out), which backward reads, unless left is 0, and of its transpose, for forward."""
    in_blocks = blocks(n_in)
    for r in range(in_blocks * rank // size, in_blocks * (rank + 1) // size):
        for q in range(blocks(n_out)):
            round_weight_block(w, left, left_t, n_in, n_out, r, q)


@kernel
def round_weight_block(w, left, left_t, n_in, n_out, r, q):
    """round_weights for the block of inputs r and outputs q."""
    in_blocks, out_blocks = blocks(n_in), blocks(n_out)
    words = block_of_words()
    to = left + BLOCK * (q * in_blocks + r) if left != 0 else left_t + BLOCK * (r * out_blocks + q)
    src = w + 4 * NR * (q * floats_padded(n_in) + r * NR)
    round_block(src, min(NR, n_in - r * NR), min(NR, n_out - q * NR), to, words)
    transpose_words(words, NR // 2, NR, left_t + BLOCK * (r * out_blocks + q))


@kernel
def round_input(x, left, right, features, rows, rank, size):
    """The left form of a batch in lanes (features x rows), for the update, and its right form, for forward."""
    many = blocks(features)
    for p in range(blocks(rows)):
        for f in range(many * rank // size, many * (rank + 1) // size):
            src = x + 4 * NR * (p * floats_padded(features) + f * NR)
            to = BLOCK * (p * many + f)
            round_block(src, min(NR, features - f * NR), min(NR, rows - p * NR), left + to, right + to)


@kernel
def gather(data, dtype, row_stride, stride, index, rows, mean, scale, n_in, left, right, rank, size):
    """The gather of fastff.kernels.lanes straight into both forms, as round_input would make them."""
    many = blocks(n_in)
    # a block's last LANES features can begin before it: there is another block of room in front
    floats = blocks_of_floats() + 4 * NR * NR
    for p in range(blocks(rows)):
        for b in range(many * rank // size, many * (rank + 1) // size):
            for v in range(VECTORS):
                first = p * NR + v * LANES
                if first < rows:
                    dst, last = floats - 4 * NR * NR * b + 4 * LANES * v, min(LANES, rows - first) - 1
                    for f in range(b * VECTORS, min((b + 1) * VECTORS, (n_in + LANES - 1) // LANES)):
                        gather_lanes(
                            data, dtype, row_stride, stride, index + 8 * first, last, mean, scale, n_in, f, dst
                        )
            to = BLOCK * (p * many + b)
            round_block(floats, min(NR, n_in - b * NR), min(NR, rows - p * NR), left + to, right + to)


@kernel
def round_gradient(g, right, right_t, features, rows, rank, size):
    """The right form of a gradient in lanes (features x rows), for backward, and of its transpose, for the update."""
    many, row_blocks = blocks(features), blocks(rows)
    words = block_of_words()
    for p in range(row_blocks):
        for f in range(many * rank // size, many * (rank + 1) // size):
            src = g + 4 * NR * (p * floats_padded(features) + f * NR)
            to = right + BLOCK * (p * many + f)
            round_block(src, min(NR, features - f * NR), min(NR, rows - p * NR), words, to)
            transpose_words(words, NR, NR // 2, right_t + BLOCK * (f * row_blocks + p))
