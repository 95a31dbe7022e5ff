"""Functions that have the same bits on every machine: of NumPy's operations only those that IEEE 754 fixes.

NumPy's exp, log, cos and power, and its normal deviates, come from the C library or from code for the CPU's own
vectors, and each of them has other last bits; how `sum` groups its terms is NumPy's own affair. Sums, products,
quotients and square roots of single numbers are the same everywhere, and these functions consist of them. The kernels
have their own (fastff.kernels.pointwise).
"""

from functools import lru_cache

import numpy as np

# Wichura (1988), "The Percentage Points of the Normal Distribution", AS 241, PPND7: from the middle of the
# distribution, and from its tails
_MIDDLE = (
    (3.3871327179, 5.0434271938e1, 1.5929113202e2, 5.9109374720e1),
    (1.0, 1.7895169469e1, 7.8757757664e1, 6.7187563600e1),
)
_TAIL = (1.4234372777, 2.7568153900, 1.3067284816, 1.7023821103e-1), (1.0, 7.3700164250e-1, 1.2021132975e-1)
_AT_ONCE = 1 << 14  # deviates whose intermediate values stay in a core's own cache
_POWERS = 1024  # of a base that are kept
_LN2 = 0.6931471803691238, 1.9082149292705877e-10  # ln 2, the first part with zeros enough for whole multiples of it


def polynomial(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """c0 + c1 x + c2 x^2 + ..., from the last term to the first (Horner)."""
    value = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        value *= x
        value += c
    return value


def log(x: np.ndarray) -> np.ndarray:
    """ln x for positive finite numbers, float64, within 2 units in the last place."""
    m, k = np.frexp(np.asarray(x, np.float64))
    low = m < np.sqrt(0.5)
    m, k = np.where(low, 2.0 * m, m), k - low
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    series = polynomial(square, tuple(1.0 / n for n in range(3, 23, 2)))
    return k * _LN2[0] + (2.0 * s + (2.0 * s * square * series + k * _LN2[1]))


def exp(x: np.ndarray) -> np.ndarray:
    """e^x for x <= 0, float64, within 2 units in the last place; 0 below -700, NaN for NaN."""
    x = np.asarray(x, np.float64)
    clamped = np.where(x < -700.0, -700.0, x)
    k = np.rint(clamped * (1.0 / np.log(2.0)))
    r = (clamped - k * _LN2[0]) - k * _LN2[1]
    factorials = np.multiply.accumulate([1.0, *range(1, 14)])
    power = polynomial(r, tuple(1.0 / factorials))
    whole = np.where(np.isnan(k), 0.0, k).astype(np.int32)
    return np.where(x < -700.0, 0.0, np.ldexp(power, whole))


def cos_pi(x: np.ndarray) -> np.ndarray:
    """cos(pi x) for x from 0 to 1, within 3e-16: the sine of pi (1/2 - x), by its series."""
    u = np.pi * (0.5 - np.asarray(x, np.float64))
    factorials = np.multiply.accumulate([1.0, *range(1, 24)])
    return u * polynomial(u * u, tuple((-1.0) ** i / factorials[2 * i + 1] for i in range(12)))


def powers(base: float, exponents: np.ndarray) -> np.ndarray:
    """base^t for each t of exponents, whole numbers from 0 on: float64 of their shape."""
    low = _table(base)[exponents % _POWERS]
    high = exponents // _POWERS
    if not high.any():
        return low
    return low * powers(float(_table(base)[-1]) * base, high)


@lru_cache(maxsize=64)
def _table(base: float) -> np.ndarray:
    """base^0, base^1, ..."""
    return np.multiply.accumulate(np.concatenate([np.ones(1), np.full(_POWERS - 1, base)]))


def normal(shape: tuple[int, ...], seed: int | np.random.SeedSequence | None) -> np.ndarray:
    """Standard normal deviates, float32: the inverse of the distribution at numbers that are uniform in (0, 1).

    They are made of 32 random bits each, so none is beyond 6.4.
    """
    out = np.empty(shape, np.float32)
    bits = np.random.PCG64(seed).random_raw((out.size + 1) // 2).astype("<u8", copy=False).view("<u4")[: out.size]
    flat = out.reshape(-1)
    for i in range(0, out.size, _AT_ONCE):
        flat[i : i + _AT_ONCE] = _quantiles(bits[i : i + _AT_ONCE])
    return out


def _quantiles(bits: np.ndarray) -> np.ndarray:
    """Where the normal distribution reaches (bits + 1/2) / 2^32."""
    q = (bits.astype(np.float64) + 0.5) * 2.0**-32 - 0.5
    square = 0.180625 - q * q
    found = q * polynomial(square, _MIDDLE[0]) / polynomial(square, _MIDDLE[1])
    tails = np.flatnonzero(square < 0.0)
    r = np.sqrt(-log(0.5 - np.abs(q[tails]))) - 1.6
    found[tails] = np.copysign(polynomial(r, _TAIL[0]) / polynomial(r, _TAIL[1]), q[tails])
    return found


def sum_rows(rows: np.ndarray) -> np.ndarray:
    """The sum of each column of rows (N, D), in pairs of rows, pairs of these sums and so on; rows are overwritten."""
    while len(rows) > 1:
        half = (len(rows) + 1) // 2
        rows[: len(rows) - half] += rows[half:]
        rows = rows[:half]
    return rows[0].copy()


def softmax(logits: np.ndarray) -> np.ndarray:
    """The probabilities (N, C) of the classes, of logits (N, C), in float32 or float64 as these are."""
    with np.errstate(over="ignore"):  # the difference of two logits may leave float32's range, which gives 0
        powers_of_e = exp(logits - logits.max(1, keepdims=True))
    return (powers_of_e / sum_rows(powers_of_e.T.copy())[:, None]).astype(logits.dtype)
