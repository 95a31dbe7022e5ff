"""Losses against targets, with weights, against the float64 twin, to bounds counted from kernels/losses.py.

exp is within 1.5 ulp, so 3 U; a sigmoid takes one of it in numerator and denominator, a sum and a quotient: 8 U. A
gradient is a difference (U) times weight / sum of weights (the roundings of the reciprocal and of two products).
A row's loss is a float32 sum of K terms, and for the logistic loss the logarithm of a product of K factors 1 + e^-|z|,
each with a relative error of at most 4 U and one rounding of the product.
"""

import numpy as np
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st
from reference import U, gamma

from fastff.engine.program import Program
from fastff.kernels import losses

pytestmark = pytest.mark.usefixtures("poisoned")

rows_of = st.one_of(st.integers(1, 70), st.sampled_from([97, 130]))
outputs_of = st.one_of(st.integers(1, 20), st.sampled_from([63, 64, 65, 130]))
threads_of = st.sampled_from([1, 2, 3, 7])
KINDS = {
    "squared": losses.SQUARED, "logistic": losses.LOGISTIC, "poisson": losses.POISSON, "absolute": losses.ABSOLUTE
}  # fmt: skip


def loss_and_gradient(name, z, t, weights=None, threads=1, halt=False):
    program = Program(len(z))
    w = None if weights is None else program.gather(weights[:, None])
    g = program.target_loss(program.gather(z), program.gather(t), KINDS[name], halt=halt, weights=w)
    out = program.scatter(g, len(z))
    return program.run(threads=threads), out


def problem(name, rows, outputs, size, seed):
    rng = np.random.default_rng(seed)
    z = (size * rng.standard_normal((rows, outputs))).astype(np.float32)
    t = {"squared": z + rng.standard_normal(z.shape), "logistic": rng.random(z.shape).round(1),
         "poisson": rng.poisson(2.0, z.shape), "absolute": z + rng.integers(-1, 2, z.shape)}[name]  # fmt: skip
    t = t.astype(np.float32)
    return z, t, (rng.integers(0, 4, rows) + (np.arange(rows) == 0)).astype(np.float32)


@given(
    st.sampled_from(list(KINDS)), rows_of, outputs_of, st.sampled_from([0.1, 1.0, 10.0]), st.booleans(), threads_of,
    st.integers(0, 999),
)  # fmt: skip
@example("logistic", 130, 130, 10.0, True, 3, 0)
def test_loss_and_gradient(name, rows, outputs, size, weighted, threads, seed):
    z, t, weights = problem(name, rows, outputs, size, seed)
    outcome, g = loss_and_gradient(name, z, t, weights if weighted else None, threads)
    z, t, w = (a.astype(np.float64) for a in (z, t, weights if weighted else np.ones(rows)))
    loss, slope, level = reference.target_loss(name, z, t)

    # the parts that the terms of a row's sum are made of, and what the logarithm adds
    parts, roundings, extra = {
        "squared": (loss, 5, 0.0),
        "logistic": (np.maximum(z, 0) + np.abs(t * z), 2, gamma(6 * min(outputs, losses.GROUP)) + outputs * 6 * U),
        "poisson": (level + np.abs(t * z), 5, 0.0),
        "absolute": (loss, 1, 0.0),
    }[name]
    bound = gamma(outputs + roundings) * parts.sum(1) + extra
    assert abs(outcome.losses[0] - (w * loss.sum(1)).sum()) <= 1.001 * (w * bound).sum()
    # a square takes one rounding more than its error, twice
    off, level_off = np.abs(level - t), {"squared": 0.0, "absolute": 0.0, "logistic": 8 * U, "poisson": 3 * U}[name]
    squares, roundings = (off**2).sum(1), gamma(outputs + 4)
    slack = roundings * squares + (2.001 * level_off * np.abs(level) * off + (level_off * level) ** 2).sum(1)
    assert abs(outcome.hits[0] - (w * squares).sum()) <= 1.001 * (w * slack).sum()

    value = level_off * level
    factor = w[:, None] / w.sum()
    assert (np.abs(g - slope * factor) <= 1.001 * factor * (value + 5 * U * np.abs(slope)) + 2.0**-126).all()


@given(st.sampled_from(list(KINDS)), rows_of, outputs_of, st.booleans(), st.integers(0, 999))
def test_bits_do_not_depend_on_threads(name, rows, outputs, weighted, seed):
    z, t, weights = problem(name, rows, outputs, 1.0, seed)
    one, g = loss_and_gradient(name, z, t, weights if weighted else None)
    for threads in (2, 3, 7):
        other, h = loss_and_gradient(name, z, t, weights if weighted else None, threads)
        assert one.losses[0] == other.losses[0]
        np.testing.assert_array_equal(g, h)


@pytest.mark.parametrize("name", KINDS)
def test_a_factor_and_a_gradient_in_the_place_of_the_outputs(name):
    z, t, weights = problem(name, 37, 3, 1.0, 0)
    plain, g = loss_and_gradient(name, z, t, weights)
    program = Program(37)
    w, targets, outputs = program.gather(weights[:, None]), program.gather(t), program.gather(z)
    h = program.target_loss(outputs, targets, KINDS[name], halt=False, weights=w, factor=0.25, in_place=True)
    assert h is outputs
    out = program.scatter(h, 37)
    outcome = program.run()
    assert outcome.losses[0] == plain.losses[0] / 4
    assert outcome.hits[0] == plain.hits[0]
    np.testing.assert_array_equal(out, g / 4)


def test_logits_far_out_are_finite():
    z = np.array([[1e4, -1e4, 2e38, -1e38]], np.float32)
    for t, expected in ((z > 0, 0.0), (z > 1e5, 1e4), (z < 1e38, 1e4 + 2e38 + 1e4 + 1e38)):
        outcome, g = loss_and_gradient("logistic", z, t.astype(np.float32))
        assert outcome.losses[0] == pytest.approx(expected, rel=1e-6)
        np.testing.assert_array_equal(g, (z > 0).astype(np.float32) - t)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("where", ["output", "target"])
def test_a_nan_is_seen(name, where):
    z, t, _ = problem(name, 5, 3, 1.0, 0)
    (z if where == "output" else t)[2, 1] = np.nan
    outcome, _ = loss_and_gradient(name, z, t, halt=True)
    assert outcome.done == 0


def test_a_batch_without_weight_has_no_gradient():
    z, t, _ = problem("squared", 5, 3, 1.0, 0)
    outcome, g = loss_and_gradient("squared", z, t, np.zeros(5, np.float32))
    assert outcome.losses[0] == 0
    np.testing.assert_array_equal(g, 0)


@pytest.mark.parametrize("limit", [2.0, 30.0])
@pytest.mark.parametrize("softmax", [True, False])
def test_a_limit_bounds_the_loss_and_leaves_the_gradient(softmax, limit):
    rng = np.random.default_rng(0)
    z, labels = (20 * rng.standard_normal((37, 5))).astype(np.float32), rng.integers(0, 5, 37)
    t = np.eye(5, dtype=np.float32)[labels]

    def run(limit):
        program = Program(37)
        if softmax:
            batch = program.labels(labels)
            g = program.cross_entropy(program.gather(z), batch, 0.0, gradient=True, limit=limit)
        else:
            g = program.target_loss(program.gather(z), program.gather(t), losses.LOGISTIC, halt=False, limit=limit)
        out = program.scatter(g, 37)
        return program.run().losses[0], out

    exact = z.astype(np.float64)
    if softmax:
        truth = np.minimum(reference.cross_entropy(exact, labels), limit).sum()
    else:
        truth = reference.target_loss("logistic", np.clip(exact, -limit, limit), t)[0].sum()
    (loss, g), (without, same) = run(limit), run(np.inf)
    assert loss == pytest.approx(truth, rel=1e-5)
    assert loss < without
    np.testing.assert_array_equal(g, same)
    z[3, 2] = np.nan
    assert np.isnan(run(limit)[0])


def test_weights_of_softmax_with_cross_entropy():
    rng = np.random.default_rng(0)
    z, labels, w = rng.standard_normal((37, 5)).astype(np.float32), rng.integers(0, 5, 37), rng.integers(0, 4, 37)
    program = Program(37)
    batch = program.labels(labels)
    weights = program.gather(w.astype(np.float32)[:, None])
    g = program.scatter(program.cross_entropy(program.gather(z), batch, 0.1, gradient=True, weights=weights), 37)
    outcome = program.run(threads=2)
    exact = z.astype(np.float64)
    assert outcome.losses[0] == pytest.approx((w * reference.cross_entropy(exact, labels, 0.1)).sum(), rel=20 * U)
    truth = reference.cross_entropy_gradient(exact, labels, 0.1) * 37 * w[:, None] / w.sum()
    # as in test_losses_softmax.py, where the terms are below 20 U for logits this small, of a value of at most 1
    np.testing.assert_allclose(g, truth, rtol=0, atol=20 * U * w.max() / w.sum())
