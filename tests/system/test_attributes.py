"""An attribute is as right when it is assigned as when it was made, and a name that a class lacks is refused."""

import copy
import pickle

import pytest

from fastff.errors import ArgumentError
from fastff.system.arguments import check_size
from fastff.system.attributes import Absent, Checked, Closed, Fixed


class Layer(Closed):
    width = Fixed()
    depth = Absent(lambda value: check_size("depth", value))
    rows = Checked(lambda value: check_size("rows", value))

    def __init__(self, width, rows):
        self.width, self.rows, self._seen = width, rows, 0

    def reset(self):
        self.rows = 1


Layer.__module__ = "fastff.somewhere"


class Own(Layer):
    pass


def test_what_is_assigned_is_checked_as_what_it_was_made_with():
    layer = Layer(3, 4)
    layer.rows = 5
    assert layer.rows == 5
    with pytest.raises(ArgumentError, match=r"^rows: 0, want"):
        layer.rows = 0
    assert layer.rows == 5
    with pytest.raises(ArgumentError, match=r"^rows: -1, want"):
        Layer(3, -1)


def test_what_defines_memory_is_set_once():
    layer = Layer(3, 4)
    with pytest.raises(AttributeError, match=r"^Layer.width cannot be changed"):
        layer.width = 4
    assert layer.width == 3


def test_what_a_class_has_not_only_a_subclass_of_ones_own_may_set():
    layer, own = Layer(3, 4), Own(3, 4)
    with pytest.raises(AttributeError, match=r"^Layer.depth cannot be changed"):
        layer.depth = 4
    own.depth = 5
    assert (Layer.depth, layer.depth, own.depth) == (None, None, 5)
    with pytest.raises(ArgumentError, match=r"^depth: 'deep', want a whole number"):
        own.depth = "deep"
    own.depth = None
    assert own.depth is None


def test_a_name_that_the_class_does_not_have_is_refused_with_those_it_has():
    layer = Layer(3, 4)
    with pytest.raises(AttributeError, match=r"^Layer has no attribute 'W', but depth, rows, width$"):
        layer.W = 1
    Own(3, 4).W = 1  # a subclass of somebody's own may


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_have_the_same_attributes(again):
    layer = Own(3, 4)
    layer.rows = 9
    other = again(layer)
    assert (other.width, other.rows) == (3, 9)
    with pytest.raises(AttributeError):
        other.width = 5
