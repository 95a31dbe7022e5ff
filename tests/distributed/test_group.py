"""How a group of processes ends with what happens on rank 0; test_distributed.py has real ones of them."""

from types import SimpleNamespace

import pytest

from fastff.distributed import group
from fastff.distributed.group import DistributedError, Group
from fastff.errors import ArgumentError
from fastff.system.signals import StoppedAtOnce


class Ended(BaseException):
    """The job was ended with this status."""


@pytest.fixture
def alone(monkeypatch):
    """A group of two, as rank 0 sees it, whose job ends by an exception."""

    def abort(status):
        raise Ended(status)

    own = Group.__new__(Group)
    own.rank, own.size, own.busy, own._parted, own.heartbeat = 0, 2, False, False, None
    own.told_others = []
    own.tell = own.told_others.append
    monkeypatch.setattr(group, "abort", abort)
    return own


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), SystemExit(3), DistributedError("known"), MemoryError()])
def test_the_others_may_go_where_nothing_was_under_way(alone, error):
    alone.__exit__(type(error), error, None)
    assert alone.told_others == ["end"]
    assert alone._parted


@pytest.mark.parametrize(
    ("error", "busy", "status", "said"),
    [
        (DistributedError("no room"), True, 1, "rank 0 of 2: error: no room\n"),
        (MemoryError(), True, 1, "rank 0 of 2: error: MemoryError\n"),
        (KeyboardInterrupt(), True, 130, "rank 0 of 2: error: interrupted at once\n"),
        (ZeroDivisionError("a fault"), False, 1, "ZeroDivisionError: a fault\n"),
        (None, True, 1, ""),
    ],
)
def test_the_others_are_ended_where_they_wait_for_what_will_not_come(alone, capsys, error, busy, status, said):
    alone.busy = busy
    with pytest.raises(Ended) as ended:
        alone.__exit__(type(error), error, None)
    assert ended.value.args == (status,)
    assert capsys.readouterr().err == said
    assert not alone.told_others


def test_a_second_signal_ends_the_others_at_once(alone):
    error = StoppedAtOnce(15)
    with pytest.raises(Ended) as ended:
        alone.__exit__(type(error), error, None)
    assert ended.value.args == (143,)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "long"])
def test_a_silence_lasts_some_seconds(alone, seconds):
    with pytest.raises(ArgumentError, match=r"^distributed_timeout: "):
        alone.wait_for(seconds)


@pytest.mark.parametrize("machines", [1, 2])
def test_silence_is_noticed_where_a_second_thread_may_use_mpi(alone, machines):
    alone.node = SimpleNamespace(size=2 // machines)
    if machines == 1:  # there is no link that could be cut
        alone.wait_for(20.0)
        return
    with pytest.raises(ArgumentError, match=r"^distributed_timeout: 20, but .*MPI_THREAD_MULTIPLE is off"):
        alone.wait_for(20.0)
    alone.heartbeat = SimpleNamespace(timeout=120.0)
    alone.wait_for(20.0)
    assert alone.heartbeat.timeout == 20.0
