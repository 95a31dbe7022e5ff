"""check(globals()) in a notebook: the same checks, in the notebook's own process."""

import ast
import contextlib
import inspect
import io
import textwrap
from typing import Any

import numpy as np

from fastff.check.parts import PARTS, run_part
from fastff.check.report import table
from fastff.check.results import Result
from fastff.check.solution import ALIASES, Solution
from fastff.errors import ArgumentError


def check(namespace: dict[str, Any], *, hints: bool = True) -> list[Result]:
    """Check the homework's classes in a notebook, and print a table of what was found.

    The classes are run where they are, without a limit of time, and the training loop is left out: a file is checked
    whole, in a process of its own, by ``python -m fastff.check SCRIPT.py``.

    Parameters
    ----------
    namespace
        The names of the notebook, ``globals()``.
    hints
        Whether the table says what to think about where something failed.

    Returns
    -------
    list of Result
        One for each check: question, part, name, status, found, wanted, error (relative), hint and section.

    Raises
    ------
    ArgumentError
        If the namespace is no dict, or has none of the homework's classes.
    """
    if not isinstance(namespace, dict) or not any(a in namespace for names in ALIASES.values() for a in names):
        raise ArgumentError(
            f"namespace: none of {', '.join(ALIASES)} is in it, want globals() after the cells that define them"
        )
    solution = Solution(namespace, _tree(namespace))
    state = np.random.get_state()  # noqa: NPY002 (what the classes draw from)
    results = []
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        for part in PARTS:
            results += list(run_part(part, solution, None, ""))
    np.random.set_state(state)  # noqa: NPY002
    print(table(results, hints))
    return results


def _tree(namespace: dict[str, Any]) -> ast.Module | None:
    """The source of the homework's classes, where Python still knows it."""
    body: list[ast.stmt] = []
    for names in ALIASES.values():
        for name in names:
            if name in namespace:
                with contextlib.suppress(OSError, TypeError, SyntaxError):
                    body += ast.parse(textwrap.dedent(inspect.getsource(namespace[name]))).body
    return ast.Module(body, []) if body else None
