"""Builds the network and the trainer that a Config describes; every command that trains begins with this."""

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastff.data import Dataset
from fastff.engine.bfloat16 import resolve_precision
from fastff.errors import ArgumentError
from fastff.nn.activations import ReLU, Sigmoid, Tanh
from fastff.nn.dropout import Dropout
from fastff.nn.encoding import PiecewiseLinear, scale_by_quarters
from fastff.nn.layers import Layer, LinearLayer
from fastff.nn.loss import PoissonLoss
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.optim import SGD, Adam, Optimizer
from fastff.nn.preprocessing import Augment, Standardize
from fastff.nn.targets import TargetExp, TargetScale
from fastff.runs.config import Config
from fastff.runs.presets import PRESETS, own_options
from fastff.runs.whitening import whiten
from fastff.system import clock, elementary
from fastff.system.arguments import check_count, check_seed, check_size
from fastff.system.options import naming
from fastff.training.trainer import Trainer

# What the classes that are made here call an option
_THEIRS = {"components": "whiten", "rate": "dropout", "hidden_dim": "hidden"}
FRONT = ("standardize", "bins", "whiten")  # the options that decide the first layers
_ACTIVATIONS = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}
# Options that mean nothing to the other optimizer: there they stay at their default, or at what the preset has
_ONLY_FOR = {"adam": ("beta1", "beta2", "epsilon", "bias_correction"), "sgd": ("momentum",)}


def preprocessing(options: Config, data: Dataset) -> list[Layer]:
    """The first layers, fitted to the training rows. Of the options only FRONT matter."""
    check_count("whiten", options.whiten)
    check_count("bins", options.bins)
    if options.bins and options.whiten:
        raise ArgumentError(f"bins: {options.bins} with whiten {options.whiten}, want one of the two to be 0")
    standardize = None
    if options.standardize:
        standardize = (scale_by_quarters if options.bins else Standardize.fit)(data.x_train)
    front: list[Layer] = [standardize] if standardize else []
    if options.bins:
        front.append(PiecewiseLinear.fit(data.x_train, options.bins, after=standardize))
    if options.whiten:
        with naming(lambda: _THEIRS):
            front.append(whiten(data.x_train, options.whiten, standardize))
    return front


def make_trainer(
    options: Config, data: Dataset, kind: type[Trainer] = Trainer, front: list[Layer] | None = None
) -> Trainer:
    """The trainer that the options describe, with its network, for this data.

    kind: the class of the trainer. front: what `preprocessing` returned for such options, where that was called
    before; the layers are copied. Raises ArgumentError for bad values.
    """
    options, start = for_data(options, data), clock.now()
    check_seed(options.seed, required=True)
    if options.threads is not None:
        check_size("threads", options.threads)
    _check_hidden(options)
    if options.clip_norm is not None and (precision := resolve_precision(options.precision)) != "float32":
        raise ArgumentError(f"clip_norm: {options.clip_norm} with precision {precision!r}, want 'float32'")
    front = preprocessing(options, data) if front is None else [copy.copy(layer) for layer in front]
    prepare_seconds = clock.since(start)
    width = front[-1].output_dim if front else None
    with naming(lambda: _THEIRS):
        network = FeedForwardNeuralNetwork(
            width or data.n_features,
            data.n_classes if data.task == "classify" else data.y_train[:1].size,
            options.hidden,
            optimizer=_optimizer(options),
            seed=options.seed,
        )
        network.layers = list(_dress(network.layers, options))
    if data.task == "regress":
        _predict_numbers(network, data, options.loss)
    network.layers[:0] = front
    changes = {name: getattr(options, name) for name in ("mirror", "shift", "rotate", "zoom", "cutout")}
    if wanted := next((name for name, value in changes.items() if value), None):
        if data.image_shape is None:
            found = "mirror: on, want it off" if options.mirror else f"{wanted}: {changes[wanted]}, want 0"
            raise ArgumentError(f"{found}, as the rows of {data.name} are no pictures")
        network.layers.insert(0, Augment(data.image_shape, **changes, seed=options.seed))
    check_size("epochs", options.epochs)
    trainer = kind(
        network,
        batch_size=options.batch_size,
        step_size=options.step_size,
        schedule=options.schedule,
        precision=options.precision,
        threads=options.threads,
        seed=options.seed,
        loss="cross_entropy" if options.loss == "auto" else options.loss,
        label_smoothing=options.label_smoothing,
        clip_norm=options.clip_norm,
        ema_decay=options.ema_decay or None,
        patience=options.patience,
        monitor=options.monitor,
    )
    trainer.prepare_seconds = prepare_seconds
    return trainer


def _predict_numbers(network: FeedForwardNeuralNetwork, data: Dataset, loss: str) -> None:
    """Give the network a last layer for targets in their own units, and let it predict about their mean at first.

    With its last weights as they are it would be far off, and so would be Adam's first squared gradients, of which it
    keeps the mean for long. A tenth of them was worth 0.02 to 0.04 of r2 on three data sets, with the preset tabular.
    """
    last = network.linear_layers[-1]
    last.weights = 0.1 * last.weights
    if loss == "poisson":
        with naming(lambda: {"y_train": f"loss: poisson, but y_train of {data.name}"}):
            counts = PoissonLoss().check(data.y_train, "y_train", rows=len(data.y_train), outputs=None)
        means = elementary.sum_rows(counts.astype(np.float64)) / len(counts)
        last.bias = elementary.log(np.maximum(means, 1 / len(counts)))
    network.layers.append(TargetExp() if loss == "poisson" else TargetScale.fit(data.y_train))


def for_data(options: Config, data: Dataset) -> Config:
    """The options with what they mean by default for numbers to predict. ArgumentError for what only classes have."""
    if data.task == "classify":
        if options.loss not in ("auto", "cross_entropy"):
            raise ArgumentError(
                f"loss: {options.loss} for the classes of {data.name}, want cross_entropy, or task regress"
            )
        return options
    if options.loss == "cross_entropy":
        raise ArgumentError(f"loss: cross_entropy for the numbers of {data.name}, want another, or task classify")
    if options.class_weight is not None:
        raise ArgumentError(f"class_weight: {options.class_weight!r} for numbers to predict, want it left out")
    changed: dict[str, Any] = {"loss": "squared_error"} if options.loss == "auto" else {}
    if options.monitor == Config.monitor:  # which classes have
        changed["monitor"] = "val_loss"
    return dataclasses.replace(options, **changed)


def row_weights(options: Config, data: Dataset) -> np.ndarray | None:
    """How much each training row counts (N,): its weight in the table times that of its class; None: all the same."""
    if options.class_weight is None:
        return data.weights
    counts = np.bincount(data.y_train, minlength=data.n_classes)
    balanced = len(data.y_train) / (data.n_classes * np.maximum(counts, 1))  # as scikit-learn has it
    weights: np.ndarray = balanced[data.y_train]
    return weights if data.weights is None else weights * data.weights


def _check_hidden(options: Config) -> None:
    """ArgumentError for what changes hidden layers, where there are none and no preset has it."""
    owned = [own_options(options.dataset), PRESETS.get(options.preset or "", {})]
    for name in () if options.hidden else ("dropout", "activation"):
        value, default = getattr(options, name), getattr(Config, name)
        if value not in (default, *(preset.get(name) for preset in owned)):
            raise ArgumentError(f"{name}: {value}, but there are no hidden layers, want {default}, or hidden layers")


def idle_options(optimizer: str) -> set[str]:
    """The options that mean nothing to this optimizer."""
    return {name for kind, names in _ONLY_FOR.items() if kind != optimizer for name in names}


def _optimizer(options: Config) -> Optimizer:
    preset = PRESETS.get(options.preset or "", {})
    for optimizer, names in _ONLY_FOR.items():
        for name in names:
            value, default = getattr(options, name), getattr(Config, name)
            if optimizer != options.optimizer and value not in (default, preset.get(name)):
                raise ArgumentError(
                    f"{name}: {value!r}, but {options.optimizer} has no {name}; "
                    f"want it left at {default!r}, or {optimizer} as the optimizer"
                )
    if options.optimizer == "sgd":
        return SGD(momentum=options.momentum, weight_decay=options.weight_decay, decay=options.decay)
    return Adam(
        options.beta1,
        options.beta2,
        options.epsilon,
        options.weight_decay,
        decay=options.decay,
        bias_correction=options.bias_correction,
    )


def _dress(layers: list[Any], options: Config) -> Iterator[Any]:
    """Yields the linear layers among `layers`, with the options' activation and dropout after each but the last."""
    linear = [layer for layer in layers if isinstance(layer, LinearLayer)]
    for i, layer in enumerate(linear):
        yield layer
        if i < len(linear) - 1:
            yield _ACTIVATIONS[options.activation]()
            if options.dropout:
                yield Dropout(options.dropout, seed=options.seed)
