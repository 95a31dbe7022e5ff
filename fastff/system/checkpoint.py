"""Weights and training state on disk: named arrays and a dictionary in one safetensors file, readable without pickle.

Any safetensors reader opens the file. A checksum is stored beside the dictionary, because the format itself does not
detect a changed byte among the weights. The content is never in memory as a whole: safetensors' own writer wants all
arrays at once, so this module writes the format itself; files, which may be forged, are read by safetensors.
"""

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from fastff.errors import ArgumentError, DataError
from fastff.system.blocks import Sliceable, row_blocks
from fastff.system.files import replacing
from fastff.system.paths import expanded

# The names of types in safetensors, ordered as by its own writer: larger types first, so that every array is aligned
_KINDS = {"int64": "I64", "float64": "F64", "float32": "F32", "uint8": "U8"}
_TYPES = {kind: np.dtype(name) for name, kind in _KINDS.items()}
_METADATA_KEY, _CHECKSUM_KEY = "fastff", "fastff.crc32"


def save(path: str | os.PathLike[str], arrays: Mapping[str, Sliceable], metadata: Mapping[str, Any]) -> None:
    """Write `arrays` and `metadata` to `path`, whole or not at all.

    arrays: float32, float64, int64 or uint8, of any shape and strides, NaNs included; copied a block at a time.
    metadata: anything that JSON can hold; tuples are read back as lists, keys as strings.

    Raises ArgumentError for arrays or metadata that cannot be stored, DataError if the file cannot be written.
    """
    for name, array in arrays.items():
        if name == "__metadata__":
            raise ArgumentError("arrays: the name '__metadata__' is reserved by safetensors, choose another")
        if array.dtype.name not in _KINDS:
            raise ArgumentError(f"arrays[{name!r}] is {array.dtype}, wanted one of {', '.join(_KINDS)}")
    try:
        text = json.dumps(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"metadata must be what JSON can hold: {error}") from error
    with replacing(path) as temporary, open(temporary, "wb") as file:
        _write(file, arrays, text)


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read back what `save` wrote: (arrays, metadata); the arrays are writable and independent of the file.

    Raises DataError if the file is missing, not safetensors, cut short, altered, or not written by `save`.
    """
    with reading(path) as (arrays, metadata):
        return {name: np.asarray(array) for name, array in arrays.items()}, metadata


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[tuple[dict[str, Sliceable], dict[str, Any]]]:
    """As `load`, with a file that stays open for the block: arrays are read only when they are sliced or converted."""
    path = expanded(path)
    with ExitStack() as stack:
        try:
            with open(path, "rb") as plain:  # its errors say more clearly than safetensors' why it cannot be opened
                content = _checked(stack.enter_context(safe_open(path, framework="np")), path)
                header = plain.read(int.from_bytes(plain.read(8), "little"))
            if not header.rstrip(b" ").endswith(b"}"):  # safetensors takes any white space behind it
                raise DataError(f"{path} is corrupted: its header is not padded with spaces, restore it from a copy")
        except OSError as error:
            raise DataError(f"cannot read {path}: {_one_line(error)}") from error
        except SafetensorError as error:
            raise DataError(f"{path} is not a whole safetensors file: {_one_line(error)}") from error
        yield content


def _checked(file: Any, path: object) -> tuple[dict[str, Sliceable], dict[str, Any]]:
    """The arrays and metadata of an open file, after comparing all of its content with the checksum."""
    notes = file.metadata() or {}
    if _METADATA_KEY not in notes or _CHECKSUM_KEY not in notes:
        raise DataError(f"{path} was not written by fastff: it has no {_METADATA_KEY!r} metadata")
    arrays: dict[str, Sliceable] = {}
    for name in file.keys():  # noqa: SIM118 (not a mapping)
        kind = file.get_slice(name).get_dtype()
        if kind not in _TYPES:
            raise DataError(f"{path}: the array {name!r} is {kind}, wanted one of {', '.join(_TYPES)}")
        arrays[name] = _Stored(file, name)
    text = notes[_METADATA_KEY]
    crc = zlib.crc32(text.encode())
    for name in sorted(arrays):
        crc = _sum_up(crc, name, arrays[name])
    if notes[_CHECKSUM_KEY] != f"{crc:08x}":
        raise DataError(f"{path} is corrupted: its content does not match its checksum, restore it from a copy")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:  # a forged file can have the right checksum
        raise DataError(f"{path} is corrupted: its metadata is not JSON: {_one_line(error)}") from error
    if not isinstance(metadata, dict):
        raise DataError(f"{path} is corrupted: its metadata is a {type(metadata).__name__}, want a dictionary")
    return arrays, metadata


class _Stored:
    """An array in an open file; a Sliceable, whose rows are read when they are asked for.

    It keeps nothing that has the file mapped beyond its end: Windows replaces no such file.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name, found = file, name, file.get_slice(name)
        self.shape, self.dtype = tuple(found.get_shape()), _TYPES[found.get_dtype()]

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, stop, _ = rows.indices(self.shape[0])  # safetensors refuses a slice beyond the end
        part: np.ndarray = self._file.get_slice(self._name)[first:stop]
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole: np.ndarray = self._file.get_tensor(self._name)
        return whole if dtype is None else whole.astype(dtype, copy=False)


def _write(file: BinaryIO, arrays: Mapping[str, Sliceable], text: str) -> None:
    """Write the header's length (8 bytes), the header (JSON with the place of every array), and the arrays."""
    places: dict[str, dict[str, Any]] = {}
    end = 0
    order = list(_KINDS)
    for name in sorted(arrays, key=lambda name: (order.index(arrays[name].dtype.name), name)):
        array = arrays[name]
        start, end = end, end + math.prod(array.shape) * array.dtype.itemsize
        places[name] = {"dtype": _KINDS[array.dtype.name], "shape": array.shape, "data_offsets": (start, end)}

    def header(crc: int) -> bytes:
        notes = {_METADATA_KEY: text, _CHECKSUM_KEY: f"{crc:08x}"}
        content = json.dumps({"__metadata__": notes, **places}, separators=(",", ":")).encode()
        content += b" " * (-len(content) % 8)
        return len(content).to_bytes(8, "little") + content

    crc, first = zlib.crc32(text.encode()), len(header(0))
    for name in sorted(arrays):
        file.seek(first + places[name]["data_offsets"][0])
        crc = _sum_up(crc, name, arrays[name], file)
    file.seek(0)
    file.write(header(crc))


def _sum_up(crc: int, name: str, array: Sliceable, file: BinaryIO | None = None) -> int:
    """Continue a CRC-32 with an array's name, type, shape and bytes, and write these bytes to `file` if it is given."""
    crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), crc)
    for block in row_blocks(array):
        content = np.ascontiguousarray(block, block.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
        crc = zlib.crc32(content, crc)
        if file is not None:
            file.write(content)
    return crc


def _one_line(error: Exception) -> str:
    """An error's reason in one line, without the file name, which the caller's message already has."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split())
