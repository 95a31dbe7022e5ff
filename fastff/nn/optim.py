"""How a gradient moves a weight: immutable descriptions, Adam and SGD. Layers keep the moments, kernels do the work.

An optimizer turns its settings, the count of updates and the step sizes into the numbers of each update (`hyper`). A
kernel applies them to the weights while the gradient is still in registers. All these numbers are made in this module,
also those of fastff.sklearn. Weight decay applies to weights, never to biases.
"""

import warnings
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fastff.errors import ArgumentError
from fastff.kernels import optimizer
from fastff.system import elementary
from fastff.system.arguments import check_choice, check_number, check_numbers, is_whole, shown
from fastff.system.names import called_here

Each = float | np.ndarray  # one number for all steps, or an array (steps,)


class Optimizer(Protocol):
    """Anything that makes the numbers of updates, as Adam and SGD do."""

    def hyper(self, first: int, step_sizes: np.ndarray) -> np.ndarray:
        """The numbers of updates first, first + 1, ..., counted from 1, one for each of step_sizes (steps,).

        They are float32 (steps, 2, HYPER): in row 0 of the middle axis those for weights, in row 1 those for biases.
        """


def check_optimizer(value: Any) -> Optimizer:
    """value, if it has a method `hyper` as optimizers have; ArgumentError otherwise."""
    if isinstance(value, type) or not callable(getattr(value, "hyper", None)):
        raise ArgumentError(f"optimizer: {shown(value)}, want one such as Adam() or SGD()")
    return value


@called_here
@dataclass(frozen=True)
class Adam:
    """Adam, in forms that differ by name. m and v are the moving averages of g and g^2; t counts updates from 1.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``, ``w -= step_size * m' / (sqrt(v') + epsilon)``.
    Biases are never decayed. Trainer or step is given the step size.

    Parameters
    ----------
    beta1 : float, default: 0.9
        The decay rate of m, in [0, 1).
    beta2 : float, default: 0.999
        The decay rate of v, in [0, 1).
    epsilon : float, default: 1e-8
        Above 0, so that no step divides by 0.
    weight_decay : float, default: 0.0
        The strength of the weights' decay.
    decay : {"l2", "decoupled"}
        ``"l2"``: g = dL/dw + weight_decay * w. ``"decoupled"``: g = dL/dw, and w is first multiplied by
        1 - step_size * weight_decay (AdamW, Loshchilov & Hutter 2019).
    bias_correction : {"standard", "constant"}
        ``"standard"``: m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) (Kingma & Ba 2015, algorithm 1; equal to
        torch.optim.Adam). ``"constant"``: m' = m / (1 - beta1), v' = v / (1 - beta2) at every step, which are the
        course's equations 13-17.

    Raises
    ------
    ArgumentError
        For a beta outside [0, 1), an epsilon not above 0, a negative decay, or an unknown form.

    Examples
    --------
    >>> from fastff import Adam
    >>> Adam(weight_decay=1e-4, decay="decoupled").weight_decay
    0.0001
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
        _warn_if_step_size("Adam", "beta1", self.beta1)
        check_number("epsilon", self.epsilon, 0.0, np.inf, above=True)
        check_number("weight_decay", self.weight_decay, 0.0, np.inf)
        check_choice("decay", self.decay, ("l2", "decoupled"))
        check_choice("bias_correction", self.bias_correction, ("standard", "constant"))

    @classmethod
    def course(cls, beta: float = 0.9, weight_decay: float = 1e-4) -> "Adam":
        """The course's equations 13-17 to the letter: one beta for both averages, divided by 1 - beta at every step.

        Parameters
        ----------
        beta : float, default: 0.9
            The decay rate of both averages.
        weight_decay : float, default: 1e-4
            The course's lambda.

        Returns
        -------
        Adam
            With ``bias_correction="constant"``.
        """
        return cls(beta, beta, weight_decay=weight_decay, bias_correction="constant")

    def hyper(self, first: int, step_sizes: np.ndarray) -> np.ndarray:
        """The numbers of updates first, first + 1, ..., counted from 1, one for each step size: see Optimizer."""
        step_sizes = _check_updates(first, step_sizes)
        own = self.beta1, self.beta2, self.epsilon, self.bias_correction
        return adam_numbers(first, step_sizes, *own, *_decay(self, step_sizes))


@called_here
@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, as torch.optim.SGD (Sutskever et al. 2013).

    ``g = dL/dw + weight_decay * w``, ``m = momentum m + g``, ``w -= step_size * m``. Biases are never decayed. Trainer
    or step is given the step size.

    Parameters
    ----------
    momentum : float, default: 0.0
        The share of the previous step that each step repeats, in [0, 1).
    nesterov : bool, default: False
        Whether w moves by g + momentum m in place of m.
    weight_decay : float, default: 0.0
        The strength of the weights' decay.
    decay : {"l2", "decoupled"}
        As in Adam.

    Raises
    ------
    ArgumentError
        For a momentum outside [0, 1), a negative decay, or nesterov without momentum, which torch.optim.SGD refuses
        too.

    Examples
    --------
    >>> from fastff import SGD, FeedForwardNeuralNetwork, Trainer
    >>> network = FeedForwardNeuralNetwork(64, 10, hidden_dim=[32], seed=0)
    >>> trainer = Trainer(network, SGD(momentum=0.9), step_size=0.1)
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    _: KW_ONLY
    decay: Literal["l2", "decoupled"] = "l2"

    def __post_init__(self) -> None:
        check_number("momentum", self.momentum, 0.0, 1.0)
        check_number("weight_decay", self.weight_decay, 0.0, np.inf)
        _warn_if_step_size("SGD", "momentum", self.momentum)
        if not isinstance(self.nesterov, bool):
            raise ArgumentError(f"nesterov: {shown(self.nesterov)}, want True or False")
        if self.nesterov and not self.momentum:
            raise ArgumentError("nesterov: True without momentum changes nothing, want a momentum above 0")
        check_choice("decay", self.decay, ("l2", "decoupled"))

    def hyper(self, first: int, step_sizes: np.ndarray) -> np.ndarray:
        """The numbers of one update for each step size: see Optimizer. The count `first` does not matter here."""
        step_sizes = _check_updates(first, step_sizes)
        return sgd_numbers(step_sizes, self.momentum, self.nesterov, *_decay(self, step_sizes))


def adam_numbers(
    first: int,
    step_sizes: np.ndarray,
    beta1: float,
    beta2: float,
    epsilon: float,
    form: Literal["standard", "constant", "scikit-learn"],
    l2: Each = 0.0,
    shrink: Each = 1.0,
) -> np.ndarray:
    """The numbers of Adam's updates first, first + 1, ..., one for each of step_sizes (steps,): see Optimizer.

    form: "standard" and "constant" are Adam's bias_correction. "scikit-learn" is "standard" with epsilon added to
    sqrt(v) instead of sqrt(v') (Kingma & Ba 2015, end of section 2). A weight is first
    multiplied by shrink, and l2 times the weight is added to its gradient.
    """
    t = np.ones(len(step_sizes), np.int64) if form == "constant" else first + np.arange(len(step_sizes), dtype=np.int64)
    correction1, correction2 = 1.0 - elementary.powers(beta1, t), 1.0 - elementary.powers(beta2, t)
    if form == "scikit-learn":
        rate, root = step_sizes * np.sqrt(correction2) / correction1, np.ones(len(step_sizes))
    else:
        rate, root = step_sizes / correction1, 1.0 / np.sqrt(correction2)
    rows = _numbers(optimizer.ADAM, rate, l2, shrink)
    rows[..., optimizer.BETA1], rows[..., optimizer.KEEP1] = beta1, 1.0 - beta1
    rows[..., optimizer.BETA2], rows[..., optimizer.KEEP2] = beta2, 1.0 - beta2
    rows[..., optimizer.ROOT], rows[..., optimizer.EPSILON] = root[:, None], epsilon
    return rows


def sgd_numbers(
    step_sizes: np.ndarray, momentum: float, nesterov: bool, l2: Each = 0.0, shrink: Each = 1.0
) -> np.ndarray:
    """The numbers of one update by SGD for each of step_sizes (steps,): see Optimizer and adam_numbers."""
    rows = _numbers(optimizer.SGD, step_sizes, l2, shrink)
    rows[..., optimizer.BETA1] = momentum
    rows[..., optimizer.KEEP1] = momentum if nesterov else 1.0
    rows[..., optimizer.BETA2] = 1.0 if nesterov else 0.0
    return rows


def check_clip_norm(value: Any) -> float | None:
    """The largest norm of gradients as a float, or None."""
    return None if value is None else check_number("clip_norm", value, 0.0, np.inf, above=True)


def check_ema_decay(value: Any) -> float | None:
    """The decay of moving averages of the weights as a float, or None."""
    return None if value is None else check_number("ema_decay", value, 0.0, 1.0, above=True)


def store_gradient() -> np.ndarray:
    """The numbers of an update that stores the gradient in place of the weights: see Optimizer."""
    return _numbers(optimizer.STORE, np.zeros(1), l2=0.0, shrink=1.0)


def _numbers(rule: float, rate: np.ndarray, l2: Each, shrink: Each) -> np.ndarray:
    """The numbers that all rules have, as float32 (steps, 2, HYPER), the others 0. Biases are not decayed."""
    rows = np.zeros((len(rate), 2, optimizer.HYPER), np.float32)
    rows[..., optimizer.RULE], rows[..., optimizer.RATE] = rule, rate[:, None]
    rows[:, 0, optimizer.DECAY] = l2
    rows[:, 0, optimizer.SHRINK], rows[:, 1, optimizer.SHRINK] = shrink, 1.0
    return rows


def check_step_size(step_size: float) -> float:
    """step_size as a float, if it is a finite number above 0; ArgumentError otherwise."""
    return check_number("step_size", step_size, 0.0, np.inf, above=True)


def _check_updates(first: Any, step_sizes: Any) -> np.ndarray:
    """step_sizes as float64 (steps,). ArgumentError unless they are, and `first` is the number of an update."""
    if not is_whole(first) or not 1 <= first <= 1 << 62:
        raise ArgumentError(f"first: {shown(first)}, want the number of an update, from 1 to 2**62")
    sizes = check_numbers("step_sizes", step_sizes, np.float64, "numbers, (steps,)")
    if sizes.ndim != 1:
        raise ArgumentError(f"step_sizes: shape {sizes.shape}, want (steps,)")
    return sizes


def _decay(optimizer: Adam | SGD, step_sizes: np.ndarray) -> tuple[float, float | np.ndarray]:
    """l2 and shrink, as adam_numbers takes them."""
    if optimizer.decay == "l2":
        return optimizer.weight_decay, 1.0
    return 0.0, 1.0 - step_sizes * optimizer.weight_decay


def _warn_if_step_size(kind: str, name: str, value: float) -> None:
    """Warn of Adam(0.001): the first argument of other libraries' optimizers is the step size."""
    if 0.0 < value <= 0.1:
        warnings.warn(f"{kind}: {name} is {value:g}; a step size is given to Trainer or step", stacklevel=4)
