"""What the kernels ask of the operating system. Windows has other functions for it, under other names.

             POSIX        Windows
yield_core   sched_yield  SwitchToThread
sleep        usleep       Sleep, which counts milliseconds
read         pread        ReadFile, which takes a handle in place of a descriptor, and the offset in a structure

The names of Windows are those of Microsoft's Win32 API reference (processthreadsapi.h, synchapi.h, fileapi.h).
"""

import sys

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .emit import I8, I32, I64, address, emits, i64

AT_ONCE = 1 << 30  # bytes that ReadFile is asked for at most: it counts them in 32 bits

if sys.platform == "win32":
    from msvcrt import get_osfhandle as handle

    @emits(types.void)
    def yield_core(e):
        e.llvm("SwitchToThread", I32)

    @emits(types.void, i64)
    def sleep(e, microseconds):
        """Sleep for so many whole milliseconds; for less than one, let any other thread that is ready have the core.

        Rounded up, each wait would take a tick of the system's clock, by default 15.6 ms.
        """
        e.llvm("Sleep", ir.VoidType(), e.b.trunc(e.b.udiv(microseconds, I64(1000)), I32))

    @emits(i64, i64, address, i64, i64)
    def read(e, handle, out, count, at):
        """Read at most count bytes from this place in a file; returns how many there were, 0 where it failed."""
        b = e.b
        overlapped = cgutils.alloca_once(b, ir.ArrayType(I64, 4))  # the third of its four 64-bit words is the offset
        got = cgutils.alloca_once(b, I32)
        b.store(ir.Constant(ir.ArrayType(I64, 4), None), overlapped)
        b.store(at, b.gep(overlapped, [I32(0), I32(2)]))
        b.store(I32(0), got)
        most = b.select(b.icmp_signed("<", count, I64(AT_ONCE)), count, I64(AT_ONCE))
        pointer = b.inttoptr(out, I8.as_pointer())
        e.llvm("ReadFile", I32, handle, pointer, b.trunc(most, I32), got, b.bitcast(overlapped, I64.as_pointer()))
        return b.zext(b.load(got), I64)

else:

    def handle(descriptor: int) -> int:
        """What `read` takes for an open file, given its descriptor."""
        return descriptor

    @emits(types.void)
    def yield_core(e):
        e.llvm("sched_yield", I32)

    @emits(types.void, i64)
    def sleep(e, microseconds):
        """Sleep for so many microseconds."""
        e.llvm("usleep", I32, e.b.trunc(microseconds, I32))

    @emits(i64, i64, address, i64, i64)
    def read(e, descriptor, out, count, at):
        """Read at most count bytes from this place in a file; returns how many there were, -1 where it failed."""
        return e.llvm("pread", I64, e.b.trunc(descriptor, I32), e.b.inttoptr(out, I8.as_pointer()), count, at)
