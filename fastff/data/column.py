"""One column of a table: what it is, which features it becomes, and how these are computed."""

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from fastff.data import cells as parse
from fastff.data.labels import ClassNames
from fastff.data.rows import EXACT32
from fastff.errors import DataError

KINDS = ("number", "boolean", "text", "date", "dropped")
PARTS = ("year", "month", "weekday", "day", "hour")  # of a date; day: how many there were since 1970, with the time
MOST_TEXTS = 256  # texts of a column that have a feature of their own
NEARLY_UNIQUE = 0.5  # more different texts than this share of the rows are names of rows
SMALL = 20  # texts in fewer rows than this are kept, however different
COARSE = 1024.0  # times its range that a number may be, before float32 rounds too much of the range away
_NAMELESS = re.compile(r"\(column \d+\)|Unnamed: \d+|__index_level_\d+__")
_YES_NO = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Column:
    """What one column of a table is.

    kind: number, boolean, text, date or dropped. gap: whether there were gaps, which have a feature of their own.
    median: stands in for a gap; of dates, in seconds since 1970. offset: a whole number that is subtracted, where
    float64 would not keep the differences. texts: those with a feature of their own. other: whether rare texts share
    one. parts: of a date. form: how a date is written. zoned: whether dates have a zone; then their parts are those of
    UTC. why: why the column was dropped.
    The rest is known when it is fitted, and is not saved: unique, in every row another whole number; unclear, day and
    month of a date could be told apart by no row; wide, float32 is not precise enough.
    """

    name: str
    kind: str
    gap: bool = False
    median: float = 0.0
    offset: int = 0
    texts: tuple[str, ...] = ()
    other: bool = False
    parts: tuple[str, ...] = ()
    form: str = ""
    zoned: bool = False
    why: str = ""
    unique: bool = False
    unclear: bool = False
    wide: bool = False

    @property
    def nameless(self) -> bool:
        return _NAMELESS.fullmatch(self.name) is not None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that this column becomes."""
        if self.kind == "dropped":
            return ()
        values: tuple[str, ...] = (self.name,)
        if self.kind == "text":
            values = tuple(f"{self.name}={text}" for text in (*self.texts, *["(other)"] * self.other))
        elif self.kind == "date":
            values = tuple(f"{self.name}.{part}" for part in self.parts)
        return (*values, f"{self.name}=(gap)") if self.gap else values

    def part_of_median(self, part: str) -> float:
        """One part of the date that stands in for a gap."""
        return float(_part(np.array([int(self.median)], "M8[s]"), part)[0])

    def fill(self, column: Any, out: np.ndarray) -> None:
        """Compute the features of an Arrow column into out (N, features). Raises DataError for other cells."""
        cells = parse.plain(column, self.name)
        if self.kind == "text":
            self._fill_texts(cells, out)
            return
        if self.kind == "date":
            times, zoned = parse.dates(cells, self.name, self.form)
            missing = np.isnat(times)
            if zoned != self.zoned and not missing.all():  # they would be hours apart
                found, wanted = ("with", "without") if zoned else ("without", "with")
                raise DataError(
                    f"column {self.name!r}: times {found} a zone, want them {wanted} one as in the training"
                )
            times[missing] = np.datetime64(int(self.median), "s")
            for i, part in enumerate(self.parts):
                out[:, i] = _part(times, part)
        else:
            values = (
                _flags(cells, self.name) if self.kind == "boolean" else parse.numbers(cells, self.name, self.offset)
            )
            missing = np.isnan(values)
            out[:, 0] = values
            if missing.any():
                out[missing, 0] = self.median
        if self.gap:
            out[:, -1] = missing

    def _fill_texts(self, cells: Any, out: np.ndarray) -> None:
        codes, names = parse.texts(cells)
        known = ClassNames(self.texts)  # a frame may have 1.0 for 1, and True for true
        other = len(self.texts) if self.other else -1
        own = [place if (place := known.find(name)) >= 0 else other for name in names]
        place = np.array([*own, out.shape[1] - 1 if self.gap else other])[codes]  # the last is of a gap, code -1
        out[:] = 0
        found = np.flatnonzero(place >= 0)
        out[found, place[found]] = 1

    def description(self) -> dict[str, Any]:
        """The column as values of JSON: what differs from a column without anything special."""
        values = {name: value for name, value in asdict(self).items() if name in _SAVED and value != _SAVED[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


_SAVED = {f.name: f.default for f in fields(Column) if f.name not in ("unique", "unclear", "wide")}


def column_from(description: Any, source: object) -> Column:
    """The column that was described. Raises DataError for anything that `description` would not return."""
    values = dict(description) if isinstance(description, dict) else {}
    good = isinstance(values.get("name"), str) and values.get("kind") in KINDS and set(values) <= set(_SAVED)
    for name, value in values.items():
        default = _SAVED.get(name)
        if isinstance(default, tuple):
            good &= isinstance(value, list) and all(isinstance(text, str) for text in value)
            good &= isinstance(value, list) and good and len(set(value)) == len(value)
        elif isinstance(default, float):
            good &= type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
        elif isinstance(default, bool | int | str):
            good &= type(value) is type(default)
    if good:
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        good = set(values.get("parts", ())) <= set(PARTS) and abs(values.get("offset", 0)) < 1 << 64
        good &= values["kind"] != "date" or abs(values.get("median", 0)) < 1 << 60
        good &= values.get("form", "") in ("", *parse.FORMATS)
    if not good:
        raise DataError(
            f"{source}: a column of the table is damaged ({str(description)[:60]}), want what a run has saved"
        )
    return Column(**values)


def fit_column(column: Any, name: str, how: str | None, rows: np.ndarray) -> Column:
    """What a column of a table is; how: "drop", "text", or None where its cells decide that.

    rows: the numbers of the rows that are trained on, which alone decide on medians, texts and parts.
    """
    if how == "drop":
        return Column(name, "dropped", why="left out")
    cells = parse.plain(column, name)
    pa = parse.arrow()
    if how == "text":
        return _fit_texts(cells, name, rows, keep=True)
    if parse.is_text(cells):
        if not parse.are_numbers(cells):
            parse.check_clear(cells, name)
            forms = parse.date_format(cells)
            return _fit_dates(cells, name, rows, forms) if forms else _fit_texts(cells, name, rows, keep=False)
    elif pa.types.is_date(cells.type) or pa.types.is_timestamp(cells.type):
        return _fit_dates(cells, name, rows, [""])
    elif cells.type == pa.bool_():
        return _fit_numbers(_some(_flags(cells, name), rows), name, "boolean", 0)
    offset = 0
    if not parse.is_text(cells) and pa.types.is_integer(cells.type):
        ends = pa.compute.min_max(cells).as_py()
        if ends["min"] is not None and max(-ends["min"], ends["max"]) > parse.EXACT:
            offset = ends["min"] + (ends["max"] - ends["min"]) // 2
    return _fit_numbers(_some(parse.numbers(cells, name, offset), rows), name, "number", offset)


def _some(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values of these rows; no copy where they are all."""
    return values if len(rows) == len(values) else values[rows]


def _fit_numbers(values: np.ndarray, name: str, kind: str, offset: int) -> Column:
    missing = np.isnan(values)
    gap = bool(missing.any())
    present = values[~missing] if gap else values
    if not len(present):
        return Column(name, "dropped", why="empty")
    low, high = float(present.min()), float(present.max())
    if low == high and not gap:
        return Column(name, "dropped", why="the same in every row")
    whole = bool((present == np.floor(present)).all())
    largest = max(-low, high)
    # of numbers that are not whole, float32 holds about 7 digits
    wide = largest > EXACT32 or (not whole and largest > COARSE * (high - low))
    middle = _median(present)
    if kind == "boolean" or whole:
        middle = math.floor(middle)
    unique = kind == "number" and whole and not gap and high - low >= len(present) - 1 and _never_repeats(present)
    return Column(name, kind, gap, middle, offset, unique=unique, wide=wide)


def _median(values: np.ndarray) -> float:
    """np.median of one dimension, which takes several times as long for few values."""
    middle = [(len(values) - 1) // 2, len(values) // 2]
    low, high = np.partition(values, middle)[middle].astype(np.float64)
    return float((low + high) / 2)


def _never_repeats(values: np.ndarray) -> bool:
    some = values[:1000]
    return len(np.unique(some)) == len(some) and len(np.unique(values)) == len(values)


def _fit_texts(cells: Any, name: str, rows: np.ndarray, *, keep: bool) -> Column:
    codes, names = parse.texts(cells)
    codes = _some(codes, rows)
    present = codes[codes >= 0]
    gap = len(present) < len(codes)
    counts = Counter({i: count for i, count in enumerate(np.bincount(present, minlength=1).tolist()) if count})
    if not counts:
        return Column(name, "dropped", why="empty")
    if len(counts) == 1 and not gap:
        return Column(name, "dropped", why="the same in every row")
    enough = min(10, max(2, len(codes) // 100))  # rows that a text must be in to have a feature of its own
    common = sorted(names[i] for i, count in counts.most_common(MOST_TEXTS) if count >= enough)
    if not keep and ((len(counts) > NEARLY_UNIQUE * len(present) and len(present) >= SMALL) or not common):
        return Column(name, "dropped", why=f"nearly every text is another: {len(counts):,} in {len(present):,} rows")
    known = ClassNames(common)
    return Column(name, "text", gap, texts=tuple(common), other=any(known.find(names[i]) < 0 for i in counts))


def _fit_dates(cells: Any, name: str, rows: np.ndarray, forms: list[str]) -> Column:
    times, zoned = parse.dates(cells, name, forms[0])
    times = _some(times, rows)
    missing = np.isnat(times)
    gap, present = bool(missing.any()), times[~missing]
    if not len(present):
        return Column(name, "dropped", why="empty")
    middle = _median(present.astype(np.int64))
    parts = tuple(part for part in PARTS if len(np.unique(_part(present, part))) > 1)
    if not parts:
        return Column(name, "dropped", why="the same in every row")
    unclear, form = len(forms) > 1, forms[0]
    return Column(name, "date", gap, math.floor(middle), parts=parts, form=form, zoned=zoned, unclear=unclear)


def _part(times: np.ndarray, part: str) -> np.ndarray:
    """One part of each datetime64[s] as a number."""
    seconds = times.astype(np.int64)
    if part == "year":
        return times.astype("M8[Y]").astype(np.int64) + 1970
    if part == "month":
        return times.astype("M8[M]").astype(np.int64) % 12 + 1
    if part == "weekday":  # 0 is a Monday; 1970 began on a Thursday
        return (seconds // 86400 + 3) % 7
    return seconds / 86400 if part == "day" else seconds % 86400 / 3600


def _flags(cells: Any, name: str) -> np.ndarray:
    """Flags as float64, NaN for a gap, also where they are written as texts."""
    if not parse.is_text(cells):
        flags = parse.numbers(cells, name)
        bad = ~(np.isnan(flags) | (flags == 0) | (flags == 1))
        if bad.any():
            row = int(np.argmax(bad))
            raise parse.CellError(f"column {name!r}: {flags[row]:g}", row, "true or false")
        return flags
    codes, names = parse.texts(cells)
    values = [_YES_NO.get(text.lower(), text) for text in names]
    wrong = next((text for text in values if isinstance(text, str) and text not in ("0", "1")), None)
    if wrong is not None:
        raise DataError(f"column {name!r}: {wrong[:40]!r}, want true or false")
    return np.array([*(float(value) for value in values), np.nan])[codes]
