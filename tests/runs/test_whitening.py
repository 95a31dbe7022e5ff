"""The layer that whitens is fitted once for the same rows, and again for any others."""

import numpy as np
import pytest

from fastff import Standardize, Whiten
from fastff.errors import DataError
from fastff.runs import whitening

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 7)).astype(np.float32)


@pytest.fixture
def fits(monkeypatch, tmp_path):
    """How often a layer was fitted; what is kept is kept in a folder of the test's own."""
    counted, fit = [], Whiten.fit
    monkeypatch.setattr(whitening, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(Whiten, "fit", lambda *a, **k: counted.append(a) or fit(*a, **k))
    return counted


def same(one, two):
    return one.projection.tobytes() == two.projection.tobytes() and one.shift.tobytes() == two.shift.tobytes()


def test_the_same_rows_are_whitened_by_the_same_bits_without_fitting_again(fits):
    after = Standardize.fit(X)
    first, again = whitening.whiten(X, 3, after), whitening.whiten(X.copy(order="F"), 3, after)
    assert len(fits) == 1
    assert same(first, again)
    assert same(again, Whiten.fit(X, 3, after=after))


def test_anything_else_is_fitted_anew(fits):
    changed, other = X.copy(), X.copy()
    changed[-1, -1] += 1e-6
    other[:, 0] *= 2
    ways = [
        (X, 3, None), (X, 4, None), (changed, 3, None), (X[:-1], 3, None), (X.astype(np.float64), 3, None),
        (X, 3, Standardize.fit(X)), (X, 3, Standardize.fit(other)),
    ]  # fmt: skip
    for number, way in enumerate(ways, 1):
        whitening.whiten(*way)
        assert len(fits) == number


def test_other_code_fits_anew(fits, monkeypatch):
    whitening.whiten(X, 3, None)
    monkeypatch.setattr(whitening, "source", lambda module: module.encode())
    whitening.whiten(X, 3, None)
    assert len(fits) == 2


@pytest.mark.parametrize("harm", ["cut", "changed", "other"])
def test_a_damaged_file_is_made_anew(fits, tmp_path, harm):
    whitening.whiten(X, 3, None)
    (file,) = (tmp_path / "whitening").iterdir()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    whitening.checkpoint.save(tmp_path / "other", {"projection": np.ones((7, 2)), "shift": np.ones(2)}, {})
    new = {"cut": content[:100], "changed": content, "other": (tmp_path / "other").read_bytes()}[harm]
    file.write_bytes(new)
    assert same(whitening.whiten(X, 3, None), Whiten.fit(X, 3))
    whitening.whiten(X, 3, None)
    assert len(fits) == 3  # the first, the one after the harm, and this test's own


def test_without_a_place_to_keep_it_it_is_fitted_each_time(fits, monkeypatch, tmp_path):
    for folder in (None, tmp_path / "missing"):
        monkeypatch.setattr(whitening, "cache_dir", lambda folder=folder: folder)
        fits.clear()
        for _ in range(2):
            whitening.whiten(X, 3, None)
        assert len(fits) == 2


def test_a_file_is_kept_for_few_layers_only(fits, tmp_path, monkeypatch):
    monkeypatch.setattr(whitening, "KEPT", 2)
    for components in (1, 2, 3, 4):
        whitening.whiten(X, components, None)
    assert len([*(tmp_path / "whitening").iterdir()]) == 2


def test_rows_that_cannot_be_whitened_are_refused_as_ever(fits, tmp_path):
    bad = X.copy()
    bad[3, 2] = np.nan
    for _ in range(2):
        with pytest.raises(DataError, match="X: nan at row 3"):
            whitening.whiten(bad, 3, None)
    assert not (tmp_path / "whitening").exists()
