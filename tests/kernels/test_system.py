"""What the kernels ask of the operating system: a file is read from any place, and waiting ends."""

import os

import numpy as np
import pytest

from fastff.kernels import system
from fastff.kernels.compiler import entry_point

CONTENT = np.random.default_rng(0).integers(0, 256, 5000, np.uint8)


@entry_point
def read(file, out, count, at):
    return system.read(file, out, count, at)


@entry_point
def wait(times):
    for _ in range(times):
        system.yield_core()
        system.sleep(20)
    return times


@pytest.fixture
def opened(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT.tobytes())
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(("count", "at", "got"), [(5000, 0, 5000), (7, 4096, 7), (100, 4990, 10), (1, 4999, 1)])
def test_bytes_come_from_where_they_are_asked_for(opened, count, at, got):
    out = np.full(count + 8, 7, np.uint8)
    assert read(system.handle(opened), out.ctypes.data, count, at) == got
    np.testing.assert_array_equal(out[:got], CONTENT[at : at + got])
    assert (out[got:] == 7).all()
    assert read(system.handle(opened), out.ctypes.data, count, at) == got  # there is no position that moves


@pytest.mark.parametrize("at", [5000, 5001, 1 << 40])
def test_behind_the_end_there_is_nothing(opened, at):
    out = np.zeros(8, np.uint8)
    assert read(system.handle(opened), out.ctypes.data, 8, at) == 0


def test_a_file_that_is_not_open_is_no_crash():
    out = np.zeros(8, np.uint8)
    assert read(-1, out.ctypes.data, 8, 0) <= 0


def test_waiting_ends():
    assert wait(3) == 3
