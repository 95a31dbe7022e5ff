"""fastff: feed-forward networks trained on a CPU at the speed of the machine. NumPy arrays in, weights out.

from fastff import FeedForwardNeuralNetwork, Trainer, load_dataset
data = load_dataset("digits")
net = FeedForwardNeuralNetwork(64, 10, hidden_dim=100, num_layers=2, seed=0)
history = Trainer(net).fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=20)
"""

from importlib import import_module
from pathlib import Path

# In a checkout the kernels stand beside this folder (see Layout in CONTRIBUTING.md); a wheel has them inside it.
if not (Path(__file__).parent / "kernels").exists():
    __path__.append(str(Path(__file__).parents[1]))

from fastff.data import Dataset, load_dataset
from fastff.errors import ArgumentError, DataError, DivergenceError, FastffError, MissingExtra, NoRoom, StalledError
from fastff.evaluate import evaluate
from fastff.nn.activations import ReLU, Sigmoid, Tanh
from fastff.nn.dropout import Dropout
from fastff.nn.encoding import PiecewiseLinear
from fastff.nn.ensemble import Ensemble
from fastff.nn.layers import LinearLayer
from fastff.nn.loss import AbsoluteError, CrossEntropySoftmax, Loss, PoissonLoss, SquaredError
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.optim import SGD, Adam
from fastff.nn.preprocessing import Augment, Standardize, Whiten
from fastff.nn.targets import TargetExp, TargetScale
from fastff.training.trainer import Trainer

__version__ = "0.1.0"
__all__ = [
    "SGD",
    "AbsoluteError",
    "Adam",
    "ArgumentError",
    "Augment",
    "Config",
    "CrossEntropySoftmax",
    "DataError",
    "Dataset",
    "DivergenceError",
    "Dropout",
    "Ensemble",
    "FastffError",
    "FeedForwardNeuralNetwork",
    "Fitted",
    "LinearLayer",
    "Loss",
    "MissingExtra",
    "NoRoom",
    "PiecewiseLinear",
    "PoissonLoss",
    "ReLU",
    "Sigmoid",
    "SquaredError",
    "StalledError",
    "Standardize",
    "Tanh",
    "TargetExp",
    "TargetScale",
    "Trainer",
    "Whiten",
    "display_example",
    "evaluate",
    "fit_many",
    "load_dataset",
    "load_model",
]


# Names that are imported when first used: matplotlib takes longer to import than all the rest
_LATE = {
    "Config": "fastff.runs.config",
    "Fitted": "fastff.runs.sweep",
    "display_example": "fastff.plots",
    "fit_many": "fastff.runs.sweep",
    "load_model": "fastff.runs.model",
}


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'fastff' has no attribute {name!r}")
