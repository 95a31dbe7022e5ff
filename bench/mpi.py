"""MPI ranks beside threads, on this machine: python bench/mpi.py [--rounds N]

Each way to train the same network on the same rows is started with mpiexec in turn, N times, and measured after a
warm-up: milliseconds per step, median (lowest-highest) of the rounds. Then the time of messages: Allreduces of several
sizes. docs/scaling.md has the results of both. Needs fastff[mpi].

    python bench/mpi.py --hosts hosts --ssh ssh.sh

Instead, one rank on each of two hosts (mpiexec's -f, and the program that takes ssh's place): the step of one of them
alone and of both, beside what the model of docs/scaling.md predicts from the messages that are measured.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np

from fastff import FeedForwardNeuralNetwork, Standardize
from fastff.data.dataset import make_dataset
from fastff.distributed.follow import follow
from fastff.distributed.group import Group, join
from fastff.distributed.lead import LeadingTrainer

NETWORKS = {"hst": [3072, 256, 256, 3], "digits": [64, 100, 10]}
STEPS, EPOCHS = 100, 7
WAYS = {  # number of ranks, threads of each, how they exchange gradients
    "1 process, 1 thread": (1, 1, "memory"),
    "1 process, 2 threads": (1, 2, "memory"),
    "2 ranks, shared memory": (2, 1, "memory"),
    "2 ranks, messages": (2, 1, "messages"),
    "2 ranks, messages, sharded": (2, 1, "sharded"),
}
RUNS = [("hst", 128), ("hst", 256), ("digits", 200)]
NUMBERS = [2, 1 << 10, 1 << 14, 1 << 18, 860_000, 1 << 22]  # sizes of an Allreduce, in float32 numbers


def measure(way: str, name: str, batch: int, threads: int) -> None:
    """Called on every rank: train; rank 0 prints the milliseconds of a step."""
    sizes, rng, world = NETWORKS[name], np.random.default_rng(0), join()
    rows = STEPS * batch
    x = rng.integers(0, 256, (rows, sizes[0]), dtype=np.uint8)
    data = make_dataset("rows", {"train": (x, np.arange(rows) % sizes[-1])}, source="rows")
    world.part(together=True)
    group = Group(world.comm, on_one_machine=way == "memory")
    if group.rank > 0:
        follow(group, data)
        return
    network = FeedForwardNeuralNetwork(sizes[0], sizes[-1], sizes[1:-1], seed=0)
    network.layers.insert(0, Standardize.fit(x[:1000]))
    trainer = LeadingTrainer(network, batch_size=batch, threads=threads)
    trainer.group, trainer.sharded = group, way == "sharded"
    with group:
        trainer.fit(data.x_train, data.y_train, epochs=EPOCHS + 1, on_epoch=lambda record: None)
        seconds = [record.seconds for record in trainer.history.epochs[1:]]  # the first is the warm-up
        print(json.dumps(1e3 * statistics.median(seconds) / STEPS))


def messages() -> None:
    """Called on every rank: time Allreduces of each size; rank 0 prints the microseconds."""
    group, times = join(), []
    comm = group.comm
    for count in NUMBERS:
        values, total = np.ones(count, np.float32), np.empty(count, np.float32)
        repeats, rounds = max(20, 4_000_000 // (count + 4000)), []
        for _ in range(5):
            comm.Barrier()
            start = time.perf_counter()
            for _ in range(repeats):
                comm.Allreduce(values, total)
            rounds.append((time.perf_counter() - start) / repeats * 1e6)
        times.append(statistics.median(rounds))
    group.part(together=True)
    if comm.rank == 0:
        print(json.dumps(times))


def launch(ranks: int, *arguments: object, across: Sequence[object] = ()) -> list[float] | float:
    launcher = [Path(sys.executable).parent / "mpiexec", *across, "-n", ranks, sys.executable, __file__]
    result = subprocess.run(list(map(str, [*launcher, *arguments])), capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def between_hosts(hosts: str, ssh: str, rounds: int) -> None:
    """Measure the messages and the steps of one rank and of two, and print them beside the model's prediction."""
    # UCX finds two hosts that are one machine, and would share memory
    across = ["-launcher", "ssh", "-launcher-exec", ssh, "-f", hosts, "-ppn", 1, "-genv", "UCX_TLS", "tcp,self"]
    microseconds = launch(2, "--messages", across=across)
    assert isinstance(microseconds, list)
    latency, slowest = microseconds[0] / 2, microseconds[-1]
    bandwidth = 4 * NUMBERS[-1] / slowest  # bytes a microsecond: of R ranks, 8 P (R - 1) / R bytes through each
    print(", ".join(f"{count:,}: {t:.1f}" for count, t in zip(NUMBERS, microseconds, strict=True)), "us")
    print(f"latency {latency:.1f} us, bandwidth {bandwidth / 1e3:.2f} GB/s")
    print("| network, rows of a rank | 1 rank | 2 ranks | predicted |\n|---|---|---|---|")
    for name, rows in (("hst", 64), ("hst", 256), ("digits", 200)):
        parameters = sum(a * b + b for a, b in pairwise(NETWORKS[name]))
        one: list[float] = []
        two: list[float] = []
        for _ in range(rounds):
            one.append(launch(1, "--measure", "messages", name, rows, 1, across=across))  # type: ignore[arg-type]
            two.append(launch(2, "--measure", "messages", name, 2 * rows, 1, across=across))  # type: ignore[arg-type]
        predicted = statistics.median(one) + (4 * parameters / bandwidth + 2 * latency) / 1e3
        cells = (f"{statistics.median(t):.3f} ({min(t):.3f}-{max(t):.3f})" for t in (one, two))
        print(f"| {'-'.join(map(str, NETWORKS[name]))}, {rows} | {' | '.join(cells)} | {predicted:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", help="mpiexec's file of two hosts")
    parser.add_argument("--ssh", default="ssh", help="the program that takes ssh's place")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one of the networks: " + ", ".join(NETWORKS))
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--messages", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, name, batch, threads = options.measure
        measure(way, name, int(batch), int(threads))
        return
    if options.messages:
        messages()
        return
    if options.hosts:
        between_hosts(options.hosts, options.ssh, options.rounds)
        return
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "mpi4py", "mpich")), end="\n\n")
    print(f"| network, batch | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for name, batch in RUNS:
        if options.only in (None, name):
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way, (ranks, threads, kind) in WAYS.items():
                    times[way].append(launch(ranks, "--measure", kind, name, batch, threads))  # type: ignore[arg-type]
            cells = (f"{statistics.median(t):.3f} ({min(t):.3f}-{max(t):.3f})" for t in times.values())
            print(f"| {'-'.join(map(str, NETWORKS[name]))}, {batch} | {' | '.join(cells)} |", flush=True)
    if options.only is None:
        microseconds = launch(2, "--messages")
        assert isinstance(microseconds, list)
        print("\nAllreduce of float32 numbers, 2 ranks, microseconds: ", end="")
        print(", ".join(f"{count:,}: {t:.1f}" for count, t in zip(NUMBERS, microseconds, strict=True)))


if __name__ == "__main__":
    main()
