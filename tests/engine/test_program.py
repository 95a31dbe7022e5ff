"""Whole networks as programs: as the float64 twin, and the same bits with any threads, divisions and interruptions."""

from itertools import pairwise

import numpy as np
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st

from fastff import SGD, Adam
from fastff.engine import panels, program
from fastff.engine.program import Program
from fastff.kernels.cpu import NR
from fastff.kernels.pointwise import RELU, SIGMOID, TANH

CODES = {"relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}


class Training:
    """A network of linear layers with one activation between them, and the program of its training step."""

    def __init__(self, X, Y, widths, batch, *, activation="relu", smoothing=0.0, optimizer=None, seed=0):
        rng = np.random.default_rng(seed)
        self.optimizer, self.X, self.Y, self.activation, self.batch = optimizer or Adam(), X, Y, activation, batch
        self.smoothing, self.shapes = smoothing, list(pairwise(widths))
        self.start = [(rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32) for shape in self.shapes]
        self.start_bias = [(0.1 * rng.standard_normal((1, n))).astype(np.float32) for _, n in self.shapes]
        self.weights = [self._three(panels.panel_size(shape)) for shape in self.shapes]
        self.bias = [self._three(panels.round_up(n, NR)) for _, n in self.shapes]
        for (values, m, v), matrix in zip(self.weights, self.start, strict=True):
            panels.pack(matrix, values)
            for moment in (m, v):
                panels.pack(np.zeros_like(matrix), moment)
        for arrays, bias in zip(self.bias, self.start_bias, strict=True):
            for array, value in zip(arrays, (bias, 0, 0), strict=True):
                array[: bias.size] = value
        self.program = self._program()

    def _three(self, count):
        return [panels.aligned(count) for _ in range(3)]

    def _program(self):
        p, code, last = Program(self.batch), CODES[self.activation], len(self.shapes) - 1
        labels = p.labels(self.Y)
        x, inputs, outputs = p.gather(self.X), [], []
        for i, (_, n_out) in enumerate(self.shapes):
            inputs.append(x)
            x = p.linear(x, self.weights[i][0], self.bias[i][0], n_out)
            if i < last:
                x = p.activate(x, code)
            outputs.append(x)
        g = p.cross_entropy(x, labels, self.smoothing, gradient=True, halt=True)
        for i in range(last, -1, -1):
            if i < last:
                g = p.derive(g, outputs[i], code)
            gt = p.transpose(g)
            below = p.linear_backward(g, self.weights[i][0], self.shapes[i][0]) if i else None
            p.update(inputs[i], gt, self.weights[i], self.bias[i], self.shapes[i][1])
            g = below
        return p

    def run(self, order, *, first=0, threads=1, step_size=0.01):
        steps = -(-len(order) // self.batch)
        hyper = self.optimizer.hyper(first + 1, np.full(steps - first, step_size))
        return self.program.run(order, first_step=first, hyper=hyper, threads=threads)

    def matrices(self):
        return [panels.unpack(w[0], shape) for w, shape in zip(self.weights, self.shapes, strict=True)]

    def state(self):
        """The bytes of all parameters and moments, padding left out."""
        matrices = [panels.unpack(a, shape) for w, shape in zip(self.weights, self.shapes, strict=True) for a in w]
        return [m.tobytes() for m in matrices] + [
            a[: shape[1]].tobytes() for b, shape in zip(self.bias, self.shapes, strict=True) for a in b
        ]


def data(rows, features, classes, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, features)).astype(dtype)
    return X, rng.integers(0, classes, rows)


widths_of = st.lists(st.integers(1, 40), min_size=2, max_size=5)


@given(widths_of, st.integers(1, 60), st.integers(1, 70), st.sampled_from(sorted(CODES)), st.integers(0, 99))
@example([3, 1], 1, 1, "relu", 0)
@example([200, 193, 1, 195], 50, 23, "tanh", 0)
def test_bits_are_those_of_one_thread_and_clean_memory(poisoned, widths, rows, batch, activation, seed):
    batch = max(batch, rows // 4)  # a few steps show it
    X, Y = data(rows, widths[0], widths[-1], seed)
    order = np.random.default_rng(seed).permutation(np.arange(rows, dtype=np.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panels, "aligned", lambda count, dtype=np.float32: np.zeros(count, dtype))
        alone = Training(X, Y, widths, batch, activation=activation)
    expected = alone.run(order)
    assert expected.done == expected.steps
    for threads in (1, 2, 3, 7):
        other = Training(X, Y, widths, batch, activation=activation)
        outcome = other.run(order, threads=threads)
        assert other.state() == alone.state()
        assert outcome.losses.tobytes() == expected.losses.tobytes()
        np.testing.assert_array_equal(outcome.hits, expected.hits)


@pytest.mark.parametrize("activation", sorted(CODES))
@pytest.mark.parametrize(
    ("optimizer", "twin", "settings"),
    [
        (SGD(0.9), reference.sgd, {"momentum": 0.9}),
        (SGD(0.9, True, 0.01), reference.sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        (Adam(epsilon=1e-3), reference.adam, {"epsilon": 1e-3}),
        (Adam(epsilon=1e-3, weight_decay=0.1, decay="decoupled"), reference.adam,
         {"epsilon": 1e-3, "weight_decay": 0.1, "decay": "decoupled"}),
        (Adam(0.9, 0.9, 1e-3, 0.01, bias_correction="constant"), reference.adam,
         {"beta2": 0.9, "epsilon": 1e-3, "weight_decay": 0.01, "bias_correction": "constant"}),
    ],
)  # fmt: skip
def test_training_follows_the_twin(activation, optimizer, twin, settings):
    """The tolerance is measured, not chosen: the same training by NumPy in float32 strays from float64 by roundings,
    and kernels that round as often in another order must not stray further than 4 times that."""
    X, Y = data(70, 33, 5)
    order = np.random.default_rng(1).permutation(np.arange(70, dtype=np.int64))
    training = Training(X, Y, [33, 41, 20, 5], 16, activation=activation, smoothing=0.1, optimizer=optimizer)
    outcome = training.run(order)

    def by_numpy(dtype):
        return reference.train(
            X.astype(dtype), Y, [w.astype(dtype) for w in training.start],
            [b.astype(dtype) for b in training.start_bias], order=order, batch_size=16, step_size=0.01, optimizer=twin,
            activation=activation, smoothing=0.1, **settings,
        )  # fmt: skip

    (truth, truth_bias, losses), (rough, rough_bias, _) = by_numpy(np.float64), by_numpy(np.float32)
    biases = [b[0][None, :n] for b, (_, n) in zip(training.bias, training.shapes, strict=True)]
    for got, exact, strayed in zip(training.matrices() + biases, truth + truth_bias, rough + rough_bias, strict=True):
        assert np.linalg.norm(got - exact) <= 4 * np.linalg.norm(strayed - exact)
    sizes = np.array([16, 16, 16, 16, 6])  # the last batch is short
    np.testing.assert_allclose(outcome.losses / sizes, losses, rtol=100 * reference.U)


def test_losses_and_hits_are_of_the_rows_of_each_batch():
    X, Y = data(53, 9, 4)
    order = np.random.default_rng(1).permutation(np.arange(53, dtype=np.int64))
    training = Training(X, Y, [9, 4], 10, optimizer=SGD())
    outcome = training.run(order, step_size=2.0**-140)  # too small a step to move anything
    z = X[order].astype(np.float64) @ training.start[0] + training.start_bias[0]
    starts = np.arange(0, 53, 10)
    np.testing.assert_allclose(
        outcome.losses, np.add.reduceat(reference.cross_entropy(z, Y[order]), starts), rtol=40 * reference.U
    )
    np.testing.assert_array_equal(outcome.hits, np.add.reduceat(z.argmax(axis=1) == Y[order], starts))
    assert outcome.done == outcome.steps == 6


@given(st.integers(1, 3), st.integers(4, 9), st.sampled_from([1, 2, 3, 7]))
def test_a_run_in_two_parts_is_the_run(poisoned, cut, batch, threads):
    X, Y = data(31, 7, 3)
    order = np.random.default_rng(1).permutation(np.arange(31, dtype=np.int64))
    whole, parts = Training(X, Y, [7, 10, 3], batch), Training(X, Y, [7, 10, 3], batch)
    expected = whole.run(order)
    one = parts.run(order[: cut * batch], threads=threads)
    first = one.done
    two = parts.run(order, first=first, threads=threads)
    assert parts.state() == whole.state()
    assert two.done == expected.done
    assert one.losses[:first].tobytes() + two.losses[first:].tobytes() == expected.losses.tobytes()


def test_an_outcome_stays_what_it_was_when_the_program_runs_again():
    X, Y = data(64, 7, 3)
    training = Training(X, Y, [7, 3], 8)
    one = training.run(np.arange(24, dtype=np.int64))
    training.run(np.arange(64, dtype=np.int64))
    assert one.done == one.steps == 3


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 20, 36])
@pytest.mark.parametrize("activation", sorted(CODES))
def test_a_loss_that_is_not_finite_stops_before_the_update(activation, column, value, threads):
    X, Y = data(64, 37, 3)
    bad = X.copy()
    bad[35, column] = value
    if value == np.inf and activation != "relu":
        bad[35, (column + 1) % 37] = value  # a saturated unit hides one infinity; inf - inf shows
        bad[35, (column + 2) % 37] = -value
    order = np.arange(64, dtype=np.int64)
    good, training = (Training(rows, Y, [37, 18, 3], 8, activation=activation) for rows in (X, bad))
    outcome = training.run(order, threads=threads)
    assert outcome.done == 4  # row 35 is in the fifth batch
    assert not np.isfinite(outcome.losses[4])
    assert (outcome.losses[5:] == 0).all()
    expected = good.run(order[:32])
    assert training.state() == good.state()
    assert outcome.losses[:4].tobytes() == expected.losses.tobytes()


def test_nothing_is_written_outside_the_arrays(monkeypatch):
    clean, guard, made = panels.aligned, 256, []

    def guarded(count, dtype=np.float32):
        size = np.dtype(dtype).itemsize
        raw = clean(count * size + 2 * guard, np.uint8)
        raw[:guard] = raw[guard + count * size :] = 0xA5
        made.append((raw, guard + count * size))
        return raw[guard : guard + count * size].view(dtype)

    monkeypatch.setattr(panels, "aligned", guarded)
    for widths, batch in (([1, 1], 1), ([33, 65, 3, 10], 37), ([5, NR, NR + 1, 2], NR), ([7, 9, 3], NR + 1)):
        X, Y = data(75, widths[0], widths[-1])
        Training(X, Y, widths, batch, activation="tanh").run(np.arange(75, dtype=np.int64), threads=2)
    for raw, end in made:
        assert (raw[:guard] == 0xA5).all()
        assert (raw[end:] == 0xA5).all()


def test_inputs_are_read_only():
    X, Y = data(30, 5, 3)
    order = np.random.default_rng(0).permutation(np.arange(30, dtype=np.int64))
    for array in (X, Y, order):
        array.flags.writeable = False
    assert Training(X, Y, [5, 4, 3], 7).run(order).done == 5


def test_threads_are_chosen_by_the_work(monkeypatch):
    monkeypatch.setattr(program, "usable_cores", lambda: 4)
    p = Program(8)
    assert p.threads_for(None, 1000) == 1
    p.flops = 3 * program.FLOPS_PER_STEP
    assert p.threads_for(None, 10**6) == 3
    assert p.threads_for(None, 1) == 1  # over before another thread has started
    p.flops = 2 * program.FLOPS_PER_START
    assert p.threads_for(None, 1) == 2
    assert p.threads_for(None, 10) == 4
    assert p.threads_for(7, 1) == 7  # asked for
