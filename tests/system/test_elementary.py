"""fastff.system.elementary: each function against one of more digits, at the edges too, and the bits that all share."""

import hashlib

import numpy as np
import pytest

from fastff.system import elementary

WIDE = np.longdouble
# On some systems longdouble is float64, and the reference itself is then off by half a unit or a unit
SLACK = 0.0 if np.finfo(WIDE).eps < np.finfo(float).eps else 1.0


def units(found, wanted):
    """The largest error in units in the last place."""
    return float(np.max(np.abs(found - wanted) / np.spacing(np.abs(wanted).astype(float))))


def test_log():
    rng = np.random.default_rng(0)
    near = 1 + np.concatenate([rng.uniform(-1e-3, 1e-3, 1000), 2.0 ** -np.arange(1, 53)])
    x = np.concatenate([np.exp(rng.uniform(-700, 700, 10_000)), near, [5e-324, 1.7e308, np.sqrt(0.5), 2.0]])
    assert units(elementary.log(x), np.log(x.astype(WIDE))) < 2 + SLACK
    assert elementary.log(1.0) == 0


def test_exp():
    x = np.concatenate([-np.random.default_rng(0).uniform(0, 690, 10_000), -(2.0 ** -np.arange(1, 60)), [0.0, -0.0]])
    assert units(elementary.exp(x), np.exp(x.astype(WIDE))) < 2 + SLACK
    assert elementary.exp([0.0, -701.0, -np.inf]).tolist() == [1, 0, 0]
    assert np.isnan(elementary.exp(np.nan))


def test_cosine():
    x = np.linspace(0, 1, 1001)
    assert np.abs(elementary.cos_pi(x) - np.cos(np.pi * x)).max() < 5e-16
    assert elementary.cos_pi([0.0, 0.5, 1.0]).tolist() == [1, 0, -1]


@pytest.mark.parametrize("base", [0.0, 0.5, 0.9, 0.999, 0.999999])
def test_powers(base):
    t = np.concatenate([np.arange(3000), [10**6, 2**20 - 1, 2**20, 3 * 2**20 + 5]])
    found = elementary.powers(base, t)
    # each of the t products is off by half a unit at most
    wanted = WIDE(base) ** t
    assert (np.abs(found - wanted) <= (t + 1 + SLACK) * 2.0**-53 * wanted + 5e-324).all()
    assert [float(elementary.powers(base, np.int64(n))) for n in t[::500]] == found[::500].tolist()


def test_normal_deviates():
    """Their moments, within 5 standard errors, and their distribution: the largest gap by Kolmogorov and Smirnov."""
    n = 200_000
    z = elementary.normal((n,), 0).astype(np.float64)
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    special = pytest.importorskip("scipy.special")
    gap = np.abs(special.ndtr(np.sort(z)) - (np.arange(n) + 0.5) / n).max()
    assert gap < 1.95 / np.sqrt(n)  # passed by one sample in a thousand


def test_normal_deviates_follow_the_inverse_distribution_to_its_ends():
    special = pytest.importorskip("scipy.special")
    bits = np.concatenate([np.arange(100), 2**32 - 1 - np.arange(100), np.arange(0, 2**32, 1 << 20)]).astype(np.uint32)
    wanted = special.ndtri((bits + 0.5) / 2.0**32)
    assert np.abs(elementary._quantiles(bits) - wanted).max() < 2e-6
    assert np.abs(elementary._quantiles(bits) / wanted - 1).max() < 3e-7


def test_normal_deviates_are_of_their_seed():
    first, again = elementary.normal((3, 5), 7), elementary.normal((5, 3), np.random.SeedSequence(7))
    assert first.tobytes() == again.tobytes()
    assert first.dtype == np.float32
    assert elementary.normal((3, 5), None).tobytes() != elementary.normal((3, 5), None).tobytes()


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 1001])
def test_sum_of_rows(rows):
    x = np.random.default_rng(rows).normal(size=(rows, 5))
    wanted = x.astype(WIDE).sum(0)
    assert np.abs(elementary.sum_rows(x.copy()) - wanted).max() <= np.abs(x).sum() * 2.0**-53 * (np.log2(rows) + 1)


def test_softmax():
    z = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * 10
    power = np.exp(z.astype(np.float64) - z.max(1, keepdims=True))
    found = elementary.softmax(z)
    assert found.dtype == np.float32
    # the difference to the largest logit is rounded to float32 first: by 2^-24 of up to 70, which exp passes on
    assert np.abs(found / (power / power.sum(1, keepdims=True)) - 1).max() < 70 * 2.0**-24 + 2.0**-23
    assert elementary.softmax(np.array([[1e4, -1e4, 1e4]], np.float32)).tolist() == [[0.5, 0, 0.5]]
    assert elementary.softmax(np.array([[3e38, -3e38]], np.float32)).tolist() == [[1, 0]]


def test_the_same_bits_as_everywhere():
    """Recorded on x86-64 with AVX-512."""
    x = np.arange(1, 4000) / 7.0
    parts = [
        elementary.log(x), elementary.exp(-x), elementary.cos_pi(x / 600), elementary.powers(0.999, np.arange(5000)),
        elementary.normal((50, 70), 3), elementary.sum_rows(x.reshape(31, -1) / 3),
        elementary.softmax((x % 13).reshape(-1, 31).astype(np.float32)),
    ]  # fmt: skip
    digests = [hashlib.sha256(part.tobytes()).hexdigest()[:8] for part in parts]
    assert digests == ["3d7ba21b", "c7d4ad0c", "5da987bb", "0bc88938", "9a0b0987", "862569b4", "2f19a2c5"]
