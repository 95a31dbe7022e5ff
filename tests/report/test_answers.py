"""What a person writes for a report comes from Markdown or TOML as it was meant, or is refused in one line."""

import pytest

from fastff.errors import DataError
from fastff.report.answers import QUESTIONS, plain, read_answers, template

TOML = """
author = "A. Student"
date = 2026-05-01
discussion = '''
One
paragraph.

Another.'''
[debriefing]
hours = 12
comments = "none"
"""
MARKDOWN = f"""Author: A. Student
date: 2026-05-01

# Discussion

One
paragraph.

Another.

# Debriefing

### 1. {QUESTIONS["hours"].upper()}
12
## comments
none
"""


@pytest.fixture
def read(tmp_path):
    def written(text, name="answers.md"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_answers(tmp_path / name)

    return written


@pytest.mark.parametrize(
    ("text", "name"), [(TOML, "a.toml"), (MARKDOWN, "a.md"), (MARKDOWN.replace("\n", "\r\n"), "A.MD")]
)
def test_both_forms_say_the_same(read, text, name):
    answers = read(text, name)
    assert answers.texts == {
        "author": "A. Student", "date": "2026-05-01", "discussion": "One paragraph.\n\nAnother.", "hours": "12",
        "comments": "none",
    }  # fmt: skip
    assert "course" not in answers
    assert answers["course"] == ""


def test_the_template_can_be_read_as_it_is(read):
    answers = read(template("A draft.\n\nOf two."))
    assert answers["discussion"] == "A draft.\n\nOf two."
    assert not [name for name in (*QUESTIONS, "author") if name in answers]


def test_lines_are_joined_and_items_are_not():
    assert plain(" a\nb \n\n\n- c\n  d\n- e\n1. f\n") == "a b\n\n- c d\n- e\n1. f"


@pytest.mark.parametrize(
    ("text", "name", "saying"),
    [
        ("# Conclusion\n", "a.md", r"a.md:1: unknown heading 'Conclusion', want one of 'Discussion'"),
        ("# Discussion\n# discussion\n", "a.md", "a.md:2: a second heading"),
        ("Hello.\n", "a.md", "a.md:1: 'Hello.' stands below no question"),
        ("# Debriefing\nwell\n", "a.md", "a.md:2: 'well' stands below no question"),
        ("Teacher: x\n", "a.md", "Author:, Date: or Course:"),
        (b"\xff", "a.md", "is not UTF-8 from byte 0"),
        ("x = ", "a.toml", "not a TOML file"),
        ("teacher = 'x'", "a.toml", "unknown name 'teacher', want one of author"),
        ("author = true", "a.toml", "author = True, want a text"),
        ("debriefing = 1", "a.toml", r"want a table \[debriefing\]"),
        ("", "a.txt", "ends in '.txt', want answers in a .md or .toml file"),
        ("x" * (1 << 21), "a.md", "more than 1,048,576 bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused(read, text, name, saying):
    with pytest.raises(DataError, match=saying) as failed:
        read(text, name)
    assert str(failed.value).count("\n") == 0


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"none.md: No such file"):
        read_answers(tmp_path / "none.md")
