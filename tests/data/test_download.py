"""Named sets are downloaded once and checked; without a network the message says what to put where."""

import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pooch
import pytest

from fastff.data import load_dataset
from fastff.data.download import SOURCES
from fastff.errors import DataError


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
