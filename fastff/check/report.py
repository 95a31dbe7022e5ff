"""Results as a table for people, as JSON, and as Gradescope's file of results."""

import json
from collections import Counter

from fastff.check.parts import PARTS
from fastff.check.results import WRONG, Result

WIDTH = 118
SAID = {
    "untried": "could not be tried",
    "to do": "not written yet",
    "other assignment": "of another assignment",
    "follows": "follows from an earlier failure",
}


def table(results: list[Result], hints: bool = True) -> str:
    """A line for each check, and below one that did not pass what was found and wanted, and a hint."""
    lines = []
    for part in PARTS:
        own = [result for result in results if result.part == part.name]
        if own:
            lines += ["", f"{part.question} {part.name}"]
        for result in own:
            lines += _lines(result, hints)
    return "\n".join([*lines, "", summary(results)]).lstrip("\n")


def _lines(result: Result, hints: bool) -> list[str]:
    mark = result.status.upper() if result.status in WRONG else result.status
    error = "" if result.error is None else f"  relative error {result.error:.1e}"
    if result.status == "pass":
        found = f"  {result.found}" if not error and result.part in ("Adam", "training loop") else ""
        return [f"  {mark:8}  {result.name}{error}{found}"]
    lines = [f"  {mark:8}  {result.name}{error}", f"{'':12}found   {result.found}"]
    if result.wanted:
        lines.append(f"{'':12}wanted  {result.wanted}")
    if hints and (result.hint or result.section):
        lines.append(f"{'':12}hint    {advice(result)}")
    return lines


def advice(result: Result) -> str:
    """The hint, with the section of the derivations that it leads to."""
    place = f"See section {result.section} of docs/derivations.md." if result.section else ""
    return f"{result.hint} {place}".strip()


def summary(results: list[Result]) -> str:
    scored = [result for result in results if result.question != "Q7"]
    counts = Counter(result.status for result in scored)
    words = {"pass": "passed", "warn": "to look at", "fail": "failed", "skipped": "skipped", **SAID}
    return f"{len(scored)} checks: " + ", ".join(f"{counts[s]} {words[s]}" for s in words if counts[s]) + "."


def as_json(script: str, results: list[Result], hints: bool = True) -> str:
    """One object: the script, whether nothing is wrong, how many checks came out how, and the checks."""
    checks = [result.as_dict() | ({} if hints else {"hint": "", "section": ""}) for result in results]
    counts = Counter(result.status for result in results)
    return json.dumps({"script": script, "passed": not failed(results), "counts": counts, "checks": checks}, indent=1)


def gradescope(results: list[Result], hints: bool = True) -> str:
    """Gradescope's results.json: a test for each part, whose points are shared among its checks."""
    tests, numbers = [], Counter[str]()
    for part in PARTS:
        own = [result for result in results if result.part == part.name]
        numbers[part.question] += 1
        counted = [result for result in own if result.status in ("pass", "warn", *WRONG)]
        share = sum(result.status in ("pass", "warn") for result in counted) / len(counted) if counted else 0.0
        output = (
            "\n".join(line.strip() for result in own for line in _lines(result, hints)) or "This part was not reached."
        )
        tests.append({"name": f"{part.question} {part.name}", "number": f"{part.question[1:]}.{numbers[part.question]}",
                      "score": round(part.points * share, 2), "max_score": part.points, "output": output,
                      "visibility": "visible"})  # fmt: skip
    return json.dumps({"tests": tests}, indent=1)


def failed(results: list[Result]) -> bool:
    return any(result.status in WRONG for result in results)
