"""Named sets of options, and what each data set starts from. Plain data: every value is an option of fastff.train."""

from typing import Any

Options = dict[str, Any]

# What a data set starts from when neither --preset nor --config says otherwise
DEFAULTS: dict[str, Options] = {
    "digits": {"hidden": (256, 128), "epochs": 40, "batch_size": 64, "dropout": 0.2, "label_smoothing": 0.1},
    "cifar10-hst": {
        "hidden": (1024, 256),  # wide first: it is the layer that sees the pixels
        "epochs": 30,
        "dropout": 0.4,  # the gap between training and validation is what limits this set
        "label_smoothing": 0.1,
        "weight_decay": 0.05,
        "decay": "decoupled",
        "step_size": 5e-4,
    },
    "cifar10": {"hidden": (1024, 512, 256), "epochs": 30, "dropout": 0.3, "label_smoothing": 0.1, "step_size": 5e-4},
    "mnist": {"hidden": (512, 512), "epochs": 20, "dropout": 0.3, "label_smoothing": 0.05},
    "fashion-mnist": {"hidden": (512, 512), "epochs": 20, "dropout": 0.3, "label_smoothing": 0.05},
}

# The assignment to the letter: three linear layers with He's initialisation, ReLU between, one beta for both averages,
# the bias correction of equations 13-17 that does not change with t, and L2 in the gradient of the weights.
_COURSE: Options = {
    "hidden": (256, 256),
    "activation": "relu",
    "dropout": 0.0,
    "label_smoothing": 0.0,
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

PRESETS: dict[str, Options] = {"course": _COURSE}
