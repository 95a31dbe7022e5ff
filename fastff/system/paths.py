"""Paths that people write: ~ is their home folder, also where no shell has put that in its place."""

import os
from pathlib import Path
from typing import get_type_hints

PATH = "path"  # in the type of an option says that it is one


class HasPaths:
    """The base of options: puts the home folder in place of each ~ with which a PATH begins."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if PATH in getattr(hint, "__metadata__", ()) and str(value).startswith("~"):
                object.__setattr__(self, name, str(expanded(value)))


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with the home folder in place of a ~ that it begins with, which shells leave in --out=~/run."""
    return Path(os.path.expanduser(path))
