"""Tables of parameters and options for the documentation site, made from the code as the site is built.

``parameter-table`` takes a class whose docstring has numpydoc's section Parameters; ``option-table`` a dataclass whose
fields are a command's options, each with a docstring below it; ``field-table`` the same for use in Python.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from docutils import nodes
from numpydoc.docscrape import NumpyDocString
from sphinx.util.docutils import SphinxDirective

POSITIONAL = get_args(tyro.conf.Positional[str])[1]


def no_arguments(gallery, variables):
    """The command line of an example in the gallery: no arguments."""
    return []


def found(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def parameters(cls: type) -> list[list[str]]:
    """Name and type, default, and meaning of each parameter of a class."""
    defaults = inspect.signature(cls).parameters
    rows = []
    for name, kind, text in NumpyDocString(inspect.getdoc(cls) or "")["Parameters"]:
        for one in name.split(", "):
            default = defaults[one].default
            shown = "" if default is inspect.Parameter.empty else f"``{default!r}``"
            kind = re.sub(", (optional|default: .*)$", "", kind)
            rows.append([f"``{one}``", kind, shown, " ".join(text)])
    return rows


def field_texts(cls: type) -> dict[str, str]:
    """The docstring below each field of a dataclass."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def value_of(hint: Any) -> str:
    """What stands behind an option on the command line."""
    notes = notes_of(hint)
    for note in notes:
        if getattr(note, "metavar", None):
            return note.metavar.replace(",", ", ")
    if notes:
        return value_of(hint.__origin__)
    if get_origin(hint) is Literal:
        return "{" + ", ".join(get_args(hint)) + "}"
    if get_origin(hint) is tuple:
        return value_of(get_args(hint)[0]) + " ..."
    if get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        return value_of(next(part for part in get_args(hint) if part is not type(None)))
    return {int: "N", float: "F", str: "TEXT", bool: ""}[hint]


def of_default(default: Any) -> str:
    """How a default is shown; nothing where leaving the option out means something of its own."""
    if default is dataclasses.MISSING or default is None or default == ():
        return ""
    return f"``{' '.join(map(str, default)) if isinstance(default, tuple) else default}``"


def notes_of(hint: Any) -> tuple[Any, ...]:
    return hint.__metadata__ if get_origin(hint) is Annotated else ()


def options(cls: type) -> list[list[str]]:
    """Option, default and meaning of each field of a command's dataclass."""
    hints, texts, rows = get_type_hints(cls, include_extras=True), field_texts(cls), []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        notes = notes_of(hint)
        text = texts.get(field.name) or next((note.help for note in notes if getattr(note, "help", None)), "")
        name = field.name.replace("_", "-")
        option = value_of(hint)
        if POSITIONAL not in notes:
            aliases = [alias for note in notes for alias in getattr(note, "aliases", None) or ()]
            names = [f"--no-{name}" if field.default is True else f"--{name}", *aliases]
            option = f"{', '.join(names)} {option}".strip()
        default = "" if isinstance(field.default, bool) else of_default(field.default)
        rows.append([f"``{option}``", default, plain(text)])
    return rows


def config_fields(cls: type) -> list[list[str]]:
    """Name, default and meaning of each field of a dataclass."""
    texts = field_texts(cls)
    return [[f"``{f.name}``", of_default(f.default), plain(texts[f.name])] for f in dataclasses.fields(cls)]


def plain(text: str) -> str:
    """A text as reStructuredText, in one line."""
    return " ".join(text.split()).replace("*", r"\*")


class Table(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = [
            ".. list-table::",
            "   :header-rows: 1",
            f"   :widths: {self.widths}",
            f"   :class: parameters {self.name}",
            "",
        ]
        for row in [self.heads, *self.rows(found(self.arguments[0]))]:
            lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
        return self.parse_text_to_nodes("\n".join(lines))


class ParameterTable(Table):
    heads, widths = ("name", "type", "default", "meaning"), "20 22 16 42"
    rows = staticmethod(parameters)


class OptionTable(Table):
    heads, widths = ("option", "default", "meaning"), "32 14 54"
    rows = staticmethod(options)


class FieldTable(Table):
    heads, widths = ("field", "default", "meaning"), "24 16 60"
    rows = staticmethod(config_fields)


def setup(app):
    app.add_directive("field-table", FieldTable)
    app.add_directive("parameter-table", ParameterTable)
    app.add_directive("option-table", OptionTable)
    return {"parallel_read_safe": True}
