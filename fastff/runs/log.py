"""A run as TensorBoard or MLflow shows it: every epoch's figures as they come, the options, and how it ended.

Both are extras, and imported only where a run asks for them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import fastff
from fastff.errors import DataError, MissingExtra
from fastff.runs.config import settings
from fastff.runs.run import Run
from fastff.training.history import EpochRecord

# Figures of an epoch, and their names in TensorBoard, which shows names that begin alike side by side.
_TAGS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "val_loss": "loss/val",
    "val_accuracy": "accuracy/val",
    "examples_per_second": "examples_per_second",
}


def make_log(run: Run, dataset: str) -> "Log":
    """The log that --log asks for, before anything is written; used as a context, which ends it however training ends.

    Raises MissingExtra without the package, DataError where there is no reaching the place or writing to it.
    """
    kind = {None: Log, "tensorboard": TensorBoardLog, "mlflow": MLflowLog}[run.options.log]
    return kind(run, dataset)


class Log:
    """No log: what those below have in common."""

    def __init__(self, run: Run, dataset: str) -> None:
        self.run = run

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def epoch(self, record: EpochRecord) -> None:
        """Log an epoch that has ended."""

    def summary(self, figures: dict[str, Any]) -> None:
        """Log what summary.json says."""


class TensorBoardLog(Log):
    """Event files in the folder of the run, so that `tensorboard --logdir runs` names every run after its folder."""

    def __init__(self, run: Run, dataset: str) -> None:
        super().__init__(run, dataset)
        try:
            from tensorboard.compat.proto import event_pb2
            from tensorboard.plugins.hparams.summary_v2 import hparams_pb
            from tensorboard.plugins.scalar.summary_v2 import scalar_pb
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise MissingExtra("--log tensorboard needs tensorboard: pip install 'fastff[tensorboard]'") from None
        self._make_writer, self._event, self._options, self._scalar = EventFileWriter, event_pb2, hparams_pb, scalar_pb

    def __enter__(self) -> "Log":
        options = {name: str(v) if isinstance(v, list) else v for name, v in settings(self.run.options).items()}
        with _one_line("tensorboard"):
            self._writer = self._make_writer(str(self.run.folder))
            # What an earlier process logged from this epoch on is not part of the run.
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
        self._scalars(figures["epochs"], {"loss/test": figures["test_loss"], "accuracy/test": figures["test_accuracy"]})

    def _scalars(self, step: int, values: dict[str, float | None]) -> None:
        with _one_line("tensorboard"):
            for tag, value in values.items():
                if value is not None:
                    self._write(step, summary=self._scalar(tag, value))
            self._writer.flush()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=step, **content))


class MLflowLog(Log):
    """A run in MLflow's store: the one of MLFLOW_TRACKING_URI, or what `mlflow ui` opens in this folder.

    Experiments are named after data sets, runs after their folders.
    """

    def __init__(self, run: Run, dataset: str) -> None:
        super().__init__(run, dataset)
        try:
            import mlflow
        except ImportError:
            raise MissingExtra("--log mlflow needs mlflow: pip install 'fastff[mlflow]'") from None
        self._mlflow = mlflow
        with _one_line("mlflow"):
            mlflow.set_experiment(dataset)

    def __enter__(self) -> "Log":
        place = self.run.folder.resolve().as_uri()  # which has no quotes, unlike a path
        with _one_line("mlflow"):
            earlier = self._latest(place) if self.run.options.resume else []
            if earlier:  # MLflow keeps the options that a run began with
                self._mlflow.start_run(run_id=earlier[0].info.run_id)
            else:
                tags = {"fastff.folder": place, "fastff.version": fastff.__version__}
                self._mlflow.start_run(run_name=self.run.folder.name, tags=tags)
                self._mlflow.log_params(settings(self.run.options))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        with _one_line("mlflow"):
            self._mlflow.end_run("FINISHED" if kind is None else "KILLED" if stopped else "FAILED")

    def epoch(self, record: EpochRecord) -> None:
        self._metrics(record.epoch, {name: getattr(record, name) for name in _TAGS})

    def summary(self, figures: dict[str, Any]) -> None:
        # Under names of their own: they are the best network's, while the last epoch's stand beside them.
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
    """Whatever goes wrong in a store, a server or a full disk, in the package's words; it may raise anything there."""
    try:
        yield
    except Exception as error:
        raise DataError(f"--log {package}: {error}") from None
