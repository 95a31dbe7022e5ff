"""What the tests of docs/derivations.md share: how exact a result must be, and derivatives to compare formulas with.

U and U64 are the unit roundoffs of float32 and float64: one operation has a relative error of at most U. Derivatives of
smooth functions come from the complex step, f'(x) = Im f(x + ih) / h: its truncation error is h^2 f'''(x) / 6, nothing
at h = 1e-30, and it subtracts nothing, so only the roundings of one evaluation remain, a small multiple of U64 on the
size of the terms.

The formulas of the document are not here. Each test file writes them out as the document has them, so that no mistake
in a shared helper can hide a mistake in the document.
"""

import numpy as np

U = 2.0**-24
U64 = 2.0**-53
EXP = 8  # roundings granted to one exp, log, tanh or sigmoid of a kernel: 4 units in the last place


def generator():
    return np.random.default_rng(0)


def complex_step(f, x):
    """The derivative of f at the real array x, of shape f(x).shape + x.shape."""
    h = 1e-30
    units = np.eye(x.size).reshape(x.size, *x.shape)
    return np.stack([np.imag(f(x + 1j * h * unit)) / h for unit in units], axis=-1).reshape(np.shape(f(x)) + x.shape)


def close(actual, expected, tolerance):
    """Assert |actual - expected| <= tolerance, elementwise; NaN anywhere fails."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected)
    assert (error <= tolerance).all(), f"error {error.max()} above the tolerance {np.max(tolerance)}"


def single(array):
    """The array rounded to float32 and back: numbers that fastff and float64 formulas can share."""
    return np.asarray(array, np.float32).astype(np.float64)
