"""Between rows and lanes: a batch gathered from row-major data into panels [row/NR][feature][NR], and back.

The gather picks its rows by an index, turns uint8, float32 or float64 into float32, normalises ((x - mean) * scale) and
transposes, all in one pass in registers. Also the transposition of a gradient from [batch/NR][out][NR] to
[out/NR][batch][NR], which makes it the B operand of dW.
"""

from llvmlite import ir
from numba import types

from .compiler import kernel
from .linear import padded, vectors_in, whole_panels
from .target import LANES, NR
from .vector import F32, F64, I8, I64, VEC, address, emits, i64, load_f32, load_f64, load_i64, load_u8, store_f32

# What the rows hold; fastff/program.py maps NumPy's types to these
FLOAT32, UINT8, FLOAT64 = range(3)


def _block(kind, convert=None):
    """An intrinsic: LANES features of LANES indexed rows to lanes at dst. Rows past `last` repeat it.

    Without convert the rows are float64, and centred as such: a float32 could not tell 1.6e9 from 1.6e9 + 1.
    """

    @emits(types.void, address, i64, address, i64, address, address, address)
    def gather_block(e, data, stride, index, last, mean, scale, dst):
        b, vec, vectors = e.b, ir.VectorType(kind, LANES), []
        for i in range(LANES):
            at = b.select(b.icmp_signed("<", last, I64(i)), last, I64(i))
            row = b.load(b.inttoptr(b.add(index, b.shl(at, I64(3))), I64.as_pointer()))
            p = b.inttoptr(b.add(data, b.mul(row, stride)), vec.as_pointer())
            v = b.load(p)
            v.align = 1
            if convert is None:
                centre = b.load(b.inttoptr(mean, vec.as_pointer()))
                centre.align = 8
                v = b.fptrunc(b.fsub(v, centre), VEC)
            vectors.append(convert(b, v) if convert else v)
        for i, centred in enumerate(e.transpose(vectors)):
            if convert:
                centre = b.fptrunc(b.load(b.inttoptr(b.add(mean, I64(8 * i)), F64.as_pointer())), F32)
                centred = b.fsub(centred, e.splat(centre))
            e.store(b.fmul(centred, e.splat(e.load_scalar(scale, i))), dst, i * NR)

    return gather_block


_gather_f32 = _block(F32, lambda b, v: v)
_gather_u8 = _block(I8, lambda b, v: b.uitofp(v, VEC))
_gather_f64 = _block(F64)


@emits(types.void, address, i64, address, i64)
def transpose_block(e, src, src_row, dst, dst_row):
    """dst[j][i] = src[i][j] for LANES x LANES floats; the rows lie src_row and dst_row bytes apart."""
    b = e.b
    rows = [e.load(b.add(src, b.mul(src_row, I64(i)))) for i in range(LANES)]
    for i, v in enumerate(e.transpose(rows)):
        e.store(v, b.add(dst, b.mul(dst_row, I64(i))))


@kernel
def _centred(data, dtype, mean):
    if dtype == FLOAT64:
        return types.float32(load_f64(data) - mean)
    return (types.float32(load_u8(data)) if dtype == UINT8 else load_f32(data)) - types.float32(mean)


@kernel
def gather_lanes(data, dtype, row_stride, stride, index, last, mean, scale, n_in, f, dst):
    """Block f of LANES features of the rows index[:last + 1], at most LANES, to the lanes at dst + 4 * NR * feature.

    The last block overlaps the one before rather than reading past a row's end, unless rows are too short for that.
    """
    itemsize = 1 if dtype == UINT8 else (8 if dtype == FLOAT64 else 4)
    if stride == itemsize and n_in >= LANES:
        k = min(f * LANES, n_in - LANES)
        src, to = data + k * itemsize, dst + 4 * NR * k
        if dtype == UINT8:
            _gather_u8(src, row_stride, index, last, mean + 8 * k, scale + 4 * k, to)
        elif dtype == FLOAT32:
            _gather_f32(src, row_stride, index, last, mean + 8 * k, scale + 4 * k, to)
        else:
            _gather_f64(src, row_stride, index, last, mean + 8 * k, scale + 4 * k, to)
    else:
        for k in range(f * LANES, min(n_in, (f + 1) * LANES)):
            for i in range(LANES):
                row = load_i64(index + 8 * min(i, last))
                value = _centred(data + row * row_stride + k * stride, dtype, load_f64(mean + 8 * k))
                store_f32(dst + 4 * (NR * k + i), value * load_f32(scale + 4 * k))


@kernel
def gather(data, dtype, row_stride, stride, index, rows, mean, scale, n_in, x, rank, size):
    """x = the rows index[:rows] of data, normalised, in lanes. mean: float64, scale: float32; strides in bytes."""
    in_pad = padded(n_in)
    blocks = (n_in + LANES - 1) // LANES
    f_lo, f_hi = blocks * rank // size, blocks * (rank + 1) // size
    for v in range((rows + LANES - 1) // LANES):
        first = v * LANES
        dst = x + 4 * (first // NR * in_pad * NR + first % NR)
        last = min(LANES, rows - first) - 1
        for f in range(f_lo, f_hi):
            gather_lanes(data, dtype, row_stride, stride, index + 8 * first, last, mean, scale, n_in, f, dst)


@kernel
def scatter(x, n_in, rows, out, rank, size):
    """out (rows, n_in), row-major float32, from lanes: the way back to NumPy."""
    in_pad = padded(n_in)
    for v in range((rows + LANES - 1) // LANES):
        first = v * LANES
        src = x + 4 * (first // NR * in_pad * NR + first % NR)
        valid = min(LANES, rows - first)
        blocks = (n_in + LANES - 1) // LANES
        for f in range(blocks * rank // size, blocks * (rank + 1) // size):
            k = f * LANES
            if valid == LANES and k + LANES <= n_in:
                transpose_block(src + 4 * NR * k, 4 * NR, out + 4 * (first * n_in + k), 4 * n_in)
            else:
                for j in range(k, min(n_in, k + LANES)):
                    for i in range(valid):
                        store_f32(out + 4 * ((first + i) * n_in + j), load_f32(src + 4 * (NR * j + i)))


@kernel
def transpose_gradient(g, gt, n_out, rows, rank, size):
    """gt [out/NR][batch][NR] from g [batch/NR][out][NR]."""
    out_pad, row_pad, panels = padded(n_out), whole_panels(rows), (n_out + NR - 1) // NR
    for q in range(panels * rank // size, panels * (rank + 1) // size):
        for v in range((rows + LANES - 1) // LANES):
            first = v * LANES
            for u in range(vectors_in(n_out - q * NR)):
                src = g + 4 * NR * (first // NR * out_pad + q * NR + u * LANES) + 4 * (first % NR)
                transpose_block(src, 4 * NR, gt + 4 * NR * (q * row_pad + first) + 4 * u * LANES, 4 * NR)
