"""`fastff.evaluate` is the function that measures a model; `python -m fastff.evaluate` (__main__.py) is the command."""

from fastff.training.evaluation import evaluate

__all__ = ["evaluate"]
