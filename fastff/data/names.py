"""Arguments that name columns of a table."""

import difflib
from collections.abc import Sequence
from typing import Any

from fastff.errors import ArgumentError, DataError
from fastff.system.arguments import shown

MOST_LISTED = 20  # columns that a message lists


def as_names(argument: str, given: Any) -> tuple[str, ...]:
    """The names of columns in an argument, none for None. Raises ArgumentError for anything but a sequence of texts."""
    names = () if given is None else tuple(given) if isinstance(given, list | tuple) else None
    if names is None or not all(isinstance(name, str) for name in names):
        such = f", such as [{given!r}]" if isinstance(given, str) else ""
        raise ArgumentError(f"{argument}: {shown(given)}, want a list of names of columns{such}")
    return names


def near(name: str, names: Sequence[str]) -> str:
    """In an error for a name that is not there: the one that was meant, where one is near."""
    plain = {other.casefold(): other for other in names}
    found = difflib.get_close_matches(name.casefold(), plain, 1)
    return f" (did you mean {plain[found[0]]!r}?)" if found else ""


def chosen_targets(target: str | Sequence[str] | None, names: Sequence[str], source: object) -> tuple[str, ...]:
    """The target columns, as a tuple. Raises DataError where none is named, or one that the table does not have."""
    targets = as_names("target", (target,) if isinstance(target, str) else target)
    problem = "" if targets else "no target column named"
    problem = next((f"has no column {name!r}{near(name, names)}" for name in targets if name not in names), problem)
    if problem:
        listed = ", ".join(names[:MOST_LISTED]) + (", ..." if len(names) > MOST_LISTED else "")
        raise DataError(f"target: {source}: {problem}; want one of: {listed or '(the file is empty)'}")
    if len(set(targets)) < len(targets):
        raise ArgumentError(f"target: {targets!r} names a column twice, want each once")
    return targets


def check_named(argument: str, given: Sequence[str], names: Sequence[str], taken: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            listed = ", ".join(names[:MOST_LISTED])
            raise ArgumentError(f"{argument}: {name!r} is no column{near(name, names)}, want some of: {listed}")
        if name in taken:
            raise ArgumentError(f"{argument}: {name!r} is a target or left out, want another column")
