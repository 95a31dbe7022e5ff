"""Limits of this process: memory, CPUs, and the size to which a packed file may unpack.

Linux lets processes allocate more memory than there is and kills one that uses it. So code that may allocate much calls
check_room first, which raises a one-line error if there is too little memory. Control groups (cgroups) limit containers
and batch jobs further; a limit may be set for the group of the process or any group above it. A container usually sees
its own group as the root; a service or a batch job sees the whole tree, and its own group below the root.
"""

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from fastff.errors import DataError, NoRoom

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lines of HIERARCHY:CONTROLLERS:PATH; that of version 2 is 0::PATH
SMALL = 16 << 20  # bytes; less is allocated without looking
MEMINFO = Path("/proc/meminfo")
FREELY = 1 << 30  # bytes that any packed file may unpack to, however small it is
RATIO = 100  # times its size that a larger one may unpack to; deflate reaches 1,032 on zeros, pictures and tables 10


def available() -> int | None:
    """Bytes of memory that this process can still use: the least of the machine's and its cgroups'. None if unknown."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError, IndexError):
        pass
    for folder in folders("memory"):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = number(folder / limit), number(folder / used)
            if most is not None and now is not None and most < 1 << 60:  # version 1 writes a larger number for no limit
                found.append(max(0, int(most - now) + _reclaimable(folder, cache)))
    return min(found, default=None)


def check_room(name: str, size: int) -> None:
    """Raise NoRoom, which names `name`, unless `size` bytes of memory can be used, as far as this is known."""
    if size <= SMALL:
        return
    free = available()
    if free is not None and size > free:
        raise NoRoom(f"{name}: needs {say(size)} of memory, {say(free)} are free")


def check_unpacked(name: object, unpacked: int, packed: int, *, in_memory: bool = True) -> None:
    """Raise DataError for a file that unpacks to so much that it must be malicious, NoRoom for lack of memory."""
    if unpacked > max(FREELY, RATIO * packed):
        raise DataError(
            f"{name}: {say(packed)} that unpack to {say(unpacked)}, want at most {RATIO} times the size; "
            "if this is no trap, store it unpacked"
        )
    if in_memory:
        check_room(str(name), unpacked)


def say(size: int) -> str:
    """Bytes in words: "3.2 GB"."""
    if size >= 10**18:
        return f"10^{math.log10(size):.0f} bytes"
    for unit, scale in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size:,} bytes"


def _reclaimable(folder: Path, key: str) -> int:
    """Bytes of file cache that count as used but are given up when needed."""
    try:
        lines = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        return int(lines[key])
    except (OSError, ValueError, KeyError):
        return 0


def usable_cpus() -> int:
    """How many CPUs this process may use: those of its affinity, or fewer if its cgroup has a quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, int(min(count, _cgroup_quota() + 0.999)))


@lru_cache
def _cgroup_quota(root: Path = ROOT, own: Path = OWN) -> float:
    """The smallest quota of the process's own group and those above it, in CPUs; infinity without a quota."""
    return min((_folder_quota(folder) for folder in folders("cpu", root, own)), default=math.inf)


def _folder_quota(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()[:2]  # version 2
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text()  # version 1
            period = (folder / "cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    try:
        limit = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return math.inf
    return limit if limit > 0 else math.inf


def folders(controller: str, root: Path = ROOT, own: Path = OWN) -> Iterator[Path]:
    """The folders of the process's cgroup and of all above it, both of version 2 and of version 1 for `controller`.

    Some may not exist: in a container the path of the group may be one of the host, of which only the root can be seen.
    """
    paths = {"": "/", controller: "/"}
    try:
        for line in own.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names == "" or controller in names.split(","):
                paths[controller if names else ""] = path
    except (OSError, ValueError):  # a system without cgroups
        pass
    for name, path in paths.items():
        folder = root / name / path.lstrip("/")
        for _ in range(1 + len(Path(path.lstrip("/")).parts)):
            if ".." not in folder.parts:  # a path that leaves the container's own root
                yield folder
            folder = folder.parent


def number(path: Path) -> float | None:
    """The first number in a cgroup's file; None without a number or without the file."""
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
