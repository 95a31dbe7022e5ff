"""A batch's rows, read from files by the threads of a run themselves, each as many as it comes to.

Another thread that copied the rows would take a core from one of them, and the others would wait for that one at the
next barrier: with rows of 3 KB in the page cache an epoch took 26% longer than in memory that way, and 13% this way.
"""

import numpy as np

from . import system
from .compiler import kernel
from .emit import atomic_add, load_i64, store_i64
from .operation import array, operation

FILE = 3  # int64 of a file in the table: its first row's number, its descriptor or handle, where its first row begins
# int64 of what the threads share, a cache line apart: the row that could not be read, or 0; how many rows of the batch
# are claimed; and how many int64 there are
UNREAD, CLAIMED, SHARED = 0, 8, 16
SHARES = 16  # of a batch, for each thread
TRIES = 100  # reads in a row that may fail or bring nothing, as those that a signal interrupts


@kernel
def _read(file, out, count, at):
    """Read count bytes; returns how many there were."""
    done, tries = 0, 0
    while done < count and tries < TRIES:
        got = system.read(file, out + done, count - done, at + done)
        done, tries = (done + got, 0) if got > 0 else (done, tries + 1)
    return done


@kernel
def _number(index, picked, i):
    row = load_i64(index + 8 * i)
    return row if picked == 0 else load_i64(picked + 8 * row)


@kernel
def _read_share(files, count, picked, width, index, i, end, out, shared):
    """Rows i..end of read_rows. Those that follow one another are read as one."""
    while i < end:
        row, low, high = _number(index, picked, i), 0, count
        while high - low > 1:
            middle = (low + high) // 2
            if load_i64(files + 8 * FILE * middle) <= row:
                low = middle
            else:
                high = middle
        file = files + 8 * FILE * low
        last = min(end - i, load_i64(file + 8 * FILE) - row)
        here = 1
        while here < last and _number(index, picked, i + here) == row + here:
            here += 1
        at = load_i64(file + 16) + (row - load_i64(file)) * width
        done = _read(load_i64(file + 8), out + i * width, here * width, at)
        if done < here * width:
            store_i64(shared + 8 * UNREAD, 1 + load_i64(index + 8 * (i + done // width)))
        i += here


def _batch(fields, rows):
    return rows * fields["width"]


@operation
def read(
    files: array(np.int64, lambda fields, _: FILE * fields["count"] + 1), count, picked: array(np.int64, optional=True),
    width, out: array(np.uint8, _batch), shared: array(np.int64, SHARED), /, index, rows, threads,
):  # fmt: skip
    """out[i] = row index[i], or picked[index[i]], of `count` files one after the other, of `width` bytes.

    files: FILE int64 a file, and once more, the number of rows in all. shared: CLAIMED is 0 at the start. Where a row
    cannot be read, UNREAD becomes its index[i] + 1.
    """
    share = (rows + SHARES * threads - 1) // (SHARES * threads)
    start = atomic_add(shared + 8 * CLAIMED, share)
    while start < rows:
        _read_share(files, count, picked, width, index, start, min(rows, start + share), out, shared)
        start = atomic_add(shared + 8 * CLAIMED, share)


@operation
def check_read(shared: array(np.int64, SHARED), /, thread):
    """End the run where a row could not be read, and let the next batch be claimed; behind a barrier after `read`."""
    if thread == 0:
        store_i64(shared + 8 * CLAIMED, 0)
    return load_i64(shared + 8 * UNREAD)
