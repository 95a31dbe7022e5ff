"""What the documents show works: the code of README and of the site's pages runs, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

import fastff

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "recipes").glob("*.md"),
    ]
)
# Whose code stands by itself, and makes all that it uses.
RUN = [ROOT / "README.md", ROOT / "docs" / "start.md", *sorted((ROOT / "docs" / "recipes").glob("*.md"))]
COMMANDS = {"train", "evaluate", "predict", "tune", "export", "report", "check", "ablate"}


def name(path):
    return path.relative_to(ROOT).as_posix()


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def anchors(text):
    """The names by which GitHub, and Sphinx with myst_heading_anchors, know the headings of a document."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files_and_headings_that_are_there(document):
    text = re.sub(r"`[^`\n]*`|^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{name(document)}: no {target}"
        assert not anchor or anchor in anchors(found.read_text("utf-8")), f"{name(document)}: no heading {target}"


@pytest.mark.parametrize("document", RUN, ids=name)
def test_code_runs(document, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "document"}
    for block in blocks(document.read_text("utf-8"), "python"):
        exec(compile(block, name(document), "exec"), names)


def test_the_readme_names_commands_that_are_there():
    (shown,) = (block for block in blocks((ROOT / "README.md").read_text("utf-8"), "") if "fastff.evaluate" in block)
    named = re.findall(r"^python -m fastff\.(\w+)", shown, re.MULTILINE)
    assert named
    assert set(named) <= COMMANDS


def test_every_example_has_a_title():
    for example in (ROOT / "examples").glob("*.py"):
        first = example.read_text("utf-8").split('"""')[1].strip().splitlines()
        assert set(first[1]) == {"="}, f"{name(example)}: want a title for the site, underlined by ="


def test_the_citation_is_of_this_version():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited
    assert cited[1] == fastff.__version__


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "api" / "index.rst").read_text("utf-8")
    listed = re.findall(r"^   (\w+)$", text, re.MULTILINE)
    assert set(listed) >= set(fastff.__all__)
