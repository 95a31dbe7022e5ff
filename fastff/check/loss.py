"""Q4 and Q1: softmax and cross-entropy: the loss, its gradient, and whether large logits break them."""

from typing import Any

import numpy as np

from fastff.check.linear import required
from fastff.check.results import Result, Results, close, compare, holds, judge, relative_error, scale_of, shown
from fastff.check.solution import ROWS, Loss, Solution, log_loss, softmax

LARGE = 1e4 * np.array([[1, 0, -1], [-1, -1 - 1e-4, -1 - 2e-4], [0.1, 0.1001, 0.0998]])


def check_loss(solution: Solution) -> Results:
    loss = solution.loss
    rng = np.random.default_rng(7)
    z, y = 2 * rng.normal(size=(ROWS, 3)), np.array([0, 1, 2, 2, 0, 1, 1])
    works = f"it works with {loss.form}"
    good, soft = loss.form == "(B, 1)", solution.changes_labels or loss.form == "(B,)"
    yield judge("form of labels", good, works, "(B, 1), as in the data", soft)
    yield holds("takes logits", not loss.probabilities, "logits", "probabilities: the softmax is outside", soft=True)
    given, labels = loss.inputs(z, y)
    kept = given.copy()
    value = loss.make().forward(given, labels)
    yield from _forward(solution, loss, value, z, y)
    yield holds("arguments stay as they are", close(given, kept, 0), "unchanged", "changed", soft=True)
    yield from _stable(loss, value, z, y)
    yield from _gradient(solution, loss, z, y)


def _forward(solution: Solution, loss: Loss, value: object, z: np.ndarray, y: np.ndarray) -> Results:
    each, p, picked = log_loss(z, y), softmax(z), np.arange(len(y))
    one_hot = np.eye(3)[y]
    both = one_hot * np.log(p) + (1 - one_hot) * np.log(1 - p)
    down = np.exp(z) / np.exp(z).sum(0)
    whole = np.exp(z) / np.exp(z).sum()
    mistakes = {
        "the sum over the batch, not the mean": each.sum(),
        "divided by the number of classes too": each.mean() / 3,
        "one value for each example, not their mean": each,
        "the sign is missing": -each.mean(),
        "the logarithm is to base 2": each.mean() / np.log(2),
        "the logarithm is to base 10": each.mean() / np.log(10),
        "softmax is applied over the examples, not the classes": -np.log(down[picked, y]).mean(),
        "softmax is taken over the whole batch, not each row": -np.log(whole[picked, y]).mean(),
        "softmax is applied twice": log_loss(p, y).mean(),
        "the probability of the true class, without the logarithm": p[picked, y].mean(),
        "one minus the probability of the true class": 1 - p[picked, y].mean(),
        "the logits are used as if they were probabilities": -z[picked, y].mean(),
        "terms of the other classes are added (binary cross-entropy)": -both.sum(1).mean(),
        "columns of all labels are picked for each row (shapes (B,) and (B, 1) broadcast)": -np.log(p[:, y]).mean(),
        "the sum over all pairs, from shapes (B,) and (B, 1) that broadcast": -np.log(p[:, y]).sum() / len(y),
        "half of it": each.mean() / 2,
        "divided by the size of the batch twice": each.mean() / ROWS,
        "the probability of the predicted class is used, not of the label's": -np.log(p.max(1)).mean(),
        "the class before the label's: labels count from 0": log_loss(z, (y - 1) % 3).mean(),
        "the class behind the label's: labels count from 0": log_loss(z, (y + 1) % 3).mean(),
        "the squared error of the probabilities": ((p - one_hot) ** 2).sum(1).mean(),
        "the squared error of the probabilities, averaged over the classes too": ((p - one_hot) ** 2).mean(),
        "half the squared error of the probabilities": ((p - one_hot) ** 2).sum(1).mean() / 2,
        "probabilities are returned, not a loss": p,
        **{f"{e:g} is added inside the logarithm": -np.log(p[picked, y] + e).mean() for e in (1.0, 0.1, 0.01, 1e-3)},
        "of the first example only": each[0],
    }
    exact = np.size(np.asarray(value)) == 1 and close(value, each.mean(), 1e-3)
    result = compare("forward", value, each.mean(), mistakes, 1e-3 if exact else 1e-4)
    if exact and not close(value, each.mean(), 2e-6):
        text = f"a small number is added inside the logarithm: {shown(value)}"
        yield Result("forward", "warn", text, result.wanted, result.error)
    elif loss.kind == "sum" and _consistent(loss, z, y) and not solution.balanced:
        text = f"the sum over the batch, and so is its gradient: {shown(value)}"
        yield Result("forward", "warn", text, result.wanted, result.error)
    else:
        yield result


def _consistent(loss: Loss, z: np.ndarray, y: np.ndarray) -> bool:
    """Whether the gradient is that of the sum."""
    try:
        loss.forward(z, y)
        return close(loss.backward(), softmax(z) - np.eye(3)[y], 1e-3)
    except Exception:
        return False


def _stable(loss: Loss, value: object, z: np.ndarray, y: np.ndarray) -> Results:
    """Large logits. A loss that is a multiple of the right one for small ones should be the same multiple here."""
    factor = scale_of(value, log_loss(z, y).mean(), 1e-3) if np.size(np.asarray(value)) == 1 else None
    factor = 1.0 if loss.kind != "sum" and factor and abs(factor - 1) < 1e-2 else factor
    if loss.probabilities:
        yield Result("large logits", "skipped", "the softmax is outside of the loss, so it is not tried here")
        return
    labels = np.array([0, 1, 2])
    found = _value(loss, LARGE, labels)
    each = log_loss(LARGE, labels)
    if not np.isfinite(found):
        yield Result("large logits", "fail", f"{found} for logits of up to 10,000", shown(each.mean()))
        return
    wanted = each.mean() * (factor * len(labels) / ROWS if loss.kind == "sum" and factor else factor or 1)
    if factor is None:
        yield Result("large logits", "follows", f"{shown(found)}: finite, and its value follows from forward", "finite")
        return
    yield judge("large logits", close(found, wanted, 1e-3), shown(found), shown(wanted))
    wrong = _value(loss, np.array([[800.0, 0, -800], [0, 800, 0]]), np.array([1, 0]))
    capped = np.isfinite(wrong) and wrong < 700
    text = f"{shown(wrong)}: a small number in the logarithm hides how wrong it is" if capped else shown(wrong)
    multiple = 2 * factor / ROWS if loss.kind == "sum" else factor
    yield judge("large loss", close(wrong, 800 * multiple, 1e-3), text, shown(800 * multiple), soft=capped)
    moved = _value(loss, z + 100, y)
    if np.isfinite(moved):
        yield judge("shift of logits", close(moved, value, 1e-3), shown(moved), shown(value))


def _value(loss: Loss, z: np.ndarray, y: np.ndarray) -> float:
    return float(np.asarray(loss.make().forward(*loss.inputs(z, y)), float).mean())


def _gradient(solution: Solution, loss: Loss, z: np.ndarray, y: np.ndarray) -> Results:
    names = required(loss.object.backward)
    yield judge("arguments of backward", not names, f"backward({', '.join(names)})", "backward()", soft=True)
    loss.forward(z, y)
    found = loss.backward()
    p, t = softmax(z), np.eye(3)[y]
    wanted = (p - t) / ROWS
    mistakes = {
        "not divided by the size of the batch": p - t,
        "divided by the number of classes too": wanted / 3,
        "divided by the number of classes, not by the batch": (p - t) / 3,
        "divided by the size of the batch twice": wanted / ROWS,
        "of the opposite sign": -wanted,
        "of the opposite sign, and not divided by the size of the batch": t - p,
        "the softmax without the labels": p / ROWS,
        "the softmax without the labels, not divided by the batch": p,
        "minus the labels, without the softmax": -t / ROWS,
        "logits minus labels, without the softmax": (z - t) / ROWS,
        "the gradient by the probabilities, not by the logits": -t / p / ROWS,
        "softmax is applied twice": (softmax(p) - t) / ROWS,
        "multiplied by the derivative of the softmax once more": (p - t) * p * (1 - p) / ROWS,
        "only the entries of the true classes": wanted * t,
        "one value for each example": wanted.sum(1),
    }
    result = compare("backward", found, wanted, mistakes, 1e-3)
    if result.status == "fail" and loss.kind == "sum" and close(found, p - t, 1e-3):
        text = f"of the sum over the batch, as its loss: {shown(found)}"
        result = Result("backward", "warn", text, result.wanted, result.error)
    elif result.status == "fail" and solution.balanced:
        text = f"{result.found}; LinearLayer.backward makes up for it"
        result = Result("backward", "warn", text, result.wanted, result.error)
    yield result
    if found.shape == z.shape and np.isfinite(found).all():
        yield _differences(loss, found, z, y, result)
    yield _second_batch(loss, names, z, y)
    if not loss.probabilities:
        loss.forward(LARGE, np.array([0, 1, 2]))
        large = loss.backward()
        yield judge("gradient of large logits", bool(np.isfinite(large).all()), shown(large), "finite")
        a, b = loss.make(), loss.make()
        first, labels = loss.inputs(z, y)
        a.forward(first, labels)
        b.forward(*loss.inputs(z[::-1].copy(), y))
        again = np.asarray(a.backward(*(first, labels)[: len(names)]), float)
        again = again.T if loss.columns else again
        yield holds("losses are independent", close(again, found, 1e-5), "independent", "mixed up")


def _second_batch(loss: Loss, names: list[str], z: np.ndarray, y: np.ndarray) -> Result:
    """An object that has seen a batch before gives the gradient of the last one, as a new object does."""
    last, used, new = loss.inputs(z[::-1].copy(), (y + 1) % 3), loss.make(), loss.make()
    used.forward(*loss.inputs(z, y))
    found, wanted = [_after(each, last, len(names)) for each in (used, new)]
    return holds("a second batch", close(found, wanted, 1e-5), "its own gradient", "it depends on an earlier batch")


def _after(loss: Any, given: tuple[np.ndarray, np.ndarray], arguments: int) -> np.ndarray:
    """What backward returns after forward, both of the student's own object."""
    loss.forward(*given)
    return np.asarray(loss.backward(*given[:arguments]), float)


def _differences(loss: Loss, found: np.ndarray, z: np.ndarray, y: np.ndarray, result: Result) -> Result:
    """backward against finite differences of the student's own forward."""
    numeric, h = np.zeros_like(z), 1e-3
    for index in np.ndindex(*z.shape):
        values = []
        for sign in (1, -1):
            moved = z.copy()
            moved[index] += sign * h
            values.append(_value(loss, moved, y))
        numeric[index] = (values[0] - values[1]) / (2 * h)
    name, wanted = "backward is the derivative of forward", "the finite differences of its own forward"
    if close(found, numeric, 5e-3):
        return Result(name, "pass", "equal", wanted, error=relative_error(found, numeric))
    factor = scale_of(found, numeric, 5e-3)
    text = f"{factor:.4g} times" if factor else "not a multiple of"
    status = {"warn": "warn", "fail": "follows"}.get(result.status, "fail" if loss.kind == "mean" else "follows")
    return Result(name, status, f"{text} {wanted}", "equal", relative_error(found, numeric))
