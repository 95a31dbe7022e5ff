"""Feeds damaged files to everything that reads one: only fastff's own DataError may come out, in one line and soon.

    python tests/promises/fuzz_loaders.py --files 10000 --seed 0              every loader, each in a process of its own
    python tests/promises/fuzz_loaders.py --loaders npz csv --files 1000      some of them

A file is a valid one with bytes flipped, cut out, doubled, spliced in from another, or numbers set to extremes. Where a
checksum would refuse all of these at the door, the damage is done inside it, and the sum is right. What a loader gives
back must be usable. A finding is kept in --findings, with the file's number, and the exit status is 1.
"""

import argparse
import faulthandler
import gzip
import io
import json
import pickle
import random
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from damage import mutate
from safetensors.numpy import save_file

from fastff import FeedForwardNeuralNetwork, Standardize, Trainer, evaluate
from fastff.data import load_dataset
from fastff.data.arrays import read_array
from fastff.data.column import Column
from fastff.data.columns import Schema
from fastff.data.pickles import load_pickle
from fastff.data.tables import read_rows
from fastff.errors import DataError
from fastff.report.finished import read_run
from fastff.runs import config
from fastff.runs.model import load_model
from fastff.system import checkpoint
from fastff.system.blocks import Sliceable
from fastff.training.state import restore_trainer, trainer_state

ROOM = 1 << 30  # bytes that a loader may take beyond what the process has
PATIENCE = 20  # seconds


@dataclass
class Loader:
    """seeds: valid files. write(folder, damaged) puts one in its place, `load(folder)` reads it from there."""

    seeds: list[bytes]
    write: Callable[[Path, bytes], None]
    load: Callable[[Path], Any]


def _numpy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"cifar/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _parquet() -> list[bytes]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return []
    files = []
    for options in ({}, {"compression": "none", "use_dictionary": False}, {"compression": "gzip", "version": "1.0"}):
        stream = io.BytesIO()
        columns = {"a": np.arange(40) / 7, "b": np.arange(40) % 7, "c": [("no", "yes")[i % 2] for i in range(40)]}
        pq.write_table(pa.table(columns), stream, **options)
        files.append(stream.getvalue())
    return files


def _signed(path: Path, data: bytes) -> None:
    """A safetensors file whose metadata is `data` and whose checksum is right."""
    notes = data.decode("utf-8", "replace")
    arrays = {name: np.zeros(shape, np.float32) for name, shape in _shapes(notes).items()}
    crc = zlib.crc32(notes.encode())
    for name in sorted(arrays):
        crc = zlib.crc32(f"{name} float32 {arrays[name].shape}".encode(), crc)
        crc = zlib.crc32(arrays[name].tobytes(), crc)
    save_file(arrays, path, metadata={"fastff": notes, "fastff.crc32": f"{crc:08x}"})


def _shapes(notes: str) -> dict[str, tuple[int, ...]]:
    """The shapes that the metadata's own entry "arrays" gives, as far as they can be."""
    try:
        shapes = json.loads(notes)["arrays"]
        return {
            name: tuple(s)
            for name, s in shapes.items()
            if len(s) < 4 and all(type(k) is int and 0 <= k < 50 for k in s)
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _network(path: Path) -> None:
    network = FeedForwardNeuralNetwork.load(path)
    if network.input_dim is not None and network.input_dim < 1000:
        network.predict(np.zeros((3, network.input_dim), np.float32))


def _use_columns(schema: Schema) -> None:
    """A table with the columns of a schema gives rows, whatever they hold."""
    import pyarrow as pa

    schema.rows(pa.table({column.name: [None, "3", "1"] for column in schema.columns if column.kind != "date"}
                         | {column.name: ["1.2.2020", None, "3.4.2021"] for column in schema.columns
                            if column.kind == "date"}))  # fmt: skip


def _trainer() -> Trainer:
    network = FeedForwardNeuralNetwork(4, 3, [5], seed=0)
    network.layers.insert(0, Standardize(np.zeros(4), np.zeros(4)))
    return Trainer(network, batch_size=8)


def _resume(path: Path) -> None:
    trainer = _trainer()
    with checkpoint.reading(path) as (arrays, notes):
        restore_trainer(trainer, arrays, notes, path)
    for array in trainer_state(trainer)[0].values():
        np.asarray(array)


def make_loaders() -> dict[str, Loader]:
    """Every loader by name."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 4)).astype(np.float32), np.arange(24) % 3
    arrays = {"x_train": x, "y_train": y, "x_test": x[:6].astype(">f8"), "y_test": y[:6].astype(np.uint8)}
    npy = {f"{name}.npy": _numpy(array) for name, array in arrays.items()}
    rows = [npy["x_train.npy"], _numpy(np.asfortranarray(x, ">f8")), _numpy(x.astype(np.int16))]
    npz = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays)
        npz.append(stream.getvalue())
    pictures = rng.integers(0, 256, (4, 3072)).astype(np.uint8)
    pickles = [
        pickle.dumps({"images": images, "labels": labels}, protocol)
        for protocol in (0, 2, 4, 5)
        for images, labels in ((pictures, [0, 1, 2, 0]), (pictures[:1].astype(np.float32), np.array([[1]])))
    ]
    python = pickle.dumps({b"data": pictures, b"labels": [1, 7, 8, 9], b"filenames": [b"a.png"] * 4}, 2)
    binary = np.hstack([np.array([[1], [7], [8], [9]], np.uint8), pictures]).tobytes()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    tars = [_tar(dict.fromkeys(names, python)), _tar({f"{n}.bin": binary for n in names})]
    images = struct.pack(">4I", 0x803, 24, 3, 2) + bytes(range(144))
    labels = struct.pack(">2I", 0x801, 24) + bytes(i % 10 for i in range(24))
    idx = {
        f"{s}-{k}-ubyte": d for s in ("train", "t10k") for k, d in (("images-idx3", images), ("labels-idx1", labels))
    }
    csv = [
        b"a,b,c\n" + b"".join(b"%d,%.3f,%d\n" % (i, i / 7, i % 3) for i in range(12)),
        '\ufeff"a,1","b",c\r\n1,"2.5",no\r\n-1e3,4,"yes"\r\n'.encode(),
        b"d;city;n;c\n"
        + b"".join(b"%d.02.2020;%s;%d,5;%d\n" % (i + 1, [b"Bern", b"", b"Zug"][i % 3], i, i % 2) for i in range(12)),
    ]
    options = [b'dataset = "digits"\nhidden = [8, 4]\nepochs = 3\nstep_size = 1e-3\nstandardize = true\n',
               b'optimizer = "sgd"\ndropout = 0.5\nseed = 0x1F\npatience = 4\ntarget = """a"""\n']  # fmt: skip
    summary = json.dumps({
        "dataset": "digits", "test_rows": 15, "epochs": 2, "best_epoch": 1, "train_accuracy": 0.5, "val_accuracy": 0.5,
        "test_accuracy": 1.0, "train_seconds": 0.1, "examples_per_second": 10.0, "parameters": 43, "threads": 1,
        "version": "0",
    }).encode()  # fmt: skip

    parquet, shallow = _parquet(), FeedForwardNeuralNetwork(4, 256, [], seed=0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer()
        trainer.fit(x, y, epochs=1)
        state, notes = trainer_state(trainer)
        checkpoint.save(f"{folder}/c", state, notes)
        trainer.network.save(f"{folder}/n")
        model, plain = trainer.network.contents()
        described = {"layers": plain, "class_names": ["a", "b", "c"], "image_shape": [1, 2, 2]}
        columns = (
            Column("n", "number", gap=True, median=2.0, offset=7),
            Column("d", "date", median=1e9, parts=("year", "month"), form="%d.%m.%Y"),
            Column("x", "dropped", why="empty"),
        )
        schema = Schema(columns, ("y",), "classify", ("a", "b", "c"), "as was asked for", False)
        of_table = {**described, "image_shape": None, "columns": schema.description()}
        checkpoint.save(f"{folder}/m", model, described)
        weights = [Path(folder, name).read_bytes() for name in "cnm"]

    def shaped(arrays: Mapping[str, Sliceable], notes: dict[str, Any]) -> bytes:
        return json.dumps({**notes, "arrays": {name: array.shape for name, array in arrays.items()}}).encode()

    def write(name: str) -> Callable[[Path, bytes], None]:
        return lambda folder, data: (folder / name).write_bytes(data) and None

    def load(name: str) -> Callable[[Path], Any]:
        return lambda folder: load_dataset(folder / name)

    def in_npz(folder: Path, data: bytes) -> None:
        _zip(folder / "a.npz", {**npy, "x_train.npy": data})

    def in_folder(folder: Path, data: bytes) -> None:
        for name, whole in npy.items():
            (folder / name).write_bytes(data if name == "x_train.npy" else whole)

    def in_shards(damaged: str) -> Callable[[Path, bytes], None]:
        def place(folder: Path, data: bytes) -> None:
            for i in range(3):
                for a in "xy":
                    name = f"{a}_train-{i}.npy"
                    (folder / name).write_bytes(data if name == damaged else npy[f"{a}_train.npy"])

        return place

    def read_shards(folder: Path) -> None:
        found = load_dataset(folder)
        evaluate(shallow, found.x_train, found.y_train)  # the kernels read them
        Standardize.fit(found.x_train)

    def in_tables(folder: Path, data: bytes) -> None:
        for name, content in (("train-0.parquet", parquet[0]), ("train-1.parquet", data)):
            (folder / name).write_bytes(content)

    def load_packed(folder: Path) -> Any:
        return load_dataset(folder / "a.csv.gz", target="c")

    def in_idx(pack: Callable[[bytes], bytes], end: str, damaged: str) -> Callable[[Path, bytes], None]:
        def place(folder: Path, data: bytes) -> None:
            for name, whole in idx.items():
                (folder / (name + end)).write_bytes(pack(data if name == damaged else whole))

        return place

    def in_course(folder: Path, data: bytes) -> None:
        for split in ("train", "val", "test"):
            (folder / f"cifar10_hst_{split}").write_bytes(data if split == "val" else pickles[2])

    def in_run(folder: Path, name: str, data: bytes) -> None:
        whole = {"summary.json": summary, "config.toml": options[0], "best.safetensors": weights[2], name: data}
        for file, content in whole.items():
            (folder / file).write_bytes(content)

    def in_model(folder: Path, data: bytes) -> None:
        _signed(folder / "best.safetensors", data)

    def signed(folder: Path, data: bytes) -> None:
        _signed(folder / "w.safetensors", data)

    def in_use(folder: Path) -> None:
        found = load_model(folder)
        width = found.network.input_dim
        if found.columns is not None and parquet:
            _use_columns(found.columns)
        if width is not None and width < 1000:
            found.network.predict_proba(np.zeros((2, width), np.float32))

    def unpickled(folder: Path) -> None:
        with (folder / "p").open("rb") as stream:
            load_pickle(stream, "p")

    loaders = {
        "npz": Loader(npz, write("a.npz"), load("a.npz")),
        "npz-inside": Loader(rows, in_npz, load("a.npz")),
        "npy": Loader(list(npy.values()), write("a.npy"), lambda folder: read_array(folder / "a.npy").tobytes()),
        "npy-folder": Loader(rows, in_folder, lambda folder: load_dataset(folder)),
        "shards": Loader(rows[:1], in_shards("x_train-1.npy"), read_shards),
        "shards-labels": Loader([npy["y_train.npy"]], in_shards("y_train-1.npy"), read_shards),
        "pickle": Loader(pickles, write("p"), unpickled),
        "course": Loader(pickles, in_course, lambda folder: load_dataset(folder)),
        "cifar": Loader(tars, write("c.tar"), load("c.tar")),
        "cifar-packed": Loader([gzip.compress(t, 1) for t in tars], write("c.tar.gz"), load("c.tar.gz")),
        "cifar-inside": Loader(
            tars, lambda folder, data: write("c.tar.gz")(folder, gzip.compress(data, 1)), load("c.tar.gz")
        ),
        "idx": Loader([images], in_idx(bytes, "", "train-images-idx3-ubyte"), lambda folder: load_dataset(folder)),
        "idx-labels": Loader(
            [labels], in_idx(bytes, "", "train-labels-idx1-ubyte"), lambda folder: load_dataset(folder)
        ),
        "idx-inside": Loader(
            [images], in_idx(gzip.compress, ".gz", "t10k-images-idx3-ubyte"), lambda folder: load_dataset(folder)
        ),
        "csv": Loader(
            csv if parquet else [], write("a.csv"), lambda folder: load_dataset(folder / "a.csv", target="c")
        ),
        "csv-packed": Loader([gzip.compress(c) for c in csv if parquet], write("a.csv.gz"), load_packed),
        "csv-inside": Loader(
            csv if parquet else [], lambda folder, data: write("a.csv.gz")(folder, gzip.compress(data, 1)), load_packed
        ),
        "csv-rows": Loader(csv[:1] if parquet else [], write("a.csv"), lambda folder: read_rows(folder / "a.csv")),
        "parquet": Loader(parquet, write("a.parquet"), lambda folder: load_dataset(folder / "a.parquet", target="c")),
        "parquet-folder": Loader(parquet, in_tables, lambda folder: load_dataset(folder, target="c")),
        "config": Loader(options, write("c.toml"), lambda folder: config.read(folder / "c.toml")),
        "weights": Loader(weights, write("w.safetensors"), lambda folder: _network(folder / "w.safetensors")),
        "weights-signed": Loader([shaped(model, described)], signed, lambda folder: _network(folder / "w.safetensors")),
        "checkpoint-signed": Loader([shaped(state, notes)], signed, lambda folder: _resume(folder / "w.safetensors")),
        "model-signed": Loader([shaped(model, described), shaped(model, of_table)], in_model, in_use),
        "summary": Loader([summary], lambda folder, data: in_run(folder, "summary.json", data), read_run),
    }
    return {name: loader for name, loader in loaders.items() if loader.seeds}


def problem(loader: Loader, folder: Path, data: bytes) -> str | None:
    """What is wrong with how the loader takes these bytes; None if nothing is."""
    loader.write(folder, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", ".*: column '", UserWarning)  # what is odd about a column
            warnings.filterwarnings("ignore", ".* rows have no '.* are left out$", UserWarning)  # without a target
            loader.load(folder)
    except DataError as error:
        message = str(error)
        if "\n" in message or len(message) > 1100 or not message:
            return f"not one line: {message[:300]!r}"
        if "not enough memory" in message or "AssertionError" in message:
            return message
    except BaseException:
        return traceback.format_exc(limit=-6)
    return None


def fuzz(name: str, files: int, seed: int, findings: Path) -> int:
    """Feed so many files to one loader, in this process; returns the number of findings."""
    loader, rng, found = make_loaders()[name], random.Random(f"{name} {seed}"), set()
    faulthandler.enable()
    _limit_memory()
    signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as folder:
        for whole in loader.seeds:
            loader.write(Path(folder), whole)
            loader.load(Path(folder))  # a seed that is refused would hide what comes after
        for number in range(files):
            data = mutate(rng, rng.choice(loader.seeds), loader.seeds)
            kept = findings / f"{name}-{seed}-{number}"
            kept.write_bytes(data)  # first, for what ends the process
            signal.alarm(PATIENCE)
            said = problem(loader, Path(folder), data)
            signal.alarm(0)
            last = said and said.strip().splitlines()[-1][:60]
            if last is None or last in found:
                kept.unlink()
            else:
                found.add(last)
                print(f"{kept}: {said}", flush=True)
    return len(found)


def _limit_memory() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        limit = pages * resource.getpagesize() + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took more than {PATIENCE} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="damaged files a loader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loaders", nargs="+", choices=sorted(make_loaders()), help="by default all")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder for what was found")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.loaders or list(make_loaders())
    options.findings.mkdir(parents=True, exist_ok=True)
    if options.here:
        return min(1, fuzz(names[0], options.files, options.seed, options.findings))
    bad = 0
    for name in names:
        command = [sys.executable, __file__, "--here", "--loaders", name, "--files", str(options.files)]
        command += ["--seed", str(options.seed), "--findings", str(options.findings)]
        status = subprocess.run(command, check=False).returncode
        print(f"{name}: {options.files} files, {'nothing found' if status == 0 else f'status {status}'}", flush=True)
        bad += status != 0
    return min(1, bad)


if __name__ == "__main__":
    sys.exit(main())
