"""MLPClassifier and MLPRegressor: scikit-learn's own estimators, trained and applied by fastff's kernels.

They are subclasses. Checks of parameters and data, labels, initial weights, the split for early stopping, the order of
the minibatches, stopping rules, warnings and the lbfgs solver are scikit-learn's. Replaced are the training of an epoch
by adam or sgd, and the forward pass of networks that are large enough. So the same random_state trains on the same
minibatches from the same weights, and gives scikit-learn's results up to float32 rounding: adam and sgd train, and the
trained networks predict, in float32, whatever the type of X.
"""

import inspect
import time
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn import neural_network
from sklearn.base import _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network._base import LOSS_FUNCTIONS
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastff.sklearn.checks import (
    alone,
    as_numbers,
    checked_validation,
    refuse_another_network,
    refuse_changes,
    refuse_idle,
    validation_set,
)
from fastff.sklearn.epochs import Epochs
from fastff.sklearn.forward import limit_blas, outputs

# Fits of at most so many rows, and multiply-adds of a forward pass of them, are left to scikit-learn, in float64: the
# vectors of the kernels would be half empty, and there is little time to save.
FEW_ROWS, LITTLE_WORK = 64, 200_000


def _constructor(base: Any, **own: Any) -> Any:
    """An __init__ with the parameters of base in the installed scikit-learn, and those of `own` as keywords only."""
    inherited = list(inspect.signature(base.__init__).parameters.values())
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in own.items()]
    signature = inspect.Signature(inherited + added)

    def __init__(*args: Any, **options: Any) -> None:
        try:
            bound = signature.bind(*args, **options)
        except TypeError as error:
            raise TypeError(f"{base.__name__}.__init__() {error}") from None
        bound.apply_defaults()
        values = dict(bound.arguments)
        this = values.pop("self")
        for name in own:
            setattr(this, name, values.pop(name))
        base.__init__(this, **values)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


_Estimator: Any = object  # the base of the mixin: as Any, it lets mypy accept scikit-learn's attributes on self


class _Kernels(_Estimator):
    """A mixin that replaces scikit-learn's NumPy code of a training epoch and of the forward pass by kernels."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "decay": [StrOptions({"l2", "decoupled"})],
        "precision": [StrOptions({"float32", "bfloat16", "auto"})],
        "threads": [Interval(Integral, 1, None, closed="left"), None],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "on_epoch": [callable, None],
    }
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    _no_improvement_count: int
    validation_loss_curve_: list[float]
    validation_scores_: list[float] | None
    _validation: tuple[Any, Any, Any, str, str] | None = None  # while fit runs: X, y, weights, names of X and y

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit to X and y, as scikit-learn does.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (N, D)
            The rows.
        y : ndarray of shape (N,) or (N, outputs)
            Classes, or numbers to predict.
        sample_weight : ndarray of shape (N,), optional
            How much each row counts.
        validation_data : tuple, optional
            (X, y) or (X, y, sample_weight), scored after every epoch; early_stopping then uses it instead of a part of
            X. ``validation_scores_`` and ``validation_loss_curve_`` hold the scores and losses.
        X_val, y_val, sample_weight_val : ndarray, optional
            The same three by names that a Pipeline's transform_input can route.

        Returns
        -------
        object
            The estimator itself.
        """
        own = validation_set(validation_data, X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, validation=own)

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False, validation: Any = None) -> Any:
        """What fit and partial_fit share."""
        with alone(self):
            refuse_idle(self, incremental=incremental, validation=validation)
            weights = self._row_weights(y, sample_weight, incremental)
            if weights is not None:
                weights = _check_sample_weight(weights, X, ensure_non_negative=True)
                if not weights.any():
                    raise ValueError("Sample weights must contain at least one non-zero number.")
            self._validation = validation
            try:
                return super()._fit(X, y, sample_weight=weights, incremental=incremental)
            finally:
                self.__dict__.pop("_validation", None)

    def _row_weights(self, y: Any, sample_weight: Any, incremental: bool) -> Any:
        return sample_weight

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = super()._validate_input(X, y, incremental, reset)
        y = y if is_classifier(self) else as_numbers(y, "y", self.loss)
        if not reset:
            refuse_another_network(self, y)
        return X, y

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return outputs(self, X, checked=check_input)

    # --- training ---

    def _fit_stochastic(self, X: Any, y: Any, sample_weight: Any, *rest: Any) -> None:
        """Train with adam or sgd. rest: buffers of scikit-learn, not used here, and whether this is partial_fit."""
        incremental = rest[-1]
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer(self.coefs_ + self.intercepts_)
        else:
            self._adopt_options()
        if len(y) <= FEW_ROWS and len(y) * sum(c.size for c in self.coefs_) <= LITTLE_WORK and self._as_scikit_learn():
            with limit_blas(self.threads):
                super()._fit_stochastic(X, y, sample_weight, *rest)
            return
        X, y, sample_weight, validation = self._split(X, y, sample_weight)
        batch_size = min(200, len(y)) if self.batch_size == "auto" else self.batch_size
        if batch_size > len(y):
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        epochs = Epochs(self, X, y, sample_weight, int(min(batch_size, len(y))))
        if self._validation is None:
            self.__dict__.pop("validation_loss_curve_", None)
        else:
            if self.t_ == 0 or not hasattr(self, "validation_loss_curve_"):
                self.validation_loss_curve_ = []
            if self.validation_scores_ is None:
                self.validation_scores_ = []
        start, self.n_iter_ = time.monotonic(), 0
        try:
            for _ in range(self.max_iter):
                self.loss_ = epochs.run()
                self.n_iter_ += 1
                self.t_ += len(y)
                self.loss_curve_.append(self.loss_)
                if self.verbose:
                    print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                if validation is not None or self.on_epoch is not None:
                    epochs.show()
                stop = self._watch(validation)
                epochs.step_size_changed(self._adopt_options)  # on_epoch may have set another
                epochs.step_size_changed(self._optimizer.iteration_ends, self.t_)
                if self._no_improvement_count > self.n_iter_no_change:
                    what = "Validation score" if self.early_stopping else "Training loss"
                    message = (
                        f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive "
                        "epochs."
                    )
                    if epochs.step_size_changed(self._optimizer.trigger_stopping, message, self.verbose):
                        break
                    self._no_improvement_count = 0
                late = self.max_seconds is not None and time.monotonic() - start >= self.max_seconds
                if incremental or stop or late:
                    break
                if self.n_iter_ == self.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                        "hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        finally:
            epochs.show(moments=True)
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _as_scikit_learn(self) -> bool:
        """Whether only parameters that scikit-learn's own training has are in use."""
        added = (self.dropout, getattr(self, "label_smoothing", 0.0), self.max_seconds, self.on_epoch, self._validation)
        return not any(added) and self.decay == "l2" and self.precision == "float32"

    def _backprop(self, X: Any, y: Any, sample_weight: Any, *buffers: Any) -> tuple[Any, list[Any], list[Any]]:
        """Loss and gradients of a batch in scikit-learn's own training, which would divide by a sum of weights of 0."""
        if sample_weight is None or sample_weight.any():
            return super()._backprop(X, y, sample_weight, *buffers)
        return 0.0, [np.zeros_like(c) for c in self.coefs_], [np.zeros_like(b) for b in self.intercepts_]

    def _fit_lbfgs(self, *arguments: Any) -> None:
        with limit_blas(self.threads):
            super()._fit_lbfgs(*arguments)

    def _new_optimizer(self, parameters: list[np.ndarray]) -> Any:
        """scikit-learn's optimizer: it keeps the moments and the scheduled step size between calls of partial_fit."""
        if self.solver == "sgd":
            return SGDOptimizer(parameters, self.learning_rate_init, self.learning_rate, self.momentum,
                                self.nesterovs_momentum, self.power_t)  # fmt: skip
        return AdamOptimizer(parameters, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)

    def _adopt_options(self) -> None:
        """Have the optimizer so far go by what set_params has changed since; of another solver, a new one starts."""
        now, kept = self._new_optimizer([]), self._optimizer
        if type(now) is not type(kept):
            self._optimizer = self._new_optimizer(self.coefs_ + self.intercepts_)
            return
        for name in ("beta_1", "beta_2", "epsilon", "lr_schedule", "momentum", "nesterov", "power_t"):
            if hasattr(now, name):
                setattr(kept, name, getattr(now, name))
        if now.learning_rate_init != kept.learning_rate_init:  # else a schedule may have changed learning_rate
            kept.learning_rate_init, kept.learning_rate = now.learning_rate_init, now.learning_rate

    def _split(self, X: Any, y: Any, weights: Any) -> tuple[Any, Any, Any, tuple[Any, Any, Any] | None]:
        """The rows to train on, and those to validate on: validation_data, or what early stopping holds out."""
        if self._validation is not None:
            return X, y, weights, checked_validation(self, *self._validation)
        if not self.early_stopping:
            return X, y, weights, None
        arrays = [X, y] if weights is None else [X, y, weights]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction,
            stratify=y if is_classifier(self) and self.n_outputs_ == 1 else None,
        )  # fmt: skip
        X, X_val, y, y_val, weights, w_val = parts if weights is not None else [*parts, None, None]
        if X_val.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        y_val = self._label_binarizer.inverse_transform(y_val) if is_classifier(self) else y_val
        return X, y, weights, (X_val, y_val, w_val)

    def _watch(self, validation: tuple[Any, Any, Any] | None) -> bool:
        """Count epochs without improvement, record scores and call on_epoch; True if that returns true, to stop."""
        X, y, weights = validation or (None, None, None)
        self._update_no_improvement_count(self.early_stopping, X, y, weights)
        if self._validation is not None:
            if not self.early_stopping and self.validation_scores_ is not None:
                self.validation_scores_.append(self._score(X, y, sample_weight=weights))
            self.validation_loss_curve_.append(self._loss_of(X, y, weights))
        if self.on_epoch is None:
            return False
        before = self.get_params(deep=False)
        stop = bool(self.on_epoch(self))
        refuse_changes(self, before)
        return stop

    def _score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        # scikit-learn 1.7's _score looks for NaN among predicted labels, which fails if they are strings.
        predicted = self._predict(X, check_input=False)
        if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
            return float("nan")
        measure = accuracy_score if is_classifier(self) else r2_score
        return measure(y, predicted, sample_weight=sample_weight)

    def _loss_of(self, X: Any, y: Any, weights: Any) -> float:
        """The mean loss on rows (N, D) and their targets, without the L2 penalty."""
        y = self._label_binarizer.transform(y) if is_classifier(self) else np.asarray(y, np.float64)
        name = "binary_log_loss" if is_classifier(self) and self.out_activation_ == "logistic" else self.loss
        predicted = self._forward_pass_fast(X, check_input=False)
        return float(LOSS_FUNCTIONS[name](y.reshape(len(predicted), -1), predicted, weights))


_OWN = {
    "dropout": 0.0, "decay": "l2", "precision": "float32", "threads": None, "max_seconds": None, "on_epoch": None
}  # fmt: skip
_DOC = """
    All of scikit-learn's parameters keep their meaning and default. Those below are added, as keywords.

    Parameters
    ----------
    dropout : float, default: 0.0
        Share of each hidden layer's values that training drops (Srivastava et al. 2014).
    decay : {"l2", "decoupled"}
        ``"l2"`` divides alpha by the batch's rows and adds it to the gradient, as scikit-learn does; ``"decoupled"``
        multiplies weights by 1 - learning_rate_init * alpha at every step (AdamW, Loshchilov & Hutter 2019).
    precision : {"float32", "bfloat16", "auto"}
        ``"float32"``, in which training computes whatever type X has; ``"bfloat16"`` rounds what the layers multiply,
        ``"auto"`` does so where the CPU is faster with it.
    threads : int, optional
        The most threads to use; by default as many as are useful, one inside a joblib worker.
    max_seconds : float, optional
        Training ends after the epoch in which this time has passed.
    on_epoch : callable, optional
        Called with the estimator after every epoch; training ends if it returns True.
"""
_EXAMPLE = """
    Examples
    --------
    >>> from fastff import load_dataset
    >>> from fastff.sklearn import {name}
    >>> data = load_dataset("digits")
    >>> model = {name}(hidden_layer_sizes=(64,), learning_rate_init=0.01, early_stopping=True)
    >>> model = model.fit(data.x_train / 16, data.y_train)
    >>> bool(model.score(data.x_test / 16, data.y_test) > {score})
    True
    """


class MLPClassifier(_Kernels, neural_network.MLPClassifier):
    __doc__ = f"""scikit-learn's MLPClassifier on fastff's kernels.
{_DOC}    class_weight : dict or "balanced", optional
        Weights by class.
    label_smoothing : float, default: 0.0
        Share of the target probability spread evenly over all classes (Szegedy et al. 2016).
{_EXAMPLE.format(name="MLPClassifier", score=0.8)}"""

    _parameter_constraints = (
        neural_network.MLPClassifier._parameter_constraints
        | _Kernels._parameter_constraints
        | {
            "class_weight": [dict, list, StrOptions({"balanced"}), None],
            "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        }
    )
    __init__ = _constructor(neural_network.MLPClassifier, **_OWN, class_weight=None, label_smoothing=0.0)

    def _row_weights(self, y: Any, sample_weight: Any, incremental: bool) -> Any:
        if self.class_weight is None:
            return sample_weight
        if incremental and np.ndim(y) == 1:  # a part of the rows need not have all classes that a dict names
            by_class = compute_sample_weight(self.class_weight, np.append(y, self.classes_))[: len(y)]
        else:
            by_class = compute_sample_weight(self.class_weight, y)
        return by_class if sample_weight is None else by_class * np.asarray(sample_weight)


class MLPRegressor(_Kernels, neural_network.MLPRegressor):
    __doc__ = f"""scikit-learn's MLPRegressor on fastff's kernels.
{_DOC}{_EXAMPLE.format(name="MLPRegressor", score=0.5)}"""

    _parameter_constraints = neural_network.MLPRegressor._parameter_constraints | _Kernels._parameter_constraints
    __init__ = _constructor(neural_network.MLPRegressor, **_OWN)
