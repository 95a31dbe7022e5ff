"""Damages a file's bytes at random: what fuzz_loaders.py feeds to everything that reads a file."""

import random

EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1,
            (1 << 64) - 1]  # fmt: skip
TEXTS = [b"-1", b"1e999", b"nan", b"9" * 30, b"[" * 2000, b"\x00", b"\xff\xfe", b'"', b"{", b"\n", b"null", b"True",
         b"../../x"]  # fmt: skip


def mutate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """data with one to four damages."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        at = _place(rng, len(out))
        kind = rng.randrange(9)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = rng.randrange(256)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.choice((1, 2, 4, 8, 64, 512))]
        elif kind == 4:
            piece = bytes(out[at : at + rng.choice((1, 4, 16, 100, 512))])
            out[at:at] = piece * rng.choice((1, 1, 2, 50))
        elif kind == 5:
            other = rng.choice(others)
            start = _place(rng, len(other))
            out[at : at + rng.choice((0, 8, 100))] = other[start : start + rng.choice((4, 40, 400))]
        elif kind == 6:
            size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
            value = (rng.choice(EXTREMES) + rng.choice((-1, 0, 0, 0, 1))) % (1 << (8 * size))
            out[at : at + size] = value.to_bytes(size, order)
        elif kind == 7:
            text = rng.choice(TEXTS)
            out[at : at + rng.choice((0, 1, len(text)))] = text
        else:
            _other_digits(rng, out)
    return bytes(out)


def _place(rng: random.Random, size: int) -> int:
    """Headers stand at the start, and a zip's and Parquet's at the end."""
    return rng.choice((rng.randrange(size + 1), rng.randrange(min(size, 200) + 1), max(0, size - rng.randrange(300))))


def _other_digits(rng: random.Random, out: bytearray) -> None:
    """Another number for one that is written in digits."""
    digits = [i for i, byte in enumerate(out[:4000]) if 48 <= byte < 58]
    if digits:
        at = rng.choice(digits)
        end = at
        while end < len(out) and 48 <= out[end] < 58:
            end += 1
        out[at:end] = str(rng.choice(EXTREMES)).encode()
