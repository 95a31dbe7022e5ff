"""Where the time of a training step goes: python bench/phases.py [WORKLOAD ...] [options]

Times every operation of a step by itself (repeated, warm, one thread by default) and prints its share of the time and
its rate. --plot draws the roofline: GFLOP/s over floating-point operations per byte of memory, below the measured rate
of the register tile and the measured bandwidth of the machine.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from peers import WORKLOADS, data, tile_ceiling

from fastff import FeedForwardNeuralNetwork, Trainer
from fastff.engine.program import Program
from fastff.engine.table import Row
from fastff.kernels.bfloat16 import begin_products, end_products
from fastff.training.steps import ProgramSteps

# In units of the weights' size in float32: what a product reads, and what an update reads and writes (w, m and v; in
# bfloat16 a copy or two as well)
_WEIGHTS = {"linear.update": 6.0, "linear16.update": 7.0, "linear16.forward": 0.5, "linear16.backward": 0.5}


def measure(name: str, threads: int, precision: str) -> list[tuple[str, float, float, float]]:
    """(operation, seconds, floating-point operations, bytes) of each operation of a step of the workload."""
    _, sizes, batch, _ = WORKLOADS[name]
    X, Y = data(name)
    network = FeedForwardNeuralNetwork(sizes[0], sizes[-1], sizes[1:-1], seed=0)
    trainer = Trainer(network, batch_size=batch, precision=precision)
    program = ProgramSteps(trainer.what_to_fit(X, Y)).program
    order = np.random.default_rng(0).permutation(len(X))
    return [(_name(row), _time(program, row, order, trainer, threads), *_work(row, batch)) for row in program.step]


def _time(program: Program, row: Row, order: np.ndarray, trainer: Trainer, threads: int) -> float:
    """Seconds that one operation takes in a step, by itself."""
    steps = min(len(order) // program.rows, 64)
    hyper, order = trainer.optimizer.hyper(5, np.full(steps, 1e-6)), order[: steps * program.rows]
    alone = Program(program.rows)
    alone.before = [other for other in program.before if other.operation is begin_products]
    alone.step, alone.after = [row], [other for other in program.after if other.operation is end_products]
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        alone.run(order, hyper=hyper, threads=threads)
        best = min(best, (time.perf_counter() - start) / steps)
    return best


def _name(row: Row) -> str:
    product = {"n_in", "n_out"} <= row.fields.keys()
    return row.operation.name + (f" {row.fields['n_in']}x{row.fields['n_out']}" if product else "")


def _work(row: Row, batch: int) -> tuple[float, float]:
    """Floating-point operations, and bytes of the matrices that the operation reads and writes once."""
    if not {"n_in", "n_out"} <= row.fields.keys():
        return 0.0, 0.0
    n_in, n_out = float(row.fields["n_in"]), float(row.fields["n_out"])
    weights = _WEIGHTS.get(row.operation.name, 1.0)
    return 2 * batch * n_in * n_out, 4 * (weights * n_in * n_out + batch * (n_in + n_out))


def bandwidth() -> float:
    """Bytes a second of one thread reading and writing more memory than the caches hold."""
    a, b = np.zeros(32 << 20, np.float32), np.ones(32 << 20, np.float32)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * a.nbytes / best


def plot(
    path: str, figures: dict[str, list[tuple[str, float, float, float]]], ceiling: float, bytes_a_second: float
) -> None:
    from matplotlib.figure import Figure

    figure = Figure((9, 5.5), layout="constrained")
    ax = figure.add_subplot()
    x = np.geomspace(1, 300, 100)
    ax.plot(x, np.minimum(ceiling, x * bytes_a_second / 1e9), color="0.2", lw=2)
    ax.annotate(f"tile: {ceiling:.0f} GFLOP/s", (300, ceiling), (-4, 4), textcoords="offset points", ha="right")
    ax.annotate(f"memory: {bytes_a_second / 1e9:.0f} GB/s", (1.1, 1.1 * bytes_a_second / 1e9), (4, -14),
                textcoords="offset points")  # fmt: skip
    for name, operations in figures.items():
        points = [(flops / touched, flops / seconds / 1e9) for _, seconds, flops, touched in operations if flops]
        ax.scatter(*zip(*points, strict=True), label=name, s=36, alpha=0.8)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="floating-point operations a byte of its matrices",
        ylabel="GFLOP/s, one thread",
    )
    ax.grid(alpha=0.3, which="both")
    ax.legend(title="products of")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help=f"{', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    ceiling = tile_ceiling(options.threads)
    print(f"the tile alone, {options.threads} threads: {ceiling:.0f} GFLOP/s")
    figures = {}
    for name in options.workloads or WORKLOADS:
        figures[name] = measure(name, options.threads, options.precision)
        total = sum(seconds for _, seconds, _, _ in figures[name])
        flops = sum(work for _, _, work, _ in figures[name])
        print(f"\n{name}: {total * 1e6:.1f} us a step, {flops / total / 1e9:.0f} GFLOP/s")
        for operation, seconds, work, _ in figures[name]:
            rate = f"{work / seconds / 1e9:8.1f} GFLOP/s ({work / seconds / 1e9 / ceiling:.0%})" if work else ""
            print(f"  {operation:32}{seconds * 1e6:10.2f} us {seconds / total:6.1%} {rate}")
    if options.plot:
        plot(str(options.plot), figures, ceiling, bandwidth())


if __name__ == "__main__":
    main()
