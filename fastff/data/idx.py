"""Reads the IDX files of MNIST and its relatives, plain or gzipped.

An IDX file is a magic number (0x00000801 for labels, 0x00000803 for pictures), a big-endian 32-bit size for each
dimension, and the bytes.
"""

import struct
from pathlib import Path

import numpy as np

from fastff.data.dataset import Split
from fastff.data.readers import contents, read_up_to, reading, unzipped
from fastff.errors import DataError
from fastff.system.limits import check_unpacked

STEMS = {"train": "train", "test": "t10k"}


def read_idx_folder(folder: Path) -> tuple[dict[str, Split], tuple[int, int, int]]:
    """The train and test splits in a folder with the four usual files, and their image shape (1, height, width)."""
    images = {s: read_idx(_find(folder, stem, "images"), 3) for s, stem in STEMS.items()}
    labels = {s: read_idx(_find(folder, stem, "labels"), 1) for s, stem in STEMS.items()}
    if images["test"].shape[1:] != images["train"].shape[1:]:
        sizes = " and ".join("x".join(map(str, images[s].shape[1:])) for s in STEMS)
        raise DataError(f"{folder}: training and test pictures of {sizes} pixels, want one size")
    height, width = images["train"].shape[1:]
    return {s: (images[s].reshape(-1, height * width), labels[s]) for s in STEMS}, (1, height, width)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array in an IDX file. Raises DataError unless it has `dimensions` and as many bytes as it declares."""
    with reading(path, "IDX file"), path.open("rb") as raw:
        stream = unzipped(raw)
        header = stream.read(4 + 4 * dimensions)
        magic = 0x0800 + dimensions
        if header[:4] != struct.pack(">I", magic):
            raise DataError(f"{path}: starts with 0x{header[:4].hex()}, want 0x{magic:08x} (bytes, {dimensions}-D)")
        if len(header) < 4 + 4 * dimensions:
            raise DataError(f"{path}: ends in the header, after {len(header)} bytes")
        shape = struct.unpack(f">{dimensions}I", header[4:])
        size = int(np.prod(shape, dtype=object))
        if stream is not raw:
            check_unpacked(path, size, path.stat().st_size)
        data = read_up_to(stream, size + 1)
    if len(data) != size:
        found = f"{len(data):,}" if len(data) < size else f"more than {size:,}"
        raise DataError(f"{path}: declares {' x '.join(map(str, shape))} = {size:,} bytes, found {found}")
    if size == 0:
        raise DataError(f"{path}: empty, declares {' x '.join(map(str, shape))} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)


def has_idx(folder: Path) -> bool:
    return any(name in contents(folder) for stem in STEMS.values() for name in _names(stem, "images"))


def _names(stem: str, kind: str) -> list[str]:
    end = f"idx{3 if kind == 'images' else 1}-ubyte"
    return [f"{stem}-{kind}{dot}{end}{gz}" for dot in "-." for gz in ("", ".gz")]


def _find(folder: Path, stem: str, kind: str) -> Path:
    present = contents(folder)
    for name in _names(stem, kind):
        if name in present:
            return folder / name
    raise DataError(f"{folder}: has no {_names(stem, kind)[0]} (or .gz)")
