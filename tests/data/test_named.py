"""The named sets: digits without a network, downloads that are checked, and what to do when there is no network."""

import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pooch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.data import Dataset, load_dataset
from fastff.data.download import SOURCES
from fastff.errors import ArgumentError, DataError


def test_digits_are_in_the_package(monkeypatch):
    monkeypatch.setattr(pooch, "retrieve", None)  # would fail if it were called
    digits = load_dataset("digits")
    assert [len(y) for y in (digits.y_train, digits.y_val, digits.y_test)] == [1257, 180, 360]
    assert (digits.name, digits.n_features, digits.n_classes, digits.image_shape) == ("digits", 64, 10, (1, 8, 8))
    assert digits.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    for x, y in ((digits.x_train, digits.y_train), (digits.x_val, digits.y_val), (digits.x_test, digits.y_test)):
        assert (x.dtype, x.max()) == (np.uint8, 16)
        counts = np.bincount(y)
        assert counts.max() - counts.min() <= 0.1 * len(y) / 10 + 1  # every class in each part


def test_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets", reason="compares with scikit-learn's copy")
    x, y = datasets.load_digits(return_X_y=True)
    digits = load_dataset("digits")
    rows = np.concatenate([digits.x_train, digits.x_val, digits.x_test])
    labels = np.concatenate([digits.y_train, digits.y_val, digits.y_test])
    ours, theirs = (np.lexsort(np.column_stack(pair).T) for pair in ((rows, labels), (x, y)))
    np.testing.assert_array_equal(rows[ours], x[theirs])
    np.testing.assert_array_equal(labels[ours], y[theirs])


def test_repr_is_short():
    assert repr(load_dataset("digits")) == (
        "Dataset('digits', train=1257, val=180, test=360, n_features=64, n_classes=10)"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "found"),
    [
        (
            {"name_or_path": "digit"},
            DataError,
            "digit: no such file or folder, and not one of the names digits, cifar10-hst",
        ),
        ({"name_or_path": "a.csv", "target": "b"}, DataError, "a.csv: no such file or folder"),
        ({"name_or_path": "digits", "target": "b"}, ArgumentError, "target: 'b' for digits"),
        ({"name_or_path": "x.npz", "data_dir": "."}, ArgumentError, "data_dir: . beside the path x.npz"),
        ({"name_or_path": "mnist", "data_dir": "nowhere"}, DataError, "data_dir: nowhere is not a folder"),
        (
            {"name_or_path": "mnist", "data_dir": "."},
            DataError,
            ".: has no files of mnist, want train-images-idx3-ubyte",
        ),
        (
            {"name_or_path": "cifar10", "data_dir": "."},
            DataError,
            ".: has no files of cifar10, want cifar-10-python.tar",
        ),
        ({"name_or_path": "cifar10-hst", "data_dir": "."}, DataError, "cifar10_hst_train, cifar10_hst_val"),
        ({"name_or_path": "."}, DataError, ".: no data found, want x_train.npy and y_train.npy"),
        ({"name_or_path": "notes.txt"}, DataError, "notes.txt: a file of an unknown kind, want .npz, .csv"),
    ],
)
def test_what_is_not_there_is_explained(tmp_path, monkeypatch, arguments, error, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(error) as caught:
        load_dataset(**arguments)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


@given(rows=st.integers(2, 60), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**40))
def test_held_out_rows_are_a_fixed_part_of_training(rows, fraction, seed):
    x = np.arange(rows, dtype=np.float32)[:, None]
    y = np.arange(rows) % 2
    whole = Dataset("a", x, y, None, None, None, None, ("no", "yes"))
    parted = whole.with_validation(fraction, seed)
    assert len(parted.x_val) == min(max(round(rows * fraction), 1), rows - 1)
    np.testing.assert_array_equal(np.sort(np.concatenate([parted.x_train, parted.x_val]), axis=0), x)
    np.testing.assert_array_equal(parted.y_val, parted.x_val[:, 0] % 2)
    np.testing.assert_array_equal(parted.y_train, parted.x_train[:, 0] % 2)
    np.testing.assert_array_equal(whole.with_validation(fraction, seed).x_val, parted.x_val)
    assert parted.with_validation(0.5) is parted


def test_held_out_rows_never_change():
    whole = Dataset("a", np.arange(20)[:, None], np.zeros(20, int), None, None, None, None, ("a",))
    assert whole.with_validation(0.2).x_val.ravel().tolist() == [2, 3, 11, 13]
    assert whole.with_validation(0.2, seed=1).x_val.ravel().tolist() != [2, 3, 11, 13]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_fraction_must_leave_something(fraction):
    with pytest.raises(ArgumentError, match=r"^fraction: "):
        load_dataset("digits").with_validation(fraction)


def test_one_row_cannot_be_split():
    with pytest.raises(DataError, match="one training row"):
        Dataset("a", np.ones((1, 2)), np.zeros(1, int), None, None, None, None, ("a",)).with_validation()


def idx(array):
    return gzip.compress(struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server for MNIST's four files, small, with their sums in the table, and an empty cache. Yields its folder."""
    folder, cache = tmp_path / "served", tmp_path / "cache"
    folder.mkdir()
    images = np.arange(24 * 4, dtype=np.uint8).reshape(24, 2, 2)
    labels = np.arange(24, dtype=np.uint8) % 10
    files = {}
    for name in SOURCES["mnist"][1]:
        data = idx(images if "images" in name else labels)
        (folder / name).write_bytes(data)
        files[name] = hashlib.sha256(data).hexdigest()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setitem(SOURCES, "mnist", (f"http://127.0.0.1:{running.server_port}/", files))
        monkeypatch.setattr(pooch, "os_cache", lambda project: cache / project)
        yield folder
        running.shutdown()
        thread.join()


def test_download_once_then_from_the_cache(server, tmp_path):
    first = load_dataset("mnist")
    assert [len(y) for y in (first.y_train, first.y_val, first.y_test)] == [22, 2, 24]
    assert first.image_shape == (1, 2, 2)
    cached = tmp_path / "cache" / "fastff" / "mnist"
    assert sorted(path.name for path in cached.iterdir()) == sorted(SOURCES["mnist"][1])
    for path in server.iterdir():
        path.unlink()
    np.testing.assert_array_equal(load_dataset("mnist").x_train, first.x_train)
    np.testing.assert_array_equal(load_dataset("mnist", data_dir=cached).x_train, first.x_train)


def test_damaged_cache_heals(server, tmp_path):
    first = load_dataset("mnist")
    cached = tmp_path / "cache" / "fastff" / "mnist" / "train-images-idx3-ubyte.gz"
    cached.write_bytes(cached.read_bytes()[:-1])
    np.testing.assert_array_equal(load_dataset("mnist").x_train, first.x_train)


def test_download_with_a_wrong_sum_is_refused(server, tmp_path):
    (server / "train-labels-idx1-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(
        DataError, match=r"^mnist: cannot download \S+train-labels\S+ \(its SHA-256 is wrong\); [^\n]*$"
    ):
        load_dataset("mnist")
    assert not (tmp_path / "cache" / "fastff" / "mnist" / "train-labels-idx1-ubyte.gz").exists()


def test_data_dir_is_never_downloaded_to(server, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no files of mnist"):
        load_dataset("mnist", data_dir=tmp_path / "empty")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "cifar10-hst"])
def test_without_a_network_the_message_says_what_to_put_where(tmp_path, monkeypatch, name):
    source = "cifar10" if name == "cifar10-hst" else name
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(SOURCES, source, ("http://127.0.0.1:1/", SOURCES[source][1]))  # nothing listens there
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    with pytest.raises(DataError) as caught:
        load_dataset(name)
    message = str(caught.value)
    assert message.startswith(f"{name}: cannot download http://127.0.0.1:1/{next(iter(SOURCES[source][1]))} (")
    assert "\n" not in message
    assert f"into {tmp_path / 'fastff' / source}, or " in message
    assert all(file in message for file in SOURCES[source][1])
    assert ("cifar10_hst_train" in message) == (name == "cifar10-hst")
    assert caught.value.__suppress_context__
