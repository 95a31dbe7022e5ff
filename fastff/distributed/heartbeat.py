"""Notices that a rank on another host answers no more: the link was cut, or the host is gone.

MPI waits for ever then. So every rank has a thread that sends a beat to rank 0 now and then, and rank 0 one to every
rank, on a communicator of their own. Whoever hears nothing for `timeout` seconds ends: rank 0 of any other rank, the
others of rank 0. Computing, reading and saving do not delay a beat, as the thread needs Python for an instant only.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastff.system.threads import Event, Thread

PAUSE = 0.5  # seconds between two beats
TIMEOUT = 120.0  # seconds


class Heartbeat:
    """The beats of one rank. comm: a communicator of its own, used by this thread alone.

    timeout: after how many seconds of silence a rank is lost.
    """

    def __init__(self, comm: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout, self._comm, self._clock = TIMEOUT, comm, clock
        self._peers = range(1, comm.size) if comm.rank == 0 else range(1)
        self._looked = clock()
        self._heard = dict.fromkeys(self._peers, self._looked)
        self._nothing = np.zeros(0, np.uint8)  # what a beat holds
        self._coming = {peer: comm.Irecv(self._nothing, source=peer) for peer in self._peers}
        self._going: dict[int, Any] = {}
        self._over = Event()

    def beat(self) -> int | None:
        """Send and hear what there is; the first rank that has been silent for too long, None if there is none."""
        now = self._clock()
        late = now - self._looked - 10 * PAUSE
        if late > 0:  # this process was stopped meanwhile, and has not listened
            self._heard = {peer: heard + late for peer, heard in self._heard.items()}
        self._looked = now
        for peer in self._peers:
            try:
                self._exchange(peer, now)
            except RuntimeError:  # MPI's: the connection is known to be gone
                return peer
        return next((peer for peer in self._peers if now - self._heard[peer] > self.timeout), None)

    def _exchange(self, peer: int, now: float) -> None:
        while self._coming[peer].Test():  # there may be several, if this thread was late
            self._heard[peer] = now
            self._coming[peer] = self._comm.Irecv(self._nothing, source=peer)
        if peer not in self._going or self._going[peer].Test():
            self._going[peer] = self._comm.Isend(self._nothing, dest=peer)

    def start(self, lost: Callable[[int], None]) -> None:
        """Beat in a thread until the end; it calls `lost` with the rank that answers no more, and then it is over."""
        self._thread = Thread(self._watch, (lost,))
        self._thread.start()

    def end(self) -> None:
        """Beat no more: all that was to be sent is sent, and nothing is waited for."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self, lost: Callable[[int], None]) -> None:
        while not self._over.wait(PAUSE):
            peer = self.beat()
            if peer is not None:
                lost(peer)
                return
        with contextlib.suppress(RuntimeError):  # the others may be gone
            for coming in self._coming.values():
                coming.Cancel()
                coming.Wait()
