"""PiecewiseLinear: a feature's value in each of its ranges, beside a float64 twin, in training, files and ONNX."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastff import (
    ArgumentError,
    Config,
    DataError,
    FeedForwardNeuralNetwork,
    PiecewiseLinear,
    Standardize,
    Trainer,
    load_dataset,
)
from fastff.nn.encoding import scale_by_quarters
from fastff.runs.build import make_trainer

EPS = np.finfo(np.float32).eps


def twin(layer, x):
    """The lines in float64, and whether each value lies between its line's ends."""
    lower, scale, low, high = (np.asarray(a, np.float64) for a in (layer.lower, layer.scale, layer.low, layer.high))
    y = np.clip((x.astype(np.float64)[:, layer.sources] - lower) * scale, low, high)
    return y, (y > low) & (y < high)


def some_layer(features, rng):
    counts = rng.integers(1, 5, features)
    sources = np.repeat(np.arange(features), counts)
    lower, scale = rng.standard_normal((2, len(sources)))
    return PiecewiseLinear(sources, lower, scale, -np.abs(rng.standard_normal(len(sources))), np.ones(len(sources)))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(0, 99))
def test_forward_and_backward_are_those_of_a_float64_twin(rows, features, seed):
    rng = np.random.default_rng(seed)
    layer = some_layer(features, rng)
    x = rng.standard_normal((rows, features)).astype(np.float32)
    y, within = twin(layer, x)
    # one rounding of the difference, whose terms are at most 5 here, and one of the product
    assert np.allclose(layer.forward(x), y, rtol=2 * EPS, atol=5 * EPS * np.abs(layer.scale).max())
    grad = rng.standard_normal(y.shape).astype(np.float32)
    expected = np.zeros((rows, features))
    np.add.at(expected.T, layer.sources, (grad * layer.scale * within).T)
    on_an_end = np.isclose(np.abs(y - layer.low), 0, atol=1e-5) | np.isclose(np.abs(y - layer.high), 0, atol=1e-5)
    sure = np.ones((rows, features), bool)
    np.logical_and.at(sure.T, layer.sources, (~on_an_end | ~within).T)
    assert np.allclose(layer.backward(grad)[sure], expected[sure], rtol=1e-5, atol=1e-5)


def test_what_is_no_number_stays_so_and_what_is_far_away_is_clipped():
    layer = PiecewiseLinear([0], [0.0], [1.0], [-1.0], [2.0])
    y = layer.forward(np.array([[np.nan], [np.inf], [-np.inf], [1e30]], np.float32))
    assert np.isnan(y[0, 0])
    assert y[1:, 0].tolist() == [2.0, -1.0, 2.0]


def test_ranges_lie_between_quantiles():
    x = np.arange(101.0)[:, None] ** 2
    layer = PiecewiseLinear.fit(x, bins=4)
    assert layer.lower[:4].tolist() == [0.0, 625.0, 2500.0, 5625.0]
    assert np.allclose(1 / layer.scale[:4], [625.0, 1875.0, 3125.0, 4375.0])
    assert layer.forward(np.array([[2500.0]]))[0].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert layer.forward(np.array([[-9.0], [1e9]])).tolist() == [
        [0, 0, 0, 0, pytest.approx(-0.5018, abs=1e-4)],
        [1] * 4 + [3],
    ]


def test_few_values_have_a_range_between_any_two_and_flags_are_0_and_1():
    x = np.array([[3, 0, 7], [5, 1, 7], [9, 0, 7], [9, 1, 7]], np.uint8)
    layer = PiecewiseLinear.fit(x, bins=16)
    assert layer.sources.tolist() == [0, 0, 0, 1, 2]
    assert layer.forward(x)[:, [0, 1, 3, 4]].tolist() == [[0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]]


def test_with_many_features_there_are_fewer_ranges():
    x = np.random.default_rng(0).random((50, 1000))
    assert PiecewiseLinear.fit(x, bins=16).output_dim == 4000
    assert PiecewiseLinear.fit(np.hstack([x] * 5), bins=16).output_dim == 10_000


def test_one_value_far_away_leaves_the_others_apart():
    x = np.append(np.linspace(0, 1, 99), 1e12)[:, None]
    front = scale_by_quarters(x)
    layer = PiecewiseLinear.fit(x, bins=8, after=front)
    assert len(np.unique(layer.forward(front.forward(x))[:, 8])) > 90


@pytest.fixture
def stairs():
    """A class that changes back and forth along one number."""
    x = np.random.default_rng(3).random((600, 2))
    return x, (x[:, 0] * 10).astype(int) % 2


def network(x, bins=20):
    front = scale_by_quarters(x)
    net = FeedForwardNeuralNetwork(PiecewiseLinear.fit(x, bins, after=front).output_dim, 2, [16], seed=0)
    net.layers[:0] = [front, PiecewiseLinear.fit(x, bins, after=front)]
    return net


def test_a_network_learns_behind_it_and_one_program_gives_the_bits_of_the_layers(stairs):
    x, y = stairs
    net, layers = network(x), network(x)
    history = Trainer(net, batch_size=50, step_size=0.01).fit(x, y, epochs=10)
    assert history.epochs[-1].train_accuracy > 0.9
    layers.lowers = lambda: False
    Trainer(layers, batch_size=50, step_size=0.01).fit(x, y, epochs=10)
    assert np.array_equal(net.linear_layers[0].weights, layers.linear_layers[0].weights)


def test_a_saved_network_takes_raw_rows(tmp_path, stairs):
    x, _ = stairs
    net = network(x)
    net.save(str(tmp_path / "net.safetensors"))
    assert np.array_equal(FeedForwardNeuralNetwork.load(str(tmp_path / "net.safetensors")).logits(x), net.logits(x))


def test_as_onnx_it_gives_the_same_probabilities(stairs):
    runtime = pytest.importorskip("onnxruntime")
    from fastff.nn.onnx_graph import onnx_bytes

    x, _ = stairs
    x, net = x.astype(np.float32), network(x.astype(np.float32))
    session = runtime.InferenceSession(onnx_bytes(net), providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"rows": x})[0], net.predict_proba(x), atol=1e-5)


def test_the_option_puts_it_behind_the_scaling():
    trainer = make_trainer(Config(bins=4), load_dataset("digits"))
    assert [type(layer).__name__ for layer in trainer.network.layers[:2]] == ["Standardize", "PiecewiseLinear"]
    with pytest.raises(ArgumentError, match="bins: 4 with whiten 8, want one of the two to be 0"):
        make_trainer(Config(bins=4, whiten=8), load_dataset("digits"))


def test_what_does_not_fit_is_refused_by_name():
    x = np.ones((3, 2))
    with pytest.raises(ArgumentError, match="bins: 0"):
        PiecewiseLinear.fit(x, 0)
    with pytest.raises(ArgumentError, match=r"^after: 5, want a Standardize or None$"):
        PiecewiseLinear.fit(x, 3, after=5)
    with pytest.raises(DataError, match="X: rows of 2 values, want 3"):
        PiecewiseLinear.fit(x, 3, after=Standardize(np.zeros(3), np.ones(3)))
    for far in (3e38, -3e38):
        X = np.where(np.arange(40) % 19 == 3, far, 1e-3 * np.sin(np.arange(40)))[:, None]
        with pytest.raises(
            DataError, match=rf"^X: column 0 holds {re.escape(f'{far:g}')}, too far from its other values"
        ):
            PiecewiseLinear.fit(X, 4, after=scale_by_quarters(X))
    with pytest.raises(DataError, match=r"X: nan at row 1, column 0"):
        PiecewiseLinear.fit([[1.0], [np.nan]], 3)
    with pytest.raises(ArgumentError, match="sources: float64 of shape"):
        PiecewiseLinear([0.5], [0], [1], [0], [1])
    for sources in ([1], [0, 2], [0, 1, 0], [-1, 0]):
        with pytest.raises(ArgumentError, match="sources: want 0, 1, 2 and so on in this order"):
            PiecewiseLinear(sources, *np.zeros((4, len(sources))))
    with pytest.raises(ArgumentError, match=r"scale: shape \(1,\), want 2 finite numbers"):
        PiecewiseLinear([0, 1], [0, 0], [1], [0, 0], [1, 1])
    with pytest.raises(ArgumentError, match="low: above high"):
        PiecewiseLinear([0], [0], [1], [2], [1])
