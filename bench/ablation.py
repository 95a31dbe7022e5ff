"""What each part of a data set's settings is worth: python bench/ablation.py [DATASET] --data-dir DIR --out FILE

Trains with all of a preset's settings, and then without each part of them in turn, over several seeds, one network on
each core. Prints the mean of the best validation accuracy and its sample standard deviation over the seeds, which are
the figures of docs/tuning.md (for a run of your own, see fastff.ablate). The test rows are not used. Results that FILE
(JSON lines) holds already are not computed again, so that an interrupted study can be continued.
"""

import argparse
import dataclasses
import json
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fastff.data import load_dataset
from fastff.runs.build import make_trainer
from fastff.runs.config import Config, start_from
from fastff.system.limits import usable_cpus

WITHOUT: dict[str, dict[str, Any]] = {
    "whitening": {"whiten": 0},
    "mirroring": {"mirror": False},
    "shifts": {"shift": 0},
    "dropout": {"dropout": 0.0},
    "label smoothing": {"label_smoothing": 0.0},
    "weight decay": {"weight_decay": 0.0},
}


def variants(whole: Config) -> dict[str, Config]:
    """The settings to train with: under "" the whole preset, and under the name of each of its parts all but that."""
    changes = {**WITHOUT, f"the {whole.schedule} schedule": {"schedule": "constant"}}
    without = {part: dataclasses.replace(whole, **change) for part, change in changes.items()}
    return {"": whole, **{part: config for part, config in without.items() if config != whole}}


def train(config: Config) -> tuple[float, float]:
    """Best validation accuracy in percent, and seconds of training."""
    data = load_dataset(config.dataset, data_dir=config.data_dir).with_validation()
    trainer = make_trainer(config, data)
    history = trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=config.epochs)
    return 100 * max(record.val_accuracy or 0.0 for record in history.epochs), sum(e.seconds for e in history.epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="cifar10-hst")
    parser.add_argument("--data-dir")
    parser.add_argument("--preset", help="its settings on top of the data set's own")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=usable_cpus())
    parser.add_argument("--out", type=Path, required=True, help="results so far, as JSON lines")
    a = parser.parse_args()
    whole = dataclasses.replace(start_from(a.dataset, a.preset, {}), data_dir=a.data_dir, threads=1)
    configs = variants(whole)
    lines = a.out.read_text().splitlines() if a.out.exists() else []
    done = {(line["part"], line["seed"]): line["accuracy"] for line in map(json.loads, lines)}
    with ProcessPoolExecutor(a.jobs, mp_context=get_context("spawn")) as pool, a.out.open("a") as out:
        runs = {
            pool.submit(train, dataclasses.replace(config, seed=seed)): (part, seed)
            for seed in a.seeds
            for part, config in configs.items()
            if (part, seed) not in done
        }
        for run in as_completed(runs):
            part, seed = runs[run]
            accuracy, _ = run.result()
            done[part, seed] = accuracy
            print(json.dumps({"part": part, "seed": seed, "accuracy": accuracy}), file=out, flush=True)
            print(f"without {part or 'nothing'}, seed {seed}: {accuracy:.2f}", flush=True)
    spread = {}
    for part in configs:
        values = [done[part, seed] for seed in a.seeds]
        spread[part] = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    mean, deviation = spread.pop("")
    print(f'[[study]]\ndataset = "{a.dataset}"\npreset = "{a.preset or a.dataset}"\nseeds = {a.seeds}')
    print(f"baseline = {{ mean = {mean:.2f}, spread = {deviation:.2f} }}\nrows = [")
    for part, (own, own_deviation) in sorted(spread.items(), key=lambda item: item[1]):
        print(
            f'    {{ removed = "{part}", mean = {own:.2f}, spread = {own_deviation:.2f}, '
            f"difference = {round(own, 2) - round(mean, 2):.2f} }},"
        )
    print("]")


if __name__ == "__main__":
    main()
