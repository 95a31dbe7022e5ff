"""Arrays whose memory kernels know by its address must stay where they are.

ndarray.resize(refcheck=False) frees the memory of an array whoever else uses it, but for one that has a weak reference:
there NumPy raises ValueError. So an array is held by a weak reference to it and to all arrays that it is a view of.
A memory map stays where it is, but its file may become shorter.
"""

import mmap
import weakref
from typing import Any

import numpy as np

from fastff.errors import DataError

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


def check_whole(array: Any, name: str) -> None:
    """DataError for a memory map of a file that has become shorter: to read it would end the process."""
    base = getattr(array, "base", None)
    while isinstance(base, np.ndarray):
        array, base = base, base.base
    if isinstance(array, np.memmap) and isinstance(base, mmap.mmap):
        found, wanted = base.size(), array.offset + array.nbytes
        if found < wanted:
            raise DataError(f"{name}: {array.filename} has only {found:,} bytes of the {wanted:,} that are mapped")


def _forget(reference: "weakref.ref[np.ndarray]") -> None:
    _HELD.pop(id(reference), None)
