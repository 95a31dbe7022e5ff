"""What a network shows of itself: as a list of layers, in a line, and in a table."""

import numpy as np
import pytest
from own_layers import Passing

from fastff import (
    Adam,
    ArgumentError,
    Augment,
    Dropout,
    Ensemble,
    FeedForwardNeuralNetwork,
    LinearLayer,
    ReLU,
    Standardize,
    Trainer,
    Whiten,
    evaluate,
)

X = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)


@pytest.fixture
def network():
    layers = [Augment((3, 2, 2), shift=1), Standardize.fit(X), LinearLayer(12, 7, seed=0), ReLU(), Dropout(0.25)]
    return FeedForwardNeuralNetwork.from_layers([*layers, LinearLayer(7, 3, seed=1)])


def test_it_is_a_sequence_of_its_layers(network):
    assert len(network) == 6
    assert list(network) == network.layers
    assert network[2] is network.layers[2]
    assert network[-2:] == network.layers[-2:]
    assert bool(FeedForwardNeuralNetwork.from_layers([ReLU()]))


def test_a_call_is_forward(network):
    network[0].training = network[4].training = False
    assert np.array_equal(network(X), network.forward(X))
    assert network(X).shape == (30, 3)


def test_it_fits_in_a_line(network):
    assert repr(network) == (
        "FeedForwardNeuralNetwork([Augment(image_shape=[3, 2, 2], mirror=True, shift=1), Standardize(12 features), "
        "LinearLayer(12, 7), ReLU(), Dropout(rate=0.25), LinearLayer(7, 3)], 115 parameters)"
    )
    assert repr(Whiten.fit(X, 5)) == "Whiten(12, 5)"


def test_the_table(network):
    network[2].trainable = False
    lines = str(network.summary()).splitlines()
    assert repr(network.summary()) == str(network.summary())  # as a console and a notebook show it
    assert len(lines) == 9
    assert lines[3].split() == ["2", "LinearLayer(12,", "7,", "frozen)", "(N,", "7)", "91"]
    assert lines[6].split()[-1] == "24"
    assert lines[-1].startswith("115 parameters, 91 of them frozen; ")


def test_a_layer_that_says_nothing_of_its_width_has_an_unknown_one(network):
    class Own:
        def forward(self, x):
            return x

        backward = step = forward

        def __repr__(self):
            return "Own()"

    table = FeedForwardNeuralNetwork.from_layers([Own(), *network.layers[2:]]).summary()
    assert table.splitlines()[1].split() == ["0", "Own()", "(N,", "?)"]


def test_from_layers_takes_an_optimizer_and_trains(network):
    own = FeedForwardNeuralNetwork.from_layers((layer for layer in network), optimizer=Adam(0.8))
    assert own.optimizer == Adam(0.8)
    assert own.input_dim == 12
    assert own.output_dim == 3


@pytest.mark.parametrize("name", ["features_in", "output_dim"])
def test_how_many_values_a_layer_of_fastff_takes_and_gives_cannot_be_changed(name):
    for layer in (ReLU(), Dropout(0.5), Standardize.fit(np.eye(3)), LinearLayer(3, 2)):
        before = getattr(layer, name)
        with pytest.raises(AttributeError, match=rf"{type(layer).__name__}.{name} cannot be changed"):
            setattr(layer, name, np.ones(3))
        assert getattr(layer, name) == before


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "layers: none, want at least one"),
        (5, "layers: int, want a list of layers"),
        ("ab", "layers: str, want"),
        ([ReLU], "layers: number 0 is .*ReLU.*, want an object with forward, backward, step"),
        ([LinearLayer(3, 4), ReLU(), LinearLayer(5, 2)], r"number 2, LinearLayer\(5, 2\), takes 5 values, want 4"),
        ([Passing("all")], "number 0, features_in: 'all', want a whole number"),
        ([Passing(np.ones(3))], "number 0, features_in: .*want a whole number"),
    ],
)
def test_what_cannot_be_a_network_is_refused(layers, message):
    with pytest.raises(ArgumentError, match=message):
        FeedForwardNeuralNetwork.from_layers(layers)


@pytest.mark.parametrize("layers", [None, 5, "bfloat16", {"first": ReLU()}])
def test_layers_that_are_no_list_are_refused(layers):
    net = FeedForwardNeuralNetwork(4, 3, [5], seed=0)
    with pytest.raises(ArgumentError, match=f"layers: {type(layers).__name__}, want a list of layers"):
        net.layers = layers
    assert len(net.layers) == 3


@pytest.mark.parametrize("foreign", [0, None, "ReLU", ReLU])
def test_what_is_no_layer_is_named_wherever_it_is_met(foreign):
    x, y = np.ones((6, 4), np.float32), np.arange(6) % 3
    net, other = (FeedForwardNeuralNetwork(4, 3, [5], seed=0) for _ in range(2))
    both, own = Ensemble([net, other]), Trainer(net)
    net.layers[1] = foreign
    for call, method in (
        (lambda: net.forward(x), "forward"), (lambda: net.predict(x), "forward"), (lambda: both.predict(x), "forward"),
        (lambda: evaluate(net, x, y), "forward"), (lambda: own.fit(x, y, epochs=1), "forward"),
        (lambda: net.backward(x[:, :3]), "backward"), (lambda: net.step(0.1), "step"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=f"layers: number 1 is .*, want an object with {method}"):
            call()


def test_networks_of_an_ensemble_that_no_longer_fit_together_are_refused():
    x = np.ones((6, 4), np.float32)
    net, other = (FeedForwardNeuralNetwork(4, 3, [5], seed=0) for _ in range(2))
    both = Ensemble([net, other])
    other.layers = FeedForwardNeuralNetwork(4, 2, [5], seed=0).layers
    with pytest.raises(ArgumentError, match=r"networks\[1\]: output_dim 2, want 3"):
        both.predict_proba(x)
    net.layers = []
    with pytest.raises(ArgumentError, match=r"networks\[0\]: no layer of it says its input_dim"):
        both.predict(x)


@pytest.mark.parametrize("make", [ReLU, lambda: LinearLayer(4, 4), lambda: Dropout(0.5)])
def test_a_layer_that_stands_in_two_places_is_refused_wherever_it_is_met(make):
    """It remembers its last forward only, so the gradient would be wrong in silence."""
    x, y = np.ones((6, 4), np.float32), np.arange(6) % 3
    twice, net = make(), FeedForwardNeuralNetwork(4, 3, [5], seed=0)
    message = "layers: number 2 is the same object as number 0, .*want a layer for each place"
    with pytest.raises(ArgumentError, match=message):
        FeedForwardNeuralNetwork.from_layers([twice, LinearLayer(4, 4), twice, LinearLayer(4, 3)])
    net.layers = [twice, LinearLayer(4, 4), twice, LinearLayer(4, 3)]
    for call in (
        lambda: net.forward(x), lambda: net.predict(x), lambda: net.predict(np.tile(x, (9, 1))),
        lambda: evaluate(net, x, y), lambda: Trainer(net).fit(x, y, epochs=1),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=message):
            call()
