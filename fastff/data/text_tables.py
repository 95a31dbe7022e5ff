"""Reads tables of text: separator, decimal sign, encoding and what the columns hold are found out."""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fastff.data.cells import COMMA, GAPS, NUMBER, arrow
from fastff.data.decimals import columns_show_comma, shows_comma, with_points
from fastff.data.readers import PIECE, pieces, unzipped
from fastff.errors import DataError
from fastff.system.limits import check_room, check_unpacked

SEPARATORS = (";", "\t", "|", ",")  # the first that fits best: commas also stand in numbers and texts
MOST_COLUMNS = 100_000
SAMPLE = 100  # lines of a file from which its form is found out
LONGEST_LINE = 1 << 26  # bytes
LOOK = 1 << 27  # bytes of a file after which we look again whether there is memory
DECIMAL = b"fastff.decimal"  # in the metadata of a table: the decimal sign of its file


class TextTable:
    """How a file of text holds its table: encoding, separator, decimal sign, and the names of the columns."""

    def __init__(self, path: Path, decimal: str) -> None:
        self.path = path
        with path.open("rb") as raw:
            start = _first_lines(unzipped(raw))
        self.encoding = _encoding(start)
        text = start.decode(self.encoding, "replace").removeprefix("\ufeff")
        self.separator = max(SEPARATORS, key=lambda separator: _fit(text, separator, path))
        lines = _lines(text, self.separator)
        # Semicolons and tabs leave the comma to numbers. Texts that are numbers in the other form are found later.
        columns = zip(*(line for line in lines[1:] if len(line) == len(lines[0])), strict=True)
        self.shows_comma = self.separator != "," and any(
            shows_comma([cell.strip() for cell in cells]) for cells in columns
        )
        self.decimal = "," if self.separator != "," and (self.shows_comma or decimal == ",") else "."
        self.raw_names = lines[0] if lines else []
        self.names = self._checked([name.strip() for name in self.raw_names])
        if not self.names:
            raise DataError(f"{path}: no rows, want a first line with the names of columns")

    def _checked(self, names: list[str]) -> list[str]:
        """The names of the columns; those without a name get one."""
        if len(names) > MOST_COLUMNS:
            raise DataError(f"{self.path}: line 1: {len(names):,} columns, want at most {MOST_COLUMNS:,}")
        seen: set[str] = set()
        for number, name in enumerate(names, 1):
            if name in seen and not re.match(NUMBER, name):
                raise DataError(f"{self.path}: line 1, column {number}: {name!r} again, want every name once")
            seen.add(name or f"(column {number})")
        digits = [
            (number, name) for number, name in enumerate(names, 1) if re.match(NUMBER, name) or re.match(COMMA, name)
        ]
        # Years and counts are names, too: they rise. A line of values does not, or has fractions.
        rising = all(name.isdigit() for _, name in digits)
        rising = rising and all(int(a) < int(b) for (_, a), (_, b) in itertools.pairwise(digits))
        if digits and not rising:
            number, name = digits[0]
            raise DataError(f"{self.path}: line 1, column {number}: {name!r}, want a first line with names of columns")
        return [name or f"(column {number})" for number, name in enumerate(names, 1)]

    def read(self, texts: Sequence[str]) -> Any:
        """The table. Raises DataError for rows of another length, and what pyarrow raises for another encoding."""
        pa = arrow()
        kinds = {raw: pa.string() for raw, name in zip(self.raw_names, self.names, strict=True) if name in texts}
        try:
            try:
                table = self._read({**self._first_kinds(kinds), **kinds})
            except pa.ArrowInvalid as error:
                if "conversion error" not in str(error):
                    raise
                table = self._read(
                    kinds
                )  # the first block decided what a column holds, and a later one has something else
        except pa.ArrowInvalid as error:
            if "columns, got" in str(error):
                self._find_ragged()
            raise
        if any(pa.types.is_binary(getattr(kind, "value_type", kind)) for kind in table.schema.types):
            raise pa.ArrowInvalid("texts that are not UTF-8")
        if table.num_columns != len(self.names):
            raise ValueError(f"{table.num_columns} columns below a header of {len(self.names)}")
        table = table.rename_columns(self.names)
        if not self.shows_comma and self.separator != "," and columns_show_comma(table):
            self.shows_comma = True
            if self.decimal == ".":  # the first lines had whole numbers alone
                self.decimal = ","
                return self.read(texts)
        if self.decimal == ",":
            table = with_points(table, texts, self.path, shown=self.shows_comma)
        pa.default_memory_pool().release_unused()
        return table.replace_schema_metadata({DECIMAL: self.decimal.encode()})

    def _first_kinds(self, kinds: dict[str, Any]) -> dict[str, Any]:
        """What the columns hold in the first block of a file of more than one.

        To be told saves time and memory: pyarrow otherwise keeps all blocks until it knows what is in the last one.
        """
        pa = arrow()
        if self.path.stat().st_size <= self._block:
            return {}
        with self._open() as raw, pa.csv.open_csv(raw, *self._options(kinds)) as blocks:
            first = next(iter(blocks), None)
        found = {}
        for name, cells in zip(self.raw_names, first.columns if first else [], strict=False):
            kind = cells.type
            if pa.types.is_dictionary(kind) and len(cells.dictionary) > len(cells) // 2:
                kind = kind.value_type
            if not pa.types.is_null(kind):
                found[name] = kind
        return found

    def _read(self, kinds: dict[str, Any]) -> Any:
        with self._open() as raw:
            return arrow().csv.read_csv(raw, *self._options(kinds))

    @property
    def _block(self) -> int:
        """Bytes to read at a time; a block of fewer rows than columns would take longer to set up than to read."""
        return max(PIECE, 2048 * len(self.names))

    def _options(self, kinds: dict[str, Any]) -> tuple[Any, Any, Any]:
        csv = arrow().csv
        return (
            # More threads read little faster, and hold more blocks in memory.
            csv.ReadOptions(encoding=self.encoding, block_size=self._block, use_threads=False),
            csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            csv.ConvertOptions(
                column_types=kinds,
                null_values=sorted(GAPS),
                decimal_point=self.decimal,
                auto_dict_encode=True,
                auto_dict_max_cardinality=10_000,
            ),
        )

    @contextmanager
    def _open(self) -> Iterator["_Bounded"]:
        with self.path.open("rb") as raw:
            yield _Bounded(raw, self.path)

    def _find_ragged(self) -> None:
        """Raise DataError, with the line, for the first row of another length than the header."""
        with self._open() as raw:
            decoded = io.TextIOWrapper(io.BufferedReader(raw), self.encoding, "replace", newline="")
            lines = csv.reader(decoded, delimiter=self.separator)
            for cells in lines:
                if cells and len(cells) != len(self.names):
                    found = f"{self.path}: line {lines.line_num}: {len(cells)} cells"
                    raise DataError(f"{found}, want {len(self.names)} as in the header")


class _Bounded(io.RawIOBase):
    """The bytes of a file, unpacked if it is packed; refuses to unpack to very much."""

    def __init__(self, raw: IO[bytes], path: Path) -> None:
        self.path, self.size, self.read_so_far = path, path.stat().st_size, 0
        self.stream = unzipped(raw)
        self.packed = self.stream is not raw

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        before, self.read_so_far = self.read_so_far, self.read_so_far + len(data)
        if before // LOOK != self.read_so_far // LOOK:  # how much the table takes is not known before it is read
            check_room(str(self.path), 2 * LOOK)
        if self.packed:
            check_unpacked(self.path, self.read_so_far, self.size, in_memory=False)
        return data

    def readinto(self, room: Any) -> int:
        data = self.read(len(room))
        room[: len(data)] = data
        return len(data)


def _first_lines(stream: IO[bytes]) -> bytes:
    """The first lines of a file: those that are whole in its first megabyte, or a longer one."""
    start = bytearray()
    for piece in pieces(stream, LONGEST_LINE):
        start += piece
        if b"\n" in start or b"\r" in start:
            break
    return bytes(start[: start.rfind(b"\n") + 1] or start) if len(start) >= PIECE else bytes(start)


def _encoding(start: bytes) -> str:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    half = len(start) // 2
    if start[1::2].count(0) > 0.4 * half:
        return "utf-16-le"
    if start[::2].count(0) > 0.4 * half:
        return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _lines(text: str, separator: str) -> list[list[str]]:
    """The cells of the first lines that are not empty."""
    found: list[list[str]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if cells:
                found.append(cells)
            if len(found) > SAMPLE:
                break
    except csv.Error:  # a cell of more than 131,072 characters; the lines before it are enough
        pass
    return found


def _fit(text: str, separator: str, path: Path) -> tuple[bool, float, int]:
    """How well a separator fits: it is in the header, many lines have as many cells as that, and there are many."""
    counts = [len(cells) for cells in _lines(text, separator)]
    if not counts:
        return False, 0.0, 0
    same = sum(count == counts[0] for count in counts) / len(counts)
    if ".tsv" in path.name.lower() and separator == "\t":
        same = 1.0
    return counts[0] > 1, same, counts[0]
