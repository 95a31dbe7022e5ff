"""The trainer's arguments: names, defaults, and what is refused."""

import inspect
import re

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, Through, X, Y, assert_same_weights, make, trained

from fastff import SGD, Adam, ArgumentError, Trainer


def test_names_and_defaults():
    parameters = inspect.signature(Trainer).parameters
    assert list(parameters)[:7] == ["network", "optimizer", "batch_size", "step_size", "precision", "threads", "seed"]
    assert all(p.kind == p.KEYWORD_ONLY for name, p in parameters.items() if name not in ("network", "optimizer"))
    defaults = {name: parameters[name].default for name in ("batch_size", "step_size", "precision", "threads", "seed")}
    assert defaults == {"batch_size": 128, "step_size": 1e-3, "precision": "float32", "threads": None, "seed": 0}
    fit = inspect.signature(Trainer.fit).parameters
    assert list(fit) == ["self", "X", "Y", "X_val", "Y_val", "epochs", "on_epoch", "sample_weight"]
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


class InOrder(Trainer):
    def order(self, epoch, rows):
        return np.arange(rows)


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
@pytest.mark.parametrize("before", [SGD(0.9), Adam()])
def test_a_trainer_with_an_optimizer_begins_anew(layer, before):
    """Adam at its thousandth step, with averages that have only begun, would move weights a hundred times too far."""
    one, two = (make(layer=layer and layer()) for _ in range(2))
    InOrder(one, before, batch_size=16, step_size=0.05).fit(X, Y, epochs=20)
    two.set_parameters(one.parameters())
    for net in (one, two):
        InOrder(net, Adam(), batch_size=16).fit(X, Y, epochs=2)
    assert_same_weights(one, two)


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_an_optimizer_of_another_kind_that_on_epoch_sets_begins_anew(layer):
    one, two = (make(layer=layer and layer()) for _ in range(2))

    def change(record):
        if record.epoch == 5:
            two.set_parameters(one.parameters())
            one.optimizer = Adam()

    InOrder(one, SGD(0.9), batch_size=16).fit(X, Y, epochs=7, on_epoch=change)
    InOrder(two, Adam(), batch_size=16).fit(X, Y, epochs=2)
    assert_same_weights(one, two)


def test_an_optimizer_of_the_same_kind_that_on_epoch_sets_keeps_its_moments():
    one, two = make(), make()
    for net in (one, two):
        own = Trainer(net, Adam(), batch_size=16)
        own.fit(X, Y, epochs=3, on_epoch=lambda _, net=net: setattr(net, "optimizer", Adam()) if net is one else None)
    assert_same_weights(one, two)


def test_a_trainer_that_is_refused_leaves_the_network_as_it_is():
    net = trained()[0]
    before, counts = net.optimizer, [layer.updates for layer in net.linear_layers]
    for options in ({"batch_size": 0}, {"patience": -1}, {"monitor": "val_luck"}, {"optimizer": "adam"}):
        with pytest.raises(ArgumentError):
            Trainer(net, **{"optimizer": SGD(), **options})
    assert net.optimizer is before
    assert [layer.updates for layer in net.linear_layers] == counts != [0, 0, 0]
    assert all(layer.moments[1].any() for layer in net.linear_layers)
