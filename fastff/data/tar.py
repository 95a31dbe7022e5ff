"""Reads regular files of a tar archive from a stream into memory; nothing is written to disk, links are not followed.

The standard library's tarfile reads extended headers of any declared size into memory, and looped for ever on forged
sizes (CVE-2025-8194). The archives of data sets need no extended headers, so this module does not read them.
"""

from collections.abc import Collection, Iterator
from typing import IO

from fastff.data.readers import pieces, read_up_to
from fastff.errors import DataError
from fastff.system.limits import say

BLOCK = 512  # bytes; headers and files begin at multiples of it
REGULAR = (b"0", b"\0")
BARE = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices and folders: no content follows, whatever their size says
CUT_SHORT = "it ends in the middle of a file"


def files(
    stream: IO[bytes], source: object, wanted: Collection[str], *, largest: int, in_all: int
) -> Iterator[tuple[str, bytes]]:
    """(name without folders, content) of each regular file whose name is in `wanted`; the others are skipped.

    Raises DataError, starting with source, for a wanted file of more than `largest` bytes and for an archive that
    unpacks to more than `in_all`, and ValueError for a damaged archive.
    """
    left = in_all
    while True:
        header = _read(stream, BLOCK)
        if not header.strip(b"\0"):  # a block of zeros marks the end
            break
        kind, size = header[156:157], _size(header)
        if kind in BARE:
            size = 0
        padded = -(-size // BLOCK) * BLOCK
        left -= BLOCK + padded
        name = header[:100].split(b"\0", 1)[0].decode("latin1").rsplit("/", 1)[-1]
        chosen = kind in REGULAR and name in wanted
        if chosen and size > largest:
            raise DataError(f"{source}: {name} has {size:,} bytes, want a batch of at most {say(largest)}")
        if left < 0:
            raise DataError(f"{source}: unpacks to more than {say(in_all)}, want the data set alone")
        if chosen:
            yield name, _read(stream, size)
            padded -= size
        if sum(map(len, pieces(stream, padded))) < padded:
            raise ValueError(CUT_SHORT)
    for piece in pieces(stream):  # to the end, where gzip checks its checksum
        left -= len(piece)
        if left < 0:
            raise DataError(f"{source}: unpacks to more than {say(in_all)}, want the data set alone")


def _size(header: bytes) -> int:
    """The size that a header declares. Raises ValueError if the header does not match its checksum."""
    if _octal(header[148:156], "checksum") != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise ValueError("a header does not match its checksum")
    return _octal(header[124:136], "size")


def _octal(field: bytes, what: str) -> int:
    text = field.strip(b" \0")
    if text and not text.isdigit():  # negative sizes and GNU's form of sizes beyond 8 GB are refused as well
        raise ValueError(f"a header's {what} is {field!r}, want an octal number")
    return int(text or b"0", 8)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = read_up_to(stream, size)
    if len(data) < size:
        raise ValueError(CUT_SHORT)
    return bytes(data)
