"""A first draft of a report's discussion: what the run's own figures say, in sentences, for a person to go on from."""

import math
import statistics
from typing import Any

from fastff.report.finished import FinishedRun, FinishedSearch
from fastff.runs.ablation import Ablation
from fastff.runs.config import Config
from fastff.runs.folder import CONFUSION

OVERFITS, CLOSE = 5.0, 2.0  # points between training and validation accuracy: from here on, and up to here not
RISEN = 1.1  # a validation loss so many times its lowest has risen
TO_ADD = "[Your own words in place of this: {}what you tried that did not help; what you would try next.]"
CONFUSED = "which classes are taken for one another in the confusion matrix, and why; "


def draft(found: FinishedRun | FinishedSearch) -> str:
    """Paragraphs with an empty line between them."""
    if isinstance(found, FinishedSearch):
        said = [_search(found)]
    elif found.summary["task"] == "regress":
        said = [_numbers(found), _epochs(found)]
    else:
        said = [_fit(found), _epochs(found), _test(found.summary), _seeds(found.seeds)]
    own = TO_ADD.format(CONFUSED if CONFUSION in found.pictures else "")
    return "\n\n".join(filter(None, [*said, _ablation(found.ablation), own]))


def _fit(run: FinishedRun) -> str:
    train, val = run.summary["train_accuracy"], run.summary["val_accuracy"]
    gap = 100 * (train - val)
    text = (
        f"With the weights of epoch {run.summary['best_epoch']} the network gets {train:.1%} of the training rows and "
        f"{val:.1%} of the validation rows right"
    )
    if gap >= OVERFITS:
        text += f", a gap of {gap:.1f} points: it overfits."
        missing = _not_used(run)
        if missing:
            return f"{text} Against that the recipe has no {', no '.join(missing)}; more data would help, too."
        return f"{text} It does so in spite of what the recipe has against it; more data or a smaller network may help."
    if gap > CLOSE:
        return f"{text}, a gap of {gap:.1f} points: it overfits a little."
    text += f", a gap of {gap:.1f} points: it does not overfit."
    if train < 0.98:
        text += " What it gets wrong it gets wrong in training, too: a larger network or more epochs may raise both."
    return text


def _numbers(run: FinishedRun) -> str:
    """What r2 in training and validation says of a network that predicts numbers."""
    train, val, test = (run.summary[f"{split}_r2"] for split in ("train", "val", "test"))
    text = (
        f"With the weights of epoch {run.summary['best_epoch']} the predictions explain {train:.1%} of the variation "
        f"of the training targets and {val:.1%} of that of the validation targets"
    )
    text += f", a gap of {100 * (train - val):.1f} points: it overfits." if 100 * (train - val) >= OVERFITS else "."
    return text if test is None else f"{text} Of the test targets it is {test:.1%}."


def _not_used(run: FinishedRun) -> list[str]:
    options = {**vars(Config()), **run.options}
    words = {"dropout": "dropout", "weight_decay": "weight decay", "label_smoothing": "label smoothing"}
    if run.model.image_shape is not None:
        words |= {"mirror": "mirroring", "shift": "shifts"}
    return [said for name, said in words.items() if not options[name]]


def _epochs(run: FinishedRun) -> str:
    epochs, kept = run.epochs, run.summary["best_epoch"]
    if not epochs:
        return ""
    last, lowest = epochs[-1], min(epochs, key=lambda record: record["val_loss"])
    low, at, count = lowest["val_loss"], lowest["epoch"], last["epoch"]
    if at == count:
        text = f"The validation loss is lowest ({low:.3f}) in the last of {count} epochs: more of them may help."
    elif last["val_loss"] >= low + (RISEN - 1) * abs(low):
        text = (
            f"The validation loss is lowest ({low:.3f}) in epoch {at} and has risen to {last['val_loss']:.3f} in epoch "
            f"{count}, while that of training went from {lowest['train_loss']:.3f} to {last['train_loss']:.3f}"
        )
        surer = ": from there on the network only grows surer of itself, also where it is wrong."
        text += surer if last["val_accuracy"] is not None else ": from there on it learns the training rows by heart."
    else:
        text = f"The validation loss is lowest ({low:.3f}) in epoch {at} of {count} and hardly changes after it."
    if kept == count:
        return f"{text} The weights are those of that last epoch." if at == count else text
    monitor = {**vars(Config()), **run.options}["monitor"].replace("val", "validation").replace("_", " ")
    text += f" The weights that were kept are those of epoch {kept}, the best by {monitor}"
    if last["val_accuracy"] is None:
        return f"{text}."
    return f"{text}; with those of the last epoch {last['val_accuracy']:.1%} of the validation rows are right."


def _test(summary: dict[str, Any]) -> str:
    test, rows, val = summary["test_accuracy"], summary["test_rows"], summary["val_accuracy"]
    if test is None:
        return ""
    chance = 100 * math.sqrt(max(test * (1 - test), 1 / rows) / rows)
    away = (
        f"{100 * abs(test - val):.1f} points {'more' if test > val else 'fewer'} than" if test != val else "as many as"
    )
    text = (
        f"Of {rows:,} test rows {test:.1%} are right, {away} of the validation rows; with so many rows, {chance:.1f} "
        "points are one standard error."
    )
    if test < val - 2 * chance / 100:
        text += " Validation chose the epoch and the options, which makes its figure too good: the test's is honest."
    return text


def _seeds(seeds: dict[str, Any] | None) -> str:
    name = "val_accuracy" if seeds is None or "test_accuracy" not in seeds else "test_accuracy"
    if seeds is None or len(seeds["seeds"]) < 2 or name not in seeds:
        return ""
    values = seeds[name]["values"]
    spread = 100 * statistics.stdev(values)
    split = "test" if name == "test_accuracy" else "validation"
    return (
        f"Over {len(values)} seeds the {split} accuracy is {statistics.fmean(values):.1%} on average, from "
        f"{min(values):.1%} to {max(values):.1%}, with a standard deviation of {spread:.2f} points. So two single "
        f"runs that are less than {2 * math.sqrt(2) * spread:.1f} points apart may differ by their seeds alone."
    )


def _ablation(study: Ablation | None) -> str:
    if study is None:
        return ""
    trained = [part for part in study.parts() if not part.problem]
    failed = [part.name for part in study.parts() if part.problem]
    text = f"Without {_listed(failed)} training diverges. " if failed else ""
    if len(study.seeds) == 1:
        return f"{text}The ablation has one seed, which does not tell an effect from chance.".strip()
    sure = [part for part in trained if part.error is not None and abs(part.lost) > 2 * part.error]
    worth, costs = [p for p in sure if p.lost > 0], [p for p in reversed(sure) if p.lost < 0]
    if worth:
        most = worth[0]
        lost = f"{100 * most.lost:.1f} ± {100 * (most.error or 0):.1f} points are lost"
        text += f"Most of the accuracy is due to {most.name}: without it {lost}"
        others = [f"{part.name} ({100 * part.lost:.1f})" for part in worth[1:]]
        text += f", before {_listed(others)}. " if others else ". "
    if costs:
        named = [f"{part.name} ({-100 * part.lost:.1f} points)" for part in costs]
        text += f"The network is better without {_listed(named)}. "
    rest = [part.name for part in trained if part not in sure]
    if rest:
        text += f"Of {_listed(rest)} {len(study.seeds)} seeds show no effect beyond twice its standard error."
    return text.strip()


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _search(search: FinishedSearch) -> str:
    best = search.trials[0]
    values = [100 * float(trial["val_accuracy"]) for trial in search.trials if trial["state"] == "complete"]
    text = (
        f"The best of {len(search.trials)} trials, number {best['trial']}, gets {float(best['val_accuracy']):.1%} of "
        "the validation rows right."
    )
    if len(values) > 1:
        text += f" The {len(values)} that were not stopped early lie between {min(values):.1f}% and {max(values):.1f}%."
    return (
        f"{text} As it was chosen among so many by these rows, this figure is too good: what the options are worth is "
        "seen on test rows, after training with them."
    )
