"""Moving averages of a network's weights and biases, which are validated and kept in the place of the weights.

Training goes on from the weights, and the averages follow them (fastff.kernels.averaging). They live in twins of the
linear layers, so that validation and the best weights are those of a network like any other. Whenever the trainer
hands the network to its caller, the network holds the averages too, and the weights wait until training goes on.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np

from fastff.engine.averaging import Pairs, average, average_once, shares
from fastff.engine.panels import Unpacked
from fastff.engine.program import Program
from fastff.engine.run import check_hyper
from fastff.kernels.optimizer import APART
from fastff.nn.layers import LinearLayer
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.saved import AVERAGE, named_parameters
from fastff.system.blocks import Sliceable


class Averages:
    """The averages of these layers' weights and biases, which start as these are now.

    decay: what part of an average stays at each step, fastff.engine.averaging.shares says how. count: steps so far.
    """

    def __init__(self, layers: Sequence[LinearLayer], decay: float) -> None:
        self.decay, self.count = decay, 0
        self.layers = _each_once(layers)
        self._twins = [layer.twin() for layer in self.layers]
        self._weights: list[np.ndarray] | None = None  # the layers' own values, while the layers show the averages

    @property
    def _pairs(self) -> Pairs:
        """The memory of the layers' values and of their averages."""
        kinds = [(layer.memory, twin.memory) for layer, twin in zip(self.layers, self._twins, strict=True)]
        return [(own[0], kept[0]) for layer, twin in kinds for own, kept in zip(layer, twin, strict=True)]

    def network(self, network: FeedForwardNeuralNetwork) -> FeedForwardNeuralNetwork:
        """This network with the averages as its weights; other layers are the same objects."""
        other, twins = copy.copy(network), dict(zip(map(id, self.layers), self._twins, strict=True))
        other.layers = [twins.get(id(layer), layer) for layer in network.layers]
        return other

    def are_of(self, layers: Sequence[LinearLayer]) -> bool:
        """Whether these are the layers."""
        return [*map(id, _each_once(layers))] == [*map(id, self.layers)]

    # --- steps ---

    def lower(self, program: Program) -> None:
        """Add the averages' step to a program of training."""
        program.before_averages()
        average(program, self._pairs)

    def put_into(self, hyper: np.ndarray, steps: int) -> np.ndarray:
        """The optimizer's numbers of the next steps (steps, 2, HYPER), with how far the averages move."""
        hyper = check_hyper(hyper, steps).copy()
        hyper[..., APART] = shares(self.count + 1, steps, self.decay)[:, None]
        return hyper

    def counted(self, steps: int) -> None:
        """Say that a program has done so many steps."""
        self.count += steps
        for twin in self._twins:
            twin.updated(0)

    def step(self) -> None:
        """One step, by itself."""
        for layer in self.layers:
            layer.sync()
        average_once(self._pairs, shares(self.count + 1, 1, self.decay))
        self.counted(1)

    # --- between fits ---

    def show(self) -> None:
        """Have the network hold the averages, and put the weights aside."""
        if self._weights is not None:
            return
        for layer in self.layers:
            layer.sync()
        self._weights = [values.copy() for values, _ in self._pairs]
        self._fill([averages for _, averages in self._pairs])

    def hide(self) -> None:
        """Have the network hold the weights that were put aside, to be trained further.

        Where somebody has given it others meanwhile, these are trained, and the averages begin anew from them.
        """
        if self._weights is None:
            return
        for layer in self.layers:
            layer.sync()
        if all(np.array_equal(values.view(np.int32), kept.view(np.int32)) for values, kept in self._pairs):
            self._fill(self._weights)
        else:
            for values, averages in self._pairs:
                averages[:] = values
            self.count = 0
            self.counted(0)
        self._weights = None

    def _fill(self, arrays: Sequence[np.ndarray]) -> None:
        """Give the layers these values; where Ctrl-C comes in between the averages, as if they had been shown."""
        try:
            for (values, _), array in zip(self._pairs, arrays, strict=True):
                values[:] = array
            for layer in self.layers:
                layer.updated(0)
        except KeyboardInterrupt:  # a part of it would be taken for weights that somebody else has given
            for values, averages in self._pairs:
                values[:] = averages
            for layer in self.layers:
                layer.updated(0)
            raise

    # --- on disk ---

    @classmethod
    def holding(
        cls, network: FeedForwardNeuralNetwork, decay: float, arrays: Mapping[str, Sliceable], count: int
    ) -> "Averages":
        """Averages of this network's weights that hold these arrays, named as parameters; the network shows them."""
        averages = cls(network.linear_layers, decay)
        averages.network(network).set_parameters(arrays)
        averages.count = count
        averages.show()
        return averages

    def state(self, layers: Sequence[object]) -> dict[str, Sliceable]:
        """The weights by their names in files, and the averages, "average.0.weight", of these layers of a network."""
        own = self._weights
        if own is not None:  # others that the network was given take their place
            self.hide()
            self.show()
            own = self._weights
        places = dict(zip(map(id, self.layers), range(len(self.layers)), strict=True))
        arrays: dict[str, Sliceable] = {}
        for layer, *names in named_parameters(layers):
            place = places[id(layer)]
            if own is not None:
                shape = (layer.input_dim, layer.output_dim)
                arrays[names[0]], arrays[names[1]] = Unpacked(own[2 * place], shape), own[2 * place + 1][: shape[1]]
            arrays |= zip((AVERAGE + name for name in names), self._twins[place].arrays().values(), strict=True)
        return arrays


def begin_averages(own: Averages | None, layers: Sequence[LinearLayer], decay: float | None) -> Averages | None:
    """The averages of a fit that begins, with the layers' weights in their place to be trained; None without a decay.

    own: those of earlier fits.
    """
    if own is not None:
        own.hide()
    if decay is None:
        return None
    if own is None:
        return Averages(layers, decay)
    own.decay = decay
    return own


def _each_once(layers: Sequence[LinearLayer]) -> list[LinearLayer]:
    """The layers, without those that a network has twice."""
    return [*{id(layer): layer for layer in layers}.values()]
