"""The parts of the homework in the order in which they stand on one another, and how the checks of one are run."""

import ast
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files

from fastff.check.evaluation import check_evaluate
from fastff.check.hints import check_tuning
from fastff.check.layers import RANDOM, check_linear, check_relu
from fastff.check.linear import required
from fastff.check.loss import check_loss
from fastff.check.network import check_network
from fastff.check.optimizer import check_optimizer
from fastff.check.results import WRONG, Blocked, Result, Results
from fastff.check.script import StandIn
from fastff.check.solution import METHODS, Solution
from fastff.check.training import check_training

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HINTS = tomllib.loads(files("fastff.check").joinpath("hints.toml").read_text(encoding="utf-8"))
_UNFINISHED = re.compile(
    r"(\bnot|n't)( yet)? implemented|\bimplement (this|me|it)\b|\bto ?do\b|\byour code\b", re.IGNORECASE
)
TRIED = "code that can be tried here: what cannot gets no points"
LAYERS = ("LinearLayer", "ReLU", "CrossEntropySoftmax", "FeedForwardNeuralNetwork")
ARGUMENTS = {
    "LinearLayer": ("input_dim", "output_dim"),
    "ReLU": (),
    "CrossEntropySoftmax": (),
    "FeedForwardNeuralNetwork": ("input_dim", "output_dim", "hidden_dim", "num_layers"),
}


@dataclass(frozen=True)
class Part:
    """A part of a question: its points at Gradescope, the names that it is about, and those that it stands on."""

    question: str
    name: str
    points: float
    about: tuple[str, ...]
    needs: tuple[str, ...]
    check: Callable[..., Results]


PARTS = (
    Part("Q4", "LinearLayer", 2, ("LinearLayer",), (), check_linear),
    Part("Q4", "ReLU", 1, ("ReLU",), (), check_relu),
    Part("Q4", "CrossEntropySoftmax", 2, ("CrossEntropySoftmax",), (), check_loss),
    Part("Q4", "FeedForwardNeuralNetwork", 1, ("FeedForwardNeuralNetwork",), LAYERS[:3], check_network),
    Part("Q5", "Adam", 4, ("LinearLayer.step",), ("LinearLayer",), check_optimizer),
    Part("Q6", "evaluate", 2, ("evaluate",), LAYERS, check_evaluate),
    Part("Q6", "training loop", 3, ("main",), (*LAYERS, "Adam", "evaluate"), check_training),
    Part("Q7", "tuning", 0, (), (), check_tuning),
)


def run_part(part: Part, solution: Solution, run_main: Callable[[], None] | None, path: str) -> Iterator[Result]:
    """The results of a part, each as soon as it is there. Whatever the student's code raises becomes a result."""
    for result in _run(part, solution, run_main, path):
        if result.status in WRONG:
            solution.broken |= {part.name, result.name}
        yield hinted(result, part)


def hinted(result: Result, part: Part) -> Result:
    """The result with its part, and with what to think about unless the check has passed: hints.toml says it."""
    names = (result.name, "runs" if "ValueError" in result.found else "") if result.status in ("warn", "fail") else ()
    found = (HINTS[table].get(name) for name in names for table in (part.name, "every"))
    hint, section = next(filter(None, found), ("", ""))
    return replace(result, question=part.question, part=part.name, hint=hint, section=section)


def _run(part: Part, solution: Solution, run_main: Callable[[], None] | None, path: str) -> Iterator[Result]:
    before = list(_before(part, solution))
    if before:
        yield from before
        return
    if part.check is check_training and run_main is None:
        yield Result("training loop", "skipped", "only that of a file is run, by python -m fastff.check")
        return
    StandIn.used.clear()
    seen = False  # whether there was a result
    try:
        for result in part.check(solution, run_main) if part.check is check_training else part.check(solution):
            seen = True
            if result.status == "fail" and RANDOM in solution.broken and part.name != "LinearLayer":
                yield replace(result, status="follows")
            elif result.status == "fail" and StandIn.used:
                yield replace(result, status="untried", found=f"needs {_missing()}", wanted=TRIED)
            else:
                yield result
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        yield _raised(error, part, solution, path, seen)


def _missing() -> str:
    return "; ".join(sorted(StandIn.used))


def _before(part: Part, solution: Solution) -> Iterator[Result]:
    """Why a part cannot be tried: something is not there, not begun, or made for another assignment."""
    for name in LAYERS if part.about else ():
        own = any(about.split(".")[0] == name for about in part.about)
        if not own and name not in part.needs:
            continue
        found = solution.find(name)
        if found is None:
            yield Result(name, "to do" if own else "skipped", f"the file has no {name}", name)
        elif own and getattr(found, "__module__", "").startswith("fastff."):
            yield Result(name, "to do", "it is fastff's own, which the file imports", "your own code")
        elif own and (other := _otherwise(found, name)):
            yield Result(
                name, "other assignment", other, f"{name}({', '.join(ARGUMENTS[name])}) with {', '.join(METHODS[name])}"
            )
    for about in part.about:
        name, _, method = about.partition(".")
        evaluate = solution.find(name) if name == "evaluate" else ""
        if evaluate is None:
            yield Result(name, "to do", f"the file has no {name}", name)
        elif getattr(evaluate, "__module__", "").startswith("fastff."):
            yield Result(name, "to do", "it is fastff's own, which the file imports", "your own code")
        methods = (method,) if method else (*METHODS.get(name, ()), "__init__") if name in LAYERS else ("",)
        for empty in _empty(solution.tree, name, methods):
            yield Result(empty or name, "to do", "it does nothing yet", "its code")


def _otherwise(found: object, name: str) -> str:
    """How a class differs from the assignment's so much that it must be another assignment's, or nothing."""
    if not isinstance(found, type):
        return "not a class"
    lacking = [method for method in METHODS[name] if not callable(getattr(found, method, None))]
    if lacking:
        return f"the class has no {', '.join(lacking)}"
    try:
        wanted = required(found)
    except (TypeError, ValueError):
        return ""
    most = len(ARGUMENTS[name])
    return f"{name}({', '.join(wanted)})" if len(wanted) > most else ""


def _empty(tree: ast.Module | None, name: str, methods: Iterable[str]) -> Iterator[str]:
    """Those of a class's methods, or the function itself, that hold nothing but pass, raise, ... or a text."""
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef) and node.name == name:
            inner = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name in methods]
            required_ = [n for n in inner if n.name != "__init__" or name == "LinearLayer"]
            yield from (n.name for n in required_ if _does_nothing(n))
        elif isinstance(node, ast.FunctionDef) and node.name == name and _does_nothing(node):
            yield ""


def _does_nothing(function: ast.FunctionDef) -> bool:
    def nothing(node: ast.stmt) -> bool:
        if isinstance(node, ast.Return):
            return node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
        return isinstance(node, (ast.Pass, ast.Raise)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        )

    return all(map(nothing, function.body))


def _raises(frames: list[traceback.FrameSummary]) -> bool:
    """Whether the error was raised by a raise or an assert of the file, not by a library that it calls."""
    return bool(frames) and (frames[-1].line or "").startswith(("raise", "assert"))


def _raised(error: BaseException, part: Part, solution: Solution, path: str, seen: bool) -> Result:
    """An exception as a result, with the student's line that raised it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    name = f"{frames[-1].name} runs" if frames else "can be tried"
    place = f" (line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())[:200]
    said = f"{type(error).__name__}: {text}{place}" if not isinstance(error, Blocked) else text
    if isinstance(error, SystemExit):
        said = f"the program ends itself here, by exit or quit{place}"
    if isinstance(error, NotImplementedError) or (_raises(frames) and _UNFINISHED.search(text)):
        return Result(name, "to do", said, "its code")
    # What draws or asks does no harm beside a loop of which enough was seen; elsewhere the rest was not tried
    enough = seen and part.check is check_training and not StandIn.used
    status, wanted = ("skipped", "") if enough else ("untried", TRIED)
    if StandIn.used or "StandIn" in text:
        return Result(name, status, f"needs {_missing() or 'a module that the check replaces'}: {said}", wanted)
    if isinstance(error, EOFError) and "input()" in text:
        return Result(name, status, said, wanted)
    if solution.broken & set(part.needs):
        return Result(name, "follows", said, "no error")
    return Result(name, "fail", said, "no error")
