"""scikit-learn's MLPClassifier and MLPRegressor on fastff's kernels: change the import, and nothing else."""

from fastff.errors import MissingExtra

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingExtra.of("fastff.sklearn needs scikit-learn", '"fastff[sklearn]"', error) from None

from fastff.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
