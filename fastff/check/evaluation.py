"""Q6: evaluate: mean loss and accuracy over all rows, whatever the size of the batches."""

import ast
import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastff.check.network import build, layers_of, randomise
from fastff.check.results import Blocked, Result, Results, close, compare, judge, shown
from fastff.check.solution import ALIASES, LABELS, Solution, arrays, class_numbers, log_loss, softmax

N, BATCH = 103, 20


def check_evaluate(solution: Solution) -> Results:
    with _right_loss(solution) if "CrossEntropySoftmax" in solution.broken else contextlib.nullcontext():
        yield from _check(solution)


def _check(solution: Solution) -> Results:
    evaluate, rng = solution.get("evaluate"), np.random.default_rng(15)
    network, x = build(solution, 6, 3, 8, 2), rng.normal(size=(N, 6))
    with contextlib.suppress(Exception):  # with its own weights then
        randomise(
            solution,
            [v for v in layers_of(network) if isinstance(v, solution.get("LinearLayer"))],
            [(6, 8), (8, 3)],
            rng,
        )
    z = solution.logits(network, x)
    if z.shape != (N, 3):
        raise Blocked(f"forward of the network returns {z.shape} for {N} rows, not ({N}, 3)")
    # Some labels are the network's guesses, so that the accuracy is not at the level of chance, and the last rows differ
    y = np.where(rng.random(N) < 0.6, z.argmax(1), rng.integers(0, 3, N))
    y[100:] = (z[100:].argmax(1) + 1) % 3
    true = _Truth(solution, z, y)
    before = {path: array.copy() for path, array in arrays(network, 5)}
    form, returned = _call(solution, evaluate, network, x, y, true)
    after = dict(arrays(network, 5))
    weights = [
        p
        for p, a in before.items()
        if "grad" not in str(p[-1]) and a.ndim == 2 and p in after and a.shape in ((6, 8), (8, 3))
    ]
    still = all(np.array_equal(before[p], after[p]) for p in weights)
    yield judge("evaluate leaves the network as it is", still, "unchanged" if still else "weights change", "unchanged")
    if not isinstance(returned, (tuple, list)) or len(returned) < 2:
        yield Result("what evaluate returns", "fail", shown(returned), "(average loss, accuracy)")
        return
    yield judge("what evaluate returns", len(returned) == 2, f"{len(returned)} values", "(average loss, accuracy)", soft=True)  # fmt: skip
    loss, accuracy = returned[:2]
    if close(loss, true.accuracy, 1e-6) and not close(accuracy, true.accuracy, 1e-6):
        yield Result("what evaluate returns", "fail", "accuracy first", "the loss first, then the accuracy")  # fmt: skip
        loss, accuracy = accuracy, loss
    mistakes = {name: true.over(name, true.hits) for name in AVERAGES} | {
        "the accuracy of the smallest logits": float((z.argmin(1) == y).mean()),
        "the number of right guesses, not their share": true.hits.sum(),
        "the share of wrong guesses": 1 - true.accuracy,
        "averages of batches are divided by the number of rows": true.over(
            "the mean of batches, large and small alike", true.hits
        )
        * 6
        / N,
    }
    for name, pairs in _pairs(z, y).items():
        mistakes[f"every guess is compared with every label (shapes (B,) and (B, 1) broadcast), {name}"] = pairs
    if close(accuracy, 100 * true.accuracy, 1e-6):
        yield Result("accuracy", "warn", f"in percent: {shown(accuracy)}", shown(true.accuracy))
    else:
        yield compare("accuracy", accuracy, true.accuracy, mistakes, 1e-6)
    yield from _loss(true, loss)
    if "evaluate" in solution.broken:
        return  # how batches are put together was judged already
    _, other = _call(solution, evaluate, network, x, y, true, form=form, batch=N)
    good = close(other[0], returned[0], 1e-3) and close(other[1], returned[1], 1e-5)
    text = (
        f"{shown(returned[0])}, {shown(returned[1])} in batches of {BATCH}; {shown(other[0])}, {shown(other[1])} in one"
    )
    yield judge("any size of batch", good, text, "equal")
    yield judge(
        "form of labels of evaluate", form == "(B, 1)", f"it works with {form}", "(B, 1), as in the data", soft=True
    )


@contextlib.contextmanager
def _right_loss(solution: Solution) -> Iterator[None]:
    """The file's CrossEntropySoftmax is a right one for a while, so that evaluate is judged by itself."""
    own, probabilities, columns = solution.get("CrossEntropySoftmax"), False, solution.columns
    with contextlib.suppress(Exception):
        probabilities = solution.loss.probabilities

    class CrossEntropySoftmax(own):  # type: ignore[misc, valid-type]
        def forward(self, logits: Any, labels: Any, *_: Any) -> float:
            z = np.asarray(logits, float).T if columns else np.asarray(logits, float)
            return float(log_loss(np.log(np.maximum(z, 1e-300)) if probabilities else z, class_numbers(labels)).mean())

    names = [name for name in ALIASES["CrossEntropySoftmax"] if solution.namespace.get(name) is own]
    try:
        solution.namespace.update(dict.fromkeys(names, CrossEntropySoftmax))
        yield
    finally:
        solution.namespace.update(dict.fromkeys(names, own))


AVERAGES = {
    "the mean of batches, large and small alike": lambda v: np.mean(
        [v[i : i + BATCH].mean() for i in range(0, N, BATCH)]
    ),
    "the last batch is left out": lambda v: v[: N // BATCH * BATCH].mean(),
    "of the first batch only": lambda v: v[:BATCH].mean(),
    "of the last batch only": lambda v: v[N // BATCH * BATCH :].mean(),
    "the last batch is left out, but the sum divided by all rows": lambda v: v[: N // BATCH * BATCH].sum() / N,
    "batches' sums are divided by the full size of a batch": lambda v: np.mean(
        [v[i : i + BATCH].sum() / BATCH for i in range(0, N, BATCH)]
    ),
    "batches' means are summed, and divided by the number of full batches": lambda v: (
        np.sum([v[i : i + BATCH].mean() for i in range(0, N, BATCH)]) / (N // BATCH)
    ),
    "the sum over batches, not their average": lambda v: np.sum([v[i : i + BATCH].mean() for i in range(0, N, BATCH)]),
    "the sum over all rows": lambda v: v.sum(),
}


class _Truth:
    """What evaluate should return: exactly, and with the student's own loss where that is another."""

    def __init__(self, solution: Solution, z: np.ndarray, y: np.ndarray) -> None:
        self.z, self.y = z, y
        self.each, self.hits = log_loss(z, y), (z.argmax(1) == y).astype(float)
        self.loss, self.accuracy = float(self.each.mean()), float(self.hits.mean())
        self.kind, self.own = "unknown", None
        try:
            self.kind = solution.loss.kind
            value = np.asarray(solution.loss.forward(z, y), float)
            batches = [
                np.asarray(solution.loss.forward(z[i : i + BATCH], y[i : i + BATCH]), float).mean()
                for i in range(0, N, BATCH)
            ]
            rows = [len(z[i : i + BATCH]) for i in range(0, N, BATCH)]
            summed = self.kind == "sum"
            self.own = value.mean() / N if summed else float(np.average(batches, weights=rows))
            self.own_mean = float(np.mean(batches))
        except Exception:
            self.own = None

    def over(self, name: str, values: np.ndarray) -> float:
        return float(AVERAGES[name](values))


def _pairs(z: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracies from comparing all guesses of a batch with all its labels, put together in the usual ways."""
    hits = [z[i : i + BATCH].argmax(1)[:, None] == y[i : i + BATCH] for i in range(0, N, BATCH)]
    means, rows = [h.mean() for h in hits], [len(h) for h in hits]
    return {
        "averaged": float(np.average(means, weights=rows)),
        "averaged over batches": float(np.mean(means)),
        "summed": float(sum(h.sum() for h in hits) / N),
        "counted": float(sum(h.sum() for h in hits)),
    }


def _call(solution: Solution, evaluate: Any, network: Any, x: np.ndarray, y: np.ndarray, true: _Truth,
          form: str | None = None, batch: int = BATCH) -> tuple[str, Any]:  # fmt: skip
    """evaluate's values for the form of labels that gives the right accuracy; else for the data's own, or the loss's."""
    ran: dict[str, Any] = {}
    problem: Exception | None = None
    turns = (False, True) if solution.columns else (False,)
    for name in [form] if form else _forms(solution):
        for turn in turns:
            rows, labels = x.copy(), LABELS[name](y)
            try:
                ran[name] = evaluate(network, rows.T if turn else rows, labels.T if turn else labels, batch)
            except Exception as error:
                problem = problem or error
                continue
            value = ran[name]
            if isinstance(value, (tuple, list)) and any(close(v, true.accuracy, 1e-6) for v in value[:2]):
                return name, value
    if not ran:
        raise problem or Blocked("evaluate returns nothing")
    own = solution.loss.form
    name = next(n for n in ("(B, 1)", own, *LABELS) if n in ran)
    return name, ran[name]


def _forms(solution: Solution) -> list[str]:
    """The forms of labels that evaluate may be given: the data's, and others if main or the loss makes them so."""
    if solution.tree is None or solution.loss.form != "(B, 1)":
        return list(LABELS)
    changed = re.compile(r"flatten|ravel|reshape|squeeze|\[:, 0\]|one_?hot|eye\(|\.T\b", re.IGNORECASE)
    outside = [
        n for n in solution.tree.body if not isinstance(n, ast.ClassDef) and getattr(n, "name", "") != "evaluate"
    ]
    return list(LABELS) if any(changed.search(ast.unparse(node)) for node in outside) else ["(B, 1)"]


def _loss(true: _Truth, loss: Any) -> Results:
    if close(loss, true.loss, 1e-3):
        yield Result("average loss", "pass", shown(loss), shown(true.loss))
        return
    twice = log_loss(softmax(true.z), true.y)
    mistakes = {name: true.over(name, true.each) for name in AVERAGES}
    mistakes |= {f"softmax is applied twice; {name}": true.over(name, twice) for name in AVERAGES}
    mistakes["softmax is applied twice"] = twice.mean()
    mean = true.over("the mean of batches, large and small alike", true.each)
    mistakes["averages of batches are divided by the number of rows"] = mean * 6 / N
    mistakes["the mean of batches, each divided by the classes too"] = mean / 3
    result = compare("average loss", loss, true.loss, mistakes, 1e-3)
    if true.kind != "mean" and true.own is not None and close(loss, true.own, 1e-3):
        text = f"the average of its own loss, which is another: {shown(loss)}"
        result = Result("average loss", "follows", text, result.wanted, error=result.error)
    elif true.kind != "mean" and true.own is not None and ":" not in result.found and close(loss, true.own_mean, 1e-3):
        result = Result(
            "average loss", "fail", f"the mean of batches, large and small alike: {shown(loss)}", shown(true.own)
        )
    yield result
