"""Schema: what the columns of a table are, and how they become the numbers that a network takes.

It is fitted to the table that a network is trained on and saved with the network, so that every later table goes
through it: columns are found by name, gaps and texts are treated as in training, and classes keep their names.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastff.data import cells as parse
from fastff.data.column import Column, column_from, fit_column
from fastff.data.decimals import as_written
from fastff.data.labels import ClassNames, choose_task, class_names_of, target_numbers, without_labels
from fastff.data.names import as_names, check_named, chosen_targets
from fastff.data.tables import as_in_file, as_table, decimal_sign, naming, without_rows
from fastff.errors import ArgumentError, DataError
from fastff.system.arguments import check_choice
from fastff.system.blocks import row_blocks
from fastff.system.limits import check_room

TASKS = ("auto", "classify", "regress")
FEW_ROWS = 20  # in fewer rows, whole numbers that never repeat are nothing to warn about
FLOAT32_MAX = float(np.finfo(np.float32).max)
MOST_NAMED = 10  # columns that one warning names


def _all(labels: np.ndarray, task: str) -> np.ndarray:
    return np.arange(len(labels), dtype=np.int64)


@dataclass(frozen=True)
class Schema:
    """What the columns of a table are, and how they become numbers.

    Parameters
    ----------
    columns : tuple of Column
        All columns but the targets, in the order of the table. ``kind`` of each is number, boolean, text, date or
        dropped; ``why`` says why one was dropped.
    target : tuple of str
        The column with the classes, or those with the numbers to predict.
    task : str
        ``"classify"`` or ``"regress"``.
    class_names : tuple of str
        The classes as they were written, in the order of their numbers; empty for a regression.
    reason : str
        Why this task was chosen.
    wide : bool
        Whether rows are float64, because float32 would not keep the differences in some column.
    decimal : str
        The decimal sign of the file, a point or a comma; later files, and frames with numbers in texts, have it too,
        unless they show another one.
    """

    columns: tuple[Column, ...]
    target: tuple[str, ...]
    task: str
    class_names: tuple[str, ...]
    reason: str
    wide: bool
    decimal: str = "."
    _classes: ClassNames = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_classes", ClassNames(self.class_names))

    @classmethod
    def fit(
        cls,
        table: Any,
        *,
        target: str | Sequence[str] | None,
        task: str = "auto",
        drop: Sequence[str] = (),
        categorical: Sequence[str] = (),
        source: object = "table",
    ) -> "Schema":
        """The schema of a table.

        Parameters
        ----------
        table : pyarrow.Table or frame
            A table of pyarrow, pandas, polars, or of another library that narwhals knows.
        target : str or sequence of str
            The column with the classes or the numbers to predict; several only for a regression.
        task : {"auto", "classify", "regress"}
            What the target holds. ``reason`` says why auto chose one.
        drop, categorical : sequence of str
            Columns to leave out, and columns whose values are names, also where they are numbers.
        source : object
            What messages begin with, such as the file of the table.

        Returns
        -------
        Schema

        Raises
        ------
        ArgumentError
            For a column that is not there, or is given twice.
        DataError
            For a table that no network can be trained on.

        Warns
        -----
        UserWarning
            Names columns that were dropped as nearly every text in them is another, and columns that may be an index.
        """
        options = {"target": target, "task": task, "drop": drop, "categorical": categorical}
        dropped = as_names("drop", drop)
        return cls.fit_to_part(as_table(table, source, lambda name: name not in dropped), options, source)[0]

    @classmethod
    def fit_to_part(
        cls, table: Any, options: dict[str, Any], source: object, choose: Callable[[np.ndarray, str], np.ndarray] = _all
    ) -> tuple["Schema", Any, np.ndarray]:
        """The schema, the rows of the table that have a target, and their labels.

        options: target, task, drop and categorical as for fit. choose: given labels and task, the numbers of the rows
        from which medians and texts are found; what kind a column is follows from all rows, so that all can be read.
        """
        task, given = check_choice("task", options["task"], TASKS), options["target"]
        drop, categorical = (as_names(argument, options[argument]) for argument in ("drop", "categorical"))
        names = table.column_names
        targets = chosen_targets(given, names, source)
        check_named("drop", drop, names, targets)
        check_named("categorical", categorical, names, (*targets, *drop))
        if table.num_rows < 1:
            raise DataError(f"{source}: no rows below the header")
        if len(names) == len(targets):
            raise DataError(f"{source}: {targets[-1]!r} is the only column, want at least one feature beside it")
        with naming(source):
            decimal = decimal_sign(table)
            found = [parse.plain(table.column(name), name) for name in targets]
            chosen, reason = choose_task([as_written(cells, decimal) for cells in found], targets, task)
            table = _with_targets(table, targets, without_labels(found, targets, chosen, decimal), source)
            found = [parse.plain(table.column(name), name) for name in targets]
            classes = class_names_of(found[0], targets[0]) if chosen == "classify" else ()
            if len(classes) == 1:
                raise DataError(f"column {targets[0]!r}: {classes[0]!r} in every row, want at least two classes")
        # Only with the classes do labels have numbers, and these say which rows are to be fitted.
        labels = cls((), targets, chosen, classes, reason, False, decimal).labels(table, source)
        rows = choose(labels, chosen)
        with naming(source, table):
            how = {**dict.fromkeys(drop, "drop"), **dict.fromkeys(categorical, "text")}
            pairs = zip(names, table.columns, strict=True)
            columns = [fit_column(column, name, how.get(name), rows) for name, column in pairs if name not in targets]
        wide = any(column.wide for column in columns)
        schema = cls(tuple(columns), targets, chosen, classes, reason, wide, decimal)
        if not schema.feature_names:
            why = "; ".join(f"{column.name!r}: {column.why}" for column in columns[:MOST_NAMED])
            raise DataError(f"{source}: no column is left to learn from ({why})")
        _warn(schema.columns, table.num_rows, source)
        return schema, table, labels

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name for each column of the rows, such as age, city=Bern or born.year."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns whose cells must be read as they are written: texts, and the target."""
        return (*(column.name for column in self.columns if column.kind == "text"), *self.target)

    def rows(self, table: Any, source: object = "table") -> np.ndarray:
        """The rows of a table as numbers.

        Parameters
        ----------
        table : pyarrow.Table or frame
            Has all columns that were learned from, in any order; others, and the target, are ignored.
        source : object
            What messages begin with.

        Returns
        -------
        ndarray of shape (N, len(feature_names)), float32 or float64

        Raises
        ------
        DataError
            For a column that is missing or is of another kind, and for infinite numbers.
        """
        used = [column for column in self.columns if column.features]
        table = as_table(table, source, {column.name for column in used}.__contains__)
        there = set(table.column_names)
        missing = [column.name for column in used if column.name not in there]
        if missing:
            listed = ", ".join(repr(name) for name in missing[:MOST_NAMED])
            raise DataError(
                f"{source}: has no column {listed}{', ...' if len(missing) > MOST_NAMED else ''}, which the model "
                f"learned from; found {', '.join(table.column_names[:MOST_NAMED]) or 'none'}"
            )
        if table.num_rows < 1:
            raise DataError(f"{source}: no rows below the header")
        width = sum(len(column.features) for column in used)
        kind = np.dtype(np.float64 if self.wide else np.float32)
        check_room(f"{source}: {table.num_rows:,} rows of {width:,} numbers", table.num_rows * width * kind.itemsize)
        out, at, given = np.empty((table.num_rows, width), kind), 0, table
        table = as_in_file(table.select([column.name for column in used]), self.texts, self.decimal, source)
        with naming(source, given), np.errstate(over="ignore"):
            for column, cells in zip(used, table.columns, strict=True):
                column.fill(cells, out[:, at : at + len(column.features)])
                at += len(column.features)
            _check_overflow(out, self.feature_names)
        return out

    def labels(self, table: Any, source: object = "table", target: str | None = None) -> np.ndarray:
        """The labels of a table: of a classification the number of each row's class, of a regression the numbers.

        Parameters
        ----------
        table : pyarrow.Table or frame
            Has the target columns.
        source : object
            What messages begin with.
        target : str, optional
            The column with the classes, where it has another name than in training.

        Returns
        -------
        ndarray
            int64 (N,), or for a regression float64 (N,), and (N, outputs) of several targets.

        Raises
        ------
        DataError
            For a column that is missing, a gap, or a class that was not in the table of the training.
        """
        targets = self.target if target is None else (target,)
        table = as_table(table, source, targets.__contains__)
        if len(targets) != len(self.target):
            raise ArgumentError(f"target: {target!r}, want it left out: the model has {len(self.target)} targets")
        for name in targets:
            if name not in table.column_names:
                listed = ", ".join(table.column_names[:MOST_NAMED])
                raise DataError(f"{source}: has no column {name!r} with the labels; found {listed}")
        with naming(source, table):
            found = [parse.plain(table.column(name), name) for name in targets]
            if self.task == "classify":
                return self._classes.numbers(found[0], targets[0])
            found = [as_written(cells, decimal_sign(table, self.decimal)) for cells in found]
            numbers = np.column_stack([target_numbers(cells, name) for cells, name in zip(found, targets, strict=True)])
            _check_overflow(numbers, targets)
        return numbers[:, 0] if len(targets) == 1 else numbers

    def labelled(self, table: Any, source: object = "table", target: str | None = None) -> tuple[Any, int]:
        """The rows of a table that have a label, and how many have none; `target` as for labels, which raises."""
        table = as_table(table, source)
        targets = self.target if target is None else (target,)
        if not set(targets) <= set(table.column_names):
            self.labels(table, source, target)
        with naming(source):
            found = [parse.plain(table.column(name), name) for name in targets]
            gaps = self._classes.gaps if self.task == "classify" else parse.GAPS
            missing = without_labels(found, targets, self.task, decimal_sign(table, self.decimal), gaps)
        rows = int(missing.sum())
        if rows == len(missing) > 0:
            raise DataError(f"{source}: no row has a label in the column {targets[0]!r}")
        return (without_rows(table, missing) if rows else table), rows

    def description(self) -> dict[str, Any]:
        """The schema as values of JSON, from which `from_description` makes it again."""
        return {
            "target": list(self.target),
            "task": self.task,
            "class_names": list(self.class_names),
            "reason": self.reason,
            "wide": self.wide,
            "decimal": self.decimal,
            "columns": [column.description() for column in self.columns],
        }

    @classmethod
    def from_description(cls, description: Any, source: object = "schema") -> "Schema":
        """The schema that was described. Raises DataError for anything that `description` would not return."""
        names = ("target", "task", "class_names", "reason", "wide", "decimal", "columns")
        if not isinstance(description, dict) or set(description) != set(names):
            raise DataError(f"{source}: columns of a table without {', '.join(names)}, want what a run has saved")
        target, task, classes, reason, wide, decimal, columns = (description[name] for name in names)
        texts = all(
            isinstance(listed, list) and all(isinstance(text, str) for text in listed) for listed in (target, classes)
        )
        good = texts and isinstance(columns, list) and isinstance(reason, str) and isinstance(wide, bool)
        good = good and decimal in (".", ",")
        if not good or task not in TASKS[1:] or not target or (task == "classify") != bool(classes):
            raise DataError(f"{source}: target, task or classes of a table are damaged, want what a run has saved")
        found = tuple(column_from(column, source) for column in columns)
        every = [*target, *(column.name for column in found)]
        if len(set(every)) < len(every) or len(set(classes)) < len(classes) or (classes and len(target) > 1):
            raise DataError(f"{source}: a column or a class of the table is there twice, want each once")
        return cls(found, tuple(target), task, tuple(classes), reason, wide, decimal)


def _with_targets(table: Any, targets: Sequence[str], missing: np.ndarray, source: object) -> Any:
    """The rows of a table of which none is missing, with a warning that says how many are left out."""
    rows = int(missing.sum())
    if not rows:
        return table
    listed = " or ".join(repr(name) for name in targets)
    if rows == len(missing):
        raise DataError(f"column {listed}: no row has a value, want the target in at least one")
    warnings.warn(f"{source}: {rows:,} of {len(missing):,} rows have no {listed} and are left out", stacklevel=4)
    return without_rows(table, missing)


def _check_overflow(values: np.ndarray, names: Sequence[str]) -> None:
    """Raise DataError for a number that is too large for float32, in which a network computes also with wide rows."""
    start = 0
    for block in row_blocks(values):
        good = np.abs(block) <= FLOAT32_MAX
        if not good.all():
            row, at = np.unravel_index(np.argmin(good), block.shape)
            raise parse.CellError(f"column {names[int(at)]!r}: beyond 3.4e38", start + int(row), "smaller numbers")
        start += len(block)


def _warn(columns: Sequence[Column], rows: int, source: object) -> None:
    """One line each for texts that say too little, and for what may be an index and no property of a row."""
    unique = [column.name for column in columns if column.why.startswith("nearly every")]
    counts = [column.name for column in columns if column.unique and rows >= FEW_ROWS]
    nameless = [column.name for column in columns if column.nameless and column.features]
    unclear = [column.name for column in columns if column.unclear]
    for found, what in (
        (unique, "dropped, as nearly every text is another (categorical keeps it)"),
        (nameless, "has no name: if it is the index of a frame, drop it"),
        (
            [name for name in counts if name not in nameless],
            "is another whole number in every row: an id? then drop it",
        ),
        (unclear, "was read as month/day/year; if that is wrong, write dates as 2020-12-31"),
    ):
        if found:
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            listed = ", ".join(repr(name) for name in found[:MOST_NAMED])
            warnings.warn(f"{source}: column {listed}{more}: {what}", stacklevel=4)
