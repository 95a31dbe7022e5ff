"""A sweep of many small networks beside the same in PyTorch: python bench/many.py [--batch-size N] [--rounds N]

Trains 200 networks of 64-100-10 on the digits, one for each seed, 20 epochs of Adam each, validates after every epoch
and keeps the best weights: with fit_many in one job and in two, with torch in one process and in two, all taking turns.

PyTorch at its best honest setting for networks of this size: one thread in each process, eager with fused Adam, the
data already a tensor, no data loader; its processes are warm. It trains a tenth of the networks, and its time is
scaled.
"""

import argparse
import multiprocessing
import statistics
import time
from itertools import pairwise

from peers import machine

from fastff import Config, fit_many, load_dataset

SIZES, EPOCHS, STEP_SIZE = [64, 100, 10], 20, 1e-3


def fit_torch(task: tuple[int, int]) -> float:
    """Train the network of one seed; returns its best validation accuracy."""
    import torch

    seed, batch = task
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    data = load_dataset("digits")
    mean, std = data.x_train.mean(0), data.x_train.std(0)
    x, x_val = (
        torch.from_numpy(((a - mean) / (std + (std == 0))).astype("float32")) for a in (data.x_train, data.x_val)
    )
    y, y_val = (torch.from_numpy(a) for a in (data.y_train, data.y_val))
    layers = []
    for a, b in pairwise(SIZES):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=STEP_SIZE, fused=True)
    best, kept = -1.0, None
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(network(x[index]), y[index]).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = float((network(x_val).argmax(1) == y_val).float().mean())
        if accuracy > best:
            best, kept = accuracy, {name: value.clone() for name, value in network.state_dict().items()}
    assert kept is not None
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    options = parser.parse_args()
    networks, batch = options.networks, options.batch_size
    data, some = load_dataset("digits"), max(2, networks // 10)
    configs = [
        Config(hidden=tuple(SIZES[1:-1]), epochs=EPOCHS, batch_size=batch, step_size=STEP_SIZE, threads=1, seed=seed)
        for seed in range(networks)
    ]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as one, context.Pool(2) as two:
        ways = {
            "fastff, 1 job": lambda: [item.best for item in fit_many(configs, data, jobs=1)],
            "fastff, 2 jobs": lambda: [item.best for item in fit_many(configs, data, jobs=2)],
            "torch, 1 process": lambda: one.map(fit_torch, [(seed, batch) for seed in range(some)], chunksize=1),
            "torch, 2 processes": lambda: two.map(fit_torch, [(seed, batch) for seed in range(some)], chunksize=1),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        best: dict[str, list[float]] = {}
        for turn in range(options.rounds + 1):
            for way, run in ways.items():
                start = time.perf_counter()
                best[way] = run()
                if turn > 0:  # the first compiles, imports, allocates
                    times[way].append((time.perf_counter() - start) * networks / len(best[way]))
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(
        f"{networks} networks of {'-'.join(map(str, SIZES))}, {EPOCHS} epochs, batch {batch}, {len(data.x_train)} rows"
    )
    print(f"medians (lowest-highest) of {options.rounds} interleaved measurements")
    ours = statistics.median(times["fastff, 2 jobs"])
    for way, seconds in times.items():
        median = statistics.median(seconds)
        print(
            f"{way:20}{median:8.2f} s  ({min(seconds):.2f}-{max(seconds):.2f})  {median / ours:5.2f} times two jobs, "
            f"validation {statistics.mean(best[way]):.2%}"
        )


if __name__ == "__main__":
    main()
