"""docs/derivations.md, section S: losses on numbers to predict, and targets that are scaled."""

import numpy as np
from derivations import U, close, complex_step, generator, single

import fastff
from fastff.training.given import r2, variation


def problem():
    rng = generator()
    return single(rng.normal(size=(5, 3))), single(rng.integers(0, 4, (5, 3)))


def test_squared_error_gradient():
    """S1: 2 (Z - T) / (B K), with weights in the place of 1 / B."""
    z, t = problem()
    close(2 * (z - t) / 15, complex_step(lambda x: ((x - t) ** 2).sum() / 15, z), 1e-14)
    w = np.arange(5.0)[:, None]
    gradient = complex_step(lambda x: (w * (x - t) ** 2).sum() / (3 * w.sum()), z)
    close(2 * w * (z - t) / (3 * w.sum()), gradient, 1e-14)


def test_fastff_squared_error():
    """S1: fastff's loss, gradient and share of the variation."""
    z, t = problem()
    loss = fastff.SquaredError()
    value = loss.forward(z, t)
    close(value, ((z - t) ** 2).mean(), 8 * U * value)
    close(loss.backward(), 2 * (z - t) / 15, 4 * U * np.abs(z - t))
    varied = ((t - t.mean(0)) ** 2).sum()
    close(variation(t), varied, 1e-12)
    close(r2(15 * value, varied), 1 - ((z - t) ** 2).sum() / varied, 1e-5)


def test_scaled_targets():
    """S2: the loss of scaled targets is that in their own units over sigma^2, and R^2 is the same."""
    z, t = problem()
    z, t = z[:, :1], 100 + 7 * t[:, :1]
    mean, deviation = t.mean(), t.std()
    scaled = (t - mean) / deviation
    outer = fastff.TargetScale([mean], [deviation]).outer(z)
    close((z - scaled) ** 2, (outer - t) ** 2 / deviation**2, 1e-12)
    one, other = (r2(((a - b) ** 2).sum(), variation(b)) for a, b in ((z, scaled), (outer, t)))
    close(one, other, 1e-12)


def test_poisson_gradient():
    """S3: (e^Z - T) / (B K)."""
    z, t = problem()
    close((np.exp(z) - t) / 15, complex_step(lambda x: (np.exp(x) - t * x).sum() / 15, z), 1e-14)


def test_fastff_poisson():
    """S3: fastff's loss and gradient."""
    z, t = problem()
    loss = fastff.PoissonLoss()
    close(loss.forward(z, t), (np.exp(z) - t * z).mean(), 16 * U * (np.exp(z) + np.abs(t * z)).mean())
    close(loss.backward(), (np.exp(z) - t) / 15, 8 * U * (np.exp(z) + t))
