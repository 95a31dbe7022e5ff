"""What was saved comes back bit for bit; what was cut, altered or is something else is one line that names the file."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import save, save_file

from fastff.errors import ArgumentError, DataError
from fastff.system import checkpoint

in_one_folder = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
arrays = hnp.arrays(
    dtype=st.sampled_from(["float32", "float64", "int64", "uint8"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


@pytest.fixture
def saved(path):
    checkpoint.save(path, {"weights": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)}, {"step": 7})
    return path


def load_error(path) -> str:
    with pytest.raises(DataError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def parts(content):
    """The header and the data of a safetensors file; entries of the header may stand in any order."""
    end = 8 + int.from_bytes(content[:8], "little")
    assert end % 8 == 0
    return json.loads(content[8:end]), content[end:]


@in_one_folder
@given(
    st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"), arrays, max_size=4),
    st.dictionaries(st.text(), json_values, max_size=4),
)
def test_what_was_saved_comes_back(path, stored, metadata):
    checkpoint.save(path, stored, metadata)
    loaded, loaded_metadata = checkpoint.load(path)
    assert loaded_metadata == metadata
    assert loaded.keys() == stored.keys()
    for name, array in stored.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()  # bits, so that NaNs and -0.0 count


def test_strides_and_byte_order_do_not_matter(path):
    square = np.arange(12.0).reshape(3, 4)
    read_only = square.copy()
    read_only.flags.writeable = False
    stored = {"turned": square.T, "thinned": square[::2, ::-1], "swapped": square.astype(">f4"), "fixed": read_only}
    checkpoint.save(path, stored, {})
    loaded, _ = checkpoint.load(path)
    for name, array in stored.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype.isnative


def test_large_arrays_are_read_from_the_file_in_parts(path):
    large = np.random.default_rng(0).standard_normal((1000, 2100))  # two blocks and a bit
    checkpoint.save(path, {"large": large, "turned": large.T}, {})
    with checkpoint.reading(path) as (stored, _):
        assert stored["large"].shape == large.shape
        np.testing.assert_array_equal(stored["large"][990:2000], large[990:])
    np.testing.assert_array_equal(checkpoint.load(path)[0]["turned"], large.T)


@in_one_folder
@given(st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"), arrays, max_size=4))
def test_the_file_is_as_safetensors_writes_it(path, stored):
    checkpoint.save(path, stored, {})
    with safe_open(path, framework="np") as file:
        notes = file.metadata()
    assert parts(path.read_bytes()) == parts(save(stored, metadata=notes))


def test_loaded_arrays_are_writable_and_independent_of_the_file(saved):
    loaded, _ = checkpoint.load(saved)
    loaded["weights"] += 1
    saved.unlink()
    assert loaded["weights"].sum() == pytest.approx(18)


def test_infinite_and_missing_numbers_in_metadata_come_back(path):
    checkpoint.save(path, {}, {"best": float("inf"), "last": float("nan")})
    _, metadata = checkpoint.load(path)
    assert metadata["best"] == float("inf")
    assert np.isnan(metadata["last"])


def test_any_safetensors_reader_opens_it(saved):
    with safe_open(saved, framework="np") as file:
        assert file.get_tensor("weights").shape == (3, 4)
        assert json.loads(file.metadata()["fastff"]) == {"step": 7}


@pytest.mark.parametrize(
    ("stored", "metadata", "message"),
    [
        ({"w": np.zeros(2, np.float16)}, {}, r"arrays\['w'\] is float16, wanted one of int64, .*"),
        ({"w": np.array([None])}, {}, r"arrays\['w'\] is object, .*"),
        ({"__metadata__": np.zeros(2)}, {}, ".*'__metadata__' is reserved.*"),
        ({}, {"loss": np.float32(1)}, "metadata must be what JSON can hold: .*float32.*"),
    ],
)
def test_what_cannot_be_stored_is_said_and_the_old_file_stays(saved, stored, metadata, message):
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        checkpoint.save(saved, stored, metadata)
    assert checkpoint.load(saved)[1] == {"step": 7}


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(saved):
    resource = pytest.importorskip("resource", reason="on Windows: files have no such limit")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DataError, match=r"^cannot write .*: .*File too large"):
            checkpoint.save(saved, {"weights": np.zeros(10_000)}, {"step": 8})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint.load(saved)[1] == {"step": 7}
    assert os.listdir(saved.parent) == [saved.name]


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"^cannot write .*: No such file or directory$"):
        checkpoint.save(tmp_path / "missing" / "file", {}, {})


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    assert load_error(tmp_path / "missing").endswith(": No such file or directory")
    load_error(tmp_path)


def test_every_truncation_is_noticed(saved):
    whole = saved.read_bytes()
    for length in range(len(whole)):
        saved.write_bytes(whole[:length])
        load_error(saved)


@in_one_folder
@given(st.data())
def test_every_altered_byte_is_noticed(path, data):
    checkpoint.save(path, {"weights": np.arange(6, dtype=np.float32), "step": np.array(3)}, {"step": 7, "name": "net"})
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    load_error(path)


@pytest.mark.parametrize("length", range(8))
def test_every_altered_byte_of_the_padding_is_noticed(path, length):
    checkpoint.save(path, {"weights": np.arange(6, dtype=np.float32)}, {"name": "x" * length})
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    for position in range(content.rindex(b"}", 0, end) + 1, end):
        assert content[position] == ord(" ")
        for other in b"\t\n\r\0}":  # the first three are white space to JSON
            path.write_bytes(content[:position] + bytes([other]) + content[position + 1 :])
            load_error(path)


@in_one_folder
@given(st.binary(max_size=200))
def test_other_content_is_one_line(path, content):
    path.write_bytes(content)
    load_error(path)


def test_foreign_safetensors_files_are_one_line(path):
    for metadata in (None, {"format": "pt"}, {"fastff": "{}"}):
        save_file({"weights": np.zeros(3)}, path, metadata=metadata)
        assert "was not written by fastff" in load_error(path)


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F16", 2), ("F8_E4M3", 1)])
def test_types_that_save_never_writes_are_one_line(path, kind, size):
    header = {"w": {"dtype": kind, "shape": [1], "data_offsets": [0, size]}}
    text = json.dumps({"__metadata__": {"fastff": "{}", "fastff.crc32": "00000000"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    assert f"the array 'w' is {kind}, wanted one of" in load_error(path)
