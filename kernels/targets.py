"""Losses against a target for each output: squared error, logistic and Poisson, with their gradients, on lanes.

With z the network's output, t the target and w the row's weight, summed over the outputs of a row:

    SQUARED   (z - t)^2 / 2                      gradient w (z - t) / W
    LOGISTIC  log(1 + e^z) - t z                 gradient w (sigmoid(z) - t) / W     t in [0, 1], each output by itself
    POISSON   e^z - t z                          gradient w (e^z - t) / W            t >= 0; but for t log t - t

W is the sum of the batch's weights. log(1 + e^z) = max(z, 0) + log(1 + e^-|z|) is finite for every z, and of the second
terms the product is taken first, so that a row takes one logarithm. Sums of loss are float64.
"""

import numpy as np
from numba import types
from numba.core import cgutils

from .compiler import kernel
from .linear import padded
from .pointwise import exp, magnitude, sigmoid
from .softmax import RESULT, SLOTS, lane_weights, weight_scale
from .target import LANES, NR
from .vector import address, emits, f32, i64, load_f32, store_f64, store_i64

SQUARED, LOGISTIC, POISSON = range(3)
LINEAR, PRODUCT = range(2)  # what target_vector leaves for the loss: log(PRODUCT) + LINEAR
GROUP = 64  # outputs of a row whose product fits float32: each factor is at most 2
HIGHEST = 88.0  # e^z of more is beyond float32


@emits(types.void, i64, address, address, address, i64, address, f32, address)
def target_vector(e, kind, z, g, t, outputs, weights, scale, out):
    """LANES rows of up to GROUP outputs: the gradient to g, and LINEAR and PRODUCT to out."""
    b, zero, one = e.b, e.const(0.0), e.const(1.0)
    factor = b.fmul(e.load(weights), e.splat(scale))
    for slot, start in ((LINEAR, zero), (PRODUCT, one)):
        e.store(start, out, slot * LANES)

    def squared(z, t):
        error = b.fsub(z, t)
        return error, b.fmul(b.fmul(error, e.const(0.5)), error), one

    def logistic(z, t):
        positive = e.select(">", zero, z, zero, z)  # a NaN stays one
        return b.fsub(sigmoid(e, z), t), e.fma(b.fneg(t), z, positive), b.fadd(one, exp(e, b.fneg(magnitude(e, z))))

    def poisson(z, t):
        power = exp(e, e.select(">", z, e.const(HIGHEST), e.const(HIGHEST), z))
        return b.fsub(power, t), e.fma(b.fneg(t), z, power), one

    with cgutils.for_range(b, outputs) as loop:
        offset = b.mul(loop.index, loop.index.type(4 * NR))
        zo, go, to = (b.add(base, offset) for base in (z, g, t))
        for code, function in ((SQUARED, squared), (LOGISTIC, logistic), (POISSON, poisson)):
            with b.if_then(b.icmp_signed("==", kind, kind.type(code))):
                slope, linear, share = function(e.load(zo), e.load(to))
                e.store(b.fmul(slope, factor), go)
                e.store(b.fadd(e.load(out, LINEAR * LANES), linear), out, LINEAR * LANES)
                e.store(b.fmul(e.load(out, PRODUCT * LANES), share), out, PRODUCT * LANES)


@kernel
def target_loss(kind, z, g, t, outputs, weights, weighted, rows, scratch, rank, size):
    """The weighted loss of each vector of rows to scratch, as softmax.cross_entropy leaves it, and its gradient to g.

    weights: float32 in lanes, one feature; or LANES ones, with weighted 0.
    """
    pad, scale = padded(outputs), weight_scale(weights, weighted, rows)
    vectors = (rows + LANES - 1) // LANES
    for v in range(vectors * rank // size, vectors * (rank + 1) // size):
        first = v * LANES
        offset = 4 * (first // NR * pad * NR + first % NR)
        out, w = scratch + v * RESULT, lane_weights(weights, weighted, first)
        loss = 0.0
        for k in range(0, outputs, GROUP):
            at = offset + 4 * NR * k
            target_vector(kind, z + at, g + at, t + at, min(GROUP, outputs - k), w, scale, out)
            for lane in range(min(LANES, rows - first)):
                linear, product = load_f32(out + 4 * lane), load_f32(out + 4 * (LANES * PRODUCT + lane))
                loss += np.float64(load_f32(w + 4 * lane)) * (np.float64(linear) + np.log(np.float64(product)))
        store_f64(out + 4 * LANES * SLOTS, loss)
        store_i64(out + 4 * LANES * SLOTS + 8, 0)
