"""Writes the result of a search into its folder: the best options, a table of all trials, and two pictures."""

import csv
import io
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from fastff.errors import DataError
from fastff.runs import config
from fastff.runs.config import Config
from fastff.runs.folder import BEST_OPTIONS as BEST
from fastff.system.files import write_text
from fastff.system.shell import command_line
from fastff.tune.search import best_trial, finished, scored_by, shown
from fastff.tune.space import suggest

TRIALS = "trials.csv"  # a row for each trial
HISTORY = "history.png"  # the score of each trial, and the best so far
IMPORTANCES = "importances.png"  # how much each option matters for the score
FEWEST = 10  # the fewest trials, not stopped early, from which importances are computed
_COLUMNS = ("trial", "state", "score", "best_epoch", "epochs", "seconds", "note")


def write_results(
    folder: Path, study: optuna.Study, start: Config, image_shape: tuple[int, int, int] | None
) -> list[str]:
    """Write the files for which there are enough trials, and return their names. Raises DataError."""
    from fastff import plots  # here, as matplotlib takes long to import

    trials, score = study.get_trials(deepcopy=False), scored_by(start)
    write_text(folder / TRIALS, _table(trials, start.monitor))
    best = best_trial(study)
    if best is None:
        return [TRIALS]
    config.write(config.settings(suggest(best, start, image_shape)), folder / BEST)
    drawn = [trial for trial in trials if _score(trial) is not None and trial.state.is_finished()]
    plots.draw_history(
        folder / HISTORY,
        [trial.number for trial in drawn],
        [_score(trial) for trial in drawn],
        [trial.state == TrialState.COMPLETE for trial in drawn],
        title=f"{study.study_name}: best validation {score} {shown(best.value, start)}, trial {best.number}",
        score=score,
    )
    names = [BEST, HISTORY, TRIALS]
    if sum(trial.state == TrialState.COMPLETE for trial in trials) < FEWEST:
        return names
    shares = {name.replace("_", " "): share for name, share in _importances(study).items()}
    plots.draw_importances(folder / IMPORTANCES, shares, title=f"{study.study_name}: what the {score} depends on")
    return sorted([*names, IMPORTANCES])


def closing_lines(folder: Path, names: list[str], study: optuna.Study, start: Config) -> str:
    """What the command says at its end, when the files `names` are written. Raises DataError without a best trial."""
    best, count = best_trial(study), len(finished(study.get_trials(deepcopy=False)))
    if best is None:
        raise DataError(f"{study.study_name}: none of {count} trials trained to its end; {folder / TRIALS} says why")
    lines = [
        f"{study.study_name}: best validation {scored_by(start)} {shown(best.value, start)}, "
        f"of trial {best.number} at epoch {best.user_attrs['best_epoch']}; {count} trials",
        f"train with it: {command_line(['python', '-m', 'fastff.train', '--config', str(folder / BEST)])}",
        f"written to {folder}: {', '.join(names)}",
    ]
    if IMPORTANCES not in names:
        lines.append(f"no {IMPORTANCES} yet: it takes {FEWEST} trials that are not stopped early")
    return "\n".join(lines)


def _score(trial: FrozenTrial) -> float | None:
    """The best score of a trial's epochs. (Optuna's value of a trial stopped early is its last epoch's.)"""
    return max(trial.intermediate_values.values(), default=None)


def _table(trials: list[FrozenTrial], monitor: str) -> str:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*(monitor if name == "score" else name for name in _COLUMNS), *names])
    for trial in trials:
        row: list[Any] = [
            trial.number,
            trial.state.name.lower(),
            _score(trial),
            trial.user_attrs.get("best_epoch"),
            trial.last_step,
            None if trial.duration is None else round(max(0.0, trial.duration.total_seconds()), 3),
            trial.user_attrs.get("note"),
        ]
        table.writerow(row + [trial.params.get(name) for name in names])
    return text.getvalue()


def _importances(study: optuna.Study) -> dict[str, float]:
    # The only one of Optuna's evaluators that needs no scikit-learn and allows parameters that some trials lack.
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    with warnings.catch_warnings():
        # Optuna warns where few trials have a parameter, such as width_4, or all are equally good; both are normal.
        warnings.filterwarnings("ignore", "Some regimes for parameter|Target and region quantiles")
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
