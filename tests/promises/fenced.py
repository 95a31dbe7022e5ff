"""NumPy's arrays behind fences: whatever reads or writes past the end of one, or after it was freed, ends the process.

The values of each array end where a page begins that nobody may touch, and pages are never used again. New memory is
filled with NaN, so that what is read before it is written shows. For Linux only.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from numba import cfunc, njit, types

from fastff.kernels.emit import load_i64, store_i64

PAGE = 4096
BYTES_BEFORE = 32  # of the pages' length, the size, and what tells whether somebody has written in front of the array
MARK = 0x5EA1ED
NOBODY, READ_WRITE, PRIVATE, FIXED = 0, 3, 0x22, 0x10
SET_HANDLER = 304  # the place of PyDataMem_SetHandler in NumPy's table of functions

i64 = types.int64


class _Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free")]


class _Handler(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator)]


def build() -> Callable[[], object] | None:
    """Compile the fences; the function that puts every array which its thread makes from then on behind one."""
    if not sys.platform.startswith("linux"):
        return None
    mmap = types.ExternalFunction("mmap", i64(i64, i64, types.int32, types.int32, types.int32, i64))
    mprotect = types.ExternalFunction("mprotect", types.int32(i64, i64, types.int32))
    memset = types.ExternalFunction("memset", i64(i64, types.int32, i64))
    memcpy = types.ExternalFunction("memcpy", i64(i64, i64, i64))
    abort = types.ExternalFunction("abort", types.void())

    @njit
    def new(size):
        room = (max(size, 1) + 15) // 16 * 16
        length = (room + BYTES_BEFORE + PAGE - 1) // PAGE * PAGE
        base = mmap(0, length + PAGE, READ_WRITE, PRIVATE, -1, 0)
        if base == -1:
            return i64(0)
        mprotect(base + length, PAGE, NOBODY)
        at = base + length - room
        store_i64(at - 8, MARK)
        store_i64(at - 16, length)
        store_i64(at - 24, size)
        return at

    @njit
    def drop(at):
        if load_i64(at - 8) != MARK:
            abort()
        length, room = load_i64(at - 16), (max(load_i64(at - 24), 1) + 15) // 16 * 16
        mmap(at + room - length, length + PAGE, NOBODY, PRIVATE | FIXED, -1, 0)

    @cfunc(i64(i64, i64))
    def malloc(context, size):
        at = new(size)
        if at != 0 and size <= 1 << 20:
            memset(at, 0xFF, size)
        return at

    @cfunc(i64(i64, i64, i64))
    def calloc(context, count, size):
        return new(count * size)  # fresh pages are zeros

    @cfunc(i64(i64, i64, i64))
    def realloc(context, old, size):
        at = new(size)
        if at != 0 and old != 0:
            memcpy(at, old, min(size, load_i64(old - 24)))
            drop(old)
        return at

    @cfunc(types.void(i64, i64, i64))
    def free(context, at, size):
        if at != 0:
            drop(at)

    core = sys.modules.get("numpy._core._multiarray_umath") or sys.modules["numpy.core._multiarray_umath"]
    ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
    ctypes.pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.pythonapi.PyCapsule_GetPointer(core._ARRAY_API, None)
    functions = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(functions[SET_HANDLER])
    handler = _Handler(b"fenced", 1, _Allocator(None, *(f.address for f in (malloc, calloc, realloc, free))))
    ctypes.pythonapi.PyCapsule_New.restype = ctypes.py_object
    ctypes.pythonapi.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    capsule = ctypes.pythonapi.PyCapsule_New(ctypes.addressof(handler), b"mem_handler", None)
    _kept.append((handler, malloc, calloc, realloc, free, capsule))
    return partial(set_handler, capsule)


_kept: list[object] = []


def aligned(count: int, dtype: type = np.float32) -> np.ndarray:
    """fastff.engine.panels.aligned without the room for alignment: behind a fence, whole cache lines begin on one."""
    size = count * np.dtype(dtype).itemsize
    return np.zeros(-(-size // 64) * 64, np.uint8)[:size].view(dtype)
