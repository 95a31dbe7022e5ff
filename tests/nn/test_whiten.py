"""Whitening: the rows as their principal components, each with variance 1."""

import numpy as np
import pytest

from fastff import ArgumentError, DataError, FeedForwardNeuralNetwork, LinearLayer, Standardize, Trainer, Whiten
from fastff.system.checkpoint import load, save
from fastff.training.state import restore_trainer, trainer_state


def correlated_rows(rows=500, features=37, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 9)) @ rng.standard_normal((9, features)) + 0.1 * rng.standard_normal(
        (rows, features)
    )


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8])
def test_its_outputs_are_uncorrelated_with_variance_1_and_mean_0(kind):
    X = (40 * correlated_rows() / np.abs(correlated_rows()).max() + 100).astype(kind)
    first = Standardize.fit(X)
    y = Whiten.fit(X, 9, after=first).forward(first.forward(X)).astype(np.float64)
    assert np.allclose(y.mean(0), 0, atol=1e-4)
    assert np.allclose(y.T @ y / len(y), np.eye(9), atol=1e-3)


def test_its_components_are_the_largest_principal_components():
    X = correlated_rows()
    centred = X - X.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(centred @ directions[:5].T / singular[:5]) * np.sqrt(len(X))
    assert np.allclose(np.abs(Whiten.fit(X, 5).forward(X)), expected, rtol=1e-3, atol=1e-3)


def test_directions_without_variance_stay_zero():
    X = correlated_rows()
    X[:, 3] = 7.0
    X[:, 4] = X[:, 5]
    y = Whiten.fit(X, 37).forward(X)
    assert np.isfinite(y).all()
    assert np.allclose(y[:, -2:], 0)


def test_values_too_large_to_square_are_refused():
    X = correlated_rows()
    with pytest.raises(DataError, match="X: values too large to whiten, want standardised rows"):
        Whiten.fit(1e30 * X, 5)
    assert np.isfinite(Whiten.fit(1e30 * X, 5, after=Standardize.fit(1e30 * X)).projection).all()


def test_backward_is_the_transposed_map():
    X, grad = correlated_rows(5), np.random.default_rng(1).standard_normal((5, 9)).astype(np.float32)
    layer = Whiten.fit(correlated_rows(), 9)
    layer.forward(X)
    assert np.allclose(layer.backward(grad), grad @ layer.projection.T, rtol=1e-4, atol=1e-5)


def whitening_network(X, y_classes=3):
    network = FeedForwardNeuralNetwork(9, y_classes, [16], seed=0)
    first = Standardize.fit(X)
    network.layers[:0] = [first, Whiten.fit(X, 9, after=first)]
    return network


@pytest.fixture
def data():
    X = correlated_rows().astype(np.float32)
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def test_a_network_trains_behind_it_and_one_program_gives_the_bits_of_the_layers(data):
    X, Y = data
    network, twin = whitening_network(X), whitening_network(X)
    history = Trainer(network, batch_size=50, step_size=0.01).fit(X, Y, epochs=20)
    assert history.epochs[-1].train_accuracy > 0.9
    twin.lowers = lambda: False
    Trainer(twin, batch_size=50, step_size=0.01).fit(X, Y, epochs=20)
    assert np.array_equal(network.linear_layers[0].weights, twin.linear_layers[0].weights)


def test_a_saved_network_takes_raw_rows(tmp_path, data):
    X, _ = data
    network = whitening_network(X)
    network.save(str(tmp_path / "net.safetensors"))
    assert np.array_equal(FeedForwardNeuralNetwork.load(str(tmp_path / "net.safetensors")).logits(X), network.logits(X))


def test_a_resumed_run_whitens_with_the_bits_it_began_with(data):
    X, Y = data
    trainer, other = Trainer(whitening_network(X)), Trainer(whitening_network(X))
    trainer.fit(X, Y, epochs=1)
    projection = other.network.layers[1].projection
    other.network.layers[1] = Whiten(np.nextafter(projection, np.float32(9)), other.network.layers[1].shift)
    restore_trainer(other, *trainer_state(trainer), "state")
    assert np.array_equal(other.network.layers[1].projection, trainer.network.layers[1].projection)


def test_what_does_not_fit_is_refused_by_name(tmp_path, data):
    X, _ = data
    with pytest.raises(ArgumentError, match="components: 38, want at most the 37 features"):
        Whiten.fit(X, 38)
    with pytest.raises(ArgumentError, match="components: 0"):
        Whiten.fit(X, 0)
    with pytest.raises(ArgumentError, match=r"projection: shape \(3, 2\) with a shift of 1"):
        Whiten(np.ones((3, 2)), np.ones(1))
    with pytest.raises(ArgumentError, match="projection: holds a value that is not finite"):
        Whiten(np.full((3, 2), np.nan), np.ones(2))
    network = whitening_network(X)
    network.layers[2] = LinearLayer(8, 16)
    arrays, layers = network.state()
    save(tmp_path / "bad.safetensors", arrays, {"layers": layers})
    assert load(tmp_path / "bad.safetensors")
    with pytest.raises(DataError, match=r"layer 2 \(linear\) takes 8 values, want 9"):
        FeedForwardNeuralNetwork.load(str(tmp_path / "bad.safetensors"))
