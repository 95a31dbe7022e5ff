"""Runs the checks of a file in a process of its own: another folder, no standard input, no windows, and limited time.

A part that takes too long ends its process; the parts that do not stand on it are run by the next one.
"""

import builtins
import contextlib
import faulthandler
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastff.check.parts import PARTS, hinted, run_part
from fastff.check.results import WRONG, Result
from fastff.check.script import Script
from fastff.check.solution import ALIASES, Solution
from fastff.check.training import write_files

SECONDS = 3  # for a part; the training loop has MORE
ALL_SECONDS = 20  # for a process, should the limit of a part not end it
AFTERWARDS = 1.5  # for a part, once one took too long: what is wrong in one place often is in others
MORE = 2
# The name of a course file is a split beside words for such data only: cifar10_hst_train, ValidationSet, test. Where
# there is no such file, it may have any words beside a split that is a word of its own: hw2_train.pkl, train_small
_SPLIT = r"(train|val|test)(?:ing|id|idation)?"
_WORDS = r"(?:[\W\d_]|cifar|hst|horses?|ships?|trucks?|images?|data|sets?|subset|splits?|pickles?|pkl|the|my)*"
_COURSE = re.compile(rf"{_WORDS}{_SPLIT}{_WORDS}", re.IGNORECASE)
_LIKELY = re.compile(rf"(?:.*[\W\d_])?{_SPLIT}(?:[\W\d_].*)?", re.IGNORECASE)
_SUFFIXES = {"", ".pkl", ".pickle", ".p", ".npy", ".npz"}


class NotLoadable(Exception):
    """A file's definitions cannot be loaded: the reason, with its line."""


def check_file(path: Path) -> list[Result]:
    """The results of a student's file. Raises NotLoadable for one that cannot be read, parsed or imported."""
    if path.suffix == ".ipynb":
        cure = f"jupyter nbconvert --to script {path.name}, or fastff.check.check(globals()) in its last cell"
        raise NotLoadable(f"a notebook, want a Python file: {cure}")
    results: list[Result] = []
    late: dict[str, str] = {}  # parts that ended their process, and how
    while True:
        broken = [name for r in results if r.status in WRONG for name in (r.part, r.name)]
        done = sorted({result.part for result in results})
        with tempfile.TemporaryDirectory(prefix="fastff-check-", ignore_cleanup_errors=True) as folder:
            request = {"path": str(path), "folder": folder, "done": done, "late": late, "broken": broken}
            lines, ended = _run(request)
        if lines and "refused" in lines[-1]:
            raise NotLoadable(lines[-1]["refused"])
        results += [Result(**line["result"]) for line in lines if "result" in line]
        if lines and "end" in lines[-1]:
            return results
        started = [line["start"] for line in lines if "start" in line]
        if not started:
            raise NotLoadable(f"loading its definitions {ended}")
        part = next(part for part in PARTS if part.name == started[-1])
        late[part.name] = ended
        # Layers that came to an end above are not endless here: the network that main builds is a large one
        large = part.name == "training loop" and re.search(r"in (__init__|forward|backward|step)\)", ended)
        results.append(hinted(Result("comes to its end", "skipped" if large else "fail", ended, "an end"), part))


def _run(request: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """What a process wrote, and how it ended if it did not come to its end."""
    folder, limits = Path(request["folder"]), ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
    environment = {**os.environ, **dict.fromkeys(limits, "1"), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "fastff.check.process", json.dumps(request)]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, **streams, env=environment, timeout=ALL_SECONDS, check=False)  # type: ignore[call-overload]
    said, trace = folder / "results.jsonl", folder / "trace.txt"
    lines = [json.loads(line) for line in said.read_text("utf-8").splitlines()] if said.exists() else []
    text = trace.read_text("utf-8", "replace") if trace.exists() else ""
    if not text:
        return lines, "ended the whole process"
    place = re.search(rf'File "{re.escape(request["path"])}", line (\d+) in (\S+)', text)
    where = f" (line {place[1]}, in {place[2]})" if place else ""
    seconds = next((line["seconds"] for line in reversed(lines) if "seconds" in line), SECONDS)
    return lines, f"did not end in {seconds} seconds{where}"


def main(given: str) -> None:
    """The process: load the file, and run every part that was not run yet."""
    request = json.loads(given)
    folder = Path(request["folder"])
    work = folder / "work"
    work.mkdir()
    write_files(work)
    os.chdir(work)
    builtins.open = io.open = opening(work)  # that of NumPy, pandas, pathlib and the student's other files, too
    sys.argv = [request["path"]]  # what argparse in main reads
    with open(folder / "results.jsonl", "w", encoding="utf-8") as file, open(folder / "trace.txt", "w") as trace:

        def say(**line: Any) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        silent = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (as long as the process)
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            _check(request, say, lambda seconds: faulthandler.dump_traceback_later(seconds, exit=True, file=trace))
            faulthandler.cancel_dump_traceback_later()


def opening(folder: Path) -> Callable[..., Any]:
    """An open that finds the course's files in `folder` under whatever path the student has them. What lies in the
    folder already, or was written, is the student's own whatever its name.
    """
    real, folder, own = open, folder.resolve(), set[Path]()

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if isinstance(file, (str, os.PathLike)):
            path = Path(file).resolve()
            course = _COURSE.fullmatch(path.stem)
            if not course and path.suffix.lower() in _SUFFIXES and not path.exists():
                course = _LIKELY.fullmatch(path.stem)
            if not set("wax+").isdisjoint(mode):
                own.add(path)
            elif course and path not in own and not (path.exists() and folder in path.parents):
                file = folder / f"cifar10_hst_{course[1].lower()}"
        return real(file, mode, *arguments, **options)

    return opened


def _check(request: dict[str, Any], say: Callable[..., None], limit: Callable[[float], None]) -> None:
    path, late = Path(request["path"]), request["late"]
    seconds = SECONDS if not late else AFTERWARDS
    limit(SECONDS)
    try:
        script = Script(path)
        solution = Solution(script.namespace, script.tree)
        known = any(solution.find(name) for name in ALIASES)
    except BaseException as error:
        say(refused=_why(error, path))
        return
    solution.broken |= {*late, *request["broken"]}
    nothing = Result(
        "classes", "other assignment", "none of the assignment's classes is in the file", ", ".join(ALIASES)
    )
    first = [Result("constants", "warn", reason, "no error") for reason in script.failed] + ([] if known else [nothing])
    for result in first if not request["done"] else ():
        say(result=hinted(result, PARTS[0]).as_dict())
    for part in PARTS if known else ():
        if part.name in request["done"]:
            continue
        own = seconds + (MORE if part.name == "training loop" else 0)
        say(start=part.name, seconds=own)
        culprit = next((name for name in part.needs if name in late), None)
        if culprit:
            say(result=hinted(Result("can be tried", "follows", f"{culprit} {late[culprit]}"), part).as_dict())
            continue
        limit(own)
        np.random.seed(0)  # noqa: NPY002 (what students draw from)
        for result in run_part(part, solution, script.run_main, str(path)):
            say(result=result.as_dict())
    say(end=True)


def _why(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        place = f"line {error.lineno}: " if error.lineno else ""
        return f"{place}{error.msg}, want a file that Python can read"
    line, trace = "", error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f"line {trace.tb_lineno}: "
        trace = trace.tb_next
    return f"{line}{type(error).__name__}: {' '.join(str(error).split())[:300]}"


if __name__ == "__main__":
    main(sys.argv[1])
