"""Typesets the report with Typst; the package typst brings the compiler and the fonts, and is optional.

Typst makes both HTML (with MathML) and PDF from one source, so that the mathematics is written only once.
"""

import json
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from fastff.errors import DataError, MissingExtra

_SOURCES = ("report.typ", "derivations.typ", "style.css", "page.js")


def typeset(said: dict[str, Any], pictures: dict[str, bytes], form: Literal["html", "pdf"], *, source: object) -> bytes:
    """The report as one file that needs no other files. said: from `contents`. pictures: PNG files by name.

    source: the folder of the run, with which error messages start. Raises MissingExtra if typst is not installed, and
    DataError for what Typst cannot use, such as a damaged picture.
    """
    try:
        import typst
    except ImportError as error:
        raise MissingExtra.of("writing reports needs typst", '"fastff[report]"', error) from None
    package = files("fastff.report")
    parts = {name: package.joinpath(name).read_bytes() for name in _SOURCES}
    parts |= {"data.json": json.dumps(said).encode(), **pictures}
    try:
        with tempfile.TemporaryDirectory() as folder:  # Typst reads pictures only from files
            place = Path(folder)
            for name, data in parts.items():
                (place / name).write_bytes(data)
            main = place / "report.typ"
            # With a fixed timestamp, two reports on the same run have the same bytes.
            return typst.compile(main, root=place, format=form, sys_inputs={"form": form}, timestamp=0)
    except OSError as error:
        raise DataError(f"cannot set the report in a temporary folder: {error}") from None
    except typst.TypstError as error:
        raise DataError(f"{source}: cannot be set: {error.message}, want files as fastff.train writes them") from None
