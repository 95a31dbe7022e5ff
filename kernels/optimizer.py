"""The optimizers, applied to a tile of gradients while it is in registers: Adam and SGD, or storing the gradient.

Of each step they are given HYPER numbers for weights and as many for biases, which fastff.nn.optim fills in: the slots
below. Bias corrections are folded into RATE and ROOT, and weight decay into DECAY or SHRINK.
"""

from numba import types

from .cpu import LANES, MR, NR
from .emit import F32, address, emits, i64
from .tile import accumulate, each, plus, sum_rows, widths

HYPER = 16  # float32 of a step's weights; those of its biases follow
BETA1, KEEP1, BETA2, KEEP2, DECAY, SHRINK, RATE, ROOT, EPSILON, RULE = range(10)
STORE, ADAM, SGD = 0.0, 1.0, 2.0  # the rules that RULE chooses from; STORE puts the gradient where the weights are
# Where a process has a share of each batch: what its rows' gradients count, and its first row's place in the batch
SCALE, OFFSET = 10, 11
APART = 12  # of the difference between a weight and its average, the share by which the average moves


@emits(types.void, i64, i64, address, i64, address, address, address, address, address, address, i64, i64)
def update_tile(e, vectors, k_count, x, jump, gt, w, m, v, hyper, more, count, stride):
    """dW[MR, vectors * LANES] = x g^T over k_count rows of the batch, and the optimizer's step on w, m, v by it.

    more, count, stride: see plus.
    """

    def emit(n):
        fetch_tiles(e, (w, m, v))
        tile = accumulate(e, n, k_count, x, gt, jump)
        apply_rule(e, plus(e, tile, more, count, stride), w, m, v, hyper)

    widths(e, vectors, emit)


@emits(types.void, i64, i64, address, address, address, address, address, address, i64, i64)
def update_row(e, vectors, k_count, gt, w, m, v, hyper, more, count, stride):
    """db[vectors * LANES] = the sum of gt's rows, and the optimizer's step on w, m, v by it: the bias."""

    def emit(n):
        sums = sum_rows(e, n, k_count, gt, lambda p, j: [e.load(p, j * LANES)])
        apply_rule(e, plus(e, sums, more, count, stride), w, m, v, hyper)

    widths(e, vectors, emit)


def fetch_tiles(e, parameters):
    """Have a tile's parameters, which are contiguous, come from memory while its gradients are summed."""
    for p in parameters:
        for line in range(0, MR * NR, 16):
            e.prefetch(p, line)


def apply_rule(e, tile, w, m, v, hyper, estimate=False):
    """By hyper[RULE], store the gradient tile at w, or move w, m and v by it; estimate: see _adam."""
    b = e.b
    rule = e.load_scalar(hyper, RULE)
    numbers = [e.splat(e.load_scalar(hyper, slot)) for slot in range(RULE)]
    with b.if_else(b.fcmp_ordered("==", rule, F32(ADAM))) as (adam, other):
        with adam:
            for _, _, o, g in each(tile):
                _adam(e, g, w, m, v, o, numbers, estimate)
        with other, b.if_else(b.fcmp_ordered("==", rule, F32(SGD))) as (sgd, store):
            with sgd:
                for _, _, o, g in each(tile):
                    _sgd(e, g, w, m, o, numbers)
            with store:
                for _, _, o, g in each(tile):
                    e.store(g, w, o)


def _adam(e, g, w, m, v, o, numbers, estimate):
    """All forms of Adam: the caller folds the bias corrections into RATE and ROOT, decay into DECAY or SHRINK.

    estimate: with the root and the quotient refined from the CPU's estimates, to 2 and 3 units in the last place.
    """
    b, (beta1, keep1, beta2, keep2, decay, shrink, rate, root, epsilon) = e.b, numbers
    wo = e.load(w, o)
    g = e.fma(decay, wo, g)
    mo = e.fma(beta1, e.load(m, o), b.fmul(keep1, g))
    vo = e.fma(beta2, e.load(v, o), b.fmul(keep2, b.fmul(g, g)))
    if estimate:
        step = b.fmul(b.fmul(rate, mo), e.inverse(e.fma(e.root(vo), root, epsilon)))
    else:
        step = b.fdiv(b.fmul(rate, mo), e.fma(e.sqrt(vo), root, epsilon))
    e.store(mo, m, o)
    e.store(vo, v, o)
    e.store(b.fsub(b.fmul(shrink, wo), step), w, o)


def _sgd(e, g, w, m, o, numbers):
    """m = BETA1 m + g, and a step along KEEP1 m + BETA2 g: plain momentum is (1, 0), Nesterov's (BETA1, 1)."""
    b, (beta1, keep1, beta2, _, decay, shrink, rate, _, _) = e.b, numbers
    wo = e.load(w, o)
    g = e.fma(decay, wo, g)
    mo = e.fma(beta1, e.load(m, o), g)
    step = b.fmul(rate, e.fma(beta2, g, b.fmul(keep1, mo)))
    e.store(mo, m, o)
    e.store(b.fsub(b.fmul(shrink, wo), step), w, o)
