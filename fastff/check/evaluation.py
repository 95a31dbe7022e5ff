"""Q6: evaluate: mean loss and accuracy over all rows, whatever the size of the batches."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastff.check.network import CAUSES, build, layers_of, randomise
from fastff.check.results import Blocked, Result, Results, close, compare, holds, judge, shown
from fastff.check.solution import ALIASES, LABELS, Solution, class_numbers, log_loss, softmax

N, BATCH, LONELY = 103, 20, 34  # rows, and sizes of batches that leave a last one of 3 rows and of one row
UNEQUAL = "the mean of batches, large and small alike"


def check_evaluate(solution: Solution) -> Results:
    with _right_loss(solution) if "CrossEntropySoftmax" in solution.broken else contextlib.nullcontext():
        yield from _check(solution)


def _check(solution: Solution) -> Results:
    rng = np.random.default_rng(15)
    network, x = build(solution, 6, 3, 8, 2), rng.normal(size=(N, 6))
    layers = [layer for layer in layers_of(network) if isinstance(layer, solution.get("LinearLayer"))]
    with contextlib.suppress(Exception):  # with its own weights then
        randomise(solution, layers, [(6, 8), (8, 3)], rng)
    z = solution.logits(network, x)
    if z.shape != (N, 3):
        raise Blocked(f"forward of the network returns {z.shape} for {N} rows, not ({N}, 3)")
    if not close(solution.logits(network, x[:BATCH]), z[:BATCH], 1e-4):
        status = "follows" if solution.broken & CAUSES else "fail"
        text = "what forward returns for a row depends on the other rows of its batch, or changes by itself"
        yield Result("rows by themselves", status, text, "the same in any batch")
        return
    # Some labels are the network's guesses, so that the accuracy is not that of chance, and the last rows are others
    y = np.where(rng.random(N) < 0.6, z.argmax(1), rng.integers(0, 3, N))
    y[100:] = (z[100:].argmax(1) + 1) % 3
    hits = (z.argmax(1) == y).astype(float)
    truth = float(hits.mean())
    form, returned = _call(solution, network, x, y, truth)
    still = np.array_equal(solution.logits(network, x), z)
    yield holds("evaluate leaves the network as it is", still, "unchanged", "weights change")
    name, wanted = "what evaluate returns", "(average loss, accuracy)"
    if not isinstance(returned, (tuple, list)) or len(returned) < 2:
        yield Result(name, "fail", shown(returned), wanted)
        return
    yield judge(name, len(returned) == 2, f"{len(returned)} values", wanted, soft=True)
    loss, accuracy = returned[:2]
    if close(loss, truth, 1e-6) and not close(accuracy, truth, 1e-6):
        yield Result(name, "fail", "accuracy first", wanted)
        loss, accuracy = accuracy, loss
    mistakes = _averages(hits) | {
        "the accuracy of the smallest logits": float((z.argmin(1) == y).mean()),
        "the share of wrong guesses": 1 - truth,
    }
    pairs = [(z[i : i + BATCH].argmax(1)[:, None] == y[i : i + BATCH]) for i in range(0, N, BATCH)]
    sums, means = [hit.sum() for hit in pairs], [hit.mean() for hit in pairs]
    for value in (sum(sums), sum(sums) / N, np.mean(means), np.average(means, weights=[len(hit) for hit in pairs])):
        mistakes[f"every guess is compared with every label (shapes (B,) and (B, 1) broadcast), {value:.4g}"] = value
    if close(accuracy, 100 * truth, 1e-6):
        yield Result("accuracy", "warn", f"in percent: {shown(accuracy)}", shown(truth))
    else:
        yield compare("accuracy", accuracy, truth, mistakes, 1e-6)
    yield _loss(solution, z, y, loss)
    if "evaluate" in solution.broken:
        return  # how batches are put together was judged already
    yield _sizes(solution, network, x, y, truth, form, returned)
    text = f"it works with {form}"
    yield judge("form of labels of evaluate", form == "(B, 1)", text, "(B, 1), as in the data", soft=True)


def _sizes(
    solution: Solution, network: Any, x: np.ndarray, y: np.ndarray, truth: float, form: str, returned: Any
) -> Result:
    """The same in one batch, and in batches of which the last one is a single row."""
    name, usual = "any size of batch", " and ".join(map(shown, returned[:2]))
    for batch, said in ((N, "in one"), (LONELY, f"in batches of {LONELY}, the last one of a single row")):
        try:
            _, other = _call(solution, network, x, y, truth, form=form, batch=batch)
        except Exception as error:
            if batch == N:
                raise
            return Result(name, "fail", f"{type(error).__name__} {said}: {' '.join(str(error).split())[:200]}", "equal")
        if not (close(other[0], returned[0], 1e-3) and close(other[1], returned[1], 1e-5)):
            text = f"{usual} in batches of {BATCH}, {' and '.join(map(shown, other[:2]))} {said}"
            return Result(name, "fail", text, "equal")
    return Result(name, "pass", usual, "equal")


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


def _averages(v: np.ndarray) -> dict[str, float]:
    """What the usual mistakes make of a value for each row, in batches of which the last one is smaller."""
    means, full = [v[i : i + BATCH].mean() for i in range(0, N, BATCH)], v[: N // BATCH * BATCH]
    return {
        UNEQUAL: float(np.mean(means)),
        "the last batch is left out": full.mean(),
        "the last batch is left out, but the sum divided by all rows": full.sum() / N,
        "of the first batch only": means[0],
        "of the last batch only": means[-1],
        "batches' sums are divided by the full size of a batch": v.sum() / BATCH / len(means),
        "batches' means are summed, and divided by the number of full batches": sum(means) / (N // BATCH),
        "batches' means are summed, and divided by the number of rows": sum(means) / N,
        "the sum over batches, not their average": sum(means),
        "the sum over all rows": v.sum(),
    }


def _call(
    solution: Solution, network: Any, x: np.ndarray, y: np.ndarray, truth: float, form: str = "", batch: int = BATCH
) -> tuple[str, Any]:
    """evaluate's values for the form of labels that gives the right accuracy; else the data's own, or the loss's."""
    ran: dict[str, Any] = {}
    problem: Exception | None = None
    forms = list(LABELS) if solution.changes_labels or solution.loss.form != "(B, 1)" else ["(B, 1)"]
    for name in [form] if form else forms:
        for turn in (False, True) if solution.columns else (False,):
            rows, labels = (x.T.copy(), LABELS[name](y).T) if turn else (x.copy(), LABELS[name](y))
            try:
                value = ran[name] = solution.get("evaluate")(network, rows, labels, batch)
            except Exception as error:
                problem = problem or error
                continue
            if isinstance(value, (tuple, list)) and any(close(v, truth, 1e-6) for v in value[:2]):
                return name, value
    if not ran:
        raise problem or Blocked("evaluate returns nothing")
    name = next(n for n in ("(B, 1)", solution.loss.form, *LABELS) if n in ran)
    return name, ran[name]


def _loss(solution: Solution, z: np.ndarray, y: np.ndarray, loss: Any) -> Result:
    each, twice = log_loss(z, y), log_loss(softmax(z), y)
    mistakes = _averages(each) | {f"softmax is applied twice; {name}": v for name, v in _averages(twice).items()}
    mistakes["softmax is applied twice"] = twice.mean()
    result = compare("average loss", loss, each.mean(), mistakes, 1e-3)
    own = solution.loss
    if result.status == "fail" and own.kind != "mean":
        batches = [z[i : i + BATCH] for i in range(0, N, BATCH)]
        values = [np.mean(own.forward(b, y[i * BATCH : i * BATCH + BATCH])) for i, b in enumerate(batches)]
        right = sum(values) / N if own.kind == "sum" else np.average(values, weights=list(map(len, batches)))
        if close(loss, right, 1e-3):
            text = f"the average of its own loss, which is another: {shown(loss)}"
            return Result("average loss", "follows", text, result.wanted)
    return result
