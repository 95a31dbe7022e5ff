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
PATIENCE, LOOK = 2.0, 0.001  # seconds that a last word may take, and between two looks for it
A_BEAT, THE_LAST = np.zeros(1, np.uint8), np.ones(1, np.uint8)  # the two words that ranks exchange


class Heartbeat:
    """The beats of one rank. comm: a communicator of its own, used by this thread alone.

    timeout: after how many seconds of silence a rank is lost.
    """

    def __init__(self, comm: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout, self._comm, self._clock = TIMEOUT, comm, clock
        # those that have not said the last word
        self._peers = list(range(1, comm.size) if comm.rank == 0 else range(1))
        self._looked = clock()
        self._heard = dict.fromkeys(self._peers, self._looked)
        self._words = {peer: np.zeros(1, np.uint8) for peer in self._peers}  # where they arrive
        self._coming = {peer: comm.Irecv(self._words[peer], source=peer) for peer in self._peers}
        self._going: dict[int, Any] = {}
        self._over, self._together = Event(), False

    def beat(self) -> int | None:
        """Send and hear what there is; the first rank that has been silent for too long, None if there is none."""
        now = self._clock()
        late = now - self._looked - 10 * PAUSE
        if late > 0:  # this process was stopped meanwhile, and has not listened
            self._heard = {peer: heard + late for peer, heard in self._heard.items()}
        self._looked = now
        for peer in list(self._peers):
            try:
                self._hear(peer, now)
                self._say(peer, A_BEAT)
            except RuntimeError:  # MPI's: the connection is known to be gone
                return peer
        return next((peer for peer in self._peers if self.silent(peer)), None)

    def silent(self, peer: int) -> bool:
        """Whether nothing was heard of a rank for `timeout` seconds. One that is lost sooner has left, as MPI knows."""
        return self._clock() - self._heard[peer] > self.timeout

    def _hear(self, peer: int, now: float) -> None:
        while peer in self._peers and self._coming[peer].Test():  # there may be several, if this thread was late
            self._heard[peer] = now
            if self._words[peer][0] == THE_LAST[0]:
                self._peers.remove(peer)
            else:
                self._coming[peer] = self._comm.Irecv(self._words[peer], source=peer)

    def _say(self, peer: int, word: np.ndarray) -> bool:
        """Send a word, unless the one before is still under way; whether it was sent."""
        if peer in self._going and not self._going[peer].Test():
            return False
        self._going[peer] = self._comm.Isend(word, dest=peer)
        return True

    def start(self, lost: Callable[[int], None]) -> None:
        """Beat in a thread until the end; it calls `lost` with the rank that answers no more, and then it is over."""
        self._thread = Thread(self._watch, (lost,))
        self._thread.start()

    def end(self, *, together: bool) -> None:
        """Beat no more. together: all ranks end now, so each waits for the other's last word, and nothing is left."""
        self._together = together
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self, lost: Callable[[int], None]) -> None:
        while not self._over.wait(PAUSE):
            peer = self.beat()
            if peer is not None:
                lost(peer)
                return
        if self._together:
            with contextlib.suppress(RuntimeError):  # one is gone already
                self.part()

    def part(self) -> None:
        """Send the last word to everybody, and hear theirs, for PATIENCE seconds at most."""
        silent, until = list(self._coming), self._clock() + PATIENCE
        while (silent or self._peers) and self._clock() < until:
            silent = [peer for peer in silent if not self._say(peer, THE_LAST)]
            for peer in list(self._peers):
                self._hear(peer, self._clock())
            time.sleep(LOOK)
        for request in self._going.values():
            request.Test()
