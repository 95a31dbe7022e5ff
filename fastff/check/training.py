"""Q6: the training loop: the student's main runs on small files in the course's format, and what it does is followed."""

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastff.check.results import Result, Results, close, judge
from fastff.check.solution import Solution, class_numbers, softmax

SPLITS = {"train": 307, "val": 90, "test": 61}  # 307 is prime: whatever the size of batches, the last one is smaller
EPOCHS, LONGEST = 3, 12  # epochs that are followed at least, and at most if the loss has not fallen yet
SECONDS = 1.5  # after which no epoch more than EPOCHS is waited for
TAGS = 4  # pixels that tell a row's number (0 and 1), its label (2), and its split's scale (3)


class _Enough(BaseException):
    """Ends main once enough was seen. A BaseException, so that an `except Exception` of the student's lets it through."""


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

    def __init__(self, tags: np.ndarray, labels: np.ndarray | None, loss: float, network: int) -> None:
        self.tags, self.labels, self.loss, self.network, self.steps = tags, labels, loss, network, 0
        self.gradient_is_the_loss: bool | None = None


class _Follower:
    """Notes what the network, the loss and evaluate are given while main runs."""

    def __init__(self, solution: Solution) -> None:
        self.solution, self.batches, self.evaluated = solution, list[_Batch](), list[tuple[int, np.ndarray]]()
        self.tags, self.labels, self.loss, self.out = np.zeros((0, TAGS)), None, float("nan"), None
        self.gradient: Any = None
        self.inside, self.rows, self.since, self.twice, self.steps = False, 0, time.monotonic(), False, 0

    def __enter__(self) -> "_Follower":
        network, loss = self.solution.get("FeedForwardNeuralNetwork"), self.solution.get("CrossEntropySoftmax")
        self._saved = [(network, n, getattr(network, n)) for n in ("forward", "backward", "step")]
        self._saved += [(loss, n, getattr(loss, n)) for n in ("forward", "backward")]
        for (thing, name, real), follow in zip(
            self._saved, (self._forward, self._backward, self._step, self._loss, self._loss_backward), strict=True
        ):
            setattr(thing, name, follow(real))
        self._evaluate = self.solution.get("evaluate")
        self.solution.namespace["evaluate"] = self._evaluating(self._evaluate)
        return self

    def __exit__(self, *_: object) -> None:
        for thing, name, real in self._saved:
            setattr(thing, name, real)
        self.solution.namespace["evaluate"] = self._evaluate

    def _forward(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def forward(network: Any, x: Any, *more: Any, **options: Any) -> Any:
            if not self.inside:
                self._stop_when_enough()
                self.tags = self._read_tags(x)
            out = real(network, x, *more, **options)
            if not self.inside:
                self.out = np.array(out[-1] if isinstance(out, (list, tuple)) else out, float)
            return out

        return forward

    def _read_tags(self, x: Any) -> np.ndarray:
        array = np.asarray(x)
        array = array.T if array.ndim == 2 and array.shape[1] != 3072 and array.shape[0] == 3072 else array
        return (
            np.array(array[:, :TAGS], float)
            if array.ndim == 2 and array.shape[1] == 3072
            else np.zeros((len(array), TAGS))
        )

    def _stop_when_enough(self) -> None:
        n = SPLITS["train"]
        if self.rows < EPOCHS * n:
            return
        losses = self.epoch_losses()
        if losses[-1] < losses[0] or self.rows >= LONGEST * n or time.monotonic() - self.since > SECONDS:
            raise _Enough

    def epoch_losses(self) -> list[float]:
        """The mean loss of each pass over as many rows as there are."""
        rows, epochs = 0, [list[float]()]
        for batch in self.batches:
            if rows >= SPLITS["train"] * len(epochs):
                epochs.append([])
            epochs[-1].append(batch.loss)
            rows += len(batch.tags)
        return [float(np.mean(losses)) if losses else float("nan") for losses in epochs]

    def _loss(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def forward(loss: Any, z: Any, labels: Any, *more: Any, **options: Any) -> Any:
            given = np.array(z, float)
            value = real(loss, z, labels, *more, **options)
            if not self.inside:
                self.labels, self.loss = class_numbers(labels), float(np.mean(value))
                out = self.out
                if out is not None and out.shape == given.shape and out.ndim == 2 and not close(given, out, 1e-5):
                    rows, columns = softmax(out), softmax(out.T).T
                    self.twice = self.twice or close(given, rows, 1e-3) or close(given, columns, 1e-3)
            return value

        return forward

    def _loss_backward(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def backward(loss: Any, *arguments: Any, **options: Any) -> Any:
            gradient = real(loss, *arguments, **options)
            self.gradient = None if gradient is None else np.array(gradient, float)
            return gradient

        return backward

    def _backward(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def backward(network: Any, *arguments: Any, **options: Any) -> Any:
            batch = _Batch(self.tags, self.labels, self.loss, id(network))
            given = [
                np.asarray(a, float) for a in (*arguments, *options.values()) if isinstance(a, (np.ndarray, float, int))
            ]
            if self.gradient is not None:
                batch.gradient_is_the_loss = any(close(g, self.gradient) for g in given)
            self.batches.append(batch)
            self.rows += len(self.tags)
            self.gradient = None
            return real(network, *arguments, **options)

        return backward

    def _step(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(network: Any, *arguments: Any, **options: Any) -> Any:
            self.steps += 1
            if self.batches:
                self.batches[-1].steps += 1
            return real(network, *arguments, **options)

        return step

    def _evaluating(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def evaluate(*arguments: Any, **options: Any) -> Any:
            given = [np.asarray(a) for a in (*arguments, *options.values()) if isinstance(a, np.ndarray)]
            images = next((a for a in given if a.ndim == 2 and 3072 in a.shape), None)
            if images is not None:
                tags = self._read_tags(images)
                self.evaluated.append((len(tags), tags))
            self.inside = True
            try:
                return real(*arguments, **options)
            finally:
                self.inside = False

        return evaluate


def check_training(solution: Solution, run_main: Callable[[], None]) -> Results:
    problem: BaseException | None = None
    with _Follower(solution) as seen:
        try:
            run_main()
        except _Enough:
            pass
        except BaseException as error:
            problem = error
    if problem is not None and not seen.batches:
        raise problem
    if not seen.batches:
        yield _nothing(seen)
        return
    wanted = "one step for each batch"
    counts = sorted({batch.steps for batch in seen.batches[:-1] or seen.batches})
    text = f"{', '.join(map(str, counts))} steps for a batch, {seen.steps} steps in {len(seen.batches)} batches"
    yield judge("steps", counts == [1], text, wanted)
    if seen.twice:
        bad = not solution.loss.probabilities
        yield judge("logits go into the loss", not bad, "softmax is applied twice: before the loss and in it", "logits")
    handed = [batch.gradient_is_the_loss for batch in seen.batches if batch.gradient_is_the_loss is not None]
    without = len(handed) < len(seen.batches)
    yield judge("gradient of the loss goes into the network", all(handed) and not without,
                "it does" if all(handed) and not without else "the loss's backward is not called for each batch" if without else "another gradient goes in",
                "it does")  # fmt: skip
    same = len({batch.network for batch in seen.batches[: _epoch_end(seen) + 1]}) == 1
    yield judge("one network is trained", same, "one" if same else "another network for some batches", "one")  # fmt: skip
    yield from _rows(seen)
    yield from _falls(solution, seen)
    yield from _validation(seen)
    if problem is not None:
        raise problem


def _epoch_end(seen: _Follower) -> int:
    rows = np.cumsum([len(batch.tags) for batch in seen.batches])
    return int(np.searchsorted(rows, 2 * SPLITS["train"]))


def _nothing(seen: _Follower) -> Result:
    wanted = "forward, loss, backward and step for each batch"
    if seen.steps:
        return Result("steps", "fail", "the network takes steps, but its backward is never called", wanted)
    if len(seen.tags):
        return Result("steps", "fail", "neither backward nor step of the network is called", wanted)
    return Result("steps", "fail", "main ends without a forward of FeedForwardNeuralNetwork", wanted)  # fmt: skip


def _rows(seen: _Follower) -> Results:
    """Every row once an epoch, with its own label, in a new order."""
    n = SPLITS["train"]
    keys = [tuple(np.round(row[:2], 6)) for batch in seen.batches for row in batch.tags]
    if len(set(keys)) > n or (len(set(keys)) < 3 and len(keys) >= n):
        text = "rows are changed (augmented, or without single pixels), so that they cannot be told apart"
        yield Result("rows of an epoch", "skipped", text)
        return
    first, known = 0, set()
    for key in keys:
        if key in known:
            break
        known.add(key)
        first += 1
    good = first == n or (first == len(keys) and first == n)
    ends = np.cumsum([len(batch.tags) for batch in seen.batches])
    inside = first < len(keys) and first not in ends
    text = f"{first} of {n} rows before {'one of them comes again' if first < len(keys) else 'training ends'}"
    if not good and not inside and len(set(keys)) > first:
        text += ": rows are left out of each epoch, such as those of the last, smaller batch"
    yield judge("every row once an epoch", good, text, f"{n} of {n}")
    pairs = {
        (round(float(tag), 6), int(label))
        for batch in seen.batches if batch.labels is not None and len(batch.labels) == len(batch.tags)
        for tag, label in zip(batch.tags[:, 2], batch.labels, strict=True)
    }  # fmt: skip
    if pairs:
        matched = len(pairs) <= 3
        yield judge(
            "labels stay with their rows", matched, "they do" if matched else "rows get labels of other rows", "they do"
        )
    if len(keys) >= 2 * first and first > 1:
        changed = keys[:first] != keys[first : 2 * first]
        yield judge(
            "a new order every epoch", changed, "a new one" if changed else "the same in both first epochs", "a new one"
        )


def _falls(solution: Solution, seen: _Follower) -> Results:
    losses = seen.epoch_losses()
    text = "mean loss of the epochs: " + ", ".join(f"{loss:.4g}" for loss in losses[:LONGEST])
    broken = solution.broken & {"LinearLayer", "ReLU", "CrossEntropySoftmax", "FeedForwardNeuralNetwork", "Adam"}
    if not np.isfinite(losses).all():
        yield Result("loss falls", "follows" if broken else "fail", text, "finite and falling")
    elif len(losses) < 2:
        yield Result("loss falls", "skipped", f"{text}: one epoch only")
    else:
        good = min(losses[1:]) < losses[0]
        yield Result("loss falls", "pass" if good else "follows" if broken else "warn", text, "falling")


def _validation(seen: _Follower) -> Results:
    n = SPLITS["val"]
    tags = next((tags for rows, tags in seen.evaluated if rows == n), None)
    if tags is None:
        text = ", ".join(sorted({str(rows) for rows, _ in seen.evaluated})) or "none"
        only = bool(seen.evaluated)
        yield Result(
            "validation", "fail" if only else "warn", f"rows that evaluate gets: {text}", f"{n}, the validation's"
        )
        return
    rows, total = [], 0
    for batch in seen.batches:
        rows.append(batch.tags[:, 3])
        total += len(batch.tags)
        if total >= SPLITS["train"]:
            break
    train, raw = np.sort(np.concatenate(rows)), np.sort(make_split("train")[0][:, 3])
    if train.size != raw.size:
        return
    slope, shift = np.polyfit(raw, train, 1)
    if not close(slope * raw + shift, train, 1e-2) or slope <= 0:
        return  # rows are changed in a way of their own
    found, wanted = np.sort(tags[:, 3]), slope * np.sort(make_split("val")[0][:, 3]) + shift
    good = close(found, wanted, 2e-2)
    yield judge("validation is scaled like training", good, "alike" if good else "by other numbers", "alike")
