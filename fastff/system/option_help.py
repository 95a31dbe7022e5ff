"""What --help prints: a command's purpose, and its options in groups, with the values that they have by default."""

import ast
import dataclasses
import inspect
import shutil
import textwrap
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from fastff.system.options import Spec, specs, usage

WIDEST, NARROWEST = 100, 40
COLUMN = 24  # where the meaning of an option begins


def help_text(
    options: type, program: str, *, defaults: Mapping[str, Any] | None = None, about_defaults: str = ""
) -> str:
    """The help of a command.

    options: the dataclass, with the purpose as its docstring; its GROUPS, if it has them, say which fields belong to
    a group, by the group's heading. defaults: values in place of those of the class. about_defaults: a sentence that
    says whose those are.
    """
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((80, 24)).columns))
    texts = field_texts(options)
    parts = [f"usage: {program} {usage(options)}"]
    parts += [_paragraph(text, width) for text in inspect.cleandoc(options.__doc__ or "").split("\n\n")]
    if about_defaults:
        parts.append(_paragraph(about_defaults, width))

    def lines(chosen: list[Spec]) -> list[str]:
        found = defaults or {}
        return [
            entry(written(spec), f"{texts.get(spec.field, '')} {shown_default(spec, found)}", width) for spec in chosen
        ]

    groups = grouped(options)
    last = [*groups][-1]
    for heading, chosen in groups.items():
        own = [entry("-h, --help", "Show this help.", width)] if heading == last else []
        parts.append("\n".join([f"{heading}:", *lines(chosen), *own]))
    return "\n\n".join(parts) + "\n"


def grouped(options: type) -> dict[str, list[Spec]]:
    """The options of a command by the headings under which they stand."""
    left = {spec.field: spec for spec in specs(options)}
    found = {"arguments": [left.pop(spec.field) for spec in specs(options) if not spec.names]}
    for heading, fields in getattr(options, "GROUPS", {}).items():
        found[heading] = [left.pop(field) for field in fields]
    return {heading: chosen for heading, chosen in {**found, "options": [*left.values()]}.items() if chosen}


def field_texts(options: type) -> dict[str, str]:
    """The text below each field of a dataclass, in one line; none where the source is not there to be read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(options))).body[0]
    except (OSError, TypeError):
        return {}
    assert isinstance(tree, ast.ClassDef)
    texts = {
        one.target.id: " ".join(text.value.value.split())
        for one, text in pairwise(tree.body)
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
    shared = {spec.field: spec.option.text for spec in specs(options) if spec.option.text}
    return {**shared, **texts}


def shown_default(spec: Spec, values: Mapping[str, Any]) -> str:
    """The sentence that gives an option's default; none where its text says what happens without the option."""
    value = values.get(spec.field, spec.default) if spec.names else spec.default
    if (spec.type is bool and spec.option.alone) or value is dataclasses.MISSING or value == ():
        return ""
    text = shown_value(value) or spec.option.unset
    return f"Default: {text}." if text else ""


def shown_value(value: Any) -> str:
    """A value as it would be typed; of a flag whether it is on."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return " ".join(map(shown_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def entry(written: str, text: str, width: int) -> str:
    """An option and its meaning beside it, or below where it is too long for that."""
    lines = textwrap.wrap(text, width - COLUMN, break_on_hyphens=False, break_long_words=False)
    beside = lines.pop(0) if lines and len(written) <= COLUMN - 4 else ""
    head = f"  {written}"
    if len(head) > width:  # many choices
        head = textwrap.fill(head.replace(",", ", "), width, subsequent_indent=" " * 8, break_on_hyphens=False)
    return "\n".join([head.ljust(COLUMN) + beside if beside else head, *(" " * COLUMN + line for line in lines)])


def written(spec: Spec) -> str:
    """An option as it is written, with what stands for its value."""
    if not spec.names:
        return spec.metavar
    names = list(spec.names)
    if spec.type is bool and not spec.option.alone:
        names += ["--no-" + spec.names[-1].removeprefix("--")]
    return " ".join(filter(None, [", ".join(names), spec.metavar, "..." if spec.several else ""]))


def _paragraph(text: str, width: int) -> str:
    """A paragraph in lines of the width; one of examples as it is."""
    if text.startswith("Example"):
        return text
    return textwrap.fill(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)
