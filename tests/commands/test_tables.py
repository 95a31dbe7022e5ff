"""Tables through the commands: what the training saw is matched by name, and what cannot be matched is refused."""

import csv
import json

import numpy as np
import pytest
from command_line import refuse, run, succeed

from fastff.runs.model import load_model
from fastff.system import checkpoint

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def make_columns(rows=120):
    rng = np.random.default_rng(0)
    kinds = rng.choice([1, 3, 7], rows)
    return {
        "width": np.round(kinds + 0.2 * rng.normal(size=rows), 3).tolist(),
        "city": [{1: "Bern", 3: "Zug", 7: "Chur"}[kind] for kind in kinds],
        "noise": np.round(rng.normal(size=rows), 3).tolist(),
        "kind": kinds.tolist(),
    }


COLUMNS = make_columns()


def write(path, columns, separator=","):
    with open(path, "w", newline="") as file:
        lines = csv.writer(file, delimiter=separator)
        lines.writerow(columns)
        lines.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    write(folder / "t.csv", COLUMNS)
    out = succeed("train", folder / "t.csv", "--target", "kind", "--epochs", 30, "--out", folder / "run")
    assert out.splitlines()[0].startswith("task classify, as 'kind' holds 3 different whole numbers in 120 rows")
    return folder


def evaluated(trained, path, *options):
    return json.loads(succeed("evaluate", trained / "run", path, *options))


def test_columns_in_another_order_and_more_of_them_score_the_same(trained, tmp_path):
    first = evaluated(trained, trained / "t.csv")
    assert first["accuracy"] > 0.95
    assert first["n"] == 120
    reordered = {"more": ["?"] * 120, **{name: COLUMNS[name] for name in ("kind", "noise", "city", "width")}}
    assert evaluated(trained, write(tmp_path / "r.tsv", reordered, "\t")) == first
    renamed = {("sort" if name == "kind" else name): values for name, values in COLUMNS.items()}
    assert evaluated(trained, write(tmp_path / "n.csv", renamed), "--target", "sort") == first


def test_a_file_with_some_of_the_classes_scores_them_by_name(trained, tmp_path):
    some = [i for i, kind in enumerate(COLUMNS["kind"]) if kind == 7]
    only = {name: [values[i] for i in some] for name, values in COLUMNS.items()}
    assert evaluated(trained, write(tmp_path / "s.csv", only))["accuracy"] > 0.95
    floats = {**only, "kind": [float(kind) for kind in only["kind"]]}
    assert evaluated(trained, write(tmp_path / "f.csv", floats))["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"width": None}, "has no column 'width', which the model learned from; found city, noise, kind"),
        ({"kind": [9] * 120}, "column 'kind': the class '9' at row 0, want one of: 1, 3, 7"),
        ({"kind": None}, "has no column 'kind' with the labels"),
        ({"width": ["wide"] * 120}, "column 'width': 'wide' at row 0, want a number"),
    ],
)
def test_what_cannot_be_matched_is_refused(trained, tmp_path, change, saying):
    columns = {name: values for name, values in {**COLUMNS, **change}.items() if values is not None}
    path = write(tmp_path / "t.csv", columns)
    refuse(tmp_path, "evaluate", trained / "run", path, status=1, saying=["t.csv", saying])
    if "kind" not in change:
        refuse(tmp_path, "predict", trained / "run", path, "--out", tmp_path / "o.csv", status=1, saying=saying)


def test_a_missing_header_and_names_that_are_there_twice_are_refused(trained, tmp_path):
    lines = (trained / "t.csv").read_text().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text("".join(lines[1:]))
    refuse(tmp_path, "predict", trained / "run", tmp_path / "t.csv", "--out", tmp_path / "o.csv", status=1,
           saying="line 1, column 1")  # fmt: skip
    (tmp_path / "t.csv").write_text("width,city,width,kind\n" + "".join(lines[1:]))
    refuse(
        tmp_path, "evaluate", trained / "run", tmp_path / "t.csv", status=1, saying="line 1, column 3: 'width' again"
    )


def test_predict_takes_tables_with_or_without_the_target(trained, tmp_path):
    columns = {"city": ["Chur", "Paris", ""], "noise": [0, 1, 2], "width": [7, 1, 3]}
    succeed("predict", trained / "run", write(tmp_path / "t.csv", columns, ";"), "--out", tmp_path / "o.csv")
    with open(tmp_path / "o.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names[0] == "7"
    succeed(
        "predict",
        trained / "run",
        write(tmp_path / "u.csv", {**columns, "kind": ["x"] * 3}),
        "--out",
        tmp_path / "p.csv",
    )
    assert (tmp_path / "p.csv").read_text() == (tmp_path / "o.csv").read_text()
    model = load_model(trained / "run")
    assert model.predict(pa.table({**columns, "city": ["Chur", "Paris", None]})).tolist() == names
    np.save(tmp_path / "t.npy", np.zeros((2, len(model.columns.feature_names))))
    refuse(tmp_path, "predict", trained / "run", tmp_path / "t.npy", "--out", tmp_path / "q.csv", status=1,
           saying="an array, whose columns have no names")  # fmt: skip


def test_a_tables_model_and_other_data_do_not_go_together(trained, tmp_path, flowers):
    refuse(tmp_path, "evaluate", trained / "run", "digits", status=1, saying="digits: want a table")
    refuse(tmp_path, "evaluate", trained / "run", trained / "t.csv", "--split", "val", status=1, saying="one split")
    succeed("train", flowers, "--epochs", 1, "--out", tmp_path / "run")
    refuse(tmp_path, "evaluate", tmp_path / "run", trained / "t.csv", "--target", "kind", status=1,
           saying="the model was trained without names of columns")  # fmt: skip


def test_a_price_is_not_trained_as_classes(tmp_path):
    prices = [1000 + 37 * i for i in range(120)]
    write(tmp_path / "t.csv", {**COLUMNS, "price": prices})
    refuse(tmp_path, "train", tmp_path / "t.csv", "--target", "price", "--out", tmp_path / "run", status=1,
           saying=["regress, as 'price' holds 120 different whole numbers", "want task classify"])  # fmt: skip


@pytest.mark.filterwarnings("default::UserWarning")
def test_ids_of_16_digits_are_named_in_a_warning_and_keep_their_differences(tmp_path):
    write(tmp_path / "t.csv", {"id": [4 * 10**15 + i for i in range(120)], **COLUMNS})
    result = run("train", tmp_path / "t.csv", "--target", "kind", "--epochs", 2, "--out", tmp_path / "run")
    assert result.status == 0
    assert result.err == (
        f"warning: {tmp_path / 't.csv'}: column 'id': is another whole number in every row: an id? then drop it\n"
    )
    arrays, _ = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert arrays["0.std"][0] == pytest.approx(120 / 12**0.5, rel=0.05)
    options = ("--target", "kind", "--epochs", 2, "--drop", "id", "noise", "--categorical", "width")
    succeed("train", tmp_path / "t.csv", *options, "--out", tmp_path / "other")
    assert 'drop = [\n    "id",\n    "noise",\n]' in (tmp_path / "other" / "config.toml").read_text()
    assert not [name for name in load_model(tmp_path / "other").columns.feature_names if name in ("id", "noise")]


def test_a_run_goes_on_and_several_seeds_keep_the_columns(trained, tmp_path):
    options = ("--target", "kind", "--task", "classify")
    succeed("train", trained / "t.csv", *options, "--epochs", 1, "--out", tmp_path / "run")
    succeed("train", "--resume", "--epochs", 2, "--out", tmp_path / "run")
    assert load_model(tmp_path / "run").columns.columns == load_model(trained / "run").columns.columns
    assert (
        run("train", trained / "t.csv", *options, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "many").status == 0
    )
    assert load_model(tmp_path / "many").columns.class_names == ("1", "3", "7")


def test_a_damaged_schema_in_a_run_is_one_line(trained, tmp_path):
    arrays, notes = checkpoint.load(trained / "run" / "best.safetensors")
    for columns in ({}, [], {**notes["columns"], "columns": []}, {**notes["columns"], "class_names": ["1", "3", "9"]}):
        checkpoint.save(tmp_path / "best.safetensors", arrays, {**notes, "columns": columns})
        refuse(tmp_path, "evaluate", tmp_path, trained / "t.csv", status=1, saying="best.safetensors: ")


def test_an_export_says_what_its_rows_are(trained, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    succeed("export", trained / "run", "--out", tmp_path / "m.onnx")
    notes = {entry.key: entry.value for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(notes["feature_names"])[0] == "width"
    assert json.loads(notes["columns"])["target"] == ["kind"]
