"""The estimators' numbers: one answer for a row in every path, float32's range, weights of any size, sparse rows."""

import tracemalloc
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")

from scipy import sparse
from sklearn import neural_network

from fastff.errors import NoRoom
from fastff.nn.predictor import Predictor
from fastff.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

THEIRS = {MLPClassifier: neural_network.MLPClassifier, MLPRegressor: neural_network.MLPRegressor}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 7))
Y = {
    "binary": (X[:, 0] > 0).astype(int), "multiclass": X[:, :3].argmax(1), "multilabel": (X[:, :3] > 0).astype(int),
    "one": X[:, 0] * 2, "several": X[:, :3] * 2, "poisson": np.abs(X[:, 0]),
}  # fmt: skip
OPTIONS = {"hidden_layer_sizes": (20, 9), "batch_size": 32, "max_iter": 3, "random_state": 3}


def fitted(target, X=X, rows=slice(None), weights=None, kinds=(MLPClassifier, MLPRegressor), **options):
    kind = kinds[0] if target in ("binary", "multiclass", "multilabel") else kinds[1]
    options = {**OPTIONS, **({"loss": "poisson"} if target == "poisson" else {}), **options}
    return kind(**options).fit(X[rows], Y[target][rows], weights)


# Trained by the kernels, by scikit-learn's own code for few rows, and by lbfgs
TRAINED = {"kernels": {}, "few rows": {"rows": slice(50)}, "lbfgs": {"solver": "lbfgs"}}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # lbfgs of scikit-learn 1.7 with a newer SciPy
@pytest.mark.parametrize("hidden", [(20, 9), (1,), (70, 65), ()])
@pytest.mark.parametrize("target", Y)
@pytest.mark.parametrize("trained", TRAINED)
def test_a_row_predicts_the_same_bits_alone_and_among_others(trained, target, hidden):
    rows = RNG.standard_normal((700, 7))
    model = fitted(target, hidden_layer_sizes=hidden, **TRAINED[trained])
    names = [n for n in ("predict_proba", "predict_log_proba", "predict") if hasattr(model, n)]
    for form in (
        rows,
        rows.astype(np.float32),
        np.asfortranarray(rows),
        sparse.csr_array(rows),
        sparse.csc_array(rows),
    ):
        for name in names:
            call = getattr(model, name)
            whole = call(form)
            ways = [call(form[i : i + n]) for n in (1, 5, 16, 17, 64, 65, 300) for i in (0, 3, 101)]
            parts = [whole[i : i + n] for n in (1, 5, 16, 17, 64, 65, 300) for i in (0, 3, 101)]
            for part, wanted in zip(ways, parts, strict=True):
                np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("hidden", [(20, 9), (300, 300)])
def test_threads_and_many_rows_do_not_change_a_prediction(hidden):
    rows = RNG.standard_normal((3000, 7))
    model = fitted("multiclass", hidden_layer_sizes=hidden)
    few = np.concatenate([model.predict_proba(rows[i : i + 7]) for i in range(0, 3000, 7)])
    for threads in (1, 2, 3, None):
        np.testing.assert_array_equal(model.set_params(threads=threads).predict_proba(rows), few)


@pytest.mark.parametrize("rows", [1, 100, 400, 401, 3000])
def test_a_prediction_takes_few_calls_however_many_rows_there_are(rows, monkeypatch):
    """A call takes some microseconds, as long as a small network takes for many rows."""
    model, calls = fitted("multiclass", hidden_layer_sizes=(4,)), []
    whole = model.predict_proba(X[:1])
    call = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda self, part: calls.append(len(part)) or call(self, part))
    np.testing.assert_array_equal(model.predict_proba(np.tile(X[:1], (rows, 1))), np.tile(whole, (rows, 1)))
    assert len(calls) <= 25


def test_what_is_written_to_coefs_and_parameters_counts_in_the_next_prediction():
    model, rows = fitted("several"), X[:5]
    before = model.predict(rows)
    model.coefs_[0][0, 0] += 0.5
    after = model.predict(rows)
    assert (before != after).any()
    model.intercepts_[-1] = model.intercepts_[-1] + np.pi  # not a value of float32
    np.testing.assert_allclose(model.predict(rows), after + np.pi, rtol=1e-6)
    model.activation = "tanh"
    assert (model.predict(rows) != after + np.pi).any()


@pytest.mark.parametrize("target", ["binary", "multiclass", "one"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_rows_that_leave_float32s_range_have_one_answer(activation, form, target):
    model = fitted(target, activation=activation)
    model.coefs_[-1] *= 1024  # so that some values within the range leave it on the way
    for factor in (1e39, 1e300, 1e37, 3e38):
        large = X[:100].copy()
        large[3] *= factor
        answers = []
        for name in ("predict", *(["predict_proba"] if hasattr(model, "predict_proba") else [])):
            for rows in (large[3:4], large[:20], large, np.tile(large, (20, 1))):
                try:
                    answers.append(bool(np.isfinite(getattr(model, name)(form(rows))).all()))
                except ValueError as error:
                    assert "float32" in str(error) and "\n" not in str(error)  # noqa: PT017, PT018
                    answers.append("refused")
        assert set(answers) == {"refused"} if factor > 1e38 else set(answers) in ({"refused"}, {True})
    if form is np.asarray:
        np.testing.assert_array_equal(model.predict(X[:3]), model.predict(X)[:3])  # nothing is left behind


@pytest.mark.parametrize(("where", "name"), [("X", "X"), ("y", "y"), ("X_val", "X_val")])
def test_data_beyond_float32_are_refused_in_training(where, name):
    data = {"X": X[:100].copy(), "y": Y["one"][:100].copy(), "X_val": X[100:].copy(), "y_val": Y["one"][100:]}
    data[where][5] *= 1e60
    with pytest.raises(ValueError, match=rf"^Input {name} contains .* too large for dtype\('float32'\)"):
        MLPRegressor(**OPTIONS).fit(**data)


# --- weights ---

WEIGHTS = RNG.integers(1, 4, len(X)).astype(float)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", Y)
@pytest.mark.parametrize("factor", [2.0**-60, 2.0**130, 2.0**1000, 1e-12, 1e39, 1e300])
def test_only_ratios_of_weights_count_without_a_penalty(factor, target, solver):
    plain, scaled = (
        fitted(target, weights=WEIGHTS * f, solver=solver, alpha=0, max_iter=2).coefs_[0] for f in (1.0, factor)
    )
    exact = np.frexp(factor)[0] == 0.5
    np.testing.assert_allclose(scaled, plain, rtol=0, atol=0 if exact else 2e-5)


@pytest.mark.parametrize("target", ["multiclass", "several", "poisson"])
@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4, 1e40])
def test_the_penalty_is_scikit_learns_for_weights_of_any_size(factor, target):
    pair = [
        fitted(target, weights=WEIGHTS * factor, kinds=kinds, alpha=1e-3)
        for kinds in ((MLPClassifier, MLPRegressor), tuple(THEIRS.values()))
    ]
    np.testing.assert_allclose(pair[0].coefs_[0], pair[1].coefs_[0], rtol=0, atol=2e-3)
    np.testing.assert_allclose(pair[0].loss_curve_, pair[1].loss_curve_, rtol=5e-3)


def test_weights_beside_which_the_penalty_leaves_float32_are_refused():
    with pytest.raises(
        ValueError, match=r"^sample_weight: a batch's weights sum to .*e-3[89], beside which alpha=0.0001"
    ):
        fitted("multiclass", weights=WEIGHTS * 1e-40)


@pytest.mark.parametrize("target", Y)
def test_batches_of_weight_zero_leave_a_finite_loss(target):
    weights = np.zeros(len(X))
    weights[:20] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = fitted(target, weights=weights, batch_size=10, shuffle=False)
    assert np.isfinite(model.loss_curve_).all()
    assert model.loss_curve_[-1] != model.loss_curve_[0]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("target", Y)
def test_a_batch_of_weight_zero_counts_nothing_in_scikit_learns_training_either(target, solver):
    """It has few rows. With on_epoch the kernels train on the same batches."""
    weights = np.repeat([0.0, 1.0], 30)
    options = {"rows": slice(60), "weights": weights, "solver": solver, "batch_size": 10, "shuffle": False}
    few, kernels = (fitted(target, **options, on_epoch=call) for call in (None, lambda model: None))
    np.testing.assert_allclose(few.loss_curve_, kernels.loss_curve_, rtol=1e-4)
    for a, b in zip(few.coefs_, kernels.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    if target == "multiclass":
        fitted(target, rows=slice(60), class_weight={0: 1.0, 1: 0.0, 2: 0.0}, batch_size=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["fit", "partial_fit", "class_weight"])
@pytest.mark.parametrize("trained", TRAINED)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-1.0, "Negative values in data passed to `sample_weight`"),
        (np.nan, "NaN"),
        (np.inf, "infinity"),
        (0.0, "at least one non-zero"),
    ],
)
def test_weights_without_a_meaning_are_refused(weights, message, trained, way):
    options = {**OPTIONS, **TRAINED[trained]}
    rows, y = X[options.pop("rows", slice(None))], Y["binary"]
    sample_weight = np.ones(len(rows))
    sample_weight[3 if weights else slice(None)] = weights
    model = MLPClassifier(**options)
    if way == "class_weight":
        model.set_params(class_weight={0: weights, 1: 0.0 if weights == 0 else 1.0})
        sample_weight = None
    method = "partial_fit" if way == "partial_fit" and trained != "lbfgs" else "fit"
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(
            rows, y[: len(rows)], sample_weight, **({"classes": [0, 1]} if method == "partial_fit" else {})
        )


# --- sparse rows ---


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize(
    "options", [{}, {"dropout": 0.2}, {"solver": "sgd", "shuffle": False}, {"early_stopping": True, "loss": "poisson"}]
)
def test_sparse_rows_train_to_the_bits_of_dense_ones(options, kind):
    rows = np.where(np.abs(X) > 1, X, 0)
    target = "poisson" if "loss" in options else "multiclass"
    dense, other = (fitted(target, X=form, weights=WEIGHTS, **options) for form in (rows, kind(rows).tocsr()))
    for a, b in zip(dense.coefs_ + dense.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert dense.loss_curve_ == other.loss_curve_
    np.testing.assert_array_equal(dense.predict(rows), other.predict(kind(rows)))
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(**OPTIONS).fit(kind(rows), 1e30 * Y["one"])


def wide_rows(rows, columns):
    places = RNG.integers(0, columns, (rows, 20))
    return sparse.csr_array((np.ones(places.size), places.ravel(), np.arange(rows + 1) * 20), shape=(rows, columns))


def test_sparse_rows_are_made_dense_a_batch_at_a_time():
    rows = wide_rows(2000, 20_000)
    tracemalloc.start()
    try:
        model = MLPClassifier(hidden_layer_sizes=(4,), max_iter=1, batch_size=50, random_state=0)
        model.fit(rows, np.arange(2000) % 2)
        model.predict(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # made dense, in float32, they are 160 MB


@pytest.mark.parametrize("call", ["predict", "score"])
def test_a_prediction_takes_the_memory_of_sparse_rows_entries(call):
    rows, y = wide_rows(300, 100_000), np.arange(300) % 2
    model = MLPClassifier(hidden_layer_sizes=(2,), max_iter=1, batch_size=10, random_state=0).fit(rows, y)
    model.predict(rows[:1])
    tracemalloc.start()
    try:
        getattr(model, call)(*(rows, y)[: 2 if call == "score" else 1])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3e6  # a block of 40 rows, made dense, takes 16 MB


def test_entries_that_come_twice_or_in_disorder_predict_as_the_dense_row():
    model, rows = fitted("several"), sparse.csr_array(np.where(np.abs(X) > 1, X, 0))
    twice = sparse.csr_array(
        (np.repeat(rows.data, 2)[::-1] / 2, np.repeat(rows.indices, 2)[::-1], 2 * (rows.nnz - rows.indptr[::-1])),
        shape=rows.shape,
    )
    np.testing.assert_array_equal(model.predict(twice), model.predict(rows.toarray()[::-1]))
    assert twice.nnz == 2 * rows.nnz  # the user's own rows stay as they are


def test_sparse_rows_that_find_no_room_say_so(monkeypatch):
    monkeypatch.setattr("fastff.system.limits.available", lambda: 50_000_000)
    rows = wide_rows(3000, 60_000)
    with pytest.raises(NoRoom, match=r"needs .* of memory, 50.0 MB are free"):
        MLPClassifier(hidden_layer_sizes=(2,), batch_size=3000).fit(rows, np.arange(3000) % 2)


# --- types ---


def types_of(value):
    """What a walk over an attribute finds: types, and of arrays dtypes and shapes."""
    if isinstance(value, np.ndarray):
        return np.ndarray, value.dtype, value.shape
    if isinstance(value, list | tuple):
        return type(value), [types_of(v) for v in value]
    return type(value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", Y)
def test_attributes_and_predictions_have_scikit_learns_types(target, dtype, solver, early_stopping):
    for rows in (slice(None), slice(40)):
        for weights in (None, WEIGHTS[rows]):
            ours, theirs = (
                fitted(target, X=X.astype(dtype), rows=rows, weights=weights, kinds=kinds, solver=solver,
                       early_stopping=early_stopping, max_iter=2)
                for kinds in (tuple(THEIRS), tuple(THEIRS.values()))
            )  # fmt: skip
            found, wanted = (
                {k: types_of(v) for k, v in vars(m).items() if k.endswith("_") or k.startswith("_best")}
                for m in (ours, theirs)
            )
            assert found == wanted
            for other in (np.float16, np.float32, np.float64, np.int32, np.uint8):
                for name in ("predict", "predict_proba"):
                    if hasattr(ours, name):
                        given = np.abs(X).astype(other)
                        assert types_of(getattr(ours, name)(given)) == types_of(getattr(theirs, name)(given))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_stay_when_data_of_another_type_follow(dtype):
    other = np.float32 if dtype == np.float64 else np.float64
    ours, theirs = (kind(**OPTIONS) for kind in (MLPRegressor, neural_network.MLPRegressor))
    for model in (ours, theirs):
        model.partial_fit(X.astype(dtype), Y["several"])
        model.partial_fit(X.astype(other), Y["several"])
    assert types_of(ours.coefs_) == types_of(theirs.coefs_)


def test_float64_probabilities_sum_to_one_in_float64():
    assert np.abs(fitted("multiclass").predict_proba(X).sum(1) - 1).max() < 1e-14


def test_values_are_float32s():
    for a in fitted("multiclass").coefs_:
        assert a.dtype == np.float64
        np.testing.assert_array_equal(a, a.astype(np.float32))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_one_batch_an_epoch_is_fit_and_partial_fit_alike(solver):
    options = {**OPTIONS, "batch_size": 150, "solver": solver, "max_iter": 5}
    whole, parts = MLPRegressor(**options).fit(X, Y["several"]), MLPRegressor(**options)
    for _ in range(5):
        parts.partial_fit(X, Y["several"])
    np.testing.assert_array_equal(whole.coefs_[0], parts.coefs_[0])
