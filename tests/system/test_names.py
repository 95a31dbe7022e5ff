"""What other libraries call otherwise: a TypeError or an AttributeError that says what it is called here."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import fastff
from fastff import SGD, Adam, FeedForwardNeuralNetwork, LinearLayer, Trainer
from fastff.system.names import ATTRIBUTES_INSTEAD, INSTEAD


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, names in INSTEAD.items() for name in names])
def test_every_such_name_is_refused_with_what_is_wanted(what, name):
    kind, _, method = what.partition(".")
    function = getattr(getattr(fastff, kind), method or "__init__")
    assert name not in inspect.signature(function).parameters
    made = {"LinearLayer": (3, 2), "FeedForwardNeuralNetwork": (3, 2, [4]), "Trainer": (None,)}.get(kind, ())
    arguments = (None,) if method else (object.__new__(getattr(fastff, kind)), *made)
    with pytest.raises(TypeError) as caught:
        function(*arguments, **{name: 0.1})
    assert str(caught.value) == f"{what} has no argument {name!r}, want {INSTEAD[what][name]}"


def test_other_names_are_pythons_own_error_and_right_ones_pass():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Adam(colour=1)
    assert (Adam(beta1=0.5).beta1, SGD(momentum=0.5).momentum) == (0.5, 0.5)
    network = FeedForwardNeuralNetwork(3, 2, hidden_dim=[4], seed=0)
    assert isinstance(network[0], LinearLayer)
    assert Trainer(network, step_size=0.1).step_size == 0.1


WITH_ATTRIBUTES = {
    "FeedForwardNeuralNetwork": lambda: FeedForwardNeuralNetwork(2, 2, [3]),
    "Trainer": lambda: Trainer(FeedForwardNeuralNetwork(2, 2, [3])),
    "History": lambda: Trainer(FeedForwardNeuralNetwork(2, 2, [3])).history,
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ATTRIBUTES_INSTEAD for name in ATTRIBUTES_INSTEAD[kind]]
)
def test_attributes_of_other_libraries_are_answered_by_ours(kind, name):
    one = WITH_ATTRIBUTES[kind]()
    assert not hasattr(one, name)
    with pytest.raises(AttributeError) as caught:
        getattr(one, name)
    assert str(caught.value) == f"{kind} has no attribute {name!r}, want {ATTRIBUTES_INSTEAD[kind][name]}"


def test_other_attributes_are_answered_as_python_does():
    network = FeedForwardNeuralNetwork(2, 2, [3])
    with pytest.raises(AttributeError, match=r"^'FeedForwardNeuralNetwork' object has no attribute 'nothing'$"):
        network.nothing  # noqa: B018
    again = pickle.loads(pickle.dumps(copy.deepcopy(network)))
    np.testing.assert_array_equal(again.logits(np.ones((1, 2))), network.logits(np.ones((1, 2))))


def test_a_trainer_shows_itself_in_a_line():
    trainer = Trainer(FeedForwardNeuralNetwork(2, 2, [3]), SGD(0.9), batch_size=8)
    line = "Trainer(FeedForwardNeuralNetwork([LinearLayer(2, 3), ReLU(), LinearLayer(3, 2)], 17 parameters), SGD("
    assert repr(trainer).startswith(line)
    assert repr(trainer).endswith("), batch_size=8, step_size=0.001; 0 epochs done)")
