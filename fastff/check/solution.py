"""A student's classes behind one interface: which way examples lie and what the loss takes is found by behaviour."""

import ast
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from fastff.check.linear import Linear, Path, read, required
from fastff.check.results import Blocked, close, scale_of

ALIASES = {
    "LinearLayer": ("LinearLayer", "Linear", "LinearLayers"),
    "ReLU": ("ReLU", "Relu", "RELU", "ReLu"),
    "CrossEntropySoftmax": ("CrossEntropySoftmax", "CrossEntropySoftMax", "SoftmaxCrossEntropy", "CrossEntropyLoss"),
    "FeedForwardNeuralNetwork": ("FeedForwardNeuralNetwork", "FeedForwardNetwork", "FeedforwardNeuralNetwork"),
    "evaluate": ("evaluate",),
}
METHODS = {
    "LinearLayer": ("forward", "backward"),
    "ReLU": ("forward", "backward"),
    "CrossEntropySoftmax": ("forward", "backward"),
    "FeedForwardNeuralNetwork": ("forward", "backward", "step"),
}
LABELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "(B, 1)": lambda y: y[:, None],
    "(B,)": lambda y: y,
    "one-hot": lambda y: np.eye(3)[y],
}
ROWS = 7  # of the batches that show whether something is divided by the size of the batch


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_loss(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The cross-entropy of each row, by log-sum-exp."""
    d = z - z.max(1, keepdims=True)
    return np.log(np.exp(d).sum(1)) - d[np.arange(len(y)), y]


def class_numbers(labels: Any) -> np.ndarray:
    """Labels of 3 classes in any form as whole numbers (B,)."""
    array = np.asarray(labels)
    if array.ndim == 2 and 3 in array.shape and 1 not in array.shape:
        return array.argmax(1 if array.shape[1] == 3 else 0)
    return array.ravel().astype(int)


class Loss:
    """A student's loss with its convention: form of labels, logits or probabilities, and how rows are put together."""

    def __init__(self, make: Callable[[], Any], form: str, probabilities: bool, columns: bool, kind: str) -> None:
        self.make, self.form, self.probabilities, self.columns, self.kind = make, form, probabilities, columns, kind
        self.object = make()

    def inputs(self, z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, labels = (softmax(z) if self.probabilities else z.copy()), LABELS[self.form](y)
        return (first.T.copy(), labels.T.copy()) if self.columns else (first, labels)

    def forward(self, z: np.ndarray, y: np.ndarray) -> Any:
        self.given = self.inputs(z, y)
        return self.object.forward(*self.given)

    def backward(self) -> np.ndarray:
        names = required(self.object.backward)
        if len(names) > 2:
            raise Blocked(f"CrossEntropySoftmax.backward wants {', '.join(names)}; the assignment's takes nothing")
        gradient = np.asarray(self.object.backward(*self.given[: len(names)]), float)
        return gradient.T if self.columns else gradient


class Solution:
    """A student's classes and functions by the assignment's names."""

    def __init__(self, namespace: Any, tree: ast.Module | None = None) -> None:
        self.namespace, self.tree = namespace, tree
        self.broken: set[str] = set()  # the parts that have failed so far

    def find(self, name: str) -> Any:
        return next((self.namespace[alias] for alias in ALIASES[name] if alias in self.namespace), None)

    def get(self, name: str) -> Any:
        found = self.find(name)
        if found is None:
            raise Blocked(f"the file has no {name}")
        return found

    def linear(self, n_in: int, n_out: int, seed: int | None = None) -> Linear:
        """A new layer, with known weights and bias if a seed is given."""
        layer = self.wrap(self.get("LinearLayer")(n_in, n_out), n_in, n_out)
        if seed is not None:
            rng = np.random.default_rng(seed)
            layer.set(rng.normal(size=(n_in, n_out)), rng.normal(size=n_out))
        return layer

    def wrap(self, layer: Any, n_in: int, n_out: int) -> Linear:
        turned = n_in == n_out and self.linear(5, 3).transposed
        return Linear(layer, n_in, n_out, self.columns, turned)

    @cached_property
    def gradient_paths(self) -> tuple[Path | None, Path | None]:
        """Where backward leaves the gradients of weights and bias."""
        rng = np.random.default_rng(13)
        return self.linear(5, 3).gradients(rng.normal(size=(ROWS, 5)), rng.normal(size=(ROWS, 3)))

    @cached_property
    def columns(self) -> bool:
        """Whether LinearLayer takes each example as a column."""
        make, x = self.get("LinearLayer"), np.random.default_rng(2).normal(size=(4, 5))
        problem: Exception | None = None
        for columns, rows, shape in ((False, x, (4, 3)), (True, x.T, (3, 4))):
            try:
                if np.shape(make(5, 3).forward(rows.copy())) == shape:
                    return columns
            except Exception as error:
                problem = problem or error
        if problem is not None:
            raise problem
        return False

    @cached_property
    def loss(self) -> Loss:
        """The convention that gives a known quantity, the mean first; else the data's own, labels (B, 1) and logits."""
        rng, make = np.random.default_rng(4), self.get("CrossEntropySoftmax")
        z, y = 2 * rng.normal(size=(7, 3)), np.array([0, 1, 2, 2, 0, 1, 1])
        each = log_loss(z, y)
        kinds = {"mean": each.mean(), "sum": each.sum(), "mean / 3": each.mean() / 3, "each": each}
        ran: list[Loss] = []
        problem: Exception | None = None
        for probabilities in (False, True):
            for form in LABELS:
                loss = Loss(make, form, probabilities, self._columns(), "unknown")
                try:
                    value = loss.forward(z, y)
                except Exception as error:
                    problem = problem or error
                    continue
                loss.kind = next((k for k, known in kinds.items() if close(value, known, 1e-3)), "unknown")
                ran.append(loss)
        if not ran:
            raise problem or Blocked("CrossEntropySoftmax.forward gives no number")
        order = [*kinds, "unknown"]
        chosen = min(ran, key=lambda loss: order.index(loss.kind))
        return Loss(make, chosen.form, chosen.probabilities, chosen.columns, chosen.kind)

    @cached_property
    def balanced(self) -> bool:
        """Whether the batch is divided by in LinearLayer.backward instead of in the loss: the same in the end."""
        rng, y = np.random.default_rng(8), np.arange(ROWS) % 3
        x, g, z = (rng.normal(size=(ROWS, n)) for n in (5, 3, 3))
        try:
            self.loss.forward(z, y)
            factors = [scale_of(self.loss.backward(), softmax(z) - np.eye(3)[y])]
            layer = self.linear(5, 3, seed=0)
            for path, wanted in zip(layer.gradients(x, g), (x.T @ g, g.sum(0)), strict=True):
                found = np.array(read(layer.layer, path or ()), float)
                factors.append(scale_of(found, wanted / ROWS) or scale_of(found.T, wanted / ROWS))
        except Exception:
            return False
        return all(factor is not None and abs(factor - 1) < 1e-3 for factor in factors)

    @cached_property
    def changes_labels(self) -> bool:
        """Whether main, or what it calls, seems to bring labels into another form than the data's."""
        changed = re.compile(r"flatten|ravel|reshape|squeeze|\[:, 0\]|one_?hot|eye\(|\.T\b", re.IGNORECASE)
        functions = [node for node in self.tree.body if not isinstance(node, ast.ClassDef)] if self.tree else []
        outside = [ast.unparse(node) for node in functions if getattr(node, "name", "") != "evaluate"]
        return self.tree is None or any(map(changed.search, outside))

    def _columns(self) -> bool:
        if "LinearLayer" in self.broken and "columns" not in vars(self):
            return False
        try:
            return self.columns
        except (Exception, SystemExit):
            return False

    def logits(self, network: Any, x: np.ndarray) -> np.ndarray:
        """What a student's network returns for rows x, as rows; the last one of a list."""
        out = network.forward(x.T.copy() if self._columns() else x.copy())
        out = np.asarray(out[-1] if isinstance(out, (list, tuple)) else out, float)
        return out.T if self._columns() else out

    def literals(self) -> set[float]:
        """All numbers in the file: betas, epsilons and lambdas are looked for among them."""
        if self.tree is None:
            return set()
        values = (n.value for n in ast.walk(self.tree) if isinstance(n, ast.Constant))
        return {float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)}
