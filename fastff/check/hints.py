"""Q7: what usually helps in tuning, looked for in the file. Hints only, without a score."""

import ast
import re

from fastff.check.results import Result, Results
from fastff.check.solution import Solution


def check_tuning(solution: Solution) -> Results:
    if solution.tree is None:
        return
    text = ast.unparse(solution.tree)
    scaled = re.search(r"\bstd\(", text)
    divided = re.search(r"/ ?=? ?\(?25[56]|/ ?np\.max|\.max\(\)", text)
    found = (
        "scaled by mean and spread" if scaled else "divided by a number" if divided else "used as they are, 0 to 255"
    )
    yield Result("scale of the pixels", "pass" if scaled else "warn", found, "mean 0, spread 1")
    mixed = re.search(r"permutation|shuffle|rng\.choice|random\.sample", text)
    yield Result(
        "order of the rows", "pass" if mixed else "warn", "drawn" if mixed else "never drawn", "drawn every epoch"
    )
