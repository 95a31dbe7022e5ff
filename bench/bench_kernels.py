"""Each kernel beside its NumPy twin, in one run: 128 rows of a 1024-512 layer, one thread. `tox -e bench`, or pytest
bench. The time of a kernel is that of one native call for BATCHES batches."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fastff import Adam, CrossEntropySoftmax
from fastff.engine.panels import Matrix, aligned
from fastff.engine.program import Program
from fastff.kernels import pointwise

ROWS, N_IN, N_OUT, CLASSES, BATCHES = 128, 1024, 512, 10, 8
RNG = np.random.default_rng(0)
X = RNG.standard_normal((ROWS, N_IN), np.float32)
BYTES = RNG.integers(0, 256, (ROWS, N_IN), dtype=np.uint8)
G = RNG.standard_normal((ROWS, N_OUT), np.float32)
W = RNG.standard_normal((N_IN, N_OUT), np.float32)
B = np.zeros(N_OUT, np.float32)
Z = RNG.standard_normal((ROWS, CLASSES), np.float32)
Y = RNG.integers(0, CLASSES, ROWS)


class Layer:
    """The memory of one linear layer."""

    def __init__(self) -> None:
        matrix = Matrix((N_IN, N_OUT))
        matrix.array = W
        self.weights = [matrix.panels, aligned(matrix.panels.size), aligned(matrix.panels.size)]
        self.bias = [aligned(N_OUT) for _ in range(3)]


def _gather(program):
    program.gather(BYTES, np.zeros(N_IN), np.full(N_IN, 1 / 255, np.float32))


def _forward(program):
    layer = Layer()
    x = program.panels(N_IN)
    program.activate(program.linear(x, layer.weights[0], layer.bias[0], N_OUT), pointwise.RELU)


def _backward(program):
    program.linear_backward(program.panels(N_OUT), Layer().weights[0], N_IN, barrier=True)


def _update(program):
    layer, g = Layer(), program.panels(N_OUT)
    program.update(program.panels(N_IN), g.memory, layer.weights, layer.bias, N_OUT)


def _sigmoid(program):
    program.activate(program.panels(N_OUT), pointwise.SIGMOID)


def _tanh(program):
    program.activate(program.panels(N_OUT), pointwise.TANH)


def _numpy_adam():
    d = X.T @ G
    m, v = 0.1 * d, 0.001 * d * d
    return W - 1e-3 * m / (np.sqrt(v) + 1e-8)


TWINS = {
    "gather": (_gather, lambda: BYTES[np.arange(ROWS)].astype(np.float32) * np.float32(1 / 255)),
    "forward": (_forward, lambda: np.maximum(X @ W + B, 0)),
    "backward": (_backward, lambda: G @ W.T),
    "update": (_update, _numpy_adam),
    "sigmoid": (_sigmoid, lambda: 1 / (1 + np.exp(-G))),
    "tanh": (_tanh, lambda: np.tanh(G)),
}


@pytest.mark.parametrize("name", TWINS)
def test_kernel(benchmark, name):
    program = Program(ROWS)
    TWINS[name][0](program)
    index, hyper = np.tile(np.arange(ROWS), BATCHES), Adam().hyper(1, np.full(BATCHES, 1e-3))
    benchmark.group = name
    assert benchmark(program.run, index, hyper=hyper, threads=1).done == BATCHES


@pytest.mark.parametrize("name", TWINS)
def test_numpy(benchmark, name):
    benchmark.group = name
    with threadpool_limits(1):
        assert len(benchmark(lambda: [TWINS[name][1]() for _ in range(BATCHES)])) == BATCHES


def test_softmax_fastff(benchmark):
    benchmark.group = "softmax, by hand"
    criterion = CrossEntropySoftmax()
    assert benchmark(criterion.forward, Z, Y) > 0


def test_softmax_numpy(benchmark):
    benchmark.group = "softmax, by hand"

    def twin():
        e = np.exp(Z - Z.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        return -np.log(p[np.arange(ROWS), Y]).mean()

    assert benchmark(twin) > 0
