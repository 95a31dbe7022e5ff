"""python -m fastff.check SCRIPT.py: checks a student's own solution of the homework, question by question."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastff import command
from fastff.check.process import NotLoadable, check_file
from fastff.check.report import as_json, failed, gradescope, table
from fastff.check.results import Result
from fastff.errors import ArgumentError
from fastff.system.options import Flag, Option
from fastff.system.paths import PATH, HasPaths


@dataclass(frozen=True)
class Options(HasPaths):
    """Check a solution of the homework: layers and loss (Q4), optimizer (Q5), evaluation and training loop (Q6), and
    hints for tuning (Q7). The code of the file is run, in a process and a folder of its own: check only files that you
    would run yourself. Exits 0 if all passed or only needs a look, 1 if something failed or could not be tried,
    2 if the file cannot load.

    Example: fastff check homework.py
    """

    script: Annotated[str, Option("SCRIPT.py", positional=True), PATH]
    """The file with the classes and the function evaluate."""
    json: Flag = False
    """Print the results as one JSON object."""
    gradescope: Flag = False
    """Print the results as Gradescope's results.json. Q4 has 6 points, Q5 has 4, Q6 has 5."""
    no_hints: Flag = False
    """Say what was found and wanted, but give no hints."""


@command.takes(Options, "check")
def main(options: Options) -> None:
    if options.json and options.gradescope:
        raise ArgumentError("--json and --gradescope: both are given, want one of them")
    path = Path(options.script).resolve()
    if not path.is_file():
        raise ArgumentError(f"{options.script}: no such file, want a Python file")
    try:
        results, status = check_file(path), None
    except NotLoadable as error:
        if not (options.json or options.gradescope):
            raise ArgumentError(f"{options.script}: {error}") from None
        results, status = (
            [Result("load", "fail", str(error), "a file that loads", question="Q4", part="LinearLayer")],
            2,
        )
    hints = not options.no_hints
    if options.json:
        print(as_json(options.script, results, hints))
    elif options.gradescope:
        print(gradescope(results, hints))
    else:
        print(f"{options.script}: its code was run, in a process of its own.\n\n{table(results, hints)}")
    status = int(failed(results)) if status is None else status
    if status:
        sys.exit(status)


if __name__ == "__main__":
    command.run(main)
