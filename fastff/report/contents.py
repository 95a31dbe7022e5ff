"""The texts and figures of the report on a run, formatted for printing; report.typ decides on the layout."""

import dataclasses
import json
import math
from statistics import NormalDist
from typing import Any

from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.report.finished import FinishedRun
from fastff.runs.config import Config

MANY_CLASSES = 20  # with more classes the report gives their number, not their names


def contents(run: FinishedRun) -> dict[str, Any]:
    """All that the report says, as plain data that JSON can hold."""
    summary, model = run.summary, run.model
    assert isinstance(model.network, FeedForwardNeuralNetwork)  # see read_run
    widths = [model.network.input_dim, *(layer.weights.shape[1] for layer in model.network.linear_layers)]
    defaults = dataclasses.asdict(Config())
    options = {name: run.options[name] for name in defaults if name in run.options}  # in the order of the help
    return {
        "title": f"{summary['dataset']}: a feed-forward network {'–'.join(map(str, widths))}",
        "kind": f"{'Image c' if model.image_shape else 'C'}lassifier, trained with fastff {summary['version']}.",
        "dataset": summary["dataset"],
        "result": _result(run),
        "interval": _interval_note(summary),
        "changed": [[n, _toml(v), _toml(defaults[n])] for n, v in options.items() if v != defaults[n]],
        "config": [[n, _toml(v)] for n, v in options.items()],
        "ablation": ablation_of(summary["dataset"], studies()),
        "split": "validation" if summary["test_accuracy"] is None else "test",
        "optimizer": _optimizer({**defaults, **options}),
    }


def wilson(hits: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) for the probability of a hit, after `hits` in `rows` trials; both ends in 0..1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def ablation_of(dataset: str, measured: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The ablation study of this data set as it is printed, the most valuable part first; None if there is none."""
    study = next((study for study in measured if study["dataset"] == dataset and study["rows"]), None)
    if study is None:
        return None
    rows = sorted(study["rows"], key=lambda row: row["difference"])
    most = max(rows, key=lambda row: abs(row["difference"]))
    baseline = study["baseline"]
    return {
        "preset": study["preset"],
        "seeds": ", ".join(map(str, study["seeds"])),
        "baseline": [f"{baseline['mean']:.2f}", f"{baseline['spread']:.2f}"],
        "most": most["removed"],
        "change": _points(most["difference"]),
        "rows": [
            {**row, **{name: f"{row[name]:.2f}" for name in ("mean", "spread")}, "points": _points(row["difference"])}
            for row in rows
        ],
    }


def studies() -> list[dict[str, Any]]:
    return []


def _points(difference: float) -> str:
    return f"{difference:+.2f}".replace("-", "−")


def _result(run: FinishedRun) -> list[list[str]]:
    summary, names = run.summary, run.model.class_names
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
        ["Classes", f"{len(names)}: {classes}"],
    ]


def _interval_note(summary: dict[str, Any]) -> str:
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
