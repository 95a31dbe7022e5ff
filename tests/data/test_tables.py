"""Tables are read as people have them: separators, decimal commas, encodings, gaps, packed files and frames."""

import csv
import gzip
import io
import re
import sys

import numpy as np
import pytest

from fastff import load_dataset
from fastff.data.cells import GAPS, arrow
from fastff.data.columns import Schema
from fastff.data.tables import read_rows, read_table
from fastff.errors import ArgumentError, DataError, MissingExtra

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")


def save(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder, text, name="table.csv", texts=()):
    return read_table(save(folder, text, name), texts).to_pydict()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_are_found_out(tmp_path, separator, end):
    stream = io.StringIO()
    lines = csv.writer(stream, delimiter=separator, lineterminator=end)
    lines.writerows([["a", "the name", "c"], [1, 'x, "y"; z', 2.5], [], ["-3e2", "ship", 4]])
    assert read(tmp_path, stream.getvalue()) == {"a": [1, -300], "the name": ['x, "y"; z', "ship"], "c": [2.5, 4]}


def test_decimal_commas(tmp_path):
    text = "a;b;kind\n1,5;2.5;x\n-2,25;3;x\n1000;0.5;y\n0,5;1;y\n"
    data = load_dataset(save(tmp_path, text), target="kind")
    np.testing.assert_array_equal(data.x_train, [[1.5, 2.5], [-2.25, 3], [1000, 0.5], [0.5, 1]])
    quoted = load_dataset(save(tmp_path, 'a,kind\n"1,5",x\n"2,25",y\n3,y\n'), target="kind")
    np.testing.assert_array_equal(quoted.x_train[:, 0], [1.5, 2.25, 3])


def test_points_between_thousands(tmp_path):
    text = "a;b;price;kind\n1.234,5;0,5;1.500;x\n12;1,5;900;x\n1.000.000;NA;;y\n-3.000;7;2.000,25;y\n"
    data = load_dataset(save(tmp_path, text), target="kind")
    np.testing.assert_array_equal(data.x_train[:, 0], [1234.5, 12, 1e6, -3000])
    np.testing.assert_array_equal(data.x_train[[0, 1, 3], 3], [1500, 900, 2000.25])


def test_a_comma_that_may_be_of_thousands_is_not_guessed(tmp_path):
    unclear = "'1,234' may be 1234 or 1.234, want it written as one of these$"
    for text in ('price,a,kind\n"1,234",1,x\n"5,678",2,y\n12,3,x\n', "price;a;kind\n1,234;0.5;x\n5;2.5;y\n12;3;x\n"):
        path = save(tmp_path, text)
        for options in ({"target": "price"}, {"target": "price", "task": "regress"}, {"target": "kind"}):
            with pytest.raises(DataError, match=f"column 'price': {unclear}"):
                load_dataset(path, **options)
        assert load_dataset(path, target="kind", drop=["price"]).n_features == 1
    for cells, numbers in ((["1,234", "1,234,567"], [1234, 1234567]), (["1,234", "0.5"], [1234, 0.5])):
        text = "price,kind\n" + "".join(f'"{cell}",{kind}\n' for cell, kind in zip(cells, "xy", strict=True))
        found = load_dataset(save(tmp_path, text), target="kind").x_train[:, 0]
        np.testing.assert_array_equal(found, np.float32(numbers))


def test_a_number_in_a_text_says_nothing_about_the_decimal_sign(tmp_path):
    text = "price;note;kind\n1.234;about 3;x\n2.345;1,5;y\n3.456;none;x\n"
    data = load_dataset(save(tmp_path, text), target="kind", drop=["note"])
    np.testing.assert_array_equal(data.x_train[:, 0], np.float32([1.234, 2.345, 3.456]))


def test_quoted_numbers_with_points_between_thousands(tmp_path):
    data = load_dataset(save(tmp_path, 'price,kind\n"1.234,50",x\n900,y\n"1.500",x\n'), target="kind")
    np.testing.assert_array_equal(data.x_train[:, 0], [1234.5, 900, 1500])


def test_a_decimal_comma_may_show_late(tmp_path):
    text = "price;rate;kind\n" + "1.500;2;x\n900;3;y\n" * 100 + "2.000;0,5;x\n"
    data = load_dataset(save(tmp_path, text), target="kind")
    np.testing.assert_array_equal(data.x_train[[0, 1, -1]], [[1500, 2], [900, 3], [2000, 0.5]])
    assert data.columns.decimal == ","


def test_a_later_file_has_the_decimal_sign_of_the_training_unless_it_shows_another(tmp_path):
    comma = load_dataset(save(tmp_path, "price;rate;kind\n1.500;0,5;x\n900;2,25;y\n"), target="kind").columns
    point = load_dataset(save(tmp_path, "price;rate;kind\n1.5;0.5;x\n900;2.25;y\n"), target="kind").columns
    assert (comma.decimal, point.decimal) == (",", ".")
    for schema, text, rows in (
        (comma, "price;rate\n1.500;2\n", [1500, 2]),
        (comma, "price;rate\n1500;0.5\n", [1500, 0.5]),
        (comma, "price;rate\n1.500;1,234\n", [1500, 1.234]),
        (point, "price;rate\n1.500;2\n", [1.5, 2]),
        (point, "price;rate\n1.500;0,5\n", [1500, 0.5]),
    ):
        path = save(tmp_path, text)
        found = schema.rows(read_table(path, schema.texts, schema.decimal), path)
        np.testing.assert_array_equal(found[0], np.float32(rows))
    with pytest.raises(DataError, match="column 'rate' has decimal points, and column 'price' may have points between"):
        read_table(save(tmp_path, "price;rate\n1.500;0.5\n"), comma.texts, comma.decimal)
    with pytest.raises(DataError, match=r"column 'rate': '1,234' may be 1234 or 1.234"):
        point.rows(read_table(save(tmp_path, "price;rate\n2;1,234\n"), point.texts, point.decimal))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_texts_of_a_frame_have_the_decimal_sign_of_the_training(tmp_path, kind):
    path = save(tmp_path, "price;rate;city;y\n1.500;0,5;1.500;x\n900;2,25;900;y\n1.500;1;1.500;x\n900;1;900;y\n")
    schema = load_dataset(path, target="y", categorical=["city"]).columns
    numbers = load_dataset(path, target="price", task="regress").columns
    for price, rate, found in (("1.500", "0,5", [1500, 0.5]), ("1.500", "2", [1500, 2]), ("1500", "0.5", [1500, 0.5])):
        texts = {name: pa.array([cell] * 2).cast(kind) for name, cell in
                 {"price": price, "rate": rate, "city": "1.500", "more": "0.5"}.items()}  # fmt: skip
        np.testing.assert_array_equal(schema.rows(pa.table(texts)), [[*found, 1, 0]] * 2)
        np.testing.assert_array_equal(numbers.labels(pa.table(texts)), [found[0]] * 2)
        assert numbers.labelled(pa.table(texts))[1] == 0
    np.testing.assert_array_equal(
        schema.rows(pa.table({"price": [1.5], "rate": [0.5], "city": ["900"]})), [[1.5, 0.5, 0, 1]]
    )
    with pytest.raises(DataError, match="t: column 'rate' has decimal points, and column 'price' may have points"):
        schema.rows(pa.table({"price": ["1.500"], "rate": ["0.5"], "city": ["900"]}), "t")


def test_a_target_may_have_a_decimal_comma(tmp_path):
    data = load_dataset(save(tmp_path, "a;price\n1;1.234,5\n2;1,234\n"), target="price", task="regress")
    np.testing.assert_array_equal(data.y_train, [1234.5, 1.234])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_are_found_out(tmp_path, encoding):
    text = "größe;naïve\n1;Öl\n2;Zoë\n".encode(encoding)
    assert read(tmp_path, text) == {"größe": [1, 2], "naïve": ["Öl", "Zoë"]}


def test_an_accent_far_behind_the_start_is_read_too(tmp_path):
    text = b"a,b\n" + b"1,x\n" * 400_000 + b"2,\xe9\n"
    found = read_table(save(tmp_path, text))
    assert found.num_rows == 400_001
    assert found.column("b")[-1].as_py() == "é"


def test_what_a_column_holds_may_show_late(tmp_path):
    text = "a,b,c\n" + "1,,7\n" * 400_000 + "1.5,x,none\n"
    found = read_table(save(tmp_path, text))
    assert [column[-1].as_py() for column in found.columns] == [1.5, "x", "none"]
    assert found.column("c")[0].as_py() == "7"


@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv", "t.tsv.gz", "T.CSV"])
def test_endings(tmp_path, name):
    text = b"a\tb,c\n1\tx,y\n" if ".tsv" in name else b"a,b\n1,x\n"
    expected = {"a": [1], "b,c": ["x,y"]} if ".tsv" in name else {"a": [1], "b": ["x"]}
    assert read(tmp_path, gzip.compress(text) if name.endswith(".gz") else text, name) == expected


def test_a_quoted_cell_may_hold_lines(tmp_path):
    assert read(tmp_path, 'a,"b\nc"\n1,"x\ny"\n') == {"a": [1], "b\nc": ["x\ny"]}


def test_texts_are_kept_as_they_are_written(tmp_path):
    assert read(tmp_path, "a,b\n01,01\n1.0,1.0\n", texts=["b"]) == {"a": [1, 1], "b": ["01", "1.0"]}


@pytest.mark.parametrize("gap", sorted(GAPS))
def test_gaps_in_all_spellings(tmp_path, gap):
    text = f"n,city,kind\n1,Bern,x\n{gap},{gap},y\n3,Bern,x\n5,Bern,y\n"
    data = load_dataset(save(tmp_path, text), target="kind")
    assert data.columns.feature_names == ("n", "n=(gap)", "city=Bern", "city=(gap)")
    np.testing.assert_array_equal(data.x_train[1], [3, 1, 0, 1])
    np.testing.assert_array_equal(data.x_train[0], [1, 0, 1, 0])


def test_a_column_without_a_name_gets_one(tmp_path):
    assert read(tmp_path, ",a,\n0,5,\n1,6,\n") == {"(column 1)": [0, 1], "a": [5, 6], "(column 3)": [None, None]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b,a\n1,2,3\n", "line 1, column 3: 'a' again, want every name once"),
        ("a,b\n1,0\n1\n", "line 3: 1 cells, want 2 as in the header"),
        ("a,b\n1,0\n\n1,2,3\n", "line 4: 3 cells, want 2 as in the header"),
        ('a,b\n"x\ny",0\n1,2,3\n', "line 4: 3 cells, want 2 as in the header"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "line 1, column 1: '5.1', want a first line with names of columns"),
        ("39,State-gov,77516,13\n50,Private,83311,13\n", "line 1, column 1: '39', want a first line with names"),
        ("1,2,2\n1,2,3\n", "line 1, column 1: '1', want a first line with names of columns"),
        ("", "no rows, want a first line with the names of columns"),
        ("\n\n", "no rows, want a first line with the names of columns"),
        ('a,b\n"1,0\n', "line 2: 1 cells, want 2"),
        (b"a,b\n\x81,1\n", "not a readable table: 'charmap' codec"),
    ],
)
def test_files_that_are_no_tables(tmp_path, text, found):
    path = save(tmp_path, text)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {found}[^\n]*$"):
        read_table(path)


def test_names_may_be_years(tmp_path):
    assert list(read(tmp_path, "city,2019,2020,2021\nBern,1,2,3\n")) == ["city", "2019", "2020", "2021"]


def test_rows_without_names_are_numbers_in_their_order(tmp_path):
    np.testing.assert_array_equal(read_rows(save(tmp_path, "a,b\n1,2\n3,4.5\n")), np.float32([[1, 2], [3, 4.5]]))
    for text, found in (
        ("a,b\n1,\n", "column 'b': nan at row 0"),
        ("a\nx\n", "column 'a': 'x' at row 0, want a number"),
    ):
        with pytest.raises(DataError, match=found):
            read_rows(save(tmp_path, text))


def test_parquet_of_all_types(tmp_path):
    import datetime
    import decimal

    day = datetime.date(2020, 2, 3)
    columns = {
        "whole": pa.array([1, 2, None, 4], pa.int8()),
        "half": pa.array(np.float16([1, 2, 3, 4])),
        "decimal": pa.array([decimal.Decimal("1.5"), decimal.Decimal(2), None, None], pa.decimal128(5, 2)),
        "flag": pa.array([True, False, None, True]),
        "text": pa.array(["x", "y", "x", "y"], pa.large_string()),
        "code": pa.array(["x", "y", "x", "y"]).dictionary_encode(),
        "number": pa.array(["1.5", "2", " 3", "NA"]),
        "day": pa.array([day, day.replace(day=5), None, day]),
        "moment": pa.array([datetime.datetime(2020, 1, i + 1, 12) for i in range(4)], pa.timestamp("ns", "UTC")),
        "clock": pa.array([datetime.time(1, 2, i) for i in range(4)], pa.time64("us")),
        "nothing": pa.nulls(4),
        "kind": pa.array([True, False, True, False]),
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    data = load_dataset(path, target="kind")
    kinds = {column.name: column.kind for column in data.columns.columns}
    assert kinds == {
        "whole": "number", "half": "number", "decimal": "number", "flag": "boolean", "text": "text",
        "code": "text", "number": "number", "day": "date", "moment": "date", "clock": "number", "nothing": "dropped",
    }  # fmt: skip
    assert data.class_names == ("False", "True")
    assert np.isfinite(data.x_train).all()


def test_other_columns_of_parquet_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [[1], [2]], "b": [0, 1]}), path)
    with pytest.raises(
        DataError, match=f"^{re.escape(str(path))}: column 'a': list<.*> values, want numbers, texts or dates$"
    ):
        load_dataset(path, target="b")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: not a readable Parquet file: [^\n]*$"):
        load_dataset(path, target="b")


COLUMNS = {"n": [1.5, None, 3.5, 5.5], "city": ["Bern", "Bern", None, "Zug"], "ok": [True, False, True, True],
           "kind": ["x", "y", "x", "y"]}  # fmt: skip


def test_frames_of_every_library_give_the_same_rows():
    first = load_dataset(pa.table(COLUMNS), target="kind")
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    pl = pytest.importorskip("polars", reason="polars is not installed")
    for frame in (pd.DataFrame(COLUMNS, index=list("abcd")), pl.DataFrame(COLUMNS)):
        data = load_dataset(frame, target="kind")
        assert data.columns == first.columns
        np.testing.assert_array_equal(data.x_train, first.x_train)
        np.testing.assert_array_equal(data.y_train, first.y_train)
    numbered = load_dataset(pd.DataFrame({0: [1, 2, 3], 1: [1, 0, 1]}), target="1")
    assert numbered.columns.feature_names == ("0",)


@pytest.mark.parametrize(
    "more",
    [
        {"e": [1, "a", 2.5, None]},
        {"e": [1j] * 4},
        {"e": [[1], {}, "x", 2]},
        "sparse",
        "twice",
        {7: [1, "a", 2.5, None]},
    ],
    ids=str,
)
def test_columns_of_a_frame_that_are_not_used_may_hold_anything(more):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    first = load_dataset(pa.table(COLUMNS), target="kind")
    frame = pd.DataFrame(COLUMNS)
    if more == "twice":
        frame = pd.concat([pd.DataFrame({"e": [1, 2, 3, 4], "f": 0})[["e", "f", "e"]], frame], axis=1)
    elif more == "sparse":
        frame["e"] = pd.arrays.SparseArray([0, 0, 0, 1])
    else:
        frame = pd.concat([pd.DataFrame(more), frame], axis=1)
    np.testing.assert_array_equal(first.columns.rows(frame), first.x_train)
    np.testing.assert_array_equal(first.columns.labels(frame), first.y_train)
    names = list(dict.fromkeys(str(name) for name in frame.columns if name not in COLUMNS))
    for schema in (load_dataset(frame, target="kind", drop=names).columns,
                   Schema.fit(frame, target="kind", drop=names)):  # fmt: skip
        schema = Schema.from_description(schema.description())
        assert schema.feature_names == first.columns.feature_names
        np.testing.assert_array_equal(schema.rows(frame[list(COLUMNS)]), first.x_train)
    with pytest.raises(DataError, match=r"has no column 'n', .* found .*city, ok, kind"):
        first.columns.rows(frame.drop(columns="n"))


def test_frames_that_are_none():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    pl = pytest.importorskip("polars", reason="polars is not installed")
    mixed = pd.DataFrame({"a": [1, "x"], "b": [1, 0]})
    for frame, found in (
        (mixed, "table: DataFrame that cannot be read"),
        (pl.LazyFrame({"a": [1]}), "table: LazyFrame"),
    ):
        with pytest.raises(DataError, match=found):
            load_dataset(frame, target="b")
    with pytest.raises(DataError, match="the column 'a' is there twice"):
        load_dataset(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), target="a")
    with pytest.raises(ArgumentError, match="data_dir: x beside a frame"):
        load_dataset(pa.table(COLUMNS), target="kind", data_dir="x")


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch):
    frame = pytest.importorskip("polars", reason="polars is not installed").DataFrame(COLUMNS)
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastff\[tables\]"$'):
        load_dataset(frame, target="kind")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(MissingExtra, match=r'^reading tables needs pyarrow: pip install "fastff\[tables\]"$'):
            load_dataset(save(tmp_path, "a,b\n1,0\n", name), target="b")


@pytest.mark.parametrize(
    "option", [{"task": "classify"}, {"drop": ["a"]}, {"categorical": ["a"]}, {"target": ["a", "b"]}]
)
def test_options_of_tables_are_for_tables(tmp_path, option):
    with pytest.raises(ArgumentError, match=f"^{next(iter(option))}: .* for digits, want it left out"):
        load_dataset("digits", **option)
    pq.write_table(pa.table(COLUMNS), tmp_path / "train-0.parquet")
    with pytest.raises(ArgumentError, match=f"^{next(iter(option))}: .* for the folder"):
        load_dataset(tmp_path, **{"target": "kind", **option})


def test_a_library_that_is_there_and_cannot_be_imported_says_why(monkeypatch):
    class Old:
        """Finds pyarrow, whose import ends as that of pyarrow 26 beside NumPy 1.26."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "pyarrow":
                raise ImportError("pyarrow requires NumPy 2.0 or newer, found 1.26.0")

    monkeypatch.setattr(sys, "meta_path", [Old, *sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    why = r"which cannot be imported here \(pyarrow requires NumPy 2.0 or newer, found 1.26.0\)"
    with pytest.raises(MissingExtra, match=rf'^reading tables needs pyarrow, {why}: pip install "fastff\[tables\]"$'):
        arrow()
