"""Networks and trainings in files: what was saved comes back, also from files of earlier versions, or is refused.

saved_network.safetensors and saved_training.safetensors were written by version 0.1.0, and hold every kind of layer.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from fastff import (
    SGD,
    Adam,
    ArgumentError,
    Augment,
    DataError,
    Dropout,
    FeedForwardNeuralNetwork,
    LinearLayer,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
    Trainer,
    Whiten,
    evaluate,
)
from fastff.system import checkpoint
from fastff.training.state import restore_trainer, trainer_state

HERE = Path(__file__).parent


def rows_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- files of earlier versions ---


def test_a_network_of_an_earlier_version_loads_and_is_saved_as_it_was(tmp_path):
    network = FeedForwardNeuralNetwork.load(HERE / "saved_network.safetensors")
    assert [type(layer) for layer in network.layers] == [
        Augment, Standardize, Whiten, LinearLayer, ReLU, Dropout, LinearLayer, Sigmoid, LinearLayer, Tanh, LinearLayer
    ]  # fmt: skip
    first = network.layers[0]
    assert (first.image_shape, first.mirror, first.shift, network.layers[5].rate) == ((3, 2, 2), False, 1, 0.25)
    arrays, _ = checkpoint.load(HERE / "saved_network.safetensors")
    parts = {1: ("mean", "std"), 2: ("projection", "shift")} | dict.fromkeys((3, 6, 8, 10), ("weight", "bias"))
    assert set(arrays) == {f"{i}.{name}" for i, names in parts.items() for name in names}
    np.testing.assert_array_equal(network.layers[2].projection, arrays["2.projection"])
    np.testing.assert_array_equal(network.layers[10].bias[0], arrays["10.bias"])
    network.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (HERE / "saved_network.safetensors").read_bytes()


def test_a_training_of_an_earlier_version_is_restored_whole():
    arrays, metadata = checkpoint.load(HERE / "saved_training.safetensors")
    assert {
        "3.weight",
        "3.weight.moment1",
        "3.weight.moment2",
        "3.bias.moment1",
        "best.3.weight",
        "best.10.bias",
    } <= set(arrays)
    network = FeedForwardNeuralNetwork.load(HERE / "saved_network.safetensors")
    for layer in network.linear_layers:
        layer.weights, layer.bias = np.zeros(layer.weights.shape), np.ones(layer.output_dim)
    trainer = Trainer(network, batch_size=16, seed=1, monitor="val_loss")
    restore_trainer(trainer, arrays, metadata, "the file")
    again, notes = trainer_state(trainer)
    assert notes == metadata
    assert set(again) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(np.asarray(again[name]), array)


# --- there and back ---


@pytest.fixture
def net():
    net = FeedForwardNeuralNetwork(6, 3, [5, 4], seed=0)
    net.layers = [Standardize([1] * 6, [2, 3, 0, 1, 1e-3, 7]), net.layers[0], Sigmoid(), Dropout(0.25), net.layers[2],
                  Tanh(), net.layers[4]]  # fmt: skip
    for layer in net.linear_layers:
        layer.bias = rows_of((1, layer.output_dim), 5)
    return net


def test_what_was_saved_comes_back_bit_for_bit(net, tmp_path):
    path, X = tmp_path / "net.safetensors", rows_of((30, 6))
    net.save(path)
    made = FeedForwardNeuralNetwork.load(path)
    filled = FeedForwardNeuralNetwork(2, 2, 2, 2)
    assert filled.load(str(path)) is filled
    for other in (made, filled):
        assert [type(layer) for layer in other.layers] == [type(layer) for layer in net.layers]
        assert other.layers[3].rate == 0.25
        for a, b in zip(other.linear_layers, net.linear_layers, strict=True):
            np.testing.assert_array_equal(a.weights, b.weights)
            np.testing.assert_array_equal(a.bias, b.bias)
        np.testing.assert_array_equal(other.logits(X), net.logits(X))
        assert (other.input_dim, other.output_dim) == (6, 3)


def test_a_loaded_network_trains_on(net, tmp_path):
    X, Y = rows_of((30, 6)), np.arange(30) % 3
    net.save(tmp_path / "net")
    loaded = FeedForwardNeuralNetwork.load(tmp_path / "net")
    before = evaluate(loaded, X, Y, 30)[0]
    Trainer(loaded, step_size=0.01).fit(X, Y, epochs=20)
    assert evaluate(loaded, X, Y, 30)[0] < before


def test_loading_keeps_the_optimizer_of_the_network_it_fills(net, tmp_path):
    net.save(tmp_path / "net")
    filled = FeedForwardNeuralNetwork(2, 2, 2, 2, optimizer=SGD(0.5))
    assert filled.load(tmp_path / "net").optimizer == SGD(0.5)
    assert FeedForwardNeuralNetwork.load(tmp_path / "net").optimizer == Adam()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "missing", "folder"])
def test_a_damaged_file_is_one_line_and_the_network_stays(net, tmp_path, damage):
    path, X = tmp_path / "net.safetensors", rows_of((5, 6))
    net.save(path)
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        content[-3] ^= 1
        path.write_bytes({"cut": content[:-20], "flipped": content, "empty": b"", "text": b"hello"}[damage])
    before = net.logits(X)
    for load in (FeedForwardNeuralNetwork.load, net.load):
        with pytest.raises(DataError, match=re.escape(str(path))) as caught:
            load(path)
        assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(net.logits(X), before)


LINEAR = {"0.weight": np.ones((2, 3), np.float32), "0.bias": np.ones(3, np.float32)}


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        (LINEAR, {}, "has no list of layers"),
        (LINEAR, {"layers": []}, "has no list of layers"),
        (LINEAR, {"layers": "linear"}, "has no list of layers"),
        (LINEAR, {"layers": [{"layer": "conv"}]}, r"layer 0 is 'conv', want one of .*linear"),
        (LINEAR, {"layers": ["linear"]}, "layer 0 is None, want one of"),
        (LINEAR, {"layers": [{"layer": ["linear"]}]}, "layer 0 is .*want one of"),
        ({}, {"layers": [{"layer": "linear"}]}, "has no array '0.weight'"),
        ({"0.weight": LINEAR["0.weight"]}, {"layers": [{"layer": "linear"}]}, "has no array '0.bias'"),
        ({**LINEAR, "0.bias": np.ones(2)}, {"layers": [{"layer": "linear"}]}, r"shape \(2,\), want \(1, 3\)"),
        (
            {**LINEAR, "0.weight": np.ones(3)},
            {"layers": [{"layer": "linear"}]},
            r"layer 0 \(linear\): weights: shape \(3,\)",
        ),
        ({**LINEAR, "0.weight": np.ones((0, 3))}, {"layers": [{"layer": "linear"}]}, r"layer 0 \(linear\): .*want"),
        (
            {**LINEAR, "1.weight": np.ones((2, 3)), "1.bias": np.ones(3)},
            {"layers": [{"layer": "linear"}, {"layer": "linear"}]},
            r"layer 1 \(linear\) takes 2 values, want 3",
        ),
        (
            LINEAR,
            {"layers": [{"layer": "augment", "image_shape": [5, 4]}]},
            r"layer 0 \(augment\): image_shape: .*want",
        ),
        (LINEAR, {"layers": [{"layer": "augment"}]}, r"layer 0 \(augment\)"),
        (LINEAR, {"layers": [{"layer": "linear"}, {"layer": "dropout", "rate": 2}]}, r"layer 1 \(dropout\): rate: 2"),
        (LINEAR, {"layers": [{"layer": "linear"}, {"layer": "dropout", "rate": "x"}]}, r"layer 1 \(dropout\)"),
        (
            {"0.mean": np.ones(2), "0.std": -np.ones(2)},
            {"layers": [{"layer": "standardize"}]},
            r"layer 0 \(standardize\): std: -1, want",
        ),
    ],
)
def test_a_whole_file_that_is_no_network_is_one_line(tmp_path, arrays, metadata, message):
    path = tmp_path / "other.safetensors"
    checkpoint.save(path, arrays, metadata)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: [^\n]*{message}[^\n]*$"):
        FeedForwardNeuralNetwork.load(path)


def test_saving_is_refused_in_one_line(net, tmp_path):
    class Mine:
        pass

    with pytest.raises(DataError, match=r"^cannot write [^\n]*nowhere[^\n]*$"):
        net.save(tmp_path / "nowhere" / "net")
    net.layers.insert(1, Mine())
    with pytest.raises(ArgumentError, match=r"^layers\[1\]: Mine is not one of fastff's layers and can't be saved$"):
        net.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_augmentation_is_saved_and_never_part_of_prediction(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (30, 24), dtype=np.uint8)
    net = FeedForwardNeuralNetwork(24, 3, 5, 2, seed=0)
    net.layers.insert(0, Standardize.fit(rows))
    expected = net.logits(rows)
    net.layers.insert(0, Augment((2, 3, 4), mirror=False, shift=2, seed=0))
    np.testing.assert_array_equal(net.logits(rows), expected)
    assert net.input_dim == 24
    assert (net.forward(rows) != expected).any()
    net.save(tmp_path / "net")
    loaded = FeedForwardNeuralNetwork.load(tmp_path / "net")
    first = loaded.layers[0]
    assert (type(first), first.image_shape, first.mirror, first.shift) == (Augment, (2, 3, 4), False, 2)
    np.testing.assert_array_equal(loaded.logits(rows), expected)
