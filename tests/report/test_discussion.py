"""The draft of a discussion says what the figures say, and nothing else."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastff.report.discussion import draft
from fastff.report.finished import FinishedRun, FinishedSearch
from fastff.runs.ablation import Ablation

SUMMARY = {
    "task": "classify",
    "train_accuracy": 0.9,
    "val_accuracy": 0.89,
    "test_accuracy": 0.88,
    "test_rows": 1000,
    "best_epoch": 3,
}


def epochs(*losses):
    return [
        {"epoch": i + 1, "train_loss": 1 / (i + 1), "val_loss": loss, "val_accuracy": 0.8}
        for i, loss in enumerate(losses)
    ]


RUN = FinishedRun(
    Path("run"), SUMMARY, {"dropout": 0.1}, SimpleNamespace(image_shape=None), {}, epochs(0.5, 0.4, 0.3, 0.31)
)


def of(summary=None, **changes):
    return draft(dataclasses.replace(RUN, summary={**SUMMARY, **(summary or {})}, **changes))


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        (
            0.99,
            0.80,
            "a gap of 19.0 points: it overfits. Against that the recipe has no weight decay, no label smoothing;",
        ),
        (0.93, 0.90, "a gap of 3.0 points: it overfits a little."),
        (0.70, 0.69, "it does not overfit. What it gets wrong it gets wrong in training, too"),
    ],
)
def test_over_and_underfitting(train, val, said):
    assert said in of({"train_accuracy": train, "val_accuracy": val})


def test_a_perfect_fit_is_neither():
    text = of({"train_accuracy": 0.99, "val_accuracy": 0.985})
    assert "it does not overfit." in text
    assert "in training, too" not in text


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((0.5, 0.4, 0.3), "lowest (0.300) in the last of 3 epochs: more of them may help."),
        ((0.5, 0.3, 0.6), "epoch 2 and has risen to 0.600 in epoch 3, while that of training went from 0.500 to 0.333"),
        ((0.5, 0.3, 0.301), "lowest (0.300) in epoch 2 of 3 and hardly changes after it."),
        ((0.5, 0.3, 0.31, 0.31), "epoch 3, the best by validation accuracy; with those of the last epoch 80.0%"),
    ],
)  # fmt: skip
def test_the_course_of_the_epochs(losses, said):
    assert said in of(epochs=epochs(*losses))


def test_without_metrics_or_test_rows_nothing_is_said_of_them():
    text = of({"test_accuracy": None, "test_rows": None}, epochs=[])
    assert "validation loss" not in text
    assert "test" not in text


def test_the_test_rows_are_compared_with_chance():
    assert "88.0% are right, 1.0 points fewer than of the validation rows; with so many rows, 1.0 points" in of()
    assert "test's is honest" not in of()
    assert "test's is honest" in of({"test_accuracy": 0.8})
    assert "as many as of the validation rows" in of({"test_accuracy": 0.89})


def test_the_spread_of_seeds():
    seeds = {"seeds": [0, 1, 2], "test_accuracy": {"values": [0.8, 0.81, 0.82]}}
    assert (
        "Over 3 seeds the test accuracy is 81.0% on average, from 80.0% to 82.0%, with a standard deviation of 1.00 "
        "points. So two single runs that are less than 2.8 points apart"
    ) in of(seeds=seeds)


def study(**accuracies):
    seeds = list(range(len(accuracies["whole"])))
    trainings = [
        {
            "without": None if name == "whole" else name, "seed": seed, "val_score": value, "seconds": 1.0,
            "error": "the loss is not finite" if value is None else None,
        }
        for name, values in accuracies.items()
        for seed, value in zip(seeds, values, strict=True)
    ]  # fmt: skip
    return Ablation({"dropout": 0.1, "whiten": 5, "weight_decay": 0.1}, "x", seeds, trainings)


def test_the_ablation_tells_effects_from_chance():
    text = of(
        ablation=study(
            whole=[0.9, 0.91, 0.92],
            whiten=[0.8, 0.81, 0.82],
            dropout=[0.89, 0.92, 0.92],
            weight_decay=[0.95, 0.96, 0.97],
            standardize=[None, None, None],
        )
    )
    assert "Without standardising the features training diverges." in text
    assert "Most of the accuracy is due to whitening to 5 components: without it 10.0 ± 0.0 points are lost." in text
    assert "The network is better without weight decay 0.1 (5.0 points)." in text
    assert "Of dropout 0.1 3 seeds show no effect beyond twice its standard error." in text


def test_one_seed_shows_no_effect():
    assert "one seed, which does not tell an effect from chance" in of(ablation=study(whole=[0.9], whiten=[0.5]))


def test_a_search():
    trials = [{"trial": str(i), "state": "complete", "val_accuracy": str(0.9 - i / 10)} for i in range(3)]
    text = draft(FinishedSearch(Path("s"), "x", {}, trials, {}))
    assert "The best of 3 trials, number 0, gets 90.0% of the validation rows right." in text
    assert "lie between 70.0% and 90.0%" in text
    assert text.endswith("]")


def test_numbers_to_predict_are_told_by_what_is_explained():
    figures = {"task": "regress", "train_r2": 0.99, "val_r2": 0.8, "test_r2": 0.79}
    records = [{**record, "val_accuracy": None, "val_r2": 0.8} for record in epochs(0.5, 0.4, 0.3, 0.5, 0.6)]
    text = of(figures, epochs=records)
    assert "explain 99.0% of the variation of the training targets and 80.0% of that of the validation targets" in text
    assert "a gap of 19.0 points: it overfits. Of the test targets it is 79.0%." in text
    assert "from there on it learns the training rows by heart" in text
    assert "rows are right" not in text
    assert "overfits" not in of({**figures, "val_r2": 0.97, "test_r2": None})


def test_losses_below_0_rise_too():
    records = [{**record, "val_accuracy": None} for record in epochs(-600.0, -632.0, -631.9)]
    figures = {"task": "regress", "train_r2": 0.9, "val_r2": 0.9, "test_r2": None, "best_epoch": 2}
    assert "hardly changes after it" in of(figures, epochs=records)


def test_the_last_epoch_may_be_the_best():
    assert "more of them may help. The weights are those of that last epoch." in of(
        {"best_epoch": 3}, epochs=epochs(0.5, 0.4, 0.3)
    )
