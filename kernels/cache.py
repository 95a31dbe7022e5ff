"""Where the machine code of the kernels is kept, and when it may be loaded again.

What is kept is the code of operations and of the driver, each in files of its own. Numba's cache sees edits in a
function's own file only and writes beside the source; ours lives in the user's cache directory, in a folder named by a
hash of everything that the code depends on: all modules of this package, the CPU and its features, the tile, and the
versions of Python, Numba, llvmlite and NumPy. FASTFF_CACHE_DIR overrides the place.

Whoever can write these files chooses what runs, so they are read only where they belong to this user and nobody else
can write to them. Where that does not hold, or the folder cannot be written to, kernels are compiled in every process,
and one line says so. A file that is damaged is compiled again.
"""

import contextlib
import hashlib
import importlib.util
import io
import marshal
import os
import pickle
import pkgutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding
from numba.core import caching, compiler
from numba.misc.appdirs import AppDirs

from . import cpu


def source(module: str) -> bytes:
    """The source of a module, or its bytecode where that is all there is; from a folder, a zip file or elsewhere."""
    spec = importlib.util.find_spec(module)
    loader: Any = spec and spec.loader
    try:
        return bytes(loader.get_data(loader.get_filename(module)))
    except (AttributeError, ImportError, OSError):  # a loader that keeps modules in no file
        return marshal.dumps(loader.get_code(module), 2)  # version 2: the same bytes in every process


def _key() -> str:
    """A hash of all that machine code depends on."""
    parts = [cpu.ISA, cpu.BF16, cpu.FMA, binding.get_host_cpu_name()]
    parts += sorted(f for f, on in cpu.FEATURES.items() if on)
    parts += [sys.version, numba.__version__, llvmlite.__version__, np.__version__]
    names = sorted(module.name for module in pkgutil.iter_modules(sys.modules[__package__].__path__))
    for name in ("", *(f".{name}" for name in names)):
        parts.append(f"{name} {hashlib.sha256(source(__package__ + name)).hexdigest()}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


KEY = _key()


class _Unusable(Exception):
    """Machine code cannot be kept in, or may not be loaded from, the place that this names."""


_CURE = "let FASTFF_CACHE_DIR name a folder that is yours alone"
_said: list[object] = []


def _say(reason: object) -> None:
    """Say once, where there is a standard error, why kernels are compiled in every process."""
    if not _said and sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # full, or closed
            sys.stderr.write(f"fastff: the kernels are compiled anew in every process, without a cache: {reason}\n")
            sys.stderr.flush()
    _said.append(reason)


def _base() -> Path:
    """The folder that ours are made in: FASTFF_CACHE_DIR, or else the user's cache directory.

    It is never a relative one: what code runs must not depend on the folder that somebody happens to work in.
    """
    if chosen := os.environ.get("FASTFF_CACHE_DIR"):
        if not os.path.isabs(base := os.path.expanduser(chosen)):
            raise _Unusable(f"FASTFF_CACHE_DIR is {chosen!r}, want an absolute path")
        return Path(base)
    if sys.platform == "win32":
        return Path(AppDirs("fastff", appauthor=False).user_cache_dir)
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if sys.platform != "darwin" and os.path.isabs(chosen):  # its specification says to ignore any other
        return Path(chosen, "fastff")
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or not os.path.isdir(home):
        raise _Unusable(f"there is no home folder {home!r}; {_CURE}")
    return Path(home, "Library/Caches" if sys.platform == "darwin" else ".cache", "fastff")


def _check(path: str | Path, descriptor: int | None = None) -> None:
    """_Unusable where a folder or file is not this user's or others can write to it. Windows does not tell."""
    if os.name != "posix":
        return
    try:
        status = os.stat(path if descriptor is None else descriptor)
    except FileNotFoundError:
        return  # it will be made
    except OSError as error:
        raise _Unusable(f"{str(path)!r} cannot be used ({error.strerror}); {_CURE}") from error
    if status.st_uid != os.geteuid():
        raise _Unusable(f"{str(path)!r} belongs to another user (number {status.st_uid}); {_CURE}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _Unusable(f"others can write to {str(path)!r}; forbid it (chmod go-w), or {_CURE}")


def cache_dir() -> Path | None:
    """The folder of the compiled kernels, there or to be made; None, and a line says why, where none can be used."""
    try:
        folder = _base() / "kernels" / KEY
        for part in (folder.parents[1], folder.parent, folder):
            _check(part)
    except _Unusable as reason:
        _say(reason)
        return None
    return folder


def _make(folder: Path) -> None:
    """Make a folder and what is missing above it, for this user alone."""
    for part in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        part.mkdir(0o700, exist_ok=True)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        _check(path, file.fileno())
        return file.read()


class _Files(caching.IndexDataCacheFile):
    """Numba's index and code of a function, on disk: read where it is safe, written for this user alone."""

    def _load_index(self) -> dict[Any, str]:
        try:
            file = io.BytesIO(_read(self._index_path))
        except FileNotFoundError:
            return {}
        if pickle.load(file) != self._version:
            return {}
        stamp, names = pickle.load(file)
        return dict(names) if stamp == self._source_stamp else {}

    def _load_data(self, name: str) -> Any:
        return pickle.loads(_read(self._data_path(name)))

    @contextlib.contextmanager
    def _open_for_write(self, path: str) -> Iterator[Any]:
        with super()._open_for_write(path) as file:
            os.chmod(file.name, 0o600)
            yield file


class Cache:
    """The cache of one function, as Numba asks for it. It survives whatever is wrong with the files."""

    def __init__(self, function: Any, folder: Path) -> None:
        code = function.__code__
        name = f"{Path(code.co_filename).stem}.{function.__qualname__}-{code.co_firstlineno}"
        self._folder: Path | None = folder
        self._files = _Files(str(folder), name, KEY)

    def load_overload(self, signature: object, target: Any) -> Any:
        try:
            kept = self._files.load((signature, target.codegen().magic_tuple()))
            return kept and compiler.CompileResult._rebuild(target, *kept)
        except _Unusable as reason:
            _say(reason)
            self._folder = None
        except Exception:  # truncated or foreign bytes fail in many ways inside pickle and LLVM: compile again
            self._discard()
        return None

    def save_overload(self, signature: object, result: Any) -> None:
        if self._folder is None or result.library.has_dynamic_globals:  # addresses of this process
            return
        try:
            _make(self._folder)
            self._files.save((signature, result.codegen.magic_tuple()), result._reduce())
        except OSError as error:
            if os.name == "posix":  # on Windows, another process may be at the same file
                _say(f"{str(self._folder)!r} cannot be written to ({error.strerror}); {_CURE}")
        except Exception:  # raced: this process keeps its code, the next one compiles again
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._files._index_path)
