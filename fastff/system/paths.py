"""Paths that people write: ~ is their home folder, also where no shell has put that in its place."""

import os
from contextlib import suppress
from pathlib import Path
from typing import get_type_hints

from fastff.errors import ArgumentError
from fastff.system.arguments import shown

PATH = "path"  # in the type of an option says that it is one


class HasPaths:
    """The base of options: puts the home folder in place of each ~ with which a PATH begins."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if PATH not in getattr(hint, "__metadata__", ()):
                continue
            if value == "":  # as of a variable of the shell that is not set; it would be the current folder
                raise ArgumentError(f"{name}: '', want a path")
            if str(value).startswith("~"):
                object.__setattr__(self, name, str(expanded(value, name)))


def expanded(path: str | os.PathLike[str], name: str = "path") -> Path:
    """The path with the home folder in place of a ~ that it begins with, which shells leave in --out=~/run.

    Every path that users give passes here. ArgumentError, which begins with `name`, for what can be none.
    """
    with suppress(TypeError, ValueError):  # ValueError: of a text that no name of a file can be
        text = os.fspath(path)
        if isinstance(text, str) and b"\0" not in os.fsencode(text):
            return Path(os.path.expanduser(text))
    raise ArgumentError(f"{name}: {shown(path)}, want a path, as a str or an os.PathLike")
