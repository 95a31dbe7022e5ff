"""Reads what NumPy writes: data sets in an .npz file or a folder of .npy files, and single arrays.

NumPy's own reader evaluates an array's header as a Python expression, and allocates the declared size before it looks
whether the file has as many bytes. Here three regular expressions read the header, and the size is checked first.
"""

import math
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import numpy as np

from fastff.data.dataset import SPLITS, Split
from fastff.data.readers import contents, pieces, reading
from fastff.errors import DataError
from fastff.system.limits import check_unpacked

LONGEST_HEADER = 10_000  # characters; the header of an array of numbers has about 100
DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>=|]?[?biufcSUVO]\d*)['"]""")
ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([\d\sL,]*)\)""")
NPY_NAMES = frozenset(f"{a}_{split}.npy" for split in SPLITS for a in "xy")


def read_npz(path: Path) -> dict[str, Split]:
    """The splits in an .npz file: x_train and y_train, and x_val, y_val, x_test and y_test if it has them."""
    with _open_npz(path) as (names, read):
        return {s: (read(x), read(y)) for s, (x, y) in _pairs(names, path, "").items()}


def read_npy_folder(folder: Path) -> dict[str, Split]:
    """The splits in a folder of x_train.npy, y_train.npy and so on; the arrays are read-only memory maps."""
    names = _pairs(contents(folder), folder, ".npy")
    return {s: (open_npy(folder / x), open_npy(folder / y)) for s, (x, y) in names.items()}


def read_array(path: Path) -> np.ndarray:
    """The array of an .npy file, as a read-only memory map, or of an .npz file: its only one, or the one called x.

    Shape, type and values are as they were written. Raises DataError for any other file.
    """
    if path.suffix.lower() != ".npz":
        return open_npy(path)
    with _open_npz(path) as (names, read):
        name = next(iter(names)) if len(names) == 1 else "x"
        if name not in names:
            found = ", ".join(sorted(names)[:10]) or "nothing"
            raise DataError(f"{path}: found {found}; want one array, or one called x")
        return read(name)


def open_npy(path: Path) -> np.ndarray:
    """The array in an .npy file, as a read-only memory map."""
    with reading(path, ".npy file"):
        shape, dtype, order, offset = npy_header(path)
        return np.memmap(path, dtype, "r", offset, shape, order)


def npy_header(path: Path) -> tuple[tuple[int, ...], np.dtype, Literal["C", "F"], int]:
    """Shape, type and memory order of the array in an .npy file, and the byte at which its values begin.

    Raises ValueError if this is no .npy file or it is cut short; call it inside `reading`.
    """
    with path.open("rb") as stream:
        return *_header(stream, path.stat().st_size), stream.tell()


@contextmanager
def _open_npz(path: Path) -> Iterator[tuple[set[str], Callable[[str], np.ndarray]]]:
    """The names of the arrays in an .npz file, and a function that reads the one of a name."""
    with reading(path, ".npz file"), path.open("rb") as stream:
        # zipfile would also accept an archive that follows other bytes in the file.
        if stream.read(2) != b"PK":
            raise ValueError("it is not a zip archive")
        with zipfile.ZipFile(stream) as archive:
            inside = {name.removesuffix(".npy"): name for name in sorted(archive.namelist())}
            yield set(inside), lambda name: _unpacked(archive, inside[name], name, path)


def _unpacked(archive: zipfile.ZipFile, inside: str, name: str, path: Path) -> np.ndarray:
    info = archive.getinfo(inside)
    check_unpacked(f"{path}: {name}", info.file_size, min(info.compress_size, path.stat().st_size))
    with archive.open(info) as stream:
        shape, dtype, order = _header(stream, info.file_size)
        flat = np.empty(math.prod(shape), dtype)
        room, at = flat.view(np.uint8), 0
        for piece in pieces(stream):  # to the end of the stream, where zipfile checks its checksum
            piece = piece[: len(room) - at]
            room[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
    if at < len(room):
        raise ValueError(f"{name} ends after {at:,} of {len(room):,} bytes")
    return flat.reshape(shape, order=order)


def _header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype, Literal["C", "F"]]:
    """Shape, type and memory order of the array whose header starts here; its first value is read from the stream next.

    size: of header and values, in bytes. Raises ValueError for a damaged header, for an array of Python objects, and
    for one that declares more values than there are bytes for.
    """
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError(f"it starts with {start!r}, want NumPy's format, version 1 to 3")
    length = int.from_bytes(stream.read(2 if start[6] == 1 else 4), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes, want at most {LONGEST_HEADER:,}")
    text = stream.read(length).decode("latin1")
    descr, fortran, sides = DESCR.search(text), ORDER.search(text), SHAPE.search(text)
    if descr is None or fortran is None or sides is None:
        raise ValueError(f"the header {text.strip()!r}, want descr, fortran_order and shape of a plain array")
    if "O" in descr[1]:  # the bytes of such an array are a pickle
        raise ValueError("Object arrays cannot be loaded, want numbers")
    dtype, shape = np.dtype(descr[1]), tuple(int(side) for side in re.findall(r"\d+", sides[1]))
    declared, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if declared > there or dtype.itemsize == 0:
        raise ValueError(f"it declares shape {shape} of {dtype}, {declared:,} bytes; found {there:,}")
    return shape, dtype, "F" if fortran[1] == "True" else "C"


def _pairs(present: set[str], source: Path, suffix: str) -> dict[str, tuple[str, str]]:
    """{split: (name of its rows, name of its labels)} of those present; DataError for half a split or no "train"."""
    pairs = {s: (f"x_{s}{suffix}", f"y_{s}{suffix}") for s in SPLITS}
    for split, names in pairs.items():
        missing = [n for n in names if n not in present]
        if missing and (split == "train" or len(missing) == 1):
            found = ", ".join(sorted(present)[:10]) or "nothing"
            raise DataError(f"{source}: has no {missing[0]}; found {found}")
    return {s: names for s, names in pairs.items() if present.issuperset(names)}
