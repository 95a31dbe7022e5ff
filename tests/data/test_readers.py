"""What the readers share: streams in pieces, gzip found by its first bytes. test_files.py has the damaged files."""

import gzip
import io

import pytest

from fastff.data.readers import PIECE, contents, pieces, read_up_to, unzipped


@pytest.mark.parametrize("limit", [0, 1, PIECE, PIECE + 1, 2 * PIECE + 7])
def test_pieces_end_at_the_limit_and_leave_the_rest(limit):
    content = bytes(range(256)) * (3 * PIECE // 256)
    stream = io.BytesIO(content)
    found = list(pieces(stream, limit))
    assert all(0 < len(piece) <= PIECE for piece in found)
    assert b"".join(found) == content[:limit]
    assert stream.read() == content[limit:]


def test_pieces_without_a_limit_go_to_the_end():
    content = b"a" * (PIECE + 5)
    assert b"".join(pieces(io.BytesIO(content))) == content


def test_a_stream_shorter_than_the_limit_is_read_as_far_as_it_goes():
    assert read_up_to(io.BytesIO(b"abc"), 10**18) == b"abc"


@pytest.mark.parametrize("content", [b"", b"\x1f", b"plain text"])
def test_gzip_is_unpacked_and_anything_else_is_read_from_its_start(content):
    assert unzipped(io.BytesIO(content)).read() == content
    assert unzipped(io.BytesIO(gzip.compress(content))).read() == content


def test_a_folder_that_does_not_exist_has_no_contents(tmp_path):
    (tmp_path / "file").write_text("")
    assert contents(tmp_path) == {"file"}
    assert contents(tmp_path / "missing") == set()
