"""Clipping gradients by their norm (Pascanu et al. 2013, "On the difficulty of training recurrent neural networks").

The norm is that of the gradients of all weights and biases together, without weight decay, by float64 sums in one fixed
order: of a panel's values one after the other, and then of the panels. Where it is above the limit, the gradients of
the layers' outputs are multiplied by limit / norm: every weight's gradient is linear in them.
"""

import numpy as np

from .compiler import kernel
from .cpu import NR
from .emit import load_f32, load_f64, store_f32, store_f64
from .operation import array, operation
from .panels import batch, round_up, whole_panels

TINY = 1e-6  # added to the norm, as PyTorch does


def panels_of(outputs: int) -> int:
    """How many sums a layer's weights, or its biases, have."""
    return round_up(outputs, NR) // NR


def _values(fields, _):
    return panels_of(fields["outputs"]) * fields["apart"] * NR


@operation
def squares(
    gradient: array(np.float32, _values), inputs, apart, outputs,
    sums: array(np.float64, lambda fields, _: panels_of(fields["outputs"])), /, thread, threads,
):  # fmt: skip
    """sums = the sum of the squares in each panel of a gradient, which has `inputs` rows in use of `apart`."""
    panels = (outputs + NR - 1) // NR
    for q in range(panels * thread // threads, panels * (thread + 1) // threads):
        width = min(NR, outputs - q * NR)
        first = second = 0.0  # two sums that do not wait for one another
        for i in range(inputs):
            row = gradient + 4 * NR * (q * apart + i)
            for j in range(0, width - 1, 2):
                one, other = np.float64(load_f32(row + 4 * j)), np.float64(load_f32(row + 4 * j + 4))
                first += one * one
                second += other * other
            if width % 2 == 1:
                one = np.float64(load_f32(row + 4 * width - 4))
                first += one * one
        store_f64(sums + 8 * q, first + second)


@kernel
def factor(sums, count, limit):
    """What to multiply gradients by, and their norm; 1 also for a norm that is no number, which the loss will show."""
    total = 0.0
    for i in range(count):
        total += load_f64(sums + 8 * i)
    norm = np.sqrt(total)
    return (limit / (norm + TINY) if norm + TINY > limit else 1.0), norm


@operation
def clip(
    gt: batch("n_out"), n_out, sums: array(np.float64, "count"), count, limit: array(np.float64, 2),
    /, rows, thread, threads,
):  # fmt: skip
    """gt, a transposed gradient, times the factor; limit: its second value is set to the norm."""
    scale, norm = factor(sums, count, load_f64(limit))
    if thread == 0:
        store_f64(limit + 8, norm)
    if scale < 1.0:
        by, values = np.float32(scale), (n_out + NR - 1) // NR * whole_panels(rows) * NR
        for i in range(values * thread // threads, values * (thread + 1) // threads):
            store_f32(gt + 4 * i, load_f32(gt + 4 * i) * by)
