"""A file appears whole or not at all, and every failure to write is one line that names the file."""

import os
import re
import stat
import sys
from pathlib import Path

import pytest

from fastff.errors import DataError
from fastff.system import files
from fastff.system.files import file_stamps, replacing, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_writes_bytes_and_text_exactly(tmp_path):
    write_bytes(tmp_path / "data", b"\x00\r\n\xff")
    write_text(str(tmp_path / "text"), "épée\n\r\n終")
    assert (tmp_path / "data").read_bytes() == b"\x00\r\n\xff"
    assert (tmp_path / "text").read_bytes() == "épée\n\r\n終".encode()
    assert names(tmp_path) == ["data", "text"]


def test_a_shorter_text_leaves_nothing_of_the_longer_one(tmp_path):
    path = tmp_path / "config.toml"
    write_text(path, "long" * 100)
    write_text(path, "short")
    assert path.read_text() == "short"


def test_until_the_block_ends_the_target_is_the_old_file(tmp_path):
    path = tmp_path / "weights"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["weights"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "metrics"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # its block ends last
    assert names(tmp_path) == ["metrics"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, DataError])
def test_an_exception_keeps_the_old_file_and_leaves_no_other(tmp_path, error):
    path = tmp_path / "weights"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error, match=r"^stop$"):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["weights"]


def test_an_exception_before_the_first_version_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "weights"):
        _ = 1 / 0
    assert names(tmp_path) == []


def test_an_oserror_in_the_block_names_the_target(tmp_path):
    path = tmp_path / "weights"
    path.write_text("old")
    with pytest.raises(DataError) as caught, replacing(path):
        raise OSError(28, "No space left on device")
    assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["weights"]


def test_a_full_disk_keeps_the_old_file(tmp_path):
    resource = pytest.importorskip("resource", reason="on Windows: files have no such limit")
    path = tmp_path / "weights"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DataError, match=r"^cannot write .*weights: File too large$"):
            write_bytes(path, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["weights"]


@pytest.mark.parametrize("name", ["missing/file", "file/below", "folder"])
def test_a_place_that_cannot_hold_the_file_is_one_line(tmp_path, name):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    with pytest.raises(DataError) as caught:
        write_text(path, "text")
    message = str(caught.value)
    assert message.startswith(f"cannot write {path}: ")
    assert "\n" not in message
    assert names(tmp_path) == ["file", "folder"]


def test_a_device_is_refused_not_replaced():
    with pytest.raises(DataError, match="not a regular file"):
        write_text(os.devnull, "text")
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DataError, match=r"^cannot write .*: Permission denied$"):
            write_text(tmp_path / "file", "text")
    finally:
        tmp_path.chmod(0o700)


def test_text_that_utf8_cannot_hold_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"^cannot write .*name: '\\udcff' in the text"):
        write_text(tmp_path / "name", "folder \udcff")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="on Windows: there are no such permissions")
def test_permissions_follow_the_umask_even_when_the_writer_brings_its_own_file(tmp_path):
    ordinary, ours = tmp_path / "ordinary", tmp_path / "ours"
    ordinary.touch()
    with replacing(ours) as temporary:
        temporary.unlink()
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
    assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="on Windows: links need a privilege")
def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "run-1", tmp_path / "latest"
    link.symlink_to(target)
    write_text(link, "text")
    assert link.is_symlink()
    assert target.read_text() == "text"


def test_names_as_long_as_the_file_system_takes_them(tmp_path):
    path = tmp_path / ("é" * 127)
    write_text(path, "text")
    assert path.read_text() == "text"


def test_stamps_tell_a_changed_file_and_stay_while_nobody_writes(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("one")
    second.write_text("two")
    before = file_stamps([first, second])
    assert file_stamps([first, second]) == before
    assert [name for name, *_ in before] == ["first", "second"]
    second.write_text("three")
    assert file_stamps([first]) == before[:1]
    assert file_stamps([second]) != before[1:]
    os.utime(first, ns=(1, 1))
    assert file_stamps([first]) != before[:1]
    second.unlink()
    with pytest.raises(DataError, match=f"^cannot read {re.escape(str(second))}: "):
        file_stamps([first, second])


if sys.platform == "win32":  # which replaces no file that somebody has open

    def test_a_file_is_replaced_as_soon_as_its_reader_has_gone(tmp_path, monkeypatch):
        path = tmp_path / "file"
        write_text(path, "old")
        with path.open() as reader:
            monkeypatch.setattr(files.time, "sleep", lambda seconds: reader.close())
            write_text(path, "new")
        assert path.read_text() == "new"
        assert names(tmp_path) == ["file"]

    def test_a_reader_that_stays_is_one_line_and_the_file_stays_too(tmp_path, monkeypatch):
        path = tmp_path / "file"
        write_text(path, "old")
        monkeypatch.setattr(files, "PATIENCE", 0.1)
        with path.open(), pytest.raises(DataError, match=rf"^cannot write {re.escape(str(path))}: "):
            write_text(path, "new")
        assert path.read_text() == "old"
        assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no fcntl")
@pytest.mark.parametrize("has_it", [True, False])
def test_on_a_mac_the_disk_itself_is_told_to_write(monkeypatch, tmp_path, has_it):
    called = []

    def tell(descriptor, command):
        called.append(command)
        if not has_it:
            raise OSError(45, "Operation not supported")  # macOS's ENOTSUP, on a network disk

    monkeypatch.setattr(files.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(files.fcntl, "fcntl", tell)
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: called.append("fsync"))
    write_text(tmp_path / "weights", "new")
    assert (tmp_path / "weights").read_text() == "new"
    once = [51] if has_it else [51, "fsync"]
    assert called == once * 2  # the file, and its folder
