"""How a student's classes are used, found by behaviour: which arrays are weights, which way examples lie, what loss takes."""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

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
# Arguments that `step` may want besides the step size, by name, in lower case and without underscores.
EXTRA = {
    **dict.fromkeys(("beta", "beta1", "b1", "momentum"), 0.9),
    **dict.fromkeys(("beta2", "b2"), 0.999),
    **dict.fromkeys(("eps", "epsilon"), 1e-8),
    **dict.fromkeys(
        ("lambda", "lam", "lambd", "lmbda", "lmda", "wd", "decay", "weightdecay", "reg", "l2", "lambdaa"), 1e-4
    ),
}
COUNTERS = {
    "t",
    "epoch",
    "e",
    "i",
    "iteration",
    "iter",
    "it",
    "step",
    "k",
    "n",
    "count",
    "timestep",
    "currentstep",
    "time",
}
WEIGHT_NAMES = ("weights", "weight", "W", "w")
BIAS_NAMES = ("bias", "biases", "b", "B")
GRADIENT_NAMES = ("grad_weights", "grad_bias", "dW", "db", "dw", "grad_w", "grad_b")
LABELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "(B, 1)": lambda y: y[:, None],
    "(B,)": lambda y: y,
    "one-hot": lambda y: np.eye(3)[y],
}
Path = tuple[Any, ...]
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


def required(function: Any) -> list[str]:
    """The names of a function's arguments that have no default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind in kinds]


def arrays(thing: Any, depth: int = 3) -> Iterator[tuple[Path, np.ndarray]]:
    """(path, array) of all arrays of floats that an object holds, in attributes, properties, dicts and lists."""
    items: Mapping[Any, Any] = {}
    if isinstance(thing, dict):
        items = thing
    elif isinstance(thing, (list, tuple)) and len(thing) < 50:
        items = dict(enumerate(thing))
    elif hasattr(thing, "__dict__") and not isinstance(thing, type):
        kind = type(thing)
        properties = [k for k in dir(kind) if k[0] != "_" and isinstance(getattr(kind, k, None), property)]
        items = {**vars(thing), **{k: getattr(thing, k, None) for k in properties}}
    for key, value in items.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "fi" and not (isinstance(key, str) and key.startswith("__")):
                yield (key,), value
        elif depth and not isinstance(value, (str, np.generic)) and not callable(value):
            yield from (((key, *rest), array) for rest, array in arrays(value, depth - 1))


def read(thing: Any, path: Path) -> Any:
    for key in path:
        thing = thing[key] if isinstance(thing, (dict, list, tuple)) else getattr(thing, key)
    return thing


def write(thing: Any, path: Path, value: np.ndarray) -> None:
    """Put values into the array at a path, in place so that other names of the same array follow."""
    array = read(thing, path)
    if array.flags.writeable and array.dtype.kind == "f":
        array[...] = np.reshape(value, array.shape)
        return
    holder, value = read(thing, path[:-1]), np.array(value, float).reshape(array.shape)
    if isinstance(holder, (dict, list)):
        holder[path[-1]] = value
    else:
        setattr(holder, path[-1], value)


class Linear:
    """A student's linear layer, used with examples as rows and weights (in, out) whichever way theirs lie."""

    def __init__(self, layer: Any, n_in: int, n_out: int, columns: bool, turned: bool = False) -> None:
        self.layer, self.n_in, self.n_out, self.columns, self._turned = layer, n_in, n_out, columns, turned
        self.weight_path, self.bias_path = self._parameters()
        self.counter = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        out = self.layer.forward(x.T.copy() if self.columns else x)
        return np.asarray(out).T if self.columns else np.asarray(out)

    def backward(self, x: np.ndarray, g: np.ndarray) -> Any:
        """backward(grad), or with the input once more where the student's wants it."""
        x, g = (x.T.copy(), g.T.copy()) if self.columns else (x, g)
        names = required(self.layer.backward)
        if len(names) > 2:
            raise Blocked(f"LinearLayer.backward wants {', '.join(names)}; the assignment's takes grad")
        if len(names) == 2 and "grad" in names[0].lower():
            out = self.layer.backward(g, x)
        else:
            out = self.layer.backward(x, g) if len(names) == 2 else self.layer.backward(g)
        return np.asarray(out).T if self.columns and out is not None else out

    def step(self, step_size: float) -> None:
        self.counter += 1
        call_step(self.layer.step, step_size, self.counter)

    @property
    def transposed(self) -> bool:
        """Whether the weights lie as (out, in). Square ones do as those of other layers, which `turned` says."""
        if self.n_in == self.n_out:
            return self._turned
        return self.weight_path is not None and read(self.layer, self.weight_path).shape == (self.n_out, self.n_in)

    @property
    def weights(self) -> np.ndarray:
        w = np.array(self._at(self.weight_path), float)
        return w.T if self.transposed else w

    @property
    def bias(self) -> np.ndarray:
        return np.array(self._at(self.bias_path), float).reshape(-1) if self.bias_path else np.zeros(self.n_out)

    def _at(self, path: Path | None) -> Any:
        if path is None:
            raise Blocked(
                "no array of LinearLayer acts as its weights: changing none of them changes what forward returns"
            )
        return read(self.layer, path)

    def set(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self._at(self.weight_path)
        assert self.weight_path is not None
        write(self.layer, self.weight_path, weights.T if self.transposed else weights)
        if self.bias_path:
            write(self.layer, self.bias_path, bias)

    def _parameters(self) -> tuple[Path | None, Path | None]:
        """The paths of the arrays that forward uses as weights and as bias."""
        x = np.random.default_rng(3).normal(size=(4, self.n_in))
        base, found = np.array(self.forward(x), float), {}
        names = WEIGHT_NAMES + BIAS_NAMES
        for path, array in sorted(arrays(self.layer), key=lambda item: (len(item[0]), item[0][-1] not in names)):
            kind = {self.n_in * self.n_out: "weights", self.n_out: "bias"}.get(array.size)
            if kind is None or kind in found:
                continue
            old = array.copy()
            try:
                write(self.layer, path, old + 0.5)
                moved = not np.allclose(np.array(self.forward(x), float), base)
                write(self.layer, path, old)
            except (AttributeError, TypeError, ValueError):
                continue
            if moved:
                found[kind] = path
        return found.get("weights"), found.get("bias")

    def gradients(self, x: np.ndarray, g: np.ndarray) -> tuple[Path | None, Path | None]:
        """The paths of the arrays where backward leaves the gradients of weights and bias, by name or by what they hold."""
        found: dict[str, Path] = {}
        self.forward(x)
        self.backward(x, g)
        after = {path: np.array(array, float) for path, array in arrays(self.layer)}
        parameters = (self.weight_path, self.bias_path)
        for kind, name, wanted in (("w", "grad_weights", x.T @ g), ("b", "grad_bias", g.sum(0))):
            if hasattr(self.layer, name):
                found[kind] = (name,)
                continue
            scaled = [p for p, a in after.items() if scale_of(a, wanted) or scale_of(a, wanted.T)]
            right = [p for p in scaled if close(after[p], wanted) or close(after[p], wanted.T)]
            names = [p for p in after if p[-1] in GRADIENT_NAMES and after[p].size == wanted.size]
            found_path = next((p for p in [*right, *names, *scaled] if p not in parameters), None)
            if found_path:
                found[kind] = found_path
        return found.get("w"), found.get("b")


def call_step(step: Any, step_size: float, counter: int) -> None:
    """step(step_size), with what else a student's step wants given by its name."""
    given: list[Any] = []
    for i, name in enumerate(required(step)):
        plain = name.lower().replace("_", "")
        if i == 0 and plain not in EXTRA and plain not in COUNTERS - {"step"}:
            given.append(step_size)
        elif plain in EXTRA:
            given.append(EXTRA[plain])
        elif plain in COUNTERS:
            given.append(counter)
        elif plain in ("stepsize", "lr", "eta", "alpha", "learningrate", "rate"):
            given.append(step_size)
        else:
            raise Blocked(f"step wants an argument called {name}, which the assignment's step(step_size) does not have")
    if not given and inspect.signature(step).parameters:
        given = [step_size]
    step(*given)


class Loss:
    """A student's loss with its convention: the form of its labels, logits or probabilities, and how rows are reduced."""

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
        make = self.get("LinearLayer")
        x = np.random.default_rng(2).normal(size=(4, 5))
        try:
            if np.shape(make(5, 3).forward(x.copy())) == (4, 3):
                return False
            problem: Exception | None = None
        except Exception as error:
            problem = error
        try:
            if np.shape(make(5, 3).forward(x.T.copy())) == (3, 4):
                return True
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
    def loss_factor(self) -> float | None:
        """The gradient of the loss as a multiple of (softmax - one-hot) / B, for 7 rows."""
        z, y = np.random.default_rng(8).normal(size=(ROWS, 3)), np.arange(ROWS) % 3
        try:
            self.loss.forward(z, y)
            return scale_of(self.loss.backward(), (softmax(z) - np.eye(3)[y]) / ROWS)
        except Exception:
            return None

    @cached_property
    def linear_factors(self) -> list[float | None]:
        """The gradients by weights and bias as multiples of the sums over the batch, for 7 rows."""
        rng = np.random.default_rng(9)
        x, g = rng.normal(size=(ROWS, 5)), rng.normal(size=(ROWS, 3))
        try:
            layer = self.linear(5, 3, seed=0)
            values = [None if p is None else np.array(read(layer.layer, p), float) for p in layer.gradients(x, g)]
            wanted = (x.T @ g, g.sum(0))
            return [
                None if v is None else scale_of(v, w) or scale_of(v.T, w) for v, w in zip(values, wanted, strict=True)
            ]
        except Exception:
            return [None, None]

    def balance(self) -> bool:
        """Whether the batch is divided by in LinearLayer.backward instead of in the loss, which gives the same in the end."""
        factors = [self.loss_factor, *self.linear_factors]
        if None in factors:
            return False
        loss, weights, bias = (float(f or 0) for f in factors)
        return abs(loss / ROWS - 1) < 1e-3 and abs(weights * ROWS - 1) < 1e-3 and abs(bias * ROWS - 1) < 1e-3

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
