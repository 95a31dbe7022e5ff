"""Data that cannot be trained on, and rows that cannot be predicted: one line that says why, and nothing touched."""

import gzip
import os
import pickle

import numpy as np
import pytest
from command_line import refuse, write_flowers

# --- train


class Attack:
    """Pickled, it makes a file when it is read."""

    def __reduce__(self):
        return (os.mkdir, ("attacked",))


def course(folder, **changes):
    """The course's three pickles, in a folder of their own; `changes` replaces the bytes of one."""
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        content = {"images": rng.integers(0, 256, (30, 3072)).astype(np.uint8), "labels": np.arange(30)[:, None] % 3}
        whole = pickle.dumps(content)
        change = changes.get(split, lambda whole: whole)
        (pictures / f"cifar10_hst_{split}").write_bytes(change(whole))
    return "pictures"


def rows(**changes):
    """A function that writes flowers.npz with these arrays and returns its name."""
    return lambda folder: write_flowers(folder, **changes).name


def file(name, data):
    def write(folder):
        (folder / name).write_bytes(data)
        return name

    return write


def repickled(**changes):
    return lambda whole: pickle.dumps({**pickle.loads(whole), **changes})


def cut_npz(folder):
    path = folder / "flowers.npz"
    path.write_bytes(path.read_bytes()[:-200])
    return path.name


def corrupt_npz(folder):
    path = folder / "flowers.npz"
    data = bytearray(path.read_bytes())
    data[300:340] = bytes(40)
    path.write_bytes(data)
    return path.name


def idx(images):
    """A folder with these bytes as the training pictures of MNIST's files."""

    def write(folder):
        (folder / "digits-to-be").mkdir()
        (folder / "digits-to-be" / "train-images-idx3-ubyte.gz").write_bytes(images)
        for name in ("train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
            (folder / "digits-to-be" / name).write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x01\0"))
        return "digits-to-be"

    return write


def with_value(value, shape=(60, 4)):
    x = np.zeros(shape, np.float32)
    x[7, 2] = value
    return x


X = np.zeros((60, 4), np.float32)
Y = np.arange(60) % 3
DATA = {
    "missing file": (lambda folder: "missing.npz", ["missing.npz", "no such file"]),
    "unknown name": (lambda folder: "cifar100", ["cifar100", "cifar10-hst"]),
    "unknown kind of file": (file("data.docx", b"x"), "data.docx"),
    "folder without data": (lambda folder: (folder / "empty").mkdir() or "empty", "empty: no data found"),
    "empty file": (file("empty.npz", b""), "empty.npz"),
    "npz cut short": (cut_npz, "flowers.npz"),
    "npz corrupted": (corrupt_npz, "flowers.npz"),
    "npz that is something else": (file("text.npz", b"not an archive"), "text.npz"),
    "npz of objects": (rows(x_train=np.array([{}] * 60, object)), "flowers.npz"),
    "no training labels": (rows(y_train=None), "y_train"),
    "rows of another width in test": (rows(x_test=np.zeros((15, 5))), ["x_test", "rows of 5 values, want 4"]),
    "rows with three dimensions": (rows(x_train=np.zeros((60, 2, 2))), "x_train: shape (60, 2, 2)"),
    "no rows": (rows(x_train=X[:0], y_train=Y[:0]), "x_train: empty"),
    "texts": (rows(x_train=np.full((60, 4), "a")), "x_train: holds"),
    "NaN": (rows(x_train=with_value(np.nan)), "x_train: nan at row 7, column 2"),
    "infinity": (rows(x_train=with_value(-np.inf)), "x_train: -inf at row 7, column 2"),
    "NaN in validation": (rows(x_val=with_value(np.nan)[:15]), "x_val: nan at row 7"),
    "fewer labels than rows": (rows(y_train=Y[:59]), "y_train: 59 labels for 60 rows"),
    "fractional label": (rows(y_train=np.where(Y == 2, 1.5, Y)), "y_train: 1.5 at row 2"),
    "negative label": (rows(y_train=Y - 1), "y_train: -1 at row 0"),
    "validation label out of range": (rows(y_val=np.full(15, 3)), "y_val: 3 at row 0"),
    "labels that are ids": (rows(y_train=Y + 10**6), "y_train: label"),
    "one-hot labels": (rows(y_train=np.eye(3)[Y]), "y_train: shape (60, 3)"),
    "pickle cut short": (lambda folder: course(folder, train=lambda whole: whole[:-100]), "cifar10_hst_train"),
    "pickle corrupted": (lambda folder: course(folder, val=lambda whole: b"\xff" * 50 + whole[50:]), "cifar10_hst_val"),
    "pickle that runs code": (
        lambda folder: course(folder, test=lambda whole: pickle.dumps({"images": Attack(), "labels": 0})),
        ["cifar10_hst_test", "mkdir"],
    ),
    "pickle of rows of 3071": (
        lambda folder: course(folder, train=repickled(images=np.zeros((30, 3071), np.uint8))),
        "x_train: rows of 3071 values, want 3072",
    ),
    "pickle with a label 3": (lambda folder: course(folder, val=repickled(labels=np.full(30, 3))), "3 at row 0"),
    "gzip cut short": (idx(gzip.compress(b"\0\0\x08\x03" + bytes(500))[:-9]), "train-images-idx3-ubyte.gz"),
    "gzip that is none": (idx(b"\x1f\x8bnot gzip at all"), "train-images-idx3-ubyte.gz"),
    "archive cut short": (file("cifar.tar.gz", gzip.compress(bytes(9999))[:-9]), "cifar.tar.gz"),
}


@pytest.mark.parametrize("make", [case[0] for case in DATA.values()], ids=DATA)
def test_data_that_cannot_be_used(here, make, request):
    saying = DATA[request.node.callspec.id][1]
    refuse(here, "train", make(here), "--out", "old", status=1, saying=saying)
    assert not (here / "attacked").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "saying"),
    [
        ("a,b\n1,0\n", [], ["table.csv", "target", "a, b"]),
        ("a,b\n1,0\n", ["--target", "c"], ["table.csv", "'c'", "a, b"]),
        ("a,b,a\n1,0,2\n", ["--target", "b"], "line 1, column 3: 'a' again"),
        ("0.5,1,0\n1,1,0\n", ["--target", "b"], "line 1, column 1: '0.5', want a first line with names"),
        ("a,b\n1,\n2,\n", ["--target", "b"], "column 'b': no row has a value"),
        ("a,b\n1,0\n2,0\n", ["--target", "b"], "column 'b': '0' in every row, want at least two classes"),
        ("a,b\n1,0\n2,1\n", ["--target", "b"], "2 rows, want two or more of a class, as some are held out to test"),
        ("a,b\n1,0\n2,1\n", ["--target", "b", "--drop", "c"], "drop: 'c' is no column"),
        (
            "a,b\n" + "1,0\n2,1\n" * 9,
            ["--target", "b", "--drop", "a"],
            "no column is left to learn from ('a': left out)",
        ),
        ("a,b\n1,0\n1\n", ["--target", "b"], "line 3: 1 cells, want 2"),
        ("a,b\n" + "1,0\ninf,1\n" * 9, ["--target", "b"], "column 'a': inf at row 1"),
        ("a,b\n", ["--target", "b"], "no rows"),
        ("", ["--target", "b"], "table.csv"),
        ('a,b\n"1,0\n', ["--target", "b"], "table.csv"),
        ("a,b\n" + "1,0\n1,1\n" * 9, ["--target", "b"], "no column is left to learn from ('a': the same in every row)"),
    ],
)
def test_tables_that_cannot_be_used(here, text, arguments, saying):
    (here / "table.csv").write_text(text)
    status = 2 if "drop:" in saying else 1
    refuse(here, "train", "table.csv", "--out", "old", *arguments, status=status, saying=saying)


def test_a_data_dir_that_is_missing(here):
    refuse(here, "train", "mnist", "--data-dir", "nowhere", "--out", "old", status=1, saying=["--data-dir", "nowhere"])


def test_a_data_dir_without_the_files(here):
    refuse(here, "train", "mnist", "--data-dir", ".", "--out", "old", status=1, saying="train-images-idx3-ubyte.gz")


# --- predict


def array(values):
    def write(folder):
        np.save(folder / "new.npy", values)
        return "new.npy"

    return write


def arrays(**values):
    def write(folder):
        np.savez(folder / "new.npz", **values)
        return "new.npz"

    return write


ROWS = {
    "missing": (lambda folder: "missing.npy", "missing.npy: no such file"),
    "missing npz": (lambda folder: "missing.npz", "missing.npz: no such file"),
    "missing csv": (lambda folder: "missing.csv", "missing.csv: no such file"),
    "unknown kind": (file("new.txt", b"1 2 3 4"), ["new.txt", ".parquet, .npy, .npz"]),
    "wrong width": (array(np.zeros((2, 5))), "new.npy: rows of 5 values, want 4"),
    "one row": (array(np.zeros(4)), "new.npy: shape (4,)"),
    "no rows": (array(np.zeros((0, 4))), "new.npy: empty"),
    "NaN": (array(with_value(np.nan)), "new.npy: nan at row 7, column 2"),
    "texts": (array(np.full((2, 4), "a")), "new.npy: holds"),
    "objects": (array(np.array([[{}] * 4])), "new.npy"),
    "empty file": (file("new.npy", b""), "new.npy"),
    "cut short": (file("new.npy", b"\x93NUMPY\x01\x00v\x00{'descr'"), "new.npy"),
    "two arrays": (arrays(a=X, b=X), ["new.npz: found a, b", "called x"]),
    "no array": (arrays(), "new.npz: found nothing"),
    "npz that is none": (file("new.npz", b"not an archive"), "new.npz"),
    "npz of objects": (arrays(x=np.array([[{}] * 4])), "new.npz"),
    "empty csv": (file("new.csv", b""), "new.csv: no rows"),
    "csv without rows": (file("new.csv", b"a,b,c,d\n"), "new.csv: no rows"),
    "csv of another width": (file("new.csv", b"a,b,c\n1,2,3\n"), "new.csv: rows of 3 values, want 4"),
    "ragged csv": (file("new.csv", b"a,b,c,d\n1,2,3,4\n1,2\n"), "new.csv: line 3: 2 cells, want 4"),
    "csv with a text": (file("new.csv", b"a,b,c,d\n1,2,x,4\n"), "new.csv: column 'c': 'x' at row 0, want a number"),
    "csv with NaN": (
        file("new.csv", b"a,b,c,d\n1,2,nan,4\n"),
        "new.csv: column 'c': nan at row 0, want a finite number",
    ),
}


@pytest.mark.parametrize("make", [case[0] for case in ROWS.values()], ids=ROWS)
def test_rows_that_cannot_be_predicted(here, make, request):
    saying = ROWS[request.node.callspec.id][1]
    (here / "out.csv").write_text("kept")
    refuse(here, "predict", "old", make(here), "--out", "out.csv", status=1, saying=saying)
