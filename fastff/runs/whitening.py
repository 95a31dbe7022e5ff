"""The layer that whitens a data set, kept beside the compiled kernels: fitting it takes as long as a short training.

It is found again by a hash of all that it follows from: the rows, the layer in front, the number of components, and the
code that fits it. So the processes of a search share it, and so do the runs of tomorrow. Its bits are those of a layer
that is fitted anew.
"""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from fastff.data.rows import Rows
from fastff.errors import ArgumentError, DataError
from fastff.kernels.cache import cache_dir, source
from fastff.nn.preprocessing import Standardize, Whiten
from fastff.system import checkpoint
from fastff.system.blocks import row_blocks

KEPT = 16  # layers, those that were used last: some megabytes each
_CODE = ("engine.products", "nn.components", "nn.preprocessing", "data.statistics", "system.elementary")


def whiten(X: Rows, components: int, after: Standardize | None) -> Whiten:
    """Whiten.fit(X, components, after=after), or what it has returned for the same before."""
    folder = cache_dir()
    if folder is None:
        return Whiten.fit(X, components, after=after)
    path = folder / "whitening" / f"{_key(X, components, after)}.safetensors"
    found = _kept(path, (X.shape[1], components))
    if found is None:
        found = Whiten.fit(X, components, after=after)
        with contextlib.suppress(DataError, OSError):  # without the file the next run fits it again
            path.parent.mkdir(0o700, exist_ok=True)
            checkpoint.save(path, {"projection": found.projection, "shift": found.shift}, {})
            _forget_the_oldest(path.parent)
    return found


def _key(X: Rows, components: int, after: Standardize | None) -> str:
    key = hashlib.sha256(repr((X.shape, X.dtype.str, components)).encode())
    for name in _CODE:
        key.update(hashlib.sha256(source(f"fastff.{name}")).digest())
    for array in () if after is None else (after.mean, after.scale):
        key.update(np.ascontiguousarray(array).data)
    for block in row_blocks(X):
        key.update(np.ascontiguousarray(block).data)
    return key.hexdigest()[:32]


def _kept(path: Path, shape: tuple[int, int]) -> Whiten | None:
    """The layer in a file; None if it is missing, damaged, or of another shape."""
    try:
        arrays, _ = checkpoint.load(path)
        layer = Whiten(arrays["projection"], arrays["shift"])
    except (DataError, ArgumentError, KeyError):
        return None
    with contextlib.suppress(OSError):
        path.touch()
    return layer if layer.projection.shape == shape else None


def _forget_the_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[KEPT:]:
        file.unlink(missing_ok=True)
