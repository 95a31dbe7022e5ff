"""Damaged files, some hundreds for each loader: whatever the bytes, only DataError comes out.

fuzz_loaders.py is the long run. What it found has tests of its own here, with traps that somebody might set on purpose.
"""

import gzip
import io
import pickle
import random
import struct
import tarfile
import tracemalloc
import zipfile

import fuzz_loaders
import numpy as np
import pytest
from damage import mutate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastff import FeedForwardNeuralNetwork
from fastff.data import load_dataset
from fastff.data.arrays import read_array
from fastff.data.pickles import load_pickle
from fastff.errors import DataError, NoRoom
from fastff.runs import config
from fastff.system import checkpoint, limits

LOADERS = fuzz_loaders.make_loaders()
TABLES = "csv", "csv-inside", "csv-packed", "csv-rows", "parquet", "parquet-folder"
COMPLETE = sorted({*LOADERS, *TABLES})


@pytest.fixture(scope="module", params=COMPLETE)
def loader(request):
    if request.param in TABLES:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return LOADERS[request.param]


def test_whole_files_are_read(loader, tmp_path):
    for seed in loader.seeds:
        loader.write(tmp_path, seed)
        loader.load(tmp_path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 1 << 32))
def test_damaged_files_are_refused_or_harmless(loader, tmp_path, number):
    rng = random.Random(number)
    damaged = mutate(rng, rng.choice(loader.seeds), loader.seeds)
    assert fuzz_loaders.problem(loader, tmp_path, damaged) is None


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 700, b"\xff" * 700, b"PK\x03\x04", b"\x1f\x8b", b"PAR1PAR1", b"\x93NUMPY"]
)
def test_other_files_are_refused(loader, tmp_path, data):
    assert fuzz_loaders.problem(loader, tmp_path, data) is None


# --- claims: nothing is allocated for what is not there


@pytest.fixture
def frugal():
    """The test, from here on, takes no more than a few MB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def claiming(shape, descr="<f8"):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize("shape", ["(10**12,)", "(1000000000000, 1)", "(4294967296, 4294967296)", f"({'9' * 5000},)"])
def test_arrays_that_claim_a_trillion_values(tmp_path, frugal, shape):
    (tmp_path / "a.npy").write_bytes(claiming(shape))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", claiming(shape))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=name):
            read_array(tmp_path / name)


def test_a_header_of_four_gigabytes(tmp_path, frugal):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF) + b"{}")
    with pytest.raises(DataError, match=r"a header of 4,294,967,295 bytes"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("descr", ["(100000,100000)f4", "|O", "f4,f4", "|V0", "U", "|S0", "M8[ns]", "a4", "<f3"])
def test_types_that_are_no_numbers(tmp_path, frugal, descr):
    (tmp_path / "a.npy").write_bytes(claiming("(3,)", descr) + bytes(100))
    with pytest.raises(DataError, match=r"a.npy: not a readable .npy file"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "claim",
    [
        b"\x80\x05\x95" + struct.pack("<Q", 1 << 40),  # a frame
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40),  # a bytearray
        b"\x80\x05\x8e" + struct.pack("<Q", 1 << 40),  # bytes
        b"\x80\x05\x8d" + struct.pack("<Q", 1 << 40),  # a text
        b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1),  # a number
    ],
)
def test_pickles_that_claim_a_terabyte(tmp_path, frugal, claim):
    (tmp_path / "p").write_bytes(claim + b"x")
    with (tmp_path / "p").open("rb") as stream, pytest.raises(DataError, match="not a readable pickle"):
        load_pickle(stream, "p")


def course(folder, labels):
    """The course's pickles, with this pickle of a value as the labels."""
    for split in ("train", "val", "test"):
        whole = pickle.dumps({"images": np.zeros((3, 3072), np.uint8), "labels": "here"}, 2)
        before, after = whole.split(b"X\x04\x00\x00\x00here")
        (folder / f"cifar10_hst_{split}").write_bytes(before + labels + after[2:])  # without the memo's mark
    return folder


def test_labels_of_lists_in_lists_in_lists(tmp_path, frugal):
    nested = b"K\x01"
    for _ in range(12):  # each ten times the one before: 10^12 values in 400 bytes
        nested = b"]" + nested + b"q\x63" + b"a" + b"(" + b"h\x63" * 9 + b"e"
    with pytest.raises(DataError, match="lists in lists that are larger than the file"):
        load_dataset(course(tmp_path, nested))


def test_labels_of_one_long_row_many_times(tmp_path, frugal):
    with pytest.raises(DataError, match="larger than the file"):
        load_dataset(course(tmp_path, b"](](" + b"K\x01" * 5000 + b"eq\x63(" + b"h\x63" * 5000 + b"ee"))


def test_labels_of_one_long_text_many_times(tmp_path, frugal):
    with pytest.raises(DataError, match="'labels' holds"):
        load_dataset(course(tmp_path, b"](X\x10\x27\x00\x00" + b"a" * 10000 + b"q\x63" + b"h\x63" * 5000 + b"e"))


def test_a_text_that_is_encoded_again_and_again(frugal):
    text = b"X\x10\x27\x00\x00" + b"a" * 10000 + b"q\x010"
    call = b"c_codecs\nencode\n(h\x01X\x06\x00\x00\x00latin1tR"
    with pytest.raises(DataError, match="encodes more text than it has"):
        load_pickle(io.BytesIO(b"\x80\x02}(" + text + b"X\x01\x00\x00\x00a](" + call * 5000 + b"eu."), "p")


def test_a_key_so_deep_that_its_hash_would_end_the_process():
    with pytest.raises(DataError, match="a key of type tuple"):
        load_pickle(io.BytesIO(b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s."), "p")


# --- packed files: what they unpack to is limited


def test_a_small_idx_file_that_unpacks_to_two_gigabytes(tmp_path, frugal):
    sides = 2000, 1000, 1000
    for split in ("train", "t10k"):
        packed = gzip.compress(struct.pack(">4I", 0x803, *sides) + bytes(1 << 20))
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(packed)
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: [\d,]+ bytes that unpack to 2.0 GB"):
        load_dataset(tmp_path)


def test_a_small_npz_that_unpacks_to_two_gigabytes(tmp_path, frugal):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", claiming("(250000000,)") + bytes(1 << 16))
    data = bytearray(whole.getvalue())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # where the size is declared
        data[data.index(signature) + at :][:4] = b""
        place = data.index(signature) + at
        data[place : place + 4] = struct.pack("<I", 2_000_000_100)
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"a.npz: x: [\d,]+ bytes that unpack to 2.0 GB"):
        read_array(tmp_path / "a.npz")


def test_a_npz_that_needs_more_memory_than_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "available", lambda: 10**6)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(30_000_000, np.uint8))
    with pytest.raises(NoRoom, match=r"a.npz: x: needs 30.0 MB of memory, 1.0 MB are free"):
        read_array(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_an_archive_that_unpacks_to_gigabytes(tmp_path, frugal, kind):
    member = tarfile.TarInfo("cifar-10-batches-py/readme")
    member.size, member.type = 8_000_000_000, kind
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(DataError, match=r"c.tar.gz: unpacks to more than 419.4 MB"):
        load_dataset(tmp_path / "c.tar.gz")


def test_a_long_tail_of_an_archive(tmp_path, frugal, monkeypatch):
    monkeypatch.setattr("fastff.data.cifar.LARGEST_ARCHIVE", 3 << 20)
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(bytes(5 << 20)))
    with pytest.raises(DataError, match=r"c.tar.gz: unpacks to more than 3.1 MB"):
        load_dataset(tmp_path / "c.tar.gz")


@pytest.fixture
def parquet(tmp_path):
    """Writes a.parquet of these columns, some times over."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet as pq

    def write(*columns, times=1):
        table = pa.table([pa.array(column) for column in columns], names=["a", "b"])
        with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
            for _ in range(times):
                writer.write_table(table)
        return tmp_path / "a.parquet"

    return write


def test_a_parquet_file_of_a_hundred_million_equal_rows(parquet):
    path = parquet(np.zeros(1 << 20, bool), np.zeros(1 << 20, bool), times=130)
    with pytest.raises(DataError, match=r"a.parquet: [\d.]+ [KM]?B?(bytes)? that unpack to 1.1 GB"):
        load_dataset(path, target="b")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_one_long_class_name_in_many_rows(tmp_path, parquet, frugal, kind):
    names = ["n" * 100_000, *["no"] * 10_000]  # 4 GB as an array of texts
    if kind == "csv":
        path = tmp_path / "a.csv"
        path.write_text("a,b\n" + "".join(f"{i % 7},{name}\n" for i, name in enumerate(names)))
    else:
        path = parquet(np.arange(len(names)) % 7, names)
    data = load_dataset(path, target="b")
    assert [len(name) for name in data.class_names] == [100_000, 2]
    np.testing.assert_array_equal(data.y_train, [0, *[1] * 10_000])


@pytest.mark.parametrize("values", [[[1], [2]], [{"x": 1}, {"x": 2}]])
def test_parquet_columns_of_columns_are_refused(parquet, values):
    path = parquet([1.0, 2.0], values)
    for target, column in (("a", "b"), ("b", "b")):
        with pytest.raises(DataError, match=f"column '{column}': .* values, want"):
            load_dataset(path, target=target)


def test_a_packed_table_that_unpacks_to_very_much(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr(limits, "FREELY", 1 << 20)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,0\n" * 1_000_000))
    with pytest.raises(DataError, match=r"a.csv.gz: [\d,.]+ \w+ that unpack to"):
        load_dataset(tmp_path / "a.csv.gz", target="b")


def test_a_header_of_a_million_columns(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    (tmp_path / "a.csv").write_text("," * 1_000_000 + "b\n")
    with pytest.raises(DataError, match=r"a.csv: line 1: 1,000,001 columns, want at most 100,000"):
        load_dataset(tmp_path / "a.csv", target="b")


# --- archives: nothing outside them is read or written


def test_an_archive_of_links_and_of_paths_that_lead_out(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "labels": [7, 8, 9, 7]}))
    with tarfile.open(folder / "c.tar", "w") as archive:
        for i, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE)):
            link = tarfile.TarInfo(f"data_batch_{i + 1}")
            link.type, link.linkname = kind, str(secret)
            archive.addfile(link)
        out = tarfile.TarInfo("../../escaped")
        out.size = 3
        archive.addfile(out, io.BytesIO(b"abc"))
    with pytest.raises(DataError, match=r"c.tar: has no data_batch_1"):
        load_dataset(folder / "c.tar")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["c.tar", "inside", "secret"]


# --- what a checksum does not catch, because it is right


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ([{"layer": "standardize"}, {"layer": "linear"}], r"layer 1 \(linear\) takes 8 values, want 4"),
        ([{"layer": "augment", "image_shape": [1, 2, 2]}, {"layer": "linear"}], r"takes 8 values, want 4"),
        ([{"layer": "relu"}], "no layer says how wide it is"),
        ([{"layer": "dropout", "rate": 10**400}, {"layer": "linear"}], r"layer 0 \(dropout\): rate"),
        ([{"layer": "dropout", "speed": 1}, {"layer": "linear"}], r"layer 0 \(dropout\): .*speed"),
    ],
)
def test_layers_that_would_read_beyond_one_another(tmp_path, layers, found):
    arrays = {"0.mean": np.zeros(4), "0.std": np.ones(4), "1.weight": np.ones((8, 3)), "1.bias": np.ones(3)}
    checkpoint.save(tmp_path / "w", arrays, {"layers": layers})
    with pytest.raises(DataError, match=found):
        FeedForwardNeuralNetwork.load(tmp_path / "w")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a = " + "[" * 100_000, "not a TOML file"),
        ("epochs = " + "9" * 5000, "not a TOML file"),
        ("epochs = 0x" + "f" * 5000, "want a whole number"),
        ("step_size = 0x" + "f" * 500, "want a number"),
        ("hidden = [0x" + "f" * 5000 + "]", "want a list of whole numbers"),
        ("#" * (1 << 21), "more than 1,048,576 bytes"),
        ("seed = 2020-01-01", "want a whole number"),
        ('"a\\nb\\u001b[31m" = 1', r"unknown option 'a\\nb\\x1b\[31m'"),
    ],
)
def test_config_files_made_to_hurt(tmp_path, text, found):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(DataError, match=found) as caught:
        config.read(tmp_path / "c.toml")
    assert str(caught.value).isprintable()


def test_a_name_in_a_file_cannot_write_to_the_terminal(tmp_path):
    (tmp_path / "a.csv").write_text('"a\n\x1b[2J\x07' + "long" * 20_000 + '",b\ninf,1\n2,3\n')
    with pytest.raises(DataError, match="inf at row 0, want") as caught:
        load_dataset(tmp_path / "a.csv", target="b")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1100
