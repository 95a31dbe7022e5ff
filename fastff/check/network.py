"""Q4 and Q6: the network: its layers, its passes through them, its step, and the gradient of the whole."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from fastff.check.linear import Linear, arrays, call_step, read, required
from fastff.check.results import Blocked, Result, Results, close, holds, judge, shown
from fastff.check.solution import Solution, log_loss, softmax

Sizes = list[tuple[int, int]]
STILL = "parameters change in step alone"
CAUSES = {"LinearLayer", "ReLU", "CrossEntropySoftmax", "FeedForwardNeuralNetwork"}


def layers_of(network: Any) -> list[Any]:
    """The layers of a network in order, also where they are not in a list called layers."""
    layers = getattr(network, "layers", None)
    if isinstance(layers, (list, tuple)):
        return list(layers)
    found: list[Any] = []
    for value in {**vars(type(network)), **vars(network)}.values():
        found += [v for v in (value if isinstance(value, (list, tuple)) else [value]) if hasattr(v, "backward")]
    return found


def build(solution: Solution, *sizes: int) -> Any:
    return solution.get("FeedForwardNeuralNetwork")(*sizes)


def check_network(solution: Solution) -> Results:
    linear, relu = solution.get("LinearLayer"), solution.get("ReLU")
    found = [[type(layer) for layer in layers_of(build(solution, 6, 3, 5, count))] for count in (1, 2, 4)]
    wanted = [[linear, *[relu, linear] * (count - 1)] for count in (1, 2, 4)]
    names, text = ("; ".join(" ".join(kind.__name__ for kind in kinds) for kinds in all_) for all_ in (found, wanted))
    yield judge("layers for 1, 2 and 4", found == wanted, names, text)
    networks = [build(solution, 6, 3, 5, 4) for _ in range(2)]
    layers = [layer for network in networks for layer in layers_of(network)]
    objects = len({id(layer) for layer in layers})
    text = f"{objects} objects at {len(layers)} places of two networks"
    yield judge("layers are different objects", objects == len(layers), text, "as many objects as places")
    yield from _passes(solution)
    if STILL in solution.broken:
        return
    yield from _steps(solution)
    yield from _gradient(solution)


def _passes(solution: Solution) -> Results:
    """forward and backward against going through the student's own layers by hand."""
    rng = np.random.default_rng(10)
    network = build(solution, 6, 3, 5, 3)
    layers, x, g = layers_of(network), rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
    x, g = (x.T.copy(), g.T.copy()) if solution.columns else (x, g)
    yield from _still(solution, network, x, g)
    if STILL in solution.broken:
        return
    returned = network.forward(x.copy())
    if isinstance(returned, (list, tuple)):
        yield Result("what forward returns", "warn", "a list; its last element is used here", "the logits")
        returned = returned[-1]
    out = x.copy()
    for layer in layers:
        out = layer.forward(out)
    out = np.array(out, float)
    text = shown(returned)
    if not solution.columns and out.ndim == 2 and not close(returned, out) and close(returned, softmax(out)):
        text = f"softmax of what the last layer returns; it belongs into the loss: {text}"
    yield judge("forward goes through all layers", close(returned, out), text, shown(out))
    if any(len(required(layer.backward)) != 1 for layer in layers):
        yield Result("backward goes through all layers", "skipped", "its layers' backward takes more than grad")
        return
    seen: list[tuple[int, np.ndarray]] = []
    originals = [layer.backward for layer in layers]
    for i, layer in enumerate(layers):
        _replace(layer, "backward", _noting(seen, i, originals[i]))
    network.forward(x.copy())
    problem: Exception | None = None
    try:
        network.backward(*(g.copy(), x)[: max(1, len(required(network.backward)))])
    except Exception as error:
        problem = error
    order = [i for i, _ in seen]
    if problem is not None and order == list(range(len(layers)))[: -len(order) - 1 : -1]:
        raise problem  # of a layer
    good = order == list(range(len(layers)))[::-1]
    text = f"layers {[i + 1 for i in order]} of {len(layers)} in this order"
    yield holds("backward goes through all layers", good, "each layer once, the last one first", text)
    if good and "LinearLayer" not in solution.broken:
        handed = close(seen[0][1], g, 1e-6)
        grad: Any = g.copy()
        for i in reversed(range(len(layers))):
            handed = handed and close(seen[len(layers) - 1 - i][1], grad, 1e-5)
            grad = originals[i](np.array(grad))
        wanted = "each layer gets what the one behind it returned"
        yield holds("backward hands gradients on", handed, wanted, "a layer gets another gradient")


def _still(solution: Solution, network: Any, x: np.ndarray, g: np.ndarray) -> Results:
    """Weights change in step alone."""
    linear = [layer for layer in layers_of(network) if isinstance(layer, solution.get("LinearLayer"))]
    wrapped = [solution.wrap(layer, *size) for layer, size in zip(linear, [(6, 5), (5, 5), (5, 3)], strict=False)]
    for name in ("forward", "backward"):
        before = [(layer.weights, layer.bias) for layer in wrapped]
        with suppress(Exception):  # judged below
            method = getattr(network, name)
            method(*((x if name == "forward" else g).copy(), x)[: max(1, len(required(method)))])
        same = [
            close(layer.weights, w, 1e-7) and close(layer.bias, b, 1e-7)
            for layer, (w, b) in zip(wrapped, before, strict=True)
        ]
        if not all(same):
            known = "backward leaves the weights" in solution.broken
            text = f"{name} of the network changes parameters"
            yield Result(STILL, "follows" if known else "fail", text, "only step does")
            return
    yield Result(STILL, "pass", "unchanged", "unchanged")


def _noting(seen: list[tuple[int, np.ndarray]], i: int, real: Any) -> Any:
    def backward(grad: Any) -> Any:
        seen.append((i, np.array(grad, float)))
        return real(grad)

    return backward


def _replace(layer: Any, method: str, function: Callable[..., Any]) -> None:
    """Give this one object another method."""
    try:
        setattr(layer, method, function)
    except AttributeError:  # with __slots__ it has no room for one
        kind = type(layer)
        layer.__class__ = type(kind.__name__, (kind,), {"__slots__": (), method: staticmethod(function)})


def _steps(solution: Solution) -> Results:
    """A step of the network is one step of every layer, with the step size that was given."""
    rng = np.random.default_rng(11)
    network = build(solution, 6, 3, 5, 3)
    layers = layers_of(network)
    seen: list[tuple[int, tuple[Any, ...]]] = []
    linear = [i for i, layer in enumerate(layers) if isinstance(layer, solution.get("LinearLayer"))]
    x, g = rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
    network.forward(x.T.copy() if solution.columns else x)
    with suppress(Exception):  # judged already
        network.backward(*((g.T.copy() if solution.columns else g), x)[: max(1, len(required(network.backward)))])
    for i in linear:
        _replace(layers[i], "step", lambda *given, i=i, **more: seen.append((i, (*given, *more.values()))))
    call_step(network.step, 0.0123, 1)
    stepped = [i for i, _ in seen]
    text = ", ".join(f"layer {linear.index(i) + 1} {stepped.count(i)} times" for i in linear)
    yield judge("step reaches every layer", sorted(stepped) == linear, text, "each linear layer once")
    sizes = [arguments[0] for _, arguments in seen if arguments]
    good = all(isinstance(size, (int, float, np.floating)) and abs(size - 0.0123) < 1e-9 for size in sizes)
    if sizes:
        yield judge("step hands on the step size", good, ", ".join(map(shown, sizes[:3])), "0.0123")


def _gradient(solution: Solution) -> Results:
    """d(mean loss)/dW of each linear layer, through network and loss, against finite differences."""
    rng = np.random.default_rng(12)
    network, loss = build(solution, 4, 3, 5, 3), solution.loss
    x, y = rng.normal(size=(6, 4)), np.array([0, 1, 2, 0, 1, 2])
    layers = [layer for layer in layers_of(network) if isinstance(layer, solution.get("LinearLayer"))]
    sizes = [(4, 5), (5, 5), (5, 3)]
    if len(layers) != 3:
        raise Blocked("a network of 3 linear layers has another number of them")
    wrapped = randomise(solution, layers, sizes, rng)
    path = solution.gradient_paths[0]
    z = solution.logits(network, x)
    loss.forward(z, y)
    gradient = loss.backward()
    names = required(network.backward)
    network.backward(*((gradient.T.copy() if solution.columns else gradient), x)[: max(1, len(names))])
    ratios = []
    for layer in wrapped:
        if path is None:
            ratios.append(float("nan"))
            continue
        found = np.array(read(layer.layer, path), float)
        found = found.T if layer.transposed and found.shape == layer.weights.T.shape else found
        ratios.append(_ratio(solution, network, layer, found, x, y))
    good = bool(np.allclose(ratios, 1, atol=3e-2))
    text = "found / wanted for each layer: " + ", ".join(f"{ratio:.4g}" for ratio in ratios)
    summed = loss.kind == "sum" and np.allclose(ratios, 6, atol=0.2)
    status = "pass" if good else "warn" if summed else "follows" if solution.broken & CAUSES else "fail"
    yield Result("gradient of the whole", status, text, "1, 1, 1")


def randomise(solution: Solution, layers: list[Any], sizes: Sizes, rng: np.random.Generator) -> list[Linear]:
    """The linear layers of a network with known weights, so that the student's initial ones do not matter."""
    wrapped = [solution.wrap(layer, *size) for layer, size in zip(layers, sizes, strict=True)]
    for layer, (n_in, n_out) in zip(wrapped, sizes, strict=True):
        layer.set(rng.normal(size=(n_in, n_out)), 0.1 * rng.normal(size=n_out))
    return wrapped


def _ratio(solution: Solution, network: Any, layer: Linear, found: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The gradient divided by the finite difference, for the weight whose gradient is largest."""
    weights, bias = layer.weights, layer.bias
    if found.shape != weights.shape:
        return float("nan")
    single = any(array.dtype == np.float32 for _, array in arrays(layer.layer))
    h = 3e-3 if single else 1e-5
    index = np.unravel_index(np.argmax(np.abs(found)), found.shape)
    slope = 0.0
    for sign in (1, -1):
        moved = weights.copy()
        moved[index] += sign * h
        layer.set(moved, bias)
        slope += sign * log_loss(solution.logits(network, x), y).mean() / (2 * h)
    layer.set(weights, bias)
    return float(found[index] / slope) if abs(slope) > 1e-9 else float("nan")
