"""Arrays whose memory kernels know by its address must stay where they are.

ndarray.resize(refcheck=False) frees the memory of an array whoever else uses it, but for one that has a weak reference:
there NumPy raises ValueError. So an array is held by a weak reference to it and to all arrays that it is a view of.
"""

import weakref
from typing import Any

import numpy as np

_HELD: dict[int, "weakref.ref[np.ndarray]"] = {}


def hold(array: np.ndarray) -> None:
    """Keep an array of ours from being resized as long as it lives."""
    for reference in references(array):
        _HELD[id(reference)] = reference


def references(array: Any) -> list["weakref.ref[np.ndarray]"]:
    """What keeps an array and all that it is a view of from being resized, as long as the result is kept."""
    found = []
    while isinstance(array, np.ndarray):
        found.append(weakref.ref(array, _forget))
        array = array.base
    return found


def _forget(reference: "weakref.ref[np.ndarray]") -> None:
    _HELD.pop(id(reference), None)
