"""How a gradient moves a weight: plain, immutable descriptions. The layers keep the moments, the kernels do the work.

An optimizer turns its settings, the count of updates and a step size into the numbers of one update (`hyper`); the tile
kernel applies them to weights while their gradient is still in registers. Decay applies to weights, never to biases.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fastff.errors import ArgumentError
from fastff.kernels import optimizer
from fastff.system.arguments import check_number


class Optimizer(Protocol):
    """Anything that can fill in an update's numbers."""

    def hyper(self, first: int, step_sizes: np.ndarray) -> np.ndarray: ...


def _rows(steps: int) -> np.ndarray:
    """Room for the numbers of so many updates: (steps, 2, HYPER), the weights' and then the biases'."""
    return np.zeros((steps, 2, optimizer.HYPER))


def check_optimizer(value: Any) -> Optimizer:
    """value if it is an optimizer; ArgumentError otherwise."""
    if isinstance(value, type) or not callable(getattr(value, "hyper", None)):
        raise ArgumentError(f"optimizer: {value!r}, want one such as Adam() or SGD()")
    return value


@dataclass(frozen=True)
class Adam:
    """Adam, in three forms that differ by name (m, v: moving averages of g and g^2; t counts updates from 1).

    m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2,   w -= step_size * m' / (sqrt(v') + epsilon)

    bias_correction="standard": m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) (Kingma & Ba 2015, algorithm 1; equal to
    torch.optim.Adam). "constant": m' = m / (1 - beta1), v' = v / (1 - beta2) at every step, the course's equations
    13-17. decay="l2": g = dL/dw + weight_decay * w. "decoupled": w is first multiplied by 1 - step_size * weight_decay
    (AdamW, Loshchilov & Hutter 2019), and g = dL/dw. Biases are never decayed.

    Raises ArgumentError for a beta outside [0, 1), an epsilon not above 0, a negative decay, or an unknown form.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    _: KW_ONLY
    decay: Literal["l2", "decoupled"] = "l2"
    bias_correction: Literal["standard", "constant"] = "standard"

    def __post_init__(self) -> None:
        check_number("beta1", self.beta1, 0.0, 1.0)
        check_number("beta2", self.beta2, 0.0, 1.0)
        check_number("epsilon", self.epsilon, 0.0, np.inf, above=True)
        check_number("weight_decay", self.weight_decay, 0.0, np.inf)
        _choice("decay", self.decay, ("l2", "decoupled"))
        _choice("bias_correction", self.bias_correction, ("standard", "constant"))

    def hyper(self, first: int, step_sizes: np.ndarray) -> np.ndarray:
        """The numbers of updates first, first + 1, ... (counted from 1), one a step size: (steps, 2, HYPER) float32."""
        standard = self.bias_correction == "standard"
        t = first + np.arange(len(step_sizes)) if standard else np.ones(len(step_sizes), np.int64)
        correction1, correction2 = 1.0 - self.beta1**t, 1.0 - self.beta2**t
        rows = _rows(len(step_sizes))
        rows[..., optimizer.BETA1], rows[..., optimizer.KEEP1] = self.beta1, 1.0 - self.beta1
        rows[..., optimizer.BETA2], rows[..., optimizer.KEEP2] = self.beta2, 1.0 - self.beta2
        rows[..., optimizer.RATE] = (step_sizes / correction1)[:, None]
        rows[..., optimizer.ROOT] = (1.0 / np.sqrt(correction2))[:, None]
        rows[..., optimizer.EPSILON] = self.epsilon
        rows[..., optimizer.RULE] = optimizer.ADAM
        return _decayed(rows, step_sizes, self.weight_decay, self.decay)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, as torch.optim.SGD (Sutskever et al. 2013).

    g = dL/dw + weight_decay * w,   m = momentum m + g,   w -= step_size * m, or with nesterov (g + momentum m).
    Biases are never decayed. Raises ArgumentError for a momentum outside [0, 1) or a negative decay.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_number("momentum", self.momentum, 0.0, 1.0)
        check_number("weight_decay", self.weight_decay, 0.0, np.inf)

    def hyper(self, first: int, step_sizes: np.ndarray) -> np.ndarray:
        """The numbers of an update a step size: (steps, 2, HYPER) float32. The count `first` does not matter here."""
        rows = _rows(len(step_sizes))
        rows[..., optimizer.BETA1] = self.momentum
        rows[..., optimizer.KEEP1] = self.momentum if self.nesterov else 1.0
        rows[..., optimizer.BETA2] = 1.0 if self.nesterov else 0.0
        rows[..., optimizer.RATE] = np.asarray(step_sizes)[:, None]
        rows[..., optimizer.RULE] = optimizer.SGD
        return _decayed(rows, step_sizes, self.weight_decay, "l2")


def store_gradient() -> np.ndarray:
    """The numbers of an update that stores the gradient instead of applying it."""
    rows = _rows(1)
    rows[..., optimizer.RULE] = optimizer.STORE
    return rows.astype(np.float32)


def check_step_size(step_size: float) -> float:
    """step_size itself, a finite number above 0; ArgumentError otherwise."""
    return check_number("step_size", step_size, 0.0, np.inf, above=True)


def _decayed(rows: np.ndarray, step_sizes: np.ndarray, weight_decay: float, decay: str) -> np.ndarray:
    rows[..., optimizer.SHRINK] = 1.0
    if decay == "l2":
        rows[:, 0, optimizer.DECAY] = weight_decay
    else:
        rows[:, 0, optimizer.SHRINK] = 1.0 - np.asarray(step_sizes) * weight_decay
    return rows.astype(np.float32)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{name}: {value!r}, want one of {', '.join(choices)}")
