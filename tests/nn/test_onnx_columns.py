"""A table's network as ONNX: an input for each column, texts and gaps among them, and the predictions of fastff."""

import re
from pathlib import Path

import numpy as np
import pytest

from fastff import Config, DataError, load_dataset
from fastff.runs.build import make_trainer

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
EXPORT = Path(__file__).parents[2] / "docs" / "export.md"


def table(rows=200):
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "size": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(50, 9, rows)),
            "id": 10**15 + rng.integers(0, 9, rows),  # float32 would not tell them apart
            "city": np.where(rng.random(rows) < 0.1, None, rng.choice(["Bern", "Chur", "Genf"], rows)),
            "kind": np.where(np.arange(rows) < 2, "rare", rng.choice(["a", "b"], rows)),
            "new": rng.random(rows) < 0.5,
            "sold": pd.Timestamp("2020-01-30") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
            "price": rng.normal(1000, 300, rows),
        }
    )


def inputs_of(session, frame):
    found = {}
    for wanted in session.get_inputs():
        name, _, part = wanted.name.rpartition(".")
        if wanted.name in frame:
            column = frame[wanted.name]
        else:
            column = frame[name]
            day = (column - pd.Timestamp("1970-01-01")).dt.days
            column = {"year": column.dt.year, "month": column.dt.month, "weekday": column.dt.day_of_week, "day": day}[
                part
            ]
        if wanted.type == "tensor(string)":
            found[wanted.name] = column.fillna("").astype(str).to_numpy(object).reshape(-1, 1)
        else:
            found[wanted.name] = column.to_numpy(np.float64).reshape(-1, 1)
    return found


@pytest.mark.parametrize("bins", [0, 6])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("target", ["price", "city"])
def test_its_inputs_are_the_columns_and_it_predicts_as_fastff_does(target, bins, standardize):
    from fastff.nn.onnx_graph import onnx_bytes

    frame = table()
    if target == "city":
        frame["city"] = frame["city"].fillna("Genf")
    if not standardize:
        frame["id"] %= 9  # which float32 holds as they are
    data = load_dataset(frame, target=target)
    config = Config(epochs=3, hidden=(8,), bins=bins, standardize=standardize, step_size=0.001)
    trainer = make_trainer(config, data.with_validation())
    trainer.fit(data.x_train, data.y_train, data.x_train, data.y_train, epochs=3)
    names = [column.name for column in data.columns.columns]
    session = runtime.InferenceSession(
        onnx_bytes(trainer.network, data.class_names, columns=data.columns), providers=["CPUExecutionProvider"]
    )
    assert {wanted.name.partition(".")[0] for wanted in session.get_inputs()} == set(names)
    frame.loc[0, "kind"] = "never seen"
    frame.loc[1, "kind"] = "A"
    if target != "city":
        frame.loc[2:3, "city"] = ["bern", "GENF"]
    (found,) = session.run(None, inputs_of(session, frame))
    rows, network = data.columns.rows(frame), trainer.network
    expected = network.predict_proba(rows) if target == "city" else network.predict(rows).reshape(-1, 1)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_example_of_the_documents_gives_the_predictions_of_fastff(tmp_path, monkeypatch):
    from fastff.nn.onnx_graph import onnx_bytes

    monkeypatch.chdir(tmp_path)
    rng, code = np.random.default_rng(0), np.arange(200) % 4
    written = pd.DataFrame({"zip": np.array(["01234", "3000", " 8001", None], object)[code],
                            "flag": np.array(["true", "False", "x", ""], object)[code],
                            "size": rng.normal(50, 9, 200), "price": 100.0 * code + rng.normal(size=200)})  # fmt: skip
    written.to_csv("houses.csv", index=False)
    data = load_dataset("houses.csv", target="price", categorical=["zip"])
    trainer = make_trainer(Config(epochs=2, hidden=(8,), bins=6, dropout=0.0), data.with_validation())
    trainer.fit(data.x_train, data.y_train, data.x_train, data.y_train, epochs=2)
    Path("houses.onnx").write_bytes(onnx_bytes(trainer.network, columns=data.columns))
    blocks = re.findall(r"^```python\n(.*?)^```$", EXPORT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (example,) = (block for block in blocks if "houses.csv" in block)
    names = {}
    exec(example, names)
    assert sorted(names["texts"]) == ["flag", "zip"]
    expected = trainer.network.predict(data.x_train)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(names["predictions"][:, 0], expected, rtol=1e-4)


def exported(frame, result="price"):
    """A network for the frame, made without training, and its ONNX model."""
    from fastff.nn.onnx_graph import onnx_bytes

    data = load_dataset(frame, target=result)
    config = Config(hidden=(8,), bins=6, seed=0)
    network = make_trainer(config, data.with_validation()).network
    return network, data, onnx_bytes(network, data.class_names, columns=data.columns)


@pytest.mark.parametrize(
    ("column", "name"),
    [("id", "id/offset"), ("id", "id/median0"), ("city", "city/flag"), ("city", "city/depth"), ("size", "0.mean"),
     ("size", "2.weight"), ("size", "2.weight_"), ("size", "gemm_9"), ("size", "concat_4"), ("size", "rows"),
     ("size", "probabilities"), ("size", "a/b c"), ("sold", "sold/median0")],
)  # fmt: skip
def test_a_column_may_be_called_as_what_is_inside(column, name):
    frame = table()
    frame["id"] *= 128  # of which fastff takes an offset; float64 holds it
    frame = frame[[column, "price"]].assign(**{name: frame["size"] * 2})
    network, data, model = exported(frame)
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert name in {wanted.name for wanted in session.get_inputs()}
    (found,) = session.run(None, inputs_of(session, frame))
    np.testing.assert_allclose(found[:, 0], network.predict(data.x_train), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", ["predictions", "sold.year", ""])
def test_a_column_that_is_called_as_the_output_or_a_part_of_a_date_is_refused(name):
    frame = table()
    with pytest.raises(DataError, match=f"^column '{name}': .*; want it renamed in the table"):
        exported(frame[["sold", "price"]].assign(**{name: frame["size"]}))
