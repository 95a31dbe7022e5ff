"""A batch's rows read from files by the ranks themselves, each as many as it comes to.

A thread that copied rows beside them would take a core from one rank, and the others would wait for that one at the
next barrier: with rows of 3 KB that the page cache held, an epoch took 26% longer than in memory, and half of that so.
"""

from llvmlite import ir

from .compiler import kernel
from .vector import I32, I64, address, atomic_add, emits, i64, load_i64, store_i64

FILE = 3  # int64 of a file in the table: the number of its first row, the descriptor, where its first row begins
UNREAD, CLAIMED, STATE = 0, 8, 16  # int64 of the state, a cache line apart, and how many there are
SHARES = 16  # of a batch, for each rank
TRIES = 100  # reads in a row that may fail or bring nothing, as those that a signal interrupts


@emits(i64, i64, address, i64, i64)
def _pread(e, descriptor, out, count, at):
    pointer = e.b.inttoptr(out, ir.IntType(8).as_pointer())
    return e.llvm("pread", I64, e.b.trunc(descriptor, I32), pointer, count, at)


@kernel
def _read(descriptor, out, count, at):
    """Read count bytes; returns how many there were."""
    done, tries = 0, 0
    while done < count and tries < TRIES:
        got = _pread(descriptor, out + done, count - done, at + done)
        done, tries = (done + got, 0) if got > 0 else (done, tries + 1)
    return done


@kernel
def _number(index, picked, i):
    row = load_i64(index + 8 * i)
    return row if picked == 0 else load_i64(picked + 8 * row)


@kernel
def _read_share(files, count, picked, width, index, i, end, out, state):
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
            store_i64(state + 8 * UNREAD, 1 + load_i64(index + 8 * (i + done // width)))
        i += here


@kernel
def read_rows(files, count, picked, width, index, rows, out, state, size):
    """out[i] = row index[i], or picked[index[i]], of `count` files one after the other, of `width` bytes.

    files: FILE int64 a file, and once more, the number of rows in all. state: CLAIMED is 0 at the start, and must
    be made so again once all ranks are through. Where a row cannot be read, UNREAD becomes its index[i] + 1.
    """
    share = (rows + SHARES * size - 1) // (SHARES * size)
    start = atomic_add(state + 8 * CLAIMED, share)
    while start < rows:
        _read_share(files, count, picked, width, index, start, min(rows, start + share), out, state)
        start = atomic_add(state + 8 * CLAIMED, share)
