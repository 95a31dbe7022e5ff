"""Kill training runs at random moments, go on with them until they are done, and compare the ends bit for bit.

python tests/promises/kill_and_resume.py --runs 100

Every run is a real command that gets SIGKILL, once or several times: while it starts, trains, saves or draws. At the
end its folder must hold what a run that nobody disturbed leaves. tests/runs/test_stopped.py does a few of them.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fastff import load_dataset
from fastff.runs import config
from fastff.system import checkpoint

COMMON = ("--batch-size", "16")
SMALL = ("--hidden", "64", "32")
BACKOFF = ("--on-divergence", "backoff", "--optimizer", "sgd", "--momentum", "0", "--step-size", "0.05")
VARIANTS = (
    (*SMALL, "--epochs", "400", "--dropout", "0.2"),  # saves when the clock says so
    (*SMALL, "--epochs", "100", "--schedule", "cosine", "--checkpoint-epochs", "1"),  # saves most of the time
    (*SMALL, "--epochs", "400", "--patience", "60", "--weight-decay", "0.1", "--decay", "decoupled"),
    # decay alone makes the weights grow, until epoch 23 diverges and goes back
    ("--hidden", "--epochs", "100", "--checkpoint-epochs", "2", *BACKOFF, "--weight-decay", "41"),
    # an epoch of some 0.4 s, saved in its middle too
    ("--hidden", "512", "512", "--batch-size", "2", "--epochs", "4", "--checkpoint-minutes", "0.002"),
    ("--hidden", "512", "512", "--batch-size", "2", "--epochs", "3", "--checkpoint-minutes", "0.002"),
)
FROM_SHARDS = len(VARIANTS) - 1  # the variant whose rows stay on disk
CLOCK = ("seconds", "examples_per_second", "train_seconds", "prepare_seconds", "compile_seconds")
PATIENCE = 120.0  # seconds after which a command hangs


def contents(folder: Path) -> dict[str, object]:
    """What a run's folder holds, apart from what depends on the clock."""
    found: dict[str, object] = {"files": sorted(path.name for path in folder.iterdir())}
    for name in ("checkpoint", "best"):
        arrays, notes = checkpoint.load(folder / f"{name}.safetensors")
        for record in [*notes.get("epochs", []), notes.get("progress", {})]:
            for clock in CLOCK:
                record.pop(clock, None)
        found[name] = {key: array.tobytes() for key, array in arrays.items()}, notes
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    for record in (*lines, summary):
        for clock in CLOCK:
            record.pop(clock, None)
    found |= {"metrics": lines, "summary": summary, "config": config.read(folder / "config.toml")}
    return found


def write_shards(folder: Path, pieces: int = 5) -> None:
    """The digits as shards."""
    data = load_dataset("digits")
    folder.mkdir()
    for split in ("train", "val", "test"):
        for name, array in ((f"{a}_{split}", getattr(data, f"{a}_{split}")) for a in "xy"):
            if array is not None:
                for number, piece in enumerate(np.array_split(array, pieces)):
                    np.save(folder / f"{name}-{number:05}.npy", piece)


def train(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "fastff.train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ)


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a command that must succeed; its standard error."""
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise SystemExit(f"a command hangs: {process.args}") from None
    if process.returncode:
        raise SystemExit(f"a command failed with {process.returncode}: {process.args}: {errors}")
    return errors


def appears(path: Path, process: "subprocess.Popen[str]") -> bool:
    """Wait until path is there, or the process has ended: then False."""
    while not path.exists():
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def kill_and_resume(options: tuple[str, ...], folder: Path, seconds: float, chance: random.Random) -> list[float]:
    """A run that is killed 1 to 4 times and then left alone; after how many seconds of having the folder each time."""
    arguments = (*options, "--out", str(folder))
    kills: list[float] = []
    for _ in range(chance.randint(1, 4)):
        process = train(*arguments)
        # Most of a short command's time goes into starting Python: the interesting part begins when it has its folder.
        started = appears(folder / ".lock", process)
        delay = chance.uniform(0.0, seconds) * chance.choice((0.1, 1.0))
        with_luck = None
        try:
            with_luck = process.wait(delay) if started else process.wait()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills.append(delay)
        assert process.stderr is not None
        errors = process.stderr.read()
        process.stderr.close()
        if with_luck:
            raise SystemExit(f"a command failed with {with_luck}: {process.args}: {errors}")
        if (folder / ".lock").exists():  # of the one that was killed, or the next could not be seen to start
            (folder / ".lock").unlink()
        if (folder / "checkpoint.safetensors").exists():
            arguments = ("--resume", "--out", str(folder))
    finish(train(*arguments))
    return kills


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments, as far as clocks allow")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    chance, equal, undisturbed = random.Random(seed), 0, {}
    print(f"seed {seed}, {arguments.runs} runs", flush=True)
    with tempfile.TemporaryDirectory() as place:
        write_shards(Path(place, "shards"))
        for number in range(arguments.runs):
            variant = number % len(VARIANTS)
            dataset = f"{place}/shards" if variant == FROM_SHARDS else "digits"
            options = (dataset, *COMMON, *VARIANTS[variant])
            if variant not in undisturbed:
                process = train(*options, "--out", f"{place}/whole-{variant}")
                appears(Path(place, f"whole-{variant}", ".lock"), process)
                start = time.monotonic()
                finish(process)
                undisturbed[variant] = contents(Path(place, f"whole-{variant}")), time.monotonic() - start
            whole, seconds = undisturbed[variant]
            kills = kill_and_resume(options, Path(place, str(number)), seconds, chance)
            found = contents(Path(place, str(number)))
            differing = [name for name in whole if found[name] != whole[name]]
            equal += not differing
            moments = ", ".join(f"{moment:.2f}" for moment in kills) or "never"
            verdict = f"DIFFERS in {', '.join(differing)}" if differing else "equal"
            print(
                f"{number + 1:4}  variant {variant}, killed after {moments} of {seconds:.2f} s: {verdict}", flush=True
            )
    print(f"{equal} of {arguments.runs} ends are bitwise equal to those of undisturbed runs")
    return 0 if equal == arguments.runs else 1


if __name__ == "__main__":
    sys.exit(main())
