"""Files are written whole or not at all: under a temporary name, flushed to the disk, and renamed to their final name.

So the last good checkpoint survives if a run is killed, or the disk fills up, while the next one is written.
"""

import contextlib
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from fastff.errors import DataError
from fastff.system import clock
from fastff.system.paths import expanded

if sys.platform == "win32":
    import msvcrt

    HELD = 5, 32, 1224  # ERROR_ACCESS_DENIED, _SHARING_VIOLATION, _USER_MAPPED_FILE: somebody has one of the files open
    PATIENCE = 5.0  # seconds that a virus scanner, an indexer or a reader may take with it
    PAUSE = 0.02  # seconds

    def _rename(temporary: Path, final: Path) -> None:
        until = clock.now() + PATIENCE
        while True:
            try:
                return os.replace(temporary, final)
            except OSError as error:
                if error.winerror not in HELD or clock.now() > until:
                    raise
            time.sleep(PAUSE)

    def _lock(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None

    def _unlock(path: Path, descriptor: int) -> None:
        os.close(descriptor)  # no open file can be removed
        with contextlib.suppress(OSError):
            path.unlink()
else:
    import fcntl

    def _rename(temporary: Path, final: Path) -> None:
        """Put a file in the place of another."""
        os.replace(temporary, final)

    def _lock(descriptor: int) -> None:
        """Lock an open file for this process alone; raises BlockingIOError where another one has it locked."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(path: Path, descriptor: int) -> None:
        """Remove the file and its lock. Whoever has opened it meanwhile finds out, and makes another."""
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of an empty temporary file in the same folder, which replaces `path` at the end of the block.

    If the block ends in an exception (also Ctrl-C), the temporary file is removed and `path` stays as it was.
    A symbolic link stays a link: the file it points to is replaced.

    Raises DataError "cannot write PATH: REASON" for every OSError, also for those in the block.
    """
    try:
        final = Path(os.path.realpath(expanded(path)))
        if final.exists() and not final.is_file():  # renaming over /dev/null would replace the device
            raise DataError(f"cannot write {path}: it exists and is not a regular file")
        # The name is cut because a file system allows 255 bytes; 40 characters are at most 160.
        temporary = final.with_name(f".{final.name[:40]}.{secrets.token_hex(8)}.tmp")
        # tempfile would make it private (mode 0600); the renamed file should follow the umask like any other.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            temporary.chmod(mode)  # some writers replace it by a private file
            _flush(temporary)
            _rename(temporary, final)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    # The file is written: a folder that cannot be flushed (Windows, network disks) is no failure.
    with contextlib.suppress(OSError):
        _flush(final.parent)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; raises DataError."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` as UTF-8, line ends as they are, whole or not at all; raises DataError."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"cannot write {path}: {text[error.start]!r} in the text has no UTF-8 form") from error
    write_bytes(path, data)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents if they do not exist; raises DataError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot make this folder: {error.strerror}") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock folder/.lock for the block; raises DataError if another process, or another block of this one, holds it.

    The operating system releases the lock when its process ends, also by a kill; a file left behind locks nothing.
    """
    path = folder / ".lock"
    try:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                raise DataError(f"{folder}: another run is writing to this folder, wait or choose another") from None
            except OSError:  # on a file system without locks the block runs without one
                pass
            # The last owner may have removed the file after it was opened here and before it was locked.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    break
            os.close(descriptor)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        _unlock(path, descriptor)


def file_stamps(paths: Iterable[Path]) -> list[list[Any]]:
    """[name, size in bytes, time of the last change in ns] of each file, by which a later change is noticed."""
    try:
        found = [(path.name, path.stat()) for path in paths]
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None
    return [[name, status.st_size, status.st_mtime_ns] for name, status in found]


def remove_leftovers(folder: Path, names: Collection[str]) -> None:
    """Remove temporary files that a killed `replacing` left. Nobody may be writing files of these names meanwhile."""
    for path in folder.glob(".*"):
        ours = re.fullmatch(r"\.(.+)\.[0-9a-f]{16}\.tmp", path.name)
        if ours and ours[1] in names:
            with contextlib.suppress(OSError):
                path.unlink()


def _flush(path: Path) -> None:
    """Wait until the content of a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        if os.name == "posix" and hasattr(fcntl, "F_FULLFSYNC"):
            # macOS: its fsync leaves the data in the disk's own memory. A network disk may not have the other.
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
                return
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
