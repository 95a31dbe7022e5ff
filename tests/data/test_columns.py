"""The schema of a table: how columns become numbers, which task a target means, and what is matched by name."""

import datetime
import json
import re

import numpy as np
import pytest

from fastff import load_dataset
from fastff.data.columns import Schema
from fastff.errors import ArgumentError, DataError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("pyarrow.csv")
RNG = np.random.default_rng(0)
KIND = ["x", "y"] * 20


def table(**columns):
    return pa.table({"kind": KIND, **columns})


def fit(**columns):
    return Schema.fit(table(**columns), target="kind")


def column(values):
    """The only column of a schema that is fitted to these values."""
    return fit(a=values).columns[0]


# --- columns


def test_a_gap_becomes_the_median_and_an_indicator():
    schema = fit(a=[None, *range(39)])
    assert schema.feature_names == ("a", "a=(gap)")
    np.testing.assert_array_equal(schema.rows(table(a=[None, *range(39)]))[:2], [[19, 1], [0, 0]])
    without = fit(a=list(range(20)) * 2)
    np.testing.assert_array_equal(without.rows(pa.table({"a": [None, 3]})), [[9], [3]])


@pytest.mark.parametrize("first", [10**15 * 9, 10**18, -(10**18), 1_600_000_000])
def test_ids_and_timestamps_keep_their_differences(first):
    values = [first + i for i in range(20)] * 2
    schema = fit(a=values)
    rows = schema.rows(table(a=values))
    assert rows.dtype == (np.float64 if abs(first) < 1 << 53 else np.float32)
    np.testing.assert_array_equal(np.diff(rows[:20, 0].astype(np.float64)), 1)
    np.testing.assert_array_equal(schema.rows(pa.table({"a": values[:5]})), rows[:5])
    np.testing.assert_array_equal(schema.rows(pa.table({"a": [str(v) for v in values[:5]]})), rows[:5])


def test_unsigned_numbers_beyond_64_bits_keep_their_differences():
    values = pa.array([2**64 - 1 - i for i in range(20)] * 2, pa.uint64())
    rows = fit(a=values).rows(table(a=values))
    np.testing.assert_array_equal(np.diff(rows[:20, 0]), -1)


def test_texts_that_are_rare_go_together_and_new_ones_with_them():
    values = ["Bern"] * 20 + ["Zug"] * 15 + ["Chur", "Biel", "Thun"] + [None] * 2
    schema = fit(city=values)
    assert schema.feature_names == ("city=Bern", "city=Zug", "city=(other)", "city=(gap)")
    found = schema.rows(pa.table({"city": ["Bern", " Zug ", "Chur", "Paris", None, "NA"]}))
    np.testing.assert_array_equal(found.argmax(1), [0, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(found.sum(1), 1)
    np.testing.assert_array_equal(fit(city=["Bern", "Zug"] * 20).rows(pa.table({"city": ["Paris"]})), [[0, 0]])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_texts_of_every_type_are_the_same(kind):
    values = ["Bern", None, "Zug", "Bern"] * 10
    if kind == pa.string_view():
        pytest.importorskip("pyarrow", minversion="18", reason="an older pyarrow cannot make such texts")
    found = fit(city=pa.array(values).cast(kind))
    assert found == fit(city=values)
    np.testing.assert_array_equal(found.rows(table(city=pa.array(values).cast(kind))), found.rows(table(city=values)))


@pytest.mark.parametrize(
    "texts", [("true", "false"), ("True", "False"), ("TRUE", "FALSE"), ("true", "false", "unknown")]
)
def test_flags_and_texts_of_flags_are_the_same(texts):
    values = [*texts] * 20
    schema = Schema.fit(pa.table({"kind": KIND[:1] + ["y"] * (len(values) - 1), "a": values}), target="kind",
                        categorical=["a"])  # fmt: skip
    expected = schema.rows(pa.table({"a": texts[:2]}))
    np.testing.assert_array_equal(expected.sum(1), 1)
    for found in ([True, False], ["true", "false"], ["True", "False"], ["TRUE", "FALSE"]):
        np.testing.assert_array_equal(schema.rows(pa.table({"a": found})), expected)


def test_a_text_in_other_letters_is_found_where_one_is_meant():
    schema = fit(city=["Bern"] * 19 + ["BERN"] + ["Zug"] * 20)
    assert schema.feature_names == ("city=Bern", "city=Zug")
    np.testing.assert_array_equal(schema.rows(pa.table({"city": ["bern", "BERN", "ZUG", "Chur"]})),
                                  [[1, 0], [1, 0], [0, 1], [0, 0]])  # fmt: skip
    both = fit(city=["Bern", "BERN"] * 19 + ["Zug", "Chur"])
    assert both.feature_names == ("city=BERN", "city=Bern", "city=(other)")
    np.testing.assert_array_equal(both.rows(pa.table({"city": ["Bern", "bern"]})), [[0, 1, 0], [0, 0, 1]])


def test_texts_that_are_nearly_all_different_are_dropped_by_name():
    with pytest.warns(UserWarning, match=r"^table: column 'name': dropped, as nearly every text is another"):
        schema = fit(name=[f"n{i}" for i in range(40)], b=[0.5, 1.5] * 20)
    assert schema.feature_names == ("b",)
    assert schema.columns[0].why == "nearly every text is another: 40 in 40 rows"


def test_categorical_columns_are_names_and_dropped_ones_are_left_out():
    data = table(zip=[3000, 3001] * 20, a=[0.5, 1.5] * 20, id=list(range(40)))
    schema = Schema.fit(data, target="kind", drop=["id"], categorical=["zip"])
    assert schema.feature_names == ("zip=3000", "zip=3001", "a")
    np.testing.assert_array_equal(schema.rows(pa.table({"a": [0], "zip": [3001.0]})), [[0, 1, 0]])
    for option in (
        {"drop": ["nowhere"]},
        {"categorical": ["kind"]},
        {"drop": "id"},
        {"drop": 3},
        {"categorical": [3]},
        {"drop": ["a"], "categorical": ["a"]},
    ):
        with pytest.raises(ArgumentError, match=r"^(drop|categorical): "):
            Schema.fit(data, target="kind", **option)


@pytest.mark.parametrize("values", [[7] * 40, ["x"] * 40, [True] * 40, [datetime.date(2020, 1, 1)] * 40])
def test_constants_are_dropped(values):
    schema = fit(a=values, b=[0.5, 1.5] * 20)
    assert (schema.columns[0].kind, schema.columns[0].why) == ("dropped", "the same in every row")
    assert schema.feature_names == ("b",)
    with pytest.raises(DataError, match="no column is left to learn from \\('a': the same in every row\\)"):
        fit(a=values)


@pytest.mark.parametrize("name", ["(column 1)", "Unnamed: 0", "__index_level_0__"])
def test_an_index_is_named_in_a_warning(name):
    with pytest.warns(UserWarning, match=f"column '{re.escape(name)}': has no name: if it is") as said:
        fit(**{name: [float(i) for i in range(40)]})
    assert len(said) == 1


def test_a_whole_number_that_never_repeats_is_named_in_a_warning():
    with pytest.warns(UserWarning, match="column 'a', 'b': is another whole number in every row"):
        fit(a=list(range(40)), b=[3 * i for i in range(40)], c=[i // 2 for i in range(40)])
    fit(a=[i + 0.5 for i in range(40)])


DAYS = [datetime.date(2020, 1, 30) + datetime.timedelta(days=9 * i) for i in range(20)] * 2


@pytest.mark.parametrize("form", [None, "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y"])
def test_dates_become_year_month_weekday_and_day(form):
    schema = fit(d=DAYS if form is None else [day.strftime(form) for day in DAYS])
    assert schema.feature_names == ("d.month", "d.weekday", "d.day")
    days = [datetime.date(2021, 12, 31), datetime.date(1969, 3, 4)]
    found = schema.rows(pa.table({"d": [*(days if form is None else [day.strftime(form) for day in days]), None]}))
    expected = [[day.month, day.weekday(), (day - datetime.date(1970, 1, 1)).days] for day in days]
    np.testing.assert_array_equal(found[:2], expected)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Apr 1 2005", "May 3, 2007"),
        ("1 April 2005", "03 may. 2007"),
        ("01-Apr-05", "3-may-07"),
        ("1-Apr-2005", "03-MAY-2007"),
        ("2005/04/01 00:00", "2007/05/03 00:00"),
        ("Apr 1 2005 00:00", "May 3 2007 00:00"),
    ],
)
def test_dates_with_names_of_months(first, second):
    schema = fit(d=[first, second] * 20)
    assert schema.feature_names == ("d.year", "d.month", "d.weekday", "d.day")
    expected = [[2005, 4, 4, 12874], [2007, 5, 3, 13636]]
    np.testing.assert_array_equal(schema.rows(pa.table({"d": [first, second]})), expected)
    np.testing.assert_array_equal(schema.rows(pa.table({"d": ["2007-05-03", None]}))[0], expected[1])


def test_months_without_days_are_dates_and_names_with_numbers_are_not():
    schema = fit(d=["Apr 2005", "May 2007"] * 20)
    np.testing.assert_array_equal(schema.rows(pa.table({"d": ["April 2005"]})), [[2005, 4, 4, 12874]])
    for texts in (["Route 66", "Route 101"], ["Mar 11", "Apr 12"], ["1/2/20", "3/4/21"]):
        assert column(texts * 20).kind == "text"


def test_times_of_a_day_are_kept_and_gaps_of_dates_filled():
    moments = [datetime.datetime(2020, 1, 1, i) for i in range(20)] * 2
    schema = fit(d=[None, *moments[1:]])
    assert schema.feature_names == ("d.day", "d.hour", "d=(gap)")
    np.testing.assert_allclose(schema.rows(table(d=[None, *moments[1:]]))[:2, 1:], [[10, 1], [1, 0]])


def test_day_and_month_that_are_not_told_apart_are_said():
    with pytest.warns(UserWarning, match=r"column 'd': was read as month/day/year"):
        schema = fit(d=["1/2/2020", "3/4/2021"] * 20)
    np.testing.assert_array_equal(schema.rows(pa.table({"d": ["5/6/2020"]}))[0, :2], [2020, 5])


def test_cells_of_another_kind_are_refused_by_name():
    schema = fit(n=[0.5, 1.5] * 20, ok=[True, False] * 20, d=DAYS)
    good = {"n": [1.5], "ok": ["true"], "d": ["2020-01-01"]}
    assert np.isfinite(schema.rows(pa.table(good))).all()
    np.testing.assert_array_equal(
        [schema.rows(pa.table({**good, "ok": [flag]}))[0, 1] for flag in (1, 1.0, "1", 0, False)], [1, 1, 1, 0, 0]
    )
    for change, found in (
        ({"n": ["1.5 kg"]}, "column 'n': '1.5 kg' at row 0, want a number"),
        ({"n": [datetime.date(2020, 1, 1)]}, "column 'n': date32.* values, want numbers"),
        ({"n": [float("inf")]}, "column 'n': inf at row 0, want a finite number or a gap"),
        ({"n": [1e300]}, "column 'n': beyond 3.4e38 at row 0"),
        ({"ok": ["maybe"]}, "column 'ok': 'maybe', want true or false"),
        ({"ok": [7]}, "column 'ok': 7 at row 0, want true or false"),
        ({"ok": [0.5]}, "column 'ok': 0.5 at row 0, want true or false"),
        ({"d": ["soon"]}, "column 'd': texts that are no dates"),
        ({"d": [7]}, "column 'd': int64 values, want dates"),
        ({"n": [[1]]}, "column 'n': list.* values, want numbers, texts or dates"),
    ):
        with pytest.raises(DataError, match=f"^new.csv: {found}"):
            schema.rows(pa.table({**good, **change}), "new.csv")


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"a", pa.MonthDayNano((1, 2, 3))], ids=str)
def test_values_of_other_types_are_refused_in_dictionaries_too(value):
    values = pa.array([value])
    for cells in (values, pa.DictionaryArray.from_arrays([0], values)):
        with pytest.raises(DataError, match=r"^table: column 'a': .* values, want numbers, texts or dates$"):
            fit(a=pa.chunked_array([cells] * 40))


def test_ranges_of_pandas_are_refused_in_one_line():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame({"a": pd.cut(np.arange(40.0), 4), "kind": KIND})
    with pytest.raises(DataError, match=r"^table: column 'a': .*interval.* values, want numbers, texts or dates$"):
        Schema.fit(frame, target="kind")


@pytest.mark.parametrize("big", [1e39, -9.9e99, 1.7976931348623157e308])
@pytest.mark.parametrize("rows", [1, 3])
def test_numbers_beyond_float32_are_refused_with_their_row(big, rows):
    ordinary = [i / 7 for i in range(40)]
    values = [*ordinary[:3], *[big] * rows, *ordinary[3 + rows :]]
    fitted = load_dataset(
        pa.table({"a": ordinary, "y": ordinary, "ms": [10**12 + i // 2 for i in range(40)]}), target="y"
    )
    assert fitted.columns.wide
    for data, target in (({"a": values, "y": ordinary}, "a"), ({"a": ordinary, "y": values}, "y")):
        with pytest.raises(
            DataError, match=f"^table: column '{target}': beyond 3.4e38 at row 3, want smaller numbers$"
        ):
            load_dataset(pa.table(data), target="y", task="regress")
    with pytest.raises(DataError, match=r"^table: column 'a': beyond 3.4e38 at row 3, want smaller numbers$"):
        fitted.columns.rows(pa.table({"a": values, "ms": [10**12] * 40}))


def test_columns_go_by_name():
    schema = fit(a=[0.5, 1.5] * 20, b=[2.5, 3.5] * 20)
    first = schema.rows(table(a=[1.0] * 40, b=[2.0] * 40))
    np.testing.assert_array_equal(schema.rows(pa.table({"more": ["?"], "b": [2.0], "a": [1.0]})), first[:1])
    with pytest.raises(DataError, match=r"^table: has no column 'a', which the model learned from; found b, c$"):
        schema.rows(pa.table({"b": [1.0], "c": [1.0]}))


# --- the target


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["1", "3", "7"], ("1", "3", "7")),
        ([7, 1, 3], ("1", "3", "7")),
        (["1", "-1"], ("-1", "1")),
        (["2021", "2019"], ("2019", "2021")),
        (["02", "01"], ("01", "02")),
        (["0.5", "1.5"], ("0.5", "1.5")),
        ([True, False], ("False", "True")),
        (["ship", "horse"], ("horse", "ship")),
        (["None", "Mild"], ("Mild", "None")),
        (["1", "2", "1.0"], ("1", "2")),
        (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
    ],
)
def test_labels_of_any_kind_are_kept_as_names(labels, names):
    data = pa.table({"a": RNG.normal(size=60), "kind": (labels * 60)[:60]})
    schema = Schema.fit(data, target="kind")
    assert (schema.task, schema.class_names) == ("classify", names)
    found = [schema.class_names[i] for i in schema.labels(data)]
    assert [str(label).removesuffix(".0") for label in (labels * 60)[:60]] == found


@pytest.mark.parametrize(
    ("values", "task", "why"),
    [
        (list(range(100, 400)), "regress", "300 different whole numbers in 300 rows"),
        ([i % 250 for i in range(300)], "regress", "250 different whole numbers"),
        ([i % 20 for i in range(300)], "classify", "20 different whole numbers"),
        ([i % 21 for i in range(300)], "regress", "21 different whole numbers"),
        ([i / 7 for i in range(300)], "regress", "300 different numbers"),
        ([i % 5 / 2 for i in range(300)], "classify", "5 different numbers"),
        ([f"{i},5" for i in range(300)], "regress", "300 different numbers"),
        (["a", "b", "c"] * 100, "classify", "names"),
        ([True, False] * 150, "classify", "true and false"),
    ],
)
def test_the_task_is_chosen_and_why_is_said(values, task, why):
    data = pa.table({"a": RNG.normal(size=300), "y": values})
    schema = Schema.fit(data, target="y")
    assert schema.task == task
    assert schema.reason.startswith(f"{task}, as 'y' holds {why}")
    if task == "regress":
        assert schema.labels(data).dtype == np.float64
        assert schema.class_names == ()


def test_a_task_that_is_asked_for():
    data = pa.table({"a": RNG.normal(size=40), "price": [i * 1000 for i in range(20)] * 2})
    assert Schema.fit(data, target="price", task="classify").class_names[:3] == ("0", "1000", "2000")
    numbers = load_dataset(data, target="price", task="regress")
    np.testing.assert_array_equal(numbers.y_train[:3], [0, 1000, 2000])
    assert (numbers.task, numbers.class_names, numbers.n_classes) == ("regress", (), 0)
    assert "task='regress'" in repr(numbers)
    held_out = numbers.with_validation()
    assert (len(held_out.y_train), len(held_out.y_val)) == (36, 4)


@pytest.mark.parametrize("cell", ["inf", "-inf", "Infinity", "+Inf", "1e400", "-1e400"])
@pytest.mark.parametrize("task", ["auto", "regress"])
def test_an_infinite_number_is_no_name(tmp_path, cell, task):
    lines = [f"{i / 7},{cell if i == 3 else i / 9},{'pq'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,kind", *lines]))
    frame = pa.table({"a": [i / 7 for i in range(40)], "b": [line.split(",")[1] for line in lines], "kind": KIND})
    for data in (tmp_path / "t.csv", frame):
        for target, drop in (("b", ["kind"]), ("kind", [])):
            with pytest.raises(DataError, match=r"column 'b': -?inf at row 3, want a finite number or a gap$"):
                load_dataset(data, target=target, task=task if target == "b" else "auto", drop=drop)


def test_several_targets_are_numbers():
    data = pa.table({"a": RNG.normal(size=40), "b": RNG.normal(size=40), "c": [1, 2] * 20})
    found = load_dataset(data, target=["c", "a"])
    assert found.y_train.shape == (40, 2)
    np.testing.assert_array_equal(found.y_train[:, 0], [1, 2] * 20)
    assert found.columns.feature_names == ("b",)
    with pytest.raises(ArgumentError, match="task: classify with the targets c, a, want one target"):
        load_dataset(data, target=["c", "a"], task="classify")


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (None, "no target column named; want one of: kind, a"),
        ("b", "has no column 'b'; want one of: kind, a"),
        ([], "no target column named"),
    ],
)
def test_a_target_that_is_not_there(target, found):
    with pytest.raises(DataError, match=f"^target: table: {found}"):
        Schema.fit(table(a=[0.5, 1.5] * 20), target=target)


def test_targets_that_cannot_be_used():
    for labels, found in (
        ([None, "NA"] * 20, "column 'y': no row has a value, want the target in at least one"),
        (["x"] * 40, "column 'y': 'x' in every row, want at least two classes"),
        ([f"n{i}" for i in range(40)], "column 'y': another text in each of 40 rows, want classes or numbers"),
        (DAYS, "column 'y': dates, want classes or numbers"),
    ):
        with pytest.raises(DataError, match=f"^table: {found}"):
            Schema.fit(pa.table({"a": [0.5, 1.5] * 20, "y": labels}), target="y")
    with pytest.raises(DataError, match="'kind' is the only column"):
        Schema.fit(table(), target="kind")


@pytest.mark.parametrize("gap", [None, "NA", "?"])
def test_rows_without_a_target_are_left_out(gap):
    data = pa.table({"a": [i + 0.5 for i in range(40)], "y": [gap, "x", "y", "None"] * 10})
    with pytest.warns(UserWarning, match=r"^table: 10 of 40 rows have no 'y' and are left out$") as said:
        found = load_dataset(data, target="y")
    assert len(said) == 1
    assert found.class_names == ("None", "x", "y")
    np.testing.assert_array_equal(found.x_train[:3, 0], [1.5, 2.5, 3.5])
    kept, left_out = found.columns.labelled(pa.table({"a": [1, 2], "y": ["x", gap]}))
    assert (kept.num_rows, left_out) == (1, 1)
    with pytest.raises(DataError, match=r"^t: no row has a label in the column 'y'$"):
        found.columns.labelled(pa.table({"a": [1, 2], "y": pa.array([gap, gap], pa.string())}), "t")
    with (
        pytest.warns(UserWarning, match="20 of 40 rows have no 'y'"),
        pytest.raises(DataError, match="column 'y': 'x' in every row, want at least two classes"),
    ):
        Schema.fit(data.set_column(1, "y", pa.array([gap, "x"] * 20)), target="y")


@pytest.mark.filterwarnings("ignore:.* have no 'y'")
@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({"z": float("inf")}, "t.csv: column 'z': inf at row 37, want a finite number or a gap"),
        ({"z": 1e39}, "t.csv: column 'z': beyond 3.4e38 at row 37, want smaller numbers"),
        ({"w": -1.0}, "weight_column: .*t.csv: column 'w': the weight -1.0 at row 37, want a number of at least 0"),
    ],
)
def test_the_row_in_an_error_is_that_of_the_file_where_others_are_left_out(tmp_path, cell, said):
    gaps = [*range(10), 20, 50]
    columns = {"z": [i / 7 for i in range(60)], "w": [1.5] * 60, "y": ["p", "q"] * 30}
    columns["y"] = [None if i in gaps else y for i, y in enumerate(columns["y"])]
    good = pa.table(columns)
    for name, value in cell.items():
        columns[name][37] = value
    pa.csv.write_csv(pa.table(columns), tmp_path / "t.csv")
    with pytest.raises(DataError, match=said):
        load_dataset(tmp_path / "t.csv", target="y", weight_column="w")
    schema = load_dataset(good, target="y", drop=["w"]).columns
    if "z" in cell:
        with pytest.raises(DataError, match=said):
            schema.rows(schema.labelled(pa.table(columns))[0], "t.csv")
    columns["y"][40] = "r"
    with pytest.raises(DataError, match="the class 'r' at row 40, want one of: p, q"):
        schema.labels(schema.labelled(pa.table(columns))[0])


def test_rows_without_a_number_to_predict_are_left_out():
    data = pa.table({"a": [i + 0.5 for i in range(40)], "y": [None, *range(39)], "z": [*range(39), None]})
    for target, rows in (("y", 39), (["y", "z"], 38)):
        with pytest.warns(UserWarning, match=f"{40 - rows} of 40 rows have no 'y'"):
            found = load_dataset(data, target=target, task="regress", drop=["z"] if target == "y" else [])
        assert len(found.y_train) == len(found.x_train) == rows


def test_a_category_that_no_row_has_is_no_class():
    kinds = pa.DictionaryArray.from_arrays([0, 2] * 20, ["x", "never", "z"])
    assert load_dataset(table(a=[0.5, 1.5] * 20, k=kinds), target="k").class_names == ("x", "z")


def test_classes_go_by_name():
    schema = Schema.fit(pa.table({"a": [0.5, 1.5, 2.5] * 9, "kind": ["ant", "bee", "cow"] * 9}), target="kind")
    np.testing.assert_array_equal(schema.labels(pa.table({"kind": ["cow", "ANT", " bee"]})), [2, 0, 1])
    np.testing.assert_array_equal(schema.labels(pa.table({"insect": ["bee"]}), target="insect"), [1])
    with pytest.raises(DataError, match=r"^t: column 'kind': the class 'dog' at row 1, want one of: ant, bee, cow$"):
        schema.labels(pa.table({"kind": ["ant", "dog"]}), "t")
    with pytest.raises(DataError, match=r"^t: has no column 'kind' with the labels; found a$"):
        schema.labels(pa.table({"a": [1]}), "t")
    numbers = Schema.fit(pa.table({"a": [0.5, 1.5, 2.5] * 9, "kind": [1, 3, 7] * 9}), target="kind")
    np.testing.assert_array_equal(numbers.labels(pa.table({"kind": [7.0, 3.0]})), [2, 1])
    both = Schema.fit(pa.table({"a": [0.5, 1.5, 2.5] * 9, "kind": ["ant", "Ant", "bee"] * 9}), target="kind")
    with pytest.raises(DataError, match="the class 'ANT'"):
        both.labels(pa.table({"kind": ["ANT"]}))


# --- saved


@pytest.fixture
def schema():
    cities = ["Bern", None, *["Zug"] * 18, *["Bern"] * 20]
    values = [10**18 + i // 2 for i in range(40)]
    return fit(n=[None, *range(39)], city=cities, d=DAYS, ok=[True, False] * 20, same=[1] * 40, id=values)


def test_a_schema_comes_back_from_json(schema):
    back = Schema.from_description(json.loads(json.dumps(schema.description())))
    assert back.feature_names == schema.feature_names
    assert back.description() == schema.description()
    data = pa.table({"n": [1], "city": ["Bern"], "d": DAYS[:1], "ok": [True], "id": [10**18], "kind": ["y"]})
    np.testing.assert_array_equal(back.rows(data), schema.rows(data))
    np.testing.assert_array_equal(back.labels(data), [1])


@pytest.mark.parametrize(
    "change",
    [
        {"task": "auto"}, {"target": []}, {"target": "kind"}, {"class_names": []}, {"class_names": ["x", "x"]},
        {"wide": 1}, {"reason": None}, {"columns": {}}, {"columns": [{}]}, {"more": 1},
    ],
)  # fmt: skip
def test_a_damaged_schema_is_refused(schema, change):
    with pytest.raises(
        DataError, match=r"^f: .*want what a run has saved|^f: a column or a class of the table is there twice"
    ):
        Schema.from_description({**schema.description(), **change}, "f")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "picture"}, {"name": 3}, {"median": "1"}, {"median": float("nan")}, {"median": 1e301}, {"gap": 1},
        {"offset": 0.5}, {"offset": 1 << 70}, {"offset": True}, {"texts": "ab"}, {"texts": [1]}, {"texts": ["a", "a"]},
        {"parts": ["century"]}, {"form": "%"}, {"unique": True}, {"name": "city"}, {"name": "kind"}, {"other": None},
        {"kind": "date", "median": 1e30}, {"parts": [["year"]]}, {"median": 10**400},
    ],
)  # fmt: skip
def test_a_damaged_column_is_refused(schema, change):
    description = schema.description()
    description["columns"][0] |= change
    with pytest.raises(DataError, match=r"^f: "):
        Schema.from_description(description, "f")
    with pytest.raises(DataError, match=r"^f: "):
        Schema.from_description([description], "f")


# --- times


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([0, 3661, 86399], pa.time32("s")), ["00:00:00", "01:01:01", "23:59:59"]),
        (pa.array([0, 3_661_500, 60_000], pa.time32("ms")), ["0:00", "01:01:01.5", "00:01"]),
        (pa.array([0, 3_661_500_000, 60_000_000], pa.time64("us")), ["0:00", "01:01:01.5", "00:01"]),
        (pa.array([0, 1, 2], pa.timestamp("s", "UTC")), [f"1970-01-01T00:00:0{i}Z" for i in range(3)]),
        (pa.array([0, 1, 2], pa.timestamp("s", "UTC")), [f"1970-01-01T02:00:0{i}+02:00" for i in range(3)]),
        (pa.array([0, 1500, 2250], pa.timestamp("ms")), [f"1970-01-01 00:00:0{t}" for t in ("0.0", "1.5", "2.25")]),
        (pa.array([0, 31, 59], pa.date32()), ["1970 Jan", "1970 February", "1970 Mar"]),
    ],
)
def test_times_are_the_same_as_texts_and_in_whatever_unit_a_file_has_them(values, texts):
    many, written = pa.chunked_array([values] * 13 + [values[:1]]), [*texts * 13, texts[0]]
    of_values, of_texts = fit(a=many), fit(a=written)
    rows = of_values.rows(table(a=many))
    assert of_texts.feature_names == of_values.feature_names
    np.testing.assert_array_equal(of_texts.rows(table(a=written)), rows)
    np.testing.assert_array_equal(of_values.rows(table(a=written)), rows)
    np.testing.assert_array_equal(of_texts.rows(table(a=many)), rows)


ZONED = [
    [f"2020-01-01T{hour:02}:00:00+02:00" for hour in range(20)],
    pa.array([3600 * hour for hour in range(20)], pa.timestamp("s", "Europe/Berlin")),
]
NAIVE = [
    [f"2020-01-01T{hour:02}:00:00" for hour in range(20)],
    [f"2020-01-01 {hour:02}:00" for hour in range(20)],
    pa.array([3600 * hour for hour in range(20)], pa.timestamp("ms")),
]


@pytest.mark.parametrize("first", [ZONED, NAIVE], ids=["zoned", "naive"])
def test_times_with_a_zone_and_without_are_not_mixed(first):
    other, found, wanted = (NAIVE, "without", "with") if first is ZONED else (ZONED, "with", "without")
    for values in first:
        schema = fit(a=pa.chunked_array([values] * 2))
        schema = Schema.from_description(json.loads(json.dumps(schema.description())))
        for more in (*first, [None], [""]):
            assert len(schema.rows(pa.table({"a": more}))) == len(more)
        for more in other:
            with pytest.raises(
                DataError, match=f"column 'a': times {found} a zone, want them {wanted} one as in the tr"
            ):
                schema.rows(pa.table({"a": more}))


def test_the_cell_that_is_no_number_is_named_and_not_one_with_a_comma(tmp_path):
    (tmp_path / "t.csv").write_text("a;y\n" + "1,5;0\n2,5;1\n3,25;0\n" * 9)
    columns = load_dataset(tmp_path / "t.csv", target="y").columns
    with pytest.raises(DataError, match="column 'a': 'k' at row 1, want a number"):
        columns.rows(pa.table({"a": ["1,5", "k", "2,5"]}))
