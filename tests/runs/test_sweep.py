"""fit_many trains many networks at once: the bits of one at a time, in order; a failure costs the others nothing."""

import dataclasses
import signal
import threading

import numpy as np
import pytest
from command_line import write_flowers

from fastff import ArgumentError, Config, DivergenceError, fit_many, load_dataset
from fastff.runs import sweep
from fastff.runs.build import make_trainer, preprocessing
from fastff.training.trainer import Trainer

SMALL = Config(hidden=(8,), epochs=6, batch_size=16)


def configs(count, **options):
    return [dataclasses.replace(SMALL, seed=seed, **options) for seed in range(count)]


@pytest.fixture
def flowers(tmp_path):
    return load_dataset(write_flowers(tmp_path))


def bits(network):
    return {name: array.tobytes() for name, array in network.parameters().items()}


def epochs(history):
    return [dataclasses.replace(record, seconds=0, examples_per_second=0) for record in history.epochs]


@pytest.mark.parametrize(
    "options",
    [{}, {"dropout": 0.3, "patience": 2, "monitor": "val_loss"}, {"monitor": "train_loss", "whiten": 3}],
    ids=["plain", "patience", "whiten"],
)
def test_any_number_of_jobs_gives_the_bits_of_one_training_at_a_time(flowers, options):
    fitted = {jobs: fit_many(configs(5, **options), flowers, jobs=jobs) for jobs in (1, 2, 7)}
    for i, config in enumerate(configs(5, **options)):
        trainer = make_trainer(config, flowers)
        # a callback has Python look at every epoch, as the command does
        history = trainer.fit(
            *(flowers.x_train, flowers.y_train, flowers.x_val, flowers.y_val),
            epochs=config.epochs,
            on_epoch=lambda _: None,
        )
        trainer.restore_best()
        for items in fitted.values():
            item = items[i]
            assert item.config == config
            assert bits(item.network) == bits(trainer.network)
            assert epochs(item.history) == epochs(history)
            assert item.history.batch_losses == history.batch_losses
            assert (item.best_epoch, item.best) == (trainer.best.epoch, trainer.best.value)


def test_one_that_fails_keeps_its_error_and_costs_the_others_nothing(flowers):
    good, diverging = configs(1)[0], dataclasses.replace(SMALL, step_size=1e38, optimizer="sgd")
    bad = dataclasses.replace(SMALL, batch_size=0)
    unfit = dataclasses.replace(SMALL, whiten=99)
    fitted = fit_many([bad, good, diverging, unfit, good], flowers, jobs=2)
    assert [item.error is None for item in fitted] == [False, True, False, False, True]
    assert isinstance(fitted[2].error, DivergenceError)
    assert str(fitted[0].error) == "batch_size: 0, want a whole number of at least 1"
    assert "99" in str(fitted[3].error)
    assert fitted[0].network is None
    assert bits(fitted[1].network) == bits(fitted[4].network)


def test_a_result_says_in_short_what_it_is(flowers):
    wrong = dataclasses.replace(SMALL, whiten=99)
    good, bad = fit_many([configs(1, monitor="val_loss")[0], wrong], flowers)
    options = "hidden=(8,), epochs=6, batch_size=16"
    assert repr(good) == f"Fitted({options}, monitor='val_loss', val_loss {good.best:.3f} in epoch {good.best_epoch})"
    options = options.replace("epochs", "whiten=99, epochs")
    assert repr(bad) == f"Fitted({options}, ArgumentError: whiten: 99, want at most the 4 features of X)"
    assert len(repr(bad)) < 200


def test_whitening_is_computed_once_for_all_that_agree_on_it(flowers, monkeypatch):
    made = []
    monkeypatch.setattr(sweep, "preprocessing", lambda *a: made.append(a) or preprocessing(*a))
    fitted = fit_many(configs(4, whiten=3) + configs(3, whiten=2), flowers, jobs=2)
    assert not any(item.error for item in fitted)
    assert len(made) == 2


def test_the_networks_share_no_state(flowers):
    one, other = (item.network for item in fit_many(configs(2, whiten=3), flowers))
    before = other.predict_proba(flowers.x_test)
    one.forward(flowers.x_test)
    for layer in one.linear_layers:
        layer.weights[:] = 0
    np.testing.assert_array_equal(other.predict_proba(flowers.x_test), before)


def test_data_may_be_a_name_or_a_path_and_need_no_validation_rows(tmp_path):
    path = write_flowers(tmp_path, x_val=None, y_val=None, x_test=None, y_test=None)
    assert fit_many(configs(1), path)[0].best_epoch is not None


@pytest.mark.parametrize(
    ("wrong", "options", "message"),
    [
        ([{"hidden": (8,)}], {}, r"configs\[0\]: dict, want a fastff.Config"),
        ([], {"jobs": 0}, "jobs: 0, want a whole number of at least 1"),
    ],
)
def test_what_is_no_config_or_job_is_refused(flowers, wrong, options, message):
    with pytest.raises(ArgumentError, match=message):
        fit_many(wrong, flowers, **options)


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_result_is_told_once_as_soon_as_there_is_one(flowers, jobs):
    told, wrong = [], dataclasses.replace(SMALL, whiten=99)
    fitted = fit_many([*configs(3), wrong], flowers, jobs=jobs, on_fitted=told.append)
    assert sorted(map(id, told)) == sorted(map(id, fitted))
    assert told[0].error is not None  # known before any training


def test_no_configs_give_no_networks(flowers):
    assert fit_many([], flowers, jobs=2) == []


def test_ctrl_c_ends_all_and_leaves_no_thread(flowers, monkeypatch):
    before, seen, begun = set(threading.enumerate()), set(), threading.Event()
    order = Trainer.order

    def watched(self, epoch, rows):
        seen.add(threading.get_ident())
        if len(seen) == 2:
            begun.set()
        return order(self, epoch, rows)

    def interrupt():
        begun.wait(60)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "order", watched)
    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        fit_many(configs(2, epochs=10**6), flowers, jobs=2)
    sender.join()
    assert before.issuperset(threading.enumerate())


def test_what_is_no_failure_of_a_config_ends_all(flowers, monkeypatch):
    monkeypatch.setattr(sweep, "_fit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_many(configs(3), flowers, jobs=2)


UNUSED = {
    "dataset": "mnist", "data_dir": "x", "target": "y", "task": "classify", "drop": ("a",),
    "categorical": ("b",), "weight_column": "w", "test_share": 0.1, "test": "b.csv", "split_seed": 3,
    "preset": "fast", "config": "c.toml", "out": "runs",
    "resume": True, "log": "mlflow", "distributed": "mpi", "shard_optimizer": True, "seeds": 3, "checkpoint_epochs": 2,
    "distributed_timeout": 30.0,
    "checkpoint_minutes": 1.5, "on_divergence": "backoff",
}  # fmt: skip


@pytest.mark.parametrize("name", sweep.COMMAND_ONLY)
def test_an_option_for_the_command_alone_is_refused(flowers, name):
    with pytest.raises(ArgumentError, match=rf"^configs\[0\]: {name} .* is for the command"):
        fit_many([dataclasses.replace(SMALL, **{name: UNUSED[name]})], flowers)


@pytest.mark.parametrize(
    ("name", "value"), [("mirror", True), ("shift", 1), ("rotate", 5.0), ("zoom", 0.1), ("cutout", 2)]
)
def test_rows_that_are_no_pictures_are_not_changed_as_such(flowers, name, value):
    (item,) = fit_many([dataclasses.replace(SMALL, **{name: value})], flowers)
    assert "no pictures" in str(item.error)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("hidden", "64", "a list of whole numbers"),
        ("hidden", (8, 2.5), "a list of whole numbers"),
        ("epochs", 3.0, "a whole number"),
        ("epochs", None, "a whole number"),
        ("step_size", "fast", "a number"),
        ("standardize", 1, "true or false"),
        ("optimizer", "rmsprop", "one of 'adam', 'sgd'"),
        ("seed", 1 << 70, "a whole number"),
        ("patience", 2.5, "a whole number"),
        ("optimizer", np.array(["adam"]), "one of 'adam', 'sgd'"),
        ("schedule", np.array(["step", "cosine"]), "one of 'constant'"),
        ("monitor", ["val_loss"], "one of 'val_accuracy'"),
        ("log", {}, "one of 'tensorboard', 'mlflow'"),
        ("standardize", np.array([True, False]), "true or false"),
        ("whiten", [], "a whole number"),
    ],
)
def test_a_config_refuses_what_an_option_cannot_be(name, value, wanted):
    with pytest.raises(ArgumentError, match=rf"^{name}: .*, want {wanted}"):
        Config(**{name: value})


def test_a_config_takes_what_is_meant(tmp_path):
    config = Config(hidden=64, seed=np.int64(3), step_size=np.float32(0.5), out=tmp_path)
    assert config == Config(hidden=(64,), seed=3, step_size=0.5, out=str(tmp_path))
    assert Config(hidden=[8, 4]).hidden == (8, 4)


@pytest.mark.parametrize("given", [5, None, SMALL])
def test_what_is_no_sequence_of_configs_is_refused(flowers, given):
    with pytest.raises(ArgumentError, match=rf"^configs: {type(given).__name__}, want a sequence of fastff.Config$"):
        fit_many(given, flowers)


def test_an_option_of_the_other_optimizer_is_the_error_of_its_config(flowers):
    good, bad = fit_many([SMALL, dataclasses.replace(SMALL, momentum=0.5)], flowers)
    assert good.error is None
    assert str(bad.error).startswith("momentum: 0.5, but adam has no momentum")
