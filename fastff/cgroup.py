"""What Linux's control groups allow this process: a limit may stand at its own group or at any group above it.

A container usually sees its group as the root; a service or a batch job sees the whole tree, with its limits further
down. Imports the standard library only.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lines of HIERARCHY:CONTROLLERS:PATH, version 2 with neither number nor controllers


def folders(controller: str, root: Path = ROOT, own: Path = OWN) -> Iterator[Path]:
    """The folders of the process's group and of all above it, in version 2 and in version 1's tree of a controller.

    Some of them may not exist: a container may be told a path that it cannot see, but for the root.
    """
    paths = {"": "/", controller: "/"}
    try:
        for line in own.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names == "" or controller in names.split(","):
                paths[controller if names else ""] = path
    except (OSError, ValueError):  # no such system
        pass
    for name, path in paths.items():
        folder = root / name / path.lstrip("/")
        for _ in range(1 + len(Path(path.lstrip("/")).parts)):
            if ".." not in folder.parts:  # a group beside the container's own root
                yield folder
            folder = folder.parent


def number(path: Path) -> float | None:
    """The first number in a group's file; None where there is none, or no file."""
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
