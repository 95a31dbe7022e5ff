"""Section A of docs/derivations.md: Adam's two forms of bias correction, and its two forms of weight decay.

A test's docstring opens with the section or sections it checks. Tests named test_fastff_* compare fastff with the
document's formula; the others check the formula itself, in float64 NumPy.
"""

import math
from itertools import product

import numpy as np
import pytest
from derivations import U64, U, close, generator

import fastff


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
