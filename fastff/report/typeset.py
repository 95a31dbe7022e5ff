"""Sets the report with Typst, whose compiler and fonts come as one wheel. Only here is typst imported.

Typst writes HTML with MathML from the same source as the PDF, so the mathematics is written once.
"""

import json
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from fastff.errors import DataError, MissingExtra

_SOURCES = ("report.typ", "derivations.typ", "style.css")


def typeset(said: dict[str, Any], pictures: dict[str, bytes], form: Literal["html", "pdf"], *, source: object) -> bytes:
    """The report as one file without links to others. said: from contents; pictures: PNG files by name.

    source is what messages start with, the folder of the run. Raises MissingExtra without typst, DataError for what
    cannot be set, a damaged picture for one.
    """
    try:
        import typst
    except ImportError:
        raise MissingExtra("writing reports needs typst: pip install 'fastff[report]'") from None
    package = files("fastff.report")
    parts = {name: package.joinpath(name).read_bytes() for name in _SOURCES}
    parts |= {"data.json": json.dumps({**said, "pictures": list(pictures)}).encode(), **pictures}
    try:
        with tempfile.TemporaryDirectory() as folder:  # Typst takes pictures from files only
            place = Path(folder)
            for name, data in parts.items():
                (place / name).write_bytes(data)
            main = place / "report.typ"
            # A report of the same run has the same bytes.
            return typst.compile(main, root=place, format=form, sys_inputs={"form": form}, timestamp=0)
    except OSError as error:
        raise DataError(f"cannot set the report in a temporary folder: {error}") from None
    except typst.TypstError as error:
        raise DataError(f"{source}: cannot be set: {error.message}, want files as fastff.train writes them") from None
