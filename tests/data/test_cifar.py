"""CIFAR-10's official archives and the course's pickles give the same rows, split the same way every time."""

import importlib.util
import io
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fastff.data import load_dataset
from fastff.data.cifar import as_bytes
from fastff.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
ROWS = 20  # in a batch; each class twice


def batch(number):
    x = np.random.default_rng(number).integers(0, 256, (ROWS, 3072), np.uint8)
    return x, (np.arange(ROWS) + number) % 10


def as_python(number, **changes):
    x, y = batch(number)
    content = {b"batch_label": b"batch", b"labels": y.tolist(), b"data": x, b"filenames": [b"a.png"] * ROWS}
    content.update({key.encode(): value for key, value in changes.items()})
    return pickle.dumps(content, protocol=2)


def as_binary(number):
    x, y = batch(number)
    return np.hstack([y[:, None].astype(np.uint8), x]).tobytes()


def official_files(form):
    make, end = (as_python, "") if form == "py" else (as_binary, ".bin")
    return {name + end: make(number) for number, name in enumerate(BATCHES)}


def unpacked(folder, form, **changes):
    folder.mkdir(parents=True)
    (folder / "readme.html").write_text("CIFAR-10")
    for name, data in {**official_files(form), **changes}.items():
        if data is not None:
            (folder / name).write_bytes(data)
    return folder


def packed(path, form, mode="w:gz", **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in {"readme.html": b"CIFAR-10", **official_files(form), **changes}.items():
            if data is not None:
                member = tarfile.TarInfo(f"cifar-10-batches-{form}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def test_every_official_form_gives_the_same_set(tmp_path):
    places = [
        unpacked(tmp_path / "1" / "cifar-10-batches-py", "py"),
        unpacked(tmp_path / "2" / "cifar-10-batches-bin", "bin"),
        packed(tmp_path / "3" / "cifar-10-python.tar.gz", "py"),
        packed(tmp_path / "4" / "cifar-10-binary.tar.gz", "bin"),
        packed(tmp_path / "5" / "cifar-10-python.tar", "py", "w"),
    ]
    x = np.concatenate([batch(i)[0] for i in range(5)])
    y = np.concatenate([batch(i)[1] for i in range(5)])
    first = load_dataset(places[0])
    for place in places:
        for loaded in (
            load_dataset(place),
            load_dataset(place.parent),
            load_dataset("cifar10", data_dir=place.parent),
            load_dataset("cifar10", data_dir=place if place.is_dir() else place.parent),
        ):
            assert (loaded.name, loaded.n_classes, loaded.image_shape) == ("cifar10", 10, (3, 32, 32))
            assert loaded.class_names[:2] == ("airplane", "automobile")
            np.testing.assert_array_equal(loaded.x_train, first.x_train)
            np.testing.assert_array_equal(loaded.y_val, first.y_val)
            np.testing.assert_array_equal(loaded.x_test, batch(5)[0])
            np.testing.assert_array_equal(loaded.y_test, batch(5)[1])
    labels = {row.tobytes(): label for row, label in zip(x, y, strict=True)}
    assert (len(first.x_train), len(first.x_val)) == (90, 10)
    for rows, found in ((first.x_train, first.y_train), (first.x_val, first.y_val)):
        assert [labels.pop(row.tobytes()) for row in rows] == list(found)


def test_hst_is_the_last_classes_but_frogs_and_dogs(tmp_path):
    packed(tmp_path / "cifar-10-binary.tar.gz", "bin")
    loaded = load_dataset("cifar10-hst", data_dir=tmp_path)
    assert (loaded.name, loaded.class_names) == ("cifar10-hst", ("horse", "ship", "truck"))
    assert [len(y) for y in (loaded.y_train, loaded.y_val, loaded.y_test)] == [26, 4, 6]
    x, y = batch(5)
    np.testing.assert_array_equal(loaded.x_test, x[y >= 7])
    np.testing.assert_array_equal(loaded.y_test, y[y >= 7] - 7)
    np.testing.assert_array_equal(np.bincount(np.concatenate([loaded.y_train, loaded.y_val])), [10, 10, 10])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"data_batch_3": None}, "has no data_batch_3"),
        ({"test_batch": None}, "has no test_batch"),
        ({"test_batch": as_python(5)[:-5000]}, "test_batch: not a readable pickle: "),
        ({"test_batch": as_python(5, data=np.zeros((ROWS, 3071), np.uint8))}, "data: rows of 3071 values, want 3072"),
        (
            {"test_batch": as_python(5, data=np.zeros((ROWS, 3072), np.float32))},
            "data holds float32 values, want uint8",
        ),
        ({"test_batch": as_python(5, labels=[0] * (ROWS - 1) + [10])}, "labels: 10 at row 19"),
        ({"test_batch": as_python(5, labels=[0] * (ROWS + 1))}, "labels: 21 labels for 20 rows"),
        ({"test_batch": pickle.dumps({"fine_labels": [1]})}, "has no 'data'; found fine_labels"),
        ({"test_batch": b"cposix\nsystem\n(S'true'\ntR."}, "a pickle that asks for posix.system"),
    ],
)
def test_unfit_batches_are_refused(tmp_path, changes, found):
    for place in (unpacked(tmp_path / "cifar", "py", **changes), packed(tmp_path / "c.tar.gz", "py", **changes)):
        with pytest.raises(DataError, match=f"^{re.escape(str(place))}[^\n]*{found}[^\n]*$"):
            load_dataset("cifar10", data_dir=place) if place.is_dir() else load_dataset(place)


def test_unfit_binary_batches_are_refused(tmp_path):
    for number, data in enumerate((b"", as_binary(5)[:-1])):
        place = unpacked(tmp_path / str(number), "bin", **{"test_batch.bin": data})
        with pytest.raises(DataError, match=r"test_batch.bin: [\d,]+ bytes, want a multiple of 3073"):
            load_dataset(place)
    place = unpacked(tmp_path / "label", "bin", **{"test_batch.bin": b"\x0a" + bytes(3072)})
    with pytest.raises(DataError, match="labels: 10 at row 0, want a whole number from 0 to 9"):
        load_dataset(place)


def test_damaged_archive_is_refused(tmp_path):
    path = packed(tmp_path / "cifar-10-binary.tar.gz", "bin")
    whole = path.read_bytes()
    half = len(whole) // 2
    for data in (b"", whole[:100], whole[:half], whole[:half] + b"damage" + whole[half + 6 :], whole[:-8] + bytes(8)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: not a readable CIFAR-10 archive: [^\n]+$"):
            load_dataset(path)
    packed(path, "py", **dict.fromkeys(BATCHES))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: has no data_batch_1"):
        load_dataset(path)


def test_archive_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "cifar-10-python.tar"
    member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    member.size = 1 << 32
    path.write_bytes(member.tobuf() + bytes(10240))
    with pytest.raises(DataError, match="data_batch_1 has 4,294,967,296 bytes, want a batch"):
        load_dataset(path)


def course(folder, kind=np.uint8, column=True, **changes):
    folder.mkdir()
    splits = {}
    for number, split in enumerate(("train", "val", "test")):
        x, y = batch(number)
        y = y % 3
        splits[split] = x, y
        content = {"images": x.astype(kind), "labels": y[:, None] if column else y.astype(float)}
        content.update(changes.get(split, {}))
        (folder / f"cifar10_hst_{split}").write_bytes(pickle.dumps(content))
    return splits


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("column", [False, True])
def test_course_pickles_become_bytes(tmp_path, kind, column):
    expected = course(tmp_path / "course", kind, column)
    for loaded in (load_dataset(tmp_path / "course"), load_dataset("cifar10-hst", data_dir=tmp_path / "course")):
        assert (loaded.name, loaded.class_names) == ("cifar10-hst", ("horse", "ship", "truck"))
        assert (loaded.image_shape, loaded.n_features) == ((3, 32, 32), 3072)
        for split, (x, y) in expected.items():
            assert getattr(loaded, f"x_{split}").dtype == np.uint8
            np.testing.assert_array_equal(getattr(loaded, f"x_{split}"), x)
            np.testing.assert_array_equal(getattr(loaded, f"y_{split}"), y)


def test_course_npz_is_the_same_set(tmp_path):
    expected = course(tmp_path / "course")
    np.savez(
        tmp_path / "cifar10_hst.npz",
        **{f"{a}_{s}": v for s, xy in expected.items() for a, v in zip("xy", xy, strict=True)},
    )
    for loaded in (load_dataset("cifar10-hst", data_dir=tmp_path), load_dataset(tmp_path / "cifar10_hst.npz")):
        assert loaded.class_names == ("horse", "ship", "truck")
        assert loaded.image_shape == (3, 32, 32)
        np.testing.assert_array_equal(loaded.x_val, expected["val"][0])


@pytest.mark.parametrize("value", [0.5, -1.0, 256.0])
def test_floats_that_are_not_bytes_stay_floats(value):
    pictures = np.zeros((300, 3072), np.float32)
    assert as_bytes(pictures, "x").dtype == np.uint8
    pictures[299, 3071] = value
    assert as_bytes(pictures, "x") is pictures


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"images": np.zeros((ROWS, 3000))}, "x_val: rows of 3000 values, want 3072"),
        ({"images": np.full((ROWS, 3072), np.nan)}, "x_val: nan at row 0, column 0"),
        ({"labels": np.full(ROWS, 3)}, "y_val: 3 at row 0, want a whole number from 0 to 2"),
        ({"labels": np.full(ROWS, 0.5)}, "y_val: 0.5 at row 0"),
        ({"labels": np.zeros(ROWS + 1)}, "y_val: 21 labels for 20 rows"),
        ({"labels": np.zeros((ROWS, 2))}, r"y_val: shape \(20, 2\)"),
    ],
)
def test_unfit_course_pickles_are_refused(tmp_path, content, found):
    folder = tmp_path / "course"
    course(folder, val=content)
    with pytest.raises(DataError, match=f"^{re.escape(str(folder))}: {found}[^\n]*$"):
        load_dataset(folder)


def test_missing_or_mistaken_course_pickles_are_refused(tmp_path):
    folder = tmp_path / "course"
    course(folder)
    (folder / "cifar10_hst_val").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(DataError, match=r"cifar10_hst_val: has no 'images'; found x$"):
        load_dataset(folder)
    (folder / "cifar10_hst_val").unlink()
    with pytest.raises(DataError, match=r"cifar10_hst_val: no such file, want pickle$"):
        load_dataset(folder)


def test_the_real_pictures(tmp_path):
    pytest.importorskip("PIL", reason="the pictures are JPEG")
    if not (SHARED / "prepare.py").exists():
        pytest.skip(f"needs the course's pictures in {SHARED}")
    spec = importlib.util.spec_from_file_location("prepare", SHARED / "prepare.py")
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    prepare.main("course", tmp_path)
    loaded = load_dataset("cifar10-hst", data_dir=tmp_path)
    assert [len(y) for y in (loaded.y_train, loaded.y_val, loaded.y_test)] == [13000, 2000, 600]
    # Ships have more blue in them than horses.
    blue = loaded.x_val[:, 2048:].mean(axis=1)
    assert blue[loaded.y_val == 1].mean() > blue[loaded.y_val == 0].mean() + 10
