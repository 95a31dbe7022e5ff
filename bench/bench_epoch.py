"""An epoch of Trainer.fit beside the same epoch in NumPy, in one run. `tox -e bench`, or pytest bench."""

import numpy as np
import pytest
from numpy_net import NumpyNet

from fastff import FeedForwardNeuralNetwork, Standardize, Trainer

WORKLOADS = {  # rows, sizes, batch
    "hst": (13_000, [3072, 256, 256, 3], 128),
    "fmnist": (20_000, [784, 512, 512, 10], 128),
    "tab": (50_000, [54, 256, 256, 7], 1024),
    "digits": (1_437, [64, 100, 10], 200),
    "digits32": (1_437, [64, 100, 10], 32),
}


def _data(rows: int, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if sizes[0] == 3072:
        X = rng.integers(0, 256, (rows, sizes[0]), dtype=np.uint8)
    else:
        X = rng.standard_normal((rows, sizes[0]), np.float32)
    return X, rng.integers(0, sizes[-1], rows)


@pytest.mark.parametrize("name", WORKLOADS)
def test_epoch_fastff(benchmark, name):
    rows, sizes, batch = WORKLOADS[name]
    X, Y = _data(rows, sizes)
    network = FeedForwardNeuralNetwork(sizes[0], sizes[-1], sizes[1:-1], seed=0)
    if X.dtype == np.uint8:
        network.layers.insert(0, Standardize(np.zeros(sizes[0]), np.full(sizes[0], 255.0)))
    trainer = Trainer(network, batch_size=batch)
    benchmark.group = name
    benchmark.pedantic(trainer.fit, (X, Y), {"epochs": 1}, rounds=5, warmup_rounds=1)
    assert np.isfinite(trainer.history.batch_losses).all()


@pytest.mark.parametrize("name", WORKLOADS)
def test_epoch_numpy(benchmark, name):
    rows, sizes, batch = WORKLOADS[name]
    X, Y = _data(rows, sizes)
    network, rng = NumpyNet(sizes), np.random.default_rng(0)
    benchmark.group = name
    loss = benchmark.pedantic(lambda: network.epoch(X, Y, rng.permutation(rows), batch), rounds=3, warmup_rounds=1)
    assert np.isfinite(loss)
