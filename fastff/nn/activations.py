"""The layers that are a function of each value by itself: ReLU, Sigmoid and Tanh."""

from typing import Any

from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.kernels import pointwise
from fastff.nn.layers import Layer


class Activation(Layer):
    """A function of each value by itself, whose derivative can be computed from the function's value."""

    function: int  # its number in fastff.kernels.pointwise

    def lower_forward(self, program: Program, x: Panels, *, training: bool) -> tuple[Panels, Any]:
        h = program.activate(x, self.function)
        return h, h

    def lower_backward(self, program: Program, g: Panels, saved: Any) -> Panels:
        return program.derive(g, saved, self.function)


class ReLU(Activation, saved_as="relu"):
    """max(0, x) of each value, with the derivative 0 where x <= 0 (Nair & Hinton 2010). A NaN stays a NaN."""

    function = pointwise.RELU


class Sigmoid(Activation, saved_as="sigmoid"):
    """The logistic function 1 / (1 + e^-x) of each value."""

    function = pointwise.SIGMOID


class Tanh(Activation, saved_as="tanh"):
    """The hyperbolic tangent of each value."""

    function = pointwise.TANH
