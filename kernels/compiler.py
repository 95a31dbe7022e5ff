"""The one place that decides how kernels are compiled and where the machine code is kept.

`kernel` is njit with the project's flags and a cache of its own. Numba's cache sees edits in a function's own file
only and writes beside the source; ours lives in the user's cache directory, in a folder named by a hash of everything
the code depends on: all kernel sources, the CPU and its features, the tile, and the versions of Numba, llvmlite and
NumPy. An unreadable or truncated entry is compiled again, and a cache that cannot be written costs time, never a run.
FASTFF_CACHE_DIR overrides the place.
"""

import hashlib
import os
from pathlib import Path

import llvmlite
import numba
import numpy as np
from llvmlite import binding
from numba.core import caching
from numba.misc.appdirs import AppDirs

from . import target


def _key() -> str:
    parts = [
        target.ISA,
        target.BF16,
        target.FMA,
        binding.get_host_cpu_name(),
        *sorted(f for f, on in target.FEATURES.items() if on),
    ]
    parts += [numba.__version__, llvmlite.__version__, np.__version__]
    digest = hashlib.sha256("\n".join(parts).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def cache_dir() -> Path:
    """The folder of the compiled kernels: FASTFF_CACHE_DIR, or else the user's cache directory."""
    chosen = os.environ.get("FASTFF_CACHE_DIR")
    base = Path(chosen) if chosen else Path(AppDirs("fastff", appauthor=False).user_cache_dir)
    return base / "kernels" / KEY


KEY = _key()


class _Locator(caching._CacheLocator):
    """Names the cache folder; the folder's name carries the key, so the stamp says nothing more."""

    def __init__(self, function: object, file: str) -> None:
        self._py_file = file
        self._line = function.__code__.co_firstlineno  # type: ignore[attr-defined]

    @classmethod
    def from_function(cls, function: object, file: str) -> "_Locator":
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(cache_dir())

    def get_source_stamp(self) -> str:
        return KEY

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Impl(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):
    """Numba's function cache that survives whatever is wrong with the files."""

    _impl_class = _Impl

    def load_overload(self, sig: object, target_context: object) -> object:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # truncated or foreign bytes fail in many ways inside pickle and LLVM: compile again
            self._discard()
            return None

    def save_overload(self, sig: object, data: object) -> None:
        try:
            os.makedirs(self.cache_path, exist_ok=True)
            super().save_overload(sig, data)
        except Exception:  # read-only, full or raced: this process keeps its code, the next one compiles again
            self._discard()

    def _discard(self) -> None:
        index = Path(self._cache_file._index_path)
        try:
            index.unlink(missing_ok=True)
        except OSError:
            return


def kernel(function):
    """njit without the GIL, with IEEE semantics (a NaN is seen, no sum is reordered), inlinable, cached as above."""
    return numba.njit(nogil=True, error_model="numpy", boundscheck=False)(function)


def cached(function):
    """A kernel that Python calls: the ones it is made of are compiled into it, so only this one is cached."""
    dispatcher = kernel(function)
    dispatcher._cache = _Cache(function)
    return dispatcher
