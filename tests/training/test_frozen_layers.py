"""Layers with trainable=False keep their parameters, in every way of training; the others learn as ever."""

import numpy as np
import pytest

from fastff import SGD, Adam, ArgumentError, CrossEntropySoftmax, FeedForwardNeuralNetwork, ReLU, Trainer

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(70, 11)).astype(np.float32), rng.integers(0, 3, 70)


def network(frozen=(), own=False, optimizer=None):
    made = FeedForwardNeuralNetwork(11, 3, [9, 8], seed=0, optimizer=optimizer or Adam(weight_decay=0.01))
    for i in frozen:
        made.linear_layers[i].trainable = False
    if own:
        made.layers[1] = type("Own", (ReLU,), {})()
    return made


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 1), (0, 2)])
@pytest.mark.parametrize("optimizer", [Adam(weight_decay=0.01), SGD(0.9)])
def test_only_the_others_change_and_every_way_gives_the_same_bits(frozen, optimizer):
    one, layers, by_hand = (network(frozen, own, optimizer) for own in (False, True, False))
    start = one.parameters()
    for trained in (one, layers):
        Trainer(trained, batch_size=70, seed=1).fit(X, Y, epochs=3)
    trainer, criterion = Trainer(by_hand, batch_size=70, seed=1), CrossEntropySoftmax()
    for epoch in range(3):
        order = trainer.order(epoch, 70)
        criterion.forward(by_hand(X[order]), Y[order])
        by_hand.backward(criterion.backward())
        by_hand.step(1e-3)
    end = one.parameters()
    for i, name in enumerate(("0", "2", "4")):
        assert (end[f"{name}.weight"].tobytes() == start[f"{name}.weight"].tobytes()) == (i in frozen)
        assert one.linear_layers[i].updates == (0 if i in frozen else 3)
    for other in (layers, by_hand):
        assert {k: v.tobytes() for k, v in other.parameters().items()} == {k: v.tobytes() for k, v in end.items()}


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads):
    made = network((1,))
    Trainer(made, batch_size=32, threads=threads).fit(X, Y, epochs=2)
    alone = network((1,))
    Trainer(alone, batch_size=32, threads=1).fit(X, Y, epochs=2)
    assert made.logits(X).tobytes() == alone.logits(X).tobytes()


def test_a_layer_that_is_thawed_starts_its_own_count_of_updates():
    """As torch.optim.Adam counts for each parameter, by which the first step is as long as any first step."""
    made = network((0,))
    Trainer(made, batch_size=70).fit(X, Y, epochs=20)
    before = made.linear_layers[0].weights.copy()
    made.linear_layers[0].trainable = True
    made.optimizer = Adam()
    Trainer(made, batch_size=70).fit(X, Y, epochs=1)
    assert [layer.updates for layer in made.linear_layers] == [1, 21, 21]
    moved = np.abs(made.linear_layers[0].weights - before)
    assert moved.max() <= 1e-3 * (1 + 1e-3)  # the step size: m' / sqrt(v') is 1 then


def test_gradients_are_there_all_the_same():
    made = network((0, 1, 2))
    criterion = CrossEntropySoftmax()
    criterion.forward(made(X), Y)
    made.backward(criterion.backward())
    made.step(0.1)
    assert np.abs(made.linear_layers[0].grad_weights).max() > 0
    assert [layer.updates for layer in made.linear_layers] == [0, 0, 0]


def test_what_would_change_nothing_is_refused():
    with pytest.raises(ArgumentError, match="network: all of its layers are frozen, want one with trainable=True"):
        Trainer(network((0, 1, 2))).fit(X, Y, epochs=1)
    with pytest.raises(ArgumentError, match="trainable"):
        network().linear_layers[0].trainable = "no"

    def thaw(record):
        made.linear_layers[0].trainable = True

    made = network((0,))
    with pytest.raises(ArgumentError, match="trainable: was changed during a fit"):
        Trainer(made).fit(X, Y, epochs=3, on_epoch=thaw)


def test_verbose_prints_a_line_an_epoch_and_changes_nothing(capsys):
    quiet, told = network(), network()
    Trainer(quiet).fit(X, Y, X[:9], Y[:9], epochs=3)
    Trainer(told, verbose=True).fit(X, Y, X[:9], Y[:9], epochs=3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    assert all("validation loss" in line for line in lines)
    assert quiet.logits(X).tobytes() == told.logits(X).tobytes()
