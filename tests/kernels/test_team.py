"""How many threads take part in a batch: the account that decides it, and teams that change all the time."""

import numpy as np
import pytest

from fastff import Adam, Dropout, FeedForwardNeuralNetwork, LinearLayer, ReLU, Trainer
from fastff.engine.program import Program
from fastff.engine.table import Row
from fastff.errors import DivergenceError
from fastff.kernels import team
from fastff.kernels.compiler import entry_point
from fastff.kernels.emit import load_i64, store_i64
from fastff.kernels.operation import address, array, operation


@entry_point
def judge(account, most, kind, work, waited, missing):
    return team.judge(account, most, kind, work, waited, missing)


class Account:
    """The account of a run with so many threads, whose clock is what the test says."""

    def __init__(self, most):
        self.most, self.slots = most, np.zeros(team.ACCOUNT, np.int64)
        self.slots[team.TEAM] = most

    def turn(self, work, waited=0, *, kind=0, missing=0):
        return judge(address(self.slots), self.most, kind, work, waited, missing)

    def grant(self):
        """What the driver enters when a larger team comes together."""
        self.slots[team.SPENT :] = [0, self.slots[team.PAUSE], 0, 0, 0]
        self.slots[team.TEAM] = min(self.most, 2 * self.slots[team.TEAM])

    @property
    def team(self):
        return self.slots[team.TEAM]


def test_a_team_whose_waits_cost_less_than_it_saves_stays():
    account = Account(2)
    assert all(account.turn(1000, 900, kind=i % 2) == 2 for i in range(1000))


def test_a_team_whose_waits_cost_more_than_it_saves_shrinks():
    account = Account(2)
    while account.turn(1000, 2000) == 2:
        assert account.slots[team.SPENT] < 3000 * team.FULL  # it begins with the savings of a few turns
    assert account.team == 1


def test_one_scheduler_turn_is_enough_for_short_steps_and_not_for_long_ones():
    short, long = Account(2), Account(2)
    for _ in range(100):
        short.turn(20)
        long.turn(2000)
    assert short.turn(20, 4000) == 1
    assert long.turn(2000, 4000) == 2


def test_work_that_was_interrupted_saves_no_more_than_other_work():
    account = Account(2)
    for _ in range(10):
        account.turn(20)
    assert account.turn(1_000_000, 0) == 2  # thread 0 itself had lost its core
    assert account.turn(20, 4000) == 1


def test_as_many_threads_leave_as_were_missing_else_half():
    for missing, left in ((0, 8), (1, 15), (3, 13), (16, 8)):
        account = Account(16)
        account.turn(100)
        assert account.turn(100, 10**7, missing=missing) == left


def test_a_smaller_team_asks_for_more_once_its_pause_is_over_and_each_failure_doubles_it():
    account, pauses = Account(2), []
    for _ in range(5):
        assert account.turn(100, 5000) == 1
        turns = 1
        while account.turn(200) == 1:
            turns += 1
        pauses.append(turns)
        account.grant()
    # lost: 5000 less what the turn itself saved
    assert pauses[0] == -(-team.PATIENCE * (5000 - 100) // 200)
    np.testing.assert_allclose(np.divide(pauses[1:], pauses[:-1]), 2, atol=0.1)


def test_a_team_that_lasted_begins_with_a_short_pause_again():
    account = Account(2)
    for _ in range(6):
        account.turn(100, 5000)
        account.slots[team.SPENT] = account.slots[team.PAUSE]
        account.grant()
    doubled = account.slots[team.PAUSE]
    for _ in range(10 * doubled // 100):
        assert account.turn(100) == 2
    assert account.turn(100, 50_000) == 1
    assert account.slots[team.PAUSE] < doubled


def test_hours_of_sleep_are_no_reason_for_hours_of_a_pause():
    account = Account(2)
    account.turn(100)
    assert account.turn(100, 10**13) == 1
    assert account.slots[team.PAUSE] == team.LONGEST * 2 * 100


def test_without_a_clock_the_team_stays():
    account = Account(4)
    assert all(account.turn(0) == 4 for _ in range(1000))


# --- teams in a run ---


@operation
def another_team(turns: array(np.int64), most, /, control, thread):
    """Say another team for the next turn than the driver did, from 1 to `most` threads, by a random rule."""
    if thread == 0:
        turn = load_i64(turns) + 1
        store_i64(turns, turn)
        mixed = turn * 0x9E3779B97F4A7C15
        team.say_team(control, turn, ((mixed >> 20) & 0xFFFF) % most + 1)


@operation
def count(parts: array(np.int64), /, thread):
    """How often each thread took part."""
    at = parts + 8 * team.LINE * thread
    store_i64(at, load_i64(at) + 1)


def random_teams(monkeypatch, most):
    """Have the programs' teams change all the time; returns where it stands how often each thread took part."""
    parts, own, run = np.zeros(team.LINE * most, np.int64), Program.sections, Program.run

    def sections(self):
        before, step, other, once, after = own(self)
        self.turns = np.zeros(1, np.int64)  # lives as long as the program, whose rows have its address
        rows = [Row(another_team, 0, turns=self.turns, most=most), Row(count, 0, parts=parts)]
        step[1:1] = rows
        return [before, step, rows + other if other else other, once, after]

    def from_the_first_turn(self, *arguments, **options):
        self.table()
        self.turns[:] = 0
        return run(self, *arguments, **options)

    monkeypatch.setattr(Program, "sections", sections)
    monkeypatch.setattr(Program, "run", from_the_first_turn)
    return parts[:: team.LINE]


def network():
    layers = [LinearLayer(20, 33, seed=1), ReLU(), Dropout(0.1, seed=2), LinearLayer(33, 3, seed=3)]
    return FeedForwardNeuralNetwork.from_layers(layers, optimizer=Adam(weight_decay=1e-3))


def fitted(threads, precision="float32"):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((331, 20)).astype(np.float32), rng.integers(0, 3, 331)
    trainer = Trainer(network(), batch_size=16, threads=threads, seed=4, precision=precision)
    history = trainer.fit(X, Y, X[:90], Y[:90], epochs=4)
    return (
        [a.tobytes() for a in trainer.network.parameters().values()],
        history.batch_losses,
        history.epochs[-1].val_loss,
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("most", [2, 5])
def test_teams_that_change_with_every_batch_change_no_bit(most, precision, monkeypatch):
    want = fitted(1, precision)
    parts = random_teams(monkeypatch, most)
    assert fitted(most, precision) == want
    assert len(set(parts.tolist())) > 1  # they did change
    assert parts.all()


@operation
def dawdle(thread):
    """Let every thread but the first be late, as one is whose core is taken."""
    if thread > 0:
        team.sleep(2000)


def test_a_run_goes_on_with_fewer_threads_where_others_are_late_each_time():
    rows, parts = np.zeros((4096, 8), np.float32), np.zeros(3 * team.LINE, np.int64)
    program = Program(4)
    program.scatter(program.gather(rows), len(rows))
    program.step[0:0] = [Row(count, 4, parts=parts), Row(dawdle, 4)]
    program.run(np.arange(len(rows)), threads=3)
    alone, *others = parts[:: team.LINE]
    assert alone == 1024
    assert max(others) < 512


def test_threads_that_rest_end_with_the_run(monkeypatch):
    """Also where the run ends in the middle, by a loss that is not finite."""
    random_teams(monkeypatch, 3)
    trainer = Trainer(network(), batch_size=16, threads=3)
    X = np.ones((160, 20), np.float32)
    X[-1] = 3e38
    with pytest.raises(DivergenceError):
        trainer.fit(X, np.zeros(160, np.int64), epochs=3)


@operation
def invite_at_the_end(last, /, control, number, thread):
    """Say that thread 0 is alone, and that all three take the turn behind the last, which there is not."""
    if thread == 0:
        team.say_team(control, number + 1, 3 if number == last else 1)
        store_i64(control + 8 * team.CALLED, 3)  # those that rest look all the time


def test_nobody_takes_part_in_a_turn_behind_the_last():
    rows, parts = np.zeros((8, 8), np.float32), np.zeros(3 * team.LINE, np.int64)
    program = Program(4)
    program.scatter(program.gather(rows), len(rows))
    program.step[0:0] = [Row(invite_at_the_end, 4, last=1), Row(count, 4, parts=parts)]
    for _ in range(300):
        assert program.run(np.arange(8), threads=3).done == 2
    alone, *others = parts[:: team.LINE]
    assert alone == 600
    assert max(others) <= 600
