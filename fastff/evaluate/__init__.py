"""How good a model is: `fastff.evaluate` is the function, and `python -m fastff.evaluate` (__main__.py) the command."""

from fastff.training.evaluation import evaluate

__all__ = ["evaluate"]
