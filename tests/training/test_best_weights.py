"""Patience ends training, and the weights of the best epoch are restored."""

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, C, D, N, Through, X, Y, make, weights_of

from fastff import SGD, ArgumentError, Trainer, evaluate


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


def test_patience_on_validation_needs_validation_data():
    with pytest.raises(ArgumentError, match=r"^[^\n]*val_loss, want X_val and Y_val in fit, or another monitor$"):
        Trainer(make(), patience=1).fit(X, Y, epochs=1)


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_another_fit_waits_anew_where_patience_had_run_out(layer):
    trainer = Trainer(make(layer=layer and layer()), SGD(), step_size=1e-30, patience=3)
    assert len(trainer.fit(X, Y, X_VAL, Y_VAL, epochs=50).epochs) == 4  # none is better than the first
    assert len(trainer.fit(X, Y, X_VAL, Y_VAL, epochs=2).epochs) == 6
    assert len(trainer.fit(X, Y, X_VAL, Y_VAL, epochs=50).epochs) == 7  # the count of the fit before goes on


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_an_epoch_whose_monitor_is_nan_is_not_better(layer):
    trainer = Trainer(make(layer=layer and layer()), patience=2)
    trainer.fit(X, Y, np.sign(X_VAL) * np.float32(1e38), Y_VAL, epochs=12)
    assert np.isnan(trainer.best.value)
    assert (trainer.best.epoch, trainer.progress.epoch) == (1, 3)
