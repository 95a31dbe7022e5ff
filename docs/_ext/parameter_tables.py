"""Tables of parameters and options for the documentation site, made from the code as the site is built.

``parameter-table`` takes a class whose docstring has numpydoc's section Parameters; ``option-table`` a dataclass whose
fields are a command's options, each with a docstring below it; ``field-table`` the same for use in Python.
"""

import dataclasses
import inspect
import re
from importlib import import_module
from typing import Any

from docutils import nodes
from numpydoc.docscrape import NumpyDocString
from sphinx.util.docutils import SphinxDirective

from fastff.system.option_help import field_texts, grouped, written


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


def of_default(default: Any) -> str:
    """How a default is shown; nothing where leaving the option out means something of its own."""
    if default is dataclasses.MISSING or default is None or default == ():
        return ""
    return f"``{' '.join(map(str, default)) if isinstance(default, tuple) else default}``"


def options(cls: type) -> list[list[str]]:
    """Option, default and meaning of each option of a command, in the groups of its help."""
    texts, rows = field_texts(cls), []
    for chosen in grouped(cls).values():
        for spec in chosen:
            default = "" if spec.type is bool else of_default(spec.default)
            rows.append([f"``{re.sub(',(?! )', ', ', written(spec))}``", default, plain(texts[spec.field])])
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
