"""Moving averages of a network's weights and biases in a program: fastff.kernels.averaging."""

from collections.abc import Sequence

import numpy as np

from fastff.engine.program import Program
from fastff.kernels import averaging
from fastff.kernels.optimizer import APART, HYPER

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]  # of values and their averages, each in panels


def shares(first: int, count: int, decay: float) -> np.ndarray:
    """By which share of the difference averages move in the steps first, first + 1, ... (from 1), float64 (count,).

    It is 1 - decay, and more at first, so that the initial weights are soon forgotten: step t has the decay
    min(decay, (1 + t) / (10 + t)), as TensorFlow's ExponentialMovingAverage has it.
    """
    t = np.arange(first, first + count, dtype=np.int64)
    return 1.0 - np.minimum(decay, (1 + t) / (10 + t))


def average(program: Program, pairs: Pairs) -> None:
    """Add the averages' step to a program, behind all updates; the optimizer's numbers say how far it goes."""
    for i, (values, averages) in enumerate(pairs):
        program.add(averaging.average, values=values, averages=averages, count=values.size, barrier=i == len(pairs) - 1)


def average_once(pairs: Pairs, share: np.ndarray) -> None:
    """Have the averages do one step, by a share (1,) that `shares` gave."""
    program, hyper = Program(1), np.zeros((1, 2, HYPER), np.float32)
    hyper[..., APART] = share
    average(program, pairs)
    program.run(hyper=hyper)
