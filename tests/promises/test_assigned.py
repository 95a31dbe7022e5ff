"""What is assigned to an attribute is checked as when the object was made, or refused because it cannot be changed."""

import re

import numpy as np
import pytest
from trainers import Through

from fastff import SGD, ArgumentError, Augment, Dropout, FeedForwardNeuralNetwork, LinearLayer, Standardize, Trainer
from fastff.nn.encoding import PiecewiseLinear
from fastff.nn.preprocessing import Whiten

X = np.random.default_rng(0).normal(size=(48, 6)).astype(np.float32)
Y = np.arange(48) % 3
BAD = {
    "batch_size": [0, -1, 2.5, "8", None, True, [8]],
    "step_size": [0, -0.001, np.nan, np.inf, "0.1", None, [0.1]],
    "schedule": ["exp", "", None, 3, ["step"]],
    "precision": ["float16", None, 32, []],
    "threads": [0, -1, "2", 1.5, []],
    "seed": [-1, None, 1.5, "0", []],
    "clip_norm": [0, -1.0, np.nan, np.inf, "1"],
    "ema_decay": [0, 1, -0.5, np.nan, "0.9", [0.9]],
    "patience": [0, -1, 1.5, "2", []],
    "monitor": ["loss", 3, []],
}


def trainer(*layers, **options):
    network = FeedForwardNeuralNetwork(6, 3, (8,), seed=0)
    network.layers[1:1] = layers
    return Trainer(network, batch_size=8, **options)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_bad_values_of_a_trainer_are_refused_when_made_and_when_assigned(name, value):
    own = trainer()
    if name not in ("threads", "patience", "monitor") or value is not None:
        with pytest.raises(ArgumentError, match=f"^{name}: "):
            Trainer(own.network, **{name: value})
    before = getattr(own, name)
    with pytest.raises(ArgumentError, match=f"^{name}: "):
        setattr(own, name, value)
    assert getattr(own, name) == before
    own.fit(X, Y, epochs=1)


@pytest.mark.parametrize("layers", [(), (Through(),)], ids=["built in", "with a layer of one's own"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("batch_size", lambda own: setattr(own, "batch_size", 500)),
        ("seed", lambda own: setattr(own, "seed", 1)),
        ("precision", lambda own: setattr(own, "precision", "bfloat16")),
        ("threads", lambda own: setattr(own, "threads", 2)),
        ("ema_decay", lambda own: setattr(own, "ema_decay", 0.9)),
        ("label_smoothing", lambda own: setattr(own.criterion, "label_smoothing", 0.1)),
        ("layers", lambda own: own.network.layers.append(LinearLayer(3, 3))),
        ("layers", lambda own: own.network.layers.reverse()),
        ("rate", lambda own: setattr(own.network.layers[-2], "rate", 0.5)),
        ("history", lambda own: own.history.batch_losses.clear()),
        ("history", lambda own: own.history.epochs.append(own.history.epochs[0])),
    ],
)
def test_what_a_fit_goes_by_cannot_change_in_a_callback(name, change, layers):
    own = trainer(*layers)
    own.network.layers[-1:-1] = [Dropout(0.2, seed=0)]
    changed = []

    def on_epoch(record):
        if not changed:
            changed.append(change(own))

    with pytest.raises(ArgumentError, match=f"^{name}: "):
        own.fit(X, Y, epochs=4, on_epoch=on_epoch)
    assert len(changed) == 1


def test_what_a_callback_may_change_counts_from_the_next_epoch():
    def run(change):
        own = trainer(step_size=0.01)
        own.fit(X, Y, epochs=3, on_epoch=lambda record: change(own))
        return own.history.batch_losses

    plain = run(lambda own: None)
    for change in (
        lambda own: setattr(own, "step_size", 0.1),
        lambda own: setattr(own, "schedule", "cosine"),
        lambda own: setattr(own.network, "optimizer", SGD(0.9)),
    ):
        losses = run(change)
        assert losses[:6] == plain[:6]
        assert losses[6:] != plain[6:]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: LinearLayer(6, 3), "input_dim output_dim features_in moments bias_moments memory grad_weights"),
        (lambda: Standardize(np.zeros(6), np.ones(6)), "mean std scale features_in"),
        (lambda: Whiten(np.eye(6), np.zeros(6)), "projection shift features_in output_dim"),
        (lambda: PiecewiseLinear.fit(np.eye(6), 2), "sources lower scale low high features_in output_dim"),
        (lambda: Augment((1, 2, 3)), "image_shape mirror shift rotate zoom cutout features_in"),
        (trainer, "network criterion recorder history progress best optimizer"),
        (lambda: trainer().network, "input_dim output_dim linear_layers parameter_count"),
        (lambda: trainer().history, "batch_losses batch_accuracies epochs"),
        (lambda: trainer().progress, "epoch batch seconds"),
    ],
)
def test_what_others_follow_from_cannot_be_assigned(make, names):
    for name in names.split():
        for value in (5, None, np.zeros(1, np.float32), "text"):
            with pytest.raises(AttributeError):
                setattr(make(), name, value)


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [
        (lambda: LinearLayer(6, 3), "weights", [np.zeros((3, 6)), np.zeros(18), "text", None, [[1, 2], [3]]]),
        (lambda: LinearLayer(6, 3), "bias", [np.zeros(4), "text", None, np.zeros((3, 1))]),
        (lambda: LinearLayer(6, 3), "optimizer", [None, "adam", SGD, 3]),
        (lambda: LinearLayer(6, 3), "updates", [-1, 1.5, None, "1"]),
        (lambda: Dropout(0.5), "rate", [1.0, -0.1, np.nan, None, "0.5", np.zeros(3)]),
        (lambda: Dropout(0.5), "training", [None, 1, "yes", []]),
        (lambda: trainer().network, "optimizer", [None, "adam", SGD, 3]),
        (lambda: trainer().criterion, "label_smoothing", [1.0, -0.1, None, "0.1", []]),
    ],
)
def test_what_can_be_assigned_is_checked(make, name, values):
    for value in values:
        with pytest.raises(ArgumentError, match=f"^{re.escape(name)}: "):
            setattr(make(), name, value)


@pytest.mark.parametrize(
    "make",
    [
        trainer,
        lambda: trainer().network,
        lambda: LinearLayer(6, 3),
        lambda: Dropout(0.5),
        lambda: Augment((1, 2, 3)),
        lambda: SGD(0.9),
    ],
)
def test_a_name_that_there_is_not_is_refused(make):
    with pytest.raises(AttributeError):
        make().no_such_name = 1


def test_the_names_of_the_course_are_the_same_arrays():
    layer = LinearLayer(6, 3, seed=0)
    assert layer.W is layer.weights
    assert np.shares_memory(layer.b, layer.bias)
    layer.W, layer.b = np.full((6, 3), 0.5), [1, 2, 3]
    np.testing.assert_array_equal(layer.forward(np.ones((1, 6))), [[4, 5, 6]])
    np.testing.assert_array_equal(layer.bias, [[1, 2, 3]])
