"""Many steps of a network as one native call: a program of operations that several ranks run side by side.

A program is a table of int64, one operation a row: its code, the addresses of the arrays it works on, and their
sizes. So one compiled function serves every network, and a layer class runs its own operations through the same code
as a whole training epoch does: both give the same bits. Ranks are plain Python threads that called `run` without the
GIL; a spin barrier stands after every operation marked so. No rank allocates, and none waits for Python.

Every element has one order of summation whatever the number of ranks, and all ranks take the decision to stop from the
same memory behind a barrier, so they stop at the same step.

Several processes can train one network, each with a share of every batch's rows (fastff.distributed). Their programs
have operations more: they meet at a barrier in memory that they share, or call the functions of an MPI library, and
agree on when to stop. A "rank" is a thread of one process here, `part` one of so many processes.
"""

import numpy as np
from llvmlite import ir
from numba import types

from .augment import augment
from .compiler import cached, kernel
from .files import CLAIMED, UNREAD, read_rows
from .lanes import gather, scatter, transpose_gradient
from .linear import apply, backward, forward, update, update_bias
from .pointwise import RELU, activate, derive, dropout
from .softmax import RESULT, cross_entropy, weight_scale
from .target import LANES
from .targets import target_loss
from .tile import OFFSET, SCALE
from .vector import (
    I8,
    I32,
    I64,
    address,
    atomic_add,
    atomic_load,
    emits,
    flush_subnormals,
    i64,
    load_f32,
    load_f64,
    load_i64,
    restore_subnormals,
    spin_pause,
    store_f32,
    store_f64,
    store_i64,
)

# Operations. `arguments` in the columns that follow CODE and BARRIER, in this order:
GATHER = 1  # data, dtype, row stride, stride, mean, scale, features, x, own index or 0 for the batch's
LABELS = 2  # labels (int64), their copy in batch order (int32)
FORWARD = 3  # x, y, weights, bias, in, out, activation
LOSS = 4  # z, g, classes, labels, smoothing (address of a float32), scratch, whether to halt if it is not finite,
#           weights, whether there are any, whether to take the scale of the gradient from the step's numbers
TRANSPOSE = 5  # g, gt, out
BACKWARD = 6  # g, dx, h, weights, in, out, activation that made h
UPDATE = 7  # x, gt, weights, m, v, in, out, then what UPDATE_BIAS ends with, the panels to do (0, 0: all)
UPDATE_BIAS = (
    8  # gt, bias, m, v, out; gradients to add, how many, bytes between them; part and parts, to do a process's
)
#                  share alone (parts 0: all); the optimizer's numbers (0: the step's)
SCATTER = 9  # x, features, rows out
ACTIVATE = 10  # x, y, activation, features
DERIVE = 11  # g, h, activation, features
DROPOUT = 12  # x, y, keys (int64, one an epoch of the run), threshold, scale (address of a float32), features, whether
#               to count rows from the step's offset
AUGMENT = 13  # data, dtype, row stride, keys as in DROPOUT, shape, out, own index as in GATHER
TARGET_LOSS = 14  # z, g, outputs, targets, kind, then as LOSS
APPLY = 15  # g, weights, m, v, panels, whether they are biases
FLAG = 16  # where to say (two float32) whether the loss is not finite, and whether a stop is asked for
MEET = 17  # control block of the processes, how many they are, this one, whether to arrive or else to wait for all
AGREE = 18  # flags as FLAG says them, how many processes': halt at once where any loss is not finite, or stop next
CALL = 19  # a C function that returns 0, and its (up to) 8 arguments, for rank 0; what it returns else ends the run
READ = 20  # files, how many, picked or 0, bytes of a row, rows out, state
# at the end of an epoch what follows is run on other rows too, and the losses and hits of their batches are stored
EPOCH = 21  # index, rows, batch, losses, hits
KEEP = 22  # array, bytes, to: after that, a copy of the array, one behind the other epoch by epoch
CODE, BARRIER, ARGUMENTS = 0, 1, 2
COLUMNS = 17

# Slots of the control block, int64, a cache line apart
ARRIVED, STOP, STEP, GO, ABANDON = 0, 8, 16, 24, 32
AGREED, FAILED = 40, 48  # 1 where processes agree on stopping; what a CALL returned that failed
SEEN = 56  # and a slot for each rank: how often it has come to a barrier
LINE = 8  # slots of a cache line
LONG_WAIT = 1 << 15  # spins, about half a millisecond: the rank waited for has lost its core, so don't take another
HYPER = 16  # float32 slots of a step's hyperparameters; the weights' row comes first, then the biases'


@emits(types.void)
def _yield_core(e):
    e.llvm("sched_yield", I32)


@emits(types.void, i64)
def _sleep(e, microseconds):
    e.llvm("usleep", I32, e.b.trunc(microseconds, I32))


@emits(i64, address, *[i64] * 8)
def _call(e, function, *arguments):
    """What a C function that returns an int returns. It may take fewer arguments, ints and addresses in any mixture."""
    kind = ir.FunctionType(I32, [I64] * len(arguments))
    return e.b.sext(e.b.call(e.b.inttoptr(function, kind.as_pointer()), arguments), I64)


@emits(types.void, address, address, i64)
def _copy(e, to, array, size):
    pointers = [e.b.inttoptr(at, I8.as_pointer()) for at in (to, array)]
    e.llvm("memcpy", I8.as_pointer(), *pointers, size)


def control_slots(size):
    """The slots of a control block for so many ranks."""
    return SEEN + LINE * size


@kernel
def arrive(meeting, rank):
    """Say that a rank has come to a barrier, whose counters stand in a control block."""
    seen = meeting + 8 * (SEEN + LINE * rank)
    store_i64(seen, load_i64(seen) + 1)
    atomic_add(meeting + 8 * ARRIVED, 1)


@kernel
def await_all(meeting, control, rank, size):
    """Wait for all ranks to arrive as often as this one; False if this process abandons its run.

    Spins, then yields, so that more ranks than cores get on.
    """
    target = load_i64(meeting + 8 * (SEEN + LINE * rank)) * size
    spins = 0
    while atomic_load(meeting + 8 * ARRIVED) < target:
        spins += 1
        if spins & 255 == 0:
            if atomic_load(control + 8 * ABANDON) != 0:
                return False
            if spins < LONG_WAIT:
                _yield_core()
            else:
                _sleep(20)
        else:
            spin_pause()
    return True


@kernel
def barrier(control, rank, size):
    """Wait for all ranks; False if the run is abandoned."""
    if size > 1:
        arrive(control, rank)
        return await_all(control, control, rank, size)
    return True


@kernel
def _gather_labels(labels, index, rows, out, rank):
    if rank == 0:
        for i in range(rows):
            _store_i32(out + 4 * i, load_i64(labels + 8 * load_i64(index + 8 * i)))


@emits(types.void, address, i64)
def _store_i32(e, at, value):
    e.b.store(e.b.trunc(value, I32), e.b.inttoptr(at, ir.IntType(32).as_pointer()))


@kernel
def _reduce_loss(scratch, rows):
    """The batch's loss and hits, summed in one order by whoever asks."""
    loss, hits = 0.0, 0
    for v in range((rows + LANES - 1) // LANES):
        at = scratch + v * RESULT + RESULT - 64
        loss += load_f64(at)
        hits += load_i64(at + 8)
    return loss, hits


@kernel
def operate(op, index, epoch, step, first, rows, hyper, rank, size):
    """Run this rank's share of one operation, for the rows from `first` on: a batch, number `step` of its epoch."""
    code = op[CODE]
    a0, a1, a2, a3, a4, a5, a6, a7, a8 = op[2], op[3], op[4], op[5], op[6], op[7], op[8], op[9], op[10]
    a9, a10, a11, a12, a13, a14 = op[11], op[12], op[13], op[14], op[15], op[16]
    if code == GATHER:
        gather(a0, a1, a2, a3, a8 if a8 != 0 else index, rows, a4, a5, a6, a7, rank, size)
    elif code == LABELS:
        _gather_labels(a0, index, rows, a1, rank)
    elif code == FORWARD:
        forward(a0, a1, a2, a3, a4, a5, rows, a6 == RELU, rank, size)
    elif code == LOSS:
        scale = load_f32(hyper + 4 * SCALE) if a9 != 0 else weight_scale(a7, a8, rows)
        cross_entropy(a0, a1, a2, a3, load_f32(a4), a7, a8, rows, a5, scale, rank, size)
    elif code == TARGET_LOSS:
        target_loss(a4, a0, a1, a3, a2, a7, a8, rows, a5, rank, size)
    elif code == TRANSPOSE:
        transpose_gradient(a0, a1, a2, rows, rank, size)
    elif code == BACKWARD:
        backward(a0, a1, a2, a3, a4, a5, rows, a6 == RELU, rank, size)
    elif code == UPDATE:
        part, parts = a10 * size + rank, max(1, a11) * size
        update(a0, a1, a2, a3, a4, a5, a6, rows, a12 if a12 != 0 else hyper, a7, a8, a9, a13, a14, part, parts)
    elif code == UPDATE_BIAS:
        part, parts = a8 * size + rank, max(1, a9) * size
        update_bias(a0, a1, a2, a3, a4, rows, a10 if a10 != 0 else hyper + 4 * HYPER, a5, a6, a7, part, parts)
    elif code == SCATTER:
        scatter(a0, a1, rows, a2 + 4 * first * a1, rank, size)
    elif code == ACTIVATE:
        activate(a0, a1, a2, a3, rows, rank, size)
    elif code == DERIVE:
        derive(a0, a1, a2, a3, rows, rank, size)
    elif code == AUGMENT:
        augment(a0, a1, a2, a6 if a6 != 0 else index, index, rows, load_i64(a3 + 8 * epoch) + step, a4, a5, rank, size)
    elif code == READ:
        read_rows(a0, a1, a2, a3, index, rows, a4, a5, size)
    elif code == DROPOUT:
        offset = np.int64(load_f32(hyper + 4 * OFFSET)) if a6 != 0 else 0
        dropout(a0, a1, load_i64(a2 + 8 * epoch) + step, a3, load_f32(a4), a5, rows, offset, rank, size)
    elif code == APPLY:
        apply(a0, a1, a2, a3, a4, hyper + 4 * HYPER * a5, rank, size)


@kernel
def _call_out(op, control):
    """Rank 0's part of a CALL; nothing once one has failed."""
    if load_i64(control + 8 * FAILED) == 0:
        a = op[ARGUMENTS:]
        store_i64(control + 8 * FAILED, _call(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]))


@kernel
def _meet(op, control, rank, size):
    meeting, own, everybody = op[ARGUMENTS], op[ARGUMENTS + 2] * size + rank, op[ARGUMENTS + 1] * size
    if op[ARGUMENTS + 3] == 0:
        return await_all(meeting, control, own, everybody)
    arrive(meeting, own)
    return True


@kernel
def _flag(flags, control, finite):
    store_f32(flags, np.float32(0.0 if finite else 1.0))
    store_f32(flags + 4, np.float32(load_i64(control + 8 * STOP)))


@kernel
def _agree(op, control, rank):
    """Whether any process's loss is not finite; where any asks for a stop, they stop before the next step."""
    flags, count = op[ARGUMENTS], op[ARGUMENTS + 1]
    halt, stop = False, False
    for i in range(count):
        halt |= load_f32(flags + 64 * i) != 0.0
        stop |= load_f32(flags + 64 * i + 4) != 0.0
    if stop and rank == 0:
        store_i64(control + 8 * AGREED, 1)
    return halt


@kernel
def _keep_copies(program, epoch):
    """Rank 0's part of an epoch's end; the others change nothing before it has come to the next barrier."""
    for i in range(len(program)):
        op = program[i]
        if op[CODE] == KEEP:
            kept = op[ARGUMENTS + 1]
            _copy(op[ARGUMENTS + 2] + epoch * kept, op[ARGUMENTS], kept)


def stepper(name, operate):
    """The kernel that runs a program's steps, whose operations `operate` does.

    name: one that no other has, for the machine code. A compiled function calls others by name and a number that each
    process counts anew, so with one name for two functions, a cached one could meet the other.
    """

    def run_steps(rank, size, control, program, index, total, batch, first_step, last_step, hyper, losses, hits):
        stop, finite = False, True
        steps = (total + batch - 1) // batch  # an epoch
        shared = False  # with other processes
        end = len(program)  # of a step's operations; behind it those of an epoch's end
        for i in range(len(program)):
            shared |= program[i, CODE] == AGREE
            if program[i, CODE] == EPOCH:
                end = i
        for step in range(first_step, last_step):
            epoch, of_epoch = step // steps, step % steps
            params = hyper + 8 * HYPER * (step - first_step)
            ends = end < len(program) and of_epoch == steps - 1
            others = 0  # batches of other rows that follow
            if ends:
                others = (program[end, ARGUMENTS + 1] + program[end, ARGUMENTS + 2] - 1) // program[end, ARGUMENTS + 2]
            if rank == 0:
                store_i64(control + 8 * GO, load_i64(control + 8 * (AGREED if shared else STOP)))
            for part in range(1 + others):
                if part == 0:
                    i0, i1, number, first = 0, end, of_epoch, of_epoch * batch
                    rows, names = min(batch, total - first), index + 8 * (epoch * total + first)
                    to_losses, to_hits = losses + 8 * step, hits + 8 * step
                else:
                    i0, i1, number, first = end + 1, len(program), part - 1, (part - 1) * program[end, ARGUMENTS + 2]
                    rows = min(program[end, ARGUMENTS + 2], program[end, ARGUMENTS + 1] - first)
                    names, place = program[end, ARGUMENTS] + 8 * first, 8 * (epoch * others + number)
                    to_losses, to_hits = program[end, ARGUMENTS + 3] + place, program[end, ARGUMENTS + 4] + place
                for i in range(i0, i1):
                    op = program[i]
                    operate(op, names, epoch, number, first, rows, params, rank, size)
                    if op[CODE] == CALL and rank == 0:
                        _call_out(op, control)
                    elif op[CODE] == MEET and not _meet(op, control, rank, size):
                        return
                    elif op[CODE] == FLAG and rank == 0:
                        _flag(op[ARGUMENTS], control, finite)
                    if op[BARRIER] != 0 and not barrier(control, rank, size):
                        return
                    if op[CODE] == GATHER:
                        stop = load_i64(control + 8 * GO) != 0
                    elif op[CODE] == READ:
                        stop = load_i64(op[ARGUMENTS + 5] + 8 * UNREAD) != 0
                        if rank == 0:
                            store_i64(op[ARGUMENTS + 5] + 8 * CLAIMED, 0)
                    elif op[CODE] == LOSS or op[CODE] == TARGET_LOSS:
                        loss, right = _reduce_loss(op[ARGUMENTS + 5], rows)
                        if rank == 0:
                            store_f64(to_losses, loss)
                            store_i64(to_hits, right)
                        finite = abs(loss) < 1e300
                        stop = op[ARGUMENTS + 6] != 0 and not finite and not shared
                    elif op[CODE] == AGREE:
                        stop = _agree(op, control, rank)
                    elif op[CODE] == CALL and op[BARRIER] != 0:
                        stop = load_i64(control + 8 * FAILED) != 0
                    if stop:
                        return
            if ends and rank == 0:
                _keep_copies(program[end + 1 :], epoch)
            if rank == 0:
                store_i64(control + 8 * STEP, step + 1)

    run_steps.__qualname__ = name
    return kernel(run_steps)


_run_steps = stepper("steps", operate)


@cached
def run(rank, size, control, program, index, total, batch, first_step, last_step, hyper, losses, hits):
    """Run the program for steps first_step..last_step, `batch` of an epoch's `total` rows at a time. Returns nothing.

    control, program (operations, COLUMNS), and addresses: index (int64, total an epoch, one epoch after the other),
    hyper (float32, 2 * HYPER a step from first_step on, or 0), losses (float64, a step's sum over its rows) and hits
    (int64). Steps are counted through all epochs; an epoch's last batch may be short. Where LOSS halts or READ fails,
    nothing after it is done; a STOP in the control block ends the run before the next step begins. control's STEP then
    holds the step that was not done, otherwise last_step.

    Subnormal numbers count as zero: moments that decay towards 0 would take a hundred times as long at the end.
    """
    mode = flush_subnormals()
    _run_steps(rank, size, control, program, index, total, batch, first_step, last_step, hyper, losses, hits)
    restore_subnormals(mode)
