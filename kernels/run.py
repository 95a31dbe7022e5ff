"""The driver: many steps of a network as one native call, run side by side by several threads.

A program is a table of int64, one operation a row (fastff.kernels.operation). So one compiled function runs every
network, and a layer by itself runs its operations through the same code as a whole training does: both give the same
bits. The driver knows no operation. It calls each through its address, ends where one returns something other than 0,
and has all threads wait for one another where the row says so. Threads are plain Python threads that have called `run`
without the GIL. None of them allocates, and none waits for Python.

The rows stand in sections: what each thread does before the first step; a step; after the last step of an epoch, what
is run on the batches of other rows, and then once; and what each thread does at the end of all. How many threads take
part may change from batch to batch (fastff.kernels.team).

Every element has one order of summation whatever the number of threads, and all threads take the decision to stop from
the same memory behind a barrier, so they stop at the same step.
"""

import numpy as np
from llvmlite import ir
from numba import types

from . import team
from .compiler import entry_point, kernel
from .emit import I8, I64, address, emits, flush_subnormals, i64, load_i64, restore_subnormals, store_i64, ticks
from .operation import BARRIER, STEP, array, operation
from .optimizer import HYPER

# Slots of the control block of a run, int64, a cache line apart, behind those of fastff.kernels.team: 1 where Python
# asks for an end after the step under way; the step that comes next; the decision whether it is begun; with other
# processes 1 where all agree on an end, and what a function written in C returned that has failed
STOP, NEXT, ENDS, AGREED, FAILED = (team.OTHERS + team.LINE * i for i in range(5))

# Slots of a plan, int64: the table, the int64 of a row, and where each section ends, in the order above
TABLE, COLUMNS, BEFORE, A_STEP, OTHER_ROWS, ONCE, AFTER = range(7)
# the rows' numbers (an epoch's after another's), how many in an epoch and in a batch; the first step and the one after
# the last; the optimizer's numbers from the first step on; losses and hits of every step
INDEX, TOTAL, BATCH, FIRST, LAST, NUMBERS, LOSSES, HITS = range(7, 15)
# the same of the other rows at an epoch's end; no rows where an epoch has no such end
OTHER_INDEX, OTHER_TOTAL, OTHER_BATCH, OTHER_LOSSES, OTHER_HITS = range(15, 20)
# whether the team may change; the team of the first turn; and the account, which is kept from run to run
ELASTIC, FIRST_TEAM, ACCOUNT = 20, 21, 22
PLAN = ACCOUNT + team.ACCOUNT

_ROWS, _FIRST, _EPOCH, _NUMBER, _INDEX, _HYPER, _LOSSES, _HITS, _CONTROL, _THREAD, _THREADS = (
    8 * STEP.index(name) for name in STEP
)


@emits(i64, address, address, address)
def _call(e, function, row, step):
    kind = ir.FunctionType(I64, [I64, I64])
    return e.b.call(e.b.inttoptr(function, kind.as_pointer()), [row, step])


@emits(types.void, address, address, i64)
def _copy(e, to, source, size):
    pointers = [e.b.inttoptr(at, I8.as_pointer()) for at in (to, source)]
    e.llvm("memcpy", I8.as_pointer(), *pointers, size)


def control_slots(threads):
    """The slots of a control block for so many threads."""
    return team.SEEN + team.LINE * threads


# --- operations of the run itself ---


@operation
def decide(asked, /, control, thread):
    """Decide whether the step is begun, from the slot of the control block that may ask for an end."""
    if thread == 0:
        store_i64(control + 8 * ENDS, load_i64(control + 8 * asked))


@operation
def obey(control):
    """End the run where it was decided so; behind a barrier after `decide`."""
    return load_i64(control + 8 * ENDS)


@operation
def keep(source: array(np.uint8), size, copies: array(np.uint8), /, epoch, thread):
    """Copy `size` bytes to their place after this epoch. The others change nothing before their next barrier."""
    if thread == 0:
        _copy(copies + epoch * size, source, size)


# --- the driver ---


@kernel
def _is_elastic(plan, threads):
    """Whether the team may change."""
    return threads > 1 and load_i64(plan + 8 * ELASTIC) != 0


@kernel
def _first_team(plan, threads):
    return load_i64(plan + 8 * FIRST_TEAM) if _is_elastic(plan, threads) else threads


@kernel
def _section(plan, section, step, control, thread, threads):
    """Run the rows of a section; something other than 0 where the run ends.

    A thread that rests, because the team is smaller, runs those that nobody waits for: they are each thread's own.
    """
    table, width = load_i64(plan + 8 * TABLE), 8 * load_i64(plan + 8 * COLUMNS)
    first = load_i64(plan + 8 * (section - 1)) if section > BEFORE else 0
    for i in range(first, load_i64(plan + 8 * section)):
        row = table + width * i
        waits = load_i64(row + 8 * BARRIER) != 0
        if waits and thread >= threads:
            continue
        ends = _call(load_i64(row), row, step)
        if ends != 0:
            return ends
        if waits and not team.barrier(control, thread, threads):
            return 1
    return 0


@kernel
def _batch(step, index, total, batch, number, epoch, place, losses, hits):
    """Let a step be batch `number` of so many rows; place: of its loss and hits."""
    first = number * batch
    store_i64(step + _ROWS, min(batch, total - first))
    store_i64(step + _FIRST, first)
    store_i64(step + _EPOCH, epoch)
    store_i64(step + _NUMBER, number)
    store_i64(step + _INDEX, index + 8 * first)
    store_i64(step + _LOSSES, losses + 8 * place)
    store_i64(step + _HITS, hits + 8 * place)


@kernel
def _turns(plan, step, control, thread, threads):
    """All turns from the first step on: the batches of an epoch, those at its end, and so on with the next one.

    Returns where an operation ends the run.
    """
    total, size = load_i64(plan + 8 * TOTAL), load_i64(plan + 8 * BATCH)
    other_total, other_size = load_i64(plan + 8 * OTHER_TOTAL), load_i64(plan + 8 * OTHER_BATCH)
    index, losses, hits = load_i64(plan + 8 * INDEX), load_i64(plan + 8 * LOSSES), load_i64(plan + 8 * HITS)
    others = load_i64(plan + 8 * OTHER_INDEX)
    other_losses, other_hits = load_i64(plan + 8 * OTHER_LOSSES), load_i64(plan + 8 * OTHER_HITS)
    first, last, hyper = load_i64(plan + 8 * FIRST), load_i64(plan + 8 * LAST), load_i64(plan + 8 * NUMBERS)
    in_epoch, in_end = (total + size - 1) // size, (other_total + other_size - 1) // other_size
    each = in_epoch + in_end
    turn, end = first // in_epoch * each + first % in_epoch, last // in_epoch * each + last % in_epoch
    elastic, account = _is_elastic(plan, threads), plan + 8 * ACCOUNT
    members, judged, kind, began, waited = _first_team(plan, threads), False, 0, 0, 0
    while turn < end:
        if thread >= members:
            invited = team.rest(control, thread, turn)
            if invited == 0:
                return
            turn, members = invited // team.MOST_THREADS, invited % team.MOST_THREADS
            continue  # there may be no turn left: the invitation may be for the one after the last
        epoch, number = turn // each, turn % each
        if elastic:
            store_i64(step + _THREADS, members)
            if thread == 0:
                if judged:
                    team.direct(control, account, threads, turn, kind, began, waited)
                else:
                    team.say_team(control, turn + 1, members)
                began, waited = ticks(), load_i64(control + 8 * team.WAITED)
        kind = 0 if number < in_epoch else 1
        if kind == 0:
            i = epoch * in_epoch + number
            store_i64(step + _HYPER, hyper + 8 * HYPER * (i - first))
            _batch(step, index + 8 * epoch * total, total, size, number, epoch, i, losses, hits)
            ends = _section(plan, A_STEP, step, control, thread, members)
        else:
            j = number - in_epoch
            _batch(step, others, other_total, other_size, j, epoch, epoch * in_end + j, other_losses, other_hits)
            ends = _section(plan, OTHER_ROWS, step, control, thread, members)
        if ends != 0:
            return
        if number == each - 1 and _section(plan, ONCE, step, control, thread, members) != 0:
            return
        turn += 1
        if thread == 0 and (number < in_epoch - 1 or number == each - 1):
            store_i64(control + 8 * NEXT, turn // each * in_epoch + turn % each)
        if elastic:
            then = team.next_team(control, thread, turn, members)
            if then == 0:
                return
            members, judged = then, then == members
    if judged and thread == 0:
        team.direct(control, account, threads, turn, kind, began, waited)


@entry_point
def run(thread, threads, control, plan, step):
    """Run a plan's steps, one of the batches of an epoch each, as one of so many threads. Returns 0.

    control, plan: addresses of control_slots and PLAN int64, the same for all threads. step: address of len(STEP) int64
    of this thread's own. Steps are counted through all epochs; an epoch's last batch may be short. The control block's
    NEXT then holds the step that was not done, otherwise LAST.

    Subnormal numbers count as zero: moments that decay towards 0 would take a hundred times as long at the end.
    """
    mode = flush_subnormals()
    store_i64(step + _CONTROL, control)
    store_i64(step + _THREAD, thread)
    store_i64(step + _THREADS, _first_team(plan, threads))
    if _section(plan, BEFORE, step, control, thread, _first_team(plan, threads)) == 0:
        _turns(plan, step, control, thread, threads)
    if thread == 0:
        store_i64(control + 8 * team.OVER, 1)
    _section(plan, AFTER, step, control, thread, threads)
    restore_subnormals(mode)
    return 0
