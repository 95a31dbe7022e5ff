"""scikit-learn's MLPClassifier and MLPRegressor on fastff's kernels: change the import, and nothing else."""

from fastff.errors import MissingExtra

try:
    import sklearn  # noqa: F401
except ImportError:
    raise MissingExtra('fastff.sklearn needs scikit-learn: pip install "fastff[sklearn]"') from None

from fastff.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
