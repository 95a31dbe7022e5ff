"""What a Config says is what is built, and what would say nothing is refused."""

import pytest

from fastff import SGD, Adam, ArgumentError, Config, load_dataset
from fastff.runs.build import make_trainer
from fastff.runs.config import start_from

DIGITS = load_dataset("digits")


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({}, Adam()),
        (
            {"beta1": 0.5, "beta2": 0.6, "epsilon": 0.1, "bias_correction": "constant", "weight_decay": 0.2},
            Adam(0.5, 0.6, 0.1, 0.2, bias_correction="constant"),
        ),
        ({"optimizer": "sgd"}, SGD(0.9)),
        ({"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.2}, SGD(0.5, weight_decay=0.2)),
    ],
)
def test_the_optimizer_is_the_one_described(options, optimizer):
    assert make_trainer(Config(**options), DIGITS, front=[]).optimizer == optimizer


def test_the_other_optimizer_takes_the_place_of_a_presets():
    options = start_from("digits", "course", {"optimizer": "sgd", "decay": "l2"})
    assert make_trainer(options, DIGITS, front=[]).optimizer == SGD(0.9, weight_decay=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "name", "value", "other"),
    [
        ("adam", "momentum", 0.5, "sgd"),
        ("sgd", "beta1", 0.5, "adam"),
        ("sgd", "beta2", 0.5, "adam"),
        ("sgd", "epsilon", 0.5, "adam"),
        ("sgd", "bias_correction", "constant", "adam"),
    ],
)
def test_an_option_of_the_other_optimizer_is_refused(optimizer, name, value, other):
    wanted = rf"^{name}: {value!r}, but {optimizer} has no {name}; want it left at .*, or {other} as the optimizer$"
    with pytest.raises(ArgumentError, match=wanted):
        make_trainer(Config(optimizer=optimizer, **{name: value}), DIGITS, front=[])
