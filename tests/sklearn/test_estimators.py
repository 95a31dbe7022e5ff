"""The estimators beside scikit-learn's: the same minibatches from the same weights, so the same results to rounding."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")

from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastff.kernels import losses
from fastff.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PAIRS = {"classifier": (MLPClassifier, neural_network.MLPClassifier),
         "regressor": (MLPRegressor, neural_network.MLPRegressor)}  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 7))
HIDDEN = np.tanh(X @ RNG.standard_normal((7, 4)))
THREE, TWO = HIDDEN[:, :3].argmax(1), np.array(["no", "yes"])[(HIDDEN[:, 0] > 0).astype(int)]
MANY = (HIDDEN > 0.1).astype(int)
WEIGHTS = RNG.integers(0, 4, len(X)).astype(float)
OPTIONS = {"hidden_layer_sizes": (20, 9), "batch_size": 32, "max_iter": 6, "random_state": 3, "alpha": 1e-3}
# Training in float32 and in float64 part by some ulps a step: 30 steps of rounding 6e-8, and Adam's quotient passes
# on the relative error of a gradient, a sum of which may cancel to a hundredth of its parts
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def name_of(estimator, check):
    return f"{type(estimator).__name__}-{check.func.__name__}-{check.keywords}"


CHECKS = [pair for kind in (MLPClassifier, MLPRegressor) for pair in estimator_checks_generator(kind(max_iter=100))]


def both(name, X, y, weights=None, **options):
    pair = [kind(**{**OPTIONS, **options}) for kind in PAIRS[name]]
    return [estimator.fit(X, y, sample_weight=weights) for estimator in pair]


def assert_alike(ours, theirs, rows=X):
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, **CLOSE)
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3 * np.abs(b).max())
    assert (ours.n_iter_, ours.t_, ours.out_activation_) == (theirs.n_iter_, theirs.t_, theirs.out_activation_)
    assert ours.n_layers_ == theirs.n_layers_
    assert ours.n_features_in_ == theirs.n_features_in_
    predict = "predict_proba" if hasattr(ours, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(ours, predict)(rows), getattr(theirs, predict)(rows), rtol=0, atol=2e-3)


@pytest.mark.parametrize("y", [THREE, TWO, TWO == "yes", MANY], ids=["multiclass", "binary", "boolean", "multilabel"])
@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh", "identity"])
def test_a_classifier_trains_as_scikit_learns(activation, y):
    assert_alike(*both("classifier", X, y, activation=activation))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("y", [THREE, TWO, MANY], ids=["multiclass", "binary", "multilabel"])
def test_the_loss_of_rows_that_are_far_off_is_limited_as_scikit_learns(y, dtype, form):
    """Its probabilities are at least the eps of their type."""
    ours, theirs = both("classifier", form((X * 1e4).astype(dtype)), y, max_iter=3)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-3)
    assert ours.loss_curve_[0] > -np.log(np.finfo(dtype).eps) / 10  # many rows are at the limit


@pytest.mark.parametrize("y", [HIDDEN[:, 0], HIDDEN[:, :3]], ids=["one", "several"])
@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh", "identity"])
def test_a_regressor_trains_as_scikit_learns(activation, y):
    assert_alike(*both("regressor", X, y, activation=activation))


def test_poisson_regression():
    assert_alike(*both("regressor", X, RNG.poisson(np.exp(HIDDEN[:, :2])).astype(float), loss="poisson"))


@pytest.mark.parametrize("nesterovs_momentum", [True, False])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_sgd_with_its_schedules(learning_rate, nesterovs_momentum):
    options = {"learning_rate_init": 0.02, "tol": 0.05, "n_iter_no_change": 1, "max_iter": 12}
    pair = both("classifier", X, THREE, solver="sgd", learning_rate=learning_rate,
                nesterovs_momentum=nesterovs_momentum, **options)  # fmt: skip
    assert_alike(*pair)
    assert pair[0]._optimizer.learning_rate == pair[1]._optimizer.learning_rate


@pytest.mark.parametrize("power_t", [4.0, 12.0, 20.0, 100.0])
def test_sgd_whose_step_size_vanishes(power_t):
    """The weights go on by their velocities, which decay."""
    options = {"solver": "sgd", "learning_rate": "invscaling", "power_t": power_t, "learning_rate_init": 0.1}
    pair = both("classifier", X, THREE, **options)
    assert_alike(*pair)
    for model in pair:
        model.partial_fit(X, THREE)
    assert_alike(*pair)
    for ours, theirs in zip(*(model._optimizer.velocities for model in pair), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("name", PAIRS)
def test_sample_weights(name):
    assert_alike(*both(name, X, THREE if name == "classifier" else HIDDEN[:, :2], WEIGHTS))
    assert_alike(*both(name, X, TWO if name == "classifier" else HIDDEN[:, 0], WEIGHTS))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", ["auto", 1, 150])
def test_batches_of_every_size_and_in_order(batch_size, shuffle):
    assert_alike(*both("classifier", X, THREE, batch_size=batch_size, shuffle=shuffle, max_iter=2, alpha=0))


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_a_strong_penalty(weights):
    """Its share of the reported loss is taken from the weights before and after an epoch, so that is only near."""
    ours, theirs = both("classifier", X, THREE, weights, alpha=1.0)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-3)
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # scikit-learn 1.7 with a newer SciPy
def test_lbfgs_is_scikit_learns():
    ours, theirs = both("classifier", X, THREE, solver="lbfgs", max_iter=30)
    np.testing.assert_array_equal(ours.coefs_[0], theirs.coefs_[0])


@pytest.mark.parametrize("name", PAIRS)
def test_early_stopping_keeps_the_best(name):
    y = (TWO == "yes").astype(int) if name == "classifier" else HIDDEN[:, 0]
    ours, theirs = both(name, X, y, early_stopping=True, max_iter=40, n_iter_no_change=3, learning_rate_init=0.01)
    assert len(ours.validation_scores_) == ours.n_iter_
    np.testing.assert_allclose(ours.validation_scores_[:4], theirs.validation_scores_[:4], atol=0.02)
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    assert ours.best_loss_ is None


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("between", [{}, {"early_stopping": False}])
def test_early_stopping_in_warm_starts_goes_on_from_the_last_weights(name, between):
    """Without a better score these stay: scikit-learn trains the best weights of an earlier fit in place."""
    y = THREE if name == "classifier" else HIDDEN[:, 0]
    ours, theirs = both(name, X, y, early_stopping=True, warm_start=True, learning_rate_init=0.01)
    for model in (ours, theirs):
        model.best_validation_score_ = np.inf  # none is better
        model.best_loss_ = np.inf
        for options in (between, {"early_stopping": True}):
            model.set_params(**options).fit(X, y)
    assert_alike(ours, theirs)


def test_early_stopping_on_labels_that_are_words():
    """Which scikit-learn 1.7 cannot."""
    options = {**OPTIONS, "early_stopping": True}
    words, numbers = (MLPClassifier(**options).fit(X, y) for y in (TWO, (TWO == "yes").astype(int)))
    assert words.validation_scores_ == numbers.validation_scores_


def test_partial_fit_goes_on_with_its_moments():
    ours, theirs = MLPClassifier(**OPTIONS), neural_network.MLPClassifier(**OPTIONS)
    for rows in (slice(0, 80), slice(80, 150), slice(0, 150)):
        for estimator in (ours, theirs):
            estimator.partial_fit(X[rows], THREE[rows], classes=[0, 1, 2])
    assert ours._optimizer.t == theirs._optimizer.t
    assert_alike(ours, theirs)


def test_warm_start_goes_on_from_the_weights():
    ours, theirs = both("classifier", X, THREE, warm_start=True, max_iter=3)
    assert_alike(ours.fit(X, THREE), theirs.fit(X, THREE))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_rows(kind):
    rows = np.where(np.abs(X) > 1, X, 0)
    ours, theirs = both("classifier", kind(rows), THREE)
    assert_alike(ours, theirs, kind(rows))


def test_float32_stays_float32_and_large_data_goes_through_the_kernels():
    rows = RNG.standard_normal((5000, 30)).astype(np.float32)
    ours, theirs = both("classifier", rows, (rows[:, 0] > 0).astype(int), max_iter=1, batch_size=200)
    assert {a.dtype for a in ours.coefs_} == {np.dtype(np.float32)}
    probabilities = ours.predict_proba(rows)
    assert probabilities.dtype == np.float32
    theirs.coefs_, theirs.intercepts_ = ours.coefs_, ours.intercepts_
    np.testing.assert_allclose(probabilities, theirs.predict_proba(rows), rtol=1e-4, atol=1e-6)


def test_the_same_random_state_gives_the_same_bits_with_any_number_of_threads():
    one, three = (MLPClassifier(**OPTIONS, dropout=0.2, threads=threads).fit(X, THREE) for threads in (1, 3))
    for a, b in zip(one.coefs_, three.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


# --- what scikit-learn's users asked for ---


def test_class_weight_is_a_sample_weight_by_class():
    rare = np.where(RNG.random(len(X)) < 0.8, 0, THREE)
    balanced = MLPClassifier(**OPTIONS, class_weight="balanced").fit(X, rare)
    counts = np.bincount(rare)
    by_hand = MLPClassifier(**OPTIONS).fit(X, rare, sample_weight=(len(rare) / (3 * counts))[rare])
    np.testing.assert_array_equal(balanced.coefs_[0], by_hand.coefs_[0])
    both_weights = MLPClassifier(**OPTIONS, class_weight={0: 1, 1: 2, 2: 0.5}).fit(X, rare, sample_weight=WEIGHTS)
    by_hand = MLPClassifier(**OPTIONS).fit(X, rare, sample_weight=WEIGHTS * np.array([1, 2, 0.5])[rare])
    np.testing.assert_array_equal(both_weights.coefs_[0], by_hand.coefs_[0])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weights", [(), (WEIGHTS[100:],)], ids=["equal", "weighted"])
def test_a_validation_set_of_the_users_own(early_stopping, weights):
    model = MLPClassifier(**OPTIONS, early_stopping=early_stopping)
    model.fit(X[:100], THREE[:100], validation_data=(X[100:], THREE[100:], *weights))
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    plain = MLPClassifier(**OPTIONS).fit(X[:100], THREE[:100])
    assert model.loss_curve_ == plain.loss_curve_  # it has no part in training
    if not early_stopping:
        assert model.validation_scores_[-1] == model.score(X[100:], THREE[100:], *weights)
        own = -np.log(model.predict_proba(X[100:])[np.arange(50), THREE[100:]])
        expected = np.average(own, weights=weights[0] if weights else None)
        assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-6)


def test_on_epoch_and_max_seconds_end_training():
    seen = []

    def third(model):
        seen.append(model.score(X, THREE))
        return len(seen) == 3

    assert MLPClassifier(**OPTIONS, on_epoch=third).fit(X, THREE).n_iter_ == len(seen) == 3
    assert MLPClassifier(**OPTIONS, max_seconds=1e-9).fit(X, THREE).n_iter_ == 1


def test_label_smoothing_dropout_and_decoupled_decay_do_something():
    plain = MLPClassifier(**OPTIONS).fit(X, THREE)
    for option in ({"label_smoothing": 0.2}, {"dropout": 0.3}, {"decay": "decoupled", "alpha": 1.0}):
        other = MLPClassifier(**{**OPTIONS, **option}).fit(X, THREE)
        assert not np.allclose(other.coefs_[0], plain.coefs_[0], atol=1e-3)
    smooth = MLPClassifier(**{**OPTIONS, "max_iter": 300, "alpha": 0}, label_smoothing=0.4).fit(X, TWO)
    assert smooth.predict_proba(X).max() < 0.95  # the target is 0.8


# --- errors, and life with others ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"decay": "l1"}, "decay"),
        ({"precision": "float16"}, "precision"),
        ({"threads": 0}, "threads"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"on_epoch": 3}, "on_epoch"),
        ({"class_weight": "even"}, "class_weight"),
        ({"hidden_layer_sizes": -1}, "hidden_layer_sizes"),
        ({"activation": "gelu"}, "activation"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "validation set is too small"),
    ],
)
def test_values_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**{**OPTIONS, **options}).fit(X, THREE)


def test_misuse_gives_scikit_learns_errors():
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    model = MLPClassifier(**OPTIONS).fit(X, THREE)
    with pytest.raises(ValueError, match="7 features"):
        model.predict(X[:, :5])
    with pytest.raises(ValueError, match="validation_data"):
        model.fit(X, THREE, validation_data=X)
    with pytest.raises(ValueError, match="7 features"):
        model.fit(X, THREE, validation_data=(X[:, :3], THREE))
    with pytest.raises(ValueError, match="early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, THREE, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(**OPTIONS).fit(X, 1e30 * HIDDEN[:, 0])
    with pytest.warns(ConvergenceWarning):
        MLPClassifier(**OPTIONS).fit(X, THREE)


def test_copies_of_every_kind_predict_alike():
    model = MLPClassifier(**OPTIONS, dropout=0.1, threads=1).fit(X, THREE)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    again = clone(model)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.fit(X, THREE).coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_in_a_pipeline_and_a_grid_search(backend):
    from joblib import parallel_config

    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**{**OPTIONS, "max_iter": 60}))
    with parallel_config(backend=backend):
        search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2, n_jobs=2).fit(X, THREE)
        scores = cross_val_score(pipeline, X, THREE, cv=2, n_jobs=2)
    assert search.best_score_ > 0.7
    assert len(scores) == 2


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_keep_their_names(library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    names = [f"f{i}" for i in range(7)]
    frame = module.DataFrame(dict(zip(names, X.T, strict=True)))
    model = MLPClassifier(**OPTIONS).fit(frame, module.Series(TWO))
    assert list(model.feature_names_in_) == names
    np.testing.assert_array_equal(model.predict_proba(frame), MLPClassifier(**OPTIONS).fit(X, TWO).predict_proba(X))
    pipeline = make_pipeline(StandardScaler().set_output(transform=library), MLPClassifier(**OPTIONS))
    assert list(pipeline.fit(frame, TWO)[-1].feature_names_in_) == names


def test_real_digits_to_the_usual_accuracy():
    x_train, x_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=60))
    assert pipeline.fit(x_train, y_train).score(x_test, y_test) > 0.96
    rows, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), MLPRegressor(random_state=0, max_iter=400, learning_rate_init=0.01))
    assert model.fit(rows, y).score(rows, y) > 0.5
    rows, y = make_multilabel_classification(300, random_state=0)
    assert MLPClassifier(random_state=0).fit(rows, y).score(rows, y) > 0.5


def test_without_scikit_learn_one_line_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None\nimport fastff.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "fastff[sklearn]"' in done.stderr.splitlines()[-1]


def test_many_outputs_in_groups():
    """A row's logistic losses are logarithms of products of GROUP factors."""
    y = (RNG.random((150, 2 * losses.GROUP + 5)) < 0.3).astype(int)
    assert_alike(*both("classifier", X, y, max_iter=2))


def test_a_few_rows_are_left_to_scikit_learn_unless_more_is_asked_for():
    ours, theirs = both("classifier", X[:40], THREE[:40])
    np.testing.assert_array_equal(ours.coefs_[0], theirs.coefs_[0])
    assert ours.coefs_[0].dtype == np.float64
    kernels = MLPClassifier(**OPTIONS, dropout=0.1).fit(X[:40], THREE[:40]).coefs_[0]
    np.testing.assert_array_equal(kernels, kernels.astype(np.float32))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=[name_of(*pair) for pair in CHECKS])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)
