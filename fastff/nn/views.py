"""Test-time augmentation: what a model says of several versions of a picture, averaged.

A network that has seen pictures mirrored and shifted in training says nearly the same of all versions of one. Its
errors differ from version to version, so the mean of the probabilities is right more often than each (Krizhevsky,
Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks", 4.1).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastff.nn.ensemble import Ensemble
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.preprocessing import Augment
from fastff.system.blocks import Sliceable, row_blocks

ROWS = 2048  # of which versions are made at a time, to bound the memory
FURTHEST = 2  # pixels that a version is moved by


@dataclass(frozen=True)
class Views:
    """The versions of a picture over which to average.

    image_shape: (channels, height, width). mirrored: the mirror image too. shift: moved by so many pixels up or down,
    and left or right, too; what comes in at the edge is the picture's reflection, as in training.
    """

    image_shape: tuple[int, int, int]
    mirrored: bool
    shift: int

    @classmethod
    def of(cls, model: FeedForwardNeuralNetwork | Ensemble, image_shape: tuple[int, int, int] | None) -> "Views | None":
        """Those that the model was trained on, shifted by FURTHEST pixels at most; without any: the mirror image.

        None where nobody knows the shape of the model's pictures.
        """
        network = model.networks[0] if isinstance(model, Ensemble) else model
        for layer in network.layers:
            if isinstance(layer, Augment):
                return cls(layer.image_shape, layer.mirror, min(layer.shift, FURTHEST))
        return None if image_shape is None else cls(image_shape, True, 0)

    def __len__(self) -> int:
        return (2 if self.mirrored else 1) * (9 if self.shift else 1)

    def __str__(self) -> str:
        """What is averaged, for a person."""
        what = ["as it is"]
        if self.mirrored:
            what.append("mirrored")
        if self.shift:
            pixels = "pixel" if self.shift == 1 else "pixels"
            what.append(f"each moved by {self.shift} {pixels} in eight directions")
        return f"{len(self)} versions of each picture: {', '.join(what)}"

    def predict_proba(self, model: FeedForwardNeuralNetwork | Ensemble, rows: Sliceable) -> np.ndarray:
        """The mean probabilities of each row's versions, float64 (N, classes)."""
        return np.concatenate([self._block(model, block) for block in row_blocks(rows, ROWS * rows.shape[1])])

    def _block(self, model: FeedForwardNeuralNetwork | Ensemble, rows: np.ndarray) -> np.ndarray:
        total = np.zeros((len(rows), model.output_dim or 0))
        for version in self._versions(rows.reshape(-1, *self.image_shape)):
            total += model.predict_proba(np.ascontiguousarray(version).reshape(rows.shape))
        return total / len(self)

    def _versions(self, pictures: np.ndarray) -> Iterator[np.ndarray]:
        edge, (_, height, width) = self.shift, self.image_shape
        wide = np.pad(pictures, ((0, 0), (0, 0), (edge, edge), (edge, edge)), mode="reflect")
        starts = (edge,) if edge == 0 else (0, edge, 2 * edge)
        for top in starts:
            for left in starts:
                moved = wide[:, :, top : top + height, left : left + width]
                yield moved
                if self.mirrored:
                    yield moved[..., ::-1]
