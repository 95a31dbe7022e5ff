"""The layers that draw at random in training: Augment on pictures, Dropout on hidden values."""

from typing import Any

import numpy as np

from fastff.data.rows import Rows, check_rows
from fastff.engine.program import Panels, Program
from fastff.errors import ArgumentError
from fastff.nn.layers import Layer
from fastff.system.arguments import check_number, check_seed, check_size

MOST_EPOCHS = 64  # that one native call may train, as each needs a key of its own


class RandomLayer(Layer):
    """What draws at random in training and not in prediction: `training` says which forward does.

    What is drawn is a function of the seed and of counters, so that it does not depend on the number of threads.
    """

    def __init__(self, seed: int | None) -> None:
        check_seed(seed)
        self.training = True
        self._key = np.zeros(MOST_EPOCHS, np.int64)
        self._key[0] = np.random.SeedSequence(seed).generate_state(1)[0]
        self._passed_on = False  # whether the last forward did nothing

    def reseed(self, keys: list[int]) -> None:
        """Draw with the first key next, and with key + 1, key + 2, ... after that; the others are for later epochs."""
        self._key[: len(keys)] = keys

    def forward(self, input: np.ndarray) -> np.ndarray:
        """input (B, D) changed at random where `training`, else as it is."""
        self._passed_on = not self.training
        if self._passed_on:
            return check_rows(input, "input", features=self.features_in)
        output = super().forward(input)
        self._key = self._key + 1  # a new array: a backward to come still has the old one
        return output

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient of the input, given that of the output of the last forward."""
        return check_rows(grad, "grad") if self._passed_on else super().backward(grad)


class Augment(RandomLayer):
    """Changes pictures at random in training, so that the network sees each in many versions; the first layer, if any.

    Each row (channels * height * width values of image_shape, plane by plane) is mirrored left to right with
    probability 1/2 if `mirror`, and shifted by up to `shift` pixels each way, reflected at the edges.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], *, mirror: bool = True, shift: int = 0, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        if not isinstance(image_shape, tuple | list) or len(image_shape) != 3:
            raise ArgumentError(f"image_shape: {image_shape!r}, want (channels, height, width)")
        channels, height, width = (check_size("image_shape", n) for n in image_shape)
        self.image_shape = channels, height, width
        if isinstance(shift, bool) or not isinstance(shift, int | np.integer) or not 0 <= shift < min(height, width):
            raise ArgumentError(f"shift: {shift!r}, want a whole number of pixels from 0 to {min(height, width) - 1}")
        self.mirror, self.shift = bool(mirror), int(shift)
        self.features_in = channels * height * width

    def lower_rows(self, program: Program, rows: Rows) -> np.ndarray:
        """The batch of raw rows, changed, for the gather."""
        self._check_width(rows.shape[1])
        return program.augment(rows, self.image_shape, mirror=self.mirror, shift=self.shift, key=self._key)

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        return x, None  # all was done before the gather

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """The gradient of the data, which nobody needs: grad as it is."""
        return grad

    def _enter(self, program: Program, rows: np.ndarray) -> Panels:
        return program.gather(self.lower_rows(program, rows), in_batch=True)


class Dropout(RandomLayer):
    """Each value is zeroed with probability `rate` in training and otherwise scaled by 1 / (1 - rate), so that nothing
    need change in prediction, where this layer passes its input on (Srivastava et al. 2014).
    """

    def __init__(self, rate: float = 0.5, *, seed: int | None = None) -> None:
        super().__init__(seed)
        self.rate = check_number("rate", rate, 0.0, 1.0)

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        if not training:
            return x, None
        return self._drop(program, x, self._key), self._key

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        return self._drop(program, g, saved)

    def _drop(self, program: Program, x: Panels, key: np.ndarray) -> Panels:
        return program.dropout(x, self.rate, key)
