"""The batches of an epoch: their number, sizes and places, at any number of rows."""

from hypothesis import given
from hypothesis import strategies as st

from fastff.engine.batches import Batches


@given(rows=st.integers(1, 300), size=st.integers(1, 350))
def test_every_row_is_in_one_batch_and_all_but_the_last_are_full(rows, size):
    batches, order = Batches(rows, size), list(range(rows))
    parts = [order[batches.slice(number)] for number in range(len(batches))]
    assert [row for part in parts for row in part] == order
    assert [len(part) for part in parts] == batches.sizes.tolist()
    assert [part[0] for part in parts] == batches.starts.tolist()
    assert all(len(part) == size for part in parts[:-1])
    assert 0 < len(parts[-1]) <= size
