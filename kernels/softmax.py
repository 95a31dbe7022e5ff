"""Softmax with cross-entropy, one stable operation on logits in lanes, and its gradient (docs/derivations.md, Q1-Q3).

With m the row's largest logit and the target t = (1 - smoothing) onehot(label) + smoothing / C:
    loss = log(sum exp(z - m)) + m - sum_c t_c z_c        gradient = (softmax(z) - t) / B
The rows of the batch lie in the lanes, so no sum crosses lanes. Sums of loss are float64.
"""

import numpy as np
from numba import types
from numba.core import cgutils

from .compiler import kernel
from .linear import padded
from .pointwise import exp
from .target import LANES, NR
from .vector import F32, IVEC, VEC, address, emits, f32, i64, load_f32, store_f64, store_i64

# What softmax_vector leaves for the loss, each LANES floats
MAXIMUM, SUM, CHOSEN, HALF_MEAN, GUESS, SLOTS = range(6)


@emits(types.void, address, address, i64, address, f32, address, f32, address)
def softmax_vector(e, z, g, classes, labels, smoothing, weights, scale, out):
    """LANES rows: the gradient to g (where it is not 0), and SLOTS vectors for the loss to out."""
    b = e.b
    label = b.load(b.inttoptr(labels, IVEC.as_pointer()))
    label.align = 4

    def variable(start):
        slot = cgutils.alloca_once(b, start.type)
        b.store(start, slot)
        return slot

    def over_classes(body):
        with cgutils.for_range(b, classes) as loop:
            body(loop.index, b.mul(loop.index, loop.index.type(4 * NR)))

    index = lambda i: e.splat(b.trunc(i, IVEC.element))  # noqa: E731
    maximum, guess = variable(e.const(float("-inf"))), variable(e.iconst(0))

    def largest(i, offset):
        # `not z <= top` takes a NaN, and then keeps it
        value, top = e.load(b.add(z, offset)), b.load(maximum)
        larger = b.fcmp_unordered(">", value, top)
        b.store(b.select(larger, value, top), maximum)
        b.store(b.select(larger, index(i), b.load(guess)), guess)

    over_classes(largest)
    top, total, mean = b.load(maximum), variable(e.const(0.0)), variable(e.const(0.0))
    chosen = variable(e.const(0.0))
    share = e.splat(b.fdiv(F32(1.0), b.sitofp(classes, F32)))
    exponentials = b.select(b.icmp_signed("==", g, g.type(0)), out, g)
    stride = b.select(b.icmp_signed("==", g, g.type(0)), g.type(0), g.type(1))

    def sums(i, offset):
        value = e.load(b.add(z, offset))
        below = b.fsub(value, top)
        power = exp(e, below)
        # without a gradient wanted, the exponentials all go to one scratch vector
        e.store(power, b.add(exponentials, b.mul(offset, stride)))
        b.store(b.fadd(b.load(total), power), total)
        # half of it: logits can be twice as far apart as float32 reaches
        half = e.const(0.5)
        b.store(e.fma(b.fsub(b.fmul(value, half), b.fmul(top, half)), share, b.load(mean)), mean)
        b.store(b.select(b.icmp_signed("==", label, index(i)), value, b.load(chosen)), chosen)

    over_classes(sums)
    with b.if_then(b.icmp_signed("!=", g, g.type(0))):
        factor = b.fmul(e.load(weights), e.splat(scale))
        inverse = b.fdiv(factor, b.load(total))
        rest = b.fmul(b.fmul(e.splat(smoothing), factor), share)
        hit = b.fmul(e.splat(b.fsub(F32(1.0), smoothing)), factor)

        def gradient(i, offset):
            at = b.add(g, offset)
            target = b.select(b.icmp_signed("==", label, index(i)), b.fadd(rest, hit), rest)
            e.store(b.fsub(b.fmul(e.load(at), inverse), target), at)

        over_classes(gradient)
    for slot, value in ((MAXIMUM, top), (SUM, b.load(total)), (CHOSEN, b.load(chosen)), (HALF_MEAN, b.load(mean))):
        e.store(value, out, slot * LANES)
    e.store(b.sitofp(b.load(guess), VEC), out, GUESS * LANES)


@kernel
def weight_scale(weights, weighted, rows):
    """1 over the sum of the batch's weights, each 1 where not weighted."""
    if weighted == 0:
        return np.float32(1.0) / np.float32(rows)
    total = 0.0
    for i in range(rows):
        total += np.float64(load_f32(lane_weights(weights, weighted, i)))
    return np.float32(1.0 / total) if total > 0.0 else np.float32(0.0)


@kernel
def lane_weights(weights, weighted, row):
    """Where the weights of rows from `row` on stand: in lanes with one feature, or always at the start."""
    return weights + (4 * (row // NR * padded(1) * NR + row % NR) if weighted != 0 else 0)


@kernel
def cross_entropy(z, g, classes, labels, smoothing, weights, weighted, rows, scratch, scale, rank, size):
    """Weighted loss and hits of each vector of rows to scratch, and the gradient of their mean to g unless g is 0.

    weights: float32 in lanes, one feature; or LANES ones, with weighted 0. scale: what turns the sum over rows into
    that mean (weight_scale). scratch holds, for every LANES rows, SLOTS * LANES floats, and then a float64 loss and an
    int64 count of hits.
    """
    pad = padded(classes)
    vectors = (rows + LANES - 1) // LANES
    for v in range(vectors * rank // size, vectors * (rank + 1) // size):
        first = v * LANES
        offset = 4 * (first // NR * pad * NR + first % NR)
        out, w = scratch + v * RESULT, lane_weights(weights, weighted, first)
        softmax_vector(z + offset, g + offset if g != 0 else 0, classes, labels + 4 * first, smoothing, w, scale, out)
        loss, hits = 0.0, 0
        for lane in range(min(LANES, rows - first)):
            at = out + 4 * lane
            top, chosen = np.float64(load_f32(at + 4 * LANES * MAXIMUM)), np.float64(load_f32(at + 4 * LANES * CHOSEN))
            half_mean = np.float64(load_f32(at + 4 * LANES * HALF_MEAN))
            own = np.log(np.float64(load_f32(at + 4 * LANES * SUM))) - (1.0 - smoothing) * (chosen - top)
            if smoothing != 0.0:  # else a logit of -inf would make it 0 * inf
                own -= smoothing * 2.0 * half_mean
            loss += np.float64(load_f32(w + 4 * lane)) * own
            hits += np.int64(load_f32(at + 4 * LANES * GUESS)) == _label(labels, first + lane)
        store_f64(out + 4 * LANES * SLOTS, loss)
        store_i64(out + 4 * LANES * SLOTS + 8, hits)


@emits(i64, address, i64)
def _label(e, labels, i):
    b = e.b
    at = b.add(labels, b.shl(i, i.type(2)))
    return b.sext(b.load(b.inttoptr(at, IVEC.element.as_pointer())), i.type)


RESULT = 4 * LANES * SLOTS + 64  # bytes of scratch for LANES rows; the loss and hits get a cache line of their own
