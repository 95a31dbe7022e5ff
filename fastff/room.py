"""Whether there is memory for what is asked: refused in one line before it is allocated, not killed half-way.

Linux hands out more memory than it has and ends a process that uses it; so what may become large asks here first.
Imports fastff.cgroup and fastff.errors only.
"""

import math
from pathlib import Path

from fastff import cgroup
from fastff.errors import DataError, NoRoom

SMALL = 16 << 20  # bytes that nobody need ask for
MEMINFO = Path("/proc/meminfo")
FREELY = 1 << 30  # bytes that a packed file may unpack to, however small it is
RATIO = 100  # times its size that it may unpack to beyond that: deflate reaches 1,032 on zeros, pictures and tables 10


def available() -> int | None:
    """Bytes that this process can still use: what the machine has free, within its control groups. None: unknown."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError, IndexError):
        pass
    for folder in cgroup.folders("memory"):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = cgroup.number(folder / limit), cgroup.number(folder / used)
            if most is not None and now is not None and most < 1 << 60:  # version 1's word for no limit is larger
                found.append(max(0, int(most - now) + _reclaimable(folder, cache)))
    return min(found, default=None)


def check_room(name: str, size: int) -> None:
    """NoRoom unless there are `size` bytes for what is called `name`."""
    if size <= SMALL:
        return
    there = available()
    if there is not None and size > there:
        raise NoRoom(f"{name}: needs {say(size)} of memory, {say(there)} are there")


def check_unpacked(name: object, unpacked: int, packed: int, *, in_memory: bool = True) -> None:
    """DataError where a file of `packed` bytes unpacks to so many that it must be a trap; NoRoom where memory lacks."""
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
