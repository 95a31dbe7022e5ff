"""Runs the checks of a file in a process of its own: another folder, no standard input, no windows, and limited time.

A part that takes too long ends its process; the parts that do not stand on it are run by the next one.
"""

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
from pathlib import Path
from typing import Any

import numpy as np

from fastff.check.parts import PARTS, run_part
from fastff.check.results import Result
from fastff.check.script import Script
from fastff.check.solution import ALIASES, Solution
from fastff.check.training import write_files

SECONDS = 3  # for a part; the training loop has MORE
ALL_SECONDS = 20  # for a process, should the limit of a part not end it
AFTERWARDS = 1.5  # for a part, once one took too long: what is wrong in one place often is in others
MORE = 2


class NotLoadable(Exception):
    """A file's definitions cannot be loaded: the reason, with its line."""


def check_file(path: Path) -> list[Result]:
    """The results of a student's file. Raises NotLoadable for one that cannot be read, parsed or imported."""
    results: list[Result] = []
    late: dict[str, str] = {}  # parts that ended their process, and how
    while True:
        with tempfile.TemporaryDirectory(prefix="fastff-check-", ignore_cleanup_errors=True) as folder:
            lines, ended = _run(path, Path(folder), done=sorted({r.part for r in results} | set(late)), late=late)
        if lines and "refused" in lines[-1]:
            raise NotLoadable(lines[-1]["refused"])
        results += [Result(**line["result"]) for line in lines if "result" in line]
        started = [line["start"] for line in lines if "start" in line]
        if lines and "end" in lines[-1]:
            return results
        if not started:
            raise NotLoadable(f"loading its definitions {ended}")
        part = next(part for part in PARTS if part.name == started[-1])
        late[part.name] = ended
        results.append(Result("comes to its end", "fail", ended, "an end", "Look for a loop whose condition never changes.",
                              question=part.question, part=part.name))  # fmt: skip


def _run(path: Path, folder: Path, done: list[str], late: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """What a process wrote, and how it ended if it did not come to its end."""
    said, trace = folder / "results.jsonl", folder / "trace.txt"
    given = json.dumps({"path": str(path), "folder": str(folder), "done": done, "late": late})
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "fastff.check.process", given]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env=environment, timeout=ALL_SECONDS, check=False)  # fmt: skip
    lines = [json.loads(line) for line in said.read_text("utf-8").splitlines()] if said.exists() else []
    text = trace.read_text("utf-8", "replace") if trace.exists() else ""
    if not text:
        return lines, "ended the whole process"
    place = re.search(rf'File "{re.escape(str(path))}", line (\d+) in (\S+)', text)
    where = f" (line {place[1]}, in {place[2]})" if place else ""
    seconds = next((line["seconds"] for line in reversed(lines) if "seconds" in line), SECONDS)
    return lines, f"did not end in {seconds} seconds{where}"


def main(given: str) -> None:
    """The process: load the file, and run every part that was not run yet."""
    request = json.loads(given)
    path, folder, late = Path(request["path"]), Path(request["folder"]), request["late"]
    write_files(folder)
    work = folder / "work"
    work.mkdir()
    os.chdir(work)
    with open(folder / "results.jsonl", "w", encoding="utf-8") as file, open(folder / "trace.txt", "w") as trace:

        def say(**line: Any) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        seconds = AFTERWARDS if late else SECONDS
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            faulthandler.dump_traceback_later(seconds, exit=True, file=trace)
            try:
                script = Script(path, folder)
            except BaseException as error:
                say(refused=_why(error, path))
                return
            solution = Solution(script.namespace, script.tree)
            solution.broken |= set(late)
            if not any(solution.find(name) for name in ALIASES):
                say(result=Result("classes", "other assignment", "none of the assignment's classes is in the file",
                                  ", ".join(ALIASES), question="Q4", part="LinearLayer").as_dict())  # fmt: skip
                say(end=True)
                return
            for reason in script.failed if not request["done"] else ():
                say(result=Result("constants", "warn", reason, "no error", question="Q4", part="LinearLayer").as_dict())
            for part in PARTS:
                if part.name in request["done"]:
                    continue
                limit = seconds + (MORE if part.name == "training loop" else 0)
                say(start=part.name, seconds=limit)
                culprit = next((name for name in part.needs if name in late), None)
                if culprit:
                    say(
                        result=Result(
                            "can be tried",
                            "follows",
                            f"{culprit} {late[culprit]}",
                            question=part.question,
                            part=part.name,
                        ).as_dict()
                    )
                    continue
                faulthandler.dump_traceback_later(limit, exit=True, file=trace)
                np.random.seed(0)
                for result in run_part(part, solution, script.run_main, str(path)):
                    say(result=result.as_dict())
            faulthandler.cancel_dump_traceback_later()
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
