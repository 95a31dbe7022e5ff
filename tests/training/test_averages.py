"""Averaged weights: what is validated, kept and shown has the averages, and training goes on from the weights."""

import copy
import dataclasses

import numpy as np
import pytest
import reference
from command_line import run, succeed
from kill_and_resume import contents
from stopping import BACKOFF, SMALL, at_epoch, go_on, send
from trainers import X_VAL, Y_VAL, Through, X, Y, assert_same_history, make, weights_of

from fastff import (
    SGD,
    Config,
    Dropout,
    FeedForwardNeuralNetwork,
    LinearLayer,
    Trainer,
    evaluate,
    fit_many,
    load_dataset,
    load_model,
)
from fastff.system import checkpoint
from fastff.training.state import restore_trainer, trainer_state

DECAY = 0.9
THREE_WAYS = {"one program": {}, "layer by layer": {"layer": Through}, "several layers of a kind": {"widths": (40, 9)}}


def trainer(net=None, **options):
    return Trainer(net or make(), **{"batch_size": 16, "step_size": 0.01, "ema_decay": DECAY, **options})


def fit(one, epochs, **more):
    return one.fit(X, Y, X_VAL, Y_VAL, epochs=epochs, **more)


def bits(net):
    return [array.tobytes() for array in net.parameters().values()]


def state(one):
    arrays, notes = trainer_state(one)
    notes = {name: value for name, value in notes.items() if name not in ("progress", "epochs", "threads_used")}
    return {name: np.asarray(array).tobytes() for name, array in arrays.items()}, notes


@pytest.mark.parametrize("way", THREE_WAYS)
def test_the_network_ends_with_the_averages_of_its_weights_after_every_step(way):
    options = {name: value() if callable(value) else value for name, value in THREE_WAYS[way].items()}
    plain = Trainer(make(**options), batch_size=len(X), step_size=0.01)  # an epoch is a step
    steps = [weights_of(plain.network)]
    plain.fit(X, Y, epochs=30, on_epoch=lambda record: steps.append(weights_of(plain.network)) or False)
    own = trainer(make(**options), batch_size=len(X))
    own.fit(X, Y, epochs=30)
    assert own.history.batch_losses == plain.history.batch_losses
    for i, found in enumerate(weights_of(own.network)):
        wanted = reference.averaged([step[i] for step in steps], DECAY)[-1]
        largest = max(np.abs(step[i]).max() for step in steps)
        assert np.abs(found - wanted).max() < 4 * 30 * reference.U * largest  # see tests/engine/test_averaging.py
        assert not np.allclose(found, steps[-1][i], atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_bits_with_any_threads_and_whoever_looks_on(precision):
    def result(threads, **more):
        one = trainer(make(dropout=0.2), threads=threads, monitor="val_loss", precision=precision)
        fit(one, 5, **more)
        return bits(one.network), one.history.batch_losses, one.best.value, one.best.epoch

    expected = result(1)
    assert all(result(threads) == expected for threads in (2, 3, 7))
    assert result(2, on_epoch=lambda record: None) == expected


def test_layer_by_layer_gives_the_same_bits():
    one, other = trainer(make(), clip_norm=0.5), trainer(make(), clip_norm=0.5)
    other.network.lowers = lambda: False
    fit(one, 3)
    fit(other, 3)
    assert bits(one.network) == bits(other.network)
    assert_same_history(one.history, other.history)


@pytest.mark.parametrize("monitor", ["val_loss", "val_balanced_accuracy"])
def test_validation_the_best_epoch_and_callbacks_have_the_averages_and_the_training_loss_has_the_weights(monitor):
    one, plain = trainer(monitor=monitor), trainer(ema_decay=None)
    seen = []

    def look(record):
        assert evaluate(one.network, X_VAL, Y_VAL) == (record.val_loss, record.val_accuracy)
        assert one.evaluate(X_VAL, Y_VAL) == (record.val_loss, record.val_accuracy)
        seen.append((getattr(record, monitor), bits(one.network)))

    fit(one, 6, on_epoch=look)
    fit(plain, 6)
    assert one.history.batch_losses == plain.history.batch_losses
    assert [r.train_loss for r in one.history.epochs] == [r.train_loss for r in plain.history.epochs]
    assert [r.val_loss for r in one.history.epochs] != [r.val_loss for r in plain.history.epochs]
    assert (one.best.value, [a.tobytes() for a in one.best.arrays.values()]) == seen[one.best.epoch - 1]
    one.restore_best()
    assert bits(one.network) == seen[one.best.epoch - 1][1]


def test_another_fit_goes_on_from_the_weights():
    one, whole = trainer(), trainer()
    for epochs in (2, 1, 3):
        fit(one, epochs)
    fit(whole, 6)
    assert state(one) == state(whole)
    assert_same_history(one.history, whole.history)
    one.ema_decay, plain = None, trainer(ema_decay=None)
    fit(one, 2)
    fit(plain, 8)
    assert bits(one.network) == bits(plain.network)  # without averages it goes on from the weights as well


def test_weights_that_were_given_between_fits_are_trained_and_averaged_anew():
    one, fresh = trainer(make(optimizer=SGD(0.0))), trainer(make(optimizer=SGD(0.0)), ema_decay=None)
    fit(one, 2)
    fit(fresh, 2)
    given = {name: array + np.float32(0.1) for name, array in one.network.parameters().items()}
    fresh.ema_decay = DECAY
    for each in (one, fresh):
        each.network.set_parameters(given)
        fit(each, 2)
    assert bits(one.network) == bits(fresh.network)


def test_patience_leaves_the_best_averages_and_training_goes_on_from_them():
    one = trainer(patience=2, step_size=0.3)
    fit(one, 50)
    assert one.progress.epoch < 50
    assert bits(one.network) == [array.tobytes() for array in one.best.arrays.values()]
    copied, saved = trainer(patience=2, step_size=0.3), trainer_state(one)
    restore_trainer(copied, *saved, "it")
    one.patience = copied.patience = 90
    fit(one, 2)
    fit(copied, 2)
    assert state(one) == state(copied)


def test_frozen_layers_keep_their_bits_and_the_others_are_averaged():
    def result(ema_decay):
        net = make()
        net.linear_layers[0].trainable = False
        one = trainer(net, ema_decay=ema_decay)
        fit(one, 3)
        return bits(net)

    start, plain, averaged = bits(make()), result(None), result(DECAY)
    assert averaged[:2] == start[:2]
    assert not set(averaged[2:]) & set(start[2:] + plain[2:])


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_state_goes_on_with_the_same_bits(interrupted):
    def fresh():
        return trainer(make(dropout=0.2, optimizer=SGD(0.9)), monitor="val_loss")

    one, whole = fresh(), fresh()
    if interrupted:  # in the middle of an epoch
        layer = Through(at_call=14, error=KeyboardInterrupt)
        one.network.layers.append(layer)
        with pytest.raises(KeyboardInterrupt):
            fit(one, 2)
        del one.network.layers[-1]
        assert one.progress.batch > 0
    else:
        fit(one, 2)
    arrays, notes = trainer_state(one)
    assert notes["averaged"] == len(one.history.batch_losses)
    assert np.asarray(arrays["average.0.weight"]).tobytes() == bits(one.network)[0]
    assert np.asarray(arrays["0.weight"]).tobytes() != bits(one.network)[0]
    other = fresh()
    restore_trainer(other, arrays, notes, "the first")
    assert state(other) == state(one)
    assert bits(other.network) == bits(one.network)
    for each in (one, other):
        fit(each, 4 - each.progress.epoch)
    fit(whole, 4)
    assert state(one) == state(other) == state(whole)


def test_a_state_with_averages_goes_on_without_them_and_the_other_way_round():
    one, plain = trainer(), trainer(ema_decay=None)
    fit(one, 2)
    fit(plain, 2)
    without, with_them = trainer(ema_decay=None), trainer()
    restore_trainer(without, *trainer_state(one), "it")
    restore_trainer(with_them, *trainer_state(plain), "it")
    assert bits(without.network) == bits(with_them.network) == bits(plain.network)
    fit(with_them, 1)
    fit(without, 1)
    fit(plain, 1)
    assert bits(without.network) == bits(plain.network) != bits(with_them.network)


@pytest.mark.parametrize("call", range(1, 10))
def test_ctrl_c_while_averages_and_weights_change_places_loses_neither(monkeypatch, call):
    one, whole, calls = trainer(), trainer(), []
    changed = LinearLayer.updated

    def interrupted(self, count):
        changed(self, count)
        if count == 0 and self in one.network.layers:
            calls.append(count)
            if len(calls) == call:
                raise KeyboardInterrupt

    monkeypatch.setattr(LinearLayer, "updated", interrupted)
    with pytest.raises(KeyboardInterrupt):
        [fit(one, epochs) for epochs in (1, 2)]
    fit(one, 4 - one.progress.epoch)
    fit(whole, 4)
    assert state(one) == state(whole)


def test_a_trainer_that_is_copied_goes_on_like_the_first():
    one = trainer()
    fit(one, 2)
    other = copy.deepcopy(one)
    for each in (one, other):
        fit(each, 1)
    assert state(one) == state(other)


def test_numbers_to_predict():
    targets = (X[:, :2] * 100 + 7).astype(np.float64)
    net = FeedForwardNeuralNetwork(X.shape[1], 2, [12], seed=0)
    one = trainer(net, loss="squared_error", monitor="val_loss")
    one.fit(X, targets, X[:30], targets[:30], epochs=4)
    assert one.evaluate(X[:30], targets[:30]) == (one.history.epochs[-1].val_loss, one.history.epochs[-1].val_r2)


# --- commands


def train_twice(flowers, tmp_path, monkeypatch, *options, stop):
    """The same run undisturbed and interrupted when this epoch has ended; what both folders hold."""
    run("train", flowers, *options, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        at_epoch(patch, stop, lambda: send(2))
        assert run("train", flowers, *options, "--out", tmp_path / "run").status == 130
    assert go_on(tmp_path / "run").status == 0
    return contents(tmp_path / "run"), contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "options", [(*SMALL, "--epochs", 5), (*BACKOFF, "--checkpoint-epochs", 3)], ids=["plain", "backoff"]
)
def test_a_run_that_is_resumed_leaves_the_same_files(flowers, tmp_path, monkeypatch, options):
    found, whole = train_twice(flowers, tmp_path, monkeypatch, *options, "--ema-decay", 0.95, stop=2)
    assert found == whole
    assert whole["config"]["ema_decay"] == 0.95
    assert whole["checkpoint"][1]["averaged"] > 0


def test_best_weights_in_files_are_averages(flowers, tmp_path):
    options = ("--epochs", 4, "--ema-decay", 0.95, "--out", tmp_path / "run")
    succeed("train", flowers, *SMALL, *options)
    data, found = load_dataset(flowers), contents(tmp_path / "run")
    _, accuracy = evaluate(load_model(tmp_path / "run").network, data.x_test, data.y_test)
    assert accuracy == found["summary"]["test_accuracy"]
    arrays, notes = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    if notes["best"]["epoch"] == 4:
        np.testing.assert_array_equal(arrays["average.1.weight"], arrays["best.1.weight"])
    assert not np.array_equal(arrays["1.weight"], arrays["average.1.weight"])


def test_0_on_the_command_line_is_none(flowers, tmp_path):
    (tmp_path / "own.toml").write_text("ema_decay = 0.9\n")
    for name, options in {"off": ("--config", tmp_path / "own.toml", "--ema-decay", 0), "without": ()}.items():
        succeed("train", flowers, *SMALL, "--epochs", 2, *options, "--out", tmp_path / name)
    assert contents(tmp_path / "off")["best"] == contents(tmp_path / "without")["best"]
    assert "averaged" not in contents(tmp_path / "off")["checkpoint"][1]


def test_many_side_by_side_and_seeds_have_the_result_of_one(flowers, tmp_path):
    config = Config(hidden=(16,), epochs=3, batch_size=16, ema_decay=0.9, seed=1)
    alone, beside = (fit_many([config, dataclasses.replace(config, seed=2)], flowers, jobs=jobs) for jobs in (1, 2))
    assert [bits(one.network) for one in alone] == [bits(one.network) for one in beside]
    assert bits(alone[0].network) != bits(fit_many([dataclasses.replace(config, ema_decay=0.0)], flowers)[0].network)
    options = ("--hidden", 16, "--epochs", 3, "--batch-size", 16, "--ema-decay", 0.9, "--seed", 1)
    succeed("train", flowers, *options, "--out", tmp_path / "one")
    run("train", flowers, *options, "--seeds", 2, "--out", tmp_path / "both")
    for name in ("best", "checkpoint"):
        assert contents(tmp_path / "both" / "seed-1")[name][0] == contents(tmp_path / "one")[name][0]


def test_rows_in_shards_give_the_same_bits(tmp_path):
    def result(rows):
        net = make(layer=Dropout(0.1))
        one = trainer(net)
        one.fit(rows, Y, epochs=2)
        return bits(net)

    for number, part in enumerate(np.array_split(X, 3)):
        np.save(tmp_path / f"x_train-{number:05}.npy", part)
    np.save(tmp_path / "y_train.npy", Y)
    assert result(load_dataset(tmp_path).x_train) == result(X)
