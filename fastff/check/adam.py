"""Which rule of updating it is: Adam's forms, and mistakes in them, matched with five updates of a student's step."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

BETAS = (0.9, 0.99, 0.999, 0.95)
EPSILONS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-10, 1e-9, 1e-12, 0.0)
LARGE = 1e-2  # gradients from here on: next to them every usual epsilon is too small to be seen
FORMS = {
    "adam": "Adam",
    "forgets": "an Adam whose averages are forgotten after each step",
    "keeps corrected": "an Adam that puts the corrected averages in place of the averages",
    "no square root": "an Adam without the square root",
    "not squared": "an Adam whose second average is of the gradient, not of its square",
    "averages of averages": "an Adam whose second average is of the first one, not of the gradient",
    "no second average": "the first average only (momentum)",
    "corrects the root": "an Adam that corrects the square root of the second average, not the average",
    "first swapped": "an Adam with beta and 1 - beta exchanged in the first average",
    "second swapped": "an Adam with beta and 1 - beta exchanged in the second average",
    "both swapped": "an Adam with beta and 1 - beta exchanged in both averages",
    "first adds up": "an Adam whose first average never forgets: the old one is not multiplied by beta",
    "second adds up": "an Adam whose second average never forgets: the old one is not multiplied by beta",
    "sums": "an Adam without the factors 1 - beta of the new gradient",
    "absolute": "an Adam whose second average is of the gradient's absolute value, not of its square",
    "largest": "an Adam that keeps the largest second average so far (AMSGrad)",
    "no brackets": "an Adam whose first average is divided by 1 and lessened by beta: m / 1 - beta lacks its brackets",
    "no brackets at all": "an Adam whose two averages are divided by 1 and lessened by beta: brackets are missing",
    "adagrad": "a sum of squared gradients (AdaGrad)",
    "no momentum": "the gradient in place of the first average (RMSProp)",
    "sgd": "plain gradient descent",
    "sign": "the sign of the gradient",
    "momentum": "gradient descent with momentum",
}
CORRECTIONS = {
    "constant": "divided by 1 - beta at every step (the course's equations 13-17)",
    "standard": "divided by 1 - beta^t (Kingma and Ba)",
    "none": "not corrected",
    "late": "divided by 1 - beta^(t + 1): the count of steps begins too late",
    "times": "multiplied by 1 - beta instead of divided",
    "beta": "divided by beta, not by 1 - beta",
    "power": "divided by beta^t, not by 1 - beta^t",
}
ONE_AVERAGE = ("momentum", "no second average")
WITHOUT_EPSILON = ("sgd", "sign", *ONE_AVERAGE)
USUAL = [("constant", "constant"), ("standard", "standard"), ("none", "none")]


@dataclass(frozen=True)
class Rule:
    """A rule of updating without decay. Each of both averages is corrected in a way of its own."""

    form: str = "adam"
    beta1: float = 0.9
    beta2: float = 0.9
    correction: tuple[str, str] = ("constant", "constant")
    epsilon: float | None = 1e-8  # None: no known one fits
    inside: bool = False  # the epsilon is added inside the square root
    start: float = 0.0  # of both averages
    factor: float = 1.0  # the steps are so many times as long

    def updates(self, g: np.ndarray) -> np.ndarray:
        """(w_(t-1) - w_t) / step_size for gradients g (steps, ...)."""
        m = v = np.full(g.shape[1:], self.start)
        b1, b2, form, out = self.beta1, self.beta2, self.form, []
        new1, new2 = 1 - b1, 1 - b2
        if form in ("first swapped", "both swapped"):
            b1, new1 = new1, b1
        if form in ("second swapped", "both swapped"):
            b2, new2 = new2, b2
        if form in ("sums", "momentum"):
            new1 = new2 = 1.0
        if form == "first adds up":
            b1 = 1.0
        if form == "second adds up":
            b2 = 1.0
        if form == "adagrad":
            b2, new2 = 1.0, 1.0
        for t, gradient in enumerate(g, 1):
            m = b1 * m + new1 * gradient
            kinds = {"averages of averages": m * m, "not squared": gradient, "absolute": np.abs(gradient)}
            before, v = v, b2 * v + new2 * kinds.get(form, gradient * gradient)
            v = np.maximum(before, v) if form == "largest" else v
            first, second = self._divisors(t)
            m_hat, v_hat = m / first, v / second
            if form.startswith("no brackets"):
                m_hat = m - (1 - first)
                v_hat = v - (1 - second) if form == "no brackets at all" else v_hat
            if form == "keeps corrected":
                m, v = m_hat, v_hat
            if form == "forgets":
                m = v = np.full(g.shape[1:], self.start)
            raw = np.sqrt(v) / second if form == "corrects the root" else None
            out.append(self._direction(gradient, m_hat, v_hat, raw))
        return self.factor * np.array(out)

    def _divisors(self, t: int) -> list[float]:
        """What the averages are divided by at step t."""
        known = {
            "constant": lambda b: 1 - b,
            "standard": lambda b: 1 - b**t,
            "late": lambda b: 1 - b ** (t + 1),
            "times": lambda b: 1 / (1 - b),
            "beta": lambda b: b,
            "power": lambda b: b**t,
        }
        return [known.get(c, lambda _: 1.0)(b) for c, b in zip(self.correction, (self.beta1, self.beta2), strict=True)]

    def _direction(self, g: np.ndarray, m: np.ndarray, v: np.ndarray, root: np.ndarray | None) -> np.ndarray:
        epsilon = self.epsilon or 0.0
        if self.form == "sgd":
            return g
        if self.form == "sign":
            return np.sign(g)
        if self.form in ONE_AVERAGE:
            return m
        if self.form == "no square root":
            return m / (v + epsilon)
        below = np.sqrt(v + epsilon) if self.inside else (np.sqrt(v) if root is None else root) + epsilon
        return (g if self.form in ("no momentum", "adagrad") else m) / below

    def described(self) -> str:
        """The rule in words, as a student reads it."""
        text = FORMS[self.form]
        if self.form in ("adagrad", *WITHOUT_EPSILON):
            return text + (f", beta {self.beta1:g}" if self.form in ONE_AVERAGE else "") + self._length()
        first, second = (CORRECTIONS[c] for c in self.correction)
        averages = f"averages {first}" if first == second else f"first average {first}, second {second}"
        betas = f"beta {self.beta1:g}" if self.beta1 == self.beta2 else f"beta1 {self.beta1:g}, beta2 {self.beta2:g}"
        epsilon = "an epsilon that was not recognised" if self.epsilon is None else f"epsilon {self.epsilon:g}"
        inside = " inside the square root" if self.inside and self.epsilon else ""
        start = f", averages that start at {self.start:g} instead of 0" if self.start else ""
        return f"{text}, {averages}, {betas}, {epsilon}{inside}{start}{self._length()}"

    def _length(self) -> str:
        if abs(self.factor - 1) < 5e-3:
            return ""
        if abs(self.factor + 1) < 5e-3:
            return ", up the gradient instead of down"
        return f", its steps {self.factor:.4g} times as long as they should be"


def match(u: np.ndarray, g: np.ndarray, literals: Iterable[float], first: Iterable[Rule] = ()) -> Rule | None:
    """The rule that gives the updates u for gradients g, both (steps, elements), or None.

    First the form, by elements with large gradients, then the epsilon by all. A rule whose steps have the right length
    goes before one that needs a factor, and one whose epsilon stands in the file before one that another epsilon fits.
    first: rules that are tried before the others, also with a factor.
    """
    literals = set(literals)
    large = np.abs(g).min(0) >= LARGE
    u_large, g_large = u[:, large], g[:, large]
    scaled: Rule | None = None
    exact: Rule | None = None
    preferred = list(first)
    with np.errstate(all="ignore"):
        for rule in [*preferred, *_candidates(literals)]:
            if scaled is not None and rule not in preferred and scaled in _scaled(preferred, scaled.factor):
                break
            if not _begins(rule, u_large, g_large):
                continue
            wanted = rule.updates(g_large)
            # Without an epsilon that is felt, an Adam that forgets takes the sign for large gradients, too
            if same(u_large, wanted) and (rule.form != "sign" or same(u, rule.updates(g))):
                found = _with_epsilon(rule, u, g, literals)
                if found.epsilon in literals or not literals or found.form in WITHOUT_EPSILON:
                    return found
                exact = exact or found
            if scaled is None:
                k = np.nanmedian(u_large[0] / wanted[0]) if np.isfinite(wanted[0]).any() else np.nan
                if np.isfinite(k) and k and same(u_large, k * wanted):
                    scaled = replace(rule, factor=float(k))
        if exact is not None:
            return exact
        nearest = _fitted(u_large, g_large) or scaled
        return _insensitive(u, g, literals) if nearest is None else _with_epsilon(nearest, u, g, literals)


def _fitted(u: np.ndarray, g: np.ndarray) -> Rule | None:
    """Adam with betas that do not stand in the file, such as 1 - 1 / 15: those that fit best, by Gauss and Newton."""
    starts = ((0.9, 0.9), (0.7, 0.7), (0.97, 0.97), (0.9, 0.98))
    for correction, start in itertools.product(USUAL if np.isfinite(u).all() else (), starts):

        def rule(logs: np.ndarray, correction: tuple[str, str] = correction) -> Rule:
            one, two = 1 - np.exp(logs)
            return Rule("adam", float(one), float(two), correction)

        logs = np.log(1 - np.array(start))
        for _ in range(12):
            now = rule(logs).updates(g)
            slopes = [(rule(logs + move).updates(g) - now).ravel() / 1e-6 for move in 1e-6 * np.eye(2)]
            better = np.linalg.lstsq(np.stack(slopes, axis=1), (u - now).ravel(), rcond=None)[0]
            logs = np.clip(logs + np.clip(better, -0.7, 0.7), *np.log([0.005, 0.5]))
        logs = logs if np.ptp(logs) > 1e-3 else np.full(2, logs.mean())
        if same(u, rule(logs).updates(g)):
            return rule(logs)
    return None


def _begins(rule: Rule, u: np.ndarray, g: np.ndarray) -> bool:
    """Whether a rule gives the first two updates, or a multiple of them; most do not, which saves the others' time."""
    ratios = u[:2] / rule.updates(g[:2])
    known = np.isfinite(ratios).all(0)
    if not known.any():
        return True
    first, second = ratios[:, known]
    return bool(np.median(np.abs(second - first)) <= 5e-3 * np.median(np.abs(first)))


def _scaled(rules: list[Rule], factor: float) -> list[Rule]:
    return [replace(rule, factor=factor) for rule in rules]


def _insensitive(u: np.ndarray, g: np.ndarray, literals: set[float]) -> Rule | None:
    """Adam with an epsilon so large that it is felt beside every gradient."""
    for correction, epsilon, inside in itertools.product(
        USUAL, sorted(e for e in literals if e >= 1e-3), (False, True)
    ):
        for beta1, beta2 in itertools.product(BETAS, BETAS):
            rule = Rule("adam", beta1, beta2, correction, epsilon, inside)
            if same(u, rule.updates(g)):
                return rule
    return None


def _candidates(literals: set[float]) -> Iterator[Rule]:
    near = sorted({b for b in literals if 0.05 <= b < 1} | {1 - b for b in literals if 2e-3 <= b <= 0.2})
    betas = [*BETAS, *(b for b in near if min(abs(b - c) for c in BETAS) > 1e-9)][:9]
    pairs = sorted(itertools.product(betas, betas), key=lambda pair: pair[0] != pair[1])
    usual, odd = USUAL, ("times", "beta", "power")
    mixed = [c for c in itertools.product(CORRECTIONS, CORRECTIONS) if c not in usual and not {*c} & {*odd}]
    mixed += [(c, c) for c in odd]
    yield Rule("sgd")
    yield Rule("sign")
    for form in ("adam", *FORMS):
        if form in ONE_AVERAGE:
            yield from (Rule(form, beta, beta, (c, c)) for beta in betas for c in ("none", "constant", "standard"))
        elif form not in WITHOUT_EPSILON:
            corrections = usual + mixed if form == "adam" else usual
            yield from (Rule(form, *pair, correction) for correction in corrections for pair in pairs)
    starts = sorted({s for s in literals if 0 < s <= 1} | {1.0, 0.1})[:8]
    for start, correction, beta in itertools.product(starts, usual, betas):
        yield Rule("adam", beta, beta, correction, start=start)
    for start, correction in itertools.product(starts, usual):
        yield Rule("adam", 0.9, 0.999, correction, start=start)


def _with_epsilon(rule: Rule, u: np.ndarray, g: np.ndarray, literals: set[float]) -> Rule:
    if rule.form in WITHOUT_EPSILON:
        return rule
    values = [*([rule.epsilon] if rule.epsilon else []), *EPSILONS, *sorted(e for e in literals if 0 < e < 1e-2)]
    for inside, epsilon in itertools.product((False, True), values):
        tried = replace(rule, epsilon=epsilon, inside=inside)
        if same(u, tried.updates(g)):
            return tried
    return replace(rule, epsilon=None)


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether updates are equal to 0.2% of an element's, where not finite in both not at all."""
    if not np.isfinite(wanted).any():
        return False
    bounds = 2e-3 * np.abs(wanted) + 2e-4 * np.nanmean(np.abs(wanted), axis=0)
    either = np.isfinite(found) | np.isfinite(wanted)
    return bool((~either | (np.abs(found - wanted) <= bounds)).all())
