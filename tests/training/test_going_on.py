"""fit called again goes on where it was; several epochs in one native call are those trained one by one."""

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, Through, X, Y, assert_same_history, assert_same_weights, make, trained, weights_of

from fastff import ArgumentError, Augment, DataError, Trainer
from fastff.engine.run import Run
from fastff.kernels import run as driver


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
    net, native = make(dropout=0.3), Run.go

    def interrupted(own, *arguments, **options):
        own._plan[driver.LAST] = batches
        native(own, *arguments, **options)
        raise KeyboardInterrupt

    trainer = Trainer(net, batch_size=16, step_size=0.01, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "go", interrupted)
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


def test_going_on_with_fewer_rows_than_the_interrupted_epoch_had_is_refused():
    net = make(layer=Through(at_call=6, error=KeyboardInterrupt()))
    trainer = Trainer(net, batch_size=16)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=1)
    with pytest.raises(DataError, match=r"^X: 20 rows, but the interrupted epoch had come to batch 5; want [^\n]*$"):
        trainer.fit(X[:20], Y[:20], epochs=1)


@pytest.mark.parametrize(("rows", "size"), [(103, 7), (90, 16), (103, 17)])
def test_going_on_with_other_batches_than_the_interrupted_epoch_had_is_refused(rows, size):
    net = make(layer=Through(at_call=3, error=KeyboardInterrupt()))
    trainer = Trainer(net, batch_size=16)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=1)
    trainer.batch_size = size
    message = rf"^batch_size: {size} and {rows} rows, want 16 and 103 until the interrupted epoch has ended$"
    with pytest.raises(ArgumentError, match=message):
        trainer.fit(X[:rows], Y[:rows], epochs=1)
    trainer.batch_size = 16
    assert len(trainer.fit(X, Y, epochs=2).epochs) == 2
    trainer.batch_size = 7  # between epochs it may change
    assert len(trainer.fit(X, Y, epochs=1).epochs) == 3


@pytest.mark.parametrize("value", [3, "text", (0.5, 0.9), np.ones(3), 1.0])
def test_on_epoch_may_return_what_is_only_something_that_is_true(value):
    assert len(Trainer(make()).fit(X, Y, epochs=3, on_epoch=lambda _: value).epochs) == 3


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_forward_in_on_epoch_changes_nothing_of_the_masks_to_come(layer):
    """An augmented first layer and dropout, of which a callback that looks at gradients calls forward and backward."""
    nets = [make(dropout=0.5, layer=layer and layer()) for _ in range(2)]
    for net in nets:
        net.layers.insert(0, Augment((1, 1, 7), mirror=True))

    def look(_):
        nets[0].backward(np.ones_like(nets[0](X[:3])))

    one, two = (Trainer(net, batch_size=16) for net in nets)
    one.fit(X, Y, epochs=4, on_epoch=look)
    two.fit(X, Y, epochs=4, on_epoch=lambda _: None)
    assert one.history.batch_losses == two.history.batch_losses
