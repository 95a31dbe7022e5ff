"""docs/derivations.md and its tests name each other: no section without a test, no test without a section.

The tests stand in test_derivations_softmax.py, test_derivations_layers.py and test_derivations_adam.py. Each of them
opens its docstring with the sections it checks, and each section ends with a line "Checked by" that names its tests.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_document_and_tests_name_each_other():
    document = (ROOT / "docs" / "derivations.md").read_text("utf-8")
    sections = dict(re.findall(r"^### (\w+(?:\.\d)?) .+?\n(.*?)(?=^##|\Z)", document, re.M | re.S))
    promised = {
        (section, test)
        for section, text in sections.items()
        for line in re.findall(r"^Checked by .*$", text, re.M)
        for test in re.findall(r"`(.+?)`", line)
    }
    kept = {
        (section, f"tests/nn/{file.name}::{test.name}")
        for file in Path(__file__).parent.glob("test_derivations_*.py")
        for test in ast.parse(file.read_text("utf-8")).body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
        for section in (ast.get_docstring(test) or "").partition(":")[0].split(", ")
    }
    assert {section for section, _ in promised} == set(sections), "a section has no 'Checked by' line"
    assert promised == kept
