"""The trainer: the same bits on every road, going on after a stop, what it records, and what it refuses."""

import inspect
import math
import os
import re
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastff import (
    SGD,
    Adam,
    ArgumentError,
    CrossEntropySoftmax,
    DataError,
    DivergenceError,
    Dropout,
    FeedForwardNeuralNetwork,
    LinearLayer,
    Sigmoid,
    Standardize,
    Tanh,
    Trainer,
    evaluate,
)
from fastff.engine import program
from fastff.engine.bfloat16 import PROGRAMS
from fastff.nn.preprocessing import Augment

N, D, C = 103, 7, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, C, N)
X_VAL, Y_VAL = X[::-1].copy() + 1, Y[::-1].copy()


class Through:
    """A user's layer that changes nothing and remembers the batches: with it, training goes layer by layer."""

    def __init__(self, at_call=None, error=None):
        self.batches, self.calls, self.at_call, self.error = [], 0, at_call, error

    def forward(self, rows):
        self.calls += 1
        if self.calls == self.at_call:
            raise self.error
        self.batches.append(np.array(rows))
        return rows

    def backward(self, grad):
        return grad

    def step(self, step_size):
        pass


def make(*, dropout=None, optimizer=None, layer=None, widths=(16, 9)):
    net = FeedForwardNeuralNetwork(D, C, widths, optimizer=optimizer, seed=0)
    if dropout is not None:
        net.layers.insert(2, Dropout(dropout, seed=5))
    if layer is not None:
        net.layers.insert(0, layer)
    return net


def weights_of(net):
    return [array.copy() for layer in net.linear_layers for array in (layer.weights, layer.bias)]


def assert_same_weights(one, two):
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_history(one, two):
    """All but the clock's figures."""
    assert one.batch_losses == two.batch_losses
    assert one.batch_accuracies == two.batch_accuracies
    for a, b in zip(one.epochs, two.epochs, strict=True):
        for name in ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            assert getattr(a, name) == getattr(b, name)


def trained(epochs=2, *, rows=X, labels=Y, batch_size=16, **options):
    """(network, trainer) after some epochs; what make knows goes there, the rest to the trainer."""
    net = make(**{k: options.pop(k) for k in ("dropout", "optimizer", "layer", "widths") if k in options})
    trainer = Trainer(net, batch_size=batch_size, step_size=0.01, **options)
    trainer.fit(rows, labels, epochs=epochs)
    return net, trainer


# --- the contract ---


def test_names_and_defaults():
    parameters = inspect.signature(Trainer).parameters
    assert list(parameters)[:7] == ["network", "optimizer", "batch_size", "step_size", "precision", "threads", "seed"]
    assert all(p.kind == p.KEYWORD_ONLY for name, p in parameters.items() if name not in ("network", "optimizer"))
    defaults = {name: parameters[name].default for name in ("batch_size", "step_size", "precision", "threads", "seed")}
    assert defaults == {"batch_size": 128, "step_size": 1e-3, "precision": "float32", "threads": None, "seed": 0}
    fit = inspect.signature(Trainer.fit).parameters
    assert list(fit) == ["self", "X", "Y", "X_val", "Y_val", "epochs", "on_epoch"]
    assert fit["epochs"].kind == fit["on_epoch"].kind == inspect.Parameter.KEYWORD_ONLY


def test_the_optimizer_is_the_trainers_else_the_networks_else_adam():
    assert Trainer(make()).optimizer == Adam()
    assert Trainer(make(optimizer=SGD(0.5))).optimizer == SGD(0.5)
    assert Trainer(make(optimizer=SGD(0.5)), Adam(0.8)).optimizer == Adam(0.8)
    assert_same_weights(trained(optimizer=SGD(0.5))[0], make_trained_by(SGD(0.5)))


def make_trained_by(optimizer):
    net = make()
    Trainer(net, optimizer, batch_size=16, step_size=0.01).fit(X, Y, epochs=2)
    return net


def test_what_the_history_says():
    records = []
    net = make()
    trainer = Trainer(net, batch_size=16, step_size=0.01)
    history = trainer.fit(X, Y, X_VAL, Y_VAL, epochs=3, on_epoch=records.append)
    assert history is trainer.history
    assert history.epochs == records
    assert [record.epoch for record in records] == [1, 2, 3]
    assert len(history.batch_losses) == len(history.batch_accuracies) == 3 * 7
    sizes = np.array([16] * 6 + [7])  # the last batch is ragged
    for i, record in enumerate(records):
        batches = slice(7 * i, 7 * i + 7)
        assert record.train_loss == pytest.approx(np.dot(history.batch_losses[batches], sizes) / N, rel=1e-12)
        assert record.train_accuracy == pytest.approx(np.dot(history.batch_accuracies[batches], sizes) / N, rel=1e-12)
        assert record.seconds > 0
        assert record.examples_per_second == pytest.approx(N / record.seconds)
    assert (records[-1].val_loss, records[-1].val_accuracy) == pytest.approx(evaluate(net, X_VAL, Y_VAL, N), rel=1e-12)
    assert type(history.batch_losses[0]) is type(history.batch_accuracies[0]) is float


def test_without_validation_there_are_no_figures_of_it():
    record = trained(epochs=1)[1].history.epochs[0]
    assert record.val_loss is None
    assert record.val_accuracy is None


def test_validation_does_not_touch_training():
    net = make(dropout=0.3)
    Trainer(net, batch_size=16, step_size=0.01).fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert_same_weights(net, trained(dropout=0.3)[0])


# --- one result, whatever the road ---


def test_the_same_bits_as_a_loop_by_hand():
    recorder = Through()
    _, trainer = trained(layer=recorder)
    assert [len(batch) for batch in recorder.batches] == ([16] * 6 + [7]) * 2
    number = {row.tobytes(): i for i, row in enumerate(X)}
    orders = [[number[row.tobytes()] for row in batch] for batch in recorder.batches]
    for epoch in (orders[:7], orders[7:]):
        assert sorted(i for rows in epoch for i in rows) == list(range(N))  # every row once an epoch
    assert orders[:7] != orders[7:]

    net, criterion, losses = make(), CrossEntropySoftmax(), []
    for rows in orders:
        losses.append(criterion.forward(net.forward(X[rows]), Y[rows]))
        net.backward(criterion.backward())
        net.step(0.01)
    program_net, program_trainer = trained()
    assert_same_weights(net, program_net)
    assert losses == trainer.history.batch_losses == program_trainer.history.batch_losses


@settings(max_examples=25)
@given(
    rows=st.integers(1, 90),
    widths=st.lists(st.integers(1, 70), max_size=3),
    batch_size=st.integers(1, 100),
    threads=st.integers(2, 7),
    optimizer=st.sampled_from([Adam(weight_decay=0.1), SGD(0.9, True), Adam(bias_correction="constant")]),
    tanh=st.booleans(),
)
def test_layers_program_and_threads_agree_at_any_size(rows, widths, batch_size, threads, optimizer, tanh):
    results = []
    for layer, count in ((None, 1), (None, threads), (Through(), None)):
        net = make(layer=layer, widths=widths, optimizer=optimizer)
        if tanh:
            net.layers = [Tanh() if hasattr(old, "function") else old for old in net.layers]
        trainer = Trainer(net, batch_size=batch_size, step_size=0.01, threads=count)
        trainer.fit(X[:rows], Y[:rows], X_VAL, Y_VAL, epochs=2)
        results.append((net, trainer.history))
    for net, history in results[1:]:
        assert_same_weights(net, results[0][0])
        assert history.batch_losses == results[0][1].batch_losses
        assert history.batch_accuracies == results[0][1].batch_accuracies


@pytest.mark.parametrize("dropout", [None, 0.4])
def test_the_same_bits_on_any_number_of_threads(dropout):
    one = trained(dropout=dropout, widths=(100, 37), threads=1)
    for threads in (2, 3, 7, None):
        other = trained(dropout=dropout, widths=(100, 37), threads=threads)
        assert_same_weights(other[0], one[0])
        assert_same_history(other[1].history, one[1].history)


def test_augmentation_gives_the_same_bits_on_any_number_of_threads():
    pictures = np.random.default_rng(0).integers(0, 256, (N, 48), dtype=np.uint8)

    def run(threads):
        net = FeedForwardNeuralNetwork(48, C, 20, 2, seed=0)
        net.layers[:0] = [Augment((3, 4, 4), shift=1, seed=0), Standardize.fit(pictures)]
        history = Trainer(net, batch_size=16, threads=threads).fit(pictures, Y, pictures, Y, epochs=2)
        return net, history

    one, history = run(1)
    for threads in (2, 3, 7):
        other, its_history = run(threads)
        assert_same_weights(other, one)
        assert_same_history(its_history, history)


def test_a_seed_decides_the_order():
    assert_same_weights(trained(seed=1)[0], trained(seed=1)[0])
    with pytest.raises(AssertionError):
        assert_same_weights(trained(seed=1)[0], trained(seed=2)[0])


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_the_trainers_seed_decides_dropout_too(layer):
    def run(seed):
        net = make(layer=layer and layer())
        net.layers.insert(-1, Dropout(0.5))  # with no seed of its own
        Trainer(net, batch_size=16, step_size=0.01, seed=seed).fit(X, Y, epochs=3)
        return net

    assert_same_weights(run(1), run(1))


def test_each_epoch_and_batch_drops_others():
    net = FeedForwardNeuralNetwork(D, C, [], seed=0)
    net.layers.insert(0, Dropout(0.5, seed=0))
    # with a step size this small the weights stay, so losses of the same rows differ by their masks alone
    trainer = Trainer(net, SGD(), batch_size=1, step_size=1e-30)
    losses = np.array(trainer.fit(np.tile(X[:1], (8, 1)), np.zeros(8, int), epochs=4).batch_losses)
    assert len(np.unique(losses)) > 8


@pytest.mark.parametrize("kind", ["float64", "fortran", "strided", "reversed", "read-only", "memmap", "list", ">f4"])
def test_rows_of_every_kind_train_alike(kind, tmp_path):
    wide = np.zeros((2 * N, 3 * D), np.float32)
    wide[::2, ::3] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    np.save(tmp_path / "x.npy", X)
    rows = {"float64": X.astype(np.float64), "fortran": np.asfortranarray(X), "strided": wide[::2, ::3],
            "reversed": X[::-1, ::-1].copy()[::-1, ::-1], "read-only": read_only, "list": X.tolist(),
            "memmap": np.load(tmp_path / "x.npy", mmap_mode="r"), ">f4": X.astype(">f4")}[kind]  # fmt: skip
    assert_same_weights(trained(rows=rows)[0], trained()[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.int64, np.float16, bool])
def test_numbers_of_every_type_train_alike(dtype):
    whole = np.random.default_rng(0).integers(0, 2 if dtype is bool else 100, (N, D))
    one, two = make(), make()
    for net, rows in ((one, whole.astype(dtype)), (two, whole.astype(np.float32))):
        # a mean that float32 holds: float64 rows are centred in float64, the others in float32
        net.layers.insert(0, Standardize(whole.mean(0).astype(np.float32), whole.std(0)))
        Trainer(net, batch_size=16).fit(rows, Y, rows, Y, epochs=2)
    assert_same_weights(one, two)


def test_labels_of_every_kind_train_alike():
    expected = trained()[0]
    table = np.stack([Y, Y[::-1]], axis=1)
    kinds = [Y[:, None], Y.tolist(), Y.astype(np.uint8), Y.astype(np.float32), Y.astype(">i8"), Y[::-1].copy()[::-1],
             table[:, 0], table[:, :1], np.repeat(Y, 3)[::3]]  # fmt: skip
    for labels in kinds:
        assert_same_weights(trained(labels=labels)[0], expected)


def test_nothing_that_is_passed_in_is_modified():
    arrays = [X.copy(), Y.copy(), X_VAL.copy(), Y_VAL.copy()]
    net = make(dropout=0.5)
    net.layers.insert(0, Standardize.fit(arrays[0]))
    Trainer(net, batch_size=16).fit(*arrays, epochs=2)
    for array, original in zip(arrays, (X, Y, X_VAL, Y_VAL), strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 1), (1, 128), (5, 128), (N, N), (N, N + 1)])
def test_batches_as_large_as_the_data_or_larger(rows, batch_size):
    net, criterion = make(optimizer=SGD()), CrossEntropySoftmax()
    start = net.logits(X[:rows])
    history = Trainer(net, batch_size=batch_size, step_size=0.1).fit(X[:rows], Y[:rows], epochs=2)
    assert len(history.batch_losses) == 2
    assert history.batch_losses[0] == pytest.approx(criterion.forward(start, Y[:rows]), rel=1e-12)
    assert history.batch_losses[1] < history.batch_losses[0]
    assert history.epochs[0].train_loss == pytest.approx(history.batch_losses[0])


def test_two_trainers_in_two_threads_do_not_disturb_each_other():
    alone = [trained(epochs=5, seed=seed, threads=2, dropout=0.2)[0] for seed in (1, 2)]
    together, start = {}, threading.Barrier(2)

    def run(seed):
        start.wait()
        together[seed] = trained(epochs=5, seed=seed, threads=2, dropout=0.2)[0]

    ranks = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert_same_weights(together[1], alone[0])
    assert_same_weights(together[2], alone[1])


# --- layers of the user's own ---


class NumpyReLU:
    def forward(self, rows):
        self.mask = rows > 0
        return rows * self.mask

    def backward(self, grad):
        return grad * self.mask

    def step(self, step_size):
        pass


class Wrapped:
    """A trained layer of the user's own: forward, backward, step and nothing of fastff's to be seen."""

    def __init__(self, inputs, outputs):
        self.inner = LinearLayer(inputs, outputs, seed=1)

    def forward(self, rows):
        return self.inner.forward(rows)

    def backward(self, grad):
        return self.inner.backward(grad)

    def step(self, step_size):
        self.inner.step(step_size)


def test_a_custom_layer_gives_what_the_built_in_gives():
    net = make()
    net.layers = [layer if isinstance(layer, LinearLayer) else NumpyReLU() for layer in net.layers]
    trainer = Trainer(net, batch_size=16, step_size=0.01)
    trainer.fit(X, Y, X_VAL, Y_VAL, epochs=2)
    expected_net = make()
    expected = Trainer(expected_net, batch_size=16, step_size=0.01).fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert_same_weights(net, expected_net)
    assert trainer.history.batch_losses == expected.batch_losses
    assert trainer.history.epochs[-1].val_loss == pytest.approx(expected.epochs[-1].val_loss, rel=1e-12)
    np.testing.assert_array_equal(net.predict(X), expected_net.predict(X))


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_custom_layer_that_changes_the_width_may_stand_anywhere(where):
    """Wider than its neighbours, so nobody may take a neighbour's width for the network's."""
    net = FeedForwardNeuralNetwork(5, 2, [2], seed=0)
    layers = {
        "first": [Wrapped(D, 4), LinearLayer(4, C, seed=0)],
        "middle": [LinearLayer(D, 2, seed=0), Wrapped(2, 5), LinearLayer(5, C, seed=0)],
        "last": [LinearLayer(D, 2, seed=0), Sigmoid(), Wrapped(2, C)],
    }
    net.layers = layers[where]
    history = Trainer(net, batch_size=16, step_size=0.01).fit(X, Y, X_VAL, Y_VAL, epochs=20)
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    assert evaluate(net, X_VAL, Y_VAL, 20) == pytest.approx(
        (history.epochs[-1].val_loss, history.epochs[-1].val_accuracy)
    )
    assert net.predict(X).shape == (N,)


def test_an_error_in_a_custom_layer_comes_through_as_it_is():
    net = make(layer=Through(at_call=3, error=RuntimeError("mine")))
    with pytest.raises(RuntimeError, match="mine"):
        Trainer(net, batch_size=16).fit(X, Y, epochs=1)


# --- stopping and going on ---


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_two_epochs_and_three_are_five(layer):
    one, two = (make(dropout=0.3, layer=layer and layer()) for _ in range(2))
    whole, parts = (Trainer(net, batch_size=16, step_size=0.01, threads=2) for net in (one, two))
    whole.fit(X, Y, X_VAL, Y_VAL, epochs=5)
    first = parts.fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert len(first.epochs) == 2
    assert parts.fit(X, Y, X_VAL, Y_VAL, epochs=3) is first
    assert_same_weights(one, two)
    assert_same_history(whole.history, parts.history)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("limit", [1, 3, None])
def test_epochs_in_one_native_call_are_those_one_by_one(monkeypatch, schedule, limit):
    """Nobody looks at the epochs of the first, so they are one call (or calls of 1 or 3), and of the other each."""
    if limit is not None:
        monkeypatch.setattr("fastff.training.steps.MOST_EPOCHS", limit)
    net, trainer = trained(epochs=7, dropout=0.3, schedule=schedule)
    other = make(dropout=0.3)
    one_by_one = Trainer(other, batch_size=16, step_size=0.01, schedule=schedule)
    one_by_one.fit(X, Y, epochs=7, on_epoch=lambda record: None)
    assert_same_weights(net, other)
    assert_same_history(trainer.history, one_by_one.history)
    assert all(record.seconds > 0 for record in trainer.history.epochs)


@pytest.mark.parametrize("batches", [0, 5, 7, 10, 14, 21])
def test_it_goes_on_from_any_batch_of_several_epochs_in_one_call(monkeypatch, batches):
    """An epoch has 7 batches; Ctrl-C comes during the one before number `batches` of the call."""
    net, native = make(dropout=0.3), program.spmd.run

    def interrupted(*arguments):
        native(*arguments[:7], 0, batches, *arguments[9:])
        raise KeyboardInterrupt

    trainer = Trainer(net, batch_size=16, step_size=0.01, threads=1)
    program.compile_kernels()
    with monkeypatch.context() as patch:
        patch.setattr(program.spmd, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, epochs=3)
    assert len(trainer.history.batch_losses) == batches
    assert len(trainer.history.epochs) == max(0, batches - 1) // 7  # the last one's record comes when it goes on
    trainer.fit(X, Y, epochs=3 - len(trainer.history.epochs))
    expected, whole = trained(epochs=3, dropout=0.3)
    assert_same_weights(net, expected)
    assert_same_history(trainer.history, whole.history)


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_on_epoch_ends_training_by_returning_true(layer):
    net, seen = make(layer=layer and layer()), []

    def on_epoch(record):
        seen.append(record.epoch)
        return record.epoch == 3

    history = Trainer(net, batch_size=16, step_size=0.01).fit(X, Y, epochs=9, on_epoch=on_epoch)
    assert seen == [1, 2, 3]
    assert len(history.epochs) == 3
    assert_same_weights(net, trained(epochs=3)[0])


def test_on_epoch_sees_the_weights_of_that_epoch():
    net, kept = make(), []
    Trainer(net, batch_size=16, step_size=0.01).fit(X, Y, epochs=2, on_epoch=lambda _: kept.append(weights_of(net)))
    for weights, epochs in zip(kept, (1, 2), strict=True):
        for a, b in zip(weights, weights_of(trained(epochs=epochs)[0]), strict=True):
            np.testing.assert_array_equal(a, b)


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
    net, native, calls = make(dropout=0.3), program.spmd.run, []

    def interrupted(*arguments):
        native(*arguments)
        calls.append(arguments)
        if len(calls) == run:
            raise KeyboardInterrupt

    trainer = Trainer(net, batch_size=16, step_size=0.01, threads=1)
    program.compile_kernels()
    with monkeypatch.context() as patch:
        patch.setattr(program.spmd, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, X_VAL, Y_VAL, epochs=4, on_epoch=on_epoch)
    assert_goes_on(net, trainer, dropout=0.3)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("monitor", ["val_accuracy", "val_loss", "train_loss", None])
def test_epochs_that_nobody_looks_at_are_those_that_are_looked_at(threads, monitor):
    """Without a callback one call trains and validates many epochs, and keeps their weights."""
    results = []
    for on_epoch in (None, lambda _: None):
        net = make(dropout=0.3)
        trainer = Trainer(net, batch_size=16, step_size=0.01, threads=threads, monitor=monitor)
        trainer.fit(X, Y, X_VAL, Y_VAL, epochs=3, on_epoch=on_epoch)
        trainer.fit(X, Y, X_VAL, Y_VAL, epochs=4, on_epoch=on_epoch)
        results.append((trainer, weights_of(net)))
    (one, weights), (other, expected) = results
    for actual, wanted in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
    assert_same_history(one.history, other.history)
    assert one.progress == other.progress
    if monitor is not None:
        assert (one.best.value, one.best.epoch) == (other.best.value, other.best.epoch)
        for name, array in one.best.arrays.items():
            np.testing.assert_array_equal(array, other.best.arrays[name])


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


@pytest.mark.skipif(os.name == "nt", reason="sends itself a SIGINT")
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
                os.kill(os.getpid(), signal.SIGINT)
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

    class Interrupted(threading.Thread):
        def start(self):
            super().start()
            started.append(self)
            if len(started) == 1:
                raise KeyboardInterrupt

    rows = np.random.default_rng(0).normal(size=(8_000, D)).astype(np.float32)
    net = make(widths=(64, 64))
    trainer = Trainer(net, batch_size=16, threads=2)
    with monkeypatch.context() as patch:
        patch.setattr("fastff.engine.threads.threading.Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(rows, np.zeros(len(rows), int), epochs=1)
    for rank in started:
        rank.join(timeout=5)  # at once, unless it waits at a barrier for one that never started
    assert not any(rank.is_alive() for rank in started)
    trainer.fit(rows, np.zeros(len(rows), int), epochs=1 - len(trainer.history.epochs))
    expected_net = make(widths=(64, 64))
    Trainer(expected_net, batch_size=16, threads=2).fit(rows, np.zeros(len(rows), int), epochs=1)
    assert_same_weights(net, expected_net)


def test_going_on_with_fewer_rows_than_the_interrupted_epoch_had_is_refused():
    net = make(layer=Through(at_call=6, error=KeyboardInterrupt()))
    trainer = Trainer(net, batch_size=16)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=1)
    with pytest.raises(DataError, match=r"^X: 20 rows, but the interrupted epoch had come to batch 5; want [^\n]*$"):
        trainer.fit(X[:20], Y[:20], epochs=1)


# --- schedule ---


DONE = np.arange(28) / 28
FACTORS = {
    "constant": np.ones(28),
    "step": np.repeat([1, 0.1, 0.01], [14, 7, 7]),
    "cosine": (1 + np.cos(np.pi * DONE)) / 2,
    # up from 1/25 over the first 30%, as torch's OneCycleLR has it, and down to 0
    "one-cycle": np.where(
        DONE < 0.3,
        1 - 24 / 25 * (1 + np.cos(np.pi * DONE / 0.3)) / 2,
        (1 + np.cos(np.pi * (DONE - 0.3) / 0.7)) / 2,
    ),
}


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
@pytest.mark.parametrize("schedule", FACTORS)
def test_the_step_size_follows_the_schedule(layer, schedule):
    seen = []

    class Watched(SGD):
        def hyper(self, first, step_sizes):
            seen.extend(np.asarray(step_sizes).tolist())
            return super().hyper(first, step_sizes)

    net = FeedForwardNeuralNetwork(D, C, [], optimizer=Watched(), seed=0)
    net.layers[:0] = [layer()] if layer else []
    Trainer(net, batch_size=16, step_size=0.5, schedule=schedule).fit(X, Y, epochs=4)
    np.testing.assert_allclose(seen, 0.5 * FACTORS[schedule], rtol=1e-12)


def test_an_interrupted_cosine_goes_on():
    net, expected_net = make(), make()
    trainer = Trainer(net, batch_size=16, step_size=0.01, schedule="cosine")

    def on_epoch(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=4, on_epoch=on_epoch)
    trainer.fit(X, Y, epochs=2)
    Trainer(expected_net, batch_size=16, step_size=0.01, schedule="cosine").fit(X, Y, epochs=4)
    assert_same_weights(net, expected_net)


# --- early stopping ---


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_patience_stops_and_restores_the_best(monitor, layer):
    """Validation labels that have nothing to do with the rows: learning the training set by heart only hurts."""
    rng, kept = np.random.default_rng(7), []
    x_val, y_val = rng.normal(size=(60, D)), rng.integers(0, C, 60)
    net = make(widths=(32, 32), layer=layer and layer())
    trainer = Trainer(net, batch_size=16, step_size=0.01, patience=3, monitor=monitor)
    history = trainer.fit(X, Y, x_val, y_val, epochs=200, on_epoch=lambda _: kept.append(weights_of(net)))
    values = [getattr(record, monitor) * (1 if monitor == "val_loss" else -1) for record in history.epochs]
    best = int(np.argmin(values))
    assert len(values) == best + 1 + 3
    for actual, wanted in zip(weights_of(net), kept[best], strict=True):
        np.testing.assert_array_equal(actual, wanted)
    restored = dict(zip(("val_loss", "val_accuracy"), evaluate(net, x_val, y_val, 60), strict=True))
    assert restored[monitor] == pytest.approx(getattr(history.epochs[best], monitor), rel=1e-12)


def test_the_best_weights_are_restored_when_the_epochs_run_out_too():
    rng, kept = np.random.default_rng(7), []
    x_val, y_val = rng.normal(size=(60, D)), rng.integers(0, C, 60)
    net = make(widths=(32, 32))
    trainer = Trainer(net, batch_size=16, step_size=0.01, patience=100)
    history = trainer.fit(X, Y, x_val, y_val, epochs=15, on_epoch=lambda _: kept.append(weights_of(net)))
    best = int(np.argmin([record.val_loss for record in history.epochs]))
    assert best < 14
    for actual, wanted in zip(weights_of(net), kept[best], strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_patience_needs_no_validation_to_watch_training():
    net = make(optimizer=SGD())
    trainer = Trainer(net, batch_size=N, step_size=1e-30, patience=2, monitor="train_accuracy")
    assert len(trainer.fit(X, Y, epochs=50).epochs) == 3  # nothing ever changes


# --- losses and data that are not finite ---


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_a_loss_that_is_not_finite_stops_before_its_batch_changes_the_weights(layer):
    net, before = make(layer=layer and layer()), []
    rows = X.copy()
    rows[50] = 3e38  # finite, but no sum of it is
    trainer = Trainer(net, batch_size=16, step_size=0.01)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(rows, Y, epochs=3)
    message = str(caught.value)
    found = re.fullmatch(
        r"the loss is not finite at epoch 1, batch (\d+) "
        r"\(step \1, largest \|logit\| (inf|nan), largest \|weight\| \d\.\d+\); "
        r"the weights are those before it\. Try a step size below 0\.01, or standardised rows",
        message,
    )
    assert found, message
    done = int(found[1])
    assert len(trainer.history.batch_losses) == done
    assert all(math.isfinite(loss) for loss in trainer.history.batch_losses)
    assert not trainer.history.epochs
    # as far as it came, it came as training without that row does
    recorder = Through()
    Trainer(make(layer=recorder), batch_size=16, step_size=0.01).fit(X, Y, epochs=1)
    number, expected, criterion = {row.tobytes(): i for i, row in enumerate(X)}, make(), CrossEntropySoftmax()
    for batch in recorder.batches[:done]:
        before = [number[row.tobytes()] for row in batch]
        criterion.forward(expected.forward(X[before]), Y[before])
        expected.backward(criterion.backward())
        expected.step(0.01)
    assert_same_weights(net, expected)
    assert {layer.updates for layer in net.linear_layers} == {done}


def test_a_step_too_large_diverges_with_finite_weights_and_advice():
    net = make(optimizer=SGD())
    with pytest.raises(DivergenceError, match=r"epoch \d+, batch \d+ .*Try a step size below 1e\+20"):
        Trainer(net, batch_size=16, step_size=1e20).fit(X, Y, epochs=50)
    assert issubclass(DivergenceError, ArithmeticError)


def test_after_a_divergence_a_smaller_step_goes_on():
    net = make(optimizer=SGD())
    trainer = Trainer(net, batch_size=16, step_size=1e20)
    with pytest.raises(DivergenceError):
        trainer.fit(X, Y, epochs=1)
    done = len(trainer.history.batch_losses)
    for layer in net.linear_layers:
        layer.weights = layer.weights * 0
        layer.bias = layer.bias * 0
    trainer.step_size = 0.01
    assert len(trainer.fit(X, Y, epochs=1).batch_losses) == 7
    assert done < 7


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
@pytest.mark.parametrize(
    ("bad", "dtype", "shown"), [(np.nan, np.float32, "nan"), (np.inf, np.float64, "inf"), (-np.inf, np.float32, "-inf")]
)
def test_rows_that_are_not_finite_are_named(bad, dtype, shown, layer):
    rows = X.astype(dtype)
    rows[41, 5] = bad
    net = make(layer=layer and layer())
    before = weights_of(net)
    with pytest.raises(DataError, match=rf"^X: {shown} at row 41, column 5; want finite numbers$"):
        Trainer(net).fit(rows, Y, epochs=1)
    with pytest.raises(DataError, match=rf"^X_val: {shown} at row 41, column 5; want finite numbers$"):
        Trainer(net).fit(X, Y, rows, Y, epochs=1)
    for now, then in zip(weights_of(net), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_rows_whose_sum_is_too_large_are_finite_all_the_same():
    net = make()
    rows = X.astype(np.float64)
    rows[:, 0] = np.where(np.arange(N) % 2, 3e38, 2e38)
    scale = np.ones(D)
    scale[0] = 3e38
    net.layers.insert(0, Standardize(np.zeros(D), scale))
    assert np.isfinite(Trainer(net, batch_size=16).fit(rows.astype(np.float32), Y, epochs=1).batch_losses).all()


# --- refusals ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: 0, want a whole number of at least 1"),
        ({"batch_size": 1.5}, "batch_size: 1.5, want a whole number of at least 1"),
        ({"step_size": 0}, "step_size: 0, want a number in (0, inf)"),
        ({"step_size": float("nan")}, "step_size: nan, want a number in (0, inf)"),
        ({"step_size": "0.1"}, "step_size: '0.1', want a number in (0, inf)"),
        ({"precision": "float16"}, "precision: 'float16', want "),
        ({"threads": 0}, "threads: 0, want a whole number of at least 1"),
        ({"threads": "2"}, "threads: '2', want a whole number of at least 1"),
        ({"threads": True}, "threads: True, want a whole number of at least 1"),
        ({"seed": -1}, "seed: -1, want a whole number of at least 0"),
        ({"seed": None}, "seed: None, want a whole number of at least 0"),
        ({"schedule": "linear"}, "schedule: 'linear', want one of constant, step, cosine, one-cycle"),
        ({"label_smoothing": 1.0}, "label_smoothing: 1.0, want a number in [0, 1)"),
        ({"label_smoothing": None}, "label_smoothing: None, want a number in [0, 1)"),
        ({"patience": 0}, "patience: 0, want a whole number of at least 1"),
        ({"monitor": "loss"}, "monitor: 'loss', want one of train_loss, train_accuracy, val_loss, val_accuracy"),
    ],
)
def test_arguments_that_are_refused(options, message):
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}[^\n]*$"):
        Trainer(make(), **options)


@pytest.mark.parametrize("optimizer", ["adam", Adam, 0.001])
def test_an_optimizer_that_is_none_is_refused(optimizer):
    with pytest.raises(ArgumentError, match=r"^optimizer: [^\n]*want [^\n]*$"):
        Trainer(make(), optimizer)


@pytest.mark.parametrize("kind", [int, np.int64, np.int32])
def test_whole_numbers_of_numpys_types_are_whole_numbers(kind):
    trainer = Trainer(make(), batch_size=kind(16), seed=kind(1), patience=kind(3), threads=kind(2))
    assert len(trainer.fit(X, Y, X_VAL, Y_VAL, epochs=kind(1)).epochs) == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[:, :5], Y), {}, DataError, "X: rows of 5 values, want 7"),
        ((X[0], Y), {}, DataError, "X: shape (7,), want two dimensions"),
        ((X[:0], Y[:0]), {}, DataError, "X: empty, shape (0, 7); want at least one row"),
        ((np.array([["a"] * D]), [0]), {}, DataError, "X: holds <U1 values, want numbers"),
        ((X, Y[:9]), {}, DataError, "Y: 9 labels for 103 rows, want one a row"),
        ((X, Y + 100), {}, DataError, f"Y: {Y[0] + 100} at row 0, want a whole number from 0 to 2"),
        ((X, np.eye(C)[Y]), {}, DataError, "Y: shape (103, 3), want (rows,) or (rows, 1)"),
        ((X, Y, X[:, :5], Y), {}, DataError, "X_val: rows of 5 values, want 7"),
        ((X, Y, X, Y[:9]), {}, DataError, "Y_val: 9 labels for 103 rows, want one a row"),
        ((X, Y, X), {}, ArgumentError, "X_val and Y_val: one of the two is missing, want both or neither"),
        ((X, Y, None, Y), {}, ArgumentError, "X_val and Y_val: one of the two is missing, want both or neither"),
        ((X, Y), {"epochs": 0}, ArgumentError, "epochs: 0, want a whole number of at least 1"),
        ((X, Y), {"epochs": 2.0}, ArgumentError, "epochs: 2.0, want a whole number of at least 1"),
        ((X, Y), {"epochs": None}, ArgumentError, "epochs: None, want a whole number of at least 1"),
    ],
)
def test_data_that_is_refused_leaves_the_network_alone(arguments, options, error, message):
    net = make()
    before = weights_of(net)
    with pytest.raises(error, match=f"^{re.escape(message)}[^\n]*$"):
        Trainer(net).fit(*arguments, **{"epochs": 1, **options})
    for now, then in zip(weights_of(net), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_patience_on_validation_needs_validation_data():
    with pytest.raises(ArgumentError, match=r"^[^\n]*val_loss, want X_val and Y_val in fit, or another monitor$"):
        Trainer(make(), patience=1).fit(X, Y, epochs=1)
