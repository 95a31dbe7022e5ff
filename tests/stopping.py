"""Small training runs that stop before their end, and what a command says then, for the tests of runs."""

import signal

from command_line import run

from fastff.runs.progress import TrainingProgress

SMALL = ("--hidden", 16, "--dropout", 0.2, "--batch-size", 16)
# Decay alone makes the weights 1.4 times larger in every step, until epoch 9; with half the step size it does not.
GROWING = ("--hidden", "--optimizer", "sgd", "--momentum", 0, "--batch-size", 2, "--weight-decay", 48)
BACKOFF = (*GROWING, "--step-size", 0.05, "--on-divergence", "backoff", "--epochs", 16)


def one_line(result, status, saying):
    assert (result.status, result.out) == (status, ""), result
    assert result.err.count("\n") == 1, result.err
    for part in saying if isinstance(saying, tuple) else (saying,):
        assert part in result.err


def go_on(folder):
    return run("train", "--resume", "--out", folder)


def at_epoch(monkeypatch, epoch, what):
    """Have what() called when this epoch has ended, before it is saved."""
    show = TrainingProgress.show

    def shown(self, record):
        show(self, record)
        if record.epoch == epoch:
            what()

    monkeypatch.setattr(TrainingProgress, "show", shown)


def send(number):
    signal.raise_signal(number)
