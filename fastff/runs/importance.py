"""What each column of a table is worth to a model: how much worse it predicts where that column is shuffled.

This is permutation importance (Breiman 2001, "Random forests", 10), by scikit-learn. The inputs that one column becomes
are shuffled together.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np

from fastff.data.columns import Schema

MOST_ROWS = 2000  # that are looked at; more would make the picture no clearer
REPEATS = 5


def can_measure() -> bool:
    """Whether scikit-learn is installed, and no mere folder of its name is found."""
    found = find_spec("sklearn")
    return found is not None and found.origin is not None


def column_importances(network: Any, schema: Schema, rows: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The loss of accuracy, or of r2, by each column that the model learned from, the mean of five shuffles.

    Parameters
    ----------
    network : FeedForwardNeuralNetwork or Ensemble
        Takes the rows.
    schema : Schema
        Says which inputs belong to which column.
    rows : ndarray of shape (N, inputs)
        As `schema.rows` returns them; the first 2,000 are used.
    labels : ndarray of shape (N,) or (N, outputs)
        As `schema.labels` returns them.

    Returns
    -------
    dict of str to float
        By the names of columns, in the order of the table; 0 and less for a column that is of no use.
    """
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import accuracy_score, r2_score

    rows, labels = rows[:MOST_ROWS], labels[:MOST_ROWS]
    used = [column for column in schema.columns if column.features]
    column_of = np.repeat(np.arange(len(used)), [len(column.features) for column in used])
    inputs = np.arange(len(column_of))

    def score(_: Any, places: np.ndarray, truth: np.ndarray) -> float:
        # places has a column for each of the table's, with the number of the row that its inputs are taken from.
        mixed = rows[places[:, column_of], inputs]
        predicted = network.predict(mixed)
        return float((accuracy_score if schema.task == "classify" else r2_score)(truth, predicted))

    places = np.repeat(np.arange(len(rows))[:, None], len(used), axis=1)
    found = permutation_importance(_Fitted(), places, labels, scoring=score, n_repeats=REPEATS, random_state=0)
    return {column.name: float(mean) for column, mean in zip(used, found.importances_mean, strict=True)}


class _Fitted:
    """What scikit-learn takes for an estimator; the score has the model."""

    def fit(self, *_: Any) -> None:
        """Never called."""
