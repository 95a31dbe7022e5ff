"""Logs a run for TensorBoard or MLflow: its options, the figures of every epoch when it ends, and the final figures.

Both packages are optional, and are imported only when a run asks for one.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fastff
from fastff.errors import DataError, MissingExtra
from fastff.runs.config import settings
from fastff.runs.run import Run
from fastff.training.history import EpochRecord

# An epoch's figures and their names in TensorBoard, which shows names with the same beginning side by side
_TAGS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "val_loss": "loss/val",
    "val_accuracy": "accuracy/val",
    "train_r2": "r2/train",
    "val_r2": "r2/val",
    "examples_per_second": "examples_per_second",
}


def make_log(run: Run, dataset: str) -> "Log":
    """The log that --log asks for. It is a context manager: entering it starts the log, leaving it closes the log.

    Raises MissingExtra if the package is not installed, DataError if its store cannot be reached or written to.
    """
    kind = {None: Log, "tensorboard": TensorBoardLog, "mlflow": MLflowLog}[run.options.log]
    return kind(run, dataset)


class Log:
    """The base class, which logs nothing."""

    def __init__(self, run: Run, dataset: str) -> None:
        self.run = run

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        pass

    def epoch(self, record: EpochRecord) -> None:
        """Log the figures of an epoch."""

    def summary(self, figures: dict[str, Any]) -> None:
        """Log the figures of summary.json."""


class TensorBoardLog(Log):
    """Writes event files into the run's folder, so that `tensorboard --logdir runs` shows every run by its folder."""

    def __init__(self, run: Run, dataset: str) -> None:
        super().__init__(run, dataset)
        try:
            from tensorboard.compat.proto import event_pb2
            from tensorboard.plugins.hparams.summary_v2 import hparams_pb
            from tensorboard.plugins.scalar.summary_v2 import scalar_pb
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise MissingExtra.of("--log tensorboard needs tensorboard", '"fastff[tensorboard]"', error) from None
        self._make_writer, self._event, self._options, self._scalar = EventFileWriter, event_pb2, hparams_pb, scalar_pb

    def __enter__(self) -> "Log":
        options = {name: str(v) if isinstance(v, list) else v for name, v in settings(self.run.options).items()}
        with _one_line("tensorboard"):
            self._writer = self._make_writer(str(self.run.folder))
            # TensorBoard drops what an earlier process logged of this epoch and later ones, which are trained anew.
            start = self._event.SessionLog(status=self._event.SessionLog.START)
            self._write(self.run.trainer.progress.epoch + 1, session_log=start)
            self._write(0, summary=self._options(options))
        return self

    def __exit__(self, *_: Any) -> None:
        with _one_line("tensorboard"):
            self._writer.close()

    def epoch(self, record: EpochRecord) -> None:
        self._scalars(record.epoch, {tag: getattr(record, name) for name, tag in _TAGS.items()})

    def summary(self, figures: dict[str, Any]) -> None:
        tests = {f"{name}/test": figures.get(f"test_{name}") for name in ("loss", "accuracy", "r2", "rmse", "mae")}
        self._scalars(figures["epochs"], tests)

    def _scalars(self, step: int, values: dict[str, float | None]) -> None:
        with _one_line("tensorboard"):
            for tag, value in values.items():
                if value is not None:
                    self._write(step, summary=self._scalar(tag, value))
            self._writer.flush()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=step, **content))


class MLflowLog(Log):
    """Logs into MLflow's store: the one that MLFLOW_TRACKING_URI names, or else the one in the current folder.

    The experiment has the name of the data set, the run that of its folder.
    """

    def __init__(self, run: Run, dataset: str) -> None:
        super().__init__(run, dataset)
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtra.of("--log mlflow needs mlflow", '"fastff[mlflow]"', error) from None
        self._mlflow = mlflow
        with _one_line("mlflow"):
            mlflow.set_experiment(dataset)

    def __enter__(self) -> "Log":
        place = self.run.folder.resolve().as_uri()  # a path may hold quotes, which would end the string in _latest
        with _one_line("mlflow"):
            earlier = self._latest(place) if self.run.options.resume else []
            if earlier:  # MLflow keeps the options that a run began with
                self._mlflow.start_run(run_id=earlier[0].info.run_id)
            else:
                tags = {"fastff.folder": place, "fastff.version": fastff.__version__}
                self._mlflow.start_run(run_name=self.run.folder.name, tags=tags)
                self._mlflow.log_params(settings(self.run.options))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        with _one_line("mlflow"):
            self._mlflow.end_run("FINISHED" if kind is None else "KILLED" if stopped else "FAILED")

    def epoch(self, record: EpochRecord) -> None:
        self._metrics(record.epoch, {name: getattr(record, name) for name in _TAGS})

    def summary(self, figures: dict[str, Any]) -> None:
        # With a prefix, since these figures are the best network's and val_loss and so on the last epoch's
        self._metrics(figures["epochs"], {f"summary/{name}": value for name, value in figures.items()})

    def _latest(self, place: str) -> list[Any]:
        condition = f"tags.`fastff.folder` = '{place}'"
        return self._mlflow.search_runs(filter_string=condition, max_results=1, output_format="list")

    def _metrics(self, step: int, values: dict[str, Any]) -> None:
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        with _one_line("mlflow"):
            self._mlflow.log_metrics(numbers, step=step)


@contextmanager
def _one_line(package: str) -> Iterator[None]:
    """Turn any error in the block into a DataError; these packages raise all kinds, for files and servers."""
    try:
        yield
    except Exception as error:
        raise DataError(f"--log {package}: {error}") from None
