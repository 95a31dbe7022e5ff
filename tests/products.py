"""A linear layer's forward and backward through programs of one kind or another, for the tests of both kernels."""

from fastff.engine import panels
from fastff.kernels.cpu import NR
from fastff.kernels.pointwise import RELU


def packed(matrix):
    packed = panels.aligned(panels.panel_size(matrix.shape))
    panels.pack(matrix, packed)
    return packed


def padded(bias):
    array = panels.aligned(panels.round_up(bias.size, NR))
    array[: bias.size] = bias
    return array


def forward(kind, x, w, b, threads=1, relu=False):
    program = kind(len(x))
    y = program.linear(program.gather(x), packed(w), padded(b), w.shape[1])
    if relu:
        y = program.activate(y, RELU)
    out = program.scatter(y, len(x))
    program.run(threads=threads)
    return out


def backward(kind, g, w, threads=1, h=None):
    program = kind(len(g))
    behind = None if h is None else program.gather(h)
    dx = program.linear_backward(program.gather(g), packed(w), len(w), barrier=True)  # no update waits for all ranks
    if behind is not None:
        dx = program.derive(dx, behind, RELU)
    out = program.scatter(dx, len(g))
    program.run(threads=threads)
    return out
