"""Side by side with other libraries, on this machine: python bench/peers.py [WORKLOAD ...] [--rounds N] [--json FILE]

Each library trains the same networks on the same rows with Adam, in a process of its own that stays warm. The processes
take turns, one training while the others wait; each library is measured with 1 and with 2 threads, and the better is
shown. One that is clearly slower than the same library's other number of threads is not measured again, and the rounds
end when all medians are known to some percent. Times are of whole epochs, including input checks and shuffling.
Libraries that are not installed are skipped. What else was at work on the machine meanwhile is said for each workload.

The libraries at their best honest setting: torch with fused Adam, the data already a tensor, no data loader;
torch.compile of the same step; jax with one jitted scan over an epoch; scikit-learn's MLPClassifier (partial_fit,
warmed up); NumPy with BLAS and in-place updates (numpy_net.py).
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np

WORKLOADS = {  # rows, sizes, batch, epochs a measurement
    "hst": (13_000, [3072, 256, 256, 3], 128, 2),
    "hstwide": (13_000, [3072, 1024, 1024, 3], 256, 2),
    "fmnist": (60_000, [784, 512, 512, 10], 128, 2),
    "tab": (100_000, [54, 256, 256, 7], 1024, 2),
    "digits": (1_437, [64, 100, 10], 200, 20),
    "digits32": (1_437, [64, 100, 10], 32, 20),
    "tiny": (1_437, [20, 16, 2], 16, 20),
}
PEERS = {
    "fastff": "fastff",
    "fastff.bf16": "fastff",
    "torch": "torch",
    "torch.bf16": "torch",
    "torch.compile": "torch",
    "jax": "jax",
    "sklearn": "scikit-learn",
    "numpy": "numpy",
}
STEP_SIZE = 1e-3
# A median is known once half of at least so many measurements lie within this share of it; a number of threads is given
# up whose better of two measurements is so many times the other's; and so many cores used by others are a quiet machine
LEAST_ROUNDS, SPREAD, CLEARLY, QUIET = 4, 0.04, 1.3, 0.1
# Makes glibc keep freed memory instead of returning it to the system, which would have to clear new pages for every
# large temporary array. NumPy is up to three times and scikit-learn up to twice as fast with it.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
# A program that binds itself to one CPU and then becomes the command in its arguments
PIN = "import os, sys; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); os.execv(sys.argv[1], sys.argv[1:])"


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    rows, sizes, _, _ = WORKLOADS[name]
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, sizes[0]), np.float32), rng.integers(0, sizes[-1], rows)


def model_flops(name: str) -> float:
    """Floating-point operations of an epoch: forward, weight gradients, and input gradients but the first layer's."""
    rows, sizes, _, _ = WORKLOADS[name]
    pairs = list(pairwise(sizes))
    return rows * (sum(6 * a * b for a, b in pairs) - 2 * pairs[0][0] * pairs[0][1])


# --- a function for each library; returns train(epochs) ---------------------------------------------------------------


def fastff(name, threads, precision="float32"):
    from fastff import FeedForwardNeuralNetwork, Trainer

    _, sizes, batch, _ = WORKLOADS[name]
    X, Y = data(name)
    network = FeedForwardNeuralNetwork(sizes[0], sizes[-1], sizes[1:-1], seed=0)
    trainer = Trainer(network, batch_size=batch, step_size=STEP_SIZE, threads=threads, precision=precision)
    return lambda epochs: trainer.fit(X, Y, epochs=epochs)


def fastff_bf16(name, threads):
    return fastff(name, threads, precision="bfloat16")


def torch(name, threads, compiled=False, half=False):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rows, sizes, batch, _ = WORKLOADS[name]
    X, Y = (torch.from_numpy(a) for a in data(name))
    layers = []
    for a, b in pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=STEP_SIZE, fused=True)

    def forward_backward(x, y):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(network(x), y)
        loss.backward()
        return loss

    if compiled:
        forward_backward = torch.compile(forward_backward, mode="max-autotune-no-cudagraphs")

    def train(epochs):
        for _ in range(epochs):
            for index in torch.randperm(rows).split(batch):
                optimizer.zero_grad(set_to_none=True)
                loss = forward_backward(X[index], Y[index])
                optimizer.step()
        return float(loss.detach())

    return train


def torch_bf16(name, threads):
    return torch(name, threads, half=True)


def torch_compile(name, threads):
    return torch(name, threads, compiled=True)


def jax(name, threads):
    import jax
    import jax.numpy as jnp

    rows, sizes, batch, _ = WORKLOADS[name]
    X, Y = (jnp.asarray(a) for a in data(name))
    rng = np.random.default_rng(0)
    pairs = list(pairwise(sizes))
    params = [
        (jnp.asarray(rng.standard_normal(p, np.float32) * np.sqrt(2 / p[0]), jnp.float32), jnp.zeros(p[1]))
        for p in pairs
    ]
    zeros = jax.tree.map(jnp.zeros_like, params)

    def loss(params, x, y):
        for i, (w, b) in enumerate(params):
            x = x @ w + b
            x = jax.nn.relu(x) if i < len(params) - 1 else x
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    def step(state, index):
        params, m, v, t = state
        value, g = jax.value_and_grad(loss)(params, X[index], Y[index])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, root = STEP_SIZE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * root + 1e-8), params, m, v)
        return (params, m, v, t), value

    @jax.jit
    def epoch(state, key):
        # whole batches only: a ragged last one would need a second program
        order = jax.random.permutation(key, rows)[: rows // batch * batch].reshape(-1, batch)
        return jax.lax.scan(step, state, order)

    state, key = (params, zeros, zeros, jnp.float32(0)), jax.random.key(0)

    def train(epochs):
        nonlocal state, key
        for _ in range(epochs):
            key, own = jax.random.split(key)
            state, losses = epoch(state, own)
        return jax.block_until_ready(losses)

    return train


def sklearn(name, threads):
    from sklearn.neural_network import MLPClassifier

    _, sizes, batch, _ = WORKLOADS[name]
    X, Y = data(name)
    model = MLPClassifier(tuple(sizes[1:-1]), batch_size=batch, learning_rate_init=STEP_SIZE, alpha=0.0, random_state=0)
    model.partial_fit(X, Y, classes=np.arange(sizes[-1]))

    def train(epochs):
        for _ in range(epochs):
            model.partial_fit(X, Y)

    return train


def numpy(name, threads):
    from numpy_net import NumpyNet

    _, sizes, batch, _ = WORKLOADS[name]
    X, Y = data(name)
    network, rng = NumpyNet(sizes), np.random.default_rng(0)

    def train(epochs):
        for _ in range(epochs):
            network.epoch(X, Y, rng.permutation(len(X)), batch)

    return train


def serve(peer: str, name: str, threads: int) -> None:
    """Run as a worker: for each number on standard input, train so many epochs and print the seconds.

    Half as many epochs are trained before, not timed, because caches and cores went cold during the others' turns.
    """
    train = globals()[peer.replace(".", "_")](name, threads)
    for line in sys.stdin:
        train(max(1, int(line) // 2))
        start = time.perf_counter()
        train(int(line))
        print(time.perf_counter() - start, flush=True)


# --- the comparison --------------------------------------------------------------------------------------------------


class Worker:
    def __init__(self, peer: str, name: str, threads: int) -> None:
        self.peer, self.threads, self.times = peer, threads, []
        environment = os.environ | {
            key: str(threads) for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        }
        environment |= MALLOC
        command = [sys.executable, __file__, "--serve", peer, name, str(threads)]
        if threads == 1 and hasattr(os, "sched_setaffinity"):  # jax uses every CPU that it may use
            command = [sys.executable, "-c", PIN, *command]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def train(self, epochs: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{epochs}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            assert self.process.stderr is not None
            raise RuntimeError(f"{self.peer}: {self.process.stderr.read().strip().splitlines()[-1]}")
        return float(answer) / epochs

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def settled(self) -> bool:
        """Whether half of the measurements lie close to their median, and there are enough to say so."""
        low, middle, high = np.percentile(self.times, [25, 50, 75])
        return len(self.times) >= LEAST_ROUNDS and high - low < SPREAD * middle


class Others:
    """How much of the machine others used, in cores, since this was made. None where the system does not say."""

    def __init__(self, own: list[int]) -> None:
        self.own, self.start = own, time.perf_counter()
        self.since = self._ticks()

    def _ticks(self) -> float | None:
        try:
            every = sum(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:4]))
            for pid in (os.getpid(), *self.own):
                every -= sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
            return float(every)
        except OSError:
            return None

    def cores(self) -> float | None:
        ticks = self._ticks()
        if ticks is None or self.since is None:
            return None
        return max(0.0, ticks - self.since) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - self.start)


def compare(name: str, peers: list[str], rounds: int) -> tuple[dict[str, dict], float | None]:
    """Median and range of an epoch's seconds for each peer, at its better number of threads; and what others used."""
    epochs = WORKLOADS[name][3]
    workers = [Worker(peer, name, threads) for peer in peers for threads in (2, 1)]
    others = Others([worker.process.pid for worker in workers])
    try:
        for worker in workers:
            worker.train(epochs)  # compiles, allocates, warms up
            worker.times.append(worker.train(epochs))
        for worker in workers:  # a second time, as a first one alone may have met another program at work
            worker.times.append(worker.train(epochs))
        best = {peer: min(min(worker.times) for worker in workers if worker.peer == peer) for peer in peers}
        measured = [worker for worker in workers if min(worker.times) <= CLEARLY * best[worker.peer]]
        for _ in range(rounds - 2):
            for worker in measured:
                worker.times.append(worker.train(epochs))
            if all(worker.settled for worker in measured):
                break
        used = others.cores()
    finally:
        for worker in workers:
            worker.stop()
    result = {}
    for peer in peers:
        best = min((w for w in measured if w.peer == peer), key=lambda w: statistics.median(w.times))
        times = {w.threads: statistics.median(w.times) for w in workers if w.peer == peer}
        result[peer] = {
            "threads": best.threads,
            "median": statistics.median(best.times),
            "low": min(best.times),
            "high": max(best.times),
            "by_threads": times,
            "n": len(best.times),
        }
    return result, used


def tile_ceiling(threads: int) -> float:
    """GFLOP/s of the register tile on operands in the first-level cache: what no network can exceed."""
    from fastff.engine import panels
    from fastff.engine.program import Program
    from fastff.kernels import linear
    from fastff.kernels.cpu import NR

    # 8 KB of weights for each thread and 16 KB of rows, so that all stays in the cache; a run takes some 20 ms
    n_in, n_out, operations, steps = 128, 16 * threads, 100, 600
    program = Program(NR)
    x, y, w, b = program.panels(n_in), program.panels(n_out), panels.Matrix((n_in, n_out)), panels.aligned(NR)
    for _ in range(operations):
        program.add(linear.forward, x=x, y=y, w=w.panels, bias=b, n_in=n_in, n_out=n_out, relu=0, barrier=False)
    index, best = np.zeros(NR * steps, np.int64), 0.0
    for _ in range(10):
        start = time.perf_counter()
        program.run(index, threads=threads)
        best = max(best, 2 * NR * n_in * n_out * operations * steps / (time.perf_counter() - start) / 1e9)
    return best


def machine() -> dict[str, str]:
    """Hardware and versions, to be printed with the figures."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        names = [
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ]
        cpu = names[0] if names else cpu
    names = ["numba", *dict.fromkeys(package for package in PEERS.values() if package != "fastff")]
    packages = {package: version(package) for package in names if _installed(package)}
    return {"cpu": cpu, "cores": str(os.cpu_count()), "python": platform.python_version(), **packages}


def _installed(package: str) -> bool:
    return importlib.util.find_spec({"scikit-learn": "sklearn"}.get(package, package)) is not None


def show(name: str, result: dict[str, dict], used: float | None, ceilings: dict[int, float]) -> None:
    rows, sizes, batch, _ = WORKLOADS[name]
    print(f"\n{name}: {rows:,} rows, {'-'.join(map(str, sizes))}, batch {batch}")
    if used is not None and used > QUIET:
        print(f"not quiet: other programs used {used:.2f} cores meanwhile")
    print(f"{'':14}{'threads':>8}{'n':>4}{'ms/epoch':>10}{'range':>18}{'GFLOP/s':>9}{'of tile':>9}{'fastff is':>11}")
    own = result["fastff"]["median"]
    for peer, r in result.items():
        rate = model_flops(name) / r["median"] / 1e9
        spread = f"{r['low'] * 1e3:.1f}-{r['high'] * 1e3:.1f}"
        times = "" if peer == "fastff" else f"{r['median'] / own:.2f}x"
        share = f"{rate / ceilings[2]:.0%}"
        first = f"{peer:14}{r['threads']:>8}{r['n']:>4}{r['median'] * 1e3:>10.2f}"
        print(f"{first}{spread:>18}{rate:>9.1f}{share:>9}{times:>11}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", choices=[[], *WORKLOADS], help="all by default")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each, at most")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    peers = [peer for peer in dict.fromkeys(["fastff", *options.peers]) if _available(peer)]
    ceilings = {threads: tile_ceiling(threads) for threads in (1, 2)}
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(
        "the tile alone: " + ", ".join(f"{rate:.0f} GFLOP/s on {threads} threads" for threads, rate in ceilings.items())
    )
    print("medians of n interleaved measurements after a warm-up, each library at its better thread count")
    figures = {}
    for name in options.workloads or WORKLOADS:
        figures[name], used = compare(name, peers, options.rounds)
        show(name, figures[name], used, ceilings)
    if options.json:
        Path(options.json).write_text(
            json.dumps({"machine": facts, "ceilings": ceilings, "figures": figures}, indent=1)
        )


def _available(peer: str) -> bool:
    from fastff.engine.bfloat16 import missing

    lacks = "" if _installed(PEERS[peer]) else f"{PEERS[peer]} is not installed"
    if peer == "fastff.bf16":
        lacks = missing()
    if lacks:
        print(f"{peer}: {lacks}, skipped")
    return not lacks


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
