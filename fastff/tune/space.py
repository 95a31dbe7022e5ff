"""The search space: which options of a Config the search varies, and between which limits.

To search another option, add a line to `_options`. Limits are widened to include the value that the search starts from,
so that the first trial can use it.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.distributions import CategoricalDistribution as OneOf
from optuna.distributions import FloatDistribution as Real
from optuna.distributions import IntDistribution as Whole

from fastff.runs.config import Config
from fastff.runs.presets import DEFAULTS

# log: drawn evenly on a logarithmic scale
LAYERS = Whole(1, 4)  # hidden layers
WIDTH = Whole(32, 1024, log=True)
STEP_SIZE = {"adam": Real(1e-4, 1e-2, log=True), "sgd": Real(1e-3, 1.0, log=True)}
DECAY = {"adam": OneOf(("none", "l2", "decoupled")), "sgd": OneOf(("none", "l2"))}
WEIGHT_DECAY = Real(1e-6, 1e-1, log=True)  # unless the decay is "none"


def _options(start: Config, image_shape: tuple[int, int, int] | None, layers: int) -> dict[str, BaseDistribution]:
    """What is searched beside hidden layers and weight decay, for a network of so many hidden layers."""
    found = {
        "step_size": STEP_SIZE[start.optimizer],
        "batch_size": Whole(16, 512, log=True),
        "dropout": Real(0.0, 0.6),
        "label_smoothing": Real(0.0, 0.3),
        "schedule": OneOf(("constant", "step", "cosine", "one-cycle")),
    }
    if start.loss not in ("auto", "cross_entropy"):
        del found["label_smoothing"]  # of numbers to predict
    if layers == 0:
        del found["dropout"]  # of hidden layers
    if image_shape is not None:
        if start.mirror or start.dataset not in DEFAULTS:  # a known data set without it has letters, digits or the like
            found["mirror"] = OneOf((False, True))
        found["shift"] = Whole(0, min(image_shape[1:]) // 8)  # an eighth of a picture
        if not start.bins:  # which do not go together
            found["whiten"] = OneOf((0, start.whiten or math.prod(image_shape) // 12))
    return found


def suggest(trial: Any, start: Config, image_shape: tuple[int, int, int] | None) -> Config:
    """`start` with the values that an Optuna trial, running or finished, chooses for the options that are searched.

    image_shape: (channels, height, width) if rows are pictures; then the options for pictures are searched, too.
    """
    known = start_parameters(start, image_shape)

    def choose(name: str, limits: BaseDistribution) -> Any:
        if isinstance(limits, OneOf):
            return trial.suggest_categorical(name, limits.choices)
        low, high = min(limits.low, known.get(name, limits.low)), max(limits.high, known.get(name, limits.high))
        method = trial.suggest_int if isinstance(limits, Whole) else trial.suggest_float
        return method(name, low, high, log=limits.log)

    widths = [choose(f"width_{i + 1}", WIDTH) for i in range(choose("layers", LAYERS))]
    options: dict[str, Any] = {"hidden": tuple(widths), "weight_decay": 0.0}
    kind = choose("decay", DECAY[start.optimizer])
    if kind != "none":
        options["weight_decay"] = choose("weight_decay", WEIGHT_DECAY)
        if start.optimizer == "adam":
            options["decay"] = kind
    options |= {name: choose(name, limits) for name, limits in _options(start, image_shape, len(widths)).items()}
    return dataclasses.replace(start, **options)


def near(start: Config, image_shape: tuple[int, int, int] | None, seed: np.random.SeedSequence) -> dict[str, Any]:
    """Parameters of a trial that differ little from `start`: numbers by up to a factor of 2, or a tenth of their range,
    each with probability 1/2."""
    generator, parameters = np.random.Generator(np.random.PCG64(seed)), start_parameters(start, image_shape)
    limits = {**_options(start, image_shape, len(start.hidden)), "weight_decay": WEIGHT_DECAY}
    for name, value in parameters.items():
        around = WIDTH if name.startswith("width_") else limits.get(name)
        moved, by = generator.random() < 0.5, generator.uniform(-1.0, 1.0)
        if moved and isinstance(around, Real | Whole):
            far = value * 2**by if around.log else value + by * (around.high - around.low) / 10
            bounded = min(max(far, min(around.low, value)), max(around.high, value))
            parameters[name] = round(bounded) if isinstance(around, Whole) else bounded
    return parameters


def start_parameters(start: Config, image_shape: tuple[int, int, int] | None) -> dict[str, Any]:
    """The parameters of a trial for which suggest(trial, start, image_shape) returns `start`."""
    kind = "none" if start.weight_decay == 0 else start.decay if start.optimizer == "adam" else "l2"
    return {
        "layers": len(start.hidden),
        **{f"width_{i + 1}": width for i, width in enumerate(start.hidden)},
        "decay": kind,
        **({} if kind == "none" else {"weight_decay": start.weight_decay}),
        **{name: getattr(start, name) for name in _options(start, image_shape, len(start.hidden))},
    }
