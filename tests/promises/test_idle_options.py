"""Every option of a training does something in every way to train, or is refused there by name."""

import dataclasses
import inspect

import numpy as np
import pytest
from trainers import Through

from fastff import SGD, ArgumentError, Config, FeedForwardNeuralNetwork, Trainer, fit_many, load_dataset
from fastff.runs.build import make_trainer, row_weights
from fastff.runs.sweep import COMMAND_ONLY
from fastff.system.limits import usable_cpus

# Another value of each option of Config that trains, and what makes it matter
OPTIONS = {
    "hidden": ((9,), {}),
    "activation": ("tanh", {}),
    "dropout": (0.3, {}),
    "standardize": (False, {}),
    "whiten": (5, {}),
    "mirror": (True, {}),
    "shift": (1, {}),
    "rotate": (5.0, {}),
    "zoom": (0.1, {}),
    "cutout": (2, {}),
    "class_weight": ("balanced", {}),
    "epochs": (3, {}),
    "batch_size": (32, {}),
    "optimizer": ("sgd", {}),
    "step_size": (0.02, {}),
    "schedule": ("cosine", {}),
    "weight_decay": (0.1, {}),
    "decay": ("decoupled", {"weight_decay": 0.1}),
    "bias_correction": ("constant", {}),
    "momentum": (0.5, {"optimizer": "sgd"}),
    "beta1": (0.5, {}),
    "beta2": (0.5, {}),
    "epsilon": (0.1, {}),
    "loss": ("absolute_error", {}),
    "label_smoothing": (0.1, {}),
    "bins": (4, {}),
    "clip_norm": (0.1, {}),
    "ema_decay": (0.9, {}),
    "patience": (1, {"step_size": 0.5, "epochs": 9}),
    "monitor": ("train_loss", {"step_size": 0.5, "epochs": 9}),
    "precision": ("bfloat16", {}),
    "seed": (1, {}),
}
# Another value of each parameter of Trainer
PARAMETERS = {
    "optimizer": SGD(0.9),
    "batch_size": 32,
    "step_size": 0.02,
    "schedule": "cosine",
    "precision": "bfloat16",
    "seed": 1,
    "label_smoothing": 0.1,
    "clip_norm": 0.1,
    "ema_decay": 0.9,
    "loss": "squared_error",
    "patience": 1,
    "monitor": "train_loss",
}
ROWS = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
LABELS = (ROWS[:, :3] ** 2).argmax(1)


@pytest.fixture(scope="module")
def data():
    digits = load_dataset("digits")
    return dataclasses.replace(digits, x_train=digits.x_train[:200], y_train=digits.y_train[:200]).with_validation()


def shown(network, history, best):
    """All that a training shows, but for times. best: the best value of what it monitors."""
    figures = [(r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy) for r in history.epochs]
    return [array.tobytes() for array in network.parameters().values()], figures, history.batch_losses, best


def by_trainer(config, data):
    trainer = make_trainer(config, data)
    splits, weights = (data.x_train, data.y_train, data.x_val, data.y_val), row_weights(config, data)
    history = trainer.fit(*splits, epochs=config.epochs, sample_weight=weights)
    trainer.restore_best()
    return shown(trainer.network, history, trainer.best.value)


def by_fit_many(config, data):
    (fitted,) = fit_many([config], data)
    if fitted.error:
        raise fitted.error
    return shown(fitted.network, fitted.history, fitted.best)


def test_every_option_is_tried():
    options = {field.name for field in dataclasses.fields(Config)} - set(COMMAND_ONLY)
    assert options - {"threads"} == set(OPTIONS)
    parameters = set(inspect.signature(Trainer).parameters)
    assert parameters - {"network", "threads", "verbose"} == set(PARAMETERS)  # verbose: test_frozen_layers.py


@pytest.mark.parametrize("train", [by_trainer, by_fit_many])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_a_run_does_something(data, train, name):
    value, more = OPTIONS[name]
    base = Config(**{"hidden": (8,), "epochs": 2, "batch_size": 16, **more})
    if name == "loss":  # of classes there is one
        numbers = {field: getattr(data, field).astype(np.float64) for field in ("y_train", "y_val", "y_test")}
        data = dataclasses.replace(data, task="regress", class_names=(), **numbers)
    assert train(dataclasses.replace(base, **{name: value}), data) != train(base, data)


def fitted(layer=None, later=None, **options):
    """What a Trainer with these options shows after two fits, before the second of which `later` is set."""
    network = FeedForwardNeuralNetwork(6, 3, (8,), seed=0)
    network.layers[1:1] = [] if layer is None else [layer]
    trainer = Trainer(network, **{"batch_size": 16, "step_size": 0.05, **options})
    targets = LABELS if trainer.criterion.task == "classify" else np.eye(3)[LABELS]
    for epochs in (2, 6):
        trainer.fit(ROWS[:80], targets[:80], ROWS[80:], targets[80:], epochs=epochs)
        for name, value in (later or {}).items():
            setattr({"label_smoothing": trainer.criterion, "optimizer": network}.get(name, trainer), name, value)
    trainer.restore_best()
    return shown(network, trainer.history, trainer.best and trainer.best.value)


@pytest.mark.parametrize("own", [False, True], ids=["built in", "with a layer of one's own"])
@pytest.mark.parametrize("when", ["when made", "between fits"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_of_trainer_does_something(name, when, own):
    if name == "loss" and when == "between fits":
        with pytest.raises(AttributeError, match=r"^Trainer has no attribute 'loss'"):
            fitted(later={name: PARAMETERS[name]})
        return
    other = {name: PARAMETERS[name]}
    options = other if when == "when made" else {"later": other}
    if own and name == "precision":
        with pytest.raises(ArgumentError, match=r"^precision: 'bfloat16', want 'float32' for a network with a layer"):
            fitted(Through(), **options)
    else:
        assert fitted(Through() if own else None, **options) != fitted(Through() if own else None)


@pytest.mark.parametrize("own", [False, True], ids=["built in", "with a layer of one's own"])
def test_threads_change_only_how_many_work(own):
    assert fitted(Through() if own else None, threads=2) == fitted(Through() if own else None, threads=1)
    trainer = Trainer(FeedForwardNeuralNetwork(6, 3, (8,), seed=0), threads=usable_cpus() + 1)
    trainer.fit(ROWS, LABELS, epochs=1)
    assert trainer.threads_used == usable_cpus() + 1
