"""Panels: how matrices lie in the kernels' memory, and the way there from rows and back.

    a batch, its activations and their gradients   [rows/NR][features, padded to MR][NR]
    weights, and the optimizer's moments alike     [out/NR][in, padded to MR][NR]
    a gradient transposed for dW                   [out/NR][rows][NR]

A panel holds NR values of one feature side by side, so that a vector has LANES rows of the batch and no sum crosses
the lanes of a vector. Padding is never summed: what it holds cannot reach a result.

The gather picks a batch's rows by an index, turns uint8, float32 or float64 into float32, normalises them
((x - mean) * scale) and transposes them, all in one pass in registers.
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import types

from .compiler import kernel
from .cpu import LANES, MR, NR
from .emit import F32, F64, I8, I64, VEC, address, emits, i64, load_f32, load_f64, load_i64, load_u8, store_f32
from .operation import Field, array, operation, rows_of

# --- geometry ---


@kernel
def vectors_in(count):
    """How many vectors of a panel the last `count` of something fill."""
    return (min(count, NR) + LANES - 1) // LANES


@kernel
def padded(features):
    """The rows of a panel that holds so many features: whole tiles."""
    return (features + MR - 1) // MR * MR


@kernel
def whole_panels(rows):
    """The rows of a transposed gradient: whole panels, as it is written a block of LANES at a time."""
    return (rows + NR - 1) // NR * NR


@kernel
def vector_offset(v, pad):
    """How many bytes into a batch of `pad` padded features vector v of its rows begins."""
    return 4 * (v * LANES // NR * pad * NR + v * LANES % NR)


@kernel
def takes(number, thread, threads):
    """Whether a thread takes piece `number` of work whose pieces get shorter and shorter: dealt out to and fro."""
    lap, place = number // threads, number % threads
    return place == (thread if lap % 2 == 0 else threads - 1 - thread)


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


@lru_cache(typed=True)  # asked for every array of every program
def batch_size(features: int, rows: int) -> int:
    """The values of a batch in panels; a transposition may touch LANES rows of a panel past the end."""
    return round_up(rows, NR) * round_up(features, NR) + NR * LANES


@lru_cache(typed=True)
def weights_size(n_in: int, n_out: int) -> int:
    """The values of weights in panels."""
    return round_up(n_in, MR) * round_up(n_out, NR)


def batch(features: str, *, optional: bool = False) -> Field:
    """The field of an operation that is a batch in panels; features: the field that says how many there are."""
    return array(np.float32, lambda fields, rows: batch_size(fields[features], rows), optional=optional)


# The fields of an operation that are weights, or a bias with one value an output; also their moments or gradient
WEIGHTS = array(np.float32, lambda fields, _: weights_size(fields["n_in"], fields["n_out"]))
# The sums of the products of features with each other, as weights lie
GRAM = array(np.float64, lambda fields, _: weights_size(fields["features"], fields["features"]))
BIAS = array(np.float32, lambda fields, _: round_up(fields["n_out"], NR))


# --- from rows and back ---


def _lanes_gatherer(kind, itemsize, load, convert=None):
    """A kernel: block f of LANES features of the rows index[:last + 1], at most LANES, to the panel at dst.

    The last block overlaps the one before rather than reading past a row's end, unless rows are too short for that.
    Without convert the rows are float64, and centred as such: a float32 could not tell 1.6e9 from 1.6e9 + 1.
    """
    wide = convert is None

    @emits(types.void, address, i64, address, i64, address, address, address)
    def gather_block(e, data, stride, index, last, mean, scale, dst):
        b, vec, vectors = e.b, ir.VectorType(kind, LANES), []
        for i in range(LANES):  # rows past `last` repeat it
            at = b.select(b.icmp_signed("<", last, I64(i)), last, I64(i))
            row = b.load(b.inttoptr(b.add(index, b.shl(at, I64(3))), I64.as_pointer()))
            v = b.load(b.inttoptr(b.add(data, b.mul(row, stride)), vec.as_pointer()))
            v.align = 1
            if wide:
                centre = b.load(b.inttoptr(mean, vec.as_pointer()))
                centre.align = 8
                v = b.fptrunc(b.fsub(v, centre), VEC)
            vectors.append(v if wide else convert(b, v))
        for i, centred in enumerate(e.transpose(vectors)):
            if not wide:
                centre = b.fptrunc(b.load(b.inttoptr(b.add(mean, I64(8 * i)), F64.as_pointer())), F32)
                centred = b.fsub(centred, e.splat(centre))
            e.store(b.fmul(centred, e.splat(e.load_scalar(scale, i))), dst, i * NR)

    @kernel
    def centred(at, mean):
        return types.float32(load(at) - mean) if wide else types.float32(load(at)) - types.float32(mean)

    @kernel
    def gather_lanes(data, row_stride, stride, index, last, mean, scale, n_in, f, dst):
        if stride == itemsize and n_in >= LANES:
            k = min(f * LANES, n_in - LANES)
            gather_block(data + k * itemsize, row_stride, index, last, mean + 8 * k, scale + 4 * k, dst + 4 * NR * k)
        else:
            for k in range(f * LANES, min(n_in, (f + 1) * LANES)):
                for i in range(LANES):
                    row = load_i64(index + 8 * min(i, last))
                    value = centred(data + row * row_stride + k * stride, load_f64(mean + 8 * k))
                    store_f32(dst + 4 * (NR * k + i), value * load_f32(scale + 4 * k))

    return gather_lanes


# By the type that rows hold, as it is compiled: a program uses one of them
GATHER_LANES = {
    np.uint8: _lanes_gatherer(I8, 1, load_u8, lambda b, v: b.uitofp(v, VEC)),
    np.float32: _lanes_gatherer(F32, 4, load_f32, lambda b, v: v),
    np.float64: _lanes_gatherer(F64, 8, load_f64),
}


def _gather(dtype):
    gather_lanes = GATHER_LANES[dtype]

    def gather(
        data: rows_of(dtype), row_stride, stride, mean: array(np.float64, "n_in"), scale: array(np.float32, "n_in"),
        n_in, x: batch("n_in"), places: array(np.int64, lambda _, rows: rows, optional=True),
        /, index, rows, thread, threads,
    ):  # fmt: skip
        """x = the rows of data that index names, or `places` instead of it, normalised, in panels. Strides in bytes."""
        names = places if places != 0 else index
        in_pad, blocks = padded(n_in), (n_in + LANES - 1) // LANES
        f_lo, f_hi = blocks * thread // threads, blocks * (thread + 1) // threads
        for v in range((rows + LANES - 1) // LANES):
            dst, last = x + vector_offset(v, in_pad), min(LANES, rows - v * LANES) - 1
            for f in range(f_lo, f_hi):
                gather_lanes(data, row_stride, stride, names + 8 * v * LANES, last, mean, scale, n_in, f, dst)

    gather.__name__ += f"_{dtype.__name__}"
    return operation(gather)


GATHER = {dtype: _gather(dtype) for dtype in GATHER_LANES}


@emits(types.void, address, i64, address, i64)
def transpose_block(e, src, src_row, dst, dst_row):
    """dst[j][i] = src[i][j] for LANES x LANES floats; the rows lie src_row and dst_row bytes apart."""
    b = e.b
    rows = [e.load(b.add(src, b.mul(src_row, I64(i)))) for i in range(LANES)]
    for i, v in enumerate(e.transpose(rows)):
        e.store(v, b.add(dst, b.mul(dst_row, I64(i))))


@operation
def scatter(x: batch("n_in"), n_in, out: array(np.float32), /, rows, first, thread, threads):
    """out (all rows, n_in), row-major float32, from the batch `first` rows on: the way back to NumPy."""
    out += 4 * first * n_in
    blocks = (n_in + LANES - 1) // LANES
    for v in range((rows + LANES - 1) // LANES):
        at, src = v * LANES, x + vector_offset(v, padded(n_in))
        valid = min(LANES, rows - at)
        for f in range(blocks * thread // threads, blocks * (thread + 1) // threads):
            k = f * LANES
            if valid == LANES and k + LANES <= n_in:
                transpose_block(src + 4 * NR * k, 4 * NR, out + 4 * (at * n_in + k), 4 * n_in)
            else:
                for j in range(k, min(n_in, k + LANES)):
                    for i in range(valid):
                        store_f32(out + 4 * ((at + i) * n_in + j), load_f32(src + 4 * (NR * j + i)))


@operation
def transpose(g: batch("n_out"), gt: batch("n_out"), n_out, /, rows, thread, threads):
    """gt [out/NR][rows][NR] from g [rows/NR][out][NR]: what makes a gradient the B operand of dW."""
    out_pad, row_pad, panels = padded(n_out), whole_panels(rows), (n_out + NR - 1) // NR
    for q in range(panels * thread // threads, panels * (thread + 1) // threads):
        for v in range((rows + LANES - 1) // LANES):
            first = v * LANES
            for u in range(vectors_in(n_out - q * NR)):
                src = g + 4 * NR * (first // NR * out_pad + q * NR + u * LANES) + 4 * (first % NR)
                transpose_block(src, 4 * NR, gt + 4 * NR * (q * row_pad + first) + 4 * u * LANES, 4 * NR)
