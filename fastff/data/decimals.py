"""Whether a comma or a point is the decimal sign of a table of text: its cells say so, or the table of the training."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from fastff.data.cells import GAPS, LOOK, NUMBER, POINTS, THOUSANDS, arrow, is_text, point_for_comma, trimmed
from fastff.errors import DataError


def shows_comma(cells: Collection[str]) -> bool:
    """Whether the cells of a column are all numbers or gaps, and one of them must have a decimal comma."""
    return any("," in cell and not re.match(THOUSANDS, cell) for cell in cells) and all(
        re.match(POINTS, cell) or cell in GAPS for cell in cells
    )


def columns_show_comma(table: Any) -> bool:
    """Whether a column of a table, which was read with the decimal point, holds only numbers with the decimal comma."""
    for column in table.columns:
        words = _words(column, POINTS)
        if words is not None and shows_comma(words.drop_null().to_pylist()):
            return True
    return False


def with_points(table: Any, texts: Sequence[str], source: object, *, shown: bool) -> Any:
    """A table that was read with the decimal comma: numbers such as 1.234,50 are written as 1234.50.

    texts: columns that are left as they are written. shown: whether the table itself shows that it has decimal commas.
    If it does not, raises DataError where a column such as 1.234 is beside one such as 0.5, which has a decimal point.
    """
    grouped = pointed = None
    for i, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if name in texts:
            continue
        words = _words(column, POINTS)
        if words is not None:
            if arrow().compute.any(arrow().compute.match_substring(words, ".")).as_py():
                grouped = grouped or name
            table = table.set_column(i, name, _with_point(column))
        elif _words(column, NUMBER) is not None:
            pointed = pointed or name
    if grouped and pointed and not shown:
        raise DataError(
            f"{source}: column {pointed!r} has decimal points, and column {grouped!r} may have points between "
            "thousands as in the training; want one decimal sign"
        )
    return table


def as_written(column: Any, decimal: str) -> Any:
    """A column that was read as it is written in a file with this decimal sign, its numbers with a point."""
    return _with_point(column) if decimal == "," and _words(column, POINTS) is not None else column


def _with_point(column: Any) -> Any:
    return point_for_comma(trimmed(column.cast(arrow().string())))


def _words(column: Any, pattern: str) -> Any:
    """The texts in a column, each at least once, if there are some and all but gaps match the pattern; else None."""
    pa = arrow()
    if not is_text(column):
        return None
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk for chunk in chunks]
    for size in (LOOK, None):  # most columns are known after the first cells
        some = [trimmed(part[:size]) for part in parts]
        matches = [pa.compute.match_substring_regex(part, pattern) for part in some]
        if not all(pa.compute.all(match).as_py() is not False for match in matches):
            return None
    words = pa.chunked_array(some, some[0].type) if some else None
    return words if words is not None and words.null_count < len(words) else None
