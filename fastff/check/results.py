"""What a check finds, and how an array of the student's is compared with the one that is wanted."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# What can come of a check. `follows`: wrong because of another part that has failed; `untried`: the code needs what
# is not there; `skipped`: nothing can be said, for no fault of the code's.
STATUSES = ("pass", "warn", "fail", "follows", "skipped", "untried", "to do", "other assignment")
WRONG = ("fail", "untried", "to do", "other assignment")
TOLERANCE = 1e-4  # of the largest value: float32 passes, and no mistake is as small


@dataclass(frozen=True)
class Result:
    """A check of one thing: what was found, what was wanted, and where docs/derivations.md says why."""

    name: str
    status: str
    found: str = ""
    wanted: str = ""
    error: float | None = None
    question: str = ""
    part: str = ""
    hint: str = ""
    section: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Results = Iterator[Result]


class Blocked(Exception):
    """A check cannot be made, for a reason that the student should read."""


def relative_error(found: Any, wanted: Any) -> float:
    """max |x - y| / max(1e-8, |x| + |y|), the relative error that courses use to compare gradients."""
    x, y = np.asarray(found, float), np.asarray(wanted, float)
    x = x.reshape(y.shape) if x.size == y.size else x
    if x.shape != y.shape or not x.size:
        return float("nan")
    return float(np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y))))


def close(found: Any, wanted: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two arrays are equal to a share of the largest value, and of one shape but for axes of length 1."""
    try:
        x, y = np.squeeze(np.asarray(found, float)), np.squeeze(np.asarray(wanted, float))
    except (TypeError, ValueError):
        return False
    if x.shape != y.shape or not np.isfinite(x).all():
        return False
    return bool(np.max(np.abs(x - y), initial=0) <= tolerance * max(np.max(np.abs(y), initial=0), 1e-30))


def scale_of(found: Any, wanted: Any, tolerance: float = TOLERANCE) -> float | None:
    """The factor k for which found = k * wanted, or None if there is none."""
    try:
        x, y = np.squeeze(np.asarray(found, float)), np.squeeze(np.asarray(wanted, float))
    except (TypeError, ValueError):
        return None
    if x.shape != y.shape or not np.isfinite(x).all():
        return None
    k = float(np.sum(x * y) / max(np.sum(y * y), 1e-300))
    return k if k and close(x, k * y, tolerance) else None


def shown(value: Any) -> str:
    """A value in a few words: a number, or the shape and the first three numbers of an array."""
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        return "nothing (None)" if value is None else f"a {type(value).__name__}"
    if array.size == 0 or value is None:
        return "nothing (None)" if value is None else "an empty array"
    if array.size == 1:
        return f"{array.item():.6g}"
    return f"{array.shape} [{' '.join(f'{v:.4g}' for v in array.ravel()[:3])}{' ...' if array.size > 3 else ''}]"


def compare(
    name: str, found: Any, wanted: Any, mistakes: Mapping[str, Any] | None = None, tolerance: float = TOLERANCE
) -> Result:
    """Pass if found is as wanted; otherwise fail, and say which of the known mistakes gives what was found."""
    error = None
    with suppress(TypeError, ValueError):
        error = relative_error(found, wanted)
    if close(found, wanted, tolerance):
        return Result(name, "pass", shown(found), shown(wanted), error)
    named = next((text for text, value in (mistakes or {}).items() if value is not None and close(found, value)), "")
    said = f"{named}: {shown(found)}" if named else shown(found)
    return Result(name, "fail", said, shown(wanted), error if error == error else None)


def holds(name: str, good: bool, wanted: str, otherwise: str, soft: bool = False) -> Result:
    """Pass if good, where what is wanted is found then; otherwise as judge."""
    return judge(name, good, wanted if good else otherwise, wanted, soft)


def judge(name: str, good: bool, found: str, wanted: str, soft: bool = False) -> Result:
    """Pass if good; otherwise a failure, or only a warning where the student's way is as good or nearly so."""
    return Result(name, "pass" if good else "warn" if soft else "fail", found, wanted)
