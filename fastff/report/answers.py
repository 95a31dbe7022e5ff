"""What a person adds to a report: author, date, course, discussion and debriefing, from a TOML or Markdown file.

In Markdown, lines such as "Author: A. Student" stand before the first heading, and each answer below a heading with its
question. In TOML the names are those of QUESTIONS. Texts are plain: paragraphs, and lines that begin with "- ".
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastff.errors import DataError
from fastff.runs.config import LARGEST, tomllib

ABOUT = ("author", "date", "course")
DISCUSSION = "discussion"
# The assignment's debriefing: the name of each question in TOML, and its words
QUESTIONS = {
    "hours": "Approximately how many hours did you take to complete this assignment?",
    "difficulty": "Would you rate it as easy, moderate, or difficult?",
    "company": "Did you work on it mostly alone or did you discuss the problems with others?",
    "understanding": "How deeply do you feel you understand the material it covers (0%-100%)?",
    "comments": "Any other comments?",
}
NAMES = (*ABOUT, DISCUSSION, *QUESTIONS)
_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*")


@dataclass(frozen=True)
class Answers:
    """texts: by the names in NAMES; what is not there was left out."""

    texts: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    def __contains__(self, name: str) -> bool:
        return bool(self.texts.get(name))


def read_answers(path: Path) -> Answers:
    """Read a .toml or .md file. Raises DataError for another ending, an unknown name or heading, or a damaged file."""
    if path.suffix.lower() not in (".toml", ".md"):
        raise DataError(f"{path}: ends in {path.suffix or 'nothing'!r}, want answers in a .md or .toml file")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}, want a file of answers") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 from byte {error.start} on, want it saved as UTF-8") from None
    if len(data) > LARGEST:
        raise DataError(f"{path}: more than {LARGEST:,} bytes, want a file of answers")
    text = text.replace("\r\n", "\n")
    found = _from_toml(text, path) if path.suffix.lower() == ".toml" else _from_markdown(text, path)
    return Answers({name: plain(value) for name, value in found.items()})


def template(discussion: str) -> str:
    """A Markdown file to fill in, with this draft of the discussion."""
    about = "".join(f"{name.capitalize()}:\n" for name in ABOUT)
    questions = "".join(f"\n## {question}\n\n" for question in QUESTIONS.values())
    return f"{about}\n# Discussion\n\n{discussion}\n\n# Debriefing\n{questions}"


def plain(text: str) -> str:
    """The text with one line for each paragraph or item of a list, and an empty line between paragraphs."""
    paragraphs = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines: list[str] = []
        for line in map(str.strip, block.split("\n")):
            if not lines or re.match(r"[-*+] |\d+[.)] ", line):
                lines.append(line)
            else:
                lines[-1] += f" {line}"
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _from_toml(text: str, path: Path) -> dict[str, str]:
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a TOML file: {error}") from None
    debriefing = values.pop("debriefing", {})
    if not isinstance(debriefing, dict):
        raise DataError(f"{path}: debriefing = {debriefing!r}, want a table [debriefing]")
    for name, value in (both := {**values, **debriefing}).items():
        if name not in NAMES:
            raise DataError(f"{path}: unknown name {name!r}, want one of {', '.join(NAMES)}")
        if isinstance(value, bool | list | dict):
            raise DataError(f"{path}: {name} = {value!r}, want a text")
    return {name: str(value) for name, value in both.items()}


def _from_markdown(text: str, path: Path) -> dict[str, str]:
    known = {_letters(words): name for name, words in {DISCUSSION: DISCUSSION, **QUESTIONS}.items()}
    known |= {name: name for name in QUESTIONS}
    found: dict[str, list[str]] = {}
    name: str | None = None  # where the lines below a heading go; None: a heading over others, where no text may stand
    heading = ""
    for number, line in enumerate(text.split("\n"), 1):
        if match := _HEADING.fullmatch(line.strip()):
            heading = match[1]
            name = known.get(_letters(heading))
            if name is None and _letters(heading) != "debriefing":
                wanted = ", ".join(repr(words) for words in ("Discussion", "Debriefing", *QUESTIONS.values()))
                raise DataError(f"{path}:{number}: unknown heading {heading!r}, want one of {wanted}")
            if name in found:
                raise DataError(f"{path}:{number}: a second heading {heading!r}, want each answer once")
            if name is not None:
                found[name] = []
        elif name is not None:
            found[name].append(line)
        elif line.strip():
            key, colon, value = line.partition(":")
            if heading or not colon or key.strip().lower() not in ABOUT:
                raise DataError(
                    f"{path}:{number}: {line.strip()!r} stands below no question, want Author:, Date: or Course: "
                    "before the first heading, and answers below the headings of their questions"
                )
            found[key.strip().lower()] = [value.strip()]
    return {name: "\n".join(lines) for name, lines in found.items()}


def _letters(words: str) -> str:
    """A heading without case, numbering and marks, by which it is recognised."""
    return "".join(re.findall(r"[a-z]+", words.lower()))
