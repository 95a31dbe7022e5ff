"""The batches of an epoch: how many there are, how long they are, and which rows they have."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Batches:
    """An epoch of `rows` rows, taken in batches of `size` rows; the last batch has what is left and may be smaller."""

    rows: int
    size: int

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    @cached_property
    def starts(self) -> np.ndarray:
        """The place in the epoch at which each batch begins, (batches,)."""
        return np.arange(0, self.rows, self.size, dtype=np.int64)

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many rows each batch has, (batches,)."""
        return np.minimum(self.rows - self.starts, self.size)

    def slice(self, number: int) -> slice:
        """The places in the epoch of the rows of one batch, whose number counts from 0."""
        return slice(number * self.size, (number + 1) * self.size)
