"""One seed gives the same bits by layers or by program, with any number of threads, and beside another trainer."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainers import X_VAL, Y_VAL, C, D, N, Through, X, Y, assert_same_history, assert_same_weights, make, trained

from fastff import (
    SGD,
    Adam,
    Augment,
    CrossEntropySoftmax,
    Dropout,
    FeedForwardNeuralNetwork,
    Standardize,
    Tanh,
    Trainer,
)


def test_the_same_bits_as_a_loop_by_hand():
    recorder = Through()
    _, trainer = trained(layer=recorder)
    assert [len(batch) for batch in recorder.batches] == ([16] * 6 + [7]) * 2
    number = {row.tobytes(): i for i, row in enumerate(X)}
    orders = [[number[row.tobytes()] for row in batch] for batch in recorder.batches]
    for epoch in (orders[:7], orders[7:]):
        assert sorted(i for rows in epoch for i in rows) == list(range(N))  # every row once an epoch
    assert orders[:7] != orders[7:]

    net, criterion, losses = make(), CrossEntropySoftmax(), []
    for rows in orders:
        losses.append(criterion.forward(net.forward(X[rows]), Y[rows]))
        net.backward(criterion.backward())
        net.step(0.01)
    program_net, program_trainer = trained()
    assert_same_weights(net, program_net)
    assert losses == trainer.history.batch_losses == program_trainer.history.batch_losses


@settings(max_examples=25)
@given(
    rows=st.integers(1, 90),
    widths=st.lists(st.integers(1, 70), max_size=3),
    batch_size=st.integers(1, 100),
    threads=st.integers(2, 7),
    optimizer=st.sampled_from([Adam(weight_decay=0.1), SGD(0.9, True), Adam(bias_correction="constant")]),
    tanh=st.booleans(),
)
def test_layers_program_and_threads_agree_at_any_size(rows, widths, batch_size, threads, optimizer, tanh):
    results = []
    for layer, count in ((None, 1), (None, threads), (Through(), None)):
        net = make(layer=layer, widths=widths, optimizer=optimizer)
        if tanh:
            net.layers = [Tanh() if hasattr(old, "function") else old for old in net.layers]
        trainer = Trainer(net, batch_size=batch_size, step_size=0.01, threads=count)
        trainer.fit(X[:rows], Y[:rows], X_VAL, Y_VAL, epochs=2)
        results.append((net, trainer.history))
    for net, history in results[1:]:
        assert_same_weights(net, results[0][0])
        assert history.batch_losses == results[0][1].batch_losses
        assert history.batch_accuracies == results[0][1].batch_accuracies


@pytest.mark.parametrize("dropout", [None, 0.4])
def test_the_same_bits_on_any_number_of_threads(dropout):
    one = trained(dropout=dropout, widths=(100, 37), threads=1)
    for threads in (2, 3, 7, None):
        other = trained(dropout=dropout, widths=(100, 37), threads=threads)
        assert_same_weights(other[0], one[0])
        assert_same_history(other[1].history, one[1].history)


def test_augmentation_gives_the_same_bits_on_any_number_of_threads():
    pictures = np.random.default_rng(0).integers(0, 256, (N, 48), dtype=np.uint8)

    def run(threads):
        net = FeedForwardNeuralNetwork(48, C, 20, 2, seed=0)
        net.layers[:0] = [Augment((3, 4, 4), shift=1, seed=0), Standardize.fit(pictures)]
        history = Trainer(net, batch_size=16, threads=threads).fit(pictures, Y, pictures, Y, epochs=2)
        return net, history

    one, history = run(1)
    for threads in (2, 3, 7):
        other, its_history = run(threads)
        assert_same_weights(other, one)
        assert_same_history(its_history, history)


def test_a_seed_decides_the_order():
    assert_same_weights(trained(seed=1)[0], trained(seed=1)[0])
    with pytest.raises(AssertionError):
        assert_same_weights(trained(seed=1)[0], trained(seed=2)[0])


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_the_trainers_seed_decides_dropout_too(layer):
    def run(seed):
        net = make(layer=layer and layer())
        net.layers.insert(-1, Dropout(0.5))  # with no seed of its own
        Trainer(net, batch_size=16, step_size=0.01, seed=seed).fit(X, Y, epochs=3)
        return net

    assert_same_weights(run(1), run(1))


def test_each_epoch_and_batch_drops_others():
    net = FeedForwardNeuralNetwork(D, C, [], seed=0)
    net.layers.insert(0, Dropout(0.5, seed=0))
    # with a step size this small the weights stay, so losses of the same rows differ by their masks alone
    trainer = Trainer(net, SGD(), batch_size=1, step_size=1e-30)
    losses = np.array(trainer.fit(np.tile(X[:1], (8, 1)), np.zeros(8, int), epochs=4).batch_losses)
    assert len(np.unique(losses)) > 8


def test_two_trainers_in_two_threads_do_not_disturb_each_other():
    alone = [trained(epochs=5, seed=seed, threads=2, dropout=0.2)[0] for seed in (1, 2)]
    together, start = {}, threading.Barrier(2)

    def run(seed):
        start.wait()
        together[seed] = trained(epochs=5, seed=seed, threads=2, dropout=0.2)[0]

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_weights(together[1], alone[0])
    assert_same_weights(together[2], alone[1])
