"""Networks with layers of the user's own, trained layer by layer."""

import numpy as np
import pytest
from trainers import X_VAL, Y_VAL, C, D, N, Through, X, Y, assert_same_weights, make

from fastff import (
    Augment,
    CrossEntropySoftmax,
    Dropout,
    FeedForwardNeuralNetwork,
    LinearLayer,
    Sigmoid,
    Trainer,
    evaluate,
)


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


class Clipped(LinearLayer):
    """A first layer with the contract's own backward, of one argument."""

    def backward(self, grad):
        return super().backward(np.clip(grad, -1, 1))


def test_a_first_layer_of_the_users_own_that_extends_linear_layer_trains():
    net = FeedForwardNeuralNetwork.from_layers([Clipped(D, 9, seed=0), Sigmoid(), LinearLayer(9, C, seed=1)])
    plain = FeedForwardNeuralNetwork.from_layers([LinearLayer(D, 9, seed=0), Sigmoid(), LinearLayer(9, C, seed=1)])
    for each in (net, plain):
        Trainer(each, batch_size=16).fit(X, Y, epochs=2)  # whose gradients are far below 1
    assert_same_weights(net, plain)


def test_a_network_that_ends_in_a_layer_of_the_users_own_may_be_watched_by_its_auc():
    net = FeedForwardNeuralNetwork.from_layers([LinearLayer(D, C, seed=0), Through()])
    trainer = Trainer(net, monitor="val_auc")
    trainer.fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert trainer.best.value > 0


class Skipping(FeedForwardNeuralNetwork):
    """A network with a forward of the user's own."""

    def forward(self, X):
        return super().forward(X / 255 - 0.5)


def test_a_network_whose_forward_is_overridden_is_called_wherever_it_is_used():
    rows = np.random.default_rng(3).integers(0, 256, (300, D)).astype(np.float32)
    labels = (rows[:, 0] > 127).astype(np.int64)
    net = Skipping(D, 2, [16], seed=0)
    trainer = Trainer(net, batch_size=32, step_size=0.01)
    record = trainer.fit(rows, labels, rows, labels, epochs=20).epochs[-1]
    assert record.val_accuracy > 0.95
    logits = net.forward(rows)
    np.testing.assert_array_equal(net.predict(rows), logits.argmax(1))
    np.testing.assert_allclose(net.logits(rows), logits, rtol=1e-5)
    loss, accuracy = evaluate(net, rows, labels, 64)
    assert accuracy == (logits.argmax(1) == labels).mean() == record.val_accuracy
    assert loss == pytest.approx(CrossEntropySoftmax().forward(logits, labels), rel=1e-5)


@pytest.mark.parametrize("kind", [Dropout, Augment])
@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_a_random_layer_that_is_not_training_changes_nothing_in_a_fit_either(kind, layer):
    quiet = Dropout(0.8) if kind is Dropout else Augment((1, 1, D), mirror=True)
    quiet.training = False
    losses = []
    for between in (quiet, None):
        net = make(layer=layer and layer())
        if between is not None:
            net.layers.insert(0, between)
        losses.append(Trainer(net, batch_size=16).fit(X, Y, epochs=2).batch_losses)
    assert losses[0] == losses[1]
