"""Importance of a table's columns: what is shuffled together, and that use and uselessness are told apart."""

import numpy as np
import pytest

from fastff import Config, load_dataset
from fastff.runs.build import make_trainer
from fastff.runs.importance import column_importances

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_a_column_that_decides_is_worth_much_and_others_nothing(task):
    rng = np.random.default_rng(0)
    city = rng.choice(["Bern", "Basel", "Chur", "Genf"], 400)
    frame = pd.DataFrame({"noise": rng.random(400), "city": city, "other": rng.integers(0, 9, 400)})
    frame["target"] = np.where(city > "Bern", "far", "near") if task == "classify" else 10.0 * (city > "Bern")
    data = load_dataset(frame, target="target", task=task)
    trainer = make_trainer(Config(epochs=20, hidden=(16,), bins=4, monitor="train_loss"), data)
    trainer.fit(data.x_train, data.y_train, epochs=20)
    found = column_importances(trainer.network, data.columns, data.x_train, data.y_train)
    assert list(found) == ["noise", "city", "other"]
    # of shuffled cities a share of 2 * 1/2 * 1/2 lies on the other side; r2 falls by twice that share of the variance
    assert found["city"] > 0.15
    assert max(abs(found["noise"]), abs(found["other"])) < 0.1
