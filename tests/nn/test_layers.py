"""The layers called by hand, as a student calls them: shapes, values, gradients, what is kept and what is refused."""

import copy
import re

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import U

from fastff import Adam, ArgumentError, DataError, Dropout, LinearLayer, ReLU, Sigmoid, Standardize, Tanh

ACTIVATIONS = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}
LAYERS = [lambda: LinearLayer(4, 3, seed=0), ReLU, Sigmoid, Tanh, lambda: Dropout(0.5, seed=0),
          lambda: Standardize([1, 2, 3, 4], [1, 2, 0, 4])]  # fmt: skip
sizes = st.integers(1, 70)


def rows_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- LinearLayer ---


@given(rows=sizes, inputs=sizes, outputs=sizes, seed=st.integers(0, 9))
def test_linear_forward_and_gradients_are_the_equations(rows, inputs, outputs, seed):
    layer = LinearLayer(inputs, outputs, seed=seed)
    layer.bias = rows_of((1, outputs), seed + 1)
    x, g = rows_of((rows, inputs), seed + 2), rows_of((rows, outputs), seed + 3)
    w, b = layer.weights, layer.bias

    def check(actual, formula, roundings, *arguments):
        # n products summed in any order: the error is at most gamma(n) times the sum of the absolute products
        exact = formula(*(a.astype(np.float64) for a in arguments))
        bound = reference.gamma(roundings) * formula(*(np.abs(a).astype(np.float64) for a in arguments))
        assert actual.shape == exact.shape
        assert actual.dtype == np.float32
        assert (np.abs(actual - exact) <= bound).all()

    check(layer.forward(x), reference.linear_forward, inputs + 1, x, w, b)
    check(layer.backward(g), reference.linear_backward, outputs + 1, g, w)
    check(layer.grad_weights, reference.weight_gradient, rows + 1, x, g)
    check(layer.grad_bias, reference.bias_gradient, rows + 1, g)


def test_weights_and_bias_can_be_read_written_and_assigned():
    layer = LinearLayer(2, 3, seed=0)
    assert layer.weights.shape == (2, 3)
    assert layer.bias.shape == (1, 3)
    assert layer.weights.dtype == layer.bias.dtype == np.float32
    assert not layer.bias.any()
    layer.weights = np.arange(6).reshape(2, 3)
    layer.bias = [[1, 2, 3]]
    np.testing.assert_array_equal(layer.forward([[1, 1]]), [[4, 7, 10]])
    layer.weights[0, 0] = 10
    layer.bias[0, 1] = 0
    np.testing.assert_array_equal(layer.forward([[1, 1]]), [[14, 5, 10]])
    layer.weights *= 2
    layer.bias += 1
    np.testing.assert_array_equal(layer.forward([[1, 1]]), [[28, 11, 18]])
    layer.bias = np.array([0, 0, 0])  # (out,) is as clear
    np.testing.assert_array_equal(layer.forward([[1, 1]]), [[26, 10, 14]])


def test_a_held_weight_matrix_follows_step():
    layer = LinearLayer(2, 2, seed=0)
    held, before = layer.weights, layer.weights.copy()
    layer.forward(np.ones((1, 2)))
    layer.backward(np.ones((1, 2)))
    layer.step(0.5)
    assert (held != before).all()
    np.testing.assert_array_equal(held, layer.weights)


def test_assigned_weights_are_copied():
    layer, mine = LinearLayer(2, 2, seed=0), np.ones((2, 2), np.float32)
    layer.weights = mine
    mine[:] = 5
    np.testing.assert_array_equal(layer.weights, np.ones((2, 2)))


@pytest.mark.parametrize("inputs", [50, 3072])
def test_he_initialisation(inputs):
    weights = LinearLayer(inputs, 400, seed=0).weights
    # the standard deviation of n normal numbers is itself off by 1 / sqrt(2 n), relative: five of those
    assert weights.std() == pytest.approx(np.sqrt(2 / inputs), rel=5 / np.sqrt(2 * weights.size))
    assert abs(weights.mean()) < 5 * np.sqrt(2 / inputs / weights.size)


def test_a_seed_makes_weights_reproducible():
    np.testing.assert_array_equal(LinearLayer(5, 4, seed=3).weights, LinearLayer(5, 4, seed=3).weights)
    assert (LinearLayer(5, 4, seed=3).weights != LinearLayer(5, 4, seed=4).weights).all()
    assert (LinearLayer(5, 4).weights != LinearLayer(5, 4).weights).all()
    with pytest.raises(TypeError, match="positional"):
        LinearLayer(5, 4, 3)


def test_gradients_are_those_of_the_last_backward_whatever_came_after():
    layer = LinearLayer(3, 2, seed=0)
    x, g = rows_of((4, 3)), rows_of((4, 2), 1)
    layer.forward(x)
    layer.backward(g)
    expected = layer.grad_weights.copy(), layer.grad_bias.copy()
    layer.step(0.1)
    layer.forward(rows_of((7, 3), 2))
    np.testing.assert_array_equal(layer.grad_weights, expected[0])
    np.testing.assert_array_equal(layer.grad_bias, expected[1])


def test_gradients_leave_decay_out():
    layer = LinearLayer(3, 2, seed=0)
    layer.optimizer = Adam(weight_decay=10.0)
    layer.forward(np.zeros((1, 3)))
    layer.backward(np.ones((1, 2)))
    np.testing.assert_array_equal(layer.grad_weights, np.zeros((3, 2)))


def test_a_deep_copy_is_independent():
    layer = LinearLayer(3, 2, seed=0)
    held = layer.weights
    twin = copy.deepcopy(layer)
    before = twin.forward(np.eye(3)).copy()
    held[:] = 7
    layer.forward(np.eye(3))
    np.testing.assert_array_equal(twin.forward(np.eye(3)), before)
    twin.weights[:] = 3
    np.testing.assert_array_equal(twin.forward(np.eye(3)), np.full((3, 2), 3))
    np.testing.assert_array_equal(layer.forward(np.eye(3)), np.full((3, 2), 7))


# --- activations ---


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(x=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
                    elements=st.floats(-100, 100, width=32)))  # fmt: skip
def test_activations_and_their_derivatives(name, x):
    layer, (function, derivative) = ACTIVATIONS[name](), reference.ACTIVATIONS[name]
    y, g = layer.forward(x), rows_of(x.shape)
    exact = function(x.astype(np.float64))
    # within 3 ulp of the function's value; a sigmoid below e^-87 may be taken as 0
    np.testing.assert_allclose(y, exact, rtol=6 * U, atol=2e-38)
    # the derivative is taken from y, in three roundings of numbers up to 1
    expected = g * derivative(y.astype(np.float64))
    assert (np.abs(layer.backward(g) - expected) <= 3 * U * np.abs(g)).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_hand_a_nan_on(name):
    y = ACTIVATIONS[name]().forward([[1.0, np.nan, -1.0]])
    np.testing.assert_array_equal(np.isnan(y), [[False, True, False]])


def test_relu_has_no_gradient_at_zero_and_below():
    relu = ReLU()
    np.testing.assert_array_equal(relu.forward([[-1, -0.0, 0, 2]]), [[0, 0, 0, 2]])
    np.testing.assert_array_equal(relu.backward([[5, 5, 5, 5]]), [[0, 0, 0, 5]])


# --- Dropout ---


def test_dropout_drops_its_rate_and_scales_the_rest():
    layer, n = Dropout(0.3, seed=0), 400 * 500
    y = layer.forward(np.ones((400, 500)))
    dropped = (y == 0).mean()
    assert abs(dropped - 0.3) < 5 * np.sqrt(0.3 * 0.7 / n)  # five standard deviations of a binomial share
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=2 * U)
    # rows and columns are dropped independently: their shares scatter as binomial ones do
    for axis, count in ((0, 400), (1, 500)):
        assert (y == 0).mean(axis).std() == pytest.approx(np.sqrt(0.3 * 0.7 / count), rel=0.2)
    # and back goes what came through
    np.testing.assert_array_equal(layer.backward(np.ones((400, 500))), y)


def test_dropout_draws_a_new_mask_each_time_and_the_same_from_the_same_seed():
    x = np.ones((20, 20))
    one, two = Dropout(0.5, seed=1), Dropout(0.5, seed=1)
    first, second = one.forward(x), one.forward(x)
    assert (first != second).any()
    np.testing.assert_array_equal(two.forward(x), first)
    np.testing.assert_array_equal(two.forward(x), second)
    assert (Dropout(0.5, seed=2).forward(x) != first).any()


def test_dropout_passes_everything_on_when_not_training():
    layer, x, g = Dropout(0.5, seed=0), rows_of((6, 5)), rows_of((6, 5), 1)
    layer.forward(x)  # in training, with a mask that must not be used below
    layer.training = False
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(g), g)
    layer.training = True
    assert (layer.forward(x) == 0).any()


def test_dropout_at_rate_zero_drops_nothing():
    x = rows_of((6, 5))
    np.testing.assert_array_equal(Dropout(0.0).forward(x), x)
    assert Dropout().rate == 0.5


# --- all of them ---


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("kind", ["float64", "uint8", "fortran", "strided", "reversed", "read-only", "list", "int64"])
def test_rows_of_every_kind_give_what_a_plain_copy_gives(make, kind):
    plain = np.random.default_rng(0).integers(0, 200, (9, 4)).astype(np.float32)
    wide = np.zeros((18, 8), np.float32)
    wide[::2, 1::2] = plain
    read_only = plain.copy()
    read_only.flags.writeable = False
    rows = {
        "float64": plain.astype(np.float64), "uint8": plain.astype(np.uint8), "fortran": np.asfortranarray(plain),
        "strided": wide[::2, 1::2], "reversed": plain[::-1, ::-1].copy()[::-1, ::-1], "read-only": read_only,
        "list": plain.tolist(), "int64": plain.astype(np.int64),
    }[kind]  # fmt: skip
    result = make().forward(rows)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, make().forward(plain))
    np.testing.assert_array_equal(np.asarray(rows), plain)


@pytest.mark.parametrize("make", LAYERS)
def test_results_belong_to_the_caller(make):
    layer, x, g = make(), rows_of((5, 4)), None
    y = layer.forward(x)
    g = rows_of(y.shape, 1)
    kept, below = y.copy(), layer.backward(g)
    kept_below = below.copy()
    layer.forward(x + 1)
    layer.backward(g + 1)
    np.testing.assert_array_equal(y, kept)
    np.testing.assert_array_equal(below, kept_below)
    y[:] = 0  # and what the caller does with them is no matter to the layer
    one, two = make(), make()
    one.forward(x)[:] = 99
    two.forward(x)
    np.testing.assert_array_equal(one.backward(g), two.backward(g))


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearLayer(0, 3), "input_dim: 0, want a whole number of at least 1"),
        (lambda: LinearLayer(3, -1), "output_dim: -1, want a whole number of at least 1"),
        (lambda: LinearLayer(3.0, 1), "input_dim: 3.0, want a whole number of at least 1"),
        (lambda: LinearLayer(3, True), "output_dim: True, want a whole number of at least 1"),
        (lambda: Dropout(1.0), "rate: 1.0, want a number in [0, 1)"),
        (lambda: Dropout(-0.1), "rate: -0.1, want a number in [0, 1)"),
        (lambda: Dropout(float("nan")), "rate: nan, want a number in [0, 1)"),
        (lambda: Dropout("0.5"), "rate: '0.5', want a number in [0, 1)"),
        (lambda: Dropout(None), "rate: None, want a number in [0, 1)"),
        (lambda: Standardize([0, 1], [1]), "std: 1 values, want as many as mean has, 2"),
        (lambda: Standardize([0, 1], [1, -3]), "std: -3, want no negative value"),
        (lambda: Standardize([0, np.nan], [1, 1]), "mean: holds nan, want one finite number a feature"),
        (lambda: Standardize([0], [np.inf]), "std: holds inf, want one finite number a feature"),
        (lambda: Standardize([], []), "mean: empty, want one finite number a feature"),
    ],
)
def test_arguments_that_are_refused(make, message):
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("make", [lambda s: LinearLayer(2, 2, seed=s), lambda s: Dropout(seed=s)])
@pytest.mark.parametrize("seed", [-1, "1", 1.5])
def test_seeds_that_are_refused(make, seed):
    with pytest.raises(ArgumentError, match=f"^seed: {re.escape(repr(seed))}, want "):
        make(seed)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", np.zeros((3, 2)), r"^weights: shape \(3, 2\), want \(2, 3\)$"),
        ("weights", 0.0, r"^weights: shape \(\), want \(2, 3\)$"),
        ("weights", np.zeros(3), r"^weights: shape \(3,\), want \(2, 3\)$"),
        ("weights", [["a"] * 3] * 2, r"^weights: [^\n]*want"),
        ("weights", [[1], [1, 2]], r"^weights: [^\n]*want"),
        ("bias", np.zeros((3, 1)), r"^bias: shape \(3, 1\), want \(1, 3\)$"),
        ("bias", np.zeros(2), r"^bias: shape \(2,\), want \(1, 3\)$"),
    ],
)
def test_parameters_that_are_refused_change_nothing(name, value, message):
    layer = LinearLayer(2, 3, seed=0)
    before = layer.weights.copy(), layer.bias.copy()
    with pytest.raises(ArgumentError, match=message):
        setattr(layer, name, value)
    np.testing.assert_array_equal(layer.weights, before[0])
    np.testing.assert_array_equal(layer.bias, before[1])


@pytest.mark.parametrize("make", [lambda: LinearLayer(2, 3), lambda: Standardize([0, 0], [1, 1])])
def test_rows_that_are_refused(make):
    with pytest.raises(DataError, match=r"^input: rows of 3 values, want 2$"):
        make().forward(np.zeros((4, 3)))
    with pytest.raises(DataError, match=r"^input: shape \(2,\), want two dimensions"):
        make().forward(np.zeros(2))
    with pytest.raises(DataError, match=r"^input: empty, shape \(0, 2\)"):
        make().forward(np.zeros((0, 2)))


@pytest.mark.parametrize("make", [lambda: LinearLayer(4, 3), ReLU, Sigmoid, Tanh, Dropout])
def test_backward_is_refused_without_its_forward(make):
    layer = make()
    with pytest.raises(ArgumentError, match=rf"^{type(layer).__name__}\.backward: no forward has run"):
        layer.backward(np.zeros((5, 3)))
    width = layer.forward(np.zeros((5, 4))).shape[1]
    with pytest.raises(ArgumentError, match=r"^grad: 4 rows, want 5 as in the last forward$"):
        layer.backward(np.zeros((4, width)))
    with pytest.raises(DataError, match=rf"^grad: rows of {width + 1} values, want {width}$"):
        layer.backward(np.zeros((5, width + 1)))


def test_gradients_and_step_are_refused_without_their_backward():
    layer = LinearLayer(2, 2)
    layer.forward(np.zeros((1, 2)))
    for ask in (lambda: layer.grad_weights, lambda: layer.grad_bias, lambda: layer.step(0.1)):
        with pytest.raises(ArgumentError, match=r"^LinearLayer: no backward has run"):
            ask()
