"""Limits of this process: memory, CPUs, and the size to which a packed file may unpack.

Linux lets processes allocate more memory than there is and kills one that uses it. So code that may allocate much calls
check_room first, which raises a one-line error if there is too little memory. Control groups (cgroups) limit containers
and batch jobs further; a limit may be set for the group of the process or any group above it. A container usually sees
its own group as the root; a service or a batch job sees the whole tree, and its own group below the root.
"""

import ctypes
import math
import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastff.errors import DataError, NoRoom

if sys.platform != "win32":
    import resource

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lines of HIERARCHY:CONTROLLERS:PATH; that of version 2 is 0::PATH
CPUS = Path("/sys/devices/system/cpu")
SMALL = 16 << 20  # bytes; less is allocated without looking
MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")  # pages of this process: of all its addresses first, of its data and stack sixth
FREELY = 1 << 30  # bytes that any packed file may unpack to, however small it is
THREADS_VARIABLES = "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"
RATIO = 100  # times its size that a larger one may unpack to; deflate reaches 1,032 on zeros, pictures and tables 10


def available() -> int | None:
    """Bytes of memory that this process can still use: the least that the machine, its cgroups and its own limits
    (ulimit -v, ulimit -d) leave. None if unknown."""
    found = list(_own_limits())
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text("utf-8").splitlines())
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


def _own_limits() -> Iterator[int]:
    """The bytes that each limit of this process leaves, of those whose use the system tells."""
    if sys.platform == "win32":  # it has no such limits
        return
    try:
        pages = [int(word) for word in STATM.read_text("utf-8").split()]
        for kind, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
            most = resource.getrlimit(kind)[0]
            if most != resource.RLIM_INFINITY:
                yield max(0, most - used * resource.getpagesize())
    except (OSError, ValueError, IndexError):
        return


def check_room(name: str, size: int) -> None:
    """Raise NoRoom, which names `name`, unless `size` bytes of memory can be used, as far as this is known."""
    if size <= SMALL:
        return
    free = available()
    if free is not None and size > free:
        raise NoRoom(f"{name}: needs {say(size)} of memory, {say(free)} are free")


def check_own_room(name: str, size: int) -> None:
    """Raise NoRoom unless this process's own limits leave so many bytes: what C++ cannot have, ends the process."""
    free = min(_own_limits(), default=size)
    if free < size:
        raise NoRoom(
            f"{name}: needs {say(size)} of memory, this process's limits (ulimit -v, ulimit -d) leave {say(free)}"
        )


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
        lines = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text("utf-8").splitlines())
        return int(lines[key])
    except (OSError, ValueError, KeyError):
        return 0


def usable_cpus() -> int:
    """How many CPUs this process is to use where nobody says how many: all that it may use, as granted_cpus has them.

    No more than OMP_NUM_THREADS and NUMBA_NUM_THREADS say, and one inside a worker of joblib or loky, whose siblings
    use the others.
    """
    return 1 if _is_worker() else int(min(granted_cpus(), *map(_asked, THREADS_VARIABLES)))


def usable_cores() -> int:
    """How many threads are to share work that keeps a core busy: as many as usable_cpus, but one for each core.

    Hyperthreads share the arithmetic units and the first cache of their core: one of them fills both, and all others
    would wait for the two. PyTorch and scikit-learn count alike (scikit-learn's pull request 26082).
    """
    cpus = usable_cpus()
    return min(cpus, cores_of(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else cpus


def cores_of(cpus: Iterable[int]) -> int:
    """On how many cores these CPUs, by their numbers, are; where Linux does not say, each is on one of its own."""
    return len({_core_of(cpu) for cpu in cpus})


@lru_cache(1024)
def _core_of(cpu: int) -> str:
    """The numbers of the CPUs that share a core with this one, it included, as Linux lists them."""
    try:
        return (CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text("utf-8").strip() or str(cpu)
    except (OSError, ValueError):
        return str(cpu)


def granted_cpus() -> int:
    """How many CPUs this process may use: those of its affinity, or fewer if its cgroup has a quota.

    Of a Mac, the performance cores: where all threads share the work evenly, they would wait for one on a slower core.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = _performance_cores() or os.cpu_count() or 1
    return max(1, int(min(count, _cgroup_quota() + 0.999)))


def _performance_cores() -> int:
    """How many of them macOS counts; 0 where it tells no cores apart, and on other systems."""
    count, size = ctypes.c_int(), ctypes.c_size_t(4)
    if sys.platform == "darwin":
        name = b"hw.perflevel0.physicalcpu"
        ctypes.CDLL(None).sysctlbyname(name, ctypes.byref(count), ctypes.byref(size), None, ctypes.c_size_t(0))
    return count.value


def _asked(variable: str) -> float:
    """The number of threads in an environment variable, of which OpenMP's may hold a list; infinity without one."""
    first = os.environ.get(variable, "").split(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and int(first) > 0 else math.inf


def _is_worker() -> bool:
    """Whether joblib runs this thread, or loky this process; neither is imported for this where it is not yet."""
    joblib, processes = sys.modules.get("joblib.parallel"), sys.modules.get("multiprocessing.process")
    get_backend: Any = getattr(joblib, "get_active_backend", None)
    if get_backend is not None and (get_backend()[0].nesting_level or 0) > 0:
        return True
    return processes is not None and type(processes.current_process()).__module__.split(".")[-3:-1] == [
        "loky",
        "backend",
    ]


@lru_cache
def _cgroup_quota(root: Path = ROOT, own: Path = OWN) -> float:
    """The smallest quota of the process's own group and those above it, in CPUs; infinity without a quota."""
    return min((_folder_quota(folder) for folder in folders("cpu", root, own)), default=math.inf)


def _folder_quota(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text("utf-8").split()[:2]  # version 2
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text("utf-8")  # version 1
            period = (folder / "cpu.cfs_period_us").read_text("utf-8")
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
        for line in own.read_text("utf-8").splitlines():
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
        return float(path.read_text("utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return None
