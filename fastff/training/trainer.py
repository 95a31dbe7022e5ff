"""Training: shuffle the rows, run the batches, look at the validation set, keep the history and the best weights.

A network of built-in layers is trained by one native call for one or more epochs, any other layer by layer, with the
same result (steps.py). Everything random follows from one seed: the order of epoch e is a function of (seed, e) alone.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import numpy as np

from fastff.data.rows import Rows, check_finite
from fastff.engine.batches import Batches
from fastff.engine.bfloat16 import resolve_precision
from fastff.engine.context import ALONE, RunContext
from fastff.engine.threads import check_threads
from fastff.errors import ArgumentError, DataError, DivergenceError
from fastff.nn.dropout import Dropout, RandomLayer
from fastff.nn.loss import Loss, check_loss
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.optim import Optimizer, check_clip_norm, check_ema_decay, check_step_size
from fastff.system import clock
from fastff.system.arguments import check_choice, check_count, check_flag, check_number, check_seed, check_size
from fastff.system.attributes import Checked, Closed, Fixed
from fastff.system.blocks import row_blocks
from fastff.system.limits import check_room
from fastff.system.names import KnownElsewhere, called_here
from fastff.training.averages import Averages, begin_averages
from fastff.training.evaluation import EVALUATION_ROWS, Evaluation, behind_whitening
from fastff.training.figures import RANKED, check_ranked, class_figures
from fastff.training.given import Given, check_given, check_pair, in_front_of_loss, one_at_a_time
from fastff.training.history import HIGHER_IS_BETTER, Best, EpochRecord, History, Progress, Recorder
from fastff.training.schedules import SCHEDULES
from fastff.training.steps import Fit, LayerSteps, ProgramSteps, Steps, Trained
from fastff.training.verbose import shown

Validate = Callable[[], tuple[float, float]]


class Trainer(Closed, KnownElsewhere):
    """Trains a network on minibatches.

    Parameters
    ----------
    network : FeedForwardNeuralNetwork
        Trained in place.
    optimizer : Adam, SGD or object, optional
        It begins anew, whatever has trained the network before. None goes on with the network's own, Adam() unless it
        was given another.
    batch_size : int, default: 128
        The last batch of an epoch may be smaller.
    step_size : float, default: 1e-3
        The learning rate, above 0.
    precision : {"float32", "bfloat16", "auto"}
        ``"bfloat16"`` rounds what the layers multiply to 8 bits of mantissa, on CPUs that are made for it; weights and
        sums stay float32. ``"auto"`` does so where it is faster.
    threads : int, optional
        None uses as many as are useful.
    seed : int, default: 0
        Decides shuffling and dropout.
    schedule : {"constant", "step", "cosine", "one-cycle"}
        How the step size changes, over all epochs up to the end of the fit under way.
    clip_norm : float, optional
        The largest norm of the gradients of a step, of all weights and biases together; larger ones are scaled down to
        it (Pascanu et al. 2013).
    ema_decay : float, optional
        Keep an exponential moving average of all weights and biases over the steps, with this decay, above 0 and below
        1. Validation, the best epoch, and the network outside of fit have the averages; training goes on from the
        weights. 0.999 averages the last thousand steps or so.
    loss : {"cross_entropy", "squared_error", "absolute_error", "poisson"} or Loss
        ``"cross_entropy"`` for labels; the others for numbers to predict (SquaredError and so on); or a Loss, also of
        your own.
    label_smoothing : float, default: 0.0
        As in CrossEntropySoftmax.
    patience : int, optional
        Stop after so many epochs without a better monitor (then "val_loss" unless it is given) and restore the best
        weights. A fit after one that has stopped so waits anew.
    monitor : str, optional
        ``"val_loss"``, ``"train_loss"``, and ``"val_accuracy"`` or ``"train_accuracy"``, ``"val_balanced_accuracy"`` or
        ``"val_auc"``, or for numbers to predict ``"val_r2"`` or ``"train_r2"``: `best` keeps the weights of its best
        epoch.
    verbose : bool, default: False
        Show a bar in a terminal or a notebook (there with ipywidgets), elsewhere print a line after each epoch.

    Raises
    ------
    ArgumentError
        For values out of range.

    Examples
    --------
    >>> from fastff import Adam, FeedForwardNeuralNetwork, Standardize, Trainer, load_dataset
    >>> data = load_dataset("digits")
    >>> network = FeedForwardNeuralNetwork(64, 10, hidden_dim=[64], seed=0)
    >>> network.layers.insert(0, Standardize.fit(data.x_train))
    >>> trainer = Trainer(network, Adam(weight_decay=1e-4), batch_size=32, monitor="val_accuracy")
    >>> history = trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=20)
    >>> trainer.restore_best()
    >>> trainer.best.value > 0.9
    True
    """

    batch_size = Checked(partial(check_size, "batch_size"))
    step_size = Checked(check_step_size)
    schedule = Checked(partial(check_choice, "schedule", choices=tuple(SCHEDULES)))
    precision = Checked(resolve_precision)
    threads = Checked(check_threads)
    seed = Checked(partial(check_seed, required=True))
    clip_norm = Checked(check_clip_norm)
    ema_decay = Checked(check_ema_decay)
    verbose = Checked(partial(check_flag, "verbose"))
    network, criterion, recorder = Fixed(), Fixed(), Fixed()
    context: RunContext = ALONE  # of all runs; the commands set it before fit
    compile_seconds = Checked(partial(check_number, "compile_seconds", low=0.0, high=math.inf))
    # that fitting the first layers to the rows has taken; the commands set it
    prepare_seconds = Checked(partial(check_number, "prepare_seconds", low=0.0, high=math.inf))
    threads_used = Checked(partial(check_size, "threads_used"))  # of the last epoch
    _averages: Averages | None = None

    @called_here
    def __init__(
        self,
        network: FeedForwardNeuralNetwork,
        optimizer: Optimizer | None = None,
        *,
        batch_size: int = 128,
        step_size: float = 1e-3,
        precision: Literal["float32", "bfloat16", "auto"] = "float32",
        threads: int | None = None,
        seed: int = 0,
        schedule: Literal["constant", "step", "cosine", "one-cycle"] = "constant",
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        loss: Literal["cross_entropy", "squared_error", "absolute_error", "poisson"] | Loss = "cross_entropy",
        label_smoothing: float = 0.0,
        patience: int | None = None,
        monitor: str | None = None,
        verbose: bool = False,
    ) -> None:
        if not isinstance(network, FeedForwardNeuralNetwork):
            raise ArgumentError(f"network: {type(network).__name__}, want a FeedForwardNeuralNetwork")
        self.network = network
        self.batch_size, self.step_size, self.schedule = batch_size, step_size, schedule
        self.precision, self.threads, self.seed, self.verbose = precision, threads, seed, verbose
        self.clip_norm, self.ema_decay = clip_norm, ema_decay
        self.compile_seconds, self.prepare_seconds, self.threads_used = 0.0, 0.0, 1
        self.criterion = check_loss(loss, label_smoothing)
        self.recorder = Recorder(self._check_monitor(monitor), self.criterion.task)
        self.patience = patience
        if optimizer is not None:  # and all else is right, and this is one: else the network stays as it is
            network.optimizer = optimizer
            for layer in network.linear_layers:
                layer.forget_moments()

    def __repr__(self) -> str:
        options = f"batch_size={self.batch_size}, step_size={self.step_size:g}"
        done = f"{self.progress.epoch} epoch{'s' * (self.progress.epoch != 1)} done"
        return f"{type(self).__name__}({self.network!r}, {self.optimizer!r}, {options}; {done})"

    @property
    def optimizer(self) -> Optimizer:
        """The network's."""
        return self.network.optimizer

    @property
    def monitor(self) -> str | None:
        """The figure of an epoch that decides which one is the best, None if the best weights are not kept.

        Assigning another one forgets the best epoch so far.
        """
        return self.recorder.monitor

    @monitor.setter
    def monitor(self, value: str | None) -> None:
        if self._check_monitor(value) != self.monitor:
            self.recorder.monitor, self.recorder.best = value, None

    @property
    def patience(self) -> int | None:
        """How many epochs without a better monitor end a fit; None: none do."""
        return self._patience

    @patience.setter
    def patience(self, value: int | None) -> None:
        self._patience = None if value is None else check_size("patience", value)
        if value is not None and self.monitor is None:
            self.monitor = "val_loss"

    @property
    def history(self) -> History:
        """What all calls of fit have shown so far."""
        return self.recorder.history

    @property
    def progress(self) -> Progress:
        """How far all calls of fit have come."""
        return self.recorder.progress

    @property
    def best(self) -> Best | None:
        """The best epoch so far and its weights, None where nothing is monitored or no epoch has ended."""
        return self.recorder.best

    @called_here
    @one_at_a_time
    def fit(
        self,
        X: Rows,
        Y: np.ndarray,
        X_val: Rows | None = None,
        Y_val: np.ndarray | None = None,
        *,
        epochs: int,
        on_epoch: Callable[[EpochRecord], Any] | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> History:
        """Train for so many more epochs; calling it again goes on from there.

        Ctrl-C raises KeyboardInterrupt after the batch under way, from where fit can go on too.

        Parameters
        ----------
        X : ndarray of shape (N, D) or Shards
            The rows: uint8, float32 or float64, used as they are; Shards are read a part at a time while the kernels
            run.
        Y : ndarray of shape (N,) or (N, 1)
            Labels, or numbers to predict, which may also be (N, outputs).
        X_val, Y_val : ndarray, optional
            Rows and labels that are looked at after each epoch.
        epochs : int
            How many more.
        on_epoch : callable, optional
            After each epoch on_epoch(record) is called; if it returns True, and not only something that is true,
            training ends. It may set step_size, schedule and the network's optimizer for the epochs to come; one of
            another kind begins anew. Other options stay as they are until the fit has ended.
        sample_weight : ndarray of shape (N,), optional
            A weight of 0 or more for each row; each batch's loss is the mean with these weights. Validation and
            accuracies count rows alike.

        Returns
        -------
        History
            The history of this trainer, earlier calls included.

        Raises
        ------
        DataError
            For unusable data.
        DivergenceError
            When a loss is not finite, before that batch could change the weights.
        ArgumentError
            For options that on_epoch must not change.
        """
        given = self._checked(X, Y, X_val, Y_val, sample_weight)
        check_count("epochs", check_size("epochs", epochs))
        if on_epoch is not None and not callable(on_epoch):
            raise ArgumentError(f"on_epoch: {type(on_epoch).__name__}, want a function of the epoch's record, or None")

        self._last_epoch = self.progress.epoch + epochs
        if self.patience is not None and self.recorder.epochs_since_best >= self.patience:
            self.recorder.wait_anew()  # the fit before has run out of it
        self._averages = begin_averages(self._own_averages, self.network.linear_layers, self.ema_decay)
        try:
            with ExitStack() as stack:
                self._fit(given, epochs, on_epoch, stack)
        finally:
            if self._averages is not None:
                self._averages.show()
        if self.patience is not None:
            self.restore_best()
        return self.history

    def _fit(self, given: Given, epochs: int, on_epoch: Callable[[EpochRecord], Any] | None, stack: ExitStack) -> None:
        """The epochs of a fit; what shows how it goes is closed with `stack`."""
        show, compiling = shown(self.verbose, self.context, self._last_epoch, self.progress.epoch, stack)
        compiling(True)
        fit = self.what_to_fit(given.X, given.Y, given.weights)
        self.recorder.check_batches(fit.batches)
        steps, validate = self._build(
            fit, given.X_val, given.Y_val, 1 if on_epoch is not None or self.verbose or self._ranks else epochs
        )
        self.compile_seconds += steps.compile()
        compiling(False)

        settings = self._settings()
        going_on = True
        while going_on:
            for name, value in self._settings().items():
                if value != settings[name]:
                    raise ArgumentError(f"{name}: was changed during a fit, want it left alone until its end")
            # the rest of an interrupted epoch is trained by itself
            count = 1 if self.progress.batch > 0 else max(1, min(self._epochs_left, steps.most_epochs))
            trained = self._train(steps, fit, count)
            figures = trained.validation(count - 1)
            if figures is None and validate is not None:
                figures = validate()
            record = self.recorder.close(fit, figures, ranked=self._ranked(given))
            show(record)
            going_on = not (on_epoch is not None and self._told(record, on_epoch)) and self._epochs_left > 0

    def _told(self, record: EpochRecord, on_epoch: Callable[[EpochRecord], Any]) -> bool:
        """Whether on_epoch(record) returns True; the network shows itself to it as after a fit."""
        if self._averages is not None:
            self._averages.show()
        ends = on_epoch(record)
        if self._averages is not None:
            self._averages.hide()
        return isinstance(ends, bool | np.bool_) and bool(ends)

    @property
    def _own_averages(self) -> Averages | None:
        """The averages, None where there are none yet, or the network has other layers by now."""
        own = self._averages
        return own if own is not None and own.are_of(self.network.linear_layers) else None

    def evaluate(self, X: Rows, Y: np.ndarray) -> tuple[float, float]:
        """How good the network is over all rows, with the trainer's threads.

        Parameters
        ----------
        X : ndarray of shape (N, D) or Shards
            The rows.
        Y : ndarray of shape (N,) or (N, 1)
            Their labels, or numbers to predict.

        Returns
        -------
        tuple of float
            The mean loss; and the accuracy in 0..1, or r2.
        """
        return self._evaluation(X, Y).run(self.threads, self.context)

    def evaluate_rows(self, X: Rows, Y: np.ndarray) -> tuple[float, float, np.ndarray]:
        """What evaluate gives, and the outputs of the network behind it, by one pass over the rows.

        Parameters
        ----------
        X : ndarray of shape (N, D) or Shards
            The rows.
        Y : ndarray of shape (N,) or (N, 1)
            Their labels, or numbers to predict.

        Returns
        -------
        tuple of float, float and ndarray of shape (N, outputs), float32
            The mean loss; the accuracy in 0..1, or r2; the logits, or the numbers that the loss compares with its own.
        """
        evaluation = self._evaluation(X, Y, outputs=True)
        loss, score = evaluation.run(self.threads, self.context)
        return loss, score, evaluation.outputs

    def _evaluation(self, X: Rows, Y: np.ndarray, *, outputs: bool = False) -> Evaluation:
        X, Y = check_pair(self.network, self.criterion, X, Y, "X", "Y")
        front = in_front_of_loss(self.network, self.criterion)
        return Evaluation(front, X, Y, EVALUATION_ROWS, self.criterion, outputs=outputs)

    def restore_best(self) -> None:
        """Give the network the weights of the best epoch so far, where a monitor has kept them."""
        if self.best is not None:
            self.network.set_parameters(self.best.arrays)

    def order(self, epoch: int, rows: int) -> np.ndarray:
        """The order of so many rows in this epoch.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        rows : int
            How many there are.

        Returns
        -------
        ndarray of shape (rows,), int64
            The numbers of the rows.
        """
        generator = np.random.default_rng([self.seed, check_count("epoch", epoch)])
        check_room(f"the order of {check_size('rows', rows):,} rows", 2 * 8 * rows)
        return generator.permutation(np.arange(rows, dtype=np.int64))

    def _order(self, epoch: int, rows: int) -> np.ndarray:
        """order, checked: it may be a subclass's own."""
        order = np.asarray(self.order(epoch, rows))
        if order.shape != (rows,) or order.dtype != np.int64:
            raise ArgumentError(f"order: {order.dtype} of shape {order.shape}, want int64 of shape ({rows},)")
        if order.min(initial=0) < 0 or order.max(initial=0) >= rows:
            raise ArgumentError(f"order: row numbers {order.min()} to {order.max()}, want 0 to {rows - 1}")
        return order

    def _checked(self, X: Any, Y: Any, X_val: Any, Y_val: Any, sample_weight: Any) -> Given:
        """What fit is given, as it is used; raises as fit does."""
        self.network.task = self.criterion.task
        given, batch = check_given(self.network, self.criterion, X, Y, X_val, Y_val, sample_weight), self.progress.batch
        if X_val is None and self.monitor is not None and self.monitor.startswith("val"):
            raise ArgumentError(f"monitor: {self.monitor}, want X_val and Y_val in fit, or another monitor")
        check_ranked(self.monitor, given.Y_val, self.network.output_dim)
        self.recorder.check()
        if batch > len(Batches(len(given.X), self.batch_size)):
            raise DataError(
                f"X: {len(given.X)} rows, but the interrupted epoch had come to batch {batch}; want the same data"
            )
        if self.precision != "float32" and self.clip_norm is not None:
            raise ArgumentError(f"clip_norm: {self.clip_norm} with precision {self.precision!r}, want 'float32'")
        if self.precision != "float32" and not self._one_program():
            raise ArgumentError(
                f"precision: {self.precision!r}, want 'float32' for a network with a layer of your own, a loss of your "
                "own, or layers that were updated for different numbers of steps"
            )
        if self.network.linear_layers and not any(layer.trainable for layer in self.network.linear_layers):
            raise ArgumentError("network: all of its layers are frozen, want one with trainable=True")
        return given

    @property
    def _ranks(self) -> bool:
        """Whether what is monitored takes the probabilities of all validation rows after every epoch."""
        return self.monitor in RANKED

    def _ranked(self, given: Given) -> dict[str, float]:
        """That figure, of the network as it is now."""
        if not self._ranks or given.X_val is None or given.Y_val is None:
            return {}
        network = self.network if self._averages is None else self._averages.network(self.network)
        probabilities = network.predict_proba(given.X_val, context=self.context)
        figure = class_figures(given.Y_val, probabilities)[str(self.monitor).removeprefix("val_")]
        return {str(self.monitor): math.nan if figure is None else figure}

    def what_to_fit(self, X: Rows, Y: np.ndarray, weights: np.ndarray | None = None) -> Fit:
        """All that steps on these rows and targets, which are checked, need to know."""
        batches = Batches(len(X), min(self.batch_size, len(X)))
        how = self.seed, self.precision, self.threads, self.context, weights, self.clip_norm, self._averages
        return Fit(in_front_of_loss(self.network, self.criterion), self.criterion, X, Y, batches, *how)

    def _build(
        self, fit: Fit, X_val: Rows | None, Y_val: np.ndarray | None, epochs: int
    ) -> tuple[Steps, Validate | None]:
        """The steps, of which a call may train so many epochs, and validation where there are rows for it."""
        evaluation, validate = None, None
        if X_val is not None and Y_val is not None:
            network, rows = behind_whitening(fit.result, X_val, self.threads, self.context)
            evaluation = Evaluation(network, rows, Y_val, EVALUATION_ROWS, self.criterion)
            validate = partial(evaluation.run, self.threads, self.context)
        if not self._one_program():
            return LayerSteps(fit), validate
        if evaluation is not None and evaluation.program is not None:
            self.compile_seconds += evaluation.program.compile()
        return ProgramSteps(fit, epochs=epochs, evaluation=evaluation, keep=self.monitor is not None), validate

    def _check_monitor(self, value: str | None) -> str | None:
        other = "r2" if self.criterion.task == "classify" else "accuracy"
        names = [name for name in HIGHER_IS_BETTER if not name.endswith(other)]
        if other == "accuracy":
            names.remove("val_auc")
        return None if value is None else check_choice("monitor", value, names)

    def _one_program(self) -> bool:
        """Whether one program can train the network: also all layers have come to the same number of updates."""
        counts = {layer.updates for layer in self.network.linear_layers if layer.trainable}
        return self.network.lowers() and self.criterion.lowers() and len(counts) <= 1

    def _settings(self) -> dict[str, Any]:
        """What must stay the same during a fit: its steps have it from its start."""
        layers = self.network.layers
        names = ("batch_size", "seed", "precision", "threads", "clip_norm", "ema_decay", "monitor")
        return {
            **{name: getattr(self, name) for name in names},
            "label_smoothing": getattr(self.criterion, "label_smoothing", None),
            "layers": [*layers],
            "rate": [layer.rate for layer in layers if isinstance(layer, Dropout)],
            "training": [layer.training for layer in layers if isinstance(layer, RandomLayer)],
            "trainable": [layer.trainable for layer in self.network.linear_layers],
        }

    @property
    def _epochs_left(self) -> int:
        """How many more epochs to train, unless one of them is the best."""
        left = self._last_epoch - self.progress.epoch
        return left if self.patience is None else min(left, self.patience - self.recorder.epochs_since_best)

    def _train(self, steps: Steps, fit: Fit, count: int) -> Trained:
        """Train for `count` epochs from where the first of them stands; the last still waits for its record."""
        epoch, first, batches = self.progress.epoch, self.progress.batch, fit.batches
        orders = np.array([self._order(number, batches.rows) for number in range(epoch, epoch + count)])
        fit.network.optimizer = self.network.optimizer  # which on_epoch may have set
        start = clock.now()
        try:
            trained = steps(epoch, orders, first, self._step_sizes(len(batches), count))
        finally:
            if steps.trained is not None:
                self.threads_used = steps.trained.threads
                self.recorder.count(fit, steps.trained, clock.since(start), fit.wholes(orders))
        done = trained.outcome.done
        if done < count * len(batches):
            if self.progress.batch == len(batches):  # the first batch of the next epoch has diverged
                self.recorder.close(fit, trained.validation(done // len(batches) - 1))
            self._diverged(fit.X, orders[done // len(batches)][batches.slice(self.progress.batch)])
        return trained

    def _step_sizes(self, batches: int, epochs: int) -> np.ndarray:
        """The step size of each batch of the next epochs, from the first batch of the epoch under way."""
        epoch = self.progress.epoch + np.arange(epochs, dtype=np.int64)
        done = (epoch[:, None] + np.arange(batches) / batches).ravel() / self._last_epoch
        return self.step_size * SCHEDULES[self.schedule](done)

    def _diverged(self, X: Rows, rows: np.ndarray) -> None:
        """Raise what says why the loss of the next batch, of these rows, is not finite."""
        batch = self.progress.batch
        check_finite(X[rows], f"X, among the rows of batch {batch}")
        outputs = self.network.logits(X[rows])
        name = "logit" if self.criterion.task == "classify" else "output"
        weights = [layer.arrays()["weight"] for layer in self.network.linear_layers]
        weight = np.max([np.abs(block).max() for rows in weights for block in row_blocks(rows)], initial=0.0)
        raise DivergenceError(
            f"the loss is not finite at epoch {self.progress.epoch + 1}, batch {batch} "
            f"(step {len(self.history.batch_losses)}, largest |{name}| {np.abs(outputs).max():.3g}, "
            f"largest |weight| {weight:.3g}); the weights are those before it. "
            f"Try a step size below {self.step_size:g}, or standardised rows"
        )
