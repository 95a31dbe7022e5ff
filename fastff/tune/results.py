"""What a search leaves in its folder: the best options, a table of all trials, and two pictures of them.

best.toml      for fastff.train --config      history.png       accuracy by trial, and the best so far
trials.csv     a row a trial                  importances.png   what the accuracy depends on
"""

import csv
import io
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from fastff import plots
from fastff.runs import config
from fastff.runs.config import Config
from fastff.system.files import write_text
from fastff.tune.search import best_trial
from fastff.tune.space import suggest

FEWEST = 10  # whole trials, for importances that mean something
_COLUMNS = ("trial", "state", "val_accuracy", "best_epoch", "epochs", "seconds", "note")


def write_results(
    folder: Path, study: optuna.Study, start: Config, image_shape: tuple[int, int, int] | None
) -> list[str]:
    """Write all files that the trials so far are enough for; returns the names of these. Raises DataError."""
    trials = study.get_trials(deepcopy=False)
    write_text(folder / "trials.csv", _table(trials))
    best = best_trial(study)
    if best is None:
        return ["trials.csv"]
    config.write(config.settings(suggest(best, start, image_shape)), folder / "best.toml")
    shown = [trial for trial in trials if _accuracy(trial) is not None and trial.state.is_finished()]
    plots.draw_history(
        folder / "history.png",
        [trial.number for trial in shown],
        [_accuracy(trial) for trial in shown],
        [trial.state == TrialState.COMPLETE for trial in shown],
        title=f"{study.study_name}: best validation accuracy {best.value:.2%}, trial {best.number}",
    )
    names = ["best.toml", "history.png", "trials.csv"]
    if sum(trial.state == TrialState.COMPLETE for trial in trials) < FEWEST:
        return names
    plots.draw_importances(
        folder / "importances.png", _importances(study), title=f"{study.study_name}: what the accuracy depends on"
    )
    return sorted([*names, "importances.png"])


def _accuracy(trial: FrozenTrial) -> float | None:
    """The best of a trial's epochs; Optuna's value is that of the last epoch where a trial was stopped."""
    return max(trial.intermediate_values.values(), default=None)


def _table(trials: list[FrozenTrial]) -> str:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_COLUMNS, *names])
    for trial in trials:
        row: list[Any] = [
            trial.number,
            trial.state.name.lower(),
            _accuracy(trial),
            trial.user_attrs.get("best_epoch"),
            trial.last_step,
            None if trial.duration is None else round(trial.duration.total_seconds(), 3),
            trial.user_attrs.get("note"),
        ]
        table.writerow(row + [trial.params.get(name) for name in names])
    return text.getvalue()


def _importances(study: optuna.Study) -> dict[str, float]:
    # Of those that Optuna has, the one that needs no scikit-learn and knows of parameters that not all trials have.
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    with warnings.catch_warnings():
        # That few networks had a fourth layer, or all are equally good, makes some uncertain: nothing to be done.
        warnings.filterwarnings("ignore", "Some regimes for parameter|Target and region quantiles")
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
