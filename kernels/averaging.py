"""Moving averages of the weights over the steps of training (Polyak & Juditsky 1992, "Acceleration of stochastic
approximation by averaging"): average += (1 - decay) * (weight - average), by one subtraction and one FMA each."""

import numpy as np
from numba import types

from .cpu import LANES
from .emit import I64, address, emits, i64
from .operation import array, operation
from .optimizer import APART


@emits(types.void, i64, address, address, address)
def _vectors(e, count, values, averages, hyper):
    share = e.splat(e.load_scalar(hyper, APART))
    with e.loop(count) as i:
        offset = e.b.mul(i, I64(4 * LANES))
        value, average = e.b.add(values, offset), e.b.add(averages, offset)
        old = e.load(average)
        e.store(e.fma(share, e.b.fsub(e.load(value), old), old), average)


@operation
def average(values: array(np.float32, "count"), averages: array(np.float32, "count"), count, /, hyper, thread, threads):
    """Move the averages of so many values, a multiple of LANES, towards them by the share APART of the difference."""
    vectors = count // LANES
    first, last = vectors * thread // threads, vectors * (thread + 1) // threads
    _vectors(last - first, values + 4 * LANES * first, averages + 4 * LANES * first, hyper)
