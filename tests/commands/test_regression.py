"""The commands on numbers to predict: training, and all that follows from the folder of the run."""

import csv
import json

import numpy as np
import pytest
from command_line import refuse, run, succeed

from fastff import Config, Ensemble, load_dataset
from fastff.runs.build import for_data, make_trainer
from fastff.runs.model import load_model
from fastff.runs.run import Run
from fastff.runs.summary import summarise

QUICK = ("--epochs", 12, "--hidden", 16)
RNG = np.random.default_rng(0)
ROWS = 150
SIZE, ROOMS, TOWN = RNG.normal(size=ROWS), RNG.integers(1, 6, ROWS), RNG.choice(["Bern", "Zug"], ROWS)
PRICE = 300_000 + 50_000 * SIZE + 20_000 * ROOMS + 40_000 * (TOWN == "Zug") + 2_000 * RNG.normal(size=ROWS)
RENT = 900 + 100 * SIZE + 50 * RNG.normal(size=ROWS)
VISITS = RNG.poisson(np.exp(0.6 * SIZE + 0.5))


def write(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("homes")
    write(folder / "homes.csv", {"size": SIZE, "rooms": ROOMS, "town": TOWN, "price": PRICE})
    # other columns, in another order, and without the target
    write(folder / "new.csv", {"town": TOWN, "id": range(ROWS), "rooms": ROOMS, "size": SIZE})
    write(folder / "both.csv", {"size": SIZE, "rooms": ROOMS, "price": PRICE, "rent": RENT})
    write(folder / "visits.csv", {"size": SIZE, "rooms": ROOMS, "visits": VISITS})
    where = (folder / "homes.csv", "--target", "price", "--hidden", 16, "--epochs", 150, "--out", folder / "run")
    succeed("train", *where, pictures=True)
    return folder


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def printed(*arguments):
    return json.loads(succeed(*arguments))


def test_the_summary_and_the_metrics_are_of_a_regression(folder):
    summary = summary_of(folder / "run")
    assert summary["task"] == "regress"
    assert summary["test_r2"] > 0.8
    assert 0 < summary["test_mae"] < summary["test_rmse"] < 40_000
    assert not any("accuracy" in name for name in summary)
    figures = ["train_r2", "val_r2", "test_r2", "test_rmse", "test_mae"]
    seconds = ["train_seconds", "prepare_seconds", "compile_seconds", "examples_per_second"]
    names = ["dataset", "task", "epochs", *figures, *seconds, "parameters", "precision", "threads", "seed", "version"]
    assert [name for name in summary if name in names] == names
    last = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["train_accuracy"] is None
    assert last["val_r2"] == pytest.approx(summary["val_r2"], abs=0.2)
    assert {"curves.png", "predicted.png", "residuals.png"} <= {path.name for path in (folder / "run").iterdir()}
    assert not (folder / "run" / "confusion.png").exists()
    assert 'loss = "squared_error"' in (folder / "run" / "config.toml").read_text()


def test_evaluate_gives_the_figures_of_the_summary(folder):
    summary = summary_of(folder / "run")
    found = printed("evaluate", folder / "run", folder / "homes.csv", "--split", "test")
    assert list(found) == ["loss", "rmse", "mae", "r2", "n"]
    assert [found[name] for name in ("loss", "rmse", "mae", "r2")] == [
        summary[f"test_{name}"] for name in ("loss", "rmse", "mae", "r2")
    ]
    assert found["n"] == summary["test_rows"]
    whole = printed("evaluate", folder / "run", folder / "homes.csv")
    model = load_model(folder / "run")
    columns = model.columns.rows(_table(folder / "homes.csv"))
    assert whole["rmse"] == pytest.approx(np.sqrt(np.square(model.network.predict(columns) - PRICE).mean()), rel=1e-6)


def _table(path):
    arrow = pytest.importorskip("pyarrow.csv")
    return arrow.read_csv(path)


def test_predict_writes_numbers_by_the_targets_name(folder, tmp_path):
    model = load_model(folder / "run")
    expected = model.predict(_table(folder / "new.csv"))
    assert (expected.dtype, expected.shape) == (np.float64, (ROWS,))
    for name in ("a.csv", "a.npy", "a.npz"):
        succeed("predict", folder / "run", folder / "new.csv", "--out", tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["predictions"], expected)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["row", "price"]
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], expected, rtol=1e-8)
    assert np.corrcoef(expected, PRICE)[0, 1] > 0.9


def test_several_targets_are_predicted_together(folder, tmp_path):
    data = load_dataset(folder / "both.csv", target=["price", "rent"], test_share=0.2).with_validation()
    options = for_data(Config(hidden=(16,), epochs=30, batch_size=16, out=str(tmp_path / "run")), data)
    trainer = make_trainer(options, data)
    run_of_both = Run(options, trainer, data)
    with run_of_both.start(resume=False):
        trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=30)
        trainer.restore_best()
        run_of_both.save()
        summary, answers = summarise(run_of_both, data)
    model = load_model(tmp_path / "run")
    assert model.outputs == ("price", "rent")
    succeed("predict", tmp_path / "run", folder / "both.csv", "--out", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["row", "price", "rent"]
    expected = model.predict(_table(folder / "both.csv"))
    np.testing.assert_allclose(np.array(rows[1:], float)[:, 1:], expected, rtol=1e-8)
    found = printed("evaluate", tmp_path / "run", folder / "both.csv", "--split", "test")
    assert found["rmse"] == summary["test_rmse"]
    assert found["r2"] > 0.5
    assert answers.shape == data.y_test.shape


def test_a_run_is_resumed_with_the_same_bits(folder, tmp_path):
    table = (folder / "homes.csv", "--target", "price", "--hidden", 16, "--schedule", "constant")
    succeed("train", *table, "--epochs", 9, "--out", tmp_path / "whole")
    succeed("train", *table, "--epochs", 4, "--out", tmp_path / "parts")
    succeed("train", "--resume", "--epochs", 9, "--out", tmp_path / "parts")
    one, two = (load_model(tmp_path / name).network.parameters() for name in ("whole", "parts"))
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
    assert [summary_of(tmp_path / name)["test_rmse"] for name in ("whole", "parts")] == [
        summary_of(tmp_path / "whole")["test_rmse"]
    ] * 2


@pytest.mark.parametrize("loss", ["absolute_error", "poisson"])
def test_other_losses(folder, tmp_path, loss):
    table = ("visits.csv", "visits") if loss == "poisson" else ("homes.csv", "price")
    where = (folder / table[0], "--target", table[1], "--task", "regress", "--loss", loss, *QUICK, "--epochs", 60)
    succeed("train", *where, "--out", tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert model.loss == loss
    found = printed("evaluate", tmp_path / "run", folder / table[0])
    assert found["r2"] > 0.3
    guesses = model.predict(_table(folder / table[0]))
    assert (guesses > 0).all()
    if loss == "poisson":
        assert found["loss"] == pytest.approx((guesses - VISITS * np.log(guesses)).mean(), rel=1e-9)


def test_seeds_average_their_predictions(folder, tmp_path):
    result = run("train", folder / "homes.csv", "--target", "price", *QUICK, "--seeds", 2, "--out", tmp_path / "two")
    assert result.out.startswith("homes: r2 test ")
    figures = json.loads((tmp_path / "two" / "seeds.json").read_text())
    assert figures["test_r2"]["values"] == [summary_of(tmp_path / "two" / f"seed-{i}")["test_r2"] for i in range(2)]
    model = load_model(tmp_path / "two")
    assert isinstance(model.network, Ensemble)
    assert model.task == "regress"
    found = printed("evaluate", tmp_path / "two", folder / "homes.csv", "--split", "test")
    assert found["rmse"] == figures["ensemble"]["test_rmse"]
    parts = [load_model(tmp_path / "two" / f"seed-{i}").predict(_table(folder / "new.csv")) for i in range(2)]
    np.testing.assert_allclose(model.predict(_table(folder / "new.csv")), sum(parts) / 2, rtol=1e-12)


def test_onnx_predicts_in_the_targets_units(folder, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    said = succeed("export", folder / "run", "--out", tmp_path / "m.onnx")
    assert said.strip().endswith("to predictions (N, 1)")
    model = load_model(folder / "run")
    rows = model.columns.rows(_table(folder / "new.csv"))
    columns = {"size": SIZE, "rooms": ROOMS.astype(np.float64), "town": TOWN.astype(object)}
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["predictions"], {name: values[:, None] for name, values in columns.items()})
    np.testing.assert_allclose(found[:, 0], model.network.predict(rows), rtol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["outputs"]) == ["price"]


def test_a_report_is_written(folder):
    pytest.importorskip("typst")
    succeed("report", folder / "run")
    html = (folder / "run" / "report.html").read_text()
    assert "Test r2" in html
    assert "Regression, trained with fastff" in html


def test_tune_searches_by_r2(folder, tmp_path):
    pytest.importorskip("optuna")
    more = ("--trials", 2, "--jobs", 1, "--epochs", 4, "--out", tmp_path / "tuned")
    assert run("tune", folder / "homes.csv", "--target", "price", *more).out.startswith("homes: best validation r2 ")
    with (tmp_path / "tuned" / "trials.csv").open() as file:
        assert "val_r2" in next(csv.reader(file))
    succeed("train", "--config", tmp_path / "tuned" / "best.toml", "--epochs", 2, "--out", tmp_path / "run")


def test_arrays_of_numbers(folder, tmp_path):
    X = np.column_stack([SIZE, ROOMS])
    arrays = {"x_train": X[:100], "y_train": PRICE[:100], "x_test": X[100:], "y_test": PRICE[100:]}
    np.savez(tmp_path / "homes.npz", **arrays)
    (tmp_path / "npy").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "npy" / f"{name}.npy", array)
    refuse(tmp_path, "train", tmp_path / "homes.npz", status=1, saying=["y_train", "or task regress for numbers"])
    for place in ("homes.npz", "npy"):
        run_dir = tmp_path / f"run-{place}"
        succeed("train", tmp_path / place, "--task", "regress", *QUICK, "--out", run_dir)
        found = printed("evaluate", run_dir, tmp_path / place)
        assert found["rmse"] == summary_of(run_dir)["test_rmse"]
        succeed("predict", run_dir, tmp_path / "npy" / "x_test.npy", "--out", tmp_path / "p.csv")
        assert (tmp_path / "p.csv").read_text().startswith("row,prediction\n0,")
    whole = load_dataset(tmp_path / "homes.npz", task="regress")
    assert (whole.task, whole.y_test.dtype, whole.class_names) == ("regress", np.float64, ())


@pytest.mark.parametrize(
    ("more", "saying"),
    [
        (["--loss", "cross_entropy"], "loss: cross_entropy for the numbers of homes, want another, or task classify"),
        (["--monitor", "val_accuracy"], "monitor: val_accuracy for numbers to predict, want val_r2 or val_loss"),
        (["--class-weight", "balanced"], "--class-weight: 'balanced' for numbers to predict"),
        (["--target", "town", "--loss", "poisson"], "loss: poisson for the classes of homes"),
    ],
)
def test_what_only_the_other_task_has_is_refused(folder, tmp_path, more, saying):
    table = (folder / "homes.csv", "--target", "price", *more, "--out", tmp_path / "run")
    refuse(tmp_path, "train", *table, status=2, saying=[saying])


def test_probabilities_of_a_regression_are_refused(folder):
    result = run("evaluate", folder / "run", folder / "homes.csv", "--tta")
    assert result.status == 1
    assert "--tta changes pictures" in result.err
