"""Whole networks: their construction, their gradients, prediction, and the way to disk and back."""

import copy
import inspect
import pickle
import re

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from own_layers import Passing
from reference import U

from fastff import (
    SGD,
    Adam,
    ArgumentError,
    CrossEntropySoftmax,
    DataError,
    Dropout,
    FeedForwardNeuralNetwork,
    LinearLayer,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
    Trainer,
    evaluate,
)

FUNCTIONS = {ReLU: reference.ACTIVATIONS["relu"], Sigmoid: reference.ACTIVATIONS["sigmoid"],
             Tanh: reference.ACTIVATIONS["tanh"]}  # fmt: skip


def rows_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- construction ---


def test_the_layers_of_a_network():
    net = FeedForwardNeuralNetwork(10, 3, 8, 3, seed=0)
    assert [type(layer) for layer in net.layers] == [LinearLayer, ReLU, LinearLayer, ReLU, LinearLayer]
    assert [layer.weights.shape for layer in net.layers[::2]] == [(10, 8), (8, 8), (8, 3)]
    assert (net.input_dim, net.output_dim) == (10, 3)
    assert net.parameter_count == 11 * 8 + 9 * 8 + 9 * 3
    assert isinstance(net.layers, list)


def test_hidden_dim_may_be_widths():
    shapes = [layer.weights.shape for layer in FeedForwardNeuralNetwork(10, 3, [7, 5]).layers[::2]]
    assert shapes == [(10, 7), (7, 5), (5, 3)]
    shapes = [layer.weights.shape for layer in FeedForwardNeuralNetwork(10, 3, np.array([7, 5]), 3).layers[::2]]
    assert shapes == [(10, 7), (7, 5), (5, 3)]
    assert len(FeedForwardNeuralNetwork(10, 3, 99, 1).layers) == 1
    assert len(FeedForwardNeuralNetwork(10, 3, []).layers) == 1


def test_names_and_defaults_are_the_contract():
    parameters = inspect.signature(FeedForwardNeuralNetwork).parameters
    assert list(parameters) == ["input_dim", "output_dim", "hidden_dim", "num_layers", "optimizer", "seed"]
    assert parameters["optimizer"].kind == parameters["seed"].kind == inspect.Parameter.KEYWORD_ONLY
    by_name = FeedForwardNeuralNetwork(input_dim=4, output_dim=2, hidden_dim=3, num_layers=2, optimizer=SGD(), seed=1)
    assert by_name.optimizer == SGD()
    assert FeedForwardNeuralNetwork(4, 2, 3, 2).optimizer == Adam()
    assert inspect.signature(by_name.step).parameters["step_size"].default == 0.001
    for method in ("forward", "backward", "step", "predict", "predict_proba", "save", "load"):
        assert callable(getattr(by_name, method))


def test_a_seed_makes_the_weights_and_each_layer_its_own():
    one, two, other = (FeedForwardNeuralNetwork(6, 6, 6, 2, seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(one.layers[::2], two.layers[::2], other.layers[::2], strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        assert (a.weights != c.weights).all()
    assert (one.layers[0].weights != one.layers[2].weights).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 8, 2), "input_dim: 0, want a whole number of at least 1"),
        ((6, 0, 8, 2), "output_dim: 0, want a whole number of at least 1"),
        ((6, 3, 0, 2), r"hidden_dim: 0, want "),
        ((6, 3, [4, 0]), r"hidden_dim[^\n]*: 0, want "),
        ((6, 3, 8.5, 2), r"hidden_dim: 8.5, want "),
        ((6, 3, "8", 2), r"hidden_dim: '8', want "),
        ((6, 3, None, 2), r"hidden_dim: None, want "),
        ((6, 3, 8, 0), "num_layers: 0, want a whole number of at least 1"),
        ((6, 3, 8, 2.0), "num_layers: 2.0, want a whole number of at least 1"),
        ((6, 3, 8), "num_layers: missing, want the number of linear layers"),
        ((6, 3, [4, 5], 2), "num_layers: 2, want 3 for the 2 widths of hidden_dim"),
    ],
)
def test_sizes_that_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=f"^{message}[^\n]*$"):
        FeedForwardNeuralNetwork(*arguments)


@pytest.mark.parametrize("seed", [-1, "1", 1.5])
def test_seeds_that_are_refused(seed):
    with pytest.raises(ArgumentError, match=f"^seed: {re.escape(repr(seed))}, want "):
        FeedForwardNeuralNetwork(4, 2, 3, 2, seed=seed)


@pytest.mark.parametrize("optimizer", ["adam", Adam, 0.001])
def test_an_optimizer_that_is_none_is_refused(optimizer):
    with pytest.raises(ArgumentError, match=r"^optimizer: [^\n]*want "):
        FeedForwardNeuralNetwork(4, 2, 3, 2, optimizer=optimizer)


# --- forward and gradients ---


def forward_twin(layers, parameters, x):
    """The logits with these (weights, bias) in place of the layers' own, in their type."""
    left = iter(parameters)
    for layer in layers:
        if isinstance(layer, LinearLayer):
            x = reference.linear_forward(x, *next(left))
        elif type(layer) in FUNCTIONS:
            x = FUNCTIONS[type(layer)][0](x)
    return x


def parameters_of(net, dtype):
    return [(layer.weights.astype(dtype), layer.bias.astype(dtype)) for layer in net.linear_layers]


def gradients_twin(layers, parameters, x, labels):
    """dL/dW and dL/db of each linear layer, in the parameters' type."""
    inputs, left = [], iter(parameters)
    for layer in layers:
        own = next(left) if isinstance(layer, LinearLayer) else None
        inputs.append((x, own))
        x = reference.linear_forward(x, *own) if own else FUNCTIONS.get(type(layer), (lambda x: x,))[0](x)
    g, result = reference.cross_entropy_gradient(x, labels), []
    for layer, (before, own), after in zip(
        layers[::-1], inputs[::-1], [x] + [i for i, _ in inputs[:0:-1]], strict=True
    ):
        if own:
            result.insert(0, (reference.weight_gradient(before, g), reference.bias_gradient(g)))
            g = reference.linear_backward(g, own[0])
        elif type(layer) in FUNCTIONS:
            g = g * FUNCTIONS[type(layer)][1](after)
    return result


@settings(max_examples=25)
@given(
    activations=st.lists(st.sampled_from([ReLU, Sigmoid, Tanh]), max_size=4),
    dropout=st.booleans(),
    rows=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_gradients_against_finite_differences(activations, dropout, rows, seed):
    """Along one random direction of all parameters: float64 differences of the loss, against float32 gradients."""
    rng = np.random.default_rng(seed)
    net = FeedForwardNeuralNetwork(6, 4, [5 + i for i in range(len(activations))], seed=seed)
    for i, activation in enumerate(activations):
        net.layers[2 * i + 1] = activation()
    for layer in net.linear_layers:
        layer.bias = 0.1 * rng.normal(size=(1, layer.output_dim))
    if dropout:
        off = Dropout(0.5, seed=0)
        off.training = False
        net.layers.insert(len(net.layers) // 2, off)
    x, labels = rows_of((rows, 6), seed), rng.integers(0, 4, rows)

    criterion = CrossEntropySoftmax()
    criterion.forward(net.forward(x), labels)
    net.backward(criterion.backward())
    actual = [(layer.grad_weights, layer.grad_bias) for layer in net.linear_layers]

    exact_parameters, x64 = parameters_of(net, np.float64), x.astype(np.float64)
    exact = gradients_twin(net.layers, exact_parameters, x64, labels)
    direction = [[rng.normal(size=p.shape) for p in pair] for pair in exact_parameters]

    def loss(h):
        moved = [
            [p + h * d for p, d in zip(*both, strict=True)] for both in zip(exact_parameters, direction, strict=True)
        ]
        z = forward_twin(net.layers, moved, x64)
        relus = [type(layer) is ReLU for layer in net.layers]
        signs = [forward_twin(net.layers[:i], moved, x64) > 0 for i, relu in enumerate(relus) if relu]
        return reference.cross_entropy(z, labels).mean(), signs

    # h^2 f''' / 6 of truncation against U64 |f| / h of cancellation: both near 1e-10 for h = 1e-5, were it not for
    # derivatives of a few hundred along a direction this long
    h = 1e-5
    (above, signs_above), (below, signs_below) = loss(h), loss(-h)
    if all((a == b).all() for a, b in zip(signs_above, signs_below, strict=True)):  # no ReLU has its kink between
        slope = sum((g * d).sum() for gs, ds in zip(exact, direction, strict=True) for g, d in zip(gs, ds, strict=True))
        assert (above - below) / (2 * h) == pytest.approx(slope, abs=1e-6 * (1 + abs(slope)))

    # The twin is right, so now element by element. The tolerance is what the same algorithm loses in NumPy's float32,
    # eight times because sums in another order round otherwise, and one ulp a layer of the largest gradient, or of what
    # it is the sum of: (p - y) / rows, an ulp of 1 / rows off, times an input, for each of the rows
    rounded = gradients_twin(net.layers, parameters_of(net, np.float32), x, labels)
    for pair, exact_pair, rounded_pair in zip(actual, exact, rounded, strict=True):
        for a, e, r in zip(pair, exact_pair, rounded_pair, strict=True):
            tolerance = 8 * np.abs(r - e).max() + 2 * U * len(net.layers) * max(np.abs(e).max(), np.abs(x).max())
            np.testing.assert_allclose(a, e, rtol=0, atol=tolerance)


@pytest.mark.parametrize("widths", [[], [64], [32, 16], [24, 24, 24, 24]])
def test_a_small_set_can_be_learnt_by_heart(widths):
    X, Y = rows_of((40, 48), 1), np.random.default_rng(1).integers(0, 3, 40)
    net, criterion = FeedForwardNeuralNetwork(48, 3, widths, seed=0), CrossEntropySoftmax()
    for _ in range(150):
        criterion.forward(net.forward(X), Y)
        net.backward(criterion.backward())
        net.step(0.01)
    assert (net.predict(X) == Y).all()


def test_forward_of_a_network_is_its_layers_in_turn():
    net, X = FeedForwardNeuralNetwork(6, 3, [5, 4], seed=0), rows_of((7, 6))
    h = X
    for layer in net.layers:
        h = layer.forward(h)
    np.testing.assert_array_equal(net.forward(X), h)
    np.testing.assert_array_equal(net.logits(X), h)  # one program for all layers: the same bits


def by_hand(net, X, *, together):
    """What three steps by hand leave, of the network as a whole or of its layers one by one."""
    shown = []
    for number in range(3):
        h, grad = X, np.cos(rows_of((len(X), 3), seed=number))
        if together:
            h = net.forward(X)
            net.backward(grad)
        else:
            for layer in net.layers:
                h = layer.forward(h)
            for layer in reversed(net.layers):
                grad = layer.backward(grad)
        shown += [h, *(array for layer in net.linear_layers for array in (layer.grad_weights, layer.grad_bias))]
        if together:
            net.step(0.01)
        else:
            for layer in net.layers:
                layer.step(0.01)
    return [array.tobytes() for array in (*shown, *net.parameters().values())]


@pytest.mark.parametrize("between", [[], [Sigmoid()], [Passing()], [Tanh(), Passing(), ReLU()], [Dropout(0.5, seed=1)]])
@pytest.mark.parametrize("front", [[], [Standardize(np.zeros(6), np.full(6, 2.0))]])
def test_a_network_by_hand_does_what_its_layers_do_one_by_one(front, between):
    net = FeedForwardNeuralNetwork(6, 3, [5, 4], seed=0)
    net.layers[0:0], net.layers[2:2] = front, between
    net.layers[-1].updates = 7  # as after training of its own
    twin, X = copy.deepcopy(net), rows_of((7, 6))
    assert by_hand(net, X, together=True) == by_hand(twin, X, together=False)
    assert [layer.updates for layer in net.linear_layers] == [3, 3, 10]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_a_network_that_was_used_by_hand_goes_back_alike(copied):
    net, X, grad = FeedForwardNeuralNetwork(6, 3, [5, 4], seed=0), rows_of((7, 6)), rows_of((7, 3))
    net.layers[:0] = [Standardize(np.zeros(6), np.ones(6))]
    net.forward(X)
    twin = copied(net)
    for each in (net, twin):
        each.backward(grad)
        each.step()
    for ours, theirs in zip(net.parameters().values(), copied(twin).parameters().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("method", ["forward", "backward", "step"])
def test_a_method_that_is_put_into_a_layer_is_called(method):
    net, called = FeedForwardNeuralNetwork(6, 3, [5, 4], seed=0), []
    before = getattr(net.layers[2], method)
    setattr(net.layers[2], method, lambda *a, **more: called.append(method) or before(*a, **more))
    twin, X = FeedForwardNeuralNetwork(6, 3, [5, 4], seed=0), rows_of((7, 6))
    assert by_hand(net, X, together=True) == by_hand(twin, X, together=True)
    assert called == [method] * 3


def test_layers_that_have_seen_other_batches_do_not_go_back_together():
    net, X = FeedForwardNeuralNetwork(6, 3, [5, 4], seed=0), rows_of((7, 6))
    net.forward(X)
    net.layers[2].forward(rows_of((4, 5)))
    with pytest.raises(ArgumentError, match=r"^LinearLayer.backward: 7 rows of 4 values, want 4 of 4 as in its last"):
        net.backward(np.zeros((7, 3)))
    net.forward(X)
    net.layers[3] = LinearLayer(4, 2)
    net.layers[3].forward(rows_of((7, 4)))
    with pytest.raises(ArgumentError, match=r"^LinearLayer.backward: 7 rows of 4 values, want 7 of 2 as in its last"):
        net.backward(np.zeros((7, 3)))


# --- prediction ---


@pytest.mark.parametrize("rows", [1, 2, 1023, 1024, 1025, 2100])
def test_predictions_of_any_number_of_rows(rows):
    net, X = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0), rows_of((rows, 6))
    logits = np.concatenate([net.forward(X[i : i + 500]) for i in range(0, rows, 500)])
    predicted, probabilities = net.predict(X), net.predict_proba(X)
    assert predicted.shape == (rows,)
    assert predicted.dtype == np.int64
    assert probabilities.shape == (rows, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(predicted, logits.argmax(1))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=8 * U)
    np.testing.assert_allclose(probabilities, reference.softmax(logits.astype(np.float64)), rtol=0, atol=20 * U)


def test_probabilities_are_stable():
    net = FeedForwardNeuralNetwork(2, 3, 5, 1, seed=0)
    net.layers[0].weights = [[1e4, -1e4, 0], [0, 0, 0]]
    np.testing.assert_array_equal(net.predict_proba([[1, 0], [-1, 0], [0, 0]])[:2], [[1, 0, 0], [0, 1, 0]])


def test_prediction_never_drops_and_leaves_the_network_training():
    net, X = FeedForwardNeuralNetwork(6, 3, 40, 2, seed=0), rows_of((9, 6))
    expected = net.predict_proba(X)
    net.layers.insert(1, Dropout(0.9, seed=0))
    np.testing.assert_array_equal(net.predict_proba(X), expected)
    evaluate(net, X, np.zeros(9, int), 4)
    assert net.layers[1].training
    assert (net.forward(X) != net.logits(X)).any()
    net.layers[1].training = False
    np.testing.assert_array_equal(net.forward(X), net.logits(X))


def test_standardisation_is_part_of_the_network():
    X = np.random.default_rng(0).integers(0, 256, (50, 6), dtype=np.uint8)
    net = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0)
    first = Standardize.fit(X)
    expected = net.logits(first.forward(X))
    net.layers.insert(0, first)
    assert net.input_dim == 6
    np.testing.assert_array_equal(net.logits(X), expected)
    np.testing.assert_array_equal(net.forward(X), expected)


def test_rows_that_are_refused():
    net = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0)
    for use in (net.predict, net.predict_proba, net.logits):
        with pytest.raises(DataError, match=r"^X: rows of 5 values, want 6$"):
            use(np.zeros((2, 5)))
        with pytest.raises(DataError, match=r"^X: shape \(6,\), want two dimensions[^\n]*$"):
            use(np.zeros(6))
        with pytest.raises(DataError, match=r"^X: empty"):
            use(np.zeros((0, 6)))


@pytest.mark.parametrize("out", [5, [1], (), "text", {"0.weight": 3}, {"2.bias": np.broadcast_to(np.float32(1), 3)}])
def test_parameters_go_only_into_arrays(out):
    with pytest.raises(ArgumentError, match=r"^out(\['[\w.]+'\])?: \w+, want (the dict of|an array that can be)"):
        FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0).parameters(out)


def test_parameters_overwrite_an_earlier_result():
    net = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0)
    earlier = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=1).parameters()
    again = net.parameters(earlier)
    for name, array in net.parameters().items():
        assert again[name] is earlier[name]
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: 5, "parameters: int, want a mapping"),
        (lambda whole: list(whole), "parameters: list, want a mapping"),
        (lambda whole: {}, "parameters: no '0.weight', want the names"),
        (lambda whole: {name: whole[name] for name in whole if name != "2.bias"}, "parameters: no '2.bias'"),
        (lambda whole: {**whole, "2.weight": np.zeros((3, 5))}, r"2.weight: shape \(3, 5\), want \(5, 3\)"),
        (lambda whole: {**whole, "2.bias": np.zeros(7)}, r"2.bias: shape \(7,\), want \(1, 3\)"),
        (lambda whole: {**whole, "2.bias": "text"}, "2.bias: str that is not an array of numbers"),
    ],
)
def test_parameters_that_do_not_fit_change_nothing(change, message):
    net = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0)
    before = net.parameters()
    with pytest.raises(ArgumentError, match=rf"^{message}"):
        net.set_parameters(change(FeedForwardNeuralNetwork(6, 3, 5, 2, seed=1).parameters()))
    for name, array in net.parameters().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("value", ["adam", None, Adam, 0.1, np.zeros(3)])
def test_the_optimizer_is_checked_whenever_it_is_assigned(tmp_path, value):
    net = FeedForwardNeuralNetwork(6, 3, 5, 2, optimizer=SGD(0.5))
    net.save(tmp_path / "net")
    for one in (net, copy.deepcopy(net), FeedForwardNeuralNetwork.load(tmp_path / "net")):
        kept = one.optimizer
        with pytest.raises(ArgumentError, match=r"^optimizer: .*, want one such as Adam\(\) or SGD\(\)$"):
            one.optimizer = value
        assert one.optimizer is kept
    assert net.load(tmp_path / "net").optimizer == SGD(0.5)  # which no file holds
    assert FeedForwardNeuralNetwork.load(tmp_path / "net").optimizer == Adam()


def test_backward_and_step_are_refused_out_of_order():
    net = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0)
    with pytest.raises(ArgumentError, match=r"no forward has run"):
        net.backward(np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match=r"no backward has run"):
        net.step()


def test_a_deep_copy_is_independent():
    X, Y = rows_of((50, 6)), np.arange(50) % 3
    net = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0)
    held = net.layers[0].weights
    twin = copy.deepcopy(net)
    before = net.predict_proba(X)
    Trainer(net, step_size=0.1).fit(X, Y, epochs=2)
    assert (held == net.layers[0].weights).all()
    np.testing.assert_array_equal(twin.predict_proba(X), before)
    Trainer(twin, step_size=0.1).fit(X, Y, epochs=2)
    np.testing.assert_array_equal(twin.predict_proba(X), net.predict_proba(X))


# --- a layer of somebody's own ---


class Shifted(ReLU):
    """A built-in layer with another forward, which no program knows."""

    def forward(self, input):
        return super().forward(input) + 1


def test_a_subclass_that_overrides_is_called_and_not_taken_for_what_it_extends():
    net, X = FeedForwardNeuralNetwork(6, 3, 5, 2, seed=0), rows_of((7, 6))
    assert net.lowers()
    plain = net.logits(X)
    net.layers[1] = Shifted()
    assert not net.lowers()
    for rows in (X, np.tile(X, (200, 1))):
        np.testing.assert_array_equal(net.logits(rows), net.forward(rows))
    assert (net.logits(X) != plain).any()
