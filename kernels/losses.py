"""The losses and their gradients: softmax with cross-entropy on class labels, and losses on a target for each output.

Cross-entropy is one stable operation on logits (docs/derivations.md, Q1-Q3). With m the row's largest logit and the
target distribution t = (1 - smoothing) onehot(label) + smoothing / C:

    loss = log(sum exp(z - m)) + m - sum_c t_c z_c        gradient = (softmax(z) - t) / B

The others are summed over the outputs z of a row, with t the target values, w the row's weight and W their sum:

    SQUARED   (z - t)^2 / 2                      gradient w (z - t) / W
    LOGISTIC  log(1 + e^z) - t z                 gradient w (sigmoid(z) - t) / W     t in [0, 1], each output by itself
    POISSON   e^z - t z                          gradient w (e^z - t) / W            t >= 0; but for t log t - t
    ABSOLUTE  |z - t|                            gradient w sign(z - t) / W

`limit` is the most that a row costs in cross-entropy, and an output in LOGISTIC, whose z it bounds in the loss to
[-limit, limit]; no gradient knows of it.

log(1 + e^z) = max(z, 0) + log(1 + e^-|z|) is finite for every z, and of the second terms the product is taken first, so
that a row takes one logarithm. The rows of the batch lie in the lanes of vectors, so no sum crosses lanes. Sums of loss
are float64: of BLOCK rows one after the other, and then of these blocks, whatever the lanes and the threads.
"""

import numpy as np
from numba import types
from numba.core import cgutils

from .compiler import kernel
from .cpu import LANES, NR
from .emit import IVEC, VEC, address, emits, load_f32, load_f64, load_i32, load_i64, store_f64, store_i32
from .operation import array, operation
from .optimizer import SCALE
from .panels import batch, batch_size, padded, round_up, vector_offset
from .pointwise import exp, exp_below, logarithm, magnitude, sigmoid

BLOCK = 16  # rows whose loss is summed at once; LANES divides it
# What softmax_vector leaves for the loss of LANES rows, each LANES floats
MAXIMUM, SUM, CHOSEN, HALF_MEAN, GUESS, SLOTS = range(6)
# Bytes of the scratch memory of a block, in which its vectors' slots stand one behind the other, and where in it its
# loss and hits stand: a cache line of their own
RESULT, LOSS = 4 * BLOCK * SLOTS + 64, 4 * BLOCK * SLOTS
SQUARED, LOGISTIC, POISSON, ABSOLUTE = range(4)
# What target_vector leaves: for the loss, log(PRODUCT) + LINEAR, and the sum of the squared errors
LINEAR, PRODUCT, SQUARES = range(3)
GROUP = 64  # outputs of a row whose product fits float32: each factor is at most 2


@emits(types.void, address, address, types.int64, address, types.float32, address, types.float32, address)
def softmax_vector(e, z, g, classes, labels, smoothing, weights, scale, out):
    """LANES rows: the gradient to g (where it is not 0), and SLOTS vectors for the loss to out."""
    b = e.b
    label = b.bitcast(e.load(labels), IVEC)

    def variable(start):
        slot = cgutils.alloca_once(b, start.type)
        b.store(start, slot)
        return slot

    def over_classes(body):
        with e.loop(classes) as i:
            body(i, b.mul(i, i.type(4 * NR)))

    index = lambda i: e.splat(b.trunc(i, IVEC.element))  # noqa: E731
    maximum, guess = variable(e.const(float("-inf"))), variable(e.iconst(0))

    def largest(i, offset):
        # `not z <= top` takes a NaN, and then keeps it
        value, top = e.load(b.add(z, offset)), b.load(maximum)
        larger = b.fcmp_unordered(">", value, top)
        b.store(b.select(larger, value, top), maximum)
        b.store(b.select(larger, index(i), b.load(guess)), guess)

    over_classes(largest)
    top, (total, mean, chosen) = b.load(maximum), (variable(e.const(0.0)) for _ in range(3))
    share = b.fdiv(e.const(1.0), e.splat(b.sitofp(classes, VEC.element)))
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
        hit = b.fmul(b.fsub(e.const(1.0), e.splat(smoothing)), factor)

        def gradient(i, offset):
            at = b.add(g, offset)
            target = b.select(b.icmp_signed("==", label, index(i)), b.fadd(rest, hit), rest)
            e.store(b.fsub(b.fmul(e.load(at), inverse), target), at)

        over_classes(gradient)
    for slot, value in ((MAXIMUM, top), (SUM, b.load(total)), (CHOSEN, b.load(chosen)), (HALF_MEAN, b.load(mean))):
        e.store(value, out, slot * LANES)
    e.store(b.sitofp(b.load(guess), VEC), out, GUESS * LANES)


@kernel
def _row_weights(weights, weighted, row):
    """Where the weights of the rows from `row` on stand: in panels of one feature, or always at the start."""
    return weights + (4 * (row // NR * padded(1) * NR + row % NR) if weighted != 0 else 0)


@kernel
def _weight_scale(weights, weighted, rows):
    """1 over the sum of the batch's weights, each 1 where not weighted."""
    if weighted == 0:
        return np.float32(1.0) / np.float32(rows)
    total = 0.0
    for i in range(rows):
        total += np.float64(load_f32(_row_weights(weights, weighted, i)))
    return np.float32(1.0 / total) if total > 0.0 else np.float32(0.0)


def _labels(fields, rows):
    return round_up(rows, LANES)


def scratch_size(rows: int) -> int:
    """The bytes of scratch memory for a batch."""
    return round_up(rows, BLOCK) // BLOCK * RESULT


def _scratch(fields, rows):
    return scratch_size(rows)


@kernel
def _blocks_of(rows, thread, threads):
    """A thread's share of the blocks of a batch: the first one, and the one behind the last."""
    blocks = (rows + BLOCK - 1) // BLOCK
    return blocks * thread // threads, blocks * (thread + 1) // threads


def _weights(fields, rows):
    return batch_size(1, rows) if fields["weighted"] else LANES


@operation
def labels(numbers: array(np.int64), out: array(np.int32, _labels), /, index, rows, thread):
    """out = the labels of the batch's rows, in its order."""
    if thread == 0:
        for i in range(rows):
            store_i32(out + 4 * i, load_i64(numbers + 8 * load_i64(index + 8 * i)))


@operation
def cross_entropy(
    z: batch("classes"), g: batch("classes", optional=True), classes, labels: array(np.int32, _labels),
    smoothing: array(np.float32), limit: array(np.float32), scratch: array(np.uint8, _scratch),
    weights: array(np.float32, _weights), weighted, shared, /, rows, hyper, thread, threads,
):  # fmt: skip
    """Weighted loss and hits of each block of rows to scratch, and the gradient of their mean to g if there is one.

    weights: in panels, one feature; or LANES ones, with weighted 0. shared: whether other processes have rows of the
    batch, so that the step's SCALE turns a sum over rows into the mean. scratch: RESULT bytes a block, at whose LOSS
    stand the loss and the count of hits, float64.
    """
    pad, smooth, most = padded(classes), load_f32(smoothing), np.float64(load_f32(limit))
    scale = load_f32(hyper + 4 * SCALE) if shared != 0 else _weight_scale(weights, weighted, rows)
    begin, end = _blocks_of(rows, thread, threads)
    for block in range(begin, end):
        result, loss, hits = scratch + block * RESULT, 0.0, 0
        for first in range(block * BLOCK, min(rows, (block + 1) * BLOCK), LANES):
            offset, out = vector_offset(first // LANES, pad), result + 4 * SLOTS * (first % BLOCK)
            w = _row_weights(weights, weighted, first)
            softmax_vector(z + offset, g + offset if g != 0 else 0, classes, labels + 4 * first, smooth, w, scale, out)
            for lane in range(min(LANES, rows - first)):
                at = out + 4 * lane
                top = np.float64(load_f32(at + 4 * LANES * MAXIMUM))
                chosen = np.float64(load_f32(at + 4 * LANES * CHOSEN))
                half_mean = np.float64(load_f32(at + 4 * LANES * HALF_MEAN))
                own = logarithm(np.float64(load_f32(at + 4 * LANES * SUM))) - (1.0 - smooth) * (chosen - top)
                if smooth != 0.0:  # else a logit of -inf would make it 0 * inf
                    own -= smooth * 2.0 * half_mean
                if own > most:  # which a NaN is not
                    own = most
                loss += np.float64(load_f32(w + 4 * lane)) * own
                hits += np.int64(load_f32(at + 4 * LANES * GUESS)) == load_i32(labels + 4 * (first + lane))
        store_f64(result + LOSS, loss)
        store_f64(result + LOSS + 8, np.float64(hits))


@emits(types.void, types.int64, address, address, address, types.int64, address, types.float32, types.float32, address)
def target_vector(e, kind, z, g, t, outputs, weights, scale, limit, out):
    """LANES rows of up to GROUP outputs: the gradient to g, and LINEAR, PRODUCT and SQUARES to out."""
    b, zero, one = e.b, e.const(0.0), e.const(1.0)
    factor, most = b.fmul(e.load(weights), e.splat(scale)), e.splat(limit)
    least = b.fneg(most)
    for slot, start in ((LINEAR, zero), (PRODUCT, one), (SQUARES, zero)):
        e.store(start, out, slot * LANES)

    # Each gives the slope, the two parts of the loss, and the error
    def squared(z, t):
        error = b.fsub(z, t)
        return error, b.fmul(b.fmul(error, e.const(0.5)), error), one, error

    def logistic(z, t):
        error = b.fsub(sigmoid(e, z), t)
        z = e.select(">", z, most, most, e.select("<", z, least, least, z))  # a NaN stays one, here and in the next
        positive, rest = e.select(">", zero, z, zero, z), exp(e, b.fneg(magnitude(e, z)))
        return error, e.fma(b.fneg(t), z, positive), b.fadd(one, rest), error

    def poisson(z, t):
        power = exp_below(e, z)
        error = b.fsub(power, t)
        return error, e.fma(b.fneg(t), z, power), one, error

    def absolute(z, t):
        error = b.fsub(z, t)
        sign = e.select(">", error, zero, one, e.select("<", error, zero, e.const(-1.0), error))  # a NaN stays one
        return sign, magnitude(e, error), one, error

    with e.loop(outputs) as i:
        zo, go, to = (b.add(base, b.mul(i, i.type(4 * NR))) for base in (z, g, t))
        for code, function in ((SQUARED, squared), (LOGISTIC, logistic), (POISSON, poisson), (ABSOLUTE, absolute)):
            with b.if_then(b.icmp_signed("==", kind, kind.type(code))):
                slope, linear, share, error = function(e.load(zo), e.load(to))
                e.store(b.fmul(slope, factor), go)
                e.store(b.fadd(e.load(out, LINEAR * LANES), linear), out, LINEAR * LANES)
                e.store(b.fmul(e.load(out, PRODUCT * LANES), share), out, PRODUCT * LANES)
                e.store(e.fma(error, error, e.load(out, SQUARES * LANES)), out, SQUARES * LANES)


@operation
def target_loss(
    kind, z: batch("outputs"), g: batch("outputs"), targets: batch("outputs"), outputs,
    weights: array(np.float32, _weights), weighted, factor: array(np.float64), limit: array(np.float32),
    scratch: array(np.uint8, _scratch), /, rows, thread, threads,
):  # fmt: skip
    """The loss of each block of rows, times weights and factor, to scratch, and its gradient to g, which may be z.

    It leaves what cross_entropy leaves, with the weighted sum of squared errors in the place of hits.
    """
    pad, times, most = padded(outputs), load_f64(factor), load_f32(limit)
    scale = np.float32(np.float64(_weight_scale(weights, weighted, rows)) * times)
    begin, end = _blocks_of(rows, thread, threads)
    for block in range(begin, end):
        result, loss, squares = scratch + block * RESULT, 0.0, 0.0
        for first in range(block * BLOCK, min(rows, (block + 1) * BLOCK), LANES):
            offset, w = vector_offset(first // LANES, pad), _row_weights(weights, weighted, first)
            for k in range(0, outputs, GROUP):
                at = offset + 4 * NR * k
                target_vector(kind, z + at, g + at, targets + at, min(GROUP, outputs - k), w, scale, most, result)
                for lane in range(min(LANES, rows - first)):
                    linear, product = load_f32(result + 4 * lane), load_f32(result + 4 * (LANES * PRODUCT + lane))
                    own = np.float64(linear) + logarithm(np.float64(product))
                    loss += np.float64(load_f32(w + 4 * lane)) * own
                    squared = np.float64(load_f32(result + 4 * (LANES * SQUARES + lane)))
                    squares += np.float64(load_f32(w + 4 * lane)) * squared
        store_f64(result + LOSS, loss * times)
        store_f64(result + LOSS + 8, squares)


@kernel
def is_finite(loss):
    """Whether a sum of losses is a number."""
    return abs(loss) < 1e300


@operation
def record(scratch: array(np.uint8, _scratch), halts, /, rows, losses, hits, thread):
    """The batch's loss and hits, summed in one order by every thread; with halts, one not finite ends the run."""
    loss, right = 0.0, 0.0
    for block in range((rows + BLOCK - 1) // BLOCK):
        at = scratch + block * RESULT + LOSS
        loss += load_f64(at)
        right += load_f64(at + 8)
    if thread == 0:
        store_f64(losses, loss)
        store_f64(hits, right)
    return halts != 0 and not is_finite(loss)
