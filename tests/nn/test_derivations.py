"""docs/derivations.md, checked by numbers: every section against float64 NumPy, and fastff against the same formula.

A test's docstring opens with the section or sections it checks, and the last test compares those with the document's
"Checked by" lines in both directions. Tests named test_fastff_* call fastff; the others need NumPy only. The formulas
are written out here as the document has them, so that no slip in a shared helper can hide a slip in the document.

Tolerances. U and U64 are the unit roundoffs of float32 and float64: one operation has a relative error of at most U.
Derivatives of smooth functions come from the complex step, f'(x) = Im f(x + ih) / h: its truncation error is
h^2 f'''(x) / 6, nothing at h = 1e-30, and it subtracts nothing, so only the roundings of one evaluation remain, a small
multiple of U64 on the size of the terms. ReLU is not analytic and takes central differences.
"""

import math
import re
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastff

U = 2.0**-24
U64 = 2.0**-53
EXP = 8  # roundings granted to one exp, log, tanh or sigmoid of a kernel: 4 units in the last place
TINY, MAX = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
DOCUMENT = Path(__file__).parents[2] / "docs" / "derivations.md"

checks = settings(deadline=None, max_examples=60)
rows = arrays(np.float64, st.integers(1, 8), elements=st.floats(-50, 50))
float32_rows = arrays(np.float32, st.integers(1, 8), elements=st.floats(-MAX, MAX, width=32))


def generator():
    return np.random.default_rng(0)


def complex_step(f, x):
    """The derivative of f at the real array x, of shape f(x).shape + x.shape."""
    h = 1e-30
    units = np.eye(x.size).reshape(x.size, *x.shape)
    return np.stack([np.imag(f(x + 1j * h * unit)) / h for unit in units], axis=-1).reshape(np.shape(f(x)) + x.shape)


def close(actual, expected, tolerance):
    """Assert |actual - expected| <= tolerance, elementwise; NaN anywhere fails."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected)
    assert (error <= tolerance).all(), f"error {error.max()} above the tolerance {np.max(tolerance)}"


def single(array):
    """The array rounded to float32 and back: numbers that fastff and float64 formulas can share."""
    return np.asarray(array, np.float32).astype(np.float64)


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


# B: linear layers and activations


def layer_case(rng, rows, inputs, outputs):
    """X, W, b and an upstream gradient G."""
    shapes = (rows, inputs), (inputs, outputs), (1, outputs), (rows, outputs)
    return [single(rng.normal(size=shape)) for shape in shapes]


def check_linear_formulas(X, W, b, G, dW, db, dX):
    """Compare with the complex step on L = sum(G * (X W + b)), whose gradient with respect to Y is G."""
    # Each result is a sum of at most n products of two numbers below 5: n roundings of a sum of at most 25 n.
    n = max(X.size, W.size)
    tolerance = 25 * n * n * U64
    close(dW, complex_step(lambda W: (G * (X @ W + b)).sum(), W), tolerance)
    close(db, complex_step(lambda b: (G * (X @ W + b)).sum(), b), tolerance)
    close(dX, complex_step(lambda X: (G * (X @ W + b)).sum(), X), tolerance)


def test_linear_layer_one_example():
    """B1: dW = x^T g, db = g, dx = g W^T for one row."""
    x, W, b, g = layer_case(generator(), 1, 4, 3)
    check_linear_formulas(x, W, b, g, np.outer(x, g), g, g @ W.T)


def test_linear_layer_batch():
    """B2: dW = X^T G, db = 1 G, dX = G W^T, sums over the single rows."""
    X, W, b, G = layer_case(generator(), 5, 4, 3)
    check_linear_formulas(X, W, b, G, X.T @ G, G.sum(axis=0, keepdims=True), G @ W.T)
    close(X.T @ G, sum(np.outer(x, g) for x, g in zip(X, G, strict=True)), 2 * 25 * 5 * 5 * U64)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (1, 7, 3), (5, 7, 3), (33, 65, 17), (64, 32, 32)])
def test_fastff_linear_layer(rows, inputs, outputs):
    """B2: forward X W + b and the three gradients of fastff's layer."""
    X, W, b, G = layer_case(generator(), rows, inputs, outputs)
    layer = fastff.LinearLayer(inputs, outputs, seed=0)
    layer.weights, layer.bias = W.astype(np.float32), b.astype(np.float32)
    # A float32 sum of n products, in any order, errs by at most (n + 1) U times the sum of their sizes, to first order.
    output = layer.forward(X.astype(np.float32))
    close(output, X @ W + b, (inputs + 2) * U * (np.abs(X) @ np.abs(W) + np.abs(b)))
    dX = layer.backward(G.astype(np.float32))
    close(dX, G @ W.T, (outputs + 1) * U * (np.abs(G) @ np.abs(W.T)))
    close(layer.grad_weights, X.T @ G, (rows + 1) * U * (np.abs(X.T) @ np.abs(G)))
    close(layer.grad_bias, G.sum(axis=0, keepdims=True), (rows + 1) * U * np.abs(G).sum(axis=0, keepdims=True))


def test_l2_on_weights_only():
    """B3: the penalty adds lambda W to dW and nothing to db."""
    X, W, b, G = layer_case(generator(), 5, 4, 3)
    decay = 0.3

    def penalised(W, b):
        return (G * (X @ W + b)).sum() + decay / 2 * (W**2).sum()

    tolerance = 25 * 20 * 20 * U64  # as in check_linear_formulas
    close(complex_step(lambda W: penalised(W, b), W), X.T @ G + decay * W, tolerance)
    close(complex_step(lambda b: penalised(W, b), b), G.sum(axis=0, keepdims=True), tolerance)


ACTIVATIONS = {  # name: the function, and its derivative from its output
    "ReLU": (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(np.float64)),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "Tanh": (lambda x: np.sinh(x) / np.cosh(x), lambda y: 1 - y**2),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gradients(name):
    """B4: dX = G * f'(X), with f' from the output."""
    function, derivative = ACTIVATIONS[name]
    X, _, _, G = layer_case(generator(), 6, 5, 5)
    expected = G * derivative(function(X))
    if name == "ReLU":
        # f is linear on both sides of 0 and no entry is nearer to 0 than h: central differences have no truncation
        # error, only that of rounding x + h and x - h, (|x| + h) U64 each, over 2 h; the quotient and G round too.
        h = 1e-3
        assert np.abs(X).min() > h
        differences = G * (function(X + h) - function(X - h)) / (2 * h)
        close(differences, expected, np.abs(G) * (2 * (np.abs(X) + h) * U64 / (2 * h) + 4 * U64))
    else:
        # The derivative is a difference of two terms up to 1, each with a few functions' roundings; the sum's other
        # entries have no imaginary part and add nothing.
        step = complex_step(lambda X: (G * function(X)).sum(), X)
        close(step, expected, 4 * EXP * np.abs(G) * U64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_fastff_activations(name):
    """B4: fastff's activations, forward and backward, far from 0 and at 0 exactly (ReLU's slope there is 0)."""
    function, derivative = ACTIVATIONS[name]
    X, _, _, G = layer_case(generator(), 6, 5, 5)
    X[0] = [0, 2.0**-20, -(2.0**-20), 20, -20]
    layer = getattr(fastff, name)()
    Y = function(X)
    # ReLU rounds nothing. The others err by EXP roundings of a y up to 1, which f' doubles at most and rounds twice;
    # the product with G rounds once.
    rounding = 0 if name == "ReLU" else U
    close(layer.forward(X.astype(np.float32)), Y, EXP * rounding)
    close(layer.backward(G.astype(np.float32)), G * derivative(Y), (2 * EXP + 3) * rounding * np.abs(G))


# A: Adam


class PlainAdam:
    """Section A for one array, in float64: decay is lambda for weights and 0 for biases."""

    def __init__(self, size=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, correction="standard", kind="l2", decay=0.0):
        self.size, self.beta1, self.beta2, self.epsilon = size, beta1, beta2, epsilon
        self.correction, self.kind, self.decay = correction, kind, decay
        self.m = self.v = self.t = 0

    def step(self, w, gradient):
        """The new w."""
        self.t += 1
        power = self.t if self.correction == "standard" else 1
        g = gradient + self.decay * w if self.kind == "l2" else gradient
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        m_hat, v_hat = self.m / (1 - self.beta1**power), self.v / (1 - self.beta2**power)
        shrink = self.size * self.decay * w if self.kind == "decoupled" else 0
        return w - shrink - self.size * m_hat / (np.sqrt(v_hat) + self.epsilon)


def adam_moves(gradients, **options):
    """The change of w at each step, for gradients of shape (steps, ...)."""
    adam = PlainAdam(**options)
    return np.array([adam.step(0.0, g) for g in gradients])  # without decay the change does not depend on w


def rate(t, beta1, beta2):
    """r_t of A2."""
    return (1 - beta1**t) / (1 - beta1) * np.sqrt((1 - beta2) / (1 - beta2**t))


def test_adam_standard_correction():
    """A1: m_hat is the mean with weights b^(t-i), the first step has size eta, and a constant gradient keeps it."""
    gradients = generator().normal(loc=1, size=(30, 4))
    adam = PlainAdam()
    for t, g in enumerate(gradients, start=1):
        adam.step(0.0, g)
        for moment, beta, power in ((adam.m, 0.9, 1), (adam.v, 0.999, 2)):
            weights = beta ** np.arange(t - 1, -1, -1.0)
            mean = np.average(gradients[:t] ** power, axis=0, weights=weights)
            # 3 roundings a step of numbers below 25; 1 - beta^t is rounded to U64 and is at least 1 - beta.
            close(moment / (1 - beta**t), mean, 25 * (4 * t + 4) * U64 / (1 - beta))
    scales = np.array([1e-3, -1.0, 1e4])
    moves = adam_moves(np.tile(scales, (50, 1)))
    # epsilon takes a share of epsilon / |g| off; 1 - beta2^t is the least exact of the rounded factors.
    close(moves, np.tile(-1e-3 * np.sign(scales), (50, 1)), 1e-3 * (1e-8 / 1e-3 + 50 * 4 * U64 / 1e-3))


def test_adam_constant_correction():
    """A2: the constant form is the standard form with step size eta r_t and epsilon_t; r_t starts at 1 and tends on."""
    gradients = generator().normal(size=(200, 3))
    for (beta1, beta2), epsilon in product([(0.9, 0.999), (0.9, 0.9)], [1e-8, 0.1]):
        constant = adam_moves(gradients, beta1=beta1, beta2=beta2, epsilon=epsilon, correction="constant")
        standard = PlainAdam(beta1=beta1, beta2=beta2)
        for t, g in enumerate(gradients, start=1):
            standard.size = 1e-3 * rate(t, beta1, beta2)
            standard.epsilon = epsilon * math.sqrt((1 - beta2) / (1 - beta2**t))
            # Both divide the same m and v: the corrections round to U64 over 1 - beta2 at worst, and a step is at most
            # eta m / sqrt(v) < 10 eta.
            close(standard.step(0.0, g), constant[t - 1], 10 * 1e-3 * 8 * U64 / (1 - beta2))

    t = np.arange(1, 10_001)
    usual, low, high = rate(t, 0.9, 0.999), rate(t, 0.9, 0.9), rate(t, 0.999, 0.999)
    for rates, limit in ((usual, 0.1**0.5), (low, 10**0.5), (high, 1000**0.5)):
        close(rates[0], 1, 8 * U64 / 1e-3)
        close(rates[-1], limit, limit * 1e-4)  # 0.999^10000 is 4.5e-5, and half of it remains under the root
    assert usual.argmax() + 1 == 12
    assert round(usual.max(), 2) == 2.08
    assert usual[105 - 1] > 1 > usual[106 - 1]
    for rising, beta in ((low[:200], 0.9), (high, 0.999)):
        close(rising, np.sqrt((1 - beta ** t[: rising.size]) / (1 - beta)), rising * 16 * U64 / 1e-3)
        assert (np.diff(rising) >= 0).all()


@pytest.mark.parametrize("decay", [1e-3, 0.1])
def test_adam_weight_decay(decay):
    """A3: without gradient the first step is eta sign(w) under L2, whatever lambda, and eta lambda w decoupled."""
    w = np.array([2.0, -0.5])
    size = 1e-2
    moved = {kind: PlainAdam(size, kind=kind, decay=decay).step(w, np.zeros(2)) - w for kind in ("l2", "decoupled")}
    # epsilon takes a share of epsilon / |lambda w| off; w - (w - x) rounds to U64 of w's size, twice.
    close(moved["l2"], -size * np.sign(w), size * 1e-8 / (decay * 0.5) + 8 * U64)
    close(moved["decoupled"], -size * decay * w, 8 * U64)


def linear_layers(network):
    return [layer for layer in network.layers if isinstance(layer, fastff.LinearLayer)]


def parameters(layer):
    """Copies of weights and bias, in float64."""
    return [np.array(array, np.float64) for array in (layer.weights, layer.bias)]


@pytest.mark.parametrize("kind", ["l2", "decoupled"])
@pytest.mark.parametrize("correction", ["standard", "constant"])
def test_fastff_adam(correction, kind):
    """A1, A2, A3: six steps of a network under fastff's Adam against the formulas, each from fastff's own weights."""
    rng, size, decay = generator(), 0.1, 0.1
    adam = fastff.Adam(weight_decay=decay, decay=kind, bias_correction=correction)
    network = fastff.FeedForwardNeuralNetwork(5, 3, (4,), optimizer=adam, seed=0)
    layers = linear_layers(network)
    options = {"size": size, "correction": correction, "kind": kind}
    twins = [[PlainAdam(**options, decay=decay), PlainAdam(**options)] for _ in layers]
    largest = [[0.0, 0.0] for _ in layers]  # the largest |dW| + lambda |w| so far: what rounding of g is relative to
    for t in range(1, 7):
        before = [parameters(layer) for layer in layers]
        # One row, so that a gradient is one product: however it is computed it has one rounding, and nothing cancels.
        network.forward(rng.normal(size=(1, 5)).astype(np.float32))
        network.backward(rng.normal(size=(1, 3)).astype(np.float32))
        gradients = [[np.array(g, np.float64) for g in (layer.grad_weights, layer.grad_bias)] for layer in layers]
        network.step(step_size=size)
        for i, layer in enumerate(layers):
            for j, after in enumerate(parameters(layer)):
                twin, w, g = twins[i][j], before[i][j], gradients[i][j]
                largest[i][j] = np.maximum(largest[i][j], np.abs(g) + twin.decay * np.abs(w))
                expected = twin.step(w, g)
                # m and v take 3 roundings a step, root and quotient a few more. An error of g counts by its size over
                # sqrt(v_hat), and here |m_hat| <= 2.4 sqrt(v_hat) by Cauchy-Schwarz. w itself is rounded twice.
                power = t if correction == "standard" else 1
                root = np.sqrt(twin.v / (1 - twin.beta2**power)) + twin.epsilon
                close(after, expected, size * 8 * (t + 1) * U * (1 + largest[i][j] / root) + 3 * U * np.abs(w))


@pytest.mark.parametrize("kind", ["l2", "decoupled"])
def test_fastff_decay_spares_biases(kind):
    """B3: with no gradient at all fastff's decay moves every weight and no bias."""
    size, decay = 0.01, 0.5
    adam = fastff.Adam(weight_decay=decay, decay=kind)
    network = fastff.FeedForwardNeuralNetwork(5, 3, (4,), optimizer=adam, seed=0)
    for layer in linear_layers(network):
        layer.bias = np.ones_like(layer.bias)
    before = [parameters(layer) for layer in linear_layers(network)]
    network.forward(np.ones((2, 5), np.float32))
    network.backward(np.zeros((2, 3), np.float32))
    network.step(step_size=size)
    for layer, (weights, bias) in zip(linear_layers(network), before, strict=True):
        after, bias_after = parameters(layer)
        expected = PlainAdam(size, kind=kind, decay=decay).step(weights, np.zeros_like(weights))
        close(after, expected, 3 * U * np.abs(weights) + 16 * U * size)  # w is rounded twice, a step has size eta
        np.testing.assert_array_equal(bias_after, bias)


# The document itself


def test_document_and_tests_name_each_other():
    """Every section is checked, every test belongs to a section, and both sides say so."""
    sections = dict(re.findall(r"^### (\w+(?:\.\d)?) .+?\n(.*?)(?=^##|\Z)", DOCUMENT.read_text("utf-8"), re.M | re.S))
    promised = {
        (section, test)
        for section, text in sections.items()
        for line in re.findall(r"^Checked by .*$", text, re.M)
        for test in re.findall(r"`tests/nn/test_derivations\.py::(\w+)`", line)
    }
    kept = {
        (section, name)
        for name, test in globals().items()
        if name.startswith("test_") and name != "test_document_and_tests_name_each_other"
        for section in test.__doc__.partition(":")[0].split(", ")
    }
    assert {section for section, _ in promised} == set(sections), "a section has no 'Checked by' line"
    assert promised == kept
