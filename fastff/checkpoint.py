"""Weights and training state on disk: named arrays and a dictionary in one safetensors file, readable without pickle.

Any safetensors reader opens the file. A checksum lies beside the dictionary, because the format itself would not notice
a byte that changed among the weights. Imports numpy, safetensors, fastff.errors and fastff.files only.
"""

import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fastff.errors import ArgumentError, DataError
from fastff.files import replacing

_DTYPES = ("float32", "float64", "int64", "uint8")
_KINDS = ("F32", "F64", "I64", "U8")  # the same in safetensors' words
_METADATA_KEY, _CHECKSUM_KEY = "fastff", "fastff.crc32"


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write `arrays` and `metadata` to `path`, whole or not at all.

    arrays: float32, float64, int64 or uint8, of any shape and strides, NaNs included.
    metadata: what JSON can hold (tuples come back as lists, keys as strings).

    Raises ArgumentError for what cannot be stored, DataError when the file cannot be written.
    """
    plain = {}
    for name, array in arrays.items():
        if name == "__metadata__":
            raise ArgumentError("arrays: the name '__metadata__' is reserved by safetensors, choose another")
        if array.dtype.name not in _DTYPES:
            raise ArgumentError(f"arrays[{name!r}] is {array.dtype}, wanted one of {', '.join(_DTYPES)}")
        # safetensors reads the memory as it lies, so it must lie in order.
        plain[name] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    try:
        text = json.dumps(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"metadata must be what JSON can hold: {error}") from error
    notes = {_METADATA_KEY: text, _CHECKSUM_KEY: _checksum(plain, text)}
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, metadata=notes)
    except SafetensorError as error:  # the disk is full, for one
        raise DataError(f"cannot write {path}: {_one_line(error)}") from error


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read back what `save` wrote: (arrays, metadata); the arrays are writable and independent of the file.

    Raises DataError when the file is missing, not safetensors, cut short, altered, or not written by `save`.
    """
    try:
        with open(path, "rb"):  # Python tells better than safetensors why a file cannot be opened
            pass
        with safe_open(path, framework="np") as file:
            notes = file.metadata() or {}
            if _METADATA_KEY not in notes or _CHECKSUM_KEY not in notes:
                raise DataError(f"{path} was not written by fastff: it has no {_METADATA_KEY!r} metadata")
            arrays = {}
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                kind = file.get_slice(name).get_dtype()
                if kind not in _KINDS:
                    raise DataError(f"{path}: the array {name!r} is {kind}, wanted one of {', '.join(_KINDS)}")
                arrays[name] = file.get_tensor(name)
    except OSError as error:
        raise DataError(f"cannot read {path}: {_one_line(error)}") from error
    except SafetensorError as error:
        raise DataError(f"{path} is not a whole safetensors file: {_one_line(error)}") from error
    text = notes[_METADATA_KEY]
    if notes[_CHECKSUM_KEY] != _checksum(arrays, text):
        raise DataError(f"{path} is corrupted: its content does not match its checksum, restore it from a copy")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:  # a checksum that is right says nothing of who made it
        raise DataError(f"{path} is corrupted: its metadata is not JSON: {_one_line(error)}") from error
    if not isinstance(metadata, dict):
        raise DataError(f"{path} is corrupted: its metadata is a {type(metadata).__name__}, want a dictionary")
    return arrays, metadata


def _checksum(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """CRC-32 over the metadata's text and every array's name, type, shape and bytes."""
    crc = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return f"{crc:08x}"


def _one_line(error: Exception) -> str:
    """An error's reason without the file name that the caller's message already gives."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split())
