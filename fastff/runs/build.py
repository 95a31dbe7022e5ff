"""Builds the network and the trainer that a Config describes; every command that trains begins with this."""

import copy
from collections.abc import Iterator
from typing import Any

from fastff.data import Dataset
from fastff.errors import ArgumentError, DataError
from fastff.nn.activations import ReLU, Sigmoid, Tanh
from fastff.nn.dropout import Dropout
from fastff.nn.layers import LinearLayer
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.optim import SGD, Adam, Optimizer
from fastff.nn.preprocessing import Augment, Standardize, Whiten
from fastff.runs.config import Config
from fastff.runs.presets import PRESETS
from fastff.system.arguments import check_size
from fastff.training.trainer import Trainer

_ACTIVATIONS = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}
# Options that mean nothing to the other optimizer: there they stay at their default, or at what the preset has
ONLY_FOR = {"adam": ("beta1", "beta2", "epsilon", "bias_correction"), "sgd": ("momentum",)}


def preprocessing(options: Config, data: Dataset) -> list[Standardize | Whiten]:
    """The first layers, fitted to the training rows. Of the options only `standardize` and `whiten` matter."""
    standardize = Standardize.fit(data.x_train) if options.standardize else None
    front: list[Standardize | Whiten] = [standardize] if standardize else []
    if options.whiten:
        front.append(Whiten.fit(data.x_train, options.whiten, after=standardize))
    return front


def make_trainer(
    options: Config, data: Dataset, kind: type[Trainer] = Trainer, front: list[Standardize | Whiten] | None = None
) -> Trainer:
    """The trainer that the options describe, with its network, for this data.

    kind: the class of the trainer. front: what `preprocessing` returned for such options, where that was called
    before; the layers are copied. Raises ArgumentError for bad values, DataError for data to regress on.
    """
    if data.task == "regress" and data.columns is not None:
        raise DataError(f"{data.name}: {data.columns.reason}; training on numbers is not there yet, want task classify")
    network = FeedForwardNeuralNetwork(
        options.whiten or data.n_features,
        data.n_classes,
        options.hidden,
        optimizer=_optimizer(options),
        seed=options.seed,
    )
    network.layers = list(_dress(network.layers, options))
    network.layers[:0] = preprocessing(options, data) if front is None else map(copy.copy, front)
    if options.mirror or options.shift:
        if data.image_shape is None:
            raise ArgumentError(f"mirror and shift: the rows of {data.name} are no pictures, want both off")
        network.layers.insert(
            0, Augment(data.image_shape, mirror=options.mirror, shift=options.shift, seed=options.seed)
        )
    check_size("epochs", options.epochs)
    return kind(
        network,
        batch_size=options.batch_size,
        step_size=options.step_size,
        schedule=options.schedule,
        precision=options.precision,
        threads=options.threads,
        seed=options.seed,
        label_smoothing=options.label_smoothing,
        patience=options.patience,
        monitor=options.monitor,
    )


def _optimizer(options: Config) -> Optimizer:
    preset = PRESETS.get(options.preset or "", {})
    for optimizer, names in ONLY_FOR.items():
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
