"""The threads of a run: how they wait for one another, and how many of them take part.

A result does not depend on the number of threads, so it may change with every batch. The threads that take part in a
batch are its team: 0, 1, ..., up to as many as the run has. Where other programs take the cores, a barrier waits for a
thread that has none, for a scheduler's turn of some milliseconds each time; then fewer threads are faster. Thread 0
keeps an account of it (`judge`): what the team saves against working alone comes in, what thread 0 waits at barriers
goes out. When nothing is left the team gets smaller, and tries again later: the more often that fails, the later.

A batch's place among all that a run does is its turn, counted from 0. During turn t thread 0 says who takes part in
t + 1 (`say_team`), before a barrier of turn t, so that all of the team know it when that turn ends (`next_team`).
Those who leave sleep (`rest`) until they are invited back.
"""

from .compiler import kernel
from .emit import atomic_add, atomic_load, atomic_store, load_i64, spin_pause, store_i64, ticks
from .system import sleep, yield_core

LINE = 8  # slots of a cache line
# Slots of the control block of a run, int64, a cache line apart: how often threads have come to a barrier, all in all;
# 1 where Python gives the run up, threads at barriers included; 1 once no turn is left
ARRIVED, ABANDON, OVER = 0, 8, 16
# the team of the next even and of the next odd turn; the last invitation, and ARRIVED at that moment; the least team
# that thread 0 would like to have and waits for
TEAMS, INVITED, BASE, CALLED = 24, 40, 48, 56
# of thread 0: ticks spent at barriers; how many threads were missing where that took long
WAITED, LATE = 64, 65
OTHERS = 72  # what else a control block has: fastff.kernels.run
# A slot for each thread: what ARRIVED will be once all have come to where it waits; or that it rests, or that it rests
# and has seen that it is called
SEEN = 120
RESTS, READY = -1, -2
LONG_WAIT = 1 << 15  # spins, about half a millisecond: the thread waited for has lost its core, so don't take another
NAP = 1000  # microseconds between a resting thread's looks

MOST_THREADS = 1 << 16  # an invitation is a turn times this, and its team, so that both are read at once

# Slots of the account, int64: the team; ticks since it last changed, and how many of them must pass before it grows
# again, which are kept from run to run; the balance, in ticks; the least work of thread 0 in a turn lately, for each of
# the two kinds of turns, 0 where there was none
TEAM, SPENT, PAUSE, BALANCE, LEAST = 0, 1, 2, 3, 4
ACCOUNT, KEPT = 6, 3
FULL = 32  # turns whose savings the account can hold; a team begins with a quarter of it
PATIENCE = 8  # a team that failed is tried again once what it lost is an eighth of what was done meanwhile
LONGEST = 1 << 14  # turns of thread 0 alone in a pause, so that a machine that slept for hours is not taken as busy


# --- waiting for one another ---


@kernel
def arrive(meeting, thread, threads):
    """Say that one of so many threads has come to a barrier, whose counters stand in a control block."""
    seen = meeting + 8 * (SEEN + LINE * thread)
    store_i64(seen, load_i64(seen) + threads)
    atomic_add(meeting + 8 * ARRIVED, 1)


@kernel
def _missing(meeting, thread, threads):
    """How many of the threads have not come to where this one waits."""
    here, count = load_i64(meeting + 8 * (SEEN + LINE * thread)), 0
    for i in range(threads):
        count += atomic_load(meeting + 8 * (SEEN + LINE * i)) < here
    return count


@kernel
def await_all(meeting, control, thread, threads):
    """Wait for all threads to arrive as often as this one; False if this process abandons its run.

    Spins, then yields, so that more threads than cores get on.
    """
    wanted = load_i64(meeting + 8 * (SEEN + LINE * thread))
    if atomic_load(meeting + 8 * ARRIVED) >= wanted:
        return True
    began, spins = ticks(), 0
    while atomic_load(meeting + 8 * ARRIVED) < wanted:
        spins += 1
        if spins & 255 == 0:
            if atomic_load(control + 8 * ABANDON) != 0:
                return False
            if spins < LONG_WAIT:
                yield_core()
            else:
                if spins == LONG_WAIT and thread == 0:
                    store_i64(control + 8 * LATE, _missing(meeting, thread, threads))
                sleep(20)
        else:
            spin_pause()
    if thread == 0:
        waited = control + 8 * WAITED
        store_i64(waited, load_i64(waited) + ticks() - began)
    return True


@kernel
def barrier(control, thread, team):
    """Wait for all of the team; False if the run is abandoned."""
    if team > 1:
        arrive(control, thread, team)
        return await_all(control, control, thread, team)
    return True


# --- who takes part ---


@kernel
def say_team(control, turn, team):
    """Thread 0: this team takes the turn. Say it in the turn before, and before one of its barriers."""
    atomic_store(control + 8 * (TEAMS + LINE * (turn & 1)), team)


@kernel
def next_team(control, thread, turn, team):
    """The team of a turn, to those of the turn before, once that has ended; 0 if the run is abandoned.

    Where it changes, all of the old team wait for one another, and then the new ones are invited. Nobody is too late to
    read it: what was said is replaced in the turn after, and thread 0 comes there through a barrier behind this.
    """
    said = load_i64(control + 8 * (TEAMS + LINE * (turn & 1)))
    if said == team:
        return team
    if not barrier(control, thread, team):
        return 0
    if thread == 0 and said > team:
        store_i64(control + 8 * BASE, load_i64(control + 8 * SEEN))  # the others may be at their next barrier already
        store_i64(control + 8 * CALLED, 0)
        atomic_store(control + 8 * INVITED, turn * MOST_THREADS + said)
    return said


@kernel
def rest(control, thread, turn):
    """Wait to be invited to this turn or a later one. Returns it with its team, or 0 if there will be none."""
    seen = control + 8 * (SEEN + LINE * thread)
    store_i64(seen, RESTS)
    spins = 0
    while atomic_load(control + 8 * OVER) == 0 and atomic_load(control + 8 * ABANDON) == 0:
        invited = atomic_load(control + 8 * INVITED)
        if invited >= turn * MOST_THREADS and invited % MOST_THREADS > thread:
            store_i64(seen, load_i64(control + 8 * BASE))
            return invited
        if atomic_load(control + 8 * CALLED) > thread and spins < LONG_WAIT:
            atomic_store(seen, READY)
            spins += 1
            if spins & 255 == 0:
                yield_core()
            else:
                spin_pause()
        else:
            atomic_store(seen, RESTS)
            spins = 0
            sleep(NAP)
    return 0


@kernel
def _ready(control, team, wanted):
    """Whether all that would join the team have seen that they are called."""
    ready = 0
    for i in range(team, wanted):
        ready += atomic_load(control + 8 * (SEEN + LINE * i)) == READY
    return ready == wanted - team


# --- the account ---


@kernel
def judge(account, most, kind, work, waited, missing):
    """Enter a turn of the team into the account; returns how many threads should take part from now on.

    More than take part now are a wish, and fewer are an order that the account holds already. most: threads of the run.
    kind: 0 or 1, which of the turns that take about the same work. work, waited: ticks of thread 0 at work and at
    barriers. missing: how many threads it waited long for.

    Work is what thread 0 did, had nobody taken its core: hence the least of late, which rises by a sixteenth a turn.
    """
    team, spent = load_i64(account + 8 * TEAM), load_i64(account + 8 * SPENT) + work + waited
    store_i64(account + 8 * SPENT, spent)
    if team > 1:
        own, other = account + 8 * (LEAST + kind), account + 8 * (LEAST + 1 - kind)
        least = load_i64(own)
        begins = least == 0 and load_i64(other) == 0
        least = work if least == 0 else min(work, least + least // 16)
        store_i64(own, least)
        saved = (team - 1) * least
        balance = FULL // 4 * saved if begins else load_i64(account + 8 * BALANCE)
        balance = min(balance + saved - waited, FULL * saved)
        store_i64(account + 8 * BALANCE, balance)
        if balance < 0:
            last, pause = load_i64(account + 8 * PAUSE), PATIENCE * (FULL // 4 * saved - balance)
            if spent < last:
                pause = max(pause, 2 * last)
            store_i64(account + 8 * PAUSE, min(pause, LONGEST * team * least))
            fewer = team - missing if 0 < missing < team else team // 2
            _change(account, fewer)
            return fewer
    if team < most and spent >= load_i64(account + 8 * PAUSE):
        return min(most, 2 * team)
    return team


@kernel
def _change(account, team):
    store_i64(account + 8 * TEAM, team)
    store_i64(account + 8 * SPENT, 0)
    store_i64(account + 8 * LEAST, 0)
    store_i64(account + 8 * (LEAST + 1), 0)


# --- each turn ---


@kernel
def direct(control, account, most, turn, kind, began, waited):
    """Thread 0: judge the turn before this one, and say who takes the next.

    began, waited: the clock and WAITED when that turn began.
    """
    team = load_i64(account + 8 * TEAM)
    waits = load_i64(control + 8 * WAITED) - waited
    wanted = judge(account, most, kind, ticks() - began - waits, waits, load_i64(control + 8 * LATE))
    store_i64(control + 8 * LATE, 0)
    if wanted > team:
        store_i64(control + 8 * CALLED, wanted)
        if _ready(control, team, wanted):
            _change(account, wanted)
        else:
            wanted = team
    elif wanted < team:
        store_i64(control + 8 * CALLED, 0)
    say_team(control, turn + 1, wanted)
