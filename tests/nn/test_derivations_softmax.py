"""Sections Q1 to Q3 of docs/derivations.md: softmax, its Jacobian, the cross-entropy and its gradient.

A test's docstring opens with the section or sections it checks. Tests named test_fastff_* compare fastff with the
document's formula; the others check the formula itself, in float64 NumPy.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from derivations import EXP, U64, U, close, complex_step, generator, single
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastff

TINY, MAX = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

checks = settings(deadline=None, max_examples=60)
rows = arrays(np.float64, st.integers(1, 8), elements=st.floats(-50, 50))
float32_rows = arrays(np.float32, st.integers(1, 8), elements=st.floats(-MAX, MAX, width=32))


def shifted(z):
    """z - c along the last axis, c the maximum; of a complex z the real part decides, as c is free (Q1.1)."""
    return z - np.real(z).max(axis=-1, keepdims=True)


def softmax(z):
    numerators = np.exp(shifted(z))
    return numerators / numerators.sum(axis=-1, keepdims=True)


def log_sum_exp(z):
    return np.real(z).max(axis=-1) + np.log(np.exp(shifted(z)).sum(axis=-1))


def one_hot(labels, classes):
    return np.eye(classes)[labels]


def softmax_rounding(classes):
    """Bound on |error of s_j| / unit roundoff for one computed softmax.

    e^-d carries its exp and at most d e^-d <= 1/e from the shift (Q1.3). The denominator is a sum of such terms: the
    shift's part is at most sum_k s_k d_k <= log C (the entropy of s is log S + sum_k s_k d_k, and at most log C), its
    additions C - 1. The division is one more.
    """
    return 2 * EXP + math.log(classes) + classes + 1


# Q1: softmax and loss


@checks
@given(rows, st.floats(-50, 50))
def test_softmax_is_unchanged_by_a_shift(z, c):
    """Q1.1: the plain formula gives the same for z and z - c."""

    def plain(z):
        return np.exp(z) / np.exp(z).sum()

    # z - c is rounded by at most 100 U64, which moves each of the two exponentials of z - c by that, relatively.
    close(plain(z - c), plain(z), (2 * 100 + 2 * softmax_rounding(z.size)) * U64)


@checks
@given(float32_rows)
def test_shift_by_the_maximum_bounds_the_denominator(z):
    """Q1.2: for every float32 row no exponential overflows, and 1 <= S <= C after rounding too."""
    with np.errstate(over="ignore"):  # z - c itself may become -inf: see Q1.7
        d = shifted(z)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        numerators = np.exp(d)
        denominator = numerators.sum()
        probabilities = numerators / denominator
    assert numerators.dtype == np.float32
    assert numerators.min() >= 0
    assert numerators.max() == 1
    assert 1 <= denominator <= z.size
    close(probabilities.sum(dtype=np.float64), 1, 2 * z.size * U)


@checks
@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(-120, 0)))
def test_underflow_is_harmless(z):
    """Q1.3: numerators under 2^-126 set to 0 move no probability by C 2^-126, in exact rational arithmetic."""
    assert np.exp(np.float32(-103.98)) == 0
    assert np.exp(np.float32(-87.3)) >= TINY > np.exp(-87.34)
    tau = Fraction(2) ** -126
    exact = [Fraction(float(e)) for e in np.exp(shifted(z))]
    kept = [e if e >= tau else Fraction(0) for e in exact]
    assert 0 <= sum(exact) - sum(kept) <= (z.size - 1) * tau
    for before, after in zip(exact, kept, strict=True):
        moved = after / sum(kept) - before / sum(exact)
        assert -tau < moved <= 0 if before < tau else 0 <= moved <= (z.size - 1) * tau


@checks
@given(st.floats(0, MAX, width=32), st.floats(0, MAX, width=32) | st.floats(0, 20, width=32))
def test_rounding_the_shift_is_harmless(c, distance):
    """Q1.3: z - c rounded to float32 changes e^(z - c) by at most u / (e (1 - u))."""
    c, z = np.float32(c), np.float32(c - distance)
    with np.errstate(over="ignore"):
        rounded = z - c
    # float64 noise: the exact difference is rounded too, which costs U64 / e by the same bound, and each exp 2 U64.
    tolerance = U / (math.e * (1 - U)) + 5 * U64
    close(np.exp(np.float64(rounded)), np.exp(np.float64(z) - np.float64(c)), tolerance)


@checks
@given(rows)
def test_log_sum_exp(z):
    """Q1.4: the shifted form equals the plain one, lies in [max, max + log C], and has the softmax as its gradient."""
    # A relative error of the sum of C exponentials is an absolute one of its log, which rounds itself, at its own size.
    scale = np.abs(z).max() + math.log(z.size) + 1
    close(log_sum_exp(z), np.log(np.exp(z).sum()), (z.size + 2 * EXP) * scale * U64)
    assert z.max() <= log_sum_exp(z) <= (z.max() + math.log(z.size)) + 4 * scale * U64
    close(complex_step(log_sum_exp, z), softmax(z), 2 * softmax_rounding(z.size) * U64)


@checks
@given(rows, st.data())
def test_loss_is_log_sum_exp_minus_true_logit(z, data):
    """Q1.5: lse(z) - z_t = log S + d_t = -log s_t where s_t is an ordinary number, and log C for equal logits."""
    t = data.draw(st.integers(0, z.size - 1))
    d = -shifted(z)
    loss = math.log(np.exp(-d).sum()) + d[t]
    # d_t <= 100 is one rounded subtraction; lse adds z's size again; log s_t carries the relative error of s_t, which
    # is not small against s_t as it is against 1: the shift's 100 joins it.
    tolerance = (3 * 100 + 2 * softmax_rounding(z.size)) * U64
    assert loss >= 0
    close(loss, log_sum_exp(z) - z[t], tolerance)
    close(loss, -np.log(softmax(z)[t]), tolerance)
    close(log_sum_exp(np.full_like(z, z[0])) - z[0], math.log(z.size), tolerance)


def test_log_of_a_softmax_breaks():
    """Q1.6: at a loss of 120 the composed form is infinite and its gradient NaN in float32; the fused one is exact."""
    z = np.array([120, 0], np.float32)
    s = softmax(z)
    assert s.dtype == np.float32
    with np.errstate(divide="ignore", invalid="ignore"):
        assert np.log(s[1]) == -np.inf
        jacobian_row = s[1] * (np.array([0, 1], np.float32) - s)
        assert np.isnan(-1 / s[1] * jacobian_row).any()
    assert log_sum_exp(z) - z[1] == 120
    np.testing.assert_array_equal(s - np.array([0, 1]), [1, -1])


@pytest.mark.parametrize("size", [1e4, MAX])
def test_extreme_logits(size):
    """Q1.7: finite and right at +-1e4 and +-M; the difference 2 M overflows float32 and not float64."""
    z = np.array([size, 0, -size], np.float32)
    with np.errstate(over="ignore"):
        probabilities = softmax(z)
        assert np.isinf(shifted(z)[2]) == (size > 1e4)
    np.testing.assert_array_equal(probabilities, [1, 0, 0])
    np.testing.assert_array_equal(log_sum_exp(z.astype(np.float64)) - z.astype(np.float64), [0, size, 2 * size])


# Q2: the softmax Jacobian


def jacobian(z):
    s = softmax(z)
    return np.diag(s) - np.outer(s, s)


@checks
@given(rows)
def test_softmax_jacobian_entries(z):
    """Q2.1: the entries are s_i (delta_ij - s_j), the matrix diag(s) - s^T s."""
    s = softmax(z)
    entries = [[s[i] * ((i == j) - s[j]) for j in range(z.size)] for i in range(z.size)]
    close(jacobian(z), entries, 4 * U64)
    # The step's entry is a quotient of terms below 1 that carry the errors of numerator and denominator, two of each.
    close(complex_step(softmax, z), entries, 4 * softmax_rounding(z.size) * U64)


def test_softmax_jacobian_properties():
    """Q2.2: symmetric, rows sum to 0, rank C - 1, v J v^T is a variance; and J is the Hessian of lse."""
    rng = generator()
    for classes in (2, 3, 10):
        z, v = rng.normal(size=(2, classes))
        s, J = softmax(z), complex_step(softmax, z)
        tolerance = 4 * softmax_rounding(classes) * U64  # as above, on each entry
        close(J, J.T, tolerance)
        close(J.sum(axis=1), np.zeros(classes), classes * tolerance)
        # By Weyl no eigenvalue moves by more than the error's norm, at most C times that of an entry. Only one is 0:
        # for a v orthogonal to 1, v J v^T >= min(s) |v|^2, as the variance is sum_i s_i (v_i - mean)^2.
        eigenvalues = np.linalg.eigvalsh(J)
        assert abs(eigenvalues[0]) <= classes * tolerance
        assert eigenvalues[1] >= s.min() - classes * tolerance
        variance = (s * (v - s @ v) ** 2).sum()
        close(v @ J @ v, variance, 2 * classes * tolerance * (v**2).sum())
        # Central differences of a gradient with entries below 1: truncation h^2 max|s'''| / 6 <= h^2, rounding U64 / h
        # times the softmax's; h = 1e-5 makes them alike.
        h = 1e-5
        steps = h * np.eye(classes)
        hessian = np.stack([(softmax(z + e) - softmax(z - e)) / (2 * h) for e in steps], axis=-1)
        close(hessian, J, h**2 + softmax_rounding(classes) * U64 / h)


# Q3: the cross-entropy's gradient


@checks
@given(rows, st.data())
def test_cross_entropy_gradient(z, data):
    """Q3.1: s - y, by the step on lse(z) - z_t and by the chain rule through the Jacobian; it sums to 0."""
    t = data.draw(st.integers(0, z.size - 1))
    y = one_hot(t, z.size)
    expected = softmax(z) - y
    tolerance = 4 * softmax_rounding(z.size) * U64
    close(complex_step(lambda z: log_sum_exp(z) - z[t], z), expected, tolerance)
    # Each entry of J's row is s_t times a number below 1, with two roundings; dividing by the same s_t adds one.
    close(-(y / softmax(z)) @ jacobian(z), expected, tolerance)
    close(expected.sum(), 0, z.size * tolerance)
    assert (np.abs(expected) <= 1).all()


def batch(rng, rows=5, classes=4):
    """Logits and labels."""
    return single(rng.normal(scale=3, size=(rows, classes))), rng.integers(classes, size=rows)


def mean_loss(Z, targets):
    return (log_sum_exp(Z) - (targets * Z).sum(axis=-1)).mean()


def test_batch_mean_gradient():
    """Q3.2: (P - T) / B."""
    Z, labels = batch(generator())
    T = one_hot(labels, 4)
    expected = (softmax(Z) - T) / len(Z)
    close(complex_step(lambda Z: mean_loss(Z, T), Z), expected, 2 * softmax_rounding(4) * U64)


@pytest.mark.parametrize("a", [0.0, 0.1, 0.9])
def test_label_smoothing_gradient(a):
    """Q3.3: (P - Q) / B, and the minimum has the true logit log(1 + C (1 - a) / a) above the others."""
    Z, labels = batch(generator())
    Q = (1 - a) * one_hot(labels, 4) + a / 4
    close(Q.sum(axis=1), np.ones(5), 4 * U64)
    tolerance = 2 * softmax_rounding(4) * U64
    close(complex_step(lambda Z: mean_loss(Z, Q), Z), (softmax(Z) - Q) / len(Z), tolerance)
    if a > 0:
        best = math.log(1 + 4 * (1 - a) / a) * one_hot(labels, 4)
        close(softmax(best), Q, tolerance)


def loss_tolerance(Z):
    """For a float32 mean loss: d_t is rounded once and once more weighted, log S has S's relative error and its own."""
    return (2 * np.ptp(Z, axis=1).max() + softmax_rounding(Z.shape[1]) + EXP) * U


@pytest.mark.parametrize("rows", [1, 5, 130])
def test_fastff_loss(rows):
    """Q1.5: fastff's mean loss is a float, the same for labels (B,) and (B, 1)."""
    Z, labels = batch(generator(), rows)
    loss = fastff.CrossEntropySoftmax()
    value = loss.forward(Z.astype(np.float32), labels)
    assert isinstance(value, float)
    assert value == loss.forward(Z.astype(np.float32), labels[:, np.newaxis])
    close(value, mean_loss(Z, one_hot(labels, 4)), loss_tolerance(Z))


def check_fastff_gradient(Z, labels, loss, targets):
    close(loss.forward(Z.astype(np.float32), labels), mean_loss(Z, targets), loss_tolerance(Z))
    # The targets, the difference and the quotient by B are rounded once each.
    close(loss.backward(), (softmax(Z) - targets) / len(Z), (softmax_rounding(Z.shape[1]) + 3) * U / len(Z))


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (5, 3), (33, 10), (4, 37)])
def test_fastff_batch_mean_gradient(rows, classes):
    """Q3.2: fastff's gradient is (P - T) / B."""
    Z, labels = batch(generator(), rows, classes)
    check_fastff_gradient(Z, labels, fastff.CrossEntropySoftmax(), one_hot(labels, classes))


@pytest.mark.parametrize("a", [0.1, 0.9])
def test_fastff_label_smoothing(a):
    """Q3.3: fastff's label_smoothing is a share spread over all classes, the true one included."""
    Z, labels = batch(generator())
    loss = fastff.CrossEntropySoftmax(label_smoothing=a)
    check_fastff_gradient(Z, labels, loss, (1 - a) * one_hot(labels, 4) + a / 4)


@pytest.mark.parametrize("size", [1e4, MAX])
def test_fastff_extreme_logits(size):
    """Q1.7: fastff's loss and gradient are finite and right, one true class a row."""
    Z = np.tile(np.array([size, 0, -size], np.float32), (3, 1))
    labels = np.arange(3)
    loss = fastff.CrossEntropySoftmax()
    for row in range(3):
        value = loss.forward(Z[row : row + 1], labels[row : row + 1])
        close(value, row * size, (2 * row * size + EXP) * U)
    close(loss.forward(Z, labels), size, (4 * size + EXP) * U)
    close(loss.backward(), (np.array([[1, 0, 0]]) - np.eye(3)) / 3, softmax_rounding(3) * U)
