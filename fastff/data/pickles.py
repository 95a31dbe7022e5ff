"""Reads the pickles of the course and of CIFAR-10 without running what a pickle may ask to run.

A pickle is a small program that can call any importable function. Here it may build dicts, lists, tuples, strings and
numbers, and call seven names, for each of which a stand-in of ours answers. NumPy's own array and dtype never see the
pickle's state, so a forged one meets our checks and not C code that trusts it. Nor may a pickle grow: what it makes is
at most as large as its file. Imports NumPy and the data package's own modules only.
"""

import pickle
import re
import struct
from collections.abc import Callable, Iterable
from typing import IO, Any

import numpy as np

from fastff.data.readers import reading
from fastff.errors import DataError

SIMPLE_TYPE = re.compile(r"b1|[iu][1248]|f[248]")


def load_pickle(stream: IO[bytes], source: object) -> dict[str, Any]:
    """The dict in a pickle of any protocol, of Python 2 or 3: plain containers, numbers and NumPy arrays by name.

    Strings of Python 2 come back as bytes, but for the names. Raises DataError, starting with `source`, for a damaged
    pickle, one that names anything but NumPy arrays (nothing of it is imported or called), and arrays of objects.
    """
    with reading(source, "pickle"):
        bounded = _Bounded(stream)
        content = _Unpickler(bounded, source).load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, want a dict")
        return {_text(key): _value(value, bounded.size) for key, value in content.items()}


class _Bounded:
    """A stream that makes no room for what a file merely claims to hold: reads ask for no more than all of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.size = stream.seek(0, 2)
        stream.seek(0)
        self.readline, self._read = stream.readline, stream.read

    def read(self, size: int) -> bytes:
        return self._read(min(size, self.size))


def _value(value: Any, size: int) -> Any:
    """A value of the pickled dict, with an array for its stand-in."""
    if isinstance(value, _Array):
        return value.array()
    # A list may hold itself, or one long row a million times, which would only show where an array is made of it.
    if isinstance(value, (list, tuple)):
        rows = [row for row in value if isinstance(row, (list, tuple))]
        if sum(map(len, rows)) + len(value) > size or any(isinstance(v, (list, tuple)) for row in rows for v in row):
            raise pickle.UnpicklingError("it holds lists in lists that are larger than the file")
    return value


# The unpickler in Python: the one in C sets aside memory for any index a damaged file holds, up to 64 GB.
_PythonUnpickler: Any = pickle._Unpickler


class _Unpickler(_PythonUnpickler):
    def __init__(self, stream: _Bounded, source: object) -> None:
        # Python 2 wrote the bytes of an array as a str: only this encoding hands them on untouched.
        super().__init__(stream, encoding="bytes")
        self.source = source
        self.left = stream.size  # of text that may be encoded

    def find_class(self, module: str, name: str) -> Any:
        # Old NumPy says numpy.core, new NumPy numpy._core; they mean the same functions.
        function = ADMITTED.get((module.replace("numpy._core", "numpy.core"), name))
        if function is None:
            raise DataError(
                f"{self.source}: a pickle that asks for {module}.{name}; want NumPy arrays in plain containers"
            )
        return _Admitted(self._encode if function is _encode else function)

    def _encode(self, text: str, encoding: str) -> bytes:
        self.left -= len(text)
        if self.left < 0:
            raise pickle.UnpicklingError("it encodes more text than it has")
        return _encode(text, encoding)

    def load_bytearray8(self) -> None:
        # As inherited it would first make room for whatever length is claimed.
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def load_setitem(self) -> None:
        _check_keys([self.stack[-2]])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        super().load_dict()

    dispatch = {  # noqa: RUF012 (as pickle has it)
        **_PythonUnpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
    }
    for code in (pickle.EMPTY_SET, pickle.FROZENSET):
        del dispatch[code[0]]
    del code


def _check_keys(keys: Iterable[Any]) -> None:
    # The hash of a tuple in a tuple in a tuple, a million deep, overflows the stack and ends the process.
    for key in keys:
        if not isinstance(key, (str, bytes, int)):
            raise pickle.UnpicklingError(f"a key of type {type(key).__name__}, want texts")


class _Admitted:
    """A function a pickle may call, and do nothing else to: pickles can also set attributes on what they find."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _Array:
    """Stands for an ndarray, which a pickle makes empty first and fills later through __setstate__."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")

    def array(self) -> np.ndarray:
        if self.value is None:
            raise pickle.UnpicklingError("an array without contents")
        return self.value


class _Type:
    """Stands for a dtype: a type code, then the byte order through __setstate__."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = _text(code)
        self.order = "="
        if not SIMPLE_TYPE.fullmatch(self.code):
            raise pickle.UnpicklingError(f"an array of type {self.code!r}, want integers or floats")

    def __setstate__(self, state: tuple) -> None:
        self.order = _text(state[1])
        if self.order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array of structures, want integers or floats")

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: str, axes: Any = None) -> np.ndarray:
    if not isinstance(dtype, _Type) or not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array without type or bytes")
    # reshape refuses a shape that does not fit the bytes. frombuffer would refuse the bytes of an empty array.
    flat = np.frombuffer(data, dtype.numpy()) if data else np.empty(0, dtype.numpy())
    if order == "K":
        array = flat.reshape(shape)
        return array if axes is None else array.transpose(axes)
    return flat.reshape(shape, order=order)  # type: ignore[call-overload]


def _reconstruct(array_class: Any, *_: Any) -> _Array:
    if not isinstance(array_class, _Admitted) or array_class.function is not _Array:
        raise pickle.UnpicklingError("an array of an unknown class")
    return _Array()


def _scalar(dtype: Any, data: Any) -> Any:
    return _from_buffer(data, dtype, (1,), "C")[0]


def _encode(text: str, encoding: str) -> bytes:
    # How Python 3 writes bytes in the protocols of Python 2.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written as {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
