"""A student's linear layer, whatever its arrays are called and whichever way they lie: found by behaviour."""

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastff.check.results import Blocked, close, scale_of

# Arguments that `step` may want besides the step size, by name, in lower case and without underscores.
EXTRA: dict[str, float] = {}
for _names, _value in (
    ("beta, beta1, b1, momentum", 0.9),
    ("beta2, b2", 0.999),
    ("eps, epsilon", 1e-8),
    ("lambda, lam, lambd, lmbda, lmda, lambdaa, wd, decay, weightdecay, reg, l2", 1e-4),
):
    EXTRA |= dict.fromkeys(_names.split(", "), _value)
COUNTERS = {
    *["t", "epoch", "e", "i", "iteration", "iter", "it", "step", "k", "n", "count", "timestep", "currentstep", "time"]
}
STEP_SIZES = {"stepsize", "lr", "eta", "alpha", "learningrate", "rate"}
WEIGHT_NAMES = ("weights", "weight", "W", "w")
BIAS_NAMES = ("bias", "biases", "b", "B")
GRADIENT_NAMES = ("grad_weights", "grad_bias", "dW", "db", "dw", "grad_w", "grad_b")
Path = tuple[Any, ...]


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
    elif (hasattr(thing, "__dict__") or hasattr(thing, "__slots__")) and not isinstance(thing, type):
        kinds = {k: getattr(type(thing), k, None) for k in dir(type(thing))}
        computed = [k for k, kind in kinds.items() if isinstance(kind, property) and k[0] != "_"]
        computed += [k for k, kind in kinds.items() if isinstance(kind, types.MemberDescriptorType)]  # of __slots__
        items = {**getattr(thing, "__dict__", {}), **{k: getattr(thing, k, None) for k in computed}}
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
            raise Blocked("no array of LinearLayer acts as its weights: none changes what forward returns")
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
        """The paths of the arrays where backward leaves the gradients of weights and bias, by name or by value."""
        found: list[Path | None] = []
        self.forward(x)
        self.backward(x, g)
        after = {path: np.array(array, float) for path, array in arrays(self.layer)}
        parameters = (self.weight_path, self.bias_path)
        for name, wanted in (("grad_weights", x.T @ g), ("grad_bias", g.sum(0))):
            scaled = [p for p, a in after.items() if scale_of(a, wanted) or scale_of(a, wanted.T)]
            right = [p for p in scaled if close(after[p], wanted) or close(after[p], wanted.T)]
            names = [p for p in after if p[-1] in GRADIENT_NAMES and after[p].size == wanted.size]
            given = [(name,)] if hasattr(self.layer, name) else []
            found.append(next((p for p in [*given, *right, *names, *scaled] if p not in parameters), None))
        return found[0], found[1]


def call_step(step: Any, step_size: float, counter: int) -> None:
    """step(step_size), with what else a student's step wants given by its name."""
    given: list[Any] = []
    for i, name in enumerate(required(step)):
        plain = name.lower().replace("_", "")
        if plain in STEP_SIZES or (i == 0 and plain not in EXTRA and plain not in COUNTERS - {"step"}):
            given.append(step_size)
        elif plain in EXTRA or plain in COUNTERS:
            given.append(EXTRA.get(plain, counter))
        else:
            raise Blocked(f"step wants an argument called {name}, which the assignment's step(step_size) does not have")
    if not given and inspect.signature(step).parameters:
        given = [step_size]
    step(*given)
