"""What a scikit-learn user's program does around a fit: validation sets, pipelines, threads, divergence, ONNX."""

import gc
import pickle
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")

from scipy import sparse
from sklearn import config_context, neural_network
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fastff.sklearn import MLPClassifier, MLPRegressor, forward

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DOC = Path(__file__).resolve().parents[2] / "docs/sklearn.md"
RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 7))
THREE, WORDS = X[:, :3].argmax(1), np.array(["ham", "rye", "tea"])[X[:, :3].argmax(1)]
MANY, NUMBERS = (X[:, :3] > 0).astype(int), X[:, :2]
OPTIONS = {"hidden_layer_sizes": (20, 9), "batch_size": 32, "max_iter": 4, "random_state": 3}

# --- validation sets ---


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weights", [None, RNG.random(50)])
@pytest.mark.parametrize(
    ("kind", "y"), [(MLPClassifier, WORDS), (MLPClassifier, MANY), (MLPRegressor, NUMBERS), (MLPRegressor, X[:, :1])]
)
def test_a_validation_set_by_either_name(kind, y, weights, early_stopping):
    y = y if y.shape[1:] != (1,) else y[:, 0]
    one, other = (kind(**OPTIONS, early_stopping=early_stopping) for _ in range(2))
    one.fit(X[:100], y[:100], validation_data=(X[100:], y[100:], weights))
    other.fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:], sample_weight_val=weights)
    assert one.validation_scores_ == other.validation_scores_
    assert one.validation_loss_curve_ == other.validation_loss_curve_
    assert len(one.validation_scores_) == len(one.validation_loss_curve_) == one.n_iter_
    assert "_validation" not in vars(one)


def test_curves_go_on_in_a_warm_start_and_end_with_the_set():
    model = MLPClassifier(**OPTIONS, warm_start=True)
    for _ in range(2):
        model.fit(X[:100], WORDS[:100], X_val=X[100:], y_val=WORDS[100:])
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == len(model.loss_curve_) == 8
    model.set_params(warm_start=False).fit(X[:100], WORDS[:100])
    assert not hasattr(model, "validation_loss_curve_")
    assert model.validation_scores_ is None


WRONG = {
    "never trained": (WORDS, X, np.where(WORDS == "ham", "soup", WORDS), r"^{y}: has 'soup', never trained, .*'ham'"),
    "numbers for words": (WORDS, X, THREE, r"^{y}: has 0, 1, 2, never trained"),
    "another number": (THREE, X, THREE + 1, r"^{y}: has 3, never trained, want labels among \[0, 1, 2\]"),
    "fewer labels": (THREE, X, THREE[:-1], r"inconsistent numbers of samples"),
    "fewer columns": (MANY, X, MANY[:, :2], r"^{y}: 2 outputs, want 3"),
    "one output": (NUMBERS, X, NUMBERS[:, 0], r"^{y}: 1 outputs, want 2"),
    "a NaN": (NUMBERS, X, NUMBERS * np.nan, r"{y} contains NaN"),
    "fewer features": (NUMBERS, X[:, :3], NUMBERS, r"7 features"),
    "too large": (NUMBERS, X * 1e60, NUMBERS, r"^Input {x} contains .*float32"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_data_that_do_not_fit_are_refused_by_name(case, early_stopping):
    y, X_val, y_val, message = WRONG[case]
    kind = MLPRegressor if y is NUMBERS else MLPClassifier
    model = kind(**OPTIONS, early_stopping=early_stopping)
    for given, names in (
        ({"X_val": X_val, "y_val": y_val}, {"x": "X_val", "y": "y_val"}),
        ({"validation_data": (X_val, y_val)}, {"x": "validation_data's X", "y": "validation_data's y"}),
    ):
        with pytest.raises(ValueError, match=message.format(**names)):
            model.fit(X, y, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": X}, r"^y_val: missing"),
        ({"y_val": THREE}, r"^X_val: missing"),
        ({"sample_weight_val": THREE}, r"^X_val: missing"),
        ({"validation_data": (X, THREE), "X_val": X, "y_val": THREE}, r"^validation_data: given beside"),
        ({"X_val": X, "y_val": THREE, "sample_weight_val": -np.ones(150)}, "Negative"),
    ],
)
def test_half_a_validation_set_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**OPTIONS).fit(X, THREE, **given)


def test_a_pipeline_transforms_the_validation_set():
    """As with HistGradientBoosting: https://scikit-learn.org/stable/metadata_routing.html."""
    shifted, y = X * 100 + 1000, WORDS
    with config_context(enable_metadata_routing=True):
        last = MLPClassifier(**OPTIONS).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("net", last)], transform_input=["X_val"])
        pipeline.fit(shifted[:100], y[:100], X_val=shifted[100:], y_val=y[100:])
    scale = StandardScaler().fit(shifted[:100])
    by_hand = MLPClassifier(**OPTIONS)
    by_hand.fit(scale.transform(shifted[:100]), y[:100], X_val=scale.transform(shifted[100:]), y_val=y[100:])
    assert pipeline[-1].validation_loss_curve_ == by_hand.validation_loss_curve_


# --- targets ---

METHODS = {
    "fit": {}, "few rows": {}, "partial_fit": {}, "lbfgs": {"solver": "lbfgs"}, "X_val": {}, "validation_data": {}
}  # fmt: skip


def fit_to(y, method, **options):
    """Fit to numbers above 0 and, in the place that the method names, to y."""
    model, fine = MLPRegressor(**OPTIONS, **METHODS[method], **options), np.abs(X[:, 0])
    rows = slice(40 if method == "few rows" else None)
    if method == "X_val":
        return model.fit(X, fine, X_val=X, y_val=y)
    if method == "validation_data":
        return model.fit(X, fine, validation_data=(X, y))
    return (model.partial_fit if method == "partial_fit" else model.fit)(X[rows], y[rows])


def name_in(method):
    return {"X_val": "y_val", "validation_data": "validation_data's y"}.get(method, "y")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lbfgs of scikit-learn 1.7 with a newer SciPy
@pytest.mark.parametrize("kind", [float, object, np.float32])
@pytest.mark.parametrize("method", METHODS)
def test_negative_targets_of_poisson_are_refused(method, kind):
    y = np.abs(X[:, 0]).astype(kind)
    y[[3, 7]] = -0.5, -2
    with pytest.raises(
        ValueError, match=rf"^{name_in(method)}: -0.5 at row 3, want numbers of 0 or more for loss='poi"
    ):
        fit_to(y, method, loss="poisson")
    fit_to(y, method)  # squared errors have no limit
    y[[3, 7]] = 0
    fit_to(y, method, loss="poisson")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["U9", "S9", "m8[s]", "M8[s]", "f4,f4", "V8"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("method", METHODS)
def test_targets_that_are_no_numbers_are_refused(method, loss, kind):
    y = np.arange(150).astype(kind)
    with pytest.raises(TypeError, match=rf"^{name_in(method)}: values of dtype .*, want numbers \(y.astype.*\)$"):
        fit_to(y, method, loss=loss)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "Input y_val contains NaN"),
        (np.inf, "Input y_val contains infinity"),
        ("a", "y_val: objects that are no numbers"),
    ],
)
def test_targets_of_a_validation_set_in_objects_are_named(value, message):
    y = np.arange(150).astype(object)
    y[3] = value
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        MLPRegressor(max_iter=2, early_stopping=True).fit(X[:150], np.arange(150), X_val=X[:150], y_val=y)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", [object, bool, np.int8, np.float16, np.longdouble])
@pytest.mark.parametrize("method", METHODS)
def test_targets_of_every_type_of_numbers(method, kind):
    y = np.arange(150).astype(kind)
    plain, other = (fit_to(values, method) for values in (y.astype(float), y))
    np.testing.assert_allclose(plain.predict(X), other.predict(X), rtol=1e-5)


# --- divergence ---


@pytest.mark.parametrize(
    ("solver", "step_size", "early_stopping"), [("sgd", 1e3, True), ("sgd", 1e3, False), ("adam", 1e25, True)]
)
@pytest.mark.parametrize("rows", [150, 40])
def test_a_diverging_fit_ends_as_scikit_learns(rows, solver, step_size, early_stopping):
    """With early stopping the best finite weights stay; otherwise that there are none is an error."""
    ends = []
    for kind in (MLPRegressor, neural_network.MLPRegressor):
        model = kind(**{**OPTIONS, "max_iter": 15}, solver=solver, activation="identity", early_stopping=early_stopping)
        model.set_params(learning_rate_init=step_size, n_iter_no_change=20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            if not early_stopping:
                with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
                    model.fit(X[:rows], NUMBERS[:rows])
                continue
            model.fit(X[:rows], NUMBERS[:rows])
        assert all(np.isfinite(c).all() for c in (*model.coefs_, *model.intercepts_))
        ends.append((model.n_iter_, len(model.loss_curve_), [type(s) for s in model.validation_scores_]))
        if solver == "sgd":
            assert np.isnan(model.validation_scores_[-1])
            assert np.isnan(model.loss_curve_[-1])
    assert not early_stopping or ends[0] == ends[1]


# --- threads and callbacks ---


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("rows", [150, 40])
def test_four_fits_of_one_estimator_at_once_fail_clearly(rows, method):
    """One goes on, the others say why they do not; so does whoever comes while it runs, and nothing is left behind."""
    model = MLPRegressor(**OPTIONS)
    inside, go_on, failed = threading.Event(), threading.Event(), []

    class Slow:
        shape, ndim, dtype = X[:rows].shape, 2, X.dtype

        def __len__(self):
            return rows

        def __array__(self, dtype=None, copy=None):
            inside.set()
            go_on.wait(60)
            return X[:rows].astype(dtype or X.dtype)

    first = threading.Thread(target=lambda: getattr(model, method)(Slow(), NUMBERS[:rows]))
    first.start()
    assert inside.wait(60)

    def other():
        try:
            getattr(model, method)(X[:rows], NUMBERS[:rows])
        except RuntimeError as error:
            failed.append(str(error))

    others = [threading.Thread(target=other) for _ in range(3)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(60)
    assert (
        failed
        == ["this MLPRegressor is being fitted already, want an estimator for each thread (sklearn.base.clone)"] * 3
    )
    separate = clone(model).fit(X[:rows], NUMBERS[:rows])  # another estimator is another matter
    go_on.set()
    first.join(60)
    assert not first.is_alive()
    if method == "fit":
        np.testing.assert_array_equal(model.coefs_[0], separate.coefs_[0])
    getattr(model, method)(X[:rows], NUMBERS[:rows])


def test_two_estimators_in_two_threads_give_what_each_gives_alone():
    alone = [MLPClassifier(**{**OPTIONS, "random_state": i}).fit(X, THREE).coefs_[0] for i in range(4)]
    models = [MLPClassifier(**{**OPTIONS, "random_state": i}) for i in range(4)]
    threads = [threading.Thread(target=model.fit, args=(X, THREE)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for model, expected in zip(models, alone, strict=True):
        np.testing.assert_array_equal(model.coefs_[0], expected)


def test_a_fit_from_on_epoch_is_refused_and_the_estimator_can_be_used_again():
    model = MLPClassifier(**OPTIONS, on_epoch=lambda m: m.fit(X, THREE))
    with pytest.raises(RuntimeError, match="is being fitted already"):
        model.fit(X, THREE)
    model.set_params(on_epoch=None).fit(X, THREE)


def test_many_threads_predict_with_one_estimator():
    model, failed = MLPClassifier(**OPTIONS).fit(X, THREE), []
    expected = model.predict_proba(X)

    def predict(start):
        for i in range(start, start + 30):
            if (model.predict_proba(X[i : i + 9]) != expected[i : i + 9]).any():
                failed.append(i)

    threads = [threading.Thread(target=predict, args=(i * 20,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed


def test_a_prediction_leaves_nothing_in_the_estimator():
    model = MLPClassifier(**OPTIONS).fit(X, THREE)
    before = set(vars(model))
    first = pickle.dumps(model)
    for rows in (X[:1], X, sparse.csr_array(X)):
        model.predict(rows)
    assert set(vars(model)) == before
    assert pickle.dumps(model) == first


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize(("kind", "y"), [(MLPClassifier, THREE), (MLPRegressor, NUMBERS)])
def test_rows_that_are_assumed_finite_predict_what_they_do_in_scikit_learn(kind, y, form, value):
    ours, theirs = kind(**OPTIONS).fit(X, y), getattr(neural_network, kind.__name__)(**OPTIONS).fit(X, y)
    theirs.coefs_, theirs.intercepts_ = ours.coefs_, ours.intercepts_
    rows = X.copy()
    rows[6, 1] = value
    with config_context(assume_finite=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_allclose(ours.predict(form(rows)), theirs.predict(form(rows)), rtol=1e-4)
        rows[7] = 1e37
        ours.coefs_[-1] *= 2.0**40  # which leaves them float32 values
        with pytest.raises(ValueError, match=r"^Input X: the network's output for row 7 is too large .* scale X"):
            ours.predict(form(rows))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(("given", "named"), [([], {"foo": 1}), ([1] * 50, {}), ([1], {"alpha": 1, "foo": 1})])
def test_arguments_that_there_are_not_are_named_with_the_class(kind, given, named):
    for each in (kind, getattr(neural_network, kind.__name__)):
        with pytest.raises(TypeError, match=rf"^{kind.__name__}\.__init__\(\) "):
            each(*given, **named)


def test_estimators_without_a_hash_predict():
    class Equal(MLPClassifier):
        def __eq__(self, other):
            return True

        __hash__ = None

    models = [Equal(**OPTIONS).fit(X, y) for y in (THREE, THREE[::-1])]
    answers = [MLPClassifier(**OPTIONS).fit(X, y).predict_proba(X) for y in (THREE, THREE[::-1])]
    for _ in range(2):
        for model, answer in zip(models, answers, strict=True):
            np.testing.assert_array_equal(model.predict_proba(X), answer)


def test_what_is_kept_of_an_estimator_goes_with_it():
    before, model = set(forward._KEPT), MLPClassifier(**OPTIONS).fit(X, THREE)
    for _ in range(2):
        model.predict(X)
    assert len(set(forward._KEPT) - before) == 1
    del model
    gc.collect()
    assert set(forward._KEPT) <= before


# --- ONNX ---


def onnx_lines():
    """The lines of docs/sklearn.md that tell skl2onnx of the estimators."""
    found = [block for block in re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL) if "skl2onnx" in block]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", ["words", "binary", "numbers"])
def test_skl2onnx_converts_the_estimators(target, dtype):
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    exec(onnx_lines(), {})
    y = {"words": WORDS, "binary": (X[:, 0] > 0) * 1, "numbers": X[:, 0]}[target]
    kind = MLPRegressor if target == "numbers" else MLPClassifier
    model = Pipeline([("scale", StandardScaler()), ("net", kind(**OPTIONS))]).fit(X.astype(dtype), y)
    options = None if target == "numbers" else {"zipmap": False}
    onnx = skl2onnx.to_onnx(model, X[:1].astype(np.float32), options=options)
    session = runtime.InferenceSession(onnx.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"X": X.astype(np.float32)})
    if options:
        np.testing.assert_array_equal(found[0], model.predict(X.astype(np.float32)))
    expected = model.predict_proba(X) if options else model.predict(X)[:, None]
    np.testing.assert_allclose(found[-1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("y", "loss"), [(NUMBERS, "squared_error"), (np.abs(X[:, 0]), "poisson")])
def test_what_skl2onnx_has_no_converter_for_is_refused(y, loss):
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    exec(onnx_lines(), {})
    with pytest.raises(ValueError, match="want one output and 'squared_error'"):
        skl2onnx.to_onnx(MLPRegressor(**OPTIONS, loss=loss).fit(X, np.abs(y)), X[:1])


def test_without_skl2onnx_one_line_says_what_to_install():
    code = "import sys; sys.modules['skl2onnx'] = None\nimport fastff.sklearn.onnx"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("fastff.sklearn.onnx needs skl2onnx: pip install skl2onnx")
    done = subprocess.run(
        [sys.executable, "-c", "import fastff.sklearn, sys; print('skl2onnx' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"
