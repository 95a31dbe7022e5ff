"""How bfloat16 changes the accuracy and the time of a training: python bench/precision.py --out FILE [options]

Trains each data set's settings (SET or SET:PRESET) in float32 and in bfloat16 over several seeds, one run after the
other, and prints the best validation accuracy, mean and sample standard deviation over the seeds, and the median
seconds of training. The test rows are not used. Results that FILE (JSON lines) holds already are not computed again.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path

from ablation import train

from fastff.engine.bfloat16 import PROGRAMS
from fastff.runs.config import start_from


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = [f"cifar10-hst:{preset}" for preset in ("course", "fast", "best")]
    parser.add_argument("--sets", nargs="+", default=[*presets, "fashion-mnist"])
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True, help="results so far, as JSON lines")
    a = parser.parse_args()
    lines = [json.loads(line) for line in a.out.read_text().splitlines()] if a.out.exists() else []
    done = {(line["set"], line["seed"], line["precision"]): (line["accuracy"], line["seconds"]) for line in lines}
    with a.out.open("a") as out:
        for name in a.sets:
            for seed in a.seeds:
                for precision in PROGRAMS:
                    if (name, seed, precision) in done:
                        continue
                    dataset, _, preset = name.partition(":")
                    config = dataclasses.replace(start_from(dataset, preset or None, {}), data_dir=a.data_dir,
                                                 seed=seed, precision=precision, threads=a.threads)  # fmt: skip
                    accuracy, seconds = done[name, seed, precision] = train(config)
                    line = {"set": name, "seed": seed, "precision": precision, "accuracy": accuracy, "seconds": seconds}
                    print(json.dumps(line), file=out, flush=True)
                    print(f"{name}, seed {seed}, {precision}: {accuracy:.2f} % in {seconds:.1f} s", flush=True)
    print("\n| settings | precision | validation, % | training, s |\n|---|---|---|---|")
    for name in a.sets:
        for precision in PROGRAMS:
            figures = [done[name, seed, precision] for seed in a.seeds]
            accuracies, seconds = zip(*figures, strict=True)
            spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
            accuracy = f"{statistics.mean(accuracies):.2f} ± {spread:.2f}"
            print(f"| {name} | {precision} | {accuracy} | {statistics.median(seconds):.1f} |")


if __name__ == "__main__":
    main()
