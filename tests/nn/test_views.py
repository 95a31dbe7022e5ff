"""Probabilities averaged over the versions of a picture that a network was trained on."""

import numpy as np
import pytest

from fastff import Augment, Ensemble, FeedForwardNeuralNetwork, LinearLayer
from fastff.nn.views import Views

SHAPE = (3, 6, 5)
FEATURES = 90


def network(*front, seed=0):
    return FeedForwardNeuralNetwork.from_layers([*front, LinearLayer(FEATURES, 4, seed=seed)])


def pictures(dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (7, FEATURES)).astype(dtype)


def moved(rows, down, right, mirror):
    """The picture whose pixel (y, x) is the one at (y + down, x + right), mirrored at the edges; pixel by pixel."""
    _, height, width = SHAPE
    whole, out = rows.reshape(-1, *SHAPE), np.empty((len(rows), *SHAPE), rows.dtype)
    for y in range(height):
        for x in range(width):
            at_y, at_x = (abs(i) if i < n else 2 * n - 2 - i for i, n in ((y + down, height), (x + right, width)))
            out[:, :, y, width - 1 - x if mirror else x] = whole[:, :, at_y, at_x]
    return out.reshape(rows.shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(
    ("front", "mirrors", "steps", "says"),
    [
        ([], (False, True), (0,), "2 versions of each picture: as it is, mirrored"),
        ([Augment(SHAPE)], (False, True), (0,), "2 versions of each picture: as it is, mirrored"),
        (
            [Augment(SHAPE, mirror=False, shift=1)],
            (False,),
            (-1, 0, 1),
            "9 versions of each picture: as it is, each moved by 1 pixel in eight directions",
        ),
        (
            [Augment(SHAPE, shift=4)],
            (False, True),
            (-2, 0, 2),
            "18 versions of each picture: as it is, mirrored, each moved by 2 pixels in eight directions",
        ),
    ],
)
def test_the_mean_of_the_versions_of_the_training(front, mirrors, steps, says, dtype):
    net, rows = network(*front), pictures(dtype)
    views = Views.of(net, SHAPE)
    each = [net.predict_proba(moved(rows, a, b, m)) for m in mirrors for a in steps for b in steps]
    assert len(views) == len(each)
    assert str(views) == says
    np.testing.assert_allclose(views.predict_proba(net, rows), np.mean(each, axis=0, dtype=np.float64), rtol=1e-12)


def test_an_ensemble_and_more_rows_than_a_block(monkeypatch):
    both = Ensemble([network(Augment(SHAPE, shift=1), seed=seed) for seed in (0, 1)])
    views, rows = Views.of(both, SHAPE), pictures()
    whole = views.predict_proba(both, rows)
    monkeypatch.setattr("fastff.nn.views.ROWS", 3)
    np.testing.assert_array_equal(views.predict_proba(both, rows), whole)
    alone = np.mean([views.predict_proba(net, rows) for net in both.networks], axis=0)
    np.testing.assert_allclose(whole, alone, rtol=1e-6)


def test_a_layer_that_changes_pictures_knows_their_shape():
    changed = network(Augment(SHAPE, shift=1))
    assert Views.of(changed, None) == Views.of(changed, SHAPE)
    assert Views.of(Ensemble([changed]), None) == Views.of(changed, SHAPE)
    assert Views.of(network(), None) is None
