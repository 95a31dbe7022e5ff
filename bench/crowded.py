"""Training beside other busy processes: python bench/crowded.py [--busy 0 1 2 6] [--rounds N] [--no-torch]

Starts so many processes that do nothing but count, and trains three networks on random rows meanwhile: with one thread,
with two that take part in every batch whatever that costs, with the default, which changes the number as it goes
(docs/performance.md), and with PyTorch at one and two threads. All take turns, an epoch each, after one that is not
counted. Prints the mean of an epoch in milliseconds (lowest to highest): where a scheduler takes turns of some
milliseconds the mean is what a user waits for.
"""

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from unittest import mock

import numpy as np
from peers import machine

from fastff import FeedForwardNeuralNetwork, Trainer
from fastff.engine import program

# rows, features, hidden units, classes, rows of a batch
NETWORKS = {
    "7-128-64-2, 64": (20_000, 7, [128, 64], 2, 64),
    "54-256-256-7, 1024": (60_000, 54, [256, 256], 7, 1024),
    "3072-256-256-3, 128": (4_000, 3072, [256, 256], 3, 128),
}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def fastff_epochs(
    X: np.ndarray, Y: np.ndarray, hidden: list[int], classes: int, batch: int, threads: int | None, *, fixed: bool
) -> Callable[[], None]:
    trainer = Trainer(
        FeedForwardNeuralNetwork(X.shape[1], classes, hidden, seed=0), batch_size=batch, threads=threads, seed=0
    )
    table = program.Table

    def epoch() -> None:
        def stiff(*arguments: object, **_: object) -> program.Table:
            return table(*arguments, elastic=False)  # type: ignore[arg-type]

        with mock.patch.object(program, "Table", stiff) if fixed else contextlib.nullcontext():
            trainer.fit(X, Y, epochs=1)

    return epoch


def torch_epochs(
    X: np.ndarray, Y: np.ndarray, hidden: list[int], classes: int, batch: int, threads: int
) -> Callable[[], None]:
    import torch

    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for a, b in pairwise([X.shape[1], *hidden, classes]):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)

    def epoch() -> None:
        torch.set_num_threads(threads)
        for index in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(network(x[index]), y[index]).backward()
            optimizer.step()

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 6])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no-torch", action="store_true")
    options = parser.parse_args()
    print(machine())
    for count in options.busy:
        print(f"\nbeside {count} busy processes, ms an epoch")
        with busy(count):
            for name, (rows, features, hidden, classes, batch) in NETWORKS.items():
                rng = np.random.default_rng(0)
                X = rng.standard_normal((rows, features)).astype(np.float32)
                Y = rng.integers(0, classes, rows)
                make = partial(fastff_epochs, X, Y, hidden, classes, batch)
                epochs = {
                    "1 thread": make(1, fixed=True),
                    "2 threads": make(2, fixed=True),
                    "default": make(None, fixed=False),
                }
                if not options.no_torch:
                    for threads in (1, 2):
                        epochs[f"torch {threads}"] = torch_epochs(X, Y, hidden, classes, batch, threads)
                seconds: dict[str, list[float]] = {kind: [] for kind in epochs}
                for number in range(options.rounds + 1):
                    for kind, epoch in epochs.items():
                        start = time.perf_counter()
                        epoch()
                        if number:
                            seconds[kind].append(1e3 * (time.perf_counter() - start))
                shown = (f"{kind} {np.mean(s):.1f} ({min(s):.1f}-{max(s):.1f})" for kind, s in seconds.items())
                print(f"{name}: " + ", ".join(shown), flush=True)


if __name__ == "__main__":
    main()
