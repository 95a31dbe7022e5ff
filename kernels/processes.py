"""What several processes that train one network add to its program: they meet, agree on an end, and call C.

Each process has a share of every batch's rows (fastff.distributed). On one machine they meet at a barrier in memory
that they share; otherwise the functions of an MPI library carry what they exchange.
"""

import numpy as np
from llvmlite import ir

from .emit import I32, I64, address, emits, i64, load_f32, load_f64, load_i64, store_f32, store_i64
from .losses import is_finite
from .operation import anything, array, operation
from .run import AGREED, FAILED, STOP
from .team import arrive, await_all

FLAGS = 16  # float32 of a process's flags, a cache line: whether its loss is not finite, and whether it asks for an end


@emits(i64, address, *[i64] * 8)
def _call(e, function, *arguments):
    """What a C function that returns an int returns. It may take fewer arguments, ints and addresses in any mixture."""
    kind = ir.FunctionType(I32, [I64] * len(arguments))
    return e.b.sext(e.b.call(e.b.inttoptr(function, kind.as_pointer()), arguments), I64)


@operation
def come(meeting: array(np.int64), processes, process, /, thread, threads):
    """Say that this thread of the process has come as far."""
    arrive(meeting, process * threads + thread, processes * threads)


@operation
def await_others(meeting: array(np.int64), processes, process, /, control, thread, threads):
    """Wait until all threads of all processes have come as far."""
    return not await_all(meeting, control, process * threads + thread, processes * threads)


@operation
def flag(flags: array(np.float32, 2), /, losses, control, thread):
    """Write down whether this process's loss is not finite, and whether it is asked to end."""
    if thread == 0:
        store_f32(flags, np.float32(0.0 if is_finite(load_f64(losses)) else 1.0))
        store_f32(flags + 4, np.float32(load_i64(control + 8 * STOP)))


@operation
def agree(
    flags: array(np.float32, lambda fields, _: FLAGS * (fields["processes"] - 1) + 2), processes, /, control, thread
):
    """End at once where the loss of any process is not finite; where any asks for an end, after this step."""
    halt, stop = False, False
    for i in range(processes):
        halt |= load_f32(flags + 4 * FLAGS * i) != 0.0
        stop |= load_f32(flags + 4 * FLAGS * i + 4) != 0.0
    if stop and thread == 0:
        store_i64(control + 8 * AGREED, 1)
    return halt


@operation
def call(
    function, a0: anything, a1: anything, a2: anything, a3: anything, a4: anything, a5: anything, a6: anything,
    a7: anything, /, control, thread,
):  # fmt: skip
    """Call a C function that returns 0 where it succeeds; nothing once one has failed."""
    if thread == 0 and load_i64(control + 8 * FAILED) == 0:
        store_i64(control + 8 * FAILED, _call(function, a0, a1, a2, a3, a4, a5, a6, a7))


@operation
def check_calls(control):
    """End the run where a call has failed; behind a barrier."""
    return load_i64(control + 8 * FAILED)
