"""A network that is exported to ONNX, or copied to PyTorch and back, gives the same probabilities there."""

import sys

import numpy as np
import pytest
from command_line import run, snapshot, succeed, write_flowers
from reference import U

from fastff import (
    ArgumentError,
    Augment,
    Dropout,
    FeedForwardNeuralNetwork,
    MissingExtra,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
    Whiten,
)
from fastff.nn.onnx_graph import onnx_bytes

RNG = np.random.default_rng(0)


def network(kind=ReLU, *, raw=True):
    net = FeedForwardNeuralNetwork(12, 5, [40, 33], seed=0)
    for i in (1, 3):
        net.layers[i] = kind()
    if raw:
        net.layers.insert(2, Dropout(0.5))
        net.layers[:0] = [Augment((1, 3, 4)), Standardize(np.linspace(0, 200, 12), np.linspace(1, 90, 12))]
    return net


def through_onnxruntime(data, rows):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session, session.run(["probabilities"], {"rows": rows})[0]


@pytest.mark.parametrize("kind", [ReLU, Sigmoid, Tanh])
def test_onnxruntime_gives_the_same_probabilities_for_raw_rows(kind):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, rows = network(kind), RNG.integers(0, 256, (70, 12)).astype(np.float32)
    net.layers.insert(2, Whiten.fit(rows, 12, after=net.layers[1]))
    session, probabilities = through_onnxruntime(onnx_bytes(net, list("abcde")), rows)
    # Two float32 evaluations of logits up to some tens: sums of at most 40 terms each round by 40 U of their parts, and
    # the next layers pass that on
    np.testing.assert_allclose(probabilities, net.predict_proba(rows), rtol=0, atol=2000 * U)
    assert session.get_modelmeta().custom_metadata_map["class_names"].split("\n") == list("abcde")
    assert session.get_inputs()[0].shape == ["N", 12]


def test_a_forward_of_the_networks_own_is_refused():
    pytest.importorskip("onnx", reason="onnx is not installed")

    class Halved(FeedForwardNeuralNetwork):
        def forward(self, X):
            return super().forward(X / 2)

    with pytest.raises(ArgumentError, match=r"^Halved: has a forward of its own, want a plain network of layers$"):
        onnx_bytes(Halved(12, 5, [7]))


def test_the_names_of_classes_are_one_a_line():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    names = ["cat", "a\nb", "c\r", "d\u2028e", "zoë's \\n"]
    notes = onnx.load_from_string(onnx_bytes(network(), names)).metadata_props
    assert notes[0].value.splitlines() == ["cat", "a\\nb", "c\\r", "d\\u2028e", "zoë's \\n"]


def test_a_run_exports_and_its_onnx_predicts(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    data = write_flowers(tmp_path)
    succeed("train", data, "--epochs", 3, "--out", tmp_path / "run")
    out = succeed("export", tmp_path / "run", "--out", tmp_path / "model.onnx")
    assert "rows (N, 4) to probabilities (N, 3)" in out
    rows = np.load(data)["x_test"]
    _, probabilities = through_onnxruntime((tmp_path / "model.onnx").read_bytes(), rows)
    succeed("predict", tmp_path / "run", save(tmp_path / "x.npy", rows), "--out", tmp_path / "p.npz")
    np.testing.assert_allclose(probabilities, np.load(tmp_path / "p.npz")["probabilities"], rtol=0, atol=2000 * U)


def save(path, rows):
    np.save(path, rows)
    return path


def test_what_cannot_be_exported_is_one_line_and_harms_no_file(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_text("an earlier one")
    before = snapshot(tmp_path)
    assert run("export", tmp_path, "--out", tmp_path / "model.pb").status == 2
    result = run("export", tmp_path / "nowhere", "--out", tmp_path / "model.onnx")
    assert result.status == 1
    assert "nowhere" in result.err
    assert len(result.err.splitlines()) == 1
    assert snapshot(tmp_path) == before
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastff\[onnx\]"'):
        onnx_bytes(network())


def test_a_layer_of_the_users_own_is_refused():
    pytest.importorskip("onnx", reason="onnx is not installed")
    net = network()
    net.layers.append(object())
    with pytest.raises(ArgumentError, match=r"layers\[8\]: object"):
        onnx_bytes(net)


def test_to_pytorch_and_back_as_documented(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from safetensors.numpy import load_file

    net = network(raw=False)
    net.save(tmp_path / "net.safetensors")
    rows = RNG.standard_normal((9, 12)).astype(np.float32)

    nn = torch.nn
    model = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 33), nn.ReLU(), nn.Linear(33, 5))
    arrays = load_file(tmp_path / "net.safetensors")
    model.load_state_dict({name: torch.from_numpy(array.T) for name, array in arrays.items()})
    with torch.no_grad():
        logits = model(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(logits, net.forward(rows), rtol=0, atol=2000 * U * np.abs(logits).max())

    back = FeedForwardNeuralNetwork(12, 5, [40, 33])
    back.set_parameters({name: array.numpy().T for name, array in model.state_dict().items()})
    np.testing.assert_array_equal(back.forward(rows), net.forward(rows))
