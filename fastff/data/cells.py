"""The cells of one column of a table, as numbers, dates or texts in NumPy arrays.

A column is an Arrow array of any kind: what a file or a frame holds as texts may be numbers, and the other way round.
pyarrow is imported only when a table is read.
"""

import re
import sys
from decimal import Decimal
from typing import Any

import numpy as np

from fastff.errors import DataError, MissingExtra

# What pandas 3.1 and pyarrow 26 take for a gap (their documentation of na_values and null_values), and the ? of the
# UCI repository's tables.
GAPS = frozenset(
    (
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
        "NULL", "NaN", "None", "n/a", "nan", "null", "?",
    )
)  # fmt: skip
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# Numbers with a decimal comma: points stand between thousands, as in 1.234,50
POINTS = r"^[+-]?([0-9]+|[1-9][0-9]{0,2}(\.[0-9]{3})+)(,[0-9]+)?$"
COMMA = r"^[+-]?[0-9]+(,[0-9]+)?$"  # a decimal comma
THOUSANDS = r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$"  # 1,234 is 1234 to some and 1.234 to others
GROUPED = r"^[+-]?([0-9]+|[1-9][0-9]{0,2}(,[0-9]{3})+)(\.[0-9]+)?$"
# What shows that GROUPED commas are those of thousands: 1,234,567 or 1,234.5 or 0.123
_COMMAS_OF_THOUSANDS = r",[0-9]{3}[,.]|\.([0-9]{1,2}|[0-9]{4,})$|^[+-]?0\.|[0-9]{4}\."
CODE = r"^0[0-9][^:]*$"  # 01 is a name that is written in digits
_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y")
_NAMED = ("%b %d %Y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %Y", "%Y %b")  # Apr 1 2005 or April 1, 2005, and so on
_LIKE_A_DATE = (
    r"^([0-9]{4}[-./][0-9]{1,2}[-./][0-9]{1,2}|[0-9]{1,2}[-./][0-9]{1,2}[-./][0-9]{4}"
    r"|([0-9]{1,2}[- ])?[A-Za-z]{3,9}\.?[- ]([0-9]{1,2},? )?[0-9]{2,4}|[0-9]{4} [A-Za-z]{3,9})"
    r"([ T][0-9:]+(\.[0-9]+)?(Z|[+-][0-9:]{4,5})?)?$"
)
_MONTHS = (
    "jan(uary)?", "feb(ruary)?", "mar(ch)?", "apr(il)?", "may", "june?", "july?", "aug(ust)?", "sept?(ember)?",
    "oct(ober)?", "nov(ember)?", "dec(ember)?",
)  # fmt: skip
_EXACT_TIMES = ("%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S%z")  # ISO 8601 with a fraction; with a zone, perhaps both
_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S")
_ISO = (*("%Y-%m-%d" + time for time in _TIMES), *_EXACT_TIMES)
_DATED = tuple(day + time for day in (*_DAYS, *_NAMED) for time in _TIMES)
FORMATS = (*_DATED, *_EXACT_TIMES)
LOOK = 1000  # cells of a column that are looked at before all
_TIME_OF_DAY = r"^([0-9]{1,2}):([0-9]{2})(:[0-9]{2}(\.[0-9]+)?)?$"
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
EXACT = 1 << 53  # float64 holds every whole number up to this one


_imported: list[Any] = []  # pyarrow, once it is: to import it again takes long where there are thousands of columns


class CellError(DataError):
    """A cell that cannot be used: what was found, in which row, and what is wanted."""

    def __init__(self, found: str, row: int, wanted: str) -> None:
        super().__init__(f"{found} at row {row}, want {wanted}")
        self.found, self.row, self.wanted = found, row, wanted


def arrow() -> Any:
    """The module pyarrow, with compute, csv and parquet. Raises MissingExtra where it is not installed."""
    if _imported and sys.modules.get("pyarrow") is _imported[0]:
        return _imported[0]
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra.of("reading tables needs pyarrow", '"fastff[tables]"', error) from None
    _imported[:] = [pyarrow]
    return pyarrow


def plain(column: Any, name: str) -> Any:
    """The column as one Arrow array of numbers, flags, times, texts, or a dictionary of texts; DataError for others."""
    pa = arrow()
    whole = column
    if isinstance(column, pa.ChunkedArray):
        whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    kind = whole.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return whole
    coded = pa.types.is_dictionary(kind)
    values = kind.value_type if coded else kind
    text = values in (pa.string(), pa.large_string(), pa.string_view())
    usable = pa.types.is_decimal, pa.types.is_temporal, pa.types.is_null, pa.types.is_integer, pa.types.is_floating
    if not (text or values == pa.bool_() or any(is_usable(values) for is_usable in usable)) or (
        values == pa.month_day_nano_interval()
    ):
        raise DataError(f"column {name!r}: {values} values, want numbers, texts or dates")
    if values == pa.string_view():
        return plain(whole.cast(pa.large_string()), name)
    if coded and not text:
        return plain(whole.cast(values), name)
    few = text and not coded and len(whole) > LOOK
    few = few and pa.compute.count_distinct(whole[:LOOK]).as_py() < LOOK // 2
    return whole.dictionary_encode() if few else whole  # then each text is looked at once


def is_text(cells: Any) -> bool:
    pa, kind = arrow(), cells.type
    return isinstance(kind, pa.DictionaryType) or kind in (pa.string(), pa.large_string())


def _words(cells: Any) -> Any:
    """The texts in a column, each at least once."""
    return cells.dictionary if arrow().types.is_dictionary(cells.type) else cells


def _spread(values: np.ndarray, cells: Any) -> np.ndarray:
    """What was computed of each of the _words of a column, and last of a gap, for every cell."""
    if not arrow().types.is_dictionary(cells.type):
        return values[:-1]
    return values[cells.indices.cast(arrow().int64()).fill_null(len(values) - 1).to_numpy(zero_copy_only=False)]


def texts(cells: Any, gaps: frozenset[str] = GAPS) -> tuple[np.ndarray, list[str]]:
    """The number of each cell's text in the list, -1 for a gap, and the different texts, without spaces around them."""
    encoded = cells if arrow().types.is_dictionary(cells.type) else cells.dictionary_encode()
    codes: dict[str, int] = {}
    # Two entries of a dictionary may be one text, or a gap. Python's own words for values: True, 0.5.
    values = ("" if value is None else str(value).strip() for value in encoded.dictionary.to_pylist())
    places = np.array([-1 if v in gaps else codes.setdefault(v, len(codes)) for v in values] + [-1], np.int64)
    return _spread(places, encoded), list(codes)


def numbers(cells: Any, name: str, offset: int = 0) -> np.ndarray:
    """The cells less `offset`, float64 (N,), NaN for a gap. Raises DataError for a text that is no number."""
    if not is_text(cells):
        return _finite(_values(cells, name, offset), name)
    values = _parsed(_words(cells))
    if values is None:
        check_clear(cells, name)
        row, text = _no_number(cells)
        raise CellError(f"column {name!r}: {text[:40]!r}", row, "a number")
    return _finite(_spread(np.append(_values(values, name, offset), np.nan), cells), name)


def are_numbers(cells: Any) -> bool:
    """Whether all texts of a column are numbers, and not codes such as 01."""
    pc, words = arrow().compute, _words(cells)
    return _parsed(words) is not None and not pc.any(pc.match_substring_regex(words, CODE)).as_py()


def check_clear(cells: Any, name: str) -> None:
    """Raise DataError for a column of texts such as 1,234 alone, which are thousands or have a decimal comma."""
    if not is_text(cells):
        return
    words = trimmed(_words(cells)).drop_null()
    if _any(words, THOUSANDS) and _all(words, f"{NUMBER}|{THOUSANDS}") and _parsed(words) is None:
        text = next(word for word in words.to_pylist() if re.match(THOUSANDS, word))
        clear = text.replace(",", ""), text.replace(",", ".")
        raise DataError(f"column {name!r}: {text!r} may be {clear[0]} or {clear[1]}, want it written as one of these")


def dates(cells: Any, name: str, form: str) -> tuple[np.ndarray, bool]:
    """The cells as datetime64[s] (N,), NaT for a gap, and whether they have a zone: then they are in UTC.

    Texts are of this format. Raises DataError for others.
    """
    pa = arrow()
    if is_text(cells):
        words = _words(cells)
        # As in training, or as in ISO 8601, or where training had no texts in the only form that fits.
        known = (form,) if form else (forms if len(forms := date_format(cells)) == 1 else ())
        values = next((v for form in (*known, *_ISO) if (v := _strptime(words, form)) is not None), None)
        if values is None:
            raise DataError(f"column {name!r}: texts that are no dates like {form or _ISO[0]}, want dates")
        cells = values if words is cells else values.take(cells.indices)
    if pa.types.is_null(cells.type):
        return np.full(len(cells), "NaT", "M8[s]"), False
    if not (pa.types.is_date(cells.type) or pa.types.is_timestamp(cells.type)):
        raise DataError(f"column {name!r}: {cells.type} values, want dates")
    zone = getattr(cells.type, "tz", None)
    seconds = cells.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64())
    found = seconds.fill_null(0).to_numpy(zero_copy_only=False).astype("M8[s]")
    found[cells.is_null().to_numpy(zero_copy_only=False)] = np.datetime64("NaT", "s")
    return found, zone is not None


def date_format(cells: Any) -> list[str]:
    """The formats by which all texts of a column are dates: none, one, or two where 1/2/2020 is January or February."""
    values = _words(cells)
    first = next((w for w in values[:LOOK].to_pylist() if w is not None and w.strip() not in GAPS), "")
    if not re.match(_LIKE_A_DATE, first.strip()):
        return []
    named = any(character.isalpha() and character not in "TZ" for character in first)
    for forms in (_DATED, _EXACT_TIMES):
        found = [form for form in forms if ("%b" in form) == named and _strptime(values, form) is not None]
        if found:
            return found
    return []


def as_number(text: str) -> Decimal | None:
    """A text's number, exact; None if it is none."""
    return Decimal(text) if re.match(NUMBER, text) else None


def _values(cells: Any, name: str, offset: int) -> np.ndarray:
    """An Arrow array of numbers, flags or times less `offset`, float64, NaN for a gap."""
    pa = arrow()
    kind = cells.type
    if kind == pa.float64() and not offset:
        exact: np.ndarray = cells.to_numpy(zero_copy_only=False)
        return exact
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        raise DataError(f"column {name!r}: {kind} values, want numbers")
    if pa.types.is_null(kind):
        return np.full(len(cells), np.nan)
    if pa.types.is_time(kind) or pa.types.is_duration(kind):  # in seconds, whatever the file counts them in
        counts = cells.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()).cast(pa.float64())
        cells = pa.compute.divide(counts, _PER_SECOND[kind.unit])
    elif kind == pa.bool_():
        cells = cells.cast(pa.uint8())
    elif pa.types.is_decimal(kind) or kind == pa.float16():
        cells = cells.cast(pa.float64())
    if offset and pa.types.is_integer(cells.type):
        values = cells.fill_null(0).to_numpy(zero_copy_only=False)
        near = values.astype(np.float64) - offset
        # The difference of 64 bits is right where it is small, also where both numbers are beyond int64.
        exact = values.astype(np.int64) - np.array(offset % (1 << 64), np.uint64).astype(np.int64)
        less = np.where(np.abs(near) < EXACT, exact, near)
        return np.where(cells.is_null().to_numpy(zero_copy_only=False), np.nan, less)
    values = cells.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return values - offset if offset else values


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise CellError(f"column {name!r}: {values[row]}", row, "a finite number or a gap")
    return values


def _parsed(values: Any) -> Any:
    """Texts as an Arrow array of numbers, null for gaps; None if one is no number. Times of day are seconds."""
    pa = arrow()
    pc = pa.compute
    if _any(trimmed(values[:LOOK]), _TIME_OF_DAY):
        return _seconds(trimmed(values))
    if not _all(trimmed(values[:LOOK]), r"^[+-]?([.0-9]|(?i:inf))"):
        return None
    if (found := _cast(values)) is not None:  # without copies of all texts
        return found
    values = trimmed(values)
    if (found := _cast(values)) is None:
        found = _cast(pc.replace_substring_regex(with_points(values), r"^\+", ""))
    return found


def _seconds(texts: Any) -> Any:
    """Trimmed texts such as 7:05 or 07:05:30 as an Arrow array of seconds; None if one is no such text."""
    pa = arrow()
    if not _all(texts, _TIME_OF_DAY):
        return None
    parts = [None if text is None else [float(part) for part in text.split(":")] for text in texts.to_pylist()]
    return pa.array([part and 3600 * part[0] + 60 * part[1] + sum(part[2:]) for part in parts], pa.float64())


def trimmed(texts: Any) -> Any:
    """Texts without spaces around them, null for gaps."""
    pa = arrow()
    texts = pa.compute.utf8_trim_whitespace(texts)
    gap = pa.compute.is_in(texts, pa.array(sorted(GAPS), texts.type))
    return pa.compute.if_else(gap, pa.scalar(None, texts.type), texts)


def with_points(texts: Any) -> Any:
    """Trimmed texts of numbers with a decimal comma, or commas between thousands, written with a point; else the same.

    What the comma is must show in one of them: 1,5 has a decimal comma, and 1,234,567 has none.
    """
    pc = arrow().compute
    if _any(texts, _COMMAS_OF_THOUSANDS) and _all(texts, GROUPED):
        return pc.replace_substring(texts, ",", "")
    return point_for_comma(texts) if _all(texts, POINTS) and _has_decimal_comma(texts) else texts


def point_for_comma(texts: Any) -> Any:
    """Texts that are all POINTS with a decimal point, and nothing between thousands."""
    pc = arrow().compute
    return pc.replace_substring(pc.replace_substring(texts, ".", ""), ",", ".")


def _has_decimal_comma(texts: Any) -> bool:
    """Whether one of these texts, which are all POINTS, has a comma that cannot be one of thousands."""
    pc = arrow().compute
    unclear = pc.match_substring_regex(texts, THOUSANDS)
    return pc.any(pc.and_(pc.match_substring(texts, ","), pc.invert(unclear))).as_py() is True


def _cast(texts: Any) -> Any:
    """Texts as an Arrow array of numbers, int64 where float64 would round one; None if one is no number.

    Infinite ones are numbers, too: they are refused with their row, where names would be learned from in silence.
    """
    pa = arrow()
    pc = pa.compute
    try:
        found = texts.cast(pa.float64())
        largest = pc.max(pc.abs(found)).as_py() or 0.0
        if pc.any(pc.is_nan(found)).as_py():
            return None
    except pa.ArrowInvalid:
        return None
    return texts.cast(pa.int64()) if EXACT <= largest < 9.2e18 and _all(texts, "^-?[0-9]+$") else found


def _all(values: Any, pattern: str) -> bool:
    pc = arrow().compute
    return pc.all(pc.match_substring_regex(values, pattern)).as_py() is not False


def _any(values: Any, pattern: str) -> bool:
    pc = arrow().compute
    return pc.any(pc.match_substring_regex(values, pattern)).as_py() is True


def _no_number(cells: Any) -> tuple[int, str]:
    """Row and text of the first cell that keeps a column from being one of numbers, also of those with a comma."""
    codes, names = texts(cells)
    bad = np.array([as_number(name.replace(",", ".")) is None for name in names] + [False])[codes]
    if not bad.any():
        bad = np.array([as_number(name) is None for name in names] + [False])[codes]
    row = int(np.argmax(bad))
    return row, names[codes[row]]


def _strptime(values: Any, form: str) -> Any:
    """Texts as an Arrow array of timestamps, null for gaps; None if one has another form."""
    pa = arrow()
    pc = pa.compute
    texts = trimmed(values.cast(pa.string()))
    if form in _EXACT_TIMES:
        try:
            return texts.cast(pa.timestamp("us", "UTC" if form.endswith("%z") else None))
        except pa.ArrowInvalid:
            return None
    written = texts
    if "%b" in form:  # numbers for the names of months: what the system knows by %b depends on its language
        written = pc.replace_substring(texts, ",", "")
        for month, name in enumerate(_MONTHS, 1):
            written = pc.replace_substring_regex(written, rf"(?i)\b{name}\b\.?", f"<{month:02}>")
    found = pc.strptime(written, form.replace("%b", "<%m>"), "s", error_is_null=True)
    of_20 = pc.less(pc.year(found), 1000)  # 1/2/20 is not of the year 20
    found = pc.if_else(of_20, pa.scalar(None, found.type), found)
    gap = pc.is_null(texts)
    return found if pc.all(pc.or_(gap, pc.is_valid(found))).as_py() is not False else None
