"""How the step size changes over training: factors of it, by the share of all batches that is done (0 to below 1)."""

from collections.abc import Callable

import numpy as np

from fastff.system import elementary

Schedule = Callable[[np.ndarray], np.ndarray]

WARM_UP = 0.3  # the share of training in which one-cycle's step size rises
START = 1 / 25  # what it rises from


def _step(done: np.ndarray) -> np.ndarray:
    """A tenth after half of training and a hundredth after three quarters (He et al. 2016, for CIFAR)."""
    return np.where(done < 0.5, 1.0, np.where(done < 0.75, 0.1, 0.01))


def _cosine(done: np.ndarray) -> np.ndarray:
    """From 1 to 0 along half a cosine (Loshchilov & Hutter 2017)."""
    return 0.5 * (1.0 + elementary.cos_pi(done))


def _one_cycle(done: np.ndarray) -> np.ndarray:
    """Up to 1 along half a cosine, and then down to 0 along another (Smith & Topin 2019)."""
    rising = START + (1 - START) * (1 - _cosine(done / WARM_UP))
    return np.where(done < WARM_UP, rising, _cosine((done - WARM_UP) / (1 - WARM_UP)))


SCHEDULES: dict[str, Schedule] = {"constant": np.ones_like, "step": _step, "cosine": _cosine, "one-cycle": _one_cycle}
