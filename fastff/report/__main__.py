"""python -m fastff.report RUN_DIR: writes a finished run up as a report to hand in, in HTML and as a PDF."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fastff import command
from fastff.report.answers import ABOUT, Answers, plain, read_answers, template
from fastff.report.contents import contents
from fastff.report.finished import read_folder
from fastff.report.typeset import typeset
from fastff.runs.config import File
from fastff.system.files import write_bytes, write_text
from fastff.system.options import Option, as_words
from fastff.system.paths import PATH, HasPaths
from fastff.system.shell import command_line, program

ANSWERS = "answers.md"  # a template that the command writes once
Text = str | None


@dataclass(frozen=True)
class Options(HasPaths):
    """Write report.html and report.pdf into the folder of a finished run. They hold its result, options and pictures,
    what fastff ablate has measured, a draft of the discussion, the derivations of the mathematics, and the assignment's
    questions with room for the answers.

    To write your own texts, type into the boxes of report.html, or fill in answers.md, which is written beside it, and
    give it to --answers.

    Examples:
      fastff report runs/digits
      fastff report runs/digits --answers runs/digits/answers.md --author "A. Student"
    """

    run_dir: Annotated[str, Option("RUN_DIR", positional=True), PATH]
    """The folder of a finished run, of several (--seeds), or of a search (fastff tune).
    Needs typst: pip install "fastff[report]"."""
    answers: File = None
    """A Markdown or TOML file with your discussion and debriefing, such as a filled in answers.md."""
    author: Text = None
    """Your name; these three stand below the title."""
    date: Text = None
    """The date of the report."""
    course: Text = None
    """The course that it is for."""


@command.takes(Options, "report")
def main(options: Options) -> None:
    folder = Path(options.run_dir)
    found = read_folder(folder)
    texts = {} if options.answers is None else read_answers(Path(options.answers)).texts
    about = {name: plain(value) for name in ABOUT if (value := getattr(options, name)) is not None}
    said = contents(found, Answers({**texts, **about}))
    forms = {form: typeset(said, found.pictures, form, source=folder) for form in ("html", "pdf")}
    for form, data in forms.items():
        write_bytes(folder / f"report.{form}", data)
    print(f"written to {folder}: {', '.join(f'report.{form}' for form in forms)}")
    if options.answers is None:
        if not (folder / ANSWERS).exists():
            write_text(folder / ANSWERS, template(said["discussion"]))
        again = command_line([*program("report").split(), *as_words(replace(options, answers=str(folder / ANSWERS)))])
        print(f"your own texts: type them into report.html, or into {folder / ANSWERS} and run {again}")


if __name__ == "__main__":
    command.run(main)
