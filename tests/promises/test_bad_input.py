"""What is wrong ends a command with status 1 or 2 and one line that says so, and leaves what was there as it was."""

import gzip
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command_line import run, snapshot, succeed, write_flowers

from fastff.system import checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with flowers.npz and the run `old` on it, of two epochs; copy it before you touch it."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_flowers(folder)
    succeed("train", data, "--hidden", 8, "--batch-size", 16, "--epochs", 2, "--out", folder / "old")
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """The current folder: a copy of `trained`."""
    folder = tmp_path / "here"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


def refuse(folder, name, *arguments, status, saying):
    """Run a command that must fail, in one line, without touching anything in the folder."""
    before, names = snapshot(folder), sorted(folder.rglob("*"))
    result = run(name, *arguments)
    assert result.status == status, result
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert result.err.endswith("\n")
    assert result.err.startswith("error: ")
    for part in [saying] if isinstance(saying, str) else saying:
        assert part in result.err
    assert snapshot(folder) == before
    assert sorted(folder.rglob("*")) == names


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--batch-size", "0"], "batch_size: 0"),
        (["--batch-size", "-4"], "batch_size: -4"),
        (["--step-size", "-0.1"], "step_size: -0.1"),
        (["--step-size", "0"], "step_size: 0"),
        (["--step-size", "nan"], "step_size: nan"),
        (["--step-size", "inf"], "step_size: inf"),
        (["--epochs", "0"], "epochs: 0"),
        (["--epochs", "-1"], "epochs: -1"),
        (["--hidden", "0"], "0"),
        (["--hidden", "8", "-8"], "-8"),
        (["--beta1", "1.5"], "beta1: 1.5"),
        (["--beta2", "1"], "beta2: 1"),
        (["--epsilon", "0"], "epsilon: 0"),
        (["--weight-decay", "-1"], "weight_decay: -1"),
        (["--weight-decay", "nan"], "weight_decay: nan"),
        (["--optimizer", "sgd", "--momentum", "1"], "momentum: 1"),
        (["--dropout", "1"], "1"),
        (["--dropout", "-0.5"], "-0.5"),
        (["--dropout", "nan"], "nan"),
        (["--label-smoothing", "1"], "label_smoothing: 1"),
        (["--patience", "0"], "patience: 0"),
        (["--threads", "0"], "threads: 0"),
        (["--checkpoint-epochs", "0"], "checkpoint_epochs: 0"),
        (["--checkpoint-minutes", "0"], "checkpoint_minutes: 0"),
        (["--checkpoint-minutes", "nan"], "checkpoint_minutes: nan"),
        (["--seed", "-1"], "seed: -1"),
        (["--preset", "nonsense"], ["--preset: 'nonsense'", "course"]),
        (["--data-dir", "."], "data_dir: ."),
        (["--target", "x"], "target: 'x'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_out_of_range(here, arguments, saying):
    refuse(here, "train", "flowers.npz", "--out", "old", *arguments, status=2, saying=saying)


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--epochs", "many"], ["--epochs", "1.5"], ["--optimizer", "rmsprop"], ["--hidden", "wide"]],
    ids=" ".join,
)
def test_usage_errors_are_explained(here, arguments):
    before = snapshot(here)
    result = run("train", "flowers.npz", "--out", "old", *arguments)
    assert (result.status, result.out) == (2, "")
    assert arguments[-1] in result.err
    assert "Traceback" not in result.err
    assert snapshot(here) == before


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_missing_arguments_are_named(name):
    result = run(name)
    assert (result.status, result.out) == (2, "")
    assert "RUN_DIR" in result.err


# --- data


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
        ("a,b\n1,0\nx,1\n", ["--target", "b"], ["table.csv", "line 3, column 'a': 'x'"]),
        ("a,b\n1,0\n1\n", ["--target", "b"], "line 3: 1 cells, want 2"),
        ("a,b\n1,0\nnan,1\n", ["--target", "b"], "line 3, column 'a': nan"),
        ("a,b\n", ["--target", "b"], "no rows"),
        ("", ["--target", "b"], "table.csv"),
        ('a,b\n"1,0\n', ["--target", "b"], "table.csv"),
        ("a,b\n1,0\n", ["--target", "b"], "one training row"),
    ],
)
def test_tables_that_cannot_be_used(here, text, arguments, saying):
    (here / "table.csv").write_text(text)
    refuse(here, "train", "table.csv", "--out", "old", *arguments, status=1, saying=saying)


def test_a_data_dir_that_is_missing(here):
    refuse(here, "train", "mnist", "--data-dir", "nowhere", "--out", "old", status=1, saying=["data_dir", "nowhere"])


def test_a_data_dir_without_the_files(here):
    refuse(here, "train", "mnist", "--data-dir", ".", "--out", "old", status=1, saying="train-images-idx3-ubyte.gz")


# --- where the run goes


def test_out_is_a_file(here):
    refuse(here, "train", "flowers.npz", "--out", "flowers.npz", status=1, saying="flowers.npz")


def test_out_is_under_a_file(here):
    refuse(here, "train", "flowers.npz", "--out", "flowers.npz/run", status=1, saying="flowers.npz/run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_out_is_read_only(here):
    (here / "old").chmod(0o500)
    try:
        refuse(here, "train", "flowers.npz", "--epochs", 1, "--out", "old", status=1, saying="Permission denied")
    finally:
        (here / "old").chmod(0o700)


# --- going on


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--hidden", "9"], "(4, 8), (8, 3)"),
        (["--hidden", "8", "8"], "sizes"),
        (["--batch-size", "17"], "batch_size 16, want 17"),
        (["--seed", "3"], "seed 0, want 3"),
        (["--activation", "tanh"], "layers"),
        (["--dropout", "0.5"], "layers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_resuming_with_other_options(here, arguments, saying):
    refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, *arguments, status=1, saying=saying)


def test_resuming_with_other_data(here):
    write_flowers(here, x_train=np.zeros((60, 5)), x_val=np.zeros((15, 5)), x_test=np.zeros((15, 5)))
    refuse(here, "train", "flowers.npz", "--resume", "--out", "old", status=1, saying="[(4, 8), (8, 3)], want [(5, 8)")
    write_flowers(here, x_train=np.ones((60, 4)))
    refuse(here, "train", "flowers.npz", "--resume", "--out", "old", status=1, saying="the same data")


def test_resuming_where_there_is_no_run(here):
    refuse(here, "train", "--resume", "--out", "new", status=1, saying="new: has no checkpoint.safetensors")
    refuse(here, "train", "--resume", status=1, saying="has no checkpoint.safetensors")
    assert not (here / "new").exists()


def test_resuming_from_a_damaged_checkpoint(here):
    path = here / "old" / "checkpoint.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:7], whole[: len(whole) // 2], whole[:-1], whole[:-20] + bytes(20)):
        path.write_bytes(damaged)
        refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, status=1, saying="checkpoint.safetensors")


def test_resuming_from_a_checkpoint_with_parts_missing(here):
    path = here / "old" / "checkpoint.safetensors"
    arrays, notes = checkpoint.load(path)
    parts = [*arrays, *notes]
    for part in parts:
        kept = {name: array for name, array in arrays.items() if name != part}
        checkpoint.save(path, kept, {name: note for name, note in notes.items() if name != part})
        refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, status=1, saying="checkpoint.safetensors")


def test_resuming_from_a_plain_network(here):
    shutil.copy(here / "old" / "best.safetensors", here / "old" / "checkpoint.safetensors")
    refuse(here, "train", "--resume", "--out", "old", "--epochs", 3, status=1, saying="checkpoint.safetensors")


# --- config files


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        (b"epoch = 3", "unknown option 'epoch'"),
        (b"out = 'there'", "unknown option 'out'"),
        (b"epochs = 'three'", "epochs = 'three', want a whole number"),
        (b"epochs = 3.0", "epochs = 3.0, want a whole number"),
        (b"epochs = true", "epochs = True, want a whole number"),
        (b"standardize = 1", "standardize = 1, want true or false"),
        (b"hidden = 8", "hidden = 8, want a list of whole numbers"),
        (b"hidden = [8, 'x']", "hidden = [8, 'x'], want a list of whole numbers"),
        (b"step_size = '0.1'", "step_size = '0.1', want a number"),
        (b"optimizer = 'rmsprop'", "optimizer = 'rmsprop', want one of 'adam', 'sgd'"),
        (b"optimizer = []", "optimizer = [], want one of 'adam', 'sgd'"),
        (b"dataset = 3", "dataset = 3, want a text"),
        (b"[epochs]\nn = 3", "epochs"),
        (b"epochs = ", "not a TOML file"),
        (b"epochs = 3\nepochs = 4", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file"),
    ],
)
def test_config_files_that_cannot_be_used(here, text, saying):
    (here / "own.toml").write_bytes(text)
    refuse(here, "train", "flowers.npz", "--config", "own.toml", "--out", "old", status=1, saying=["own.toml", saying])


@pytest.mark.parametrize("path", ["missing.toml", "old"])
def test_config_files_that_are_not_there(here, path):
    refuse(here, "train", "--config", path, "--out", "old", status=1, saying=f"{path}: ")


# --- evaluate


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["nowhere", "flowers.npz"], "nowhere: has no best.safetensors"),
        (["flowers.npz", "flowers.npz"], "flowers.npz is not a whole safetensors file"),
        (["old", "digits"], ["digits", "rows of 64 values, want 4"]),
        (["old", "missing.npz"], "missing.npz"),
        (["old", "flowers.npz", "--tta"], "--tta"),
    ],
)
def test_evaluate_refuses(here, arguments, saying):
    refuse(here, "evaluate", *arguments, status=1, saying=saying)


def test_evaluate_says_which_splits_there_are(here):
    write_flowers(here, x_test=None, y_test=None)
    refuse(here, "evaluate", "old", "flowers.npz", status=1, saying=["no test split", "train, val"])


def test_evaluate_refuses_more_classes_than_were_trained(here):
    write_flowers(here, y_train=np.arange(60) % 5, y_test=np.full(15, 4))
    refuse(here, "evaluate", "old", "flowers.npz", status=1, saying="4 at row 0, want a whole number from 0 to 2")


def test_evaluate_refuses_a_damaged_network(here):
    path = here / "old" / "best.safetensors"
    whole = path.read_bytes()
    arrays, notes = checkpoint.load(path)
    for damaged in (b"", whole[:7], whole[: len(whole) // 2], whole[:-1], whole[:-20] + bytes(20)):
        path.write_bytes(damaged)
        refuse(here, "evaluate", "old", "flowers.npz", status=1, saying="best.safetensors")
    for change in (
        {"layers": None},
        {"layers": [{"layer": "convolution"}]},
        {"layers": [{"layer": "relu"}]},
        {"class_names": ["a", "b"]},
        {"class_names": None},
        {"image_shape": [1, 2, 3]},
        {"image_shape": [4, 1]},
        {"image_shape": "square"},
        {"image_shape": 4},
    ):
        checkpoint.save(path, arrays, {**notes, **change})
        refuse(here, "evaluate", "old", "flowers.npz", status=1, saying="best.safetensors")


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
    "unknown kind": (file("new.txt", b"1 2 3 4"), ["new.txt", ".csv, .npy, .npz"]),
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
    "csv with a text": (file("new.csv", b"a,b,c,d\n1,2,x,4\n"), "new.csv: line 2, column 'c': 'x'"),
    "csv with NaN": (file("new.csv", b"a,b,c,d\n1,2,nan,4\n"), "new.csv: line 2, column 'c': nan"),
}


@pytest.mark.parametrize("make", [case[0] for case in ROWS.values()], ids=ROWS)
def test_rows_that_cannot_be_predicted(here, make, request):
    saying = ROWS[request.node.callspec.id][1]
    (here / "out.csv").write_text("kept")
    refuse(here, "predict", "old", make(here), "--out", "out.csv", status=1, saying=saying)


@pytest.mark.parametrize("out", ["guesses.xlsx", "guesses", "old"])
def test_predict_refuses_to_write_unknown_kinds(here, out):
    refuse(here, "predict", "old", "missing.npy", "--out", out, status=2, saying=[repr(out), ".csv, .npy, .npz"])


@pytest.mark.parametrize("out", ["missing/guesses.csv", "flowers.npz/guesses.npy", "folder.npz"])
def test_predict_refuses_places_it_cannot_write_to(here, out):
    np.save(here / "new.npy", X)
    (here / "folder.npz").mkdir()
    refuse(here, "predict", "old", "new.npy", "--out", out, status=1, saying=f"cannot write {out}")


# --- training


def test_a_loss_that_is_not_finite_stops_training(here):
    before = snapshot(here)
    result = run("train", "flowers.npz", "--no-standardize", "--step-size", "1e30", "--epochs", 3, "--out", "new")
    assert (result.status, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert "not finite" in result.err
    assert "step size" in result.err
    assert before.items() <= snapshot(here).items()


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is reported differently")
def test_a_reader_that_has_left_is_no_traceback(here):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fastff.evaluate", "old", "flowers.npz"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
