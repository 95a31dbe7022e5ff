"""Several networks as one: the mean of their probabilities, on disk, in the commands, and through onnxruntime."""

import json

import numpy as np
import pytest
from command_line import run, succeed, write_flowers

from fastff import ArgumentError, DataError, Ensemble, FeedForwardNeuralNetwork, Standardize, evaluate
from fastff.nn.onnx_graph import onnx_bytes

RNG = np.random.default_rng(0)
ROWS = RNG.normal(2.0, 3.0, (50, 4)).astype(np.float32)


def network(seed, widths=(8,), sizes=(4, 3)):
    net = FeedForwardNeuralNetwork(*sizes, list(widths), seed=seed)
    net.layers.insert(0, Standardize.fit(ROWS[:, : sizes[0]]))
    return net


@pytest.fixture
def ensemble():
    return Ensemble([network(0), network(1, (8, 5)), network(2, ())])


def test_probabilities_are_the_mean_and_the_classes_their_largest(ensemble):
    mean = np.mean([net.predict_proba(ROWS) for net in ensemble.networks], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(ROWS), mean, rtol=1e-6)
    assert ensemble.predict_proba(ROWS).dtype == np.float32
    np.testing.assert_array_equal(ensemble.predict(ROWS), mean.argmax(1))


def test_evaluate_takes_it_as_it_takes_a_network(ensemble):
    labels = RNG.integers(0, 3, len(ROWS))
    loss, accuracy = evaluate(ensemble, ROWS, labels)
    chosen = ensemble.predict_proba(ROWS)[np.arange(len(ROWS)), labels]
    assert loss == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    assert accuracy == (ensemble.predict(ROWS) == labels).mean()


def test_it_comes_back_from_disk_with_the_same_bits(ensemble, tmp_path):
    ensemble.save(tmp_path / "three.safetensors")
    loaded = Ensemble.load(tmp_path / "three.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(ROWS), ensemble.predict_proba(ROWS))


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([], "networks: none, want at least one"),
        (5, "networks: int, want a sequence of FeedForwardNeuralNetworks"),
        (network(0), "networks: FeedForwardNeuralNetwork, want a sequence"),
        ([network(0), "model"], r"networks\[1\]: str, want a FeedForwardNeuralNetwork"),
        ([network(0), network(1, sizes=(3, 3))], r"networks\[1\]: input_dim 3, want 4"),
        ([network(0), network(1, sizes=(4, 2))], r"networks\[1\]: output_dim 2, want 3"),
    ],
)
def test_networks_that_are_no_ensemble_are_refused(networks, message):
    with pytest.raises(ArgumentError, match=message):
        Ensemble(networks)


def test_a_file_that_holds_no_ensemble_is_refused(tmp_path):
    network(0).save(tmp_path / "one.safetensors")
    with pytest.raises(DataError, match=r"one.safetensors: has no list of networks"):
        Ensemble.load(tmp_path / "one.safetensors")


def test_the_commands_take_its_file(ensemble, tmp_path):
    flowers, file = write_flowers(tmp_path), tmp_path / "three.safetensors"
    ensemble.save(file)
    with np.load(flowers) as arrays:
        rows, labels = arrays["x_test"], arrays["y_test"]
    figures = json.loads(succeed("evaluate", file, flowers))
    assert figures["accuracy"] == (ensemble.predict(rows) == labels).mean()
    np.save(tmp_path / "rows.npy", rows)
    succeed("predict", file, tmp_path / "rows.npy", "--out", tmp_path / "guesses.npz")
    with np.load(tmp_path / "guesses.npz") as arrays:
        np.testing.assert_array_equal(arrays["probabilities"], ensemble.predict_proba(rows))


def test_the_commands_say_what_a_file_is_not(tmp_path):
    flowers = write_flowers(tmp_path)
    result = run("evaluate", flowers, flowers)
    assert result.status == 1
    assert "flowers.npz: is a file, want the folder of a run" in result.err
    (tmp_path / "ensemble.safetensors").write_bytes(flowers.read_bytes())
    result = run("evaluate", tmp_path / "ensemble.safetensors", flowers)
    assert result.status == 1
    assert "ensemble.safetensors is not a whole safetensors file" in result.err


def test_onnxruntime_gives_the_same_mean(ensemble):
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = runtime.InferenceSession(onnx_bytes(ensemble), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"rows": ROWS})
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(ROWS), atol=2e-6)
