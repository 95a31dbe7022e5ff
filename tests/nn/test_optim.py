"""One optimizer step on prescribed gradients, element by element, against float64 equations; and what is refused.

A LinearLayer given the rows of the identity has exactly dL/dW = grad and dL/db = the sum of grad's rows, so the layer
applies the optimizer to gradients of our choice and nothing else can blur the comparison.
"""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import U

from fastff import SGD, Adam, ArgumentError, FeedForwardNeuralNetwork, LinearLayer
from fastff.kernels import optimizer as slots

ROWS, COLUMNS, STEPS, STEP_SIZE = 5, 3, 20, 0.01


def gradients(seed: int) -> np.ndarray:
    """STEPS gradients with 1/2 <= |g| <= 2, in sixteenths, so that float32 sums of them are exact."""
    rng = np.random.default_rng(seed)
    return rng.integers(8, 33, (STEPS, ROWS, COLUMNS)) / 16 * rng.choice([-1.0, 1.0], (STEPS, ROWS, COLUMNS))


def run_layer(optimizer, seed: int) -> tuple[LinearLayer, np.ndarray, np.ndarray]:
    layer = LinearLayer(ROWS, COLUMNS, seed=seed)
    layer.optimizer = optimizer
    layer.bias = np.linspace(-1, 1, COLUMNS)
    start = layer.weights.astype(np.float64), layer.bias.astype(np.float64)
    for g in gradients(seed):
        layer.forward(np.eye(ROWS))
        layer.backward(g)
        np.testing.assert_array_equal(layer.grad_weights, g)
        np.testing.assert_array_equal(layer.grad_bias, g.sum(0, keepdims=True))
        layer.step(STEP_SIZE)
    return layer, *start


def adam_twin(w, grads, *, beta1, beta2, epsilon, weight_decay, decoupled, constant):
    """The equations in float64. Returns w after all steps, and the bound on what float32 may lose (see below)."""
    m = v = np.zeros_like(w)
    bound = np.zeros_like(w)
    m_error = v_relative = 0.0
    for t, gradient in enumerate(grads, 1):
        g = gradient + (0 if decoupled else weight_decay) * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        power = 1 if constant else t
        m_hat, v_hat = m / (1 - beta1**power), v / (1 - beta2**power)
        step = STEP_SIZE * m_hat / (np.sqrt(v_hat) + epsilon)
        # m: both products, the sum and both rounded coefficients lose U each, and g itself 2 U, of |m| and |g|, which
        # stay below G. v, a sum of positive terms, loses as many relative roundings a step at most.
        G = np.abs(g).max() + bound.max() * weight_decay
        m_error = beta1 * m_error + 5 * U * G
        v_relative = v_relative + 8 * U
        step_error = STEP_SIZE * (m_error / (1 - beta1**power)) / np.sqrt(v_hat) + np.abs(step) * (v_relative + 6 * U)
        w = w * (1 - STEP_SIZE * weight_decay if decoupled else 1) - step
        bound = bound + step_error + 3 * U * np.abs(w) + 3 * U * np.abs(step)
    return w, bound


def sgd_twin(w, grads, *, momentum, nesterov, weight_decay):
    m, bound, m_error = np.zeros_like(w), np.zeros_like(w), 0.0
    for gradient in grads:
        g = gradient + weight_decay * w
        m = momentum * m + g
        step = STEP_SIZE * (g + momentum * m if nesterov else m)
        m_error = momentum * m_error + 4 * U * (np.abs(m).max() + np.abs(g).max()) + weight_decay * bound.max()
        w = w - step
        bound = bound + STEP_SIZE * 2 * m_error + 4 * U * (np.abs(w) + np.abs(step))
    return w, bound


def assert_close(actual: np.ndarray, expected_and_bound: tuple[np.ndarray, np.ndarray]) -> None:
    expected, bound = expected_and_bound
    assert bound.max() < 1e-3 * STEP_SIZE * STEPS  # the bound itself must be able to tell right from wrong
    assert (np.abs(actual - expected) <= bound).all(), f"{np.abs(actual - expected).max()} above {bound.max()}"


@pytest.mark.parametrize("constant", [False, True], ids=["standard", "constant"])
@pytest.mark.parametrize("decoupled", [False, True], ids=["l2", "decoupled"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_follows_its_equations(constant, decoupled, weight_decay):
    numbers = {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3}
    forms = {"decay": "decoupled" if decoupled else "l2", "bias_correction": "constant" if constant else "standard"}
    layer, weights, bias = run_layer(Adam(**numbers, weight_decay=weight_decay, **forms), seed=1)
    grads = gradients(1)
    twin = dict(numbers, decoupled=decoupled, constant=constant)
    assert_close(layer.weights, adam_twin(weights, grads, weight_decay=weight_decay, **twin))
    # biases are never decayed
    assert_close(layer.bias, adam_twin(bias, grads.sum(1, keepdims=True) + 0.0, weight_decay=0.0, **twin))


@settings(max_examples=25)
@given(
    beta1=st.sampled_from([0.0, 0.5, 0.9]),
    beta2=st.sampled_from([0.9, 0.999]),
    weight_decay=st.floats(0, 0.1),  # so that decay never cancels a gradient: |g| stays above 1/4
    decoupled=st.booleans(),
    constant=st.booleans(),
    seed=st.integers(0, 99),
)
def test_adam_follows_its_equations_whatever_the_numbers(beta1, beta2, weight_decay, decoupled, constant, seed):
    forms = {"decay": "decoupled" if decoupled else "l2", "bias_correction": "constant" if constant else "standard"}
    layer, weights, _ = run_layer(Adam(beta1, beta2, 1e-8, weight_decay, **forms), seed)
    twin = {"decoupled": decoupled, "constant": constant, "weight_decay": weight_decay}
    assert_close(layer.weights, adam_twin(weights, gradients(seed), beta1=beta1, beta2=beta2, epsilon=1e-8, **twin))


def test_the_three_forms_of_adam_are_three():
    forms = [{}, {"bias_correction": "constant"}, {"decay": "decoupled"}]
    results = [run_layer(Adam(weight_decay=0.1, **form), seed=2)[0].weights for form in forms]
    for i in range(3):
        assert np.abs(results[i] - results[i - 1]).max() > 1e-3


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_follows_its_equations(momentum, nesterov, weight_decay):
    layer, weights, bias = run_layer(SGD(momentum, nesterov, weight_decay), seed=3)
    grads = gradients(3)
    twin = {"momentum": momentum, "nesterov": nesterov}
    assert_close(layer.weights, sgd_twin(weights, grads, weight_decay=weight_decay, **twin))
    assert_close(layer.bias, sgd_twin(bias, grads.sum(1, keepdims=True), weight_decay=0.0, **twin))


@pytest.mark.parametrize(
    "optimizer",
    [Adam(weight_decay=0.5), Adam(weight_decay=0.5, decay="decoupled"),
     Adam(weight_decay=0.5, bias_correction="constant"), SGD(0.9, weight_decay=0.5),
     SGD(0.9, weight_decay=0.5, decay="decoupled")],
    ids=["l2", "decoupled", "constant", "sgd", "sgd decoupled"],
)  # fmt: skip
def test_with_no_gradient_only_weights_decay(optimizer):
    layer = LinearLayer(4, 3, seed=0)
    layer.optimizer, layer.bias = optimizer, [[1.0, -2.0, 3.0]]
    before = layer.weights.copy()
    layer.forward(np.ones((2, 4)))
    layer.backward(np.zeros((2, 3)))
    layer.step(0.01)
    np.testing.assert_array_equal(layer.bias, [[1.0, -2.0, 3.0]])
    assert (np.abs(layer.weights) < np.abs(before)).all()


def test_the_courses_adam_is_one_beta_and_the_constant_correction():
    assert Adam.course() == Adam(0.9, 0.9, weight_decay=1e-4, bias_correction="constant")
    assert Adam.course(0.8, 0.01) == Adam(0.8, 0.8, weight_decay=0.01, bias_correction="constant")


def test_defaults():
    adam = Adam()
    assert (adam.beta1, adam.beta2, adam.epsilon, adam.weight_decay) == (0.9, 0.999, 1e-8, 0.0)
    assert (adam.decay, adam.bias_correction) == ("l2", "standard")
    assert FeedForwardNeuralNetwork(2, 2, 2, 2).optimizer == Adam()
    assert Adam(0.5, 0.6, 0.7, 0.8) == Adam(beta1=0.5, beta2=0.6, epsilon=0.7, weight_decay=0.8)
    with pytest.raises(TypeError, match="positional"):
        Adam(0.9, 0.999, 1e-8, 0.0, "l2")


@pytest.mark.parametrize(
    ("make", "name", "found", "wanted"),
    [
        (lambda: Adam(beta1=1.0), "beta1", "1.0", "[0, 1)"),
        (lambda: Adam(beta2=-0.1), "beta2", "-0.1", "[0, 1)"),
        (lambda: Adam(epsilon=0.0), "epsilon", "0.0", "(0, inf)"),
        (lambda: Adam(epsilon=float("nan")), "epsilon", "nan", "(0, inf)"),
        (lambda: Adam(weight_decay=-1), "weight_decay", "-1", "[0, inf)"),
        (lambda: Adam(weight_decay=float("inf")), "weight_decay", "inf", "[0, inf)"),
        (lambda: Adam(beta1="0.9"), "beta1", "'0.9'", "[0, 1)"),
        (lambda: Adam(beta1=True), "beta1", "True", "[0, 1)"),
        (lambda: Adam(beta1=None), "beta1", "None", "[0, 1)"),
        (lambda: Adam(decay="L2"), "decay", "'L2'", "l2, decoupled"),
        (lambda: Adam(bias_correction="none"), "bias_correction", "'none'", "standard, constant"),
        (lambda: SGD(1.0), "momentum", "1.0", "[0, 1)"),
        (lambda: SGD(weight_decay=-1.0), "weight_decay", "-1.0", "[0, inf)"),
    ],
)
def test_what_is_refused(make, name, found, wanted):
    with pytest.raises(ArgumentError, match=f"^{name}: {re.escape(found)}, want .*{re.escape(wanted)}$") as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step_size", [0, -0.1, float("nan"), float("inf"), "0.1", None, True])
def test_step_sizes_that_are_refused(step_size):
    layer = LinearLayer(2, 2, seed=0)
    layer.forward(np.ones((1, 2)))
    layer.backward(np.ones((1, 2)))
    before = layer.weights.copy()
    with pytest.raises(ArgumentError, match=rf"^step_size: {step_size!r}, want a number in \(0, inf\)$"):
        layer.step(step_size)
    np.testing.assert_array_equal(layer.weights, before)
    assert layer.updates == 0


@pytest.mark.parametrize("optimizer", [Adam(), Adam(bias_correction="constant"), SGD(0.9, weight_decay=0.1)])
@pytest.mark.parametrize(
    ("first", "sizes", "says"),
    [
        (1, 0.1, r"step_sizes: shape \(\), want \(steps,\)"),
        (1, np.ones((2, 3)), r"step_sizes: shape \(2, 3\), want \(steps,\)"),
        (1, "fast", r"step_sizes: str that is not an array of numbers, want numbers, \(steps,\)"),
        (1, None, r"step_sizes: shape \(\), want"),
        (1, [[1], [1, 2]], "step_sizes: list that is not an array of numbers"),
        (1, np.array(["a"]), "step_sizes: ndarray that is not an array of numbers"),
        (0, np.ones(2), r"first: 0, want the number of an update, from 1 to 2\*\*62"),
        (-3, np.ones(2), "first: -3, want"),
        (1.5, np.ones(2), "first: 1.5, want"),
        (10**30, np.ones(2), "first: 10+, want"),
        (np.arange(2), np.ones(2), r"first: an array of int64 \(2,\), want"),
        ("1", np.ones(2), "first: '1', want"),
    ],
)
def test_numbers_of_updates_that_cannot_be(optimizer, first, sizes, says):
    with pytest.raises(ArgumentError, match=f"^{says}"):
        optimizer.hyper(first, sizes)


def test_step_sizes_may_be_a_list():
    np.testing.assert_array_equal(Adam().hyper(2, [1, 0.5]), Adam().hyper(2, np.array([1.0, 0.5])))


@pytest.mark.parametrize("make", [lambda: Adam(1e-3), lambda: SGD(0.01), lambda: Adam(beta1=0.1)])
def test_what_looks_like_a_step_size_in_its_place_is_said(make):
    with pytest.warns(UserWarning, match="a step size is given to Trainer or step"):
        make()


def test_decoupled_decay_of_sgd_shrinks_weights_by_the_step_size():
    weights, biases = SGD(weight_decay=0.1, decay="decoupled").hyper(1, np.array([0.5]))[0]
    assert (weights[slots.SHRINK], weights[slots.DECAY]) == (np.float32(0.95), 0)
    assert (biases[slots.SHRINK], biases[slots.DECAY]) == (1, 0)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ArgumentError, match=r"^nesterov: True without momentum"):
        SGD(nesterov=True)
    with pytest.raises(ArgumentError, match=r"^nesterov: 'yes', want"):
        SGD(0.9, "yes")
