"""Layers that change rows at random in training: what they have in common, and Dropout. Augment is another one."""

from functools import partial
from typing import Any

import numpy as np

from fastff.data.rows import check_rows
from fastff.engine.panels import Panels
from fastff.engine.program import MOST_EPOCHS, Program
from fastff.errors import ArgumentError
from fastff.nn.layers import Layer
from fastff.system.arguments import check_count, check_flag, check_number, check_seed, shown
from fastff.system.attributes import Checked


class RandomLayer(Layer):
    """The base of layers that change rows at random while `training` is True, and pass them on as they are otherwise.

    Random numbers are a function of a key, which follows from the seed and is another one for each forward, and of the
    value's place in the batch. So they do not depend on the number of threads.
    """

    training = Checked(partial(check_flag, "training"))

    def __init__(self, seed: int | None) -> None:
        check_seed(seed)
        self.training = True
        self._key = np.zeros(MOST_EPOCHS, np.int64)
        self._key[0] = np.random.SeedSequence(seed).generate_state(1)[0]
        self._passed_on = False  # whether the last forward returned its input

    def reseed(self, keys: list[int]) -> None:
        """Use keys[0] in the next forward, and keys[0] + 1, + 2, ... in those after it; or a key for each epoch."""
        if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_EPOCHS:
            raise ArgumentError(f"keys: {shown(keys)}, want a list of 1 to {MOST_EPOCHS} whole numbers")
        self._key[: len(keys)] = [check_count("keys", key) for key in keys]

    def forward(self, input: np.ndarray) -> np.ndarray:
        """The rows changed at random, or as they are if `training` is False.

        Parameters
        ----------
        input : ndarray of shape (B, features)
            The rows of the batch.

        Returns
        -------
        ndarray of shape (B, features), float32
            The changed rows.
        """
        self._passed_on = not self.training
        if self._passed_on:
            return check_rows(input, "input", features=self.features_in)
        key = self._key  # a program may read it: it stays the same array, and this forward and its backward have a copy
        self._key = key.copy()
        try:
            output = super().forward(input)
        finally:
            self._key = key
        key += 1
        return output

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient of the loss by the input of the last forward.

        Parameters
        ----------
        grad : ndarray of shape (B, features)
            The gradient of the loss by the output of the last forward.

        Returns
        -------
        ndarray of shape (B, features), float32
            The gradient by its input.
        """
        return check_rows(grad, "grad") if self._passed_on else super().backward(grad)


class Dropout(RandomLayer, saved_as="dropout"):
    """In training each value is set to 0 with probability `rate`, and multiplied by 1 / (1 - rate) otherwise.

    So the mean stays the same, and prediction uses the values as they are (Srivastava et al. 2014).

    Parameters
    ----------
    rate : float, default: 0.5
        In [0, 1).
    seed : int, optional
        Makes the choice of values reproducible.

    Examples
    --------
    >>> import numpy as np
    >>> from fastff import Dropout
    >>> layer = Dropout(0.5, seed=0)
    >>> sorted(set(layer.forward(np.ones((4, 100))).ravel().tolist()))
    [0.0, 2.0]
    """

    setting_names = ("rate",)
    rate = Checked(lambda value: check_number("rate", value, 0.0, 1.0))

    def __init__(self, rate: float = 0.5, *, seed: int | None = None) -> None:
        super().__init__(seed)
        self.rate = rate

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        if not (training and self.training):
            return x, None
        return program.dropout(x, self.rate, self._key), self._key

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        return g if saved is None else program.dropout(g, self.rate, saved)
