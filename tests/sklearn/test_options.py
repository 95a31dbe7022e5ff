"""No parameter is ignored: in every way to fit, each changes the result or is refused by name.

fastff's own parameters are held against that. scikit-learn's own change a result wherever they change scikit-learn's:
that `momentum` is there for sgd only is part of its documentation, and a grid over solvers relies on it.
"""

import numpy as np
import pytest

pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")

from sklearn import neural_network
from threadpoolctl import threadpool_info

from fastff.engine.program import Program
from fastff.kernels import cpu
from fastff.sklearn import MLPClassifier, MLPRegressor, forward

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 5))
Y = {MLPClassifier: X[:, :3].argmax(1), MLPRegressor: np.abs(X[:, 0]) + X[:, 1] ** 2}
THEIRS = {MLPClassifier: neural_network.MLPClassifier, MLPRegressor: neural_network.MLPRegressor}
START = {"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, "batch_size": 20}

OWN = {
    "dropout": 0.3, "decay": "decoupled", "precision": "bfloat16", "threads": 1, "max_seconds": 1e-9,
    "on_epoch": lambda model: True, "class_weight": {0: 1.0, 1: 5.0, 2: 1.0}, "label_smoothing": 0.2,
}  # fmt: skip
BALANCED = {"class_weight": "balanced"}
SCIKIT_LEARNS = {
    "loss": "poisson", "hidden_layer_sizes": (5,), "activation": "tanh", "solver": None, "alpha": 10.0,
    "batch_size": 7, "learning_rate": "invscaling", "learning_rate_init": 0.05, "power_t": 0.9, "max_iter": 2,
    "shuffle": False, "random_state": 1, "tol": 0.5, "verbose": True, "warm_start": True, "momentum": 0.1,
    "nesterovs_momentum": False, "early_stopping": True, "validation_fraction": 0.4, "beta_1": 0.1, "beta_2": 0.2,
    "epsilon": 0.1, "n_iter_no_change": 1, "max_fun": 2,
}  # fmt: skip
# Without these the parameter has nothing to act on
BESIDE = {
    "power_t": {"learning_rate": "invscaling"}, "validation_fraction": {"early_stopping": True},
    "n_iter_no_change": {"tol": 10.0, "max_iter": 20}, "tol": {"n_iter_no_change": 1, "max_iter": 20},
    "decay": {"alpha": 1.0},
}  # fmt: skip


def fit(kind, rows, **options):
    return kind(**options).fit(X[:rows], target_of(kind)[:rows])


def target_of(kind):
    return Y.get(kind, Y[MLPClassifier if issubclass(kind, neural_network.MLPClassifier) else MLPRegressor])


def partial_fit(kind, rows, **options):
    model = kind(**options)
    for _ in range(2):
        model.partial_fit(
            X[:rows], target_of(kind)[:rows], *([None, [0, 1, 2]] if hasattr(model, "predict_proba") else [])
        )
    return model


def fit_twice(kind, rows, **options):
    model = kind(**{"warm_start": True, **options})
    for _ in range(2):
        model.fit(X[:rows], target_of(kind)[:rows])
    return model


WAYS = {
    f"{way.__name__}-{solver}-{rows}": (way, solver, rows)
    for way in (fit, partial_fit, fit_twice)
    for solver in ("adam", "sgd", "lbfgs")
    for rows in (90, 30)  # a fit of few rows is left to scikit-learn's own code
    if (way, solver) != (partial_fit, "lbfgs")  # scikit-learn has no such method
}


def result(way, kind, rows, options, capsys):
    """What a fit leaves: weights, counts, scores and what it prints."""
    capsys.readouterr()
    model = way(kind, rows, **options)
    scores = getattr(model, "validation_scores_", None)
    return [*(c.tolist() for c in model.coefs_), model.n_iter_, model.t_, scores, capsys.readouterr().out]


def pair_of(name, solver, value):
    beside = {**START, "solver": solver, **BESIDE.get(name, {})}
    if name == "solver":
        value = {"adam": "sgd", "sgd": "adam", "lbfgs": "adam"}[solver]
    return beside, {**beside, name: value}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("name", [n for n in OWN if n != "threads"])
def test_a_parameter_of_ours_changes_the_result_or_is_refused(name, kind, way, capsys):
    if name not in kind().get_params():
        with pytest.raises(TypeError, match=name):
            kind(**{name: OWN[name]})
        return
    if name == "precision" and not cpu.BF16:
        pytest.skip("this CPU has no bfloat16")
    function, solver, rows = WAYS[way]
    plain, other = pair_of(name, solver, OWN[name])
    calls = []
    if name == "on_epoch":  # partial_fit calls it after its one epoch, which it does not cut short
        other[name] = lambda model: calls.append(model.n_iter_) or True
    before = result(function, kind, rows, plain, capsys)
    try:
        after = result(function, kind, rows, other, capsys)
    except ValueError as error:
        assert str(error).startswith(f"{name}: ") and "want" in str(error)  # noqa: PT017, PT018
        assert solver == "lbfgs" or (name, function) == ("max_seconds", partial_fit)
        return
    assert after != before or calls


@pytest.mark.parametrize("way", WAYS)
def test_balanced_classes(way, capsys):
    function, solver, rows = WAYS[way]
    plain, other = pair_of("class_weight", solver, "balanced")
    if function is partial_fit:
        with pytest.raises(ValueError, match=r"^class_weight: 'balanced', but partial_fit"):
            result(function, MLPClassifier, rows, other, capsys)
        return
    before, after = (result(function, MLPClassifier, rows, options, capsys) for options in (plain, other))
    assert before != after


@pytest.mark.parametrize("rows", [90, 30])
def test_a_part_of_the_rows_need_not_have_all_classes_that_have_weights(rows):
    y = np.array(["no", "yes"])[(X[:rows, 0] > 0).astype(int)]
    weighted, plain = (MLPClassifier(**START, class_weight=w) for w in ({"yes": 3.0}, None))
    for part in (y == "no", y == "yes"):
        weighted.partial_fit(X[:rows][part], y[part], classes=["no", "yes"])
        plain.partial_fit(X[:rows][part], y[part], np.where(y[part] == "yes", 3.0, 1.0), classes=["no", "yes"])
    np.testing.assert_array_equal(weighted.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("way", WAYS)
def test_threads_are_those_that_compute(way, kind, monkeypatch):
    """No result depends on them; what is looked at is what they are passed to."""
    used = []
    run, limit = Program.run, forward.limit_blas
    monkeypatch.setattr(Program, "run", lambda self, *a, **k: used.append(k["threads"]) or run(self, *a, **k))
    for module in ("estimators", "forward"):
        monkeypatch.setattr(f"fastff.sklearn.{module}.limit_blas", lambda n: used.append(n) or limit(n))
    function, solver, rows = WAYS[way]
    function(kind, rows, **START, solver=solver, threads=3)
    assert used
    assert set(used) == {3}


def test_blas_never_has_more_threads_than_it_began_with():
    """OpenBLAS would crash where OPENBLAS_NUM_THREADS said fewer."""
    before = {library["filepath"]: library["num_threads"] for library in threadpool_info()}
    with forward.limit_blas(64):
        assert {library["filepath"]: library["num_threads"] for library in threadpool_info()} == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_parameter_of_scikit_learns_does_what_it_does_there(kind, way, capsys):
    function, solver, rows = WAYS[way]
    known = {}

    def outcome(each, options):
        key = each, repr(sorted(options.items()))
        if key not in known:
            try:
                known[key] = result(function, each, rows, options, capsys)
            except ValueError:  # partial_fit with early_stopping
                known[key] = None
        return known[key]

    for name in SCIKIT_LEARNS.keys() & kind().get_params().keys():
        plain, other = pair_of(name, solver, SCIKIT_LEARNS[name])
        ours, theirs = (outcome(each, plain) != outcome(each, other) for each in (kind, THEIRS[kind]))
        assert ours == theirs, name


def test_every_parameter_is_looked_at():
    named = {*OWN, *SCIKIT_LEARNS}
    assert named == {*MLPClassifier().get_params(), *MLPRegressor().get_params()}


@pytest.mark.parametrize(
    ("start", "later"),
    [
        ({"solver": "adam"}, {"learning_rate_init": 0.05}),
        ({"solver": "adam"}, {"beta_1": 0.1}),
        ({"solver": "adam"}, {"beta_2": 0.1}),
        ({"solver": "adam"}, {"epsilon": 0.1}),
        ({"solver": "adam"}, {"solver": "sgd"}),
        ({"solver": "sgd"}, {"solver": "adam"}),
        ({"solver": "sgd"}, {"learning_rate_init": 0.05}),
        ({"solver": "sgd"}, {"momentum": 0.1}),
        ({"solver": "sgd"}, {"nesterovs_momentum": False}),
        ({"solver": "sgd"}, {"learning_rate": "invscaling"}),
        ({"solver": "sgd", "learning_rate": "invscaling"}, {"power_t": 0.9}),
        ({}, {"activation": "tanh"}),
        ({}, {"alpha": 10.0}),
        ({}, {"batch_size": 7}),
        ({}, {"dropout": 0.3}),
    ],
)
@pytest.mark.parametrize("rows", [90, 30])
def test_what_is_set_between_two_partial_fits_counts(start, later, rows):
    ends = []
    for change in ({}, later):
        model = MLPRegressor(**{**START, **start})
        for i in range(4):
            model.partial_fit(X[:rows], Y[MLPRegressor][:rows])
            model.set_params(**(change if i == 0 else {}))
        ends.append(model.coefs_[0])
    assert (ends[0] != ends[1]).any()


CHANGED = {**SCIKIT_LEARNS, **OWN, "n_iter_no_change": 5, "verbose": 2, "tol": 1e-9, "solver": "sgd"}
HELD = {
    "hidden_layer_sizes", "activation", "solver", "batch_size", "max_iter", "random_state", "warm_start", "loss",
    "early_stopping", "validation_fraction", "dropout", "precision", "threads", "class_weight", "label_smoothing",
    "max_fun",
}  # fmt: skip


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("name", CHANGED)
def test_what_on_epoch_sets_counts_from_then_on_or_is_refused(name, solver):
    kind = MLPClassifier if name in ("class_weight", "label_smoothing") else MLPRegressor
    options = {**START, **BESIDE.get(name, {}), "max_iter": 6, "solver": solver, "alpha": 1.0}

    def change(model):
        value = "adam" if (name, solver) == ("solver", "sgd") else CHANGED[name]
        if model.n_iter_ == 2:
            model.set_params(**{name: value})

    if name in HELD:
        with pytest.raises(ValueError, match=rf"^{name}: on_epoch has changed"):
            fit(kind, 90, **options, on_epoch=change)
        return
    changed, same = (fit(kind, 90, **options, on_epoch=call) for call in (change, lambda model: None))
    acts = name in ("alpha", "decay", "learning_rate_init", "shuffle", "max_seconds", "on_epoch")
    acts |= name in ("beta_1", "beta_2", "epsilon") if solver == "adam" else name in ("momentum", "nesterovs_momentum")
    acts |= solver == "sgd" and name in ("learning_rate", "power_t")
    assert (changed.coefs_[0] != same.coefs_[0]).any() == acts


def test_values_that_on_epoch_may_not_set():
    with pytest.raises(ValueError, match="learning_rate_init"):
        fit(MLPRegressor, 90, **START, on_epoch=lambda model: model.set_params(learning_rate_init=-1.0) and False)


@pytest.mark.parametrize("rows", [90, 30])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("later", "outputs", "message"),
    [
        ({"hidden_layer_sizes": (9,)}, 3, r"^hidden_layer_sizes: \(9,\), .* \(6,\)"),
        ({"hidden_layer_sizes": (6, 6)}, 3, r"^hidden_layer_sizes: "),
        ({"hidden_layer_sizes": ()}, 3, r"^hidden_layer_sizes: "),
        ({"loss": "poisson"}, 3, r"^loss: 'poisson'"),
        ({}, 1, r"^y: 1 outputs, .* 3"),
        ({}, 2, r"^y: 2 outputs, .* 3"),
        ({}, 40, r"^y: 40 outputs, .* 3"),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_going_on_with_another_network_is_refused(solver, method, rows, later, outputs, message):
    if (solver, method) == ("lbfgs", "partial_fit"):
        return
    model = MLPRegressor(**START, solver=solver, warm_start=True).fit(X[:rows], np.abs(X[:rows, :3]))
    before = [c.copy() for c in model.coefs_]
    with pytest.raises(ValueError, match=message):
        getattr(model.set_params(**later), method)(X[:rows], np.abs(np.resize(X, (rows, outputs))))
    for a, b in zip(model.coefs_, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_validation_data_for_a_solver_that_does_not_look_at_it(kind):
    with pytest.raises(ValueError, match=r"^validation_data: given, but solver='lbfgs'"):
        kind(solver="lbfgs").fit(X, Y[kind], validation_data=(X, Y[kind]))


def test_dropout_where_there_is_nothing_to_drop():
    with pytest.raises(ValueError, match=r"^dropout: 0.5, but"):
        MLPRegressor(hidden_layer_sizes=(), dropout=0.5).fit(X, Y[MLPRegressor])
