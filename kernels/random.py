"""What is drawn at random, by counters: dropout of hidden values, and pictures mirrored and shifted.

Nothing has a state. What happens to a value or a picture is a function of (key, counters) alone, so it does not depend
on the threads, and a run that is resumed draws the same.
"""

import numpy as np
from llvmlite import ir
from numba import types

from .compiler import kernel
from .cpu import LANES, NR
from .emit import IVEC, address, emits, f32, i64, load_f32, load_i64, load_u8, store_f32, store_i64, store_u8
from .operation import array, operation, rows_of
from .optimizer import OFFSET
from .panels import batch, padded


@kernel
def hash32(x):
    """32 well mixed bits of a 32-bit counter (the finaliser of MurmurHash3)."""
    x = np.uint32(x)  # and again after each operation: Numba computes them in 64 bits
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ (x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


def _hash_vector(e, x):
    """hash32 of a vector of counters."""
    b = e.b
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = b.mul(b.xor(x, b.lshr(x, e.iconst(shift))), e.iconst(factor))
    return b.xor(x, b.lshr(x, e.iconst(16)))


@emits(types.void, address, address, i64, i64, i64, f32)
def _drop_values(e, y, x, base, row, threshold, scale):
    """One feature of a panel: NR values of the rows from `row` on."""
    b = e.b
    counters = ir.Constant(IVEC, list(range(LANES)))
    base, row, threshold = (e.splat(b.trunc(value, IVEC.element)) for value in (base, row, threshold))
    for j in range(NR // LANES):
        bits = _hash_vector(e, b.xor(base, b.add(row, b.add(counters, e.iconst(j * LANES)))))
        kept = b.fmul(e.load(x, j * LANES), e.splat(scale))
        e.store(b.select(b.icmp_unsigned(">=", bits, threshold), kept, e.const(0.0)), y, j * LANES)


@kernel
def _key(keys, epoch, number):
    """The key of a batch: each epoch has one of its own, from which its batches count on."""
    return np.uint32(load_i64(keys + 8 * epoch) + number)


@operation
def dropout(
    x: batch("features"), y: batch("features"), keys: array(np.int64), threshold, scale: array(np.float32), features,
    shared, /, rows, epoch, number, hyper, thread, threads,
):  # fmt: skip
    """y = 0 where hash(key, feature, row in the batch) < threshold, else x * scale: one mask for values and gradients.

    keys: one an epoch of the run. shared: whether the batch is shared with other processes, so that rows are counted
    from the step's OFFSET.
    """
    in_pad, key, factor = padded(features), hash32(_key(keys, epoch, number)), load_f32(scale)
    first = np.int64(load_f32(hyper + 4 * OFFSET)) if shared != 0 else 0
    for p in range((rows + NR - 1) // NR):
        for f in range(features * thread // threads, features * (thread + 1) // threads):
            at = 4 * NR * (p * in_pad + f)
            _drop_values(y + at, x + at, np.int64(hash32(key ^ np.uint32(f))), first + p * NR, threshold, factor)


@kernel
def _reflect(i, n):
    """The index of a line of n that is mirrored at both ends: -1 is 1 again, and n is n - 2."""
    i = -i if i < 0 else i
    return 2 * n - 2 - i if i >= n else i


@kernel
def _copy(itemsize, dst, src, count, step):
    """count elements of 1, 4 or 8 bytes one after the other from src, which goes up (step 1) or down (-1)."""
    if itemsize == 1:
        for i in range(count):
            store_u8(dst + i, load_u8(src + step * i))
    elif itemsize == 8:
        for i in range(count):
            store_i64(dst + 8 * i, load_i64(src + 8 * step * i))
    else:
        for i in range(count):
            store_f32(dst + 4 * i, load_f32(src + 4 * step * i))


def _pictures(fields, rows):
    return rows * fields["row_bytes"]


@operation
def augment(
    data: rows_of(np.uint8, np.float32, np.float64), row_stride, row_bytes, keys: array(np.int64),
    shape: array(np.int64, 5), out: array(np.uint8, _pictures),
    places: array(np.int64, lambda _, rows: rows, optional=True), /, index, rows, epoch, number, thread, threads,
):  # fmt: skip
    """out[i] = the picture data[index[i]], mirrored with probability 1/2 and shifted by up to `shift` pixels each way.

    The numbers in index decide what happens to a picture, also where `places` says where its row is. shape: channels,
    height, width, whether to mirror, shift (less than height and width). What a shift uncovers shows the picture
    reflected at its edge. out: the rows in the type that they have. A thread takes a share of the rows.
    """
    channels, height, width = load_i64(shape), load_i64(shape + 8), load_i64(shape + 16)
    mirror, shift = load_i64(shape + 24), load_i64(shape + 32)
    itemsize = row_bytes // (channels * height * width)
    key, names = hash32(_key(keys, epoch, number)), places if places != 0 else index
    for i in range(rows * thread // threads, rows * (thread + 1) // threads):
        place, sample = load_i64(names + 8 * i), load_i64(index + 8 * i)
        bits = np.int64(hash32(key ^ np.uint32(sample)))
        step = -1 if mirror != 0 and bits & 1 != 0 else 1
        dx = (bits >> 1) % (2 * shift + 1) - shift
        dy = (bits >> 12) % (2 * shift + 1) - shift
        # columns [lo, hi) of the result lie inside the picture; the few others are reflections
        lo, hi = max(0, -dx), min(width, width - dx)
        for line in range(channels * height):
            c, y = line // height, line % height
            src = data + place * row_stride + (c * height + _reflect(y + dy, height)) * width * itemsize
            dst = out + (i * channels * height + line) * width * itemsize
            for edge in range(lo + width - hi):
                x = edge if edge < lo else edge + hi - lo
                from_x = _reflect(x + dx, width)
                from_x = from_x if step > 0 else width - 1 - from_x
                _copy(itemsize, dst + x * itemsize, src + from_x * itemsize, 1, 1)
            start = lo + dx if step > 0 else width - 1 - (lo + dx)
            _copy(itemsize, dst + lo * itemsize, src + start * itemsize, hi - lo, step)
