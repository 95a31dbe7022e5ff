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
    succeed("train", flowers, "--epochs", 1, "--out", tmp_path / "run")
    refuse(tmp_path, "evaluate", tmp_path / "run", trained / "t.csv", "--target", "kind", status=1,
           saying="the model was trained without names of columns")  # fmt: skip


def test_the_splits_of_a_table_are_found_again(trained, tmp_path):
    summary = json.loads((trained / "run" / "summary.json").read_text())
    counts = {"train": 86, "val": 10, "test": 24}
    for split, rows in counts.items():
        figures = evaluated(trained, trained / "t.csv", "--split", split)
        assert (figures["n"], figures["accuracy"]) == (rows, summary[f"{split}_accuracy"])
    reordered = {name: COLUMNS[name] for name in ("kind", "noise", "city", "width")}
    assert evaluated(trained, write(tmp_path / "t.tsv", reordered, "\t"), "--split", "train") == evaluated(
        trained, trained / "t.csv", "--split", "train"
    )
    for columns, found in (
        ({name: values[1:] for name, values in COLUMNS.items()}, "(119 rows with labels, want the same 120 rows)"),
        ({name: values[::-1] for name, values in COLUMNS.items()}, "(other values, want the same 120 rows)"),
    ):
        path = write(tmp_path / "o.csv", columns)
        refuse(tmp_path, "evaluate", trained / "run", path, "--split", "test", status=1,
               saying=["o.csv: another table than the model was trained on", found])  # fmt: skip


def test_a_run_that_goes_on_keeps_its_splits(trained, tmp_path):
    options = ("--target", "kind", "--test-share", 0.3, "--seed", 5)
    succeed("train", trained / "t.csv", *options, "--epochs", 1, "--out", tmp_path / "run")
    config = (tmp_path / "run" / "config.toml").read_text()
    assert "test_share = 0.3\n" in config
    assert "split_seed = 5\n" in config
    succeed("train", "--resume", "--epochs", 2, "--out", tmp_path / "run")
    assert json.loads(succeed("evaluate", tmp_path / "run", trained / "t.csv", "--split", "test"))["n"] == 36
    for option in (("--test-share", 0.2), ("--split-seed", 4), ("--test", trained / "t.csv", "--test-share", 0)):
        result = run("train", "--resume", "--epochs", 3, *option, "--out", tmp_path / "run")
        assert result.status == 1
        assert "was trained on other rows than these options hold out" in result.err
    assert run("train", trained / "t.csv", *options, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "s").status == 0
    splits = [load_model(tmp_path / "s" / name).split for name in ("seed-5", "seed-6", "")]
    assert splits == [load_model(tmp_path / "run").split] * 3


def test_test_rows_may_be_none_or_of_another_file(trained, tmp_path):
    options = ("--target", "kind", "--epochs", 2)
    succeed("train", trained / "t.csv", *options, "--test-share", 0, "--out", tmp_path / "none")
    assert json.loads((tmp_path / "none" / "summary.json").read_text())["test_accuracy"] is None
    other = write(tmp_path / "other.csv", {name: values[:50] for name, values in COLUMNS.items()})
    succeed("train", trained / "t.csv", *options, "--test", other, "--out", tmp_path / "file")
    summary = json.loads((tmp_path / "file" / "summary.json").read_text())
    assert json.loads(succeed("evaluate", tmp_path / "file", other))["accuracy"] == summary["test_accuracy"]
    for name, cure in (("none", "want another --split"), ("file", f"want {other} without --split")):
        refuse(tmp_path, "evaluate", tmp_path / name, trained / "t.csv", "--split", "test", status=1,
               saying=f"no test rows were held out of its table, {cure}")  # fmt: skip
    both = ("--test", other, "--test-share", 0.2)
    refuse(tmp_path, "train", trained / "t.csv", *options, *both, "--out", tmp_path / "x", status=2,
           saying="--test-share: 0.2 beside the test rows in")  # fmt: skip
    for option in (("--test-share", 0.1), ("--test", other), ("--weight-column", "noise"), ("--split-seed", 1)):
        refuse(tmp_path, "train", "digits", *option, "--out", tmp_path / "x", status=2, saying="only for tables")


@pytest.mark.filterwarnings("default::UserWarning")
def test_rows_without_a_target_are_left_out_but_of_predictions(trained, tmp_path):
    kinds = [None if i % 10 == 0 else kind for i, kind in enumerate(COLUMNS["kind"])]
    path = write(tmp_path / "gaps.csv", {**COLUMNS, "kind": kinds})
    result = run("train", path, "--target", "kind", "--epochs", 2, "--out", tmp_path / "run")
    assert result.err == f"warning: {path}: 12 of 120 rows have no 'kind' and are left out\n"
    result = run("evaluate", tmp_path / "run", path)
    assert json.loads(result.out)["n"] == 108
    assert result.err == f"warning: {path}: 12 of 120 rows have no label and are left out\n"
    succeed("predict", tmp_path / "run", path, "--out", tmp_path / "o.csv")
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 121


def test_weights_of_classes_and_rows_change_what_is_learned(tmp_path):
    rng = np.random.default_rng(0)
    rare = rng.random(600) < 0.1
    columns = {"a": np.round(rng.normal(size=600) + 1.2 * rare, 3), "w": np.where(rare, 9.0, 1.0), "kind": rare}
    path = write(tmp_path / "t.csv", columns)
    found = {}
    for name, options in (
        ("plain", ("--drop", "w")),
        ("balanced", ("--drop", "w", "--class-weight", "balanced")),
        ("weighted", ("--weight-column", "w")),
        ("both", ("--weight-column", "w", "--class-weight", "balanced")),
    ):
        succeed("train", path, "--target", "kind", "--monitor", "train_loss", *options, "--out", tmp_path / name)
        model = load_model(tmp_path / name)
        assert model.columns.feature_names == ("a",)
        found[name] = model.predict_proba(pa.table({"a": [0.6]}))[0, 1]
    assert found["plain"] < 0.3 < found["balanced"] < found["both"]
    assert found["weighted"] == pytest.approx(found["balanced"], abs=0.05)
    assert found["both"] > 0.8


def test_the_epoch_of_the_best_auc_is_kept(trained, tmp_path):
    options = ("--target", "kind", "--epochs", 3, "--monitor", "val_auc")
    out = succeed("train", trained / "t.csv", *options, "--out", tmp_path / "run")
    assert "the best in val_auc; " in out
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["val_auc"] == max(line["val_auc"] for line in lines)
    succeed("train", "--resume", "--epochs", 4, "--out", tmp_path / "run")


def test_a_price_is_not_trained_as_classes(tmp_path):
    prices = [1000 + 37 * i for i in range(120)]
    write(tmp_path / "t.csv", {**COLUMNS, "price": prices})
    result = run("train", tmp_path / "t.csv", "--target", "price", "--epochs", 1, "--out", tmp_path / "run")
    assert result.out.startswith("task regress, as 'price' holds 120 different whole numbers in 120 rows")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["task"] == "regress"


@pytest.mark.filterwarnings("default::UserWarning")
def test_ids_of_16_digits_are_named_in_a_warning_and_keep_their_differences(tmp_path):
    write(tmp_path / "t.csv", {"id": [4 * 10**15 + i for i in range(120)], **COLUMNS})
    result = run("train", tmp_path / "t.csv", "--target", "kind", "--epochs", 2, "--out", tmp_path / "run")
    assert result.status == 0
    assert result.err == (
        f"warning: {tmp_path / 't.csv'}: column 'id': is another whole number in every row: an id? then drop it\n"
    )
    arrays, _ = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert arrays["0.std"][0] == pytest.approx(120 / 2, rel=0.15)  # the distance between the quarters
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
