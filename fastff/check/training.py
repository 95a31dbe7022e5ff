"""Q6: the training loop: main runs on small files in the course's format, and what it does is followed."""

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastff.check.results import Result, Results, close, holds, judge
from fastff.check.solution import Solution, class_numbers, softmax

SPLITS = {"train": 307, "val": 90, "test": 61}  # 307 is prime: whatever the size of batches, the last one is smaller
EPOCHS, LONGEST = 3, 12  # epochs that are followed at least, and at most if the loss has not fallen yet
SECONDS, LONG = (1.5, 2.5)  # after SECONDS an epoch and a batch are enough, after LONG whatever was seen
TAGS = 4  # pixels that tell a row's number (0 and 1), its label (2), and its split's scale (3)


class _Enough(BaseException):
    """Ends main once enough was seen. A BaseException, which an `except Exception` of the student's lets through."""


def make_split(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, 3072) of 0 to 255 and labels (N, 1); each class has its own third of the pixels brighter."""
    rng, n = np.random.default_rng(len(name)), SPLITS[name]
    y, rows = rng.integers(0, 3, n), np.arange(n)
    x = rng.integers(0, 150, (n, 3072)).astype(float)
    for i, label in enumerate(y):
        x[i, 1024 * label : 1024 * (label + 1)] += 60
    x[:, 0], x[:, 1], x[:, 2] = rows % 200, rows // 200 * 100, y * 100
    x[:, 3] = rng.integers(0, 100, n) + (0 if name == "train" else 130)
    return x, y[:, None].astype(np.int64)


def write_files(folder: Path) -> None:
    for name in SPLITS:
        images, labels = make_split(name)
        with open(folder / f"cifar10_hst_{name}", "wb") as file:
            pickle.dump({"images": images, "labels": labels}, file)


class _Batch:
    """What happened between one backward of the network and the next."""

    def __init__(self, tags: np.ndarray, labels: np.ndarray, loss: float, network: int) -> None:
        self.tags, self.labels, self.loss, self.network, self.steps = tags, labels, loss, network, 0
        self.given_the_loss: bool | None = None  # whether backward was given the loss's gradient; None: there was none


class _Follower:
    """Notes what the network, the loss and evaluate are given while main runs."""

    def __init__(self, solution: Solution) -> None:
        self.solution, self.since, self.rows = solution, 0.0, 0
        self.batches, self.evaluated = list[_Batch](), list[np.ndarray]()
        self.tags, self.labels, self.loss = np.zeros((0, TAGS)), np.zeros(0), float("nan")
        self.out: Any = None
        self.gradient: Any = None
        self.evaluating, self.fresh, self.cut = (
            False,
            False,
            False,
        )  # fresh: the gradients are of the rows that forward had last
        self.twice, self.other, self.steps, self.stale, self.sizes = False, False, 0, 0, set[float]()

    def __enter__(self) -> "_Follower":
        network, loss = self.solution.get("FeedForwardNeuralNetwork"), self.solution.get("CrossEntropySoftmax")
        followed = [(network, "forward", self._forward), (network, "backward", self._backward)]
        followed += [(network, "step", self._step), (loss, "forward", self._loss), (loss, "backward", self._slope)]
        self._saved = []
        for thing, method, follow in followed:
            real = getattr(thing, method)
            for name in {method, *(name for name, value in vars(thing).items() if value is real)}:  # __call__ = forward
                self._saved.append((thing, name, real))
                setattr(thing, name, _calling(follow, real))
        self._evaluate_itself = self.solution.get("evaluate")
        self.solution.namespace["evaluate"] = _calling(self._evaluate, self._evaluate_itself)
        return self

    def __exit__(self, *_: object) -> None:
        for thing, name, real in self._saved:
            setattr(thing, name, real)
        self.solution.namespace["evaluate"] = self._evaluate_itself

    def _forward(self, run: Callable[[], Any], *given: Any) -> Any:
        if self.evaluating:
            return run()
        self.since = self.since or time.monotonic()
        n, spent = SPLITS["train"], time.monotonic() - self.since
        self.cut = self.rows < n and bool(self.batches) and spent > LONG
        if self.cut or (self.rows > n and spent > SECONDS) or self.rows >= LONGEST * n:
            raise _Enough
        losses = self.epoch_losses() if self.rows >= EPOCHS * n else [0.0]
        if losses[-1] < losses[0]:
            raise _Enough
        self.tags, self.fresh, out = _read_tags(given[1]), False, run()
        self.out = np.array(out[-1] if isinstance(out, (list, tuple)) else out, float)
        return out

    def _loss(self, run: Callable[[], Any], *given: Any) -> Any:
        z, out, value = np.array(given[1], float), self.out, run()
        if not self.evaluating:
            self.labels, self.loss = class_numbers(given[2]), float(np.mean(value))
            if out is not None and out.shape == z.shape and out.ndim == 2 and not close(z, out, 1e-5):
                probabilities = close(z, softmax(out), 1e-3) or close(z, softmax(out.T).T, 1e-3)
                self.twice, self.other = self.twice or probabilities, self.other or not probabilities
        return value

    def _slope(self, run: Callable[[], Any], *_: Any) -> Any:
        gradient = run()
        self.gradient = None if gradient is None else np.array(gradient, float)
        return gradient

    def _backward(self, run: Callable[[], Any], network: Any, *given: Any) -> Any:
        batch = _Batch(self.tags, self.labels, self.loss, id(network))
        if self.gradient is not None:
            batch.given_the_loss = any(close(g, self.gradient) for g in given)
        self.batches.append(batch)
        self.rows += len(self.tags)
        self.gradient, self.fresh = None, True
        return run()

    def _step(self, run: Callable[[], Any], *given: Any) -> Any:
        self.steps += 1
        self.stale += not self.fresh
        self.sizes |= {float(size) for size in given[1:2] if isinstance(size, (int, float))}
        if self.batches:
            self.batches[-1].steps += 1
        return run()

    def _evaluate(self, run: Callable[[], Any], *given: Any) -> Any:
        images = (a for a in given if isinstance(a, np.ndarray) and a.ndim == 2 and min(a.shape) > 3)  # not labels
        self.evaluated += [_read_tags(array) for array in images]
        self.evaluating = True
        try:
            return run()
        finally:
            self.evaluating = False

    def epoch_losses(self) -> list[float]:
        """The mean loss of each pass over as many rows as there are."""
        rows, epochs = 0, [list[float]()]
        for batch in self.batches:
            if rows >= SPLITS["train"] * len(epochs):
                epochs.append([])
            epochs[-1].append(batch.loss)
            rows += len(batch.tags)
        return [float(np.mean(losses)) if losses else float("nan") for losses in epochs]


def _calling(follow: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls `follow` with what it is given, and with what runs the real one."""

    def followed(*arguments: Any, **options: Any) -> Any:
        return follow(lambda: real(*arguments, **options), *arguments, *options.values())

    return followed


def _read_tags(x: Any) -> np.ndarray:
    """The tags of rows, or of columns."""
    array = np.asarray(x, float)
    array = array.T if array.ndim == 2 and array.shape[0] == 3072 != array.shape[1] else array
    return array[:, :TAGS].copy() if array.ndim == 2 else np.zeros((len(array), TAGS))


def check_training(solution: Solution, run_main: Callable[[], None]) -> Results:
    problem: BaseException | None = None
    with _Follower(solution) as seen:
        try:
            run_main()
        except _Enough:
            pass
        except BaseException as error:
            problem = error
    if problem is not None and seen.rows < SPLITS["train"]:
        raise problem
    if not seen.batches:
        steps = "the network takes steps, but its backward is never called"
        neither = "neither backward nor step of FeedForwardNeuralNetwork is called"
        yield Result("steps", "fail", steps if seen.steps else neither, "backward and step for each batch")
        return
    counts = sorted({batch.steps for batch in seen.batches[:-1] or seen.batches})
    text = f"{', '.join(map(str, counts))} steps for a batch, {seen.steps} steps in {len(seen.batches)} batches"
    text = "steps are taken before backward, with the gradients of another batch" if seen.stale else text
    yield judge("steps", counts == [1] and not seen.stale, text, "one step for each batch, after its backward")
    yield judge("step size of the loop", min(seen.sizes, default=1) > 0, f"{min(seen.sizes, default=1):g}", "above 0")
    falls = _falls(solution, seen)
    if seen.other or (seen.twice and not solution.loss.probabilities):
        twice = "softmax is applied twice: before the loss and in it"
        text = "something else than what forward returned" if seen.other else twice
        soft = seen.other and falls.status == "pass"
        yield judge("logits go into the loss", False, text, "what forward returned", soft)
    handed = {batch.given_the_loss for batch in seen.batches}
    text = "the loss's backward is not called for each batch" if None in handed else "another gradient goes in"
    yield holds("gradient of the loss goes into the network", handed == {True}, "it does", text)
    ends = np.cumsum([len(batch.tags) for batch in seen.batches])
    first = seen.batches[: int(np.searchsorted(ends, 2 * SPLITS["train"])) + 1]
    one = len({batch.network for batch in first}) == 1
    yield holds("one network is trained", one, "one", "another network for some batches")
    yield from _rows(seen)
    yield falls
    yield from _validation(seen)
    if problem is not None:
        raise problem


def _rows(seen: _Follower) -> Results:
    """Every row once an epoch, with its own label, in a new order."""
    n = SPLITS["train"]
    keys = [tuple(np.round(row[:2], 6)) for batch in seen.batches for row in batch.tags]
    if len(set(keys)) > n or (len(set(keys)) < 3 and len(keys) >= n):
        text = "rows are changed (augmented, or without single pixels), so that they cannot be told apart"
        yield Result("rows of an epoch", "skipped", text)
        return
    first = next((i for i, key in enumerate(keys) if key in keys[:i]), len(keys))
    if seen.cut and first == len(keys):
        yield Result("rows of an epoch", "skipped", f"an epoch takes too long to be waited for: {first} of {n} rows")
        return
    good = first == n
    ends = np.cumsum([len(batch.tags) for batch in seen.batches])
    inside = first < len(keys) and first not in ends
    text = f"{first} of {n} rows before {'one of them comes again' if first < len(keys) else 'training ends'}"
    if not good and not inside and len(set(keys)) > first:
        text += ": rows are left out of each epoch, such as those of the last, smaller batch"
    yield judge("every row once an epoch", good, text, f"{n} of {n}")
    yield from _labels(seen)
    both = min(first, len(keys) - first)  # rows that were seen of two epochs
    if both > 1:
        changed = keys[:both] != keys[first : first + both]
        yield holds("a new order every epoch", changed, "a new one", "the same in both first epochs")


def _labels(seen: _Follower) -> Results:
    """Whether rows have their own labels: pixel 2 tells a row's, unless pixels were mixed. Then a row that comes again
    must have the label that it had before.
    """
    pairs = [
        (*np.round(tags, 6).tolist(), int(label))
        for batch in seen.batches
        if len(batch.labels) == len(batch.tags)
        for tags, label in zip(batch.tags[:, :3], batch.labels, strict=True)
    ]
    told = len({pair[2] for pair in pairs}) <= 3
    rows = {pair[2:] if told else pair for pair in pairs}
    good = len(rows) <= 3 if told else len({row[:-1] for row in rows}) == len(rows)
    if told or not good or len(rows) < len(pairs):
        yield holds("labels stay with their rows", good, "they do", "rows get labels of other rows")


def _falls(solution: Solution, seen: _Follower) -> Result:
    losses = seen.epoch_losses()
    text = "mean loss of the epochs: " + ", ".join(f"{loss:.4g}" for loss in losses[:LONGEST])
    broken = solution.broken & {"LinearLayer", "ReLU", "CrossEntropySoftmax", "FeedForwardNeuralNetwork", "Adam"}
    if np.isfinite(losses).all() and len(losses) < 2:
        return Result("loss falls", "skipped", f"{text}: one epoch only")
    if np.isfinite(losses).all() and min(losses[1:]) < losses[0]:
        return Result("loss falls", "pass", text, "falling")
    wrong = "warn" if np.isfinite(losses).all() else "fail"
    return Result("loss falls", "follows" if broken else wrong, text, "finite and falling")


def _validation(seen: _Follower) -> Results:
    n = SPLITS["val"]
    tags = next((tags for tags in seen.evaluated if len(tags) == n), None)
    if tags is None and len(seen.epoch_losses()) < 2 and not seen.evaluated:
        yield Result("validation", "skipped", "no epoch was seen to its end")
        return
    if tags is None:
        text = "rows that evaluate gets: " + (", ".join(sorted({str(len(t)) for t in seen.evaluated})) or "none")
        yield judge("validation", False, text, f"{n}, the validation's", soft=not seen.evaluated)
        return
    train = np.sort(np.concatenate([batch.tags[:, 3] for batch in seen.batches])[: SPLITS["train"]])
    raw = np.sort(make_split("train")[0][:, 3])
    if train.size != raw.size:
        return
    slope, shift = np.polyfit(raw, train, 1)
    if not close(slope * raw + shift, train, 1e-2) or slope <= 0:
        return  # rows are changed in a way of their own
    found, wanted = np.sort(tags[:, 3]), slope * np.sort(make_split("val")[0][:, 3]) + shift
    good = close(found, wanted, 2e-2)
    yield holds("validation is scaled like training", good, "alike", "by other numbers")
