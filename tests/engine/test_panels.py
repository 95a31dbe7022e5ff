"""A weight matrix is kept in the kernels' panels, and behaves like the ordinary (in, out) array that it shows."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fastff import LinearLayer
from fastff.engine import panels
from fastff.kernels.cpu import MR, NR
from fastff.system.blocks import copied

sizes = st.integers(1, 2 * NR + 3)


@given(sizes, sizes)
def test_panels_hold_the_matrix_and_padding_is_left_alone(n_in, n_out):
    matrix = np.random.default_rng(0).standard_normal((n_in, n_out)).astype(np.float32)
    packed = panels.aligned(panels.panel_size(matrix.shape))
    packed[:] = np.nan
    panels.pack(matrix, packed)
    assert np.isfinite(packed).sum() == matrix.size
    np.testing.assert_array_equal(panels.unpack(packed, matrix.shape), matrix)
    # element (k, n) stands in panel n / NR, row k, lane n % NR
    k, n = n_in - 1, n_out - 1
    assert packed.reshape(-1, panels.round_up(n_in, MR), NR)[n // NR, k, n % NR] == matrix[k, n]


@given(sizes, sizes)
def test_unpack_into_an_array_of_any_layout(n_in, n_out):
    matrix = np.random.default_rng(0).standard_normal((n_in, n_out)).astype(np.float32)
    packed = panels.aligned(panels.panel_size(matrix.shape))
    panels.pack(np.asfortranarray(matrix), packed)
    out = np.zeros((n_out, n_in), np.float32).T
    assert panels.unpack(packed, matrix.shape, out=out) is out
    np.testing.assert_array_equal(out, matrix)


@given(sizes, sizes, st.integers(0, 200), st.integers(0, 200))
def test_rows_of_panels_are_those_of_the_matrix(n_in, n_out, start, stop):
    matrix = np.random.default_rng(0).standard_normal((n_in, n_out)).astype(np.float32)
    packed = panels.aligned(panels.panel_size(matrix.shape))
    panels.pack(matrix, packed)
    rows = panels.Unpacked(packed, matrix.shape)
    np.testing.assert_array_equal(rows[start:stop], matrix[start:stop])
    np.testing.assert_array_equal(np.asarray(rows), matrix)
    assert np.asarray(rows, np.float64).dtype == np.float64


def test_large_matrices_are_taken_apart_and_put_together_again():
    matrix = np.random.default_rng(0).standard_normal((1000, 2100)).astype(np.float32)  # two blocks and a bit
    packed, others = (panels.aligned(panels.panel_size(matrix.shape)) for _ in range(2))
    panels.pack(matrix, packed)
    panels.pack(panels.Unpacked(packed, matrix.shape), others)
    np.testing.assert_array_equal(panels.unpack(others, matrix.shape), matrix)
    copy = np.zeros_like(matrix)
    assert copied(panels.Unpacked(packed, matrix.shape), copy) is copy
    np.testing.assert_array_equal(copy, matrix)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.int64])
@pytest.mark.parametrize("count", [1, 7, 64, 1000])
def test_aligned_arrays_are_zeros_on_a_cache_line(count, dtype):
    array = panels.aligned(count, dtype)
    assert array.shape == (count,)
    assert array.dtype == dtype
    assert array.ctypes.data % panels.LINE == 0
    assert not array.any()


class MatrixLikeAnArray(RuleBasedStateMachine):
    """Whatever is written, by whom and through what, all who look see the same numbers."""

    SHAPE = (MR + 3, NR + 5)

    @initialize()
    def start(self):
        self.matrix = panels.Matrix(self.SHAPE)
        self.expected = np.zeros(self.SHAPE, np.float32)
        self.held = []
        self.count = 0

    def number(self):
        self.count += 1
        return np.float32(self.count)

    @rule()
    def hold(self):
        self.held.append(self.matrix.array)

    @rule()
    def hold_a_view(self):
        self.held.append(self.matrix.array[:, ::2].base)
        view = self.matrix.array[1:]
        assert np.shares_memory(view, self.held[-1])

    @rule()
    def drop(self):
        self.held.clear()

    @rule(k=st.integers(0, SHAPE[0] - 1), n=st.integers(0, SHAPE[1] - 1))
    def write_an_item(self, k, n):
        self.matrix.array[k, n] = self.expected[k, n] = self.number()

    @precondition(lambda self: self.held)
    @rule(k=st.integers(0, SHAPE[0] - 1), n=st.integers(0, SHAPE[1] - 1))
    def write_an_item_of_the_held_array(self, k, n):
        self.held[0][k, n] = self.expected[k, n] = self.number()

    @rule()
    def write_in_place(self):
        self.matrix.array += np.float32(1)
        self.expected += np.float32(1)

    @rule()
    def assign(self):
        value = np.full(self.SHAPE, self.number())
        value[0, 0] += 1
        self.expected = value.copy()
        self.matrix.array = value
        value[:] = -1  # an assignment copies

    @rule()
    def assign_what_it_shows_upside_down(self):
        self.matrix.array = self.matrix.array[::-1]
        self.expected = self.expected[::-1].copy()

    @rule()
    def kernels_look(self):
        self.matrix.flush()
        np.testing.assert_array_equal(panels.unpack(self.matrix.panels, self.SHAPE), self.expected)

    @rule()
    def somebody_reads_rows(self):
        """Whole or in part, at any time, without any effect on what the others see."""
        before = self.matrix.panels.copy()
        np.testing.assert_array_equal(np.asarray(self.matrix.rows()), self.expected)
        np.testing.assert_array_equal(self.matrix.rows()[1:3], self.expected[1:3])
        np.testing.assert_array_equal(self.matrix.panels, before)

    @rule()
    def kernels_write(self):
        value = np.full(self.SHAPE, self.number())
        panels.pack(value, self.matrix.panels)
        self.matrix.changed()
        self.expected = value

    @rule()
    def look(self):
        np.testing.assert_array_equal(self.matrix.array, self.expected)

    @rule()
    def those_who_hold_it_see_it(self):
        for array in self.held:
            np.testing.assert_array_equal(array, self.expected)


TestMatrixLikeAnArray = MatrixLikeAnArray.TestCase
TestMatrixLikeAnArray.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


# --- the same through a layer ---


def train(layer):
    """One step of training; returns the weights as a forward pass sees them."""
    x = np.eye(layer.input_dim, dtype=np.float32)
    layer.forward(x)
    layer.backward(np.ones((layer.input_dim, layer.output_dim), np.float32))
    layer.step(0.1)
    return layer.forward(x) - layer.bias


def test_an_item_written_through_weights_is_what_forward_uses():
    layer = LinearLayer(3, 2, seed=0)
    layer.weights[1, 0] = 42.0
    assert layer.forward(np.array([[0, 1, 0]], np.float32))[0, 0] == 42.0
    layer.weights[1, 0] = 43.0  # again, after a kernel has looked
    assert layer.forward(np.array([[0, 1, 0]], np.float32))[0, 0] == 43.0


def test_a_held_array_follows_training_and_can_be_written_to():
    layer = LinearLayer(5, 4, seed=0)
    held, before = layer.weights, layer.weights.copy()
    after = train(layer)
    assert (held != before).all()
    np.testing.assert_allclose(after, held, atol=2.0**-20)
    assert layer.weights is held
    held[:] = 0
    np.testing.assert_array_equal(layer.forward(np.ones((1, 5), np.float32)), layer.bias)


def test_what_was_written_to_a_held_array_stays_when_it_is_dropped():
    layer, x = LinearLayer(5, 4, seed=0), np.ones((1, 5), np.float32)
    held = layer.weights
    layer.forward(x)  # a kernel has looked since it was handed out
    held[:] = 0
    del held
    np.testing.assert_array_equal(layer.forward(x), layer.bias)
    np.testing.assert_array_equal(layer.weights, np.zeros((5, 4)))


def test_a_view_alone_keeps_following():
    layer = LinearLayer(5, 4, seed=0)
    row = layer.weights[2]
    before = row.copy()
    gc.collect()
    train(layer)
    assert (row != before).all()
    row[:] = 7
    np.testing.assert_array_equal(layer.weights[2], [7, 7, 7, 7])


def test_two_names_for_weights_are_one_array():
    layer = LinearLayer(5, 4, seed=0)
    one = layer.weights
    layer.forward(np.ones((1, 5), np.float32))
    other = layer.weights
    other[0, 0] = 9
    assert one[0, 0] == 9


def test_in_place_arithmetic_on_weights_and_bias():
    layer = LinearLayer(3, 2, seed=0)
    before = layer.weights.copy()
    layer.weights *= 2
    layer.bias -= 1
    x = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(layer.forward(x), 2 * before - 1)


def test_assignment_copies_and_reaches_a_held_array():
    layer = LinearLayer(3, 2, seed=0)
    held, value = layer.weights, np.arange(6, dtype=np.float64).reshape(3, 2)
    layer.weights = value
    value[:] = -1
    np.testing.assert_array_equal(held, np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(layer.forward(np.eye(3, dtype=np.float32)), np.arange(6).reshape(3, 2))


def test_swapping_rows_through_an_assignment_of_itself():
    layer = LinearLayer(3, 3, seed=0)
    transposed = layer.weights.T.copy()
    layer.weights = layer.weights.T
    np.testing.assert_array_equal(layer.weights, transposed)
