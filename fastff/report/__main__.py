"""python -m fastff.report RUN_DIR: writes a finished run up as a report to hand in, in HTML and as a PDF."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fastff import command
from fastff.report.contents import contents
from fastff.report.finished import read_run
from fastff.report.typeset import typeset
from fastff.system.files import write_bytes
from fastff.system.paths import PATH, HasPaths


@dataclass(frozen=True)
class Options(HasPaths):
    """Write report.html and report.pdf into the folder of a finished run. They hold its result, options and pictures,
    the derivations of the mathematics, and the assignment's questions with room for the answers.

    Example: python -m fastff.report runs/digits
    """

    run_dir: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_DIR"), PATH]
    """The folder of a finished training run. Needs typst: pip install "fastff[report]"."""


def main(arguments: list[str]) -> None:
    options = tyro.cli(Options, args=arguments, prog="python -m fastff.report")
    folder = Path(options.run_dir)
    run = read_run(folder)
    said = contents(run)
    forms = {form: typeset(said, run.pictures, form, source=folder) for form in ("html", "pdf")}
    for form, data in forms.items():
        write_bytes(folder / f"report.{form}", data)
    print(f"written to {folder}: {', '.join(f'report.{form}' for form in forms)}")


if __name__ == "__main__":
    command.run(main)
