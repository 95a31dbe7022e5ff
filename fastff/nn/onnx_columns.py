"""The columns of a table as the first nodes of an ONNX graph: an input for each column, and rows of numbers from them.

It is what fastff.data.columns.Schema does with a table. A number or a flag is an input of float64, whose gap is NaN; a
text is a string, whose gap is an empty one or another of the usual spellings. ONNX knows no dates: of those, each part
that the network learned from is an input of its own, such as born.year.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from fastff.data.cells import GAPS
from fastff.data.column import Column
from fastff.data.columns import Schema
from fastff.data.labels import ClassNames
from fastff.errors import DataError


def inputs_of(schema: Schema, result: str, proto: Any) -> list[tuple[str, int]]:
    """A (name, type of TensorProto) for each input; result: the name of the output.

    Raises DataError for the name of a column that is the output's, or that of a part of a date.
    """
    inputs = [
        (name, proto.STRING if column.kind == "text" else proto.DOUBLE)
        for column in schema.columns
        if column.features
        for name in _names(column)
    ]
    counts = Counter([result, "", *(name for name, _ in inputs)])  # ONNX takes an empty name for no input
    taken = next((name for name, count in counts.items() if count > 1), None)
    if taken is not None:
        of = "an output or another input of the ONNX model is called so" if taken else "ONNX wants a name"
        raise DataError(f"column {taken!r}: {of}; want it renamed in the table, and the network trained on that")
    return inputs


def _names(column: Column) -> list[str]:
    """The names of a column's inputs."""
    return [f"{column.name}.{part}" for part in column.parts] if column.kind == "date" else [column.name]


class Columns:
    """Adds the nodes. add and constant: as in fastff.nn.onnx_graph; proto: onnx.TensorProto."""

    def __init__(self, add: Callable[..., str], constant: Callable[..., str], proto: Any) -> None:
        self._add, self._constant, self._proto = add, constant, proto

    def rows(self, schema: Schema) -> str:
        """The name of the rows, float64 (N, inputs of the network)."""
        parts = [part for column in schema.columns if column.features for part in self._parts(column)]
        return self._add("Concat", *parts, axis=1)

    def _parts(self, column: Column) -> list[str]:
        if column.kind == "text":
            return [self._text(column)]
        if column.kind == "date":
            return self._filled(column, _names(column), [column.part_of_median(part) for part in column.parts])
        value = column.name
        if column.offset:
            value = self._add("Sub", value, self._number(column, "offset", column.offset))
        return self._filled(column, [value], [column.median])

    def _filled(self, column: Column, values: list[str], medians: list[float]) -> list[str]:
        """The values with the median in the place of a gap, and whether there was one where gaps have an input."""
        gaps = [self._add("IsNaN", value) for value in values]
        filled = [
            self._add("Where", gap, self._number(column, f"median{i}", median), value)
            for i, (gap, median, value) in enumerate(zip(gaps, medians, values, strict=True))
        ]
        return [*filled, self._add("Cast", gaps[0], to=self._proto.DOUBLE)] if column.gap else filled

    def _text(self, column: Column) -> str:
        """A 1 for the text's own input and 0 for the others; a last place, for what has no input, is cut off."""
        inputs = len(column.features)
        other = len(column.texts) if column.other else inputs
        places, known = {text: i for i, text in enumerate(column.texts)}, ClassNames(column.texts)
        for text in column.texts:  # LabelEncoder has no way to take other letters for the same
            for form in (text.lower(), text.upper(), text.capitalize(), text.title()):
                if form not in GAPS and (place_of := known.find(form)) >= 0:
                    places.setdefault(form, place_of)
        if column.gap:
            places |= dict.fromkeys(sorted(GAPS - places.keys()), inputs - 1)
        place = self._add(
            "LabelEncoder", column.name, domain="ai.onnx.ml",
            keys_strings=list(places), values_int64s=list(places.values()), default_int64=other,
        )  # fmt: skip

        def whole(name: str, *numbers: int) -> str:
            return self._constant(f"{column.name}/{name}", np.array(numbers), np.int64)

        flag = self._constant(f"{column.name}/flag", np.array([0.0, 1.0]))
        flags = self._add("OneHot", place, whole("depth", inputs + 1), flag, axis=-1)
        flat = self._add("Reshape", flags, whole("shape", -1, inputs + 1))
        own = self._add("Slice", flat, whole("first", 0), whole("end", inputs), whole("axis", 1))
        return self._add("Cast", own, to=self._proto.DOUBLE)

    def _number(self, column: Column, name: str, value: float) -> str:
        return self._constant(f"{column.name}/{name}", np.array(value), np.float64)
