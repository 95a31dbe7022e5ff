"""Q4: the linear layer and the ReLU, forward and backward, each against float64 NumPy."""

import numpy as np

from fastff.check.linear import BIAS_NAMES, WEIGHT_NAMES, Linear, Path, read, required
from fastff.check.network import build, layers_of
from fastff.check.results import Result, Results, close, compare, holds, judge, scale_of, shown
from fastff.check.solution import Solution

UNSCALED = 5  # times the spread of He's initialisation: from there on it was not scaled by the number of inputs
RANDOM = "forward repeats"  # where it fails, so does much else


def check_linear(solution: Solution) -> Results:
    yield from _start(solution)
    layer = solution.linear(5, 3, seed=0)
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    w, b = layer.weights, layer.bias
    y = x @ w + b
    mistakes = {
        "the bias is not added": x @ w,
        "the bias is subtracted": x @ w - b,
        "the bias is added twice": y + b,
        "ReLU is applied here already": np.maximum(y, 0),
    }
    found = np.array(layer.forward(x.copy()), float)
    same = close(layer.forward(x.copy()), found, 1e-6)
    if same:
        yield compare("forward", found, y, mistakes)
    else:
        text = "another result each time, as with dropout: what is random belongs to training alone"
        yield Result(RANDOM, "fail", text, "the same for the same input")
    if layer.bias_path is None:
        yield Result("bias is used", "fail", "changing no array of the layer moves its outputs as a bias", "a bias")
    yield from _backward(solution, layer, x, g)
    if "backward leaves the weights" not in solution.broken:
        yield from _independence(solution)


def _start(solution: Solution) -> Results:
    """Shape, centre and spread of the initial weights."""
    layer = solution.linear(200, 100)
    if layer.weight_path is None:
        yield Result("initial weights", "fail", "no array of the layer acts as weights in forward", "one")
        return
    w, he = layer.weights, (2 / 200) ** 0.5
    shapes = [read(layer.layer, path).shape for path in (layer.weight_path, layer.bias_path) if path]
    good = shapes[0] == (200, 100) and len(shapes) == 2 and shapes[1] in ((1, 100), (100,))
    found = " and ".join(map(str, shapes))
    yield judge("initial shapes", good or solution.columns, found, "(in, out) and (1, out)", soft=True)
    mean, spread = float(w.mean()), float(w.std())
    found = f"mean {mean:.3g}, standard deviation {spread:.3g}"
    wanted = f"mean 0, standard deviation about {he:.3g} for 200 inputs"
    if spread < 1e-12:
        yield Result("initial weights", "fail", f"all weights are {mean:.3g}", "different random numbers")
    elif min(np.ptp(w, axis=0).max(), np.ptp(w, axis=1).max()) < 1e-12:
        which = "units" if np.ptp(w, axis=1).max() < 1e-12 else "inputs"
        yield Result("initial weights", "fail", f"all {which} have the same weights", "different random numbers")
    else:
        centred = bool(np.isfinite(w).all() and abs(mean) <= 0.5 * spread)
        usable = centred and spread < UNSCALED * he
        yield judge("initial weights", centred and 0.15 * he < spread < 3 * he, found, wanted, soft=bool(usable))
    different = not close(w, solution.linear(200, 100).weights) or _differ_in_network(solution)
    yield holds("layers start different", different, "different", "equal: each draws the same numbers")
    names = [str(path[-1]) for path in (layer.weight_path, layer.bias_path) if path]
    known = names[0] in WEIGHT_NAMES and (len(names) == 1 or names[1] in BIAS_NAMES)
    yield judge("names of parameters", known, ", ".join(names), "weights, bias", soft=True)
    if solution.columns:
        yield Result("examples are rows", "warn", "examples are columns: forward takes (in, B)", "rows, (B, in)")


def _differ_in_network(solution: Solution) -> bool:
    """Whether two layers of one shape differ inside a network, which may give each a seed of its own."""
    try:
        kind, network = solution.get("LinearLayer"), build(solution, 6, 3, 5, 4)
        alike = [layer for layer in layers_of(network) if isinstance(layer, kind)][1:3]
        found = [solution.wrap(layer, 5, 5).weights for layer in alike]
    except Exception:
        return False
    return len(found) == 2 and not close(found[0], found[1])


def _backward(solution: Solution, layer: Linear, x: np.ndarray, g: np.ndarray) -> Results:
    names = required(layer.layer.backward)
    yield judge("arguments of backward", len(names) == 1, f"backward({', '.join(names)})", "backward(grad)", soft=True)
    w, b, x_given, g_given = layer.weights, layer.bias, x.copy(), g.copy()
    layer.forward(x_given)
    dx = layer.backward(x_given, g_given)
    kept = solution.columns or (close(x_given, x, 0) and close(g_given, g, 0))
    if not close(layer.weights, w, 1e-7):
        yield Result("backward leaves the weights", "fail", "backward changes the weights", "unchanged")
        return
    if not close(layer.bias, b, 1e-7):
        yield Result("backward leaves the weights", "fail", "backward changes the bias", "unchanged")
        return
    layer = solution.linear(5, 3, seed=0)
    path_w, path_b = layer.gradients(x, g)
    yield from _gradient(solution, layer, "grad_weights", path_w, x, g)
    yield from _gradient(solution, layer, "grad_bias", path_b, x, g)
    mistakes = {
        "divided by the size of the batch": g @ w.T / 7,
        "the gradient by the weights is returned": x.T @ g,
        "the incoming gradient is returned": g,
    }
    yield compare("backward returns dL/dX", dx, g @ w.T, mistakes)
    paths = [path for path in (path_w, path_b) if path]
    first = [np.array(read(layer.layer, path), float) for path in paths]
    layer.backward(x, g)
    again = [np.array(read(layer.layer, path), float) for path in paths]
    changed = [i for i in range(len(paths)) if not close(again[i], first[i])][:1]
    for i in changed or range(min(1, len(paths))):
        yield judge("backward twice", not changed, shown(again[i]), shown(first[i]))
    yield holds("arguments stay as they are", kept, "unchanged", "changed", soft=True)


def _gradient(solution: Solution, layer: Linear, name: str, path: Path | None, x: np.ndarray, g: np.ndarray) -> Results:
    weights, rows = name == "grad_weights", len(x)
    wanted = x.T @ g if weights else g.sum(0)
    if path is None:
        yield Result(name, "fail", f"after backward the layer has no {name}", shown(wanted))
        return
    found = np.array(read(layer.layer, path), float) if not callable(read(layer.layer, path)) else np.array(np.nan)
    if weights and (layer.transposed or solution.columns) and found.shape == wanted.T.shape:
        found = found.T
    if path != (name,):
        yield Result(f"name of {name}", "warn", ".".join(map(str, path)), name)
    parameter = layer.weights if weights else layer.bias
    penalty = scale_of(found - wanted, parameter) if np.squeeze(found).shape == wanted.shape else None
    if penalty and 0 < penalty <= 0.2 and not close(found, wanted) and weights:
        yield Result(name, "pass", f"X^T G plus {penalty:.3g} times the weights (weight decay)", shown(wanted))
        return
    mistakes = {
        "divided by the size of the batch": wanted / rows,
        "divided by the size of the batch twice": wanted / rows**2,
        "of the opposite sign": -wanted,
        "transposed": wanted.T if weights else None,
        "summed over outputs too, to one number": g.sum(),
        "summed over the wrong axis, one number for each example": g.sum(1),
        "the sum of the incoming gradient, without the input": np.ones_like(x).T @ g if weights else None,
        "of the mean row of the input": np.outer(x.mean(0), g.sum(0)) if weights else None,
        "of the first row of the batch only": np.outer(x[0], g[0]) if weights else g[0],
        "of the last row of the batch only": np.outer(x[-1], g[-1]) if weights else g[-1],
        "not summed over the batch: it is the incoming gradient": None if weights else g,
        "the layer's input": x,
        "weight decay is applied to the bias": wanted + penalty * parameter if penalty and not weights else None,
    }
    result = compare(name, found, wanted, mistakes)
    if result.status == "fail" and scale_of(found, wanted) and solution.balanced:
        found_text = f"{result.found}; CrossEntropySoftmax.backward makes up for it"
        result = Result(name, "warn", found_text, result.wanted, result.error)
    yield result


def _independence(solution: Solution) -> Results:
    """Two layers, used in turn, each remember their own input and have their own arrays."""
    rng = np.random.default_rng(5)
    a, b = solution.linear(5, 3, seed=0), solution.linear(5, 3, seed=1)
    x, other, g = rng.normal(size=(4, 5)), rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    path, _ = a.gradients(x, g)
    if path is None:
        return
    alone, weights = np.array(read(a.layer, path), float), a.weights
    a.forward(x)
    b.forward(other)
    a.backward(x, g)
    together = np.array(read(a.layer, path), float)
    b.backward(other, 2 * g)
    good = close(together, alone) and close(read(a.layer, path), alone)
    good = good and close(a.weights, weights) and not close(b.weights, weights)
    yield holds("layers are independent", good, "independent", "a layer changes with what another one is given")


def check_relu(solution: Solution) -> Results:
    make = solution.get("ReLU")
    rng = np.random.default_rng(6)
    x, g = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    x[0, 0], x[1, 1], x[2, 2] = 0.01, -0.01, 4.0
    layer, x_given, g_given = make(), x.copy(), g.copy()
    y = np.array(layer.forward(x_given), float)
    mistakes = {"the absolute value": np.abs(x), "a mask": x > 0, "min, not max": np.minimum(x, 0), "the input": x}
    mistakes["the largest of each column: the second argument of np.max is an axis"] = x.max(0)
    yield compare("forward", y, np.maximum(x, 0), mistakes, 1e-6)
    unchanged = close(x_given, x, 0)
    names = required(layer.backward)
    dx = np.array(layer.backward(g_given) if len(names) == 1 else layer.backward(x, g_given), float)
    mistakes = {
        "the mask is made of grad, not of the input of forward": np.where(g > 0, g, 0),
        "the sign of grad, not of the input of forward": g > 0,
        "the slope without grad": x > 0,
        "grad is handed on unchanged": g,
        "the mask is the wrong way round": g * (x < 0),
        "multiplied by the output": g * np.maximum(x, 0),
        "multiplied by the input": g * x,
    }
    yield compare("backward", dx, g * (x > 0), mistakes, 1e-6)
    unchanged = unchanged and close(g_given, g, 0)
    yield holds("arguments stay as they are", unchanged, "unchanged", "changed", soft=True)
    layer.forward(-x)
    second = np.array(layer.backward(g.copy()) if len(names) == 1 else layer.backward(-x, g.copy()), float)
    stale = close(second, dx, 1e-6) and not close(dx, g * (x < 0), 1e-6)
    yield holds("a second batch", not stale, "its own slopes", "backward goes by an earlier batch's forward")
    a, b = make(), make()
    a.forward(x.copy())
    b.forward(-x)
    two = np.array(a.backward(g.copy()) if len(names) == 1 else a.backward(x.copy(), g.copy()), float)
    yield holds("layers are independent", close(two, dx, 1e-6), "independent", "mixed up")
