"""Arrays that kernels know by their address stay where they are, as long as they are in use."""

import sys

import numpy as np
import pytest

from fastff import CrossEntropySoftmax, DataError, FeedForwardNeuralNetwork, Trainer, evaluate
from fastff.nn.layers import Layer

ROWS = np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32)
LABELS = np.arange(40) % 3


class Own(Layer):
    """A layer of one's own, with which the network is no single program."""

    def forward(self, input):
        return input

    def backward(self, grad):
        return grad


def network(*more):
    net = FeedForwardNeuralNetwork(6, 3, (8,), seed=0)
    net.layers[1:1] = more
    return net


@pytest.mark.parametrize("more", [(), (Own(),)], ids=["built in", "own layer"])
@pytest.mark.parametrize("which", range(4), ids=["X", "Y", "X_val", "Y_val"])
def test_what_a_fit_reads_cannot_be_resized_meanwhile(which, more):
    owners = ROWS.copy(), LABELS.copy(), ROWS.copy(), LABELS.copy()
    x, y, x_val, y_val = owners
    trainer = Trainer(network(*more), batch_size=8)

    def resize(record):
        owners[which].resize(1, refcheck=False)

    given = x[::2, ::2], y[::2], x_val[::2, ::2], y_val[::2]
    if which in (0, 2):
        with pytest.raises(ValueError, match="resize"):
            trainer.fit(*given, epochs=3, on_epoch=resize)
    else:  # labels are copied
        trainer.fit(*given, epochs=3, on_epoch=resize)
        assert np.isfinite(trainer.history.batch_losses).all()


def test_what_no_fit_reads_any_more_can_be_resized():
    x = ROWS.copy()
    Trainer(network()).fit(x[:, ::2], LABELS, epochs=1)
    x.resize(7, refcheck=False)
    assert x.shape == (7,)


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows: no file that is mapped can be cut short")
@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[1:], lambda a: np.asarray(a)[::2]])
@pytest.mark.parametrize("use", ["fit", "labels", "evaluate", "predict", "loss"])
def test_a_memory_map_whose_file_was_cut_short_is_named(tmp_path, view, use):
    array = LABELS if use == "labels" else ROWS[:, ::2]
    np.save(tmp_path / "values.npy", array)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    with (tmp_path / "values.npy").open("r+b") as file:
        file.truncate(200)
    values = view(mapped)
    net, labels = network(), LABELS[: len(values)]
    calls = {
        "fit": lambda: Trainer(net).fit(values, labels, epochs=1),
        "labels": lambda: Trainer(net).fit(ROWS[: len(values), ::2], values, epochs=1),
        "evaluate": lambda: evaluate(net, values, labels),
        "predict": lambda: net.predict(values),
        "loss": lambda: CrossEntropySoftmax().forward(values, labels),
    }
    with pytest.raises(DataError, match=r"values\.npy has only 200 bytes of the .* that are mapped"):
        calls[use]()
