"""train --seeds N: trains one network per seed, side by side, to see how much the seed matters.

The folder gets subfolders seed-0, seed-1, ..., each a run like any other, and beside them seeds.json with the mean and
standard deviation of the figures, and ensemble.safetensors with all networks as one model.
"""

import dataclasses
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fastff
from fastff.data import Dataset
from fastff.engine.context import RunContext
from fastff.engine.side_by_side import SideBySide
from fastff.errors import ArgumentError, DataError, FastffError
from fastff.nn.ensemble import Ensemble
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.runs import regression
from fastff.runs.build import make_trainer, preprocessing
from fastff.runs.config import Config
from fastff.runs.drawing import Drawing
from fastff.runs.folder import ENSEMBLE, SEEDS, choose_folder, has_run, seed_folder
from fastff.runs.log import make_log
from fastff.runs.progress import announce_compiling, doing
from fastff.runs.regression import regression_splits
from fastff.runs.run import Run, described
from fastff.runs.summary import evaluate_splits, scores, what_next
from fastff.system import clock
from fastff.system.arguments import check_size
from fastff.system.files import locked, make_folder, write_text
from fastff.system.limits import usable_cpus
from fastff.system.shell import command_line, program
from fastff.system.signals import HeldSignals, Stopped
from fastff.system.streams import say
from fastff.training.evaluation import evaluate

FIGURES = {
    "classify": (
        "val_accuracy", "test_accuracy", "test_loss", "train_accuracy", "val_balanced_accuracy",
        "test_balanced_accuracy", "val_auc", "test_auc", "best_epoch",
    ),
    "regress": (*regression.SUMMARY, "best_epoch"),
}  # fmt: skip
TrainRun = Callable[..., dict[str, Any]]  # fastff.train._train_run


def train_seeds(options: Config, data: Dataset, train_run: TrainRun) -> str:
    """Train a network for each of options.seeds seeds, write seeds.json and the ensemble; returns the closing lines.

    With options.resume, runs that are not finished are resumed. Raises ArgumentError for options that exclude each
    other and, after a signal, Stopped with the command that resumes. If a run fails, the others are finished first, and
    then its error is raised.
    """
    count = check_size("seeds", options.seeds)
    for name in ("log", "distributed"):
        if (value := getattr(options, name)) is not None:
            raise ArgumentError(f"--seeds: does not go with --{name} {value}, want one of the two")
    make_trainer(options, data)  # raises for bad options before anything is written
    seeds = range(options.seed, options.seed + count)
    folder = Path(options.out) if options.out is not None else choose_folder(options)
    make_folder(folder)
    if has_run(folder):
        raise DataError(f"{folder}: holds a run of one seed, want another --out for --seeds")
    held = {path.name for path in folder.glob("seed-*") if has_run(path)}
    if held - {seed_folder(folder, seed).name for seed in seeds}:
        raise ArgumentError(f"--seeds: {count}, but {folder} holds other runs, want all of them, or another --out")
    with locked(folder):
        work = SideBySide()
        several = _Several(options, data, folder, train_run, RunContext(beside=work))
        try:
            with HeldSignals(lambda: False) as signals:
                work.run(several.train, seeds, usable_cpus(), signals)
        except Stopped as stop:
            again = command_line(["--seeds", str(count), "--resume", "--out", str(folder)])
            raise Stopped(stop.number, f"saved in {folder}; {program('train')} {again} goes on") from None
        lines = several.write_summary() if several.summaries else ""
    if not (several.trained or several.errors):
        return f"{folder}: the runs of all {count} seeds are done (--epochs N trains on), nothing was trained"
    if several.errors:
        seed, error = min(several.errors.items())
        if lines:
            print(lines)
        more = f", and {len(several.errors) - 1} more" if len(several.errors) > 1 else ""
        raise type(error)(f"seed {seed}{more}: {error}")
    return lines


class _Several:
    """Trains the runs of all seeds on shared data, and collects their networks, summaries and errors by seed."""

    def __init__(self, options: Config, data: Dataset, folder: Path, train_run: TrainRun, context: RunContext) -> None:
        self.options, self.data, self.folder, self.train_run, self.context = options, data, folder, train_run, context
        start = clock.now()
        with doing("whitening ..." if options.whiten else ""):
            self.front = preprocessing(options, data)
        self.prepare_seconds = clock.since(start)
        announce_compiling(options.precision)
        self.networks: dict[int, FeedForwardNeuralNetwork] = {}
        self.summaries: dict[int, dict[str, Any]] = {}
        self.errors: dict[int, FastffError] = {}
        self.trained = False  # whether there was anything to train

    def train(self, seed: int) -> None:
        folder = seed_folder(self.folder, seed)
        own = dataclasses.replace(self.options, seed=seed, seeds=None, out=str(folder))
        try:
            run = Run(own, make_trainer(own, self.data, front=self.front), self.data)
            run.trainer.context, run.trainer.prepare_seconds = self.context, self.prepare_seconds
            with run.start(resume=self.options.resume and has_run(folder)):
                self.trained |= not run.complete
                log = make_log(run, self.data.name)
                summary = self.train_run(run, self.data, log, Drawing())
        except FastffError as error:
            self.errors[seed] = error
            say(f"seed {seed}: {error}")
            return
        self.networks[seed], self.summaries[seed] = run.trainer.network, summary
        say(f"seed {seed}: {scores(summary)}, of epoch {summary['best_epoch']}")

    def write_summary(self) -> str:
        """Write seeds.json and the ensemble; returns lines for the user that say what they hold."""
        seeds, data = sorted(self.summaries), self.data
        ensemble = Ensemble([self.networks[seed] for seed in seeds])
        ensemble.save(self.folder / ENSEMBLE, described(self.options, data))
        figures: dict[str, Any] = {"dataset": data.name, "seeds": seeds}
        for name in FIGURES[data.task]:
            values = [value for seed in seeds if (value := self.summaries[seed].get(name)) is not None]
            if len(values) == len(seeds):
                deviation = statistics.stdev(values) if len(values) > 1 else None
                figures[name] = {"mean": statistics.fmean(values), "std": deviation, "values": values}
        if data.task == "classify":
            figures["ensemble"] = evaluate_splits(partial(evaluate, ensemble), data, ("val", "test"))
        else:
            loss = self.options.loss
            figures["ensemble"] = regression_splits(ensemble.predict, ensemble, loss, data, ("val", "test"))
        figures["version"] = fastff.__version__
        write_text(self.folder / SEEDS, json.dumps(figures, indent=2) + "\n")
        score, form = ("accuracy", ".2%") if data.task == "classify" else ("r2", ".4f")
        spread = ", ".join(
            f"{name} {figures[key]['mean']:{form}}" + (f" ± {figures[key]['std']:{form}}" if len(seeds) > 1 else "")
            for name, key in (("test", f"test_{score}"), ("validation", f"val_{score}"))
            if key in figures
        )
        return (
            f"{data.name}: {score} {spread} (mean ± standard deviation over {len(seeds)} seeds)\n"
            f"as one model, {ENSEMBLE}: {scores(figures['ensemble'])}\n"
            f"written to {self.folder}: {ENSEMBLE}, {SEEDS}, and the runs of seeds {seeds[0]} to {seeds[-1]}\n"
            f"this command {clock.since(clock.STARTED):.1f} s; next: {what_next(self.folder)}"
        )
