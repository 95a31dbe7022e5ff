"""fastff.nn.components: variances and directions against LAPACK's, outright and by subspace iteration."""

import numpy as np
import pytest

from fastff.nn import components


def covariance(features, decay):
    """One with variances 1, 1/2^decay, 1/3^decay, ..."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(features, features)))[0]
    return ((basis * np.arange(1.0, features + 1) ** -decay) @ basis.T).astype(np.float32)


@pytest.mark.parametrize(("features", "count"), [(40, 40), (40, 7), (520, 5), (520, 100), (520, 520)])
def test_variances_and_directions(features, count):
    own = covariance(features, 1.5)
    variances, directions = components.principal_components(own, count)
    wanted = np.linalg.eigvalsh(own.astype(np.float64))[::-1][:count]
    assert directions.shape == (count, features)
    assert directions.dtype == np.float32
    assert np.abs(directions @ directions.T - np.eye(count)).max() < 1e-6
    assert np.abs(directions @ own @ directions.T - np.diag(variances)).max() < 1e-6
    # each round divides what is missing of a direction by how much smaller the first variance is that was left out
    assert (np.abs(variances - wanted) <= 2e-3 * wanted + 1e-6).all()
    assert variances.sum() >= (1 - 1e-4) * wanted.sum()


def test_directions_without_variance_do_not_disturb_the_others():
    own = covariance(600, 2.0)
    own[300:] = own[:, 300:] = 0.0
    variances, directions = components.principal_components(own, 400)
    assert np.isfinite(directions).all()
    assert np.allclose(variances[:20], np.linalg.eigvalsh(own.astype(np.float64))[::-1][:20], rtol=1e-3)
    assert np.abs(variances[300:]).max() < 1e-6
