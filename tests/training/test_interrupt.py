"""Errors and Ctrl-C during fit: training goes on from there to the same result."""

import signal
import threading
import time

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, D, Through, X, Y, assert_same_history, assert_same_weights, make, trained

from fastff import Adam, Dropout, FeedForwardNeuralNetwork, Standardize, Trainer
from fastff.engine import program
from fastff.engine.bfloat16 import PROGRAMS
from fastff.engine.run import Run
from fastff.system.threads import Thread


def assert_goes_on(net, trainer, **options):
    """After whatever stopped it, the trainer comes to what it would have come to by epoch 4."""
    trainer.fit(X, Y, X_VAL, Y_VAL, epochs=4 - len(trainer.history.epochs))
    expected_net = make(**options)
    expected = Trainer(expected_net, batch_size=16, step_size=0.01)
    expected.fit(X, Y, X_VAL, Y_VAL, epochs=4)
    assert_same_weights(net, expected_net)
    assert_same_history(trainer.history, expected.history)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_it_goes_on_after_an_error_in_on_epoch(error):
    net = make(dropout=0.3)
    trainer = Trainer(net, batch_size=16, step_size=0.01)

    def on_epoch(record):
        if record.epoch == 2:
            raise error

    with pytest.raises(error):
        trainer.fit(X, Y, X_VAL, Y_VAL, epochs=4, on_epoch=on_epoch)
    assert_goes_on(net, trainer, dropout=0.3)


@pytest.mark.parametrize("call", [1, 4, 8, 9, 10, 16])
@pytest.mark.parametrize("dropout", [None, 0.3])
def test_it_goes_on_after_an_interrupt_in_a_custom_layer(call, dropout):
    """Calls 1 to 7 are the first epoch's batches, 8 its validation, and so on."""
    net = make(dropout=dropout)
    net.layers.insert(-1, Through(at_call=call, error=KeyboardInterrupt()))
    trainer = Trainer(net, batch_size=16, step_size=0.01)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, X_VAL, Y_VAL, epochs=4)
    trainer.fit(X, Y, X_VAL, Y_VAL, epochs=4 - len(trainer.history.epochs))

    expected_net = make(dropout=dropout)
    expected_net.layers.insert(-1, Through())
    expected = Trainer(expected_net, batch_size=16, step_size=0.01)
    expected.fit(X, Y, X_VAL, Y_VAL, epochs=4)
    assert_same_weights(net, expected_net)
    assert_same_history(trainer.history, expected.history)


@pytest.mark.parametrize(("run", "on_epoch"), [(1, None), *((run, lambda _: None) for run in (1, 2, 3, 4))])
def test_it_goes_on_after_an_interrupt_as_a_native_call_returns(monkeypatch, run, on_epoch):
    """A small network's epoch runs in the caller's thread: Ctrl-C during it shows when the call is over. Runs 1 and 3
    are the training of epochs 1 and 2, runs 2 and 4 the validation after it; run 1 is all of it where nobody looks."""
    net, native, calls = make(dropout=0.3), Run.go, []

    def interrupted(*arguments, **options):
        native(*arguments, **options)
        calls.append(arguments)
        if len(calls) == run:
            raise KeyboardInterrupt

    trainer = Trainer(net, batch_size=16, step_size=0.01, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "go", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, X_VAL, Y_VAL, epochs=4, on_epoch=on_epoch)
    assert_goes_on(net, trainer, dropout=0.3)


def test_an_interrupt_before_the_first_batch_is_an_interrupt():
    class Interrupted(Adam):
        def hyper(self, first, step_sizes):
            raise KeyboardInterrupt

    net = make()
    trainer = Trainer(net, Interrupted(), batch_size=16, step_size=0.01)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=1)
    net.optimizer = Adam()
    trainer.fit(X, Y, epochs=2)
    assert_same_weights(net, trained()[0])


def test_ctrl_c_stops_after_a_batch_and_it_goes_on(monkeypatch):
    rng = np.random.default_rng(0)
    rows, labels = rng.integers(0, 256, (40_000, 64), dtype=np.uint8), rng.integers(0, 3, 40_000)
    running, over = [], threading.Event()

    class Watched(program.Program):
        def run(self, *arguments, **options):
            running.append(self)
            return super().run(*arguments, **options)

    def press_ctrl_c():
        while not over.is_set():
            if running and (outcome := running[0].outcome) is not None and outcome.done >= 3:
                signal.raise_signal(signal.SIGINT)
                return
            time.sleep(0)  # hand over the interpreter, nothing is waited for

    def new():
        net = FeedForwardNeuralNetwork(64, 3, 64, 2, seed=0)
        net.layers.insert(0, Standardize(np.full(64, 128), np.full(64, 70)))
        net.layers.insert(2, Dropout(0.2, seed=0))
        return net, Trainer(net, batch_size=32, threads=1)

    net, trainer = new()
    presser = threading.Thread(target=press_ctrl_c)
    with monkeypatch.context() as patch:
        patch.setitem(PROGRAMS, "float32", Watched)
        presser.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                trainer.fit(rows, labels, epochs=100)
        finally:
            over.set()
            presser.join()
    assert len(trainer.history.batch_losses) >= 3
    trainer.fit(rows, labels, epochs=1)
    expected_net, expected = new()
    expected.fit(rows, labels, epochs=len(trainer.history.epochs))
    assert_same_weights(net, expected_net)
    assert_same_history(trainer.history, expected.history)


def test_ctrl_c_while_threads_start_leaves_none_behind(monkeypatch):
    """A thread that went on alone would train the same weights, in memory that nobody holds any more."""
    started = []

    class Interrupted(Thread):
        def start(self):
            super().start()
            started.append(self)
            if len(started) == 1:
                raise KeyboardInterrupt

    rows = np.random.default_rng(0).normal(size=(8_000, D)).astype(np.float32)
    net = make(widths=(64, 64))
    trainer = Trainer(net, batch_size=16, threads=2)
    with monkeypatch.context() as patch:
        patch.setattr("fastff.engine.threads.Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(rows, np.zeros(len(rows), int), epochs=1)
    for thread in started:
        thread.join(timeout=5)  # at once, unless it waits at a barrier for one that never started
    assert not any(thread.is_alive() for thread in started)
    trainer.fit(rows, np.zeros(len(rows), int), epochs=1 - len(trainer.history.epochs))
    expected_net = make(widths=(64, 64))
    Trainer(expected_net, batch_size=16, threads=2).fit(rows, np.zeros(len(rows), int), epochs=1)
    assert_same_weights(net, expected_net)
