"""The texts and figures of a report, formatted for printing; report.typ decides on the layout."""

import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.report.answers import ABOUT, DISCUSSION, QUESTIONS, Answers
from fastff.report.discussion import draft
from fastff.report.finished import FinishedRun, FinishedSearch
from fastff.runs.ablation import Ablation
from fastff.runs.build import idle_options
from fastff.runs.config import Config, start_from
from fastff.system.shell import command_line

MANY_CLASSES = 20  # with more classes the report gives their number, not their names
BEST_TRIALS = 5  # so many trials of a search are listed
# Options that say which data is used and how fast: no differences between two recipes
_NO_RECIPE = (
    "dataset", "data_dir", "target", "task", "drop", "categorical", "weight_column", "test", "test_share", "split_seed",
    "loss", "preset", "threads", "checkpoint_epochs", "checkpoint_minutes", "on_divergence",
)  # fmt: skip
# Each picture that a folder may have: its alternative text, its caption, and its width on paper in per cent
_PICTURES = {
    "confusion.png": (
        "Confusion matrix",
        "Confusion matrix of the {split} rows. Per cent are of the true class, so the diagonal holds the accuracy of "
        "each class.",
        56,
    ),
    "examples.png": (
        "Examples with the network's guesses",
        "Some {split} rows with the network's guess, its probability and, in brackets, the true class. Mistakes are "
        "framed.",
        62,
    ),
    "weights.png": ("Weights of the first layer", "The first layer's weights as pictures.", 56),
    "predicted.png": (
        "Predicted against true values",
        "Predicted against true values of the {split} rows. On the line they are equal.",
        56,
    ),
    "residuals.png": ("Errors", "Errors of the {split} rows, predicted minus true.", 56),
    "importance.png": (
        "Importance of each column",
        "What each column is worth: how much is lost on the {split} rows where it is shuffled.",
        75,
    ),
}
_OF_TRAINING = {
    "curves.png": (
        "Loss and accuracy during training",
        "Training: loss and accuracy of each batch, and of the validation rows after each epoch. The dotted line is at "
        "the best epoch.",
        75,
    ),
    "history.png": (
        "Accuracy of each trial",
        "The search: validation accuracy of each trial, and the best so far.",
        75,
    ),
    "importances.png": ("Importance of each option", "How much the accuracy depends on each option.", 75),
}


def contents(found: FinishedRun | FinishedSearch, answers: Answers | None = None) -> dict[str, Any]:
    """All that the report says, as plain data that JSON can hold. answers: what a person has written."""
    answers = answers or Answers()
    task = "classify" if found.options.get("loss", "auto") in ("auto", "cross_entropy") else "regress"
    defaults = {**vars(start_from(found.options.get("dataset", Config.dataset), None, {}, task))}
    options = {name: found.options[name] for name in defaults if name in found.options}  # in the order of the help
    whole = {**vars(Config()), **options}
    return {
        **(_of_search(found) if isinstance(found, FinishedSearch) else _of_run(found)),
        "byline": " · ".join(answers[name] for name in ABOUT if name in answers),
        "changed": [[n, _toml(v), _toml(defaults[n])] for n, v in _changed(options, defaults).items()],
        "config": [[n, _toml(v)] for n, v in options.items()],
        "ablation": _ablation(found.ablation),
        "ablate": command_line(["fastff", "ablate", str(found.folder)]),
        "discussion": answers[DISCUSSION] or draft(found),
        "drafted": DISCUSSION not in answers,
        "answers": [[name, question, answers[name]] for name, question in QUESTIONS.items()],
        "optimizer": _optimizer(whole),
    }


def wilson(hits: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) for the probability of a hit, after `hits` in `rows` trials; both ends in 0..1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _of_run(run: FinishedRun) -> dict[str, Any]:
    summary, model = run.summary, run.model
    assert isinstance(model.network, FeedForwardNeuralNetwork)  # see read_run
    widths = [model.network.input_dim, *(layer.weights.shape[1] for layer in model.network.linear_layers)]
    split = "validation" if summary["test_rows"] is None else "test"
    named = {name: Path(name).stem.capitalize() for name in run.pictures if name not in {**_PICTURES, **_OF_TRAINING}}
    others = {name: (words, f"{words}.", 75) for name, words in named.items()}
    return {
        "title": f"{summary['dataset']}: a feed-forward network {'–'.join(map(str, widths))}",
        "kind": f"{_kind(run)}, trained with fastff {summary['version']}.",
        "dataset": summary["dataset"],
        "result": _result(run),
        "interval": _interval_note(summary),
        "seeds": _seeds(run),
        "trials": None,
        "training": _shown(run.pictures, _OF_TRAINING, split),
        "pictures": _shown(run.pictures, {**_PICTURES, **others}, split),
    }


def _of_search(search: FinishedSearch) -> dict[str, Any]:
    best, count = search.trials[0], len(search.trials)
    whole = sum(trial["state"] == "complete" for trial in search.trials)
    shown = search.trials[:BEST_TRIALS]
    names = [name for name in best if name not in ("state", "seconds", "note", "epochs")]
    used = [name for name in names if any(trial[name] for trial in shown)]
    train = command_line(["fastff", "train", "--config", str(Path(search.folder) / "best.toml")])
    return {
        "title": f"{search.name}: a search for the best options",
        "kind": "Feed-forward networks, trained by fastff.tune.",
        "dataset": search.name,
        "result": [
            ["Best validation accuracy", f"{float(best['val_accuracy']):.2%}"],
            ["Trial", f"{best['trial']}, at epoch {best['best_epoch']} of {best['epochs']}"],
            ["Trials", f"{count:,}, of which {count - whole:,} stopped early"],
        ],
        "interval": f"Test rows were not used. {train} trains a network with these options.",
        "seeds": None,
        "trials": [[name.replace("_", " "), *(_short(trial[name]) for trial in shown)] for name in used],
        "training": _shown(search.pictures, _OF_TRAINING, "validation"),
        "pictures": [],
    }


def _short(cell: str) -> str:
    try:
        return cell if cell.lstrip("-").isdigit() else f"{float(cell):.4g}"
    except ValueError:
        return cell


def _shown(pictures: dict[str, bytes], known: dict[str, tuple[str, str, int]], split: str) -> list[list[Any]]:
    """[file, alternative text, caption, width] of those pictures that there are."""
    there = {name: words for name, words in known.items() if name in pictures}
    return [[name, alt, caption.format(split=split), width] for name, (alt, caption, width) in there.items()]


def _changed(options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The options that make another recipe than the data set's defaults do."""
    idle = idle_options(options.get("optimizer", Config.optimizer))
    if not options.get("weight_decay", defaults["weight_decay"]):
        idle.add("decay")
    return {n: v for n, v in options.items() if v != defaults[n] and n not in _NO_RECIPE and n not in idle}


def _ablation(study: Ablation | None) -> dict[str, Any] | None:
    """The study as it is printed; None if there is none."""
    if study is None:
        return None
    base, parts = study.baseline, study.parts()
    return {
        "seeds": ", ".join(map(str, study.seeds)),
        "several": len(study.seeds) > 1,
        "score": study.score,
        "rows": [
            ["nothing", f"{100 * base.score:.2f}{_error(base.error)}", "", f"{base.seconds:.1f}"],
            *(
                [part.name, "does not train", "", ""]
                if part.problem
                else [
                    part.name,
                    f"{100 * part.score:.2f}",
                    f"{_points(part.lost)}{_error(part.error)}",
                    f"{part.seconds:.1f}",
                ]
                for part in parts
            ),
        ],
        "bars": [
            {
                "name": part.name,
                "lost": 100 * part.lost,
                "error": 100 * (part.error or 0.0),
                "points": _points(part.lost),
            }
            for part in parts
            if not part.problem
        ],
    }


def _points(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "−")


def _error(error: float | None) -> str:
    return "" if error is None else f" ± {100 * error:.2f}"


def _seeds(run: FinishedRun) -> dict[str, Any] | None:
    """The figures over all seeds as they are printed; None for a run of one seed."""
    if run.seeds is None:
        return None
    seeds = run.seeds["seeds"]
    score, form, times = ("r2", ".4f", 1) if run.summary["task"] == "regress" else ("accuracy", ".2%", 100)
    splits = {"test": "Test", "val": "Validation", "train": "Training"}
    names = {f"{split}_{score}": f"{words} {score}" for split, words in splits.items()}
    rows = []
    for name, words in names.items():
        figure = run.seeds.get(name)
        if isinstance(figure, dict) and "values" in figure:
            values, deviation = figure["values"], figure.get("std")
            rows.append(
                [
                    words,
                    f"{sum(values) / len(values):{form}}",
                    "" if deviation is None else f"{times * deviation:.{2 if times > 1 else 4}f}",
                    f"{min(values):{form}} to {max(values):{form}}",
                ]
            )
    both = run.seeds.get("ensemble")
    for name in (f"test_{score}", f"val_{score}"):
        if isinstance(both, dict) and isinstance(both.get(name), float):
            rows.append([f"{names[name]} of all as one model", f"{both[name]:{form}}", "", ""])
    return {"seeds": ", ".join(map(str, seeds)), "first": str(seeds[0]), "rows": rows}


def _result(run: FinishedRun) -> list[list[str]]:
    summary, names = run.summary, run.model.class_names
    if summary["task"] == "regress":
        return _regression(run)
    test = "the data set has no test rows"
    if summary["test_accuracy"] is not None:
        rows = summary["test_rows"]
        hits = round(summary["test_accuracy"] * rows)
        low, high = wilson(hits, rows)
        test = f"{summary['test_accuracy']:.2%} ({hits:,} of {rows:,} rows), 95% interval {low:.1%} to {high:.1%}"
    classes = ", ".join(names) if len(names) <= MANY_CLASSES else "not named here"
    return [
        ["Test accuracy", test],
        ["Validation accuracy", f"{summary['val_accuracy']:.2%}"],
        ["Training accuracy", f"{summary['train_accuracy']:.2%}"],
        *_training(run),
        ["Classes", f"{len(names)}: {classes}"],
    ]


def _kind(run: FinishedRun) -> str:
    if run.summary["task"] == "regress":
        return "Regression"
    return f"{'Image c' if run.model.image_shape else 'C'}lassifier"


def _regression(run: FinishedRun) -> list[list[str]]:
    summary, test = run.summary, "the data set has no test rows"
    if summary["test_r2"] is not None:
        test = f"{summary['test_r2']:.4f}, of {summary['test_rows']:,} rows"
    errors = {name: summary.get(f"test_{name}") for name in ("rmse", "mae")}
    return [
        ["Test r2", test],
        *([f"Test {name}", f"{value:.6g}"] for name, value in errors.items() if value is not None),
        ["Validation r2", f"{summary['val_r2']:.4f}"],
        ["Training r2", f"{summary['train_r2']:.4f}"],
        *_training(run),
        ["Predicted", ", ".join(run.model.outputs)],
    ]


def _training(run: FinishedRun) -> list[list[str]]:
    summary = run.summary
    return [
        [
            "Epochs",
            f"{summary['epochs']}; the weights are those of epoch {summary['best_epoch']}, "
            f"the best in {run.options.get('monitor', Config.monitor)}",
        ],
        [
            "Training time",
            f"{summary['train_seconds']:,.2f} s, {summary['examples_per_second']:,.0f} rows/s, "
            f"{summary['threads']} thread{'s' if summary['threads'] > 1 else ''}",
        ],
        ["Parameters", f"{summary['parameters']:,}"],
    ]


def _interval_note(summary: dict[str, Any]) -> str:
    if summary["task"] == "regress":
        return "r2 is the share of the variation of the true values that the predictions explain."
    if summary["test_accuracy"] is None:
        return "Validation chose the weights, so its accuracy is no estimate for new rows, and no interval is given."
    return (
        f"The interval is the Wilson score interval with n = {summary['test_rows']:,} test rows. It holds the "
        "uncertainty from the choice of test rows, not that from the choice of the seed."
    )


def _toml(value: Any) -> str:
    """A value as config.toml would show it, on one line."""
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def _optimizer(o: dict[str, Any]) -> str:
    """The sentence after the derivation of Adam, about the optimizer of a run with the options `o`."""
    rate = f"step size {o['step_size']:g} ({o['schedule']}), weight decay {o['weight_decay']:g}"
    if o["optimizer"] == "sgd":
        return f"This run did not use Adam but SGD with momentum {o['momentum']:g}: {rate}."
    form = f"the {o['bias_correction']} correction and {'L2' if o['decay'] == 'l2' else 'decoupled'} decay"
    return (
        f"This run used Adam with {form}: {rate}, beta1 {o['beta1']:g}, beta2 {o['beta2']:g}, epsilon {o['epsilon']:g}."
    )
