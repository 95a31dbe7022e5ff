"""The rows of a table that are held out to validate and to test: chosen by a seed, the same share of every class."""

import hashlib
import itertools
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from fastff.data.rows import Rows
from fastff.errors import DataError
from fastff.system.arguments import is_whole
from fastff.system.blocks import row_blocks

VALIDATION_SHARE = 0.1  # of the rows that are left after the test's
TEST_SHARE = 0.2  # that the commands hold out of a table
BINS = 10  # of equally many rows, by size, in place of classes where the target is a number


@dataclass(frozen=True)
class TableSplit:
    """Which rows of which table were held out; a run saves it, so that `fastff.evaluate --split` finds them again.

    rows, digest: how many there are in the table, and a hash of their features and labels. test: the file with the
    test rows, where they are another table's; then test_share is 0.
    """

    test_share: float
    seed: int
    rows: int
    digest: str
    test: str = ""

    @property
    def description(self) -> dict[str, Any]:
        """The split as values of JSON."""
        return asdict(self)

    def of(self, x: np.ndarray, y: np.ndarray, task: str, source: object) -> dict[str, np.ndarray]:
        """The numbers of the rows for "train", "val" and "test". Raises DataError for rows of another table."""
        if len(y) != self.rows or digest_of(x, y) != self.digest:
            found = f"{len(y):,} rows with labels" if len(y) != self.rows else "other values"
            raise DataError(
                f"{source}: another table than the model was trained on ({found}, want the same {self.rows:,} rows); "
                "without --split all of its rows are scored"
            )
        return split_rows(y, task, self.test_share, self.seed, source)


def split_from(description: Any, source: object) -> TableSplit:
    """The split that was described. Raises DataError for anything that `description` would not return."""
    names = [field.name for field in fields(TableSplit)]
    good = isinstance(description, dict) and set(description) == set(names)
    if good:
        share, seed, rows, digest, test = (description[name] for name in names)
        good = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share < 1
        good &= is_whole(seed) and seed >= 0 and is_whole(rows) and rows > 0
        good &= isinstance(digest, str) and isinstance(test, str)
    if not good:
        raise DataError(f"{source}: the split of a table is damaged, want what a run has saved")
    return TableSplit(**description)


def digest_of(x: Rows, y: np.ndarray) -> str:
    """A hash of rows and labels, the same on every machine. Rows in files are read a block at a time."""
    found = hashlib.sha256(f"{x.shape} {x.dtype} {y.dtype}".encode())
    for block in itertools.chain(row_blocks(x), [y]):
        found.update(np.ascontiguousarray(block).data)
    return found.hexdigest()


def digests_of(*pairs: tuple[Rows | None, np.ndarray | None]) -> str:
    """The beginnings of several hashes of rows and labels, for a person to compare; what is None is left out."""
    return "-".join(digest_of(x, y)[:8] for x, y in pairs if x is not None and y is not None)


def split_rows(labels: np.ndarray, task: str, test_share: float, seed: int, source: object) -> dict[str, np.ndarray]:
    """The numbers of the rows for "train", "val" and, where test_share is not 0, "test"; each rise.

    Raises DataError where there are too few rows.
    """
    groups, rest = _groups(labels, task), np.arange(len(labels), dtype=np.int64)
    parts = {}
    random = np.random.PCG64(seed)
    for name, share in (("test", test_share), ("val", VALIDATION_SHARE)):
        if share:
            place = _hold_out(groups[rest], share, random)
            if not len(place):
                what = "class" if task == "classify" else "table"
                if name == "val" and test_share:
                    raise DataError(
                        f"test_share: {test_share:g} of the {len(labels):,} rows of {source}, want less, as two or "
                        f"more rows of a {what} are needed beside them"
                    )
                raise DataError(
                    f"{source}: {len(labels):,} rows, want two or more of a {what}, as some are held out to {name}"
                )
            parts[name], rest = rest[place], np.delete(rest, place)
    return {"train": rest, **parts}


def stratified(labels: np.ndarray, task: str, share: float, seed: int) -> np.ndarray:
    """The numbers of the rows, which rise, of about this share of every class, or of every size of the target."""
    return _hold_out(_groups(labels, task), share, np.random.PCG64(seed))


def _groups(labels: np.ndarray, task: str) -> np.ndarray:
    """For each row the number of its group: its class, or one of BINS by the size of its (first) number."""
    if task == "classify":
        return labels
    first = labels if labels.ndim == 1 else labels[:, 0]
    bins = min(BINS, max(1, len(first) // BINS))
    groups = np.empty(len(first), np.int64)
    groups[np.argsort(first, kind="stable")] = np.arange(len(first), dtype=np.int64) * bins // len(first)
    return groups


def _hold_out(groups: np.ndarray, share: float, random: np.random.PCG64) -> np.ndarray:
    """The numbers of the rows to hold out: this share in all and, as nearly as can be, of each group, never all."""
    counts = np.bincount(groups).astype(np.int64)
    total = max(1, round(len(groups) * share))
    exact = counts * (total / len(groups))
    quota = np.minimum(exact.astype(np.int64), np.maximum(counts - 1, 0))
    # What rounding leaves over goes to the groups that lose most by it, of equal ones to the first.
    for group in np.argsort(quota - exact, kind="stable")[: max(0, total - int(quota.sum()))]:
        quota[group] += counts[group] > quota[group] + 1
    # NumPy guarantees the raw numbers of a bit generator in all its versions, but not the shuffles made from them.
    order = np.argsort(random.random_raw(len(groups)), kind="stable")
    few = groups.astype(np.uint16) if len(counts) < 1 << 16 else groups  # which are sorted much faster
    by_group = order[np.argsort(few[order], kind="stable")]  # the rows of each group together, in a random order
    starts = np.cumsum(counts) - counts
    chosen = np.arange(len(groups)) - np.repeat(starts, counts) < np.repeat(quota, counts)
    return np.sort(by_group[chosen])
