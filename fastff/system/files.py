"""Every file appears whole or not at all: it is written beside its target, flushed to the disk, then renamed over it.

A run can be killed, or the disk can fill up, in the middle of a checkpoint; the last good one must survive that.
Imports the standard library and fastff.errors only.
"""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from fastff.errors import DataError

if os.name == "posix":
    import fcntl


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of an empty file beside the target; at the end of the block it takes the target's place.

    Whatever leaves the block early (also Ctrl-C) removes the temporary file and leaves the target as it was.
    A symbolic link stays a link: the file it points to is replaced.

    Raises DataError "cannot write PATH: REASON" for every OSError, in the block as well.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():  # renaming over /dev/null would replace the device
            raise DataError(f"cannot write {path}: it exists and is not a regular file")
        # The name is cut so that the temporary one never exceeds a file system's 255 bytes.
        temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.tmp")
        # Made by hand, since tempfile's are private (0600) and the renamed file should follow the umask like any other.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            temporary.chmod(mode)  # some writers put a private file of their own in its place
            _flush(temporary)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    # The new file is in place: a folder that cannot be opened or flushed (Windows, network disks) is no failure.
    with contextlib.suppress(OSError):
        _flush(target.parent)


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
    """Make a folder and those it is in, where they are missing; raises DataError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot make this folder: {error.strerror}") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold folder/.lock for the block: DataError where another process, or another block of this one, holds it.

    The kernel lets go of it when its owner dies, however that happens; the file that is left then locks nothing.
    """
    if os.name != "posix":  # two runs in one folder go unnoticed there
        yield
        return
    path = folder / ".lock"
    try:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise DataError(f"{folder}: another run is writing to this folder, want another one") from None
            except OSError:  # a file system without locks: work goes on without
                pass
            # Its last owner may have removed the file between our opening and our locking it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    break
            os.close(descriptor)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def file_stamps(paths: Iterable[Path]) -> list[list[Any]]:
    """[name, size in bytes, time of the last change in ns] of each file: other stamps mean that a file was changed.

    Raises DataError for a file that cannot be found.
    """
    try:
        found = [(path.name, path.stat()) for path in paths]
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None
    return [[name, status.st_size, status.st_mtime_ns] for name, status in found]


def remove_leftovers(folder: Path, names: Collection[str]) -> None:
    """Remove the temporary files that writers of these names left when they were killed. Nobody may be writing them."""
    for path in folder.glob(".*"):
        ours = re.fullmatch(r"\.(.+)\.[0-9a-f]{16}\.tmp", path.name)
        if ours and ours[1] in names:
            with contextlib.suppress(OSError):
                path.unlink()


def _flush(path: Path) -> None:
    """Have the disk hold what was written to a file, or to a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
