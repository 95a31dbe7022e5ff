"""The target of a table: whether it holds classes or numbers, and the number of the class that a label names."""

import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from fastff.data import cells as parse
from fastff.data.decimals import as_written
from fastff.errors import ArgumentError, DataError

MOST_CLASSES = 20  # different whole numbers that are still taken for classes
MOST_FRACTIONS = 10  # and different fractions
FEW = 10  # different numbers that are classes even if hardly one repeats
GAPS = parse.GAPS - {"None"}  # what may not be a class: of those, None often is one ("None", "Mild", "Severe")
LISTED = 20  # classes that a message names


class ClassNames:
    """Finds the number of a class, or of a text with a feature of its own, by its name: as it is written, or else in
    other letters (ANT for ant), or as the same number (1.0 for 1), where only one is meant."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._exact = {name: i for i, name in enumerate(names)}
        self._folded = _single((name.casefold(), i) for i, name in enumerate(names))
        self._equal = _single((parse.as_number(name), i) for i, name in enumerate(names))

    @property
    def gaps(self) -> frozenset[str]:
        """What is no class: the spellings of a gap but those that are names of classes."""
        return GAPS - self._exact.keys()

    def numbers(self, cells: Any, column: str) -> np.ndarray:
        """The number of the class in each cell, int64 (N,). Raises DataError for a gap and for an unknown class."""
        codes, names = parse.texts(cells, self.gaps)
        check_no_gaps(codes < 0, column)
        found = np.array([self.find(name) for name in names], np.int64)
        numbers: np.ndarray = found[codes] if len(found) else codes
        if (numbers < 0).any():
            row = int(np.argmax(numbers < 0))
            unknown = names[codes[row]]
            listed = ", ".join(self.names[:LISTED]) + (", ..." if len(self.names) > LISTED else "")
            raise parse.CellError(f"column {column!r}: the class {unknown[:40]!r}", row, f"one of: {listed}")
        return numbers

    def find(self, name: str) -> int:
        """The number of a name, -1 for an unknown one."""
        folded = self._folded.get(name.casefold(), -1)
        number = parse.as_number(name)
        equal = -1 if number is None else self._equal.get(number, -1)
        return self._exact.get(name, folded if folded >= 0 else equal)


def _single(pairs: Iterable[tuple[Hashable, int]]) -> dict[Any, int]:
    """Each key's value, of keys with one value only."""
    found = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: values[0] for key, values in found.items() if len(values) == 1}


def class_names_of(cells: Any, column: str) -> tuple[str, ...]:
    """The classes in a column as they are written, numbers by size and others by name. Raises DataError for a gap.

    One number that is written in two ways, as 1 and 1.0, is one class, unless leading zeros say that it is a code.
    """
    codes, words = parse.texts(cells, GAPS)
    check_no_gaps(codes < 0, column)
    names = [words[i] for i in np.flatnonzero(np.bincount(codes))]  # a dictionary may have words that no row has
    numbers = [parse.as_number(name) for name in names]
    if any(number is None for number in numbers) or _are_codes(names):
        if len(names) == len(codes) and len(codes) > MOST_CLASSES:
            raise DataError(f"column {column!r}: another text in each of {len(codes)} rows, want classes or numbers")
        return tuple(sorted(names))
    shortest: dict[Any, str] = {}
    for number, name in sorted(zip(numbers, names, strict=True), key=lambda pair: (pair[0], len(pair[1]), pair[1])):
        shortest.setdefault(number, name)
    return tuple(shortest.values())


def choose_task(targets: Sequence[Any], names: Sequence[str], task: str) -> tuple[str, str]:
    """The task, and why: text, flags and few different numbers are classes, others are numbers to predict.

    Raises ArgumentError for several targets that are no numbers, or for which classes are asked.
    """
    if task == "classify" and len(names) > 1:
        raise ArgumentError(f"task: classify with the targets {', '.join(names)}, want one target")
    if task != "auto":
        return task, f"{task}, as was asked for"
    if len(names) > 1:
        return "regress", f"regress, as there are {len(names)} targets"
    cells, name = targets[0], names[0]
    kind = cells.type
    pa = parse.arrow()
    text = parse.is_text(cells)
    if text:
        parse.check_clear(cells, name)
    if kind == pa.bool_() or (text and not parse.are_numbers(cells)):
        return "classify", f"classify, as {name!r} holds {'names' if text else 'true and false'}"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        raise DataError(f"column {name!r}: dates, want classes or numbers as the target")
    values = parse.numbers(cells, name)
    rows, different = len(values), np.unique(values[~np.isnan(values)])
    whole = bool((different == np.floor(different)).all())
    count = f"{len(different):,} different {'whole numbers' if whole else 'numbers'} in {rows:,} rows"
    most = MOST_CLASSES if whole else MOST_FRACTIONS
    often = len(different) <= (FEW if whole else 0) or len(different) * (2 if whole else 5) <= rows
    if len(different) <= most and often:
        return "classify", f"classify, as {name!r} holds {count} (task regress predicts them as numbers)"
    return "regress", f"regress, as {name!r} holds {count} (task classify makes each a class)"


def target_numbers(cells: Any, column: str) -> np.ndarray:
    """The numbers of a target, float64 (N,). Raises DataError for a gap and for what is no number."""
    values = parse.numbers(cells, column)
    check_no_gaps(np.isnan(values), column)
    return values


def without_labels(
    targets: Sequence[Any], names: Sequence[str], task: str, decimal: str, gaps: frozenset[str] = GAPS
) -> np.ndarray:
    """Which rows have a gap in a target, as flags (N,); gaps: what is one in a column of classes."""
    if task == "classify":
        missing: np.ndarray = parse.texts(targets[0], gaps)[0] < 0
        return missing
    found = [parse.numbers(as_written(cells, decimal), name) for cells, name in zip(targets, names, strict=True)]
    return np.any(np.isnan(found), axis=0)


def check_no_gaps(missing: np.ndarray, column: str) -> None:
    if missing.any():
        raise DataError(
            f"column {column!r}: {int(missing.sum())} of {len(missing)} values are missing, the first at row "
            f"{int(np.argmax(missing))}; want the target in every row, leave out the others"
        )


def printable(name: str) -> str:
    """A name with its control characters and line ends as escapes, so that it is one line."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in name)


def _are_codes(names: Sequence[str]) -> bool:
    return any(name[:1] == "0" and name[1:2].isdigit() for name in names)
