"""Operations declare themselves: what a row may hold is refused before a kernel could read what is not its own."""

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

from fastff.engine import panels
from fastff.engine.program import Program
from fastff.errors import ArgumentError
from fastff.kernels import linear, losses
from fastff.kernels import run as driver
from fastff.kernels.emit import load_f32, store_f32
from fastff.kernels.operation import address, array, operation
from fastff.kernels.panels import batch, padded


@operation
def clip(x: batch("features"), low: array(np.float32), features, /, rows, thread):
    """x = max(x, low), for a batch of few rows: an operation of a test's own."""
    if thread == 0:
        for f in range(features):
            for i in range(rows):
                at = x + 4 * (f * panels.NR + i)
                store_f32(at, max(load_f32(at), load_f32(low)))


@operation
def end_at(number_to_end, /, number):
    return number == number_to_end


class Lying(np.ndarray):
    """An array that says of itself what is not so."""

    size, shape = property(lambda self: 10**6), property(lambda self: (4, 2, 16))


def forward_fields(**changes):
    x, y = panels.batch(5, 8), panels.batch(3, 8)
    w, bias = panels.aligned(panels.panel_size((5, 3))), panels.aligned(panels.round_up(3, panels.NR))
    return {"x": x, "y": y, "w": w, "bias": bias, "n_in": 5, "n_out": 3, "relu": 0, **changes}


def program_of(operation, **fields):
    program = Program(8)
    program.add(operation, **fields)
    return program


def test_an_operation_of_ones_own_runs_in_a_program():
    rows = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)
    program = Program(3)
    x = program.gather(rows)
    program.add(clip, x=x, low=np.array([0.25], np.float32), features=5)
    out = program.scatter(x, 3)
    program.run(threads=2)
    np.testing.assert_array_equal(out, np.maximum(rows, np.float32(0.25)))
    assert clip.name == "test_operation.clip"
    assert list(clip.fields) == ["x", "low", "features"]


@pytest.mark.parametrize("threads", [1, 3])
def test_what_an_operation_returns_ends_the_run_there(threads):
    rows = np.ones((6, 5), np.float32)
    program = Program(1)
    x = program.gather(rows)
    program.add(end_at, number_to_end=4)
    out = program.scatter(x, 6)
    out[:] = 0
    assert program.run(np.arange(6), threads=threads).done == 4
    np.testing.assert_array_equal(out[:, 0], [1, 1, 1, 1, 0, 0])


def test_missing_and_unknown_fields_are_a_type_error_when_the_program_is_built():
    fields = forward_fields()
    del fields["bias"]
    with pytest.raises(TypeError, match=r"^linear.forward: wants the field bias$"):
        program_of(linear.forward, **fields)
    with pytest.raises(TypeError, match=r"^linear.forward: has no field bais and wants the field bias$"):
        program_of(linear.forward, **fields, bais=1)
    row = program_of(linear.forward, **forward_fields()).step[0]
    with pytest.raises(TypeError, match=r"^linear.forward: has no field rleu$"):
        row.set(rleu=1)


def test_what_a_step_does_not_give_is_refused_when_the_operation_is_made():
    with pytest.raises(TypeError, match="a step gives no rows_left"):

        @operation
        def wrong(x: batch("n"), n, /, rows_left):
            pass


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"w": np.zeros(1000)}, r"linear.forward: w: float64 .*want float32"),
        ({"w": None}, "linear.forward: w: NoneType, want an array of float32"),
        ({"w": [1.0, 2.0]}, "linear.forward: w: list, want an array of float32"),
        ({"w": np.zeros(4000, np.float32)[::2]}, "linear.forward: w: .*want float32, contiguous and aligned"),
        (
            {"w": np.zeros(4001, np.uint8)[1:].view(np.float32)},
            "linear.forward: w: .*want float32, contiguous and aligned",
        ),
        ({"w": np.zeros(7, np.float32)}, "linear.forward: w: 7 values, want at least"),
        ({"w": np.zeros(7, np.float32).view(Lying)}, "linear.forward: w: Lying, want an array of float32"),
        ({"x": np.zeros(7, np.float32)}, "linear.forward: x: 7 values, want at least"),
        ({"bias": np.zeros(1, np.float32)}, "linear.forward: bias: 1 values, want at least"),
        ({"n_in": 500}, "linear.forward: x: .* values, want at least"),
        ({"n_in": 5.0}, "linear.forward: n_in: 5.0, want a whole number"),
        ({"relu": "yes"}, "linear.forward: relu: 'yes', want a whole number"),
    ],
)
def test_an_array_that_does_not_fit_never_becomes_an_address(change, says):
    program = program_of(linear.forward, **forward_fields(**change))
    with pytest.raises(ArgumentError, match=says):
        program.run()


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows,
        lambda rows: rows[::-1, ::2],
        np.asfortranarray,
        lambda rows: np.broadcast_to(rows[:1], (3, 6)),
        lambda rows: rows[:0],
    ],
)
@pytest.mark.parametrize("writeable", [True, False])
def test_an_address_is_where_the_first_value_lies(change, writeable):
    rows = change(np.arange(18, dtype=np.float32).reshape(3, 6))
    rows.flags.writeable = writeable and rows.flags.writeable
    assert address(rows) == rows.__array_interface__["data"][0]


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (np.arange(8, dtype=np.int32), "int32"),
        (np.arange(8.0), "float64"),
        ([0, 1, 2], "list"),
        (np.array([0, 8]), "goes from 0 to 8, want row numbers below 8"),
        (np.array([-1, 2]), "goes from -1 to 2"),
        (np.zeros((2, 2, 2), np.int64), r"int64 \(2, 2, 2\)"),
        (np.zeros(0, np.int64), r"int64 \(0,\)"),
        (np.zeros((65, 3), np.int64), "65 epochs, want at most 64"),
    ],
)
def test_an_order_of_other_rows_is_refused_before_the_run(index, says):
    program = Program(2)
    program.scatter(program.gather(np.ones((8, 3), np.float32)), 8)
    with pytest.raises(ArgumentError, match=f"^the order of the rows: .*{says}"):
        program.run(index)


def test_more_rows_than_the_result_holds_are_refused():
    program = Program(2)
    program.scatter(program.gather(np.ones((8, 3), np.float32)), 4)
    with pytest.raises(ArgumentError, match="6 rows, want at most 4"):
        program.run(np.arange(6))


@pytest.mark.parametrize("shape", [(400_000, 3), (8, 1), (2, 3)])
def test_rows_cannot_be_resized_as_long_as_a_program_has_them(shape):
    rows = np.ones((8, 3), np.float32)
    program = Program(2)
    out = program.scatter(program.gather(rows), 8)
    program.run(np.arange(8))
    assert (out == 1).all()
    with pytest.raises(ValueError, match="resize"):
        rows.resize(shape, refcheck=False)


def test_the_numbers_of_an_optimizer_are_one_row_a_step():
    program = Program(2)
    program.scatter(program.gather(np.ones((8, 3), np.float32)), 8)
    wrong = [np.zeros((3, 2, 16), np.float32), np.zeros((4, 2, 16)), np.zeros(4, np.float32)]
    for hyper in (*wrong, np.zeros(4, np.float32).view(Lying)):
        with pytest.raises(ArgumentError, match=r"^the optimizer's numbers: .*want float32 \(4, 2, 16\)"):
            program.run(np.arange(8), hyper=hyper)


def test_every_operation_has_a_name_of_its_own():
    operations = [linear.forward, linear.backward, losses.record, driver.decide, driver.keep, clip]
    assert len({operation.name for operation in operations}) == len(operations)
    assert padded.py_func(1) >= 1  # kernels are for other kernels; what they compute can be looked at so


def test_nothing_of_an_operation_but_itself_can_be_seen_by_other_code():
    """Else a kernel in code from the cache could be taken for another of the same name that is compiled now."""
    library = clip._load()._compile_uncached().library
    with global_compiler_lock:
        library._ensure_finalized()
    seen = [function.name for function in library.get_defined_functions() if function.linkage.name == "external"]
    assert seen == [library.public]
