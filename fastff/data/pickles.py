"""Reads the pickles of the course and of CIFAR-10 without calling the functions that a pickle names.

A pickle is a small program that can call any importable function. Here it may build dicts, lists, tuples, strings and
numbers, and seven functions (see ADMITTED) are replaced by ours; a pickle that names another one is refused. NumPy's
C code for unpickling trusts the contents, so arrays and dtypes are made here, after checks. What a pickle builds is at
most as large as its file.
"""

import pickle
import re
import struct
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from fastff.data.readers import reading
from fastff.errors import DataError

SIMPLE_TYPE = re.compile(r"b1|[iu][1248]|f[248]")


def load_pickle(stream: IO[bytes], source: object) -> dict[str, Any]:
    """The dict in a pickle of any protocol, of Python 2 or 3; its values are plain containers, numbers, NumPy arrays.

    Keys are returned as str, other strings of Python 2 as bytes. Raises DataError, starting with `source`, for a
    damaged pickle, for one that names other functions than NumPy's (which are not imported), and for object arrays.
    """
    with reading(source, "pickle"):
        bounded = _Bounded(stream)
        content = _Unpickler(bounded, source).load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, want a dict")
        return {_text(key): _value(value, bounded.size) for key, value in content.items()}


class _Bounded:
    """A stream whose reads ask for at most the size of the file, however many bytes a forged pickle declares."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.size = stream.seek(0, 2)
        stream.seek(0)
        self.readline, self._read = stream.readline, stream.read

    def read(self, size: int) -> bytes:
        return self._read(min(size, self.size))


def _value(value: Any, size: int) -> Any:
    """A value of the pickled dict; an array if the unpickler made an _Array of it."""
    if isinstance(value, _Array):
        if value.value is None:
            raise pickle.UnpicklingError("an array without contents")
        return value.value
    # A list may hold itself, or the same long row a million times: an array made of it would be larger than the file.
    if isinstance(value, (list, tuple)):
        rows = [row for row in value if isinstance(row, (list, tuple))]
        if sum(map(len, rows)) + len(value) > size or any(isinstance(v, (list, tuple)) for row in rows for v in row):
            raise pickle.UnpicklingError("it holds lists in lists that are larger than the file")
    return value


# The unpickler in Python: the one in C allocates a memo for the largest index in a damaged file, up to 64 GB.
_PythonUnpickler: Any = pickle._Unpickler


def _with_checked_keys(code: bytes, keys: slice) -> Callable[[Any], None]:
    """The unpickler's method for an opcode that adds items to a dict, whose keys are at `keys` of the stack."""
    load = _PythonUnpickler.dispatch[code[0]]

    def checked(unpickler: Any) -> None:
        # Hashing a tuple nested a million deep overflows the stack, which ends the process.
        for key in unpickler.stack[keys]:
            if not isinstance(key, (str, bytes, int)):
                raise pickle.UnpicklingError(f"a key of type {type(key).__name__}, want texts")
        load(unpickler)

    return checked


class _Unpickler(_PythonUnpickler):
    def __init__(self, stream: _Bounded, source: object) -> None:
        # Python 2 wrote the bytes of an array as a str: only this encoding leaves them unchanged.
        super().__init__(stream, encoding="bytes")
        self.source = source
        self.left = stream.size  # characters that may still be encoded

    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 renamed numpy.core to numpy._core; the functions are the same.
        admitted = {**ADMITTED, ("_codecs", "encode"): self._encode}
        function = admitted.get((module.replace("numpy._core", "numpy.core"), name))
        if function is None:
            raise DataError(
                f"{self.source}: a pickle that asks for {module}.{name}; want NumPy arrays in plain containers"
            )
        return _Admitted(function)

    def _encode(self, text: str, encoding: str) -> bytes:
        # Python 3 writes bytes as text that this function encodes, in the protocols of Python 2.
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes written as {encoding!r}")
        self.left -= len(text)
        if self.left < 0:
            raise pickle.UnpicklingError("it encodes more text than it has")
        return text.encode("latin1")

    def load_bytearray8(self) -> None:
        # The inherited method allocates the declared length before it reads.
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch = {  # noqa: RUF012 (as pickle has it)
        **_PythonUnpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.SETITEM[0]: _with_checked_keys(pickle.SETITEM, slice(-2, -1)),
        pickle.SETITEMS[0]: _with_checked_keys(pickle.SETITEMS, slice(None, None, 2)),
        pickle.DICT[0]: _with_checked_keys(pickle.DICT, slice(None, None, 2)),
    }
    for code in (pickle.EMPTY_SET, pickle.FROZENSET):
        del dispatch[code[0]]
    del code


class _Admitted:
    """A function that a pickle may call. The wrapper keeps a pickle from setting attributes on it."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _Array:
    """Takes the place of an ndarray: a pickle makes an empty one, then passes its contents to __setstate__."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")


class _Type:
    """Takes the place of a dtype: a pickle makes it from a type code, then passes the byte order to __setstate__."""

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
    # reshape refuses a shape that does not fit the bytes. frombuffer refuses the empty buffer of an empty array.
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


# What a pickle may call, beside _codecs.encode, and our function in its place
ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("__builtin__", "bytes"): lambda: b"",  # in the protocols of Python 2 only empty bytes are written so
}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
