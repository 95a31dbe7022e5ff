"""When a rank of another host counts as lost: with a clock and a network of the test's own. test_two_hosts.py has real
ones."""

import threading

import pytest

from fastff.distributed.heartbeat import PAUSE, THE_LAST, TIMEOUT, Heartbeat


class Network:
    """Ranks that send each other numbers. What was sent over a link that is cut arrives once it is mended."""

    def __init__(self, size):
        self.size, self.cut, self.gone, self.now = size, set(), set(), 0.0
        self.under_way = {(one, other): [] for one in range(size) for other in range(size)}

    def ranks(self):
        return [Heartbeat(Comm(self, rank), clock=lambda: self.now) for rank in range(self.size)]

    def after(self, seconds, ranks, stopped=()):
        """Let so many seconds pass while those that are not stopped beat; the rank that each has found lost."""
        end, lost = self.now + seconds, [None] * len(ranks)
        while self.now < end:
            self.now += PAUSE
            for i, rank in enumerate(ranks):
                if lost[i] is None and i not in stopped:
                    lost[i] = rank.beat()
        return lost


class Comm:
    def __init__(self, network, rank):
        self.network, self.rank, self.size = network, rank, network.size

    def Isend(self, array, dest):
        self.network.under_way[self.rank, dest].append(array[0])
        return Request(lambda: True)

    def Irecv(self, array, source):
        def arrived():
            if source in self.network.gone:
                raise RuntimeError("MPI_ERR_OTHER")
            waiting = self.network.under_way[source, self.rank]
            if not waiting or {source, self.rank} in self.network.cut:
                return False
            array[:] = waiting.pop(0)
            return True

        return Request(arrived)


class Request:
    def __init__(self, test):
        self.Test = test


def test_ranks_that_answer_are_not_lost():
    network = Network(3)
    assert network.after(10 * TIMEOUT, network.ranks()) == [None] * 3


def test_both_sides_of_a_cut_notice_it_after_the_timeout():
    network = Network(3)
    ranks = network.ranks()
    for rank in ranks:
        rank.timeout = 20.0
    network.after(5, ranks)
    network.cut.add(frozenset((0, 2)))
    assert network.after(19, ranks) == [None] * 3
    assert network.after(3, ranks) == [2, None, 0]
    assert ranks[0].silent(2)


def test_a_link_that_is_mended_in_time_is_forgotten():
    network = Network(2)
    ranks = network.ranks()
    for _ in range(3):
        network.cut.add(frozenset((0, 1)))
        assert network.after(TIMEOUT - 1, ranks) == [None, None]
        network.cut.clear()
        assert network.after(1, ranks) == [None, None]
    network.cut.add(frozenset((0, 1)))  # the many beats that waited have all been heard: it begins anew
    assert network.after(TIMEOUT - 1, ranks) == [None, None]
    assert network.after(2, ranks) == [1, 0]


def test_a_connection_that_mpi_knows_to_be_gone_is_lost_at_once():
    network = Network(3)
    ranks = network.ranks()
    network.after(2, ranks)
    network.gone.add(2)
    assert network.after(PAUSE, ranks, stopped=[2])[:2] == [2, None]
    assert not ranks[0].silent(2)


def test_who_was_stopped_itself_does_not_count_that_time():
    network = Network(2)
    ranks = network.ranks()
    network.after(5, ranks)
    network.now += 10 * TIMEOUT  # a laptop that slept, both ranks on it
    assert network.after(5, ranks) == [None, None]


@pytest.mark.parametrize("seconds", [TIMEOUT - 5, TIMEOUT + 5])
def test_a_rank_that_is_stopped_longer_than_that_is_lost(seconds):
    network = Network(2)
    ranks = network.ranks()
    network.after(5, ranks)
    assert network.after(seconds, ranks, stopped=[1])[0] == (1 if seconds > TIMEOUT else None)


def test_who_has_said_the_last_word_is_not_missed():
    network = Network(3)
    ranks = network.ranks()
    network.after(2, ranks)
    ranks[2]._say(0, THE_LAST)
    assert network.after(2 * TIMEOUT, ranks, stopped=[2])[:2] == [None, None]


def test_ranks_that_part_leave_nothing_under_way():
    network = Network(3)
    ranks = network.ranks()
    network.after(5, ranks)
    threads = [threading.Thread(target=rank.part) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(network.under_way.values())
    assert [rank._peers for rank in ranks] == [[], [], []]
