"""Checks solutions in this process, where a hundred take seconds: edits of homework.py, and their results."""

import contextlib
import io
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np

from fastff.check.parts import PARTS, run_part
from fastff.check.process import opening
from fastff.check.script import Script
from fastff.check.solution import Solution

HERE = Path(__file__).parent
HOMEWORK = (HERE / "homework.py").read_text("utf-8")


def read_edits(name):
    """(words of a heading, its edits as pairs of an old and a new text) of all headings of faults.txt or habits.txt."""
    found, before = [], ""
    for line in (HERE / name).read_text("utf-8").splitlines():
        sign, text = line[:1], line[2:]
        if line.startswith("## "):
            found.append(([word.strip() for word in line[3:].split("|")], []))
        elif sign == "-" and (before != "-" or not found[-1][1]):
            found[-1][1].append([text, None])
        elif sign == "-":
            found[-1][1][-1][0] += "\n" + text
        elif sign == "+":
            edit = found[-1][1][-1]
            edit[1] = text if edit[1] is None else edit[1] + "\n" + text
        before = sign
    return found


def edited(edits, text=HOMEWORK):
    for old, new in edits:
        assert old in text, f"an edit of what is not there: {old}"
        text = text.replace(old, new)
    return text


def results_of(text, folder, parts=None):
    """The results of a solution's text, of all parts or some; the folder has the small data."""
    path = folder / "homework.py"
    path.write_text(text, "utf-8")
    quiet = contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"), warnings.catch_warnings()
    with quiet[0], quiet[1], quiet[2], patch("builtins.open", opening(folder)):
        warnings.simplefilter("ignore")
        np.random.seed(0)
        script = Script(path)
        solution = Solution(script.namespace, script.tree)
        found = []
        for part in PARTS:
            if parts is None or part.name in parts:
                found += run_part(part, solution, script.run_main, str(path))
    sys.path.remove(str(folder))
    del sys.modules["student"]
    return found
