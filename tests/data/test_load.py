"""NumPy's files and IDX files become data sets; what is missing, damaged or unfit is refused in one line."""

import gzip
import re
import struct

import numpy as np
import pytest

from fastff.data import load_dataset
from fastff.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)
ARRAYS = {
    "x_train": RNG.normal(size=(6, 3)).astype(np.float32),
    "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "x_val": RNG.normal(size=(2, 3)).astype(np.float32),
    "y_val": np.array([[1], [2]]),
    "x_test": RNG.normal(size=(3, 3)).astype(np.float32),
    "y_test": np.array([0.0, 1.0, 2.0]),
}


def save_npz(path, **changes):
    arrays = {name: value for name, value in {**ARRAYS, **changes}.items() if value is not None}
    np.savez(path, **arrays)
    return path


def save_npy(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, value in arrays.items():
        np.save(folder / f"{name}.npy", value)
    return folder


def check_splits(dataset):
    for name, expected in ARRAYS.items():
        found = getattr(dataset, name)
        np.testing.assert_array_equal(
            found, expected.reshape(len(expected), -1) if name[0] == "x" else expected.ravel()
        )
        assert found.dtype == (np.float32 if name[0] == "x" else np.int64)
        assert found.flags.c_contiguous
    assert dataset.class_names == ("0", "1", "2")
    assert (dataset.n_features, dataset.n_classes, dataset.image_shape) == (3, 3, None)


def test_npz_gives_its_splits(tmp_path):
    dataset = load_dataset(save_npz(tmp_path / "mine.npz"))
    check_splits(dataset)
    assert dataset.name == "mine"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_row_types_are_kept(tmp_path, dtype):
    rows = np.asfortranarray(np.arange(18).reshape(6, 3), dtype)
    dataset = load_dataset(save_npz(tmp_path / "a.npz", x_train=rows, x_val=None, y_val=None))
    assert dataset.x_train.dtype == dtype
    assert dataset.x_train.flags.c_contiguous
    assert dataset.x_val is None
    assert dataset.y_val is None


def test_npy_folder_stays_on_disk(tmp_path):
    dataset = load_dataset(str(save_npy(tmp_path / "set", **ARRAYS)))
    check_splits(dataset)
    assert dataset.name == "set"
    for split in ("train", "val", "test"):
        rows = getattr(dataset, f"x_{split}")
        assert isinstance(rows, np.memmap)
        assert not rows.flags.writeable


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"x_train": None}, "has no x_train; found .*y_train"),
        ({"y_val": None}, "has no y_val"),
        ({"x_train": np.zeros((0, 3)), "y_train": np.zeros(0)}, "x_train: empty"),
        ({"x_val": np.zeros((2, 4))}, "x_val: rows of 4 values, want 3"),
        ({"y_train": np.zeros(5)}, "y_train: 5 labels for 6 rows"),
        ({"y_test": [0, 1, 3]}, "y_test: 3.* at row 2, want a whole number from 0 to 2"),
        ({"y_train": [0, 1, 2, 0, 1.5, 2]}, "y_train: 1.5 at row 4"),
        ({"y_train": [0, 1, 2, 0, -1, 2]}, "y_train: -1 at row 4"),
        ({"y_train": [0, 1, 2, 0, 10**6, 2]}, "y_train: label 1000000 in 6 rows"),
        ({"x_test": np.array([[0, 0, 0], [0, np.nan, 0], [0, 0, 0]])}, "x_test: nan at row 1, column 1"),
        ({"x_train": np.zeros((6, 1, 3))}, r"x_train: shape \(6, 1, 3\)"),
        ({"x_train": np.zeros((6, 3), complex)}, "x_train: holds complex128"),
        ({"y_train": np.array([None] * 6)}, "not a readable .npz file: Object arrays cannot be loaded"),
    ],
)
def test_unfit_arrays_are_refused(tmp_path, changes, found):
    path = save_npz(tmp_path / "a.npz", **changes)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {found}[^\n]*$"):
        load_dataset(path)


def test_damaged_npz_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **ARRAYS)
    whole = path.read_bytes()
    middle = len(whole) // 4
    for data in (
        b"",
        whole[:40],
        whole[:-30],
        whole[: len(whole) // 2],
        whole[:middle] + b"damage" + whole[middle + 6 :],
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"^[^\n]*not a readable .npz file: [^\n]*$"):
            load_dataset(path)


def test_npy_files_that_are_something_else_are_refused(tmp_path):
    folder = save_npy(tmp_path / "set", **ARRAYS)
    rows = folder / "x_train.npy"
    whole = rows.read_bytes()
    for data in (b"", whole[:20], whole[:-1], save_npz(tmp_path / "a.npz").read_bytes()):
        rows.write_bytes(data)
        with pytest.raises(DataError, match=rf"^{re.escape(str(rows))}: not a readable .npy file: [^\n]*$"):
            load_dataset(folder)
    rows.unlink()
    with pytest.raises(DataError, match=r"has no x_train.npy; found x_test.npy"):
        load_dataset(folder)


def idx(array, *, magic=None, sizes=None):
    array = np.asarray(array, np.uint8)
    sizes = array.shape if sizes is None else sizes
    return struct.pack(f">{1 + len(sizes)}I", 0x800 + array.ndim if magic is None else magic, *sizes) + array.tobytes()


IMAGES = RNG.integers(0, 256, (24, 4, 5), np.uint8)
LABELS = np.arange(24) % 3


def save_idx(folder, dot="-", pack=False, **files):
    folder.mkdir(exist_ok=True)
    contents = {
        f"train-images{dot}idx3-ubyte": idx(IMAGES),
        f"train-labels{dot}idx1-ubyte": idx(LABELS),
        f"t10k-images{dot}idx3-ubyte": idx(IMAGES[:6]),
        f"t10k-labels{dot}idx1-ubyte": idx(LABELS[:6]),
    }
    for name, data in contents.items():
        data = files.get(name.split(dot + "idx")[0].replace("-", "_"), data)
        if data is not None:
            (folder / (name + ".gz" * pack)).write_bytes(gzip.compress(data) if pack else data)
    return folder


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("pack", [False, True])
def test_idx_folder_is_read_plain_or_packed(tmp_path, dot, pack):
    dataset = load_dataset(save_idx(tmp_path / "letters", dot, pack))
    assert (dataset.name, dataset.image_shape, dataset.n_classes) == ("letters", (1, 4, 5), 3)
    assert [len(y) for y in (dataset.y_train, dataset.y_val, dataset.y_test)] == [22, 2, 6]
    np.testing.assert_array_equal(dataset.x_test, IMAGES[:6].reshape(6, 20))
    rows = {row.tobytes(): y for row, y in zip(IMAGES.reshape(24, 20), LABELS, strict=True)}
    for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_val, dataset.y_val)):
        assert x.dtype == np.uint8
        assert [rows.pop(row.tobytes()) for row in x] == list(y)
    assert not rows


def test_fashion_mnist_is_found_beside_mnist(tmp_path):
    save_idx(tmp_path / "mnist", train_images=idx(255 - IMAGES))
    save_idx(tmp_path / "fashion-mnist", pack=True)
    fashion = load_dataset("fashion-mnist", data_dir=tmp_path)
    assert (fashion.name, fashion.class_names[9], fashion.n_classes) == ("fashion-mnist", "ankle boot", 10)
    mnist = load_dataset("mnist", data_dir=tmp_path / "mnist")
    assert mnist.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    np.testing.assert_array_equal(mnist.x_train, 255 - fashion.x_train)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"train_images": idx(IMAGES)[:-1]}, "declares 24 x 4 x 5 = 480 bytes, found 479"),
        ({"train_images": idx(IMAGES) + b"x"}, "declares .* = 480 bytes, found more than 480"),
        (
            {"train_images": idx(IMAGES, sizes=[2**32 - 1] * 3)},
            "(declares 4294967295 x .* bytes, found 480|.* that unpack)",
        ),
        ({"train_images": idx(IMAGES, magic=0x801)}, "starts with 0x00000801, want 0x00000803"),
        ({"train_labels": idx(LABELS, magic=0xD01)}, "starts with 0x00000d01, want 0x00000801"),
        ({"train_images": idx(IMAGES)[:9]}, "ends in the header, after 9 bytes"),
        ({"train_images": b""}, "starts with 0x,"),
        ({"train_images": idx(np.empty((0, 4, 5)))}, "empty, declares 0 x 4 x 5"),
        ({"train_labels": idx(LABELS[:-1])}, "23 training labels for 24 pictures"),
        ({"t10k_labels": idx(LABELS[:5])}, "y_test: 5 labels for 6 rows"),
        ({"t10k_labels": idx(LABELS[:6] + 7)}, "y_test: 7 at row 0"),
        ({"t10k_images": idx(IMAGES[:6, :3])}, "training and test pictures of 4x5 and 3x5 pixels, want one size"),
        ({"t10k_labels": None}, "has no t10k-labels-idx1-ubyte"),
    ],
)
def test_idx_files_that_lie_are_refused(tmp_path, pack, files, found):
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path))}[^\n]*: {found}[^\n]*$"):
        load_dataset(save_idx(tmp_path / "idx", pack=pack, **files))


def test_damaged_gzip_is_refused(tmp_path):
    path = save_idx(tmp_path / "idx", pack=True) / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for data in (whole[:-20], whole[:100] + b"damage" + whole[106:], whole[:-8] + bytes(8)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: not a readable IDX file: [^\n]+$"):
            load_dataset(path.parent)


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
            "data_dir: . has no files of mnist, want train-images-idx3-ubyte",
        ),
        (
            {"name_or_path": "cifar10", "data_dir": "."},
            DataError,
            "data_dir: . has no files of cifar10, want cifar-10-python.tar",
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
