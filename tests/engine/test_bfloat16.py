"""Training in bfloat16 keeps the promises of float32.

The same bits with any number of threads and after a stop; NaN is noticed before it reaches the weights; files can be
gone on from in either precision.
"""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import reference
from reference import bfloat16

from fastff import Adam, Dropout, FeedForwardNeuralNetwork, LinearLayer, Sigmoid, Standardize, Tanh, Trainer
from fastff.engine import bfloat16 as half
from fastff.errors import ArgumentError, DivergenceError
from fastff.kernels import cpu
from fastff.nn.preprocessing import Augment, Whiten

ROWS, D, C = 203, 48, 5


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (ROWS, D), np.uint8)
    return X, (X[:, :C].astype(int)).argmax(1)


def network(X, *front, widths=(37, 9), middle=()):
    net = FeedForwardNeuralNetwork(D, C, widths, seed=0)
    net.layers[:0] = front or [Standardize.fit(X)]
    for place, layer in middle:
        net.layers.insert(place, layer)
    return net


def trainer(X, **options):
    return Trainer(network(X), **{"batch_size": 32, "precision": "bfloat16", **options})


def bits(net):
    return [a.tobytes() for layer in net.linear_layers for a in (layer.weights, layer.bias, *layer.moments)]


def test_a_training_is_that_of_rounded_products(rows):
    """Three full batches against NumPy in float64, with every operand of a product rounded to bfloat16.

    A float32 sum can lie on the other side of a rounding than the float64 one, which moves an operand by one part in
    256 at most: a few parts in a thousand of a loss that all operands share.
    """
    X, Y = rows
    net = network(X, widths=(37,))
    x = np.float32((X[:96] - net.layers[0].mean) * net.layers[0].scale)
    (w1, b1), (w2, b2) = ((p.weights.astype(np.float64), p.bias.astype(np.float64)) for p in net.linear_layers)
    parameters, moments, losses = [w1, b1, w2, b2], [(0.0, 0.0)] * 4, []
    run = Trainer(net, Adam(), batch_size=96, step_size=0.01, precision="bfloat16")
    run.fit(X[:96], Y[:96], epochs=3)
    r = lambda a: bfloat16(a.astype(np.float32)).astype(np.float64)  # noqa: E731
    for t in range(1, 4):
        w1, b1, w2, b2 = parameters
        h = reference.relu(r(x) @ r(w1) + b1)
        z = r(h) @ r(w2) + b2
        losses.append(reference.cross_entropy(z, Y[:96]).mean())
        g = reference.cross_entropy_gradient(z, Y[:96])
        g1 = (r(g) @ r(w2).T) * (h > 0)
        by = [r(x).T @ r(g1), r(g1).sum(0, keepdims=True), r(h).T @ r(g), r(g).sum(0, keepdims=True)]
        new = [reference.adam(p, d, m, t, 0.01) for p, d, m in zip(parameters, by, moments, strict=True)]
        parameters, moments = [p for p, _ in new], [m for _, m in new]
    np.testing.assert_allclose(run.history.batch_losses, losses, rtol=4e-3)
    # and it is not float32's training
    plain = Trainer(network(X, widths=(37,)), Adam(), batch_size=96, step_size=0.01)
    assert plain.fit(X[:96], Y[:96], epochs=3).batch_losses != run.history.batch_losses


def test_the_same_bits_with_any_threads_and_after_a_stop(rows):
    X, Y = rows
    runs = [trainer(X, threads=threads) for threads in (1, 2, 3, 7)]
    for run in runs:
        run.fit(X, Y, epochs=3)
    halves = trainer(X)
    halves.fit(X, Y, epochs=1)
    halves.fit(X, Y, epochs=2)
    assert len({tuple(bits(run.network)) for run in [*runs, halves]}) == 1


@pytest.mark.parametrize(
    "middle",
    [
        lambda: [(2, Dropout(0.3, seed=0))],
        lambda: [(2, Sigmoid())],
        lambda: [(2, Tanh()), (3, Dropout(0.2, seed=0))],
        lambda: [(1, Dropout(0.1, seed=0))],
        lambda: [(2, LinearLayer(37, 37, seed=3))],
    ],
    ids=["dropout", "sigmoid", "tanh and dropout", "dropout of the rows", "two linear layers in a row"],
)
@pytest.mark.parametrize("batch_size", [1, 33, 500])
def test_whatever_stands_between_layers_trains_as_in_float32(rows, middle, batch_size):
    X, Y = rows
    losses = {}
    for precision in ("float32", "bfloat16"):
        net = network(X, middle=middle())
        run = Trainer(net, batch_size=batch_size, precision=precision, step_size=1e-3)
        losses[precision] = run.fit(X[:100], Y[:100], epochs=2).batch_losses
    first = [losses[p][0] for p in losses]
    assert first[0] == pytest.approx(first[1], rel=0.03)  # 3 layers, each rounding by a part in 256
    assert np.mean(losses["bfloat16"]) == pytest.approx(np.mean(losses["float32"]), rel=0.03)


def test_pictures_that_change_and_whitened_rows(rows):
    X, Y = rows
    for front in ([Augment((3, 4, 4), shift=1, seed=0), Standardize.fit(X)], [Standardize.fit(X), Whiten.fit(X, D)]):
        losses = []
        for precision in ("float32", "bfloat16"):
            run = Trainer(network(X, *front), batch_size=32, precision=precision)
            losses.append(np.mean(run.fit(X, Y, epochs=3).batch_losses))
        assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_it_learns(rows):
    X, Y = rows
    run = trainer(X, step_size=3e-3)
    run.fit(X, Y, epochs=60)
    assert run.history.epochs[-1].train_accuracy > 0.98


def test_a_nan_is_seen_before_it_can_reach_the_weights(rows):
    X, Y = rows
    run = trainer(X)
    run.network.linear_layers[1].weights[3, 4] = math.inf
    before = bits(run.network)
    with pytest.raises(DivergenceError, match="not finite at epoch 1, batch 0"):
        run.fit(X, Y, epochs=1)
    assert bits(run.network) == before


def test_weights_written_between_fits_are_what_the_next_one_multiplies(rows):
    X, Y = rows
    one, two = trainer(X), trainer(X)
    one.fit(X, Y, epochs=1)
    new = [np.full_like(layer.weights, 0.01) for layer in one.network.linear_layers]
    for run in (one, two):
        for layer, array in zip(run.network.linear_layers, new, strict=True):
            layer.weights = array
            layer.bias = np.zeros_like(layer.bias)
    two.order = lambda epoch, rows: one.order(1, rows)
    losses = [run.fit(X, Y, epochs=1).batch_losses[-7:][0] for run in (one, two)]
    assert losses[0] == losses[1]


def test_a_network_with_a_layer_of_ones_own_is_refused(rows):
    class Own(Tanh):
        pass

    X, Y = rows
    run = Trainer(network(X, middle=[(2, Own())]), precision="bfloat16")
    with pytest.raises(ArgumentError, match="precision: 'bfloat16', want 'float32' for a network with a layer of your"):
        run.fit(X, Y, epochs=1)


@pytest.mark.parametrize(
    ("engine", "name", "lacks", "precision"),
    [
        ("amx", "sapphirerapids", "", "bfloat16"),
        ("amx", "sapphirerapids", "no leave", "float32"),
        ("avx512bf16", "znver4", "", "bfloat16"),
        ("avx512bf16", "znver5", "", "bfloat16"),
        ("avx512bf16", "emeraldrapids", "", "float32"),  # in a virtual machine without AMX
        ("avx512bf16", "cooperlake", "", "float32"),
        ("neon", "neoverse-v2", "", "bfloat16"),
        ("emulated", "znver4", "", "float32"),
        ("", "haswell", "no", "float32"),
    ],
)
def test_auto_takes_what_is_faster(monkeypatch, rows, engine, name, lacks, precision):
    monkeypatch.setattr(cpu.llvm, "get_host_cpu_name", lambda: name)
    monkeypatch.setattr(cpu, "FASTER_BF16", cpu._is_faster(engine))
    monkeypatch.setattr(half, "missing", lambda: lacks)
    assert Trainer(network(rows[0]), precision="auto").precision == precision


def test_a_cpu_without_bfloat16_says_so_in_one_line(tmp_path):
    environment = {**os.environ, "FASTFF_ISA": "simd128", "FASTFF_BF16": ""}
    done = subprocess.run(
        [sys.executable, "-m", "fastff.train", "digits", "--precision", "bfloat16", "--out", str(tmp_path / "run")],
        env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "precision: 'bfloat16'" in line
    assert "AVX512_BF16" in line
    assert "want 'float32'" in line
    assert not (tmp_path / "run").exists()


def test_the_command_trains_and_goes_on_in_another_precision(tmp_path):
    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "fastff.train", *arguments],
            capture_output=True, text=True, timeout=120, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def summary():
        return json.loads((tmp_path / "whole" / "summary.json").read_text())

    run("digits", "--precision", "bfloat16", "--epochs", "3", "--out", "whole")
    assert summary()["precision"] == "bfloat16"
    assert summary()["val_accuracy"] > 0.9
    run("--resume", "--out", "whole", "--precision", "float32", "--epochs", "4")
    assert (summary()["precision"], summary()["epochs"]) == ("float32", 4)
    run("--resume", "--out", "whole", "--precision", "bfloat16", "--epochs", "5")
    assert (summary()["precision"], summary()["epochs"]) == ("bfloat16", 5)
    network = FeedForwardNeuralNetwork.load(tmp_path / "whole" / "best.safetensors")
    assert all(layer.weights.dtype == np.float32 for layer in network.linear_layers)


def test_in_scikit_learns_place(rows):
    pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    from fastff.sklearn import MLPClassifier

    X, Y = rows
    model = MLPClassifier(
        random_state=0, max_iter=80, batch_size=32, precision="bfloat16", learning_rate_init=3e-3, tol=0
    )
    with pytest.warns(match="Maximum iterations"):
        model.fit(X / np.float32(255), Y)
    assert model.score(X / np.float32(255), Y) > 0.9


SCRIPT = """
import sys
import numpy as np
from fastff import FeedForwardNeuralNetwork, Trainer

X = np.random.default_rng(0).standard_normal((256, 700), np.float32)
for precision in sys.argv[1:]:
    run = Trainer(FeedForwardNeuralNetwork(700, 3, 64, 2, seed=0), precision=precision)
    print(precision, run.fit(X, np.arange(256) % 3, epochs=2).batch_losses)
"""


@pytest.mark.slow
def test_code_from_the_cache_and_code_just_compiled_do_not_mix(tmp_path):
    def run(*precisions):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *precisions],
            env={**os.environ, "FASTFF_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.splitlines()

    (plain,) = run("float32")  # the next process loads this and compiles the rest
    first, again = run("bfloat16", "float32"), run("bfloat16", "float32")
    assert first[1] == again[1] == plain
    assert first[0] == again[0]
    half, whole = (json.loads(line.split(maxsplit=1)[1]) for line in first)
    assert half != whole
    assert half == pytest.approx(whole, rel=0.05)
