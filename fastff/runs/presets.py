"""Presets: named sets of options for fastff.train, and the preset that each data set starts from.

No preset sets an option that may be None, such as patience: TOML has no None, so no config.toml could undo that.
"""

from typing import Any

from fastff.data.tables import ENDINGS

Options = dict[str, Any]

# Against overfitting, which limits the accuracy on small pictures; docs/tuning.md says what each of these is worth. The
# epoch whose weights are kept is chosen by the loss: the most accurate of hundreds is that by chance, and often early.
_PICTURES: Options = {
    "whiten": 256,
    "mirror": True,
    "shift": 2,
    "dropout": 0.0,
    "label_smoothing": 0.05,
    "weight_decay": 0.1,
    "decay": "decoupled",
    "schedule": "one-cycle",
    "monitor": "val_loss",
}

# The options that each known data set starts from unless --preset or --config names others. They can be named, too:
# --preset mnist trains on a folder of IDX files, say, as on mnist.
DEFAULTS: dict[str, Options] = {
    "digits": {"hidden": (256, 128), "epochs": 40, "batch_size": 64, "dropout": 0.2, "label_smoothing": 0.1},
    "cifar10-hst": {**_PICTURES, "hidden": (512, 256), "step_size": 0.005, "epochs": 38},
    # as measured on three of its classes, before a larger step size was found better for them
    "cifar10": {
        **_PICTURES,
        "hidden": (1024, 512),
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "weight_decay": 0.05,
        "step_size": 0.003,
        "epochs": 40,
    },
    "mnist": {"hidden": (512, 512), "shift": 1, "dropout": 0.2, "schedule": "cosine", "epochs": 20},
    "fashion-mnist": {"hidden": (512, 512), "mirror": True, "dropout": 0.2, "schedule": "cosine", "epochs": 20},
}

# For tables, which often have few rows. Over few validation rows the loss tells epochs apart better than the accuracy.
# docs/tables.md says what was measured.
_TABULAR: Options = {
    "hidden": (128, 64),
    "dropout": 0.2,
    "bins": 16,
    "label_smoothing": 0.05,
    "weight_decay": 0.05,
    "decay": "decoupled",
    "schedule": "one-cycle",
    "step_size": 0.003,
    "batch_size": 64,
    "epochs": 100,
    "monitor": "val_loss",
}

# The assignment to the letter: three linear layers with He's initialisation, ReLU between, one beta for both averages,
# the bias correction of equations 13-17 that does not change with t, and L2 in the gradient of the weights.
_COURSE: Options = {
    "hidden": (256, 256),
    "whiten": 0,
    "activation": "relu",
    "mirror": False,
    "shift": 0,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "schedule": "constant",
    "optimizer": "adam",
    "beta1": 0.9,
    "beta2": 0.9,
    "bias_correction": "constant",
    "decay": "l2",
    "weight_decay": 1e-4,
    "step_size": 1e-4,  # the constant correction makes steps about three times the usual size
    "batch_size": 128,
    "epochs": 10,
}

# For horses, ships and trucks: most of the accuracy within seconds, and the highest accuracy that was found
_FAST: Options = {**_PICTURES, "shift": 1, "hidden": (512, 128), "step_size": 0.007, "epochs": 16}
_BEST: Options = {
    **_PICTURES,
    "shift": 4,
    "rotate": 6.0,
    "zoom": 0.1,
    "cutout": 8,
    "hidden": (1024, 512),
    "dropout": 0.1,
    "schedule": "cosine",
    "step_size": 0.002,
    "epochs": 600,
}

PRESETS: dict[str, Options] = {"course": _COURSE, "fast": _FAST, "best": _BEST, "tabular": _TABULAR, **DEFAULTS}


def for_task(preset: Options, task: str) -> Options:
    """A preset for numbers to predict where the task is to regress: what only classes have is left out.

    Dropout is left out as well: it changes the variance of what a layer is given, which moves a predicted number, while
    the most likely class mostly stays the same. On tables it cost 0.02 to 0.2 of r2.
    """
    if task == "classify":
        return preset
    numbers = {**preset, "label_smoothing": 0.0, "monitor": "val_loss"}
    return {**numbers, "dropout": 0.0, "weight_decay": 0.2} if preset.get("bins") else numbers


def own_options(dataset: str) -> Options:
    """The options that the data set of this name or path starts from."""
    return DEFAULTS.get(dataset, _TABULAR if dataset.lower().endswith(ENDINGS) else {})
