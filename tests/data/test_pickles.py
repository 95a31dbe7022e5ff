"""Pickles give the arrays in them and never run code; damaged and forged ones are refused in one line."""

import contextlib
import pickle
import pickletools
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastff.data.pickles import load_pickle
from fastff.errors import DataError

CONTENT = {
    "images": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "floats": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
    "strided": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "flags": np.array([True, False]),
    "empty": np.empty((0, 3), np.float64),
    "labels": [1, 2, np.int64(3)],
    "names": ("horse", b"ship"),
    "more": {"scale": 0.5, "none": None},
}


def load(data):
    return load_pickle(BytesIO(data), "file")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_come_back(protocol):
    loaded = load(pickle.dumps(CONTENT, protocol))
    assert list(loaded) == list(CONTENT)
    for key, value in CONTENT.items():
        assert type(loaded[key]) is type(value)
        np.testing.assert_equal(loaded[key], value)
        if isinstance(value, np.ndarray):
            assert loaded[key].dtype == value.dtype


@pytest.mark.parametrize(("old", "new"), [(b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")])
def test_pickles_of_old_and_new_numpy_are_read_alike(old, new):
    # In protocol 2 a name ends in a newline and has no length before it, so it can be replaced.
    data = pickle.dumps(CONTENT["images"], 2).replace(old, new)
    np.testing.assert_array_equal(load(wrapped(data))["x"], CONTENT["images"])


def wrapped(pickled):
    """The pickle of protocol 2 of {"x": what was pickled}."""
    return b"\x80\x02}X\x01\x00\x00\x00x" + pickled.removeprefix(b"\x80\x02").removesuffix(b".") + b"s."


def test_pickle_of_python_2_as_cifar_has_it():
    pixels = bytes(range(250, 256))
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K\x02K\x03tcnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x06" + pixels + b"tb"
    )
    loaded = load(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x03K\x07eU\x0bbatch_labelU\x05batchu.")
    np.testing.assert_array_equal(loaded["data"], [[250, 251, 252], [253, 254, 255]])
    assert loaded["labels"] == [3, 7]
    assert loaded["batch_label"] == b"batch"


class Runs:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_pickle_does_not_run(tmp_path, protocol):
    proof = tmp_path / "ran"
    data = pickle.dumps({"images": Runs(exec, f"import os; os.mkdir({str(proof)!r})")}, protocol)
    with pytest.raises(DataError, match=r"^file: a pickle that asks for (builtins|__builtin__)\.exec;"):
        load(data)
    assert not proof.exists()
    pickle.loads(data)["images"]  # the same bytes do run elsewhere
    assert proof.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os system",
        "numpy load",
        "numpy.core.multiarray fromfile",
        "numpy._core._internal eval",
        "numpy.testing._private.utils runstring",
        "functools partial",
        "builtins getattr",
        "fastff.data.pickles pickle.loads",
        "fastff.data.pickles load_pickle",
    ],
)
def test_every_other_name_is_refused(name):
    module, attribute = name.split()
    with pytest.raises(DataError, match=f"asks for {module}.{attribute};"):
        load(f"c{module}\n{attribute}\n.".encode())


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.array([None, {}], object), "type 'O8'"),
        (np.array([(1, 2.0)], "i4,f4"), "type 'V8'"),
        (np.array(["a"]), "type 'U1'"),
        (np.array([1j]), "type 'c16'"),
        (np.array(["2020"], "M8[Y]"), "type 'M8'"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_of_anything_but_numbers_are_refused(array, found, protocol):
    with pytest.raises(DataError, match=found):
        load(pickle.dumps({"images": array}, protocol))


def test_admitted_functions_cannot_be_changed():
    # BUILD with a pair as state sets attributes on whatever it is given.
    changed = b"cnumpy.core.multiarray\n_reconstruct\n(N}X\x08\x00\x00\x00functionK\x01stb."
    assert "BUILD" in [op.name for op, _, _ in pickletools.genops(changed)]
    with pytest.raises(DataError, match="changes a function"):
        load(changed)


def test_shape_must_fit_the_bytes():
    data = pickle.dumps({"x": np.zeros((2, 3), np.uint8)}, 4).replace(b"K\x02K\x03\x86", b"K\x7fK\x7f\x86")
    with pytest.raises(DataError, match=r"^file: not a readable pickle: cannot reshape"):
        load(data)


def test_index_out_of_all_proportion_takes_no_memory():
    tracemalloc.start()
    try:
        load(b"\x80\x02}r\xff\xff\xff\x7f.")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [b"", b"\x80", b"not a pickle", b"\x80\x04N.", pickle.dumps([1, 2])])
def test_what_is_not_a_pickled_dict_is_refused(data):
    with pytest.raises(DataError, match=r"^file: not a readable pickle: [^\n]+$"):
        load(data)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([0, 2, 4, 5]), st.data())
def test_damage_is_refused_or_harmless(protocol, data):
    whole = pickle.dumps({"images": CONTENT["images"], "labels": [1, 2, 3]}, protocol)
    with pytest.raises(DataError, match=r"^file: [^\n]+$"):
        load(whole[: data.draw(st.integers(0, len(whole) - 1))])
    at, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):  # anything else that is raised fails the test
        load(whole[:at] + bytes([byte]) + whole[at + 1 :])
