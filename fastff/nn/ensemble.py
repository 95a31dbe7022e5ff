"""Several trained networks as one model, which mostly predicts better than any of them alone."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from fastff.data.rows import check_rows
from fastff.errors import ArgumentError, DataError
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.predictor import most_likely
from fastff.system import checkpoint, elementary
from fastff.system.arguments import check_list
from fastff.system.attributes import Checked
from fastff.system.blocks import Sliceable


def _check_networks(networks: Any) -> list[FeedForwardNeuralNetwork]:
    """The networks as a list. ArgumentError where there is none, one is no network, or they do not fit together."""
    wanted = "a sequence of FeedForwardNeuralNetworks"
    if isinstance(networks, FeedForwardNeuralNetwork):  # whose items are its layers
        raise ArgumentError(f"networks: {type(networks).__name__}, want {wanted}")
    found = check_list("networks", networks, wanted)
    if not found:
        raise ArgumentError("networks: none, want at least one")
    for i, network in enumerate(found):
        if not isinstance(network, FeedForwardNeuralNetwork):
            raise ArgumentError(f"networks[{i}]: {type(network).__name__}, want a FeedForwardNeuralNetwork")
        for name in ("input_dim", "output_dim", "task"):
            own, first = getattr(network, name), getattr(found[0], name)
            if own is None:
                raise ArgumentError(f"networks[{i}]: no layer of it says its {name}, want one that does")
            if own != first:
                raise ArgumentError(f"networks[{i}]: {name} {own}, want {first} as networks[0] has it")
    return found


class Ensemble:
    """A model whose probabilities, or predicted numbers, are the mean of those of several networks.

    fastff.evaluate takes an ensemble as it takes a network.

    Parameters
    ----------
    networks : sequence of FeedForwardNeuralNetwork
        At least one, all for rows of the same width, for the same number of classes or outputs, and of one task. They
        are not copied.

    Raises
    ------
    ArgumentError
        For networks that do not fit together.

    Examples
    --------
    >>> from fastff import Ensemble, FeedForwardNeuralNetwork, load_dataset
    >>> data = load_dataset("digits")
    >>> ensemble = Ensemble([FeedForwardNeuralNetwork(64, 10, [16], seed=seed) for seed in range(3)])
    >>> ensemble.predict_proba(data.x_test).shape
    (360, 10)
    """

    networks = Checked(_check_networks)

    def __init__(self, networks: Sequence[FeedForwardNeuralNetwork]) -> None:
        self.networks = networks

    @property
    def input_dim(self) -> int:
        """How many values a row has."""
        return self.networks[0].input_dim

    @property
    def output_dim(self) -> int:
        """How many classes or outputs there are."""
        return self.networks[0].output_dim

    @property
    def task(self) -> str:
        """ "classify", or "regress" where the networks predict numbers."""
        return self.networks[0].task

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """The mean probability of each class for each row.

        Parameters
        ----------
        X : ndarray of shape (N, input_dim)
            The rows.

        Returns
        -------
        ndarray of shape (N, output_dim), float32
            The probabilities; rows sum to 1.
        """
        return (self._sum("predict_proba", X) / len(self.networks)).astype(np.float32)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The number of the most likely class of each row, or the mean of the numbers that are predicted.

        Parameters
        ----------
        X : ndarray of shape (N, input_dim)
            The rows.

        Returns
        -------
        ndarray of shape (N,), int64
            The classes. Where the task is "regress", float64 of shape (N,), or (N, outputs).
        """
        if self.task == "classify":
            return most_likely(self.predict_proba(X))
        return self._sum("predict", X) / len(self.networks)

    def _sum(self, method: str, X: np.ndarray) -> np.ndarray:
        """The sum of what this method of each network gives, float64. ArgumentError where they no longer fit."""
        networks = _check_networks(self.networks)
        X = check_rows(X, "X", features=self.input_dim)
        total = getattr(networks[0], method)(X).astype(np.float64)
        for network in networks[1:]:
            total += getattr(network, method)(X)
        return total

    def forward(self, X: np.ndarray) -> np.ndarray:
        """Logits of the rows, which are the logarithms of the mean probabilities.

        Parameters
        ----------
        X : ndarray of shape (N, input_dim)
            The rows.

        Returns
        -------
        ndarray of shape (N, output_dim), float32
            The logits. Where the task is "regress", the numbers that are predicted.
        """
        if self.task == "regress":
            return self.predict(X).reshape(-1, self.output_dim).astype(np.float32)
        return elementary.log(np.maximum(self.predict_proba(X), np.finfo(np.float32).tiny)).astype(np.float32)

    def save(self, path: str | PathLike[str], description: dict[str, Any] | None = None) -> None:
        """Write all networks to one safetensors file at path, which appears whole or not at all.

        Parameters
        ----------
        path : str or path-like
            The file.
        description : dict, optional
            More that the file should hold, as values of JSON.

        Raises
        ------
        DataError
            If it can't be written.
        """
        arrays: dict[str, Sliceable] = {}
        layers = []
        for i, network in enumerate(self.networks):
            own, description_of_layers = network.contents()
            arrays |= {f"{i}/{name}": array for name, array in own.items()}
            layers.append(description_of_layers)
        checkpoint.save(path, arrays, {"networks": layers, **self.networks[0].notes(), **(description or {})})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Ensemble":
        """The ensemble that `save` wrote to path.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        Ensemble
            The same networks.

        Raises
        ------
        DataError
            If the file is no whole ensemble.
        """
        return cls.holding(*checkpoint.load(path), path)

    @classmethod
    def holding(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any], path: object) -> "Ensemble":
        """The ensemble of the arrays and metadata of the file at path; DataError, naming the file, if there is none."""
        descriptions, networks = metadata.get("networks"), []
        if not isinstance(descriptions, list) or not descriptions:
            raise DataError(f"{path}: has no list of networks, want a file that Ensemble.save wrote")
        for i, layers in enumerate(descriptions):
            own = {name.removeprefix(f"{i}/"): array for name, array in arrays.items() if name.startswith(f"{i}/")}
            networks.append(FeedForwardNeuralNetwork.holding(own, layers, f"{path}, network {i}", metadata))
        try:
            return cls(networks)
        except ArgumentError as error:
            raise DataError(f"{path}: {error}") from None
