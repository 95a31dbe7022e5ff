"""Moving averages of weights: the kernel and its shares as float64 and PyTorch have them, whatever the threads."""

import numpy as np
import pytest
import reference
from reference import U

from fastff.engine.averaging import average, average_once, shares
from fastff.engine.program import Program
from fastff.kernels.cpu import NR
from fastff.kernels.optimizer import APART, HYPER

STEPS, SIZES = 40, (NR, 3 * NR, 71 * NR)
RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=(STEPS + 1, size)).astype(np.float32) for size in SIZES]
# A step rounds the difference, the share of it and the sum: each by less than U times the largest number there is, and
# what it errs by is never made larger by later steps.
TOLERANCE = 4 * STEPS * U * max(float(np.abs(w).max()) for w in WEIGHTS)


def averages_of(decay):
    """The averages after the last step, of steps one by one."""
    own, now = [w[0].copy() for w in WEIGHTS], [w[0].copy() for w in WEIGHTS]
    for t in range(1, STEPS + 1):
        for place, w in zip(now, WEIGHTS, strict=True):
            place[:] = w[t]
        average_once(list(zip(now, own, strict=True)), shares(t, 1, decay))
    return own


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.9, 0.9999])
def test_averages_are_float64s(decay):
    for found, weights in zip(averages_of(decay), WEIGHTS, strict=True):
        assert np.abs(found - reference.averaged(weights, decay)[-1]).max() < TOLERANCE


@pytest.mark.parametrize("decay", [0.1, 0.9])
def test_averages_are_pytorchs(decay):
    utils = pytest.importorskip("torch.optim.swa_utils")
    torch = pytest.importorskip("torch")
    for found, weights in zip(averages_of(decay), WEIGHTS, strict=True):
        module = torch.nn.Linear(len(weights[0]), 1, bias=False).double()
        twin = utils.AveragedModel(module)
        for t, step in enumerate(weights):
            module.weight.data = torch.tensor(step[None]).double()
            twin.multi_avg_fn = utils.get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)))
            twin.update_parameters(module)  # the first call copies
        assert np.abs(found - twin.module.weight.detach().numpy()[0]).max() < TOLERANCE


def test_the_decay_rises_to_what_was_asked_for():
    kept = 1 - shares(1, 200, 0.9)
    assert kept[:3].tolist() == pytest.approx([2 / 11, 3 / 12, 4 / 13])
    assert kept[-1] == pytest.approx(0.9)
    assert shares(5, 3, 0.9).tolist() == shares(1, 7, 0.9)[4:].tolist()


def test_any_threads_give_the_same_bits_and_what_is_no_number_stays_so():
    values, start = WEIGHTS[-1][1].copy(), WEIGHTS[-1][0]
    values[[0, 5, 100]] = np.nan, np.inf, -np.inf
    found = []
    for threads in (1, 2, 3, 7):
        own, hyper, program = start.copy(), np.zeros((3, 2, HYPER), np.float32), Program(1)
        hyper[..., APART] = 0.25
        average(program, [(values, own)])
        program.run(np.zeros(3, np.int64), hyper=hyper, threads=threads)
        found.append(own.tobytes())
    assert len(set(found)) == 1
    own = np.frombuffer(found[0], np.float32)
    assert np.isnan(own[0])
    assert own[5] == np.inf or np.isnan(own[5])  # infinity less infinity, from the second step on
    assert np.isfinite(np.delete(own, [0, 5, 100])).all()


def test_an_average_of_what_stays_the_same_is_it_to_the_bit():
    values = WEIGHTS[0][0].copy()
    own = values.copy()
    for t in range(1, 50):
        average_once([(values, own)], shares(t, 1, 0.99))
    assert own.tobytes() == values.tobytes()
