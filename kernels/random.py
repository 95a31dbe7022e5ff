"""What is drawn at random, by counters: dropout of hidden values. fastff.kernels.pictures changes pictures with these.

Nothing has a state. What happens to a value or a picture is a function of (key, counters) alone, so it does not depend
on the threads, and a run that is resumed draws the same.
"""

import numpy as np
from llvmlite import ir
from numba import types

from .compiler import kernel
from .cpu import LANES, NR
from .emit import IVEC, address, emits, f32, i64, load_f32, load_i64
from .operation import array, operation
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
def batch_key(keys, epoch, number):
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
    in_pad, key, factor = padded(features), hash32(batch_key(keys, epoch, number)), load_f32(scale)
    first = np.int64(load_f32(hyper + 4 * OFFSET)) if shared != 0 else 0
    for p in range((rows + NR - 1) // NR):
        for f in range(features * thread // threads, features * (thread + 1) // threads):
            at = 4 * NR * (p * in_pad + f)
            _drop_values(y + at, x + at, np.int64(hash32(key ^ np.uint32(f))), first + p * NR, threshold, factor)
