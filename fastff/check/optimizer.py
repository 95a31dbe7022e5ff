"""Q5: the optimizer: `step` is driven with the stored gradients, and judged for weights and biases apart."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastff.check.adam import LARGE, USUAL, Rule, match, same
from fastff.check.linear import Linear, read, required
from fastff.check.results import Blocked, Result, Results, close, holds, judge, scale_of
from fastff.check.solution import Solution

N_IN, N_OUT = 6, 16
FELT = 5e-3  # an epsilon from here on is felt beside the gradients
TINY = 1e-9  # a step size that leaves weights so near 0 that their decay cannot be seen
RIGHT = "Adam, averages divided by 1 - beta at every step (the course's equations 13-17), L2 decay of weights only"


class Trace(NamedTuple):
    """Parameters at first and after each step, which begins at the first ones, and the gradients that the layer had
    stored: (steps, elements).
    """

    weights: np.ndarray
    bias: np.ndarray
    grad_weights: np.ndarray
    grad_bias: np.ndarray


def drive(solution: Solution, step_size: float, gradients: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> Trace:
    """A step for each of the gradients (steps, in, out): the layer's input is the identity, so dW is what comes in."""
    layer = solution.linear(N_IN, N_OUT)
    layer.set(weights, bias)
    w, b, gw, gb = [weights.ravel()], [bias.ravel()], [], []
    for g in gradients:
        layer.set(weights, bias)  # so that decay, which goes by the parameters, is the same in every step
        stored = one_step(layer, g, step_size, solution.gradient_paths)
        gw.append(stored[0])
        gb.append(stored[1])
        for name, kept, value, size in (("weights", w, layer.weights, N_IN * N_OUT), ("bias", b, layer.bias, N_OUT)):
            if value.size != size:
                raise Blocked(f"step changes the shape of the {name} to {value.shape}")
            kept.append(value.ravel())
    return Trace(*map(np.array, (w, b, gw, gb)))


def one_step(layer: Linear, g: np.ndarray, step_size: float, paths: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Forward, backward and a step; returns the stored gradients that the step was given, flat."""
    x, rows = np.eye(N_IN + 1, N_IN), np.vstack([g, -3 * g[:1]])  # the last row is seen by the bias only
    layer.forward(x)
    layer.backward(x, rows.copy())
    both = zip(paths, (g, rows.sum(0)), strict=True)
    stored = [
        _as(wanted if path is None else np.array(read(layer.layer, path), float), wanted) for path, wanted in both
    ]
    layer.step(step_size)
    return stored[0], stored[1]


def _as(array: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """A stored gradient in the shape of its parameter, flat; NaN if nobody can tell which value belongs where."""
    if array.shape == wanted.T.shape != wanted.shape:
        array = array.T
    if array.size == wanted.size:
        return array.ravel()
    try:
        return np.broadcast_to(array, wanted.shape).ravel()
    except ValueError:
        return np.full(wanted.size, np.nan)


def make_gradients(steps: int) -> np.ndarray:
    """Gradients from 1e-6 to 1e2, of changing sign and size, each column of a size of its own."""
    rng, shape = np.random.default_rng(14), (steps, N_IN, N_OUT)
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.3, 3, shape) * 10 ** np.linspace(-6, 2, N_OUT)


def check_optimizer(solution: Solution) -> Results:
    if "backward leaves the weights" in solution.broken:
        yield Result("rules", "follows", "LinearLayer.backward changes the weights, which hides the steps", RIGHT)
        return
    layer = solution.linear(N_IN, N_OUT)
    if not hasattr(layer.layer, "step"):
        yield Result("step", "fail", "LinearLayer has no step", "step(step_size)")
        return
    names = required(layer.layer.step)
    text = f"step({', '.join(names)})"
    yield judge("arguments of step", len(names) <= 1, text, "step(step_size)", soft=True)
    gradients = make_gradients(5)
    zeros = np.zeros((N_IN, N_OUT)), np.zeros(N_OUT)
    trace = drive(solution, TINY, gradients, *zeros)
    longer = drive(solution, 10 * TINY, gradients[:1], *zeros)
    powers = [_power(getattr(trace, p), getattr(longer, p)) for p in ("weights", "bias")]
    yield from _sizes(powers)
    rules: list[Rule | None] = []
    judged = ("weights", trace.weights, trace.grad_weights), ("biases", trace.bias, trace.grad_bias)
    for (part, values, stored), power in zip(judged, powers, strict=True):
        missing = part == "biases" and None in (layer.bias_path, solution.gradient_paths[1])
        if missing or np.ptp(np.nan_to_num(values, nan=1.0), axis=0).max() == 0:
            text = "LinearLayer has no bias, or no gradient of it" if missing else "never updated: step leaves them"
            yield Result(f"rule of {part}", "follows" if missing else "fail", text, RIGHT)
            rules.append(None)
            continue
        usual = power is None or abs(power - 1) < 0.05
        unit = TINY if usual or power is None else TINY**power
        updates = (values[:1] - values[1:]) / unit
        first = [rules[0]] if rules and rules[0] is not None else []
        rule = match(updates, stored, solution.literals(), first)
        if rule is None and np.isfinite(updates).all() and (text := _altered(updates, stored, solution.literals())):
            yield Result(f"rule of {part}", "fail", text, RIGHT)
            rules.append(None)
            continue
        # Where the step size enters wrongly, which was said, it decides neither on lengths nor on the epsilon
        rules.append(rule if usual or rule is None else replace(rule, factor=1.0, epsilon=rule.epsilon or Rule.epsilon))
        yield _judged(part, rules[-1], bool(np.isfinite(values).all()), solution)
    yield from _decay(solution, rules)
    yield from _independent(solution)


def _power(short: np.ndarray, long: np.ndarray) -> float | None:
    """The power of the step size that a step is proportional to: the second one's is ten times the first one's."""
    one, ten = np.abs(short[1] - short[0]), np.abs(long[1] - long[0])
    used = np.isfinite(one) & np.isfinite(ten) & (one > 0) & (ten > 0)
    return float(np.median(np.log10(ten[used] / one[used]))) if used.any() else None


def _sizes(powers: list[float | None]) -> Results:
    wanted = "proportional to the step size"
    said = {0: "steps do not depend on the step size", 1: wanted, 2: "the step size is applied twice"}
    texts = {}
    for part, power in zip(("weights", "biases"), powers, strict=True):
        if power is not None:
            near = round(power) if abs(power - round(power)) < 0.05 else -1
            texts[part] = said.get(near, f"steps grow with the power {power:.3g} of the step size")
    if texts:
        text = "; ".join(f"{part}: {text}" for part, text in texts.items())
        yield holds("step size", set(texts.values()) == {wanted}, wanted, text)


def _altered(u: np.ndarray, g: np.ndarray, literals: set[float]) -> str:
    """What a step does to its gradients before it uses them; "" if none of the usual things."""
    limits = sorted({1.0, 5.0, 10.0, 0.1, 0.5} | {v for v in literals if 1e-3 <= v <= 50})
    changed = {f"gradients are clipped to {c:g} in step": np.clip(g, -c, c) for c in limits}
    norms = np.linalg.norm(g, axis=1, keepdims=True)
    changed |= {
        f"gradients longer than {c:g} are shortened to this length in step": g * np.minimum(1, c / norms)
        for c in limits
    }
    changed["gradients are divided by their length in step"] = g / norms
    changed["gradients are divided by their largest value in step"] = g / np.abs(g).max(1, keepdims=True)
    usual = [Rule("adam", b1, b2, c) for c in USUAL for b1, b2 in ((0.9, 0.9), (0.9, 0.999), (0.99, 0.99))]
    with np.errstate(all="ignore"):
        for text, altered in changed.items():
            large = np.abs(altered).min(0) >= LARGE
            if large.any() and any(same(u[:, large], rule.updates(altered[:, large])) for rule in usual):
                return text
    return ""


def _judged(part: str, rule: Rule | None, finite: bool, solution: Solution) -> Result:
    name = f"rule of {part}"
    if rule is None:
        follows = "LinearLayer" in solution.broken and not finite
        text = "no known rule gives these updates" if finite else "updates are not finite"
        return Result(name, "follows" if follows else "fail", text, RIGHT)
    form = rule.form == "adam" and abs(rule.factor - 1) < 5e-3 and (rule.epsilon or 0) < FELT
    form = form and rule.correction in (("constant", "constant"), ("standard", "standard"))
    plain = rule.correction[0] == "constant" and not rule.start and not rule.inside and bool(rule.epsilon)
    return judge(name, form and plain, rule.described(), RIGHT, soft=form)


def _decay(solution: Solution, rules: list[Rule | None]) -> Results:
    """A gradient of 0 shows decay: L2 decay moves every weight alike, decoupled decay in proportion to the weight."""
    w = np.resize([0.5, -1.0, 2.0, -0.25], (N_IN, N_OUT)).astype(float)
    b = np.resize([0.5, -1.0, 2.0], N_OUT).astype(float)
    still = np.zeros((1, N_IN, N_OUT))
    trace = drive(solution, 0.1, still, w, b)
    fine = bool(np.isfinite(trace.weights).all() and np.isfinite(trace.bias).all())
    yield holds("gradient of 0", fine, "finite", "not a number: 0 / 0")
    start = [0.0 if rule is None else rule.start for rule in rules]
    if any(start):
        yield from _decay_beside(solution, w, b)
        return
    if rules[1] is not None and np.isfinite(trace.bias).all():
        moved = np.abs(trace.bias[1] - trace.bias[0]).max() > 1e-9
        result = holds("biases are not decayed", not moved, "not decayed", "decayed")
        yield replace(result, status="follows") if moved and "grad_bias" in solution.broken else result
    if rules[0] is None:
        return
    u = (trace.weights[0] - trace.weights[1]) / 0.1
    name, wanted = "decay of weights", "L2: the penalty's derivative joins the gradient before the averages"
    if np.isfinite(u).all() and np.abs(u).max() < 1e-10:
        yield Result(name, "warn", "no decay, or a lambda of 0", wanted)
        return
    ratio = u / w.ravel()
    linear = rules[0].form in ("sgd", "momentum") or (rules[0].epsilon or 0) >= FELT  # so is L2 decay then
    if np.isfinite(u).all() and np.ptp(ratio) < 1e-3 * np.abs(ratio).max() and not linear:
        other = drive(solution, 0.01, still, w, b)
        again = float(np.median((other.weights[0] - other.weights[1]) / 0.01 / w.ravel()))
        scaled = abs(again / ratio[0] - 1) < 0.05
        text = f"lambda {ratio[0]:.3g}" if scaled else "and not scaled by the step size"
        yield Result(name, "fail", f"decoupled (AdamW): outside of the averages, {text}", wanted)
        return
    signs = {*np.sign(u * w.ravel())[np.isfinite(u)]}
    if signs - {1.0}:
        text = "of the wrong sign: weights grow" if signs == {-1.0} else "it does not pull every weight towards 0"
        yield Result(name, "fail", text, wanted)
        return
    yield _l2(solution, name, wanted)


def _decay_beside(solution: Solution, w: np.ndarray, b: np.ndarray) -> Results:
    """Decay where averages start at another number than 0 and steps go on without a gradient: what differs by weights.

    What joins the gradient stays in the averages, so that it is seen in a second step, from weights of 0, too.
    """
    still, w, b = np.zeros((N_IN, N_OUT)), 100 * w, 100 * b
    moved = []
    for weights, bias in ((w, b), (0 * w, 0 * b), (0.01 * w, 0 * b), (0.02 * w, 0 * b)):
        layer, steps = solution.linear(N_IN, N_OUT), []
        for before_w, before_b in ((weights, bias), (0 * w, 0 * b)):
            layer.set(before_w, before_b)
            one_step(layer, still, 0.1, solution.gradient_paths)
            steps.append(((before_w - layer.weights) / 0.1, (before_b - layer.bias) / 0.1))
        moved.append(steps)
    (first, second), (plain, later), (small, _), (double, _) = moved
    yield holds("biases are not decayed", close(first[1], plain[1], 1e-6), "not decayed", "decayed")
    name, wanted = "decay of weights", "L2: the penalty's derivative joins the gradient before the averages"
    pull = (first[0] - plain[0]) * np.sign(w)
    if close(first[0], plain[0], 1e-6):
        yield Result(name, "warn", "no decay, or a lambda of 0", wanted)
    elif not (pull > 0).all():
        text = "of the wrong sign: weights grow" if (pull < 0).all() else "it does not pull every weight towards 0"
        yield Result(name, "fail", text, wanted)
    elif abs(np.log2(np.median((double[0] - plain[0]) / (small[0] - plain[0]))) - 1) > 0.3:
        yield Result(name, "fail", "it is not proportional to the weights", wanted)
    else:
        text = "decoupled (AdamW): outside of the averages"
        yield holds(name, not close(second[0], later[0], 1e-6), "L2", text)


def _l2(solution: Solution, name: str, wanted: str) -> Result:
    """The decay is as strong as the gradient where the first step changes its sign, and in proportion to the weight."""
    sizes, strengths = np.logspace(-7, 1, N_IN * N_OUT).reshape(N_IN, N_OUT), []
    for weight, step_size in ((1.0, 1e-3), (4.0, 1e-3), (1.0, 0.1)):
        layer = solution.linear(N_IN, N_OUT)
        layer.set(np.full((N_IN, N_OUT), weight), np.zeros(N_OUT))
        stored, _ = one_step(layer, -sizes, step_size, solution.gradient_paths)
        share = scale_of(stored, -sizes.ravel())  # not 1 where the layer divides by the batch
        if share is None or share < 0:
            return Result(name, "follows", "not seen, because grad_weights is wrong", wanted)
        strengths.append(float(np.max(share * sizes, where=layer.weights < weight, initial=1e-8)))
    if strengths[2] > 10 * strengths[0]:
        return Result(name, "fail", "it grows with the step size, which multiplies it a second time", wanted)
    strength, power = strengths[0], np.log(strengths[1] / strengths[0]) / np.log(4)
    inside = [v for v in solution.literals() if strength <= v <= 1.25 * strength]
    text = f"L2, lambda {inside[0]:g}" if inside else f"L2, lambda about {strength:.2g}"
    if strengths[1] < 10 and abs(power - 1) > 0.3:
        return Result(name, "fail", f"it grows with the power {power:.2g} of the weights", wanted)
    return judge(name, strength <= 0.2, text, wanted, soft=strength < 1)


def _independent(solution: Solution) -> Results:
    """A layer's steps are the same whether or not another layer steps in between."""
    gradients, paths = make_gradients(3), solution.gradient_paths
    ended = []
    for company in (False, True):
        a, b = solution.linear(N_IN, N_OUT), solution.linear(N_IN, N_OUT)
        a.set(np.full((N_IN, N_OUT), 0.5), np.zeros(N_OUT))
        for g in gradients:
            one_step(a, g, 1e-2, paths)
            if company:
                one_step(b, -3 * g, 1e-2, paths)
        ended.append(np.concatenate([a.weights.ravel(), a.bias]))
    good = close(ended[0], ended[1], 1e-6) or not np.isfinite(ended[0]).all()
    if not good and "layers are independent" in solution.broken:
        yield Result("layers step independently", "follows", "LinearLayer's objects share something", "independent")
        return
    yield holds("layers step independently", good, "independent", "another layer's steps change this one's")
