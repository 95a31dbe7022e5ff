"""Wrong arguments and arrays in calls from Python: an error of one line, and the network stays as it was.

The commands' wrong arguments, data and runs are in test_bad_arguments.py, test_bad_data.py and test_bad_runs.py.
"""

import numpy as np
import pytest

from fastff import (
    SGD,
    Adam,
    ArgumentError,
    Augment,
    CrossEntropySoftmax,
    DataError,
    Dropout,
    FastffError,
    FeedForwardNeuralNetwork,
    LinearLayer,
    ReLU,
    Standardize,
    Trainer,
    Whiten,
    evaluate,
    load_dataset,
)

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
Y = np.arange(12) % 3


def network():
    return FeedForwardNeuralNetwork(4, 3, [5], seed=0)


def fit(x=X, y=Y, x_val=None, y_val=None, epochs=1, **settings):
    return lambda: Trainer(network(), **settings).fit(x, y, x_val, y_val, epochs=epochs)


def layered(*layers, labels=Y):
    """A network of these layers, trained, and then asked."""

    def call():
        net = network()
        net.layers = list(layers)
        Trainer(net).fit(X, labels, epochs=1)

    return call


def masked():
    return np.ma.masked_array(X, X > 0)


def after_forward(grad):
    def call():
        net = network()
        net.forward(X)
        net.backward(grad)

    return call


def loss(logits, labels):
    return lambda: CrossEntropySoftmax().forward(logits, labels)


def assign(name, value):
    return lambda: setattr(LinearLayer(4, 3), name, value)


BAD = {
    # networks
    "no inputs": (lambda: FeedForwardNeuralNetwork(0, 3, [5]), "input_dim: 0"),
    "negative inputs": (lambda: FeedForwardNeuralNetwork(-4, 3, [5]), "input_dim: -4"),
    "inputs of a fraction": (lambda: FeedForwardNeuralNetwork(4.5, 3, [5]), "input_dim: 4.5"),
    "inputs as a text": (lambda: FeedForwardNeuralNetwork("4", 3, [5]), "input_dim: '4'"),
    "inputs as a truth": (lambda: FeedForwardNeuralNetwork(True, 3, [5]), "input_dim: True"),
    "no outputs": (lambda: FeedForwardNeuralNetwork(4, 0, [5]), "output_dim: 0"),
    "no outputs said": (lambda: FeedForwardNeuralNetwork(4, None, [5]), "output_dim: None"),
    "hidden layer of none": (lambda: FeedForwardNeuralNetwork(4, 3, [5, 0]), "hidden_dim: 0"),
    "hidden layer of a fraction": (lambda: FeedForwardNeuralNetwork(4, 3, [5.0]), "hidden_dim: 5.0"),
    "hidden layers as a text": (lambda: FeedForwardNeuralNetwork(4, 3, "55"), "hidden_dim: '55'"),
    "hidden layers in a layer": (lambda: FeedForwardNeuralNetwork(4, 3, [[5]]), "hidden_dim: [5]"),
    "width without depth": (lambda: FeedForwardNeuralNetwork(4, 3, 5), "num_layers: missing"),
    "depth of none": (lambda: FeedForwardNeuralNetwork(4, 3, 5, 0), "num_layers: 0"),
    "depth that differs": (lambda: FeedForwardNeuralNetwork(4, 3, [5, 5], 2), "num_layers: 2, want 3"),
    "negative seed": (lambda: FeedForwardNeuralNetwork(4, 3, [5], seed=-1), "seed: -1"),
    "seed as a text": (lambda: FeedForwardNeuralNetwork(4, 3, [5], seed="1"), "seed: '1'"),
    "optimizer by name": (lambda: FeedForwardNeuralNetwork(4, 3, [5], optimizer="adam"), "optimizer: 'adam'"),
    "optimizer's class": (lambda: FeedForwardNeuralNetwork(4, 3, [5], optimizer=Adam), "optimizer: "),
    "load: no file": (lambda: FeedForwardNeuralNetwork.load("missing"), "missing: No such file"),
    "load: a folder": (lambda: FeedForwardNeuralNetwork.load("."), "."),
    "save: no folder": (lambda: network().save("missing/file"), "cannot write missing/file"),
    "save: a layer of one's own": (lambda: _with_own_layer().save("file"), "layers[0]: Own is not one of fastff's"),
    # layers
    "layer of none": (lambda: LinearLayer(4, 0), "output_dim: 0"),
    "weights of another shape": (assign("weights", np.zeros((3, 4))), "weights: shape (3, 4), want (4, 3)"),
    "weights of texts": (assign("weights", "heavy"), "weights: "),
    "bias of another width": (assign("bias", np.zeros(4)), "bias: shape (4,), want (1, 3)"),
    "bias as None": (assign("bias", None), "bias: "),
    "gradient before backward": (lambda: LinearLayer(4, 3).grad_weights, "no backward has run"),
    "step before backward": (lambda: LinearLayer(4, 3).step(0.1), "no backward has run"),
    "backward before forward": (lambda: ReLU().backward(X), "no forward has run"),
    "backward of other rows": (after_forward(np.zeros((11, 3))), "grad: 11 rows, want 12"),
    "backward of another width": (after_forward(np.zeros((12, 4))), "grad: rows of 4 values, want 3"),
    "backward of texts": (after_forward(np.full((12, 3), "a")), "grad: holds <U1"),
    "dropout of all": (lambda: Dropout(1.0), "rate: 1.0"),
    "dropout below none": (lambda: Dropout(-0.1), "rate: -0.1"),
    "dropout of NaN": (lambda: Dropout(np.nan), "rate: nan"),
    "dropout by name": (lambda: Dropout("half"), "rate: 'half'"),
    "dropout's seed": (lambda: Dropout(0.5, seed=1.5), "seed: 1.5"),
    "pictures of two sides": (lambda: Augment((8, 8)), "image_shape: (8, 8)"),
    "pictures of no height": (lambda: Augment((1, 0, 8)), "image_shape: 0"),
    "pictures as a side": (lambda: Augment((np.zeros((1, 8)), 1, 2)), "image_shape: an array of float64 (1, 8)"),
    "shift beyond the picture": (lambda: Augment((1, 8, 8), shift=8), "shift: 8"),
    "negative shift": (lambda: Augment((1, 8, 8), shift=-1), "shift: -1"),
    "deviation below zero": (lambda: Standardize([0.0], [-1.0]), "std: -1"),
    "deviation of NaN": (lambda: Standardize([0.0], [np.nan]), "std: holds nan"),
    "deviations of another width": (lambda: Standardize([0.0, 1.0], [1.0]), "std: 1 values"),
    "means of texts": (lambda: Standardize(["a"], [1.0]), "mean: "),
    "no means": (lambda: Standardize([], []), "mean: empty"),
    "standardise NaN": (lambda: Standardize.fit(np.full((3, 2), np.nan)), "X: nan at row 0, column 0"),
    "standardise nothing": (lambda: Standardize.fit(X[:0]), "X: empty"),
    "whiten to more": (lambda: Whiten.fit(X, 5), "components: 5"),
    "whiten to none": (lambda: Whiten.fit(X, 0), "components: 0"),
    "projection of NaN": (lambda: Whiten(np.full((2, 2), np.nan), np.zeros(2)), "projection: "),
    "layers that do not fit": (layered(LinearLayer(4, 5), LinearLayer(6, 3)), "takes 6 values a row, is given 5"),
    "standardised to another width": (layered(Standardize(X[0], X[1] ** 2), LinearLayer(5, 3)), "takes 5 values"),
    "whitened to another width": (layered(Whiten(np.eye(4)[:, :2], np.zeros(2)), LinearLayer(3, 3)), "is given 2"),
    "labels beyond layers of no width": (layered(ReLU(), labels=Y + 2), "labels: 4, want class numbers below the 4"),
    # rows and labels
    "rows of another width": (fit(X[:, :3]), "X: rows of 3 values, want 4"),
    "one row without its axis": (fit(X[0], Y[:1]), "X: shape (4,), want two dimensions"),
    "no rows": (fit(X[:0], Y[:0]), "X: empty"),
    "rows of texts": (fit(X.astype(str)), "X: holds <U"),
    "rows of objects": (fit(X.astype(object)), "X: holds object"),
    "rows as a dict": (fit({"a": 1}), "X: "),
    "ragged rows": (fit([[1, 2, 3, 4], [1]], [0, 1]), "X: list"),
    "rows as None": (fit(None), "X: "),
    "rows with NaN": (fit(np.where(X > 1, np.nan, X)), "X: nan at row"),
    "rows with infinity": (fit(np.where(X > 1, np.inf, X)), "X: inf at row"),
    "rows with holes": (fit(masked()), "X: a masked array"),
    "fewer labels": (fit(X, Y[:11]), "Y: 11 labels for 12 rows"),
    "labels beyond the classes": (fit(X, Y + 1), "Y: 3 at row 2"),
    "labels below zero": (fit(X, Y - 1), "Y: -1 at row 0"),
    "labels between": (fit(X, Y + 0.5), "Y: 0.5 at row 0"),
    "labels of NaN": (fit(X, np.full(12, np.nan)), "Y: nan at row 0"),
    "labels as texts": (fit(X, list("abcabcabcabc")), "Y: holds <U1"),
    "labels one-hot": (fit(X, np.eye(3)[Y]), "Y: shape (12, 3)"),
    "no labels": (fit(X, None), "Y: "),
    "validation rows alone": (fit(x_val=X), "X_val and Y_val: one of the two is missing"),
    "validation labels alone": (fit(y_val=Y), "X_val and Y_val: one of the two is missing"),
    "validation of another width": (fit(x_val=X[:, :2], y_val=Y), "X_val: rows of 2 values"),
    "validation with NaN": (fit(x_val=X * np.nan, y_val=Y), "X_val: nan"),
    "validation of other classes": (fit(x_val=X, y_val=Y + 9), "Y_val: 9"),
    "predict another width": (lambda: network().predict(X[:, :3]), "X: rows of 3"),
    "predict one row": (lambda: network().predict(X[0]), "one row is X[None, :]"),
    "predict texts": (lambda: network().predict_proba([["a"] * 4]), "X: holds <U1"),
    "forward of another width": (lambda: network().forward(X[:, 1:]), "input: rows of 3"),
    "evaluate no rows": (lambda: evaluate(network(), X[:0], Y[:0]), "X_val: empty"),
    "evaluate other labels": (lambda: evaluate(network(), X, Y + 3), "Y_val: 3"),
    "evaluate in no batches": (lambda: evaluate(network(), X, Y, 0), "batch_size: 0"),
    "evaluate in half a batch": (lambda: evaluate(network(), X, Y, 0.5), "batch_size: 0.5"),
    "loss of other labels": (loss(X, np.full(12, 4)), "labels: 4 at row 0"),
    "loss of fewer labels": (loss(X, Y[:3]), "labels: 3 labels for 12 rows"),
    "loss of no logits": (loss(X[:0], []), "logits: empty"),
    "loss backward first": (lambda: CrossEntropySoftmax().backward(), "no forward has run"),
    "all smoothed away": (lambda: CrossEntropySoftmax(1.0), "label_smoothing: 1.0"),
    # training
    "no epochs": (fit(epochs=0), "epochs: 0"),
    "half an epoch": (fit(epochs=0.5), "epochs: 0.5"),
    "batches of none": (fit(batch_size=0), "batch_size: 0"),
    "batches of a fraction": (fit(batch_size=1.5), "batch_size: 1.5"),
    "steps of none": (fit(step_size=0), "step_size: 0"),
    "steps of NaN": (fit(step_size=np.nan), "step_size: nan"),
    "endless steps": (fit(step_size=np.inf), "step_size: inf"),
    "steps as a text": (fit(step_size="1e-3"), "step_size: '1e-3'"),
    "unknown schedule": (fit(schedule="linear-ish"), "schedule: 'linear-ish'"),
    "unknown precision": (fit(precision="float8"), "precision: 'float8'"),
    "no threads": (fit(threads=0), "threads: 0"),
    "threads of a fraction": (fit(threads=1.5), "threads: 1.5"),
    "no seed": (fit(seed=None), "seed: None"),
    "no patience": (fit(patience=0), "patience: 0"),
    "unknown monitor": (fit(monitor="loss"), "monitor: 'loss'"),
    "monitor without validation": (fit(monitor="val_loss"), "monitor: val_loss"),
    "optimizer as a text": (fit(optimizer="sgd"), "optimizer: 'sgd'"),
    "beta of one": (lambda: Adam(beta1=1.0), "beta1: 1.0"),
    "beta below zero": (lambda: Adam(beta2=-0.1), "beta2: -0.1"),
    "epsilon of none": (lambda: Adam(epsilon=0.0), "epsilon: 0.0"),
    "decay below zero": (lambda: Adam(weight_decay=-1.0), "weight_decay: -1.0"),
    "unknown decay": (lambda: Adam(decay="l1"), "decay: 'l1'"),
    "unknown correction": (lambda: Adam(bias_correction="none"), "bias_correction: 'none'"),
    "momentum of one": (lambda: SGD(momentum=1.0), "momentum: 1.0"),
    # data sets
    "unknown name": (lambda: load_dataset("imagenet"), "imagenet: no such file or folder"),
    "no such folder": (lambda: load_dataset("mnist", data_dir="missing"), "data_dir: missing is not a folder"),
    "target of a name": (lambda: load_dataset("digits", target="x"), "target: 'x'"),
    "folder of a path": (lambda: load_dataset("a.npz", data_dir="."), "data_dir: . beside the path"),
    "held out of all": (lambda: load_dataset("digits").with_validation(1.0), "fraction: 1.0"),
    "held out of NaN": (lambda: load_dataset("digits").with_validation(np.nan), "fraction: nan"),
}  # fmt: skip


class Own:
    def forward(self, rows):
        return rows


def _with_own_layer():
    net = network()
    net.layers.insert(0, Own())
    return net


@pytest.mark.parametrize("call", [case[0] for case in BAD.values()], ids=BAD)
def test_a_bad_call_is_one_clear_line(call, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ArgumentError, DataError)) as caught:
        call()
    assert BAD[request.node.callspec.id][1] in str(caught.value)
    assert str(caught.value).isprintable()
    assert isinstance(caught.value, FastffError)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_fit_leaves_the_network_as_it_was():
    net = network()
    before = net.parameters()
    trainer = Trainer(net)
    for x, y in ((X[:, :3], Y), (X, Y + 1), (X * np.nan, Y), (X, Y[:5])):
        with pytest.raises(DataError):
            trainer.fit(x, y, epochs=1)
    for name, array in net.parameters().items():
        np.testing.assert_array_equal(array, before[name])
    assert trainer.history.epochs == []
    trainer.fit(X, Y, epochs=1)
