"""What all readers of data files need: a folder's names, bytes in pieces, gzip, and one line for a damaged file."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from fastff.errors import DataError, FastffError

PIECE = 1 << 20  # bytes


@contextmanager
def reading(path: object, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on damaged bytes into one DataError line: "path: not a readable kind: ..."."""
    try:
        yield
    except FastffError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, want {kind}") from None
    except MemoryError:
        raise DataError(f"{path}: not enough memory for this {kind}") from None
    # On damaged bytes pickle, zipfile, zlib and NumPy between them raise nearly every built-in exception.
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            detail = error.strerror
        raise DataError(f"{path}: not a readable {kind}: {detail}") from None


def contents(folder: Path) -> set[str]:
    """The names of the files and folders in a folder; an empty set if it does not exist."""
    with reading(folder, "folder"):
        return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def unzipped(raw: IO[bytes]) -> IO[bytes]:
    """The stream of a file's content: unpacked if the file starts as gzip does, otherwise `raw` from its start."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw


def pieces(stream: IO[bytes], limit: int | None = None) -> Iterator[bytes]:
    """The next `limit` bytes of a stream, or all that are left, in pieces of at most PIECE bytes.

    They may end early, where the stream ends. Memory is only taken for bytes that were found, never for a number of
    bytes that a damaged file merely declares.
    """
    left = limit
    while left != 0 and (piece := stream.read(PIECE if left is None else min(PIECE, left))):
        yield piece
        left = None if left is None else left - len(piece)


def read_up_to(stream: IO[bytes], limit: int) -> bytearray:
    """The next `limit` bytes of a stream, or fewer where it ends."""
    data = bytearray()
    for piece in pieces(stream, limit):
        data += piece
    return data
