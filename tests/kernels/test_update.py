"""The optimizers as the tile applies them, against the float64 twin of one update.

The gradient is made exact, so that only the update itself is measured: the batch is one row of powers of two, so
dW = x g is a change of exponents and db = g. The bounds count the roundings of kernels/tile.py, U each.
"""

import numpy as np
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st
from reference import U

from fastff import SGD, Adam
from fastff.engine import panels
from fastff.engine.program import Program
from fastff.kernels.cpu import NR
from fastff.nn.optim import store_gradient

pytestmark = pytest.mark.usefixtures("poisoned")

sizes = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 97]))
seeds = st.integers(0, 999)
betas = st.sampled_from([0.0, 0.5, 0.9, 0.999])
decays = st.sampled_from([0.0, 1e-4, 0.1])
SECOND_ORDER = 1 + 2.0**-18  # products of two of the errors counted below


def update(optimizer, x, g, weights, bias, t, step_size, threads=1):
    """Weights (in, out) and bias (1, out), each with its two moments, after update t by x (1, in) and g (1, out)."""
    program, shape = Program(1), weights[0].shape
    own = [panels.aligned(panels.panel_size(shape)) for _ in weights]
    rows = [panels.aligned(panels.round_up(shape[1], NR)) for _ in bias]
    for matrix, panel in zip(weights, own, strict=True):
        panels.pack(matrix, panel)
    for values, row in zip(bias, rows, strict=True):
        row[: shape[1]] = values
    program.update(program.gather(x), program.transpose(program.gather(g)), own, rows, shape[1])
    program.run(hyper=optimizer.hyper(t, np.array([step_size])), threads=threads)
    return [panels.unpack(p, shape) for p in own], [row[None, : shape[1]] for row in rows]


def problem(seed, n_in, n_out):
    """x, g, and weights and bias with their moments; the magnitudes spread over decades, v nowhere below 0."""
    rng = np.random.default_rng(seed)

    def spread(*shape):
        return (rng.standard_normal(shape) * 2.0 ** rng.integers(-12, 6, shape)).astype(np.float32)

    def parameters(*shape):
        return [spread(*shape), spread(*shape), np.square(spread(*shape))]

    x = (rng.choice([-1, 1], (1, n_in)) * 2.0 ** rng.integers(-4, 4, (1, n_in))).astype(np.float32)
    return x, spread(1, n_out), parameters(n_in, n_out), parameters(1, n_out)


def check_adam(got, w, m, v, g, t, step_size, weight_decay, optimizer):
    settings = {name: getattr(optimizer, name) for name in ("beta1", "beta2", "epsilon", "decay", "bias_correction")}
    w, m, v, g = (a.astype(np.float64) for a in (w, m, v, g))
    new, moments = reference.adam(w, g, (m, v), t, step_size, weight_decay=weight_decay, **settings)
    l2 = weight_decay if optimizer.decay == "l2" else 0.0
    size_g = np.abs(g) + l2 * np.abs(w)  # g + lambda w: the rounding of lambda, and of the sum
    size_m = optimizer.beta1 * np.abs(m) + (1 - optimizer.beta1) * size_g  # 2 of g, 1 of 1 - beta, the product, the sum
    size_v = (
        optimizer.beta2 * v + (1 - optimizer.beta2) * size_g**2
    )  # 4 of g^2, the square, 1 - beta, the product, the sum
    error_m, error_v = 5 * U * size_m, 8 * U * size_v
    # the denominator lies between those of the least and the largest v; root, correction, epsilon and sum round
    power = t if optimizer.bias_correction == "standard" else 1
    rate, correction = step_size / (1 - optimizer.beta1**power), 1 - optimizer.beta2**power
    low, exact, high = (
        np.sqrt(np.maximum(moments[1] + e, 0) / correction) + optimizer.epsilon for e in (-error_v, 0, error_v)
    )
    low, high = low * (1 - 4 * U), high * (1 + 4 * U)
    # the quotient: the error of m, that of the denominator, and the roundings of the rate, the product and the quotient
    error = rate * (error_m / low + np.abs(moments[0]) * np.maximum(1 / low - 1 / exact, 1 / exact - 1 / high))
    error += 3 * U * rate * (np.abs(moments[0]) + error_m) / low
    error += 3 * U * np.abs(w) + U * np.abs(new - w)  # 1 - step * lambda, its product, the difference
    for value, truth, bound in zip(got, (new, *moments), (error, error_m, error_v), strict=True):
        assert (np.abs(value - truth) <= SECOND_ORDER * bound).all()


@given(
    sizes, sizes, seeds, betas, betas, decays, st.sampled_from([1, 2, 10, 1000, 100_000]),
    st.sampled_from(["l2", "decoupled"]), st.sampled_from(["standard", "constant"]), st.sampled_from([1e-3, 0.1]),
    st.sampled_from([1, 2, 3, 7]),
)  # fmt: skip
@example(1, 1, 0, 0.9, 0.999, 0.1, 1, "l2", "standard", 1e-3, 7)
def test_adam_in_all_its_forms(
    n_in, n_out, seed, beta1, beta2, weight_decay, t, decay, bias_correction, step_size, threads
):
    optimizer = Adam(beta1, beta2, 1e-8, weight_decay, decay=decay, bias_correction=bias_correction)
    x, g, weights, bias = problem(seed, n_in, n_out)
    new_weights, new_bias = update(optimizer, x, g, weights, bias, t, step_size, threads)
    by_weights = reference.weight_gradient(x, g)
    check_adam(new_weights, *weights, by_weights, t, step_size, weight_decay, optimizer)
    check_adam(new_bias, *bias, g, t, step_size, 0.0, optimizer)  # a bias never decays


def check_sgd(got, w, m, v, g, step_size, weight_decay, optimizer):
    w, m, g = (a.astype(np.float64) for a in (w, m, g))
    settings = {"momentum": optimizer.momentum, "nesterov": optimizer.nesterov}
    new, moments = reference.sgd(w, g, (m, None), 1, step_size, weight_decay=weight_decay, **settings)
    size_m = optimizer.momentum * np.abs(m) + np.abs(g) + weight_decay * np.abs(w)
    # 2 of g, then the sum and (for the old m) the momentum's; 3 more for Nesterov's sum; the rate, and its product
    size_step = step_size * (2 if optimizer.nesterov else 1) * size_m
    bound = 8 * U * size_step + U * (np.abs(w) + size_step)
    assert (np.abs(got[0] - new) <= SECOND_ORDER * bound).all()
    assert (np.abs(got[1] - moments[0]) <= SECOND_ORDER * 3 * U * size_m).all()
    np.testing.assert_array_equal(got[2], v)  # SGD has no second moment


@given(sizes, sizes, seeds, st.sampled_from([0.0, 0.5, 0.9]), st.booleans(), decays, st.sampled_from([1, 2, 3, 7]))
def test_sgd_with_momentum_and_nesterov(n_in, n_out, seed, momentum, nesterov, weight_decay, threads):
    optimizer = SGD(momentum, nesterov and momentum > 0, weight_decay)
    x, g, weights, bias = problem(seed, n_in, n_out)
    new_weights, new_bias = update(optimizer, x, g, weights, bias, 1, 0.1, threads)
    check_sgd(new_weights, *weights, reference.weight_gradient(x, g), 0.1, weight_decay, optimizer)
    check_sgd(new_bias, *bias, g, 0.1, 0.0, optimizer)


@pytest.mark.parametrize("optimizer", [Adam(), Adam(bias_correction="constant"), SGD(0.9), SGD(0.9, nesterov=True)])
def test_no_gradient_and_no_history_means_no_move(optimizer):
    w, zero = np.full((5, 3), 0.1, np.float32), np.zeros((5, 3), np.float32)
    x, g = np.zeros((1, 5), np.float32), np.zeros((1, 3), np.float32)
    got, bias = update(optimizer, x, g, [w, zero, zero], [w[:1], zero[:1], zero[:1]], 1, 0.1)
    for value, before in zip(got + bias, [w, zero, zero, w[:1], zero[:1], zero[:1]], strict=True):
        np.testing.assert_array_equal(value, before)


@pytest.mark.parametrize("optimizer", [Adam(), SGD(0.9)])
def test_nan_in_a_gradient_shows_in_its_weights_and_no_others(optimizer):
    x, g, weights, bias = problem(0, 9, 5)
    g[0, 2] = np.nan
    (w, *_), (b, *_) = update(optimizer, x, g, weights, bias, 1, 0.1)
    assert np.isnan(w[:, 2]).all()
    assert np.isnan(b[0, 2])
    assert np.isfinite(np.delete(w, 2, axis=1)).all()
    assert np.isfinite(np.delete(b, 2, axis=1)).all()


@pytest.mark.parametrize("shape", [(1, 1), (13, 70), (100, 33)])
@pytest.mark.parametrize("threads", [1, 3])
def test_processes_add_their_rows_gradients_part_by_part(shape, threads):
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((21, width)).astype(np.float32) for width in shape)
    size, out = panels.panel_size(shape), panels.round_up(shape[1], NR)
    own, others = ([panels.aligned(size), panels.aligned(out)] for _ in range(2))
    store = store_gradient()
    for rows, (w, b), more in ((slice(0, 8), others, 0), (slice(8, 21), own, 1)):
        program = Program(rows.stop - rows.start)
        batch, gt = program.gather(x[rows]), program.transpose(program.gather(g[rows]))
        for part in range(2):
            share = {"part": part, "parts": 2, "count": more, "stride": 0, "numbers": store}
            program.update_bias(gt, [b] * 3, shape[1], more=others[1], barrier=True, **share)
            for first, last in ((0, 1), (1, out // NR)):  # what makes a message
                if first < last:
                    program.update_weights(
                        batch, gt, [w] * 3, shape[1], more=others[0], first=first, last=last, **share
                    )
        program.run(threads=threads)
    exact = [array.astype(np.float64) for array in (x, g)]
    np.testing.assert_allclose(panels.unpack(own[0], shape), exact[0].T @ exact[1], atol=1e-4)
    np.testing.assert_allclose(own[1][: shape[1]], exact[1].sum(0), atol=1e-4)
