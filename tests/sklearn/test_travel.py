"""Fitted estimators are saved and loaded, by joblib as most people do it and by skops, which runs nothing it reads.

Pickle itself is tested in test_estimators.py.
"""

import numpy as np
import pytest

pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")

import joblib

from fastff.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 7))
WORDS = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
OPTIONS = {"hidden_layer_sizes": (20, 9), "max_iter": 5, "random_state": 3, "dropout": 0.1, "threads": 1}


@pytest.fixture(params=["classifier", "regressor"])
def fitted(request):
    """An estimator, and the y that it was fitted to."""
    if request.param == "classifier":
        return MLPClassifier(**OPTIONS, class_weight={"no": 1, "yes": 2}).fit(X, WORDS), WORDS
    return MLPRegressor(**OPTIONS).fit(X, X[:, :2]), X[:, :2]


def assert_equal(again, model, y):
    """The copy has the parameters and predictions of the model, and goes on training as it does."""
    assert again.get_params() == model.get_params()
    predict = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    for _ in range(2):
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        np.testing.assert_array_equal(getattr(again, predict)(X), getattr(model, predict)(X))
        for estimator in (again, model):
            estimator.partial_fit(X, y)


def test_joblib(fitted, tmp_path):
    model, y = fitted
    joblib.dump(model, tmp_path / "model.joblib")
    assert_equal(joblib.load(tmp_path / "model.joblib"), model, y)


def test_skops(fitted):
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    model, y = fitted
    data = io.dumps(model)
    kinds = io.get_untrusted_types(data=data)
    # What one is asked to trust is the estimator, and scikit-learn's optimizer, which partial_fit goes on with
    assert {kind.partition(".")[0] for kind in kinds} <= {"fastff", "sklearn"}
    assert_equal(io.loads(data, trusted=kinds), model, y)
