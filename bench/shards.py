"""Training from shards on disk beside the same rows in memory: python bench/shards.py DIR [--gigabytes 6]

Writes random pictures (uint8, 3072 values in a row) to DIR in shards, unless they are there, and leaves them there.
Then trains 3072-256-256-3 at batch 128, alternately from the shards and from a part of their rows in memory, each in a
process of its own. Prints rows per second and the largest resident memory (VmHWM, which includes mapped files). Before
each training the shards are read, so that the page cache holds them if the machine has room. The first pass over the
shards, for the mean and standard deviation of each column, is timed too.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from fastff import FeedForwardNeuralNetwork, Standardize, Trainer, load_dataset
from fastff.data.rows import Shards
from fastff.system.limits import usable_cpus

COLUMNS, SHARD = 3072, 250_000  # rows of a file: 768 MB
IN_MEMORY = 1_000_000  # rows of the part that is trained from memory: 3 GB


def write(folder: Path, rows: int) -> None:
    """Write shards of random rows; files that exist already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, SHARD)):
        count, rng = min(SHARD, rows - start), np.random.default_rng(number)
        x, y = (folder / f"{a}_train-{number:05}.npy" for a in "xy")
        if x.exists() and y.exists():
            continue
        with x.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, COLUMNS)}
            np.lib.format.write_array_header_1_0(file, header)
            for part in range(0, count, 10_000):
                file.write(rng.integers(0, 256, (min(10_000, count - part), COLUMNS), dtype=np.uint8).data)
        np.save(y, rng.integers(0, 3, count))


def train(folder: Path, source: str, rows: int, threads: int | None) -> dict[str, float]:
    """Train one epoch, after a warm-up; returns rows per second, the seconds for the statistics, and resident bytes."""
    data = load_dataset(folder)
    x, y = data.x_train, data.y_train
    assert isinstance(x, Shards)
    for file in x.files if source == "shards" else ():  # into the page cache
        with file.path.open("rb", buffering=0) as stream:
            while stream.readinto(bytearray(1 << 20)):
                pass
    start = time.perf_counter()
    standardize = Standardize.fit(x)
    statistics = time.perf_counter() - start
    if source == "memory":
        x, y = x[:rows], y[:rows]
    network = FeedForwardNeuralNetwork(COLUMNS, 3, [256, 256], seed=0)
    network.layers.insert(0, standardize)
    Trainer(network, threads=threads).fit(x[: 128 * 50], y[: 128 * 50], epochs=1)
    record = Trainer(network, threads=threads).fit(x, y, epochs=1).epochs[-1]
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "rows_a_second": record.examples_per_second,
        "seconds": record.seconds,
        "statistics": statistics,
        "resident": int(status["VmHWM"].split()[0]) * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--in-memory", type=int, default=IN_MEMORY, metavar="ROWS")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=["shards", "memory"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train(options.folder, options.one, options.in_memory, options.threads)))
        return
    rows = int(options.gigabytes * 1e9) // COLUMNS
    write(options.folder, rows)
    print(f"{rows:,} rows in shards, {min(rows, options.in_memory):,} in memory; {usable_cpus()} CPUs, "
          f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {"shards": [], "memory": []}
    for _ in range(options.repeats):
        for source, results in found.items():
            run = subprocess.run([sys.executable, *sys.argv, "--one", source], check=True, capture_output=True)
            results.append(json.loads(run.stdout))
            last = results[-1]
            print(f"{source:8} {last['rows_a_second']:8,.0f} rows/s, {last['seconds']:6.1f} s, resident "
                  f"{last['resident'] / 1e6:6,.0f} MB, statistics {last['statistics']:.1f} s", flush=True)  # fmt: skip
    speed = {source: median(run["rows_a_second"] for run in runs) for source, runs in found.items()}
    print(f"shards at {speed['shards'] / speed['memory']:.1%} of the speed in memory (medians)")


if __name__ == "__main__":
    main()
