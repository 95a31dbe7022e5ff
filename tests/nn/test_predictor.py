"""A few rows at a time: the same answers as many rows, whatever happens to the network between calls."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastff import ArgumentError, DataError, Dropout, Ensemble, FeedForwardNeuralNetwork, Standardize
from fastff.nn.predictor import FEW_ROWS as ROWS

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 255, (200, 20)).astype(np.float32)


def make(*extra):
    network = FeedForwardNeuralNetwork(20, 3, [17, 9], seed=0)
    network.layers = [Standardize.fit(X), *network.layers, *extra]
    return network


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int16])
def test_few_rows_have_the_bits_of_many(dtype):
    network, rows = make(), X.astype(dtype)
    many = network.logits(rows)
    for count in (1, 2, ROWS, ROWS + 1):
        np.testing.assert_array_equal(network.logits(rows[:count]), many[:count])
        np.testing.assert_array_equal(network.predict(rows[:count]), many[:count].argmax(1))


def test_it_follows_the_network():
    network = make()
    before = network.logits(X[:1])
    network.layers[1].weights[:] = 0.0
    network.layers[-1].bias[:] = 5.0
    assert (network.logits(X[:1]) == network.logits(X)[:1]).all()
    assert (network.logits(X[:1]) != before).any()
    network.layers.insert(2, Dropout(0.5, seed=0))
    assert (network.logits(X[:1]) == network.logits(X)[:1]).all()
    network.layers = make().layers
    assert (network.logits(X[:1]) == before).all()


def test_results_are_the_callers_own():
    network = make()
    one = network.predict_proba(X[:1])
    kept = one.copy()
    network.predict_proba(X[1:2])
    assert (one == kept).all()
    one[:] = 0
    assert (network.predict_proba(X[:1]) == kept).all()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_a_copy_answers_for_itself(duplicate):
    network = make()
    before = network.logits(X[:1])
    twin = duplicate(network)
    network.layers[1].weights = np.zeros((20, 17))
    del network
    assert (twin.logits(X[:1]) == before).all()


def test_threads_do_not_mix_their_rows():
    network = make()
    many = network.logits(X)
    with ThreadPoolExecutor(8) as pool:
        for i, z in enumerate(pool.map(lambda i: network.logits(X[i : i + 1]), [*range(len(X))] * 5)):
            assert (z == many[i % len(X)]).all()


def test_wrong_rows_are_refused_after_right_ones():
    network = make()
    network.predict(X[:1])
    for wrong in (X[:1, :5], X[:0], X[0], [["a"] * 20]):
        with pytest.raises((DataError, ArgumentError)):
            network.predict(wrong)


@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_without_a_most_likely_class_is_named(rows, value):
    """argmax would say class 0."""
    network = FeedForwardNeuralNetwork(4, 3, [5], seed=0)
    X = np.ones((rows, 4), np.float32)
    X[2, 1] = value
    for model in (network, Ensemble([network, network])):
        with pytest.raises(
            DataError, match=r"^X: the network gives nan for row 2, want rows and weights of finite numbers$"
        ):
            model.predict(X)
    assert np.isnan(network.predict_proba(X)[2]).all()
