"""Arguments by the names that other libraries have: a TypeError that says what they are called here."""

import inspect

import pytest

import fastff
from fastff import SGD, Adam, FeedForwardNeuralNetwork, LinearLayer, Trainer
from fastff.system.names import INSTEAD


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
