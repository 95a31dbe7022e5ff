"""Commands that a person is told to type."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def command_line(words: Sequence[str]) -> str:
    """The words as they are typed into a shell of this system; those of Windows know double quotes alone."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def program(name: str) -> str:
    """How this person calls the command of this name: fastff NAME where `fastff` is what was called."""
    return f"fastff {name}" if Path(sys.argv[0]).stem == "fastff" else f"python -m fastff.{name}"
