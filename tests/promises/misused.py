# ruff: noqa: F401, F403 (imported for the pieces of code)
"""What a misuse has at hand: small data, networks of every layer, and checks that what comes back is right."""

import copy
import gc
import io
import math
import os
import pickle
import sys
import tempfile
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import fastff
from fastff import *
from fastff import (
    SGD,
    Adam,
    Augment,
    CrossEntropySoftmax,
    Dropout,
    Ensemble,
    FastffError,
    FeedForwardNeuralNetwork,
    LinearLayer,
    PiecewiseLinear,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
    Trainer,
    Whiten,
    evaluate,
    load_dataset,
)
from fastff.nn.layers import Layer

try:
    from fastff.sklearn import MLPClassifier, MLPRegressor
except ImportError:
    MLPClassifier = MLPRegressor = None

random = np.random.default_rng(0)
X = random.normal(size=(40, 6)).astype(np.float32)
Y = (X[:, 0] > 0) + (X[:, 1] > 0.5).astype(np.int64)
V, W = X[:19] + np.float32(0.25), Y[:19]  # to validate on
MANY = random.normal(size=(1500, 6)).astype(np.float32)
T = np.stack([X[:, 0] * 2, X[:, 1] - X[:, 2], X[:, 3]], 1).astype(np.float64)  # three outputs to be predicted
DIGITS = load_dataset("digits")
FOLDER = Path(tempfile.gettempdir())


class Wrong(Exception):
    """An answer that is not right."""


class Mine(Exception):
    """What a user's own code raises."""


class Scale(Layer):
    """A layer of a user's own, with plain arrays: networks that have one call each layer by hand."""

    def forward(self, input):
        return input * np.float32(0.5)

    def backward(self, grad):
        return grad * np.float32(0.5)


def network(kind="plain", seed=0):
    """6 values to 3 classes: plain (linear, ReLU, linear), all (a layer of every class), own (a layer of one's own)."""
    if kind == "plain":
        return FeedForwardNeuralNetwork(6, 3, [9], seed=seed)
    net = FeedForwardNeuralNetwork(5 if kind == "all" else 6, 3, [9, 7], seed=seed)
    first, relu, second, _, last = net.layers
    if kind == "own":
        net.layers = [first, relu, Scale(), second, Tanh(), last]
        return net
    standardize = Standardize.fit(X)
    net.layers = [
        Augment((1, 2, 3), shift=1, seed=1), standardize, Whiten.fit(X, 5, after=standardize),
        first, relu, Dropout(0.25, seed=1), second, Tanh(), last, Sigmoid(), LinearLayer(3, 3, seed=2),
    ]  # fmt: skip
    return net


def trainer(kind="plain", net=None, **settings):
    return Trainer(network(kind) if net is None else net, **{"batch_size": 8, **settings})


def weights(net):
    """The bytes of all weights."""
    return b"".join(array.tobytes() for array in net.parameters().values())


def plain(value):
    """The array that a network should take a value for; Wrong if it should refuse it."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise Wrong("takes a masked array with missing values")
    array = np.array(value)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise Wrong(f"takes {array.dtype}")
    kind = array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, kind if kind in (np.uint8, np.float32, np.float64) else np.float32)


def twin(net, rows):
    """The logits of the rows by plain float64 arithmetic, of the network as it shows itself now."""
    x = plain(rows).astype(np.float64)
    with np.errstate(all="ignore"):
        for layer in net.layers:
            if isinstance(layer, Standardize):
                mean, std = (np.asarray(v, np.float64).reshape(-1) for v in (layer.mean, layer.std))
                x = (x - mean) / np.where(std > 0, std, 1)
            elif isinstance(layer, Whiten):
                x = x @ np.asarray(layer.projection, np.float64) + np.asarray(layer.shift, np.float64)
            elif isinstance(layer, PiecewiseLinear):
                lower, scale, low, high = (
                    np.asarray(getattr(layer, n), np.float64) for n in ("lower", "scale", "low", "high")
                )
                x = np.clip((x[:, layer.sources] - lower) * scale, low, high)
            elif isinstance(layer, LinearLayer):
                x = x @ layer.weights.astype(np.float64) + layer.bias.astype(np.float64)
            elif isinstance(layer, ReLU):
                x = np.maximum(x, 0)
            elif isinstance(layer, Sigmoid):
                x = 1 / (1 + np.exp(-x))
            elif isinstance(layer, Tanh):
                x = np.tanh(x)
            elif not isinstance(layer, Dropout | Augment):
                x = layer.forward(x.astype(np.float32)).astype(np.float64)
    return x


def near(found, wanted, what):
    """Wrong unless the two agree as far as float32 goes; what left its range on the way may be anything but finite."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if found.shape != wanted.shape:
        raise Wrong(f"{what}: shape {found.shape}, want {wanted.shape}")
    with np.errstate(all="ignore"):
        large = np.nanmax(np.abs(wanted), initial=0)
        bad = np.abs(found - wanted) > 1e-3 * (1 + np.minimum(large, 1e30))
        bad |= np.isnan(found) & ~np.isnan(wanted) & (large < 1e30)
        bad |= np.isfinite(found) & np.isnan(wanted)
    if large < 1e30 and bad.any():
        at = np.unravel_index(np.argmax(bad), bad.shape)
        raise Wrong(f"{what}: {found[at]:.6g} at {tuple(map(int, at))}, want {wanted[at]:.6g}")


def sound(net, rows=None):
    """Wrong unless all ways to ask a network give what its layers, as they show themselves, should give."""
    for few in (X[:3], X, MANY) if rows is None else (rows,):
        logits = net.logits(few)
        try:
            wanted = twin(net, few)
        except Wrong:
            raise
        except Exception as error:
            raise Wrong(f"answers, but its layers can't be computed with: {error!r}") from None
        near(logits, wanted, f"logits of {len(few)} rows")
    near(net.predict_proba(few).sum(1), np.where(np.isfinite(wanted).all(1), 1, np.nan), "sums of probabilities")
    if wanted.shape[1] == 3 and np.isfinite(wanted).all() and np.abs(wanted).max() < 1e4:
        labels = np.arange(len(few)) % 3
        below = wanted - wanted.max(1, keepdims=True)
        losses = np.log(np.exp(below).sum(1)) - below[np.arange(len(few)), labels]
        near(evaluate(net, few, labels, 7)[0], losses.mean(), "evaluate's loss")
    for layer in net.layers:
        if hasattr(layer, "training"):
            layer.training = False
    near(net.forward(few), wanted, "forward by hand")
    for layer in net.layers:
        if hasattr(layer, "training"):
            layer.training = True
    if not any(isinstance(layer, Scale) for layer in net.layers):
        path = FOLDER / f"misuse-{os.getpid()}.safetensors"
        try:
            net.save(path)
            near(FeedForwardNeuralNetwork.load(path).logits(few), wanted, "logits after save and load")
        finally:
            path.unlink(missing_ok=True)


def trained(own, *, finite=True):
    """Wrong unless the figures in a trainer's history are possible, and its network is sound."""
    history = own.history
    numbers = [*history.batch_losses, *(record.train_loss for record in history.epochs)]
    if finite and not all(0 <= number < 1e6 for number in numbers):
        raise Wrong(f"losses from {min(numbers):.3g} to {max(numbers):.3g}")
    if not all(0 <= number <= 1 for number in history.batch_accuracies):
        raise Wrong(f"accuracies from {min(history.batch_accuracies):.3g} to {max(history.batch_accuracies):.3g}")
    sound(own.network)


def same(call, value):
    """Wrong unless the call gives for a value what it gives for a plain array of the same numbers."""
    found = call(value)
    if isinstance(value, Changing):
        return
    wanted = call(plain(value))
    if isinstance(wanted, bytes):
        if found != wanted:
            raise Wrong("other weights than from a plain array")
        return
    near(found, wanted, "what a plain array gives")


def fitted(rows, labels, kind="plain", **settings):
    """The bytes of a network's weights after a short training."""
    own = trainer(kind, **settings)
    own.fit(rows, labels, epochs=2)
    return weights(own.network)


def fit(own, epochs=2, on_epoch=None):
    return own.fit(X, Y, V, W, epochs=epochs, on_epoch=on_epoch)


def together(*calls, times=3):
    """Call all of these at once, each in a thread, several times; what they raise is raised here, fastff's own last."""
    start, failures = threading.Barrier(len(calls)), []

    def work(call):
        start.wait()
        try:
            for _ in range(times):
                call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures.sort(key=lambda error: isinstance(error, FastffError))
    if failures:
        raise failures[0]


class Lying:
    """A sequence of arrays that says it is longer than it is."""

    def __init__(self, values, length):
        self.values, self.length = values, length

    def __len__(self):
        return self.length

    def __getitem__(self, key):
        return self.values[key]


class Interface:
    """Something that shows the memory of an array, which it keeps, as another array's."""

    def __init__(self, values, **changes):
        self.values = values
        self.__array_interface__ = dict(values.__array_interface__, **changes)


class Changing:
    """Something that is another array each time it is looked at."""

    def __init__(self, *arrays):
        self.arrays, self.count = arrays, 0

    def __array__(self, dtype=None, **more):
        self.count += 1
        array = self.arrays[(self.count - 1) % len(self.arrays)]
        return array if dtype is None else array.astype(dtype)


def unaligned(array):
    """The same values one byte past where they should begin."""
    raw = np.zeros(array.nbytes + 1, np.uint8)
    moved = raw[1:].view(array.dtype).reshape(array.shape) if array.size else array
    moved[...] = array
    return moved


def mapped(array, *, cut=0):
    """A memory map of a file with these values, which is cut short afterwards."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(array.tobytes())
        file.flush()
        there = np.memmap(file.name, array.dtype, "r", shape=array.shape)
        file.truncate(array.nbytes - cut)
    return there
