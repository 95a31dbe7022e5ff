"""scikit-learn's own tests of its estimators, as the installed scikit-learn has them, with the import changed."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # that suite turns few warnings into errors, ours all

_FOUND = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
assert _FOUND is not None
assert _FOUND.origin is not None
_THEIRS = Path(_FOUND.origin).read_text()
_OURS = _THEIRS.replace("from sklearn.neural_network import", "from fastff.sklearn import")
assert _OURS != _THEIRS
exec(compile(_OURS, _FOUND.origin, "exec"), globals())


@pytest.fixture
def global_random_seed():
    """What their conftest gives where no environment variable asks for more."""
    return 42


def test_all_of_it_is_here():
    from fastff import sklearn as ours

    assert globals()["MLPClassifier"] is ours.MLPClassifier
    assert globals()["MLPRegressor"] is ours.MLPRegressor
    assert len([name for name in globals() if name.startswith("test_")]) == _THEIRS.count("\ndef test_") + 1
