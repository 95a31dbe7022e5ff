"""The processes that train together: who they are, how they talk, and how all of them end when one does.

MPI is the language: mpi4py between steps, and within them, where Python would be too slow, the functions of the MPI
library itself, called by the kernels. Needs the extra fastff[mpi]; nothing else imports mpi4py.
"""

import ctypes
import math
import os
import select
import shutil
import signal
import socket
import sys
import time
from types import TracebackType
from typing import Any

import numpy as np

from fastff.distributed.heartbeat import Heartbeat
from fastff.errors import ArgumentError, FastffError, MissingExtra
from fastff.system import streams
from fastff.system.arguments import check_number
from fastff.system.limits import cores_of, granted_cpus, usable_cores
from fastff.system.signals import StoppedAtOnce
from fastff.system.threads import Thread

POLLS = 1000  # looks for a command, some 0.3 ms, before a follower sleeps between looks
PAUSE = 0.0005  # seconds
PATIENCE = 2.0  # seconds for a launcher to end a job whose ranks do not hear each other
PASSING_ON = 0.1  # seconds for a launcher to pass on the last line of a job that ends at once


class DistributedError(FastffError):
    """The processes do not, or do no longer, train together."""


def join() -> "Group":
    """The group of all processes that mpiexec has started. Raises MissingExtra where mpi4py or MPI is missing."""
    os.environ.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")  # MPICH's, after ours
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MissingExtra.of("--distributed mpi needs mpi4py", '"fastff[mpi]"', error) from None
    except RuntimeError as error:  # mpi4py is there, a library of MPI is not
        raise MissingExtra(f'--distributed mpi needs an MPI library ({error}): pip install "fastff[mpi]"') from None
    return Group(MPI.COMM_WORLD)


def abort(status: int) -> None:
    """End all processes of the job, at once."""
    from mpi4py import MPI

    streams.close(status)
    time.sleep(PASSING_ON)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # all was said, and some libraries repeat it at length
    MPI.COMM_WORLD.Abort(status)


class Group:
    """The processes of a communicator. As a context, on rank 0: lets the others go at the end, however that comes.

    on_one_machine: whether they share memory; False has them exchange messages even where they could.
    """

    def __init__(self, comm: Any, *, on_one_machine: bool | None = None) -> None:
        from mpi4py import MPI

        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.node = comm.Split_type(MPI.COMM_TYPE_SHARED)
        together = self.node.size == self.size
        self.on_one_machine = together if on_one_machine is None else on_one_machine and together
        self.threads = self._threads()
        self.busy = False  # whether the others are amid something that rank 0 started
        self.mpi: Any = MPI
        self._library = ctypes.CDLL(MPI.__file__)
        self.hosts: list[str] = comm.allgather(socket.gethostname())
        self.heartbeat: Heartbeat | None = None
        own, self._parted = _namespace(), False
        everybody = self.node.allgather((self.rank, os.getpid(), own))
        peers = [(rank, process) for rank, process, space in everybody if rank != self.rank and space == own]
        if hasattr(os, "pidfd_open"):
            Thread(self._watch, (peers,)).start()
        if not together and MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self.heartbeat = Heartbeat(comm.Dup())
            self.heartbeat.start(self._lost)

    def _threads(self) -> int:
        """This process's part of the cores that the processes of its machine may use, all together."""
        cpus = granted_cpus()
        if not hasattr(os, "sched_getaffinity"):
            return max(1, min(usable_cores(), cpus // self.node.size))
        own = os.sched_getaffinity(0)
        cores = cores_of(set().union(*self.node.allgather(own)))
        quota = cpus if cpus < len(own) else cores  # a limit of time is one for all of them
        return max(1, min(usable_cores(), min(cores, quota) // self.node.size))

    # --- commands of rank 0 ---

    def tell(self, name: str, *arguments: Any) -> None:
        """Have the other ranks do something: see follow.py."""
        self.busy = True
        self.comm.Ibarrier().Wait()
        self.comm.bcast((name, *arguments), root=0)

    def told(self) -> tuple[Any, ...]:
        """What rank 0 tells next. Waits without taking a CPU that rank 0 could use."""
        ready, looks = self.comm.Ibarrier(), 0
        while not ready.Test():
            looks += 1
            if looks > POLLS:
                time.sleep(PAUSE)
        return self.comm.bcast(None, root=0)

    def done(self) -> None:
        """Wait for all to come here: rank 0's command is carried out."""
        self.comm.Barrier()
        self.busy = False

    def __enter__(self) -> "Group":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        known = error is None or isinstance(error, FastffError | KeyboardInterrupt | SystemExit | MemoryError)
        if known and not self.busy and not isinstance(error, StoppedAtOnce):
            self.tell("end")
            self.part(together=True)
            return
        self.part()
        if isinstance(error, KeyboardInterrupt):
            say(self, "interrupted at once")
            abort(128 + getattr(error, "number", signal.SIGINT))
        if isinstance(error, FastffError | MemoryError):
            say(self, error)
        elif error is not None:
            sys.excepthook(type(error), error, trace)
        abort(1)

    def part(self, *, together: bool = False) -> None:
        """Look after the others no more: they may end before this process. together: all ranks call this now."""
        self._parted = True
        if self.heartbeat is not None:
            self.heartbeat.end(together=together)

    def wait_for(self, seconds: float) -> None:
        """Give up a rank of another machine after so many seconds of silence.

        Raises ArgumentError for a number that is none of seconds, and where the MPI library cannot be used for it.
        """
        check_number("distributed_timeout", seconds, 0.0, math.inf, above=True)
        if self.heartbeat is not None:
            self.heartbeat.timeout = seconds
        elif self.node.size < self.size:
            raise ArgumentError(
                f"distributed_timeout: {seconds:g}, but this MPI library lets one thread of a process use it at a time "
                "(MPI_THREAD_MULTIPLE is off), want it left out"
            )

    # --- what the kernels need to call MPI themselves ---

    def function(self, name: str) -> int:
        """The address of a function of the MPI library."""
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value or 0

    def handle(self, name: str) -> int:
        """A communicator ("comm"), type or operation (FLOAT, SUM) as the MPI library's functions take it."""
        return self.mpi._handleof(self.comm if name == "comm" else getattr(self.mpi, name))

    @property
    def in_place(self) -> int:
        return int(self.mpi.IN_PLACE)

    # --- shared memory ---

    def has_room(self, count: int) -> bool:
        """Whether so many bytes fit into what this machine can share; where nobody can tell, they do."""
        room = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else count
        return self.comm.bcast(room >= count, root=0)

    def shared_memory(self, count: int) -> np.ndarray:
        """The same `count` bytes for all ranks, zero at first. Raises DistributedError where they can't be had."""
        try:
            window = self.mpi.Win.Allocate_shared(count if self.rank == 0 else 0, 1, comm=self.comm)
            memory = np.frombuffer(window.Shared_query(0)[0], np.uint8, count)
        except self.mpi.Exception as error:
            raise DistributedError(f"{count:,} bytes of shared memory: {error}") from None
        self._window = window  # keeps the memory
        if self.rank == 0:
            memory[:] = 0
        self.comm.Barrier()
        return memory

    # --- the end of one is the end of all ---

    def _lost(self, peer: int) -> None:
        """End this process, as a rank of another host answers no more: the job's launcher may not be reached either."""
        assert self.heartbeat is not None
        if self._parted:
            return
        found = f"rank {peer} on {self.hosts[peer]} has not answered {self.hosts[self.rank]} for "
        found += f"{self.heartbeat.timeout:,.0f} s (--distributed-timeout), want the network between them mended"
        if not self.heartbeat.silent(peer):
            found = f"rank {peer} on {self.hosts[peer]} has left: its connection to {self.hosts[self.rank]} is closed"
        say(self, f"{found}; --resume goes on from the last checkpoint")
        Thread(abort, (1,)).start()  # which ends the job, if the launcher can be reached
        time.sleep(PATIENCE)
        os._exit(1)

    def _watch(self, peers: list[tuple[int, int]]) -> None:
        """End the job when a process of this machine dies: not all launchers do, and those that do may not say why."""
        poll, numbers = select.poll(), {}
        for rank, process in peers:
            number = os.pidfd_open(process)
            numbers[number] = rank, process
            poll.register(number, select.POLLIN)
        dead = [numbers[number] for number, _ in poll.poll()]
        if self._parted or any(peer < (self.rank, 0) for peer in set(peers) - set(dead)):
            return  # the lowest rank left says it
        say(self, f"rank {dead[0][0]} (process {dead[0][1]} on {socket.gethostname()}) has died")
        abort(1)


def say(group: Group, what: object) -> None:
    """One line on standard error that says which rank it comes from."""
    text = f"rank {group.rank} of {group.size}: error: {str(what) or type(what).__name__}"
    streams.say(" ".join(text.split()))


def _namespace() -> object:
    """What tells whether two processes of a machine call each other by the same numbers."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return socket.gethostname()
