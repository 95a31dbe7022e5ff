"""python -m fastff.ablate RUN_DIR: measures what each part of a run's recipe is worth, by training without it."""

import dataclasses
import math
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastff import command
from fastff.data import Dataset, load_dataset
from fastff.errors import DataError, DivergenceError
from fastff.runs.ablation import Ablation, Part, config_of, part_name, read_ablation, without
from fastff.runs.build import idle_options
from fastff.runs.config import Config, Count, settings
from fastff.runs.folder import ABLATION, ABLATION_PICTURE, recipe
from fastff.runs.progress import announce_compiling
from fastff.runs.sweep import COMMAND_ONLY, Fitted, fit_many
from fastff.system.arguments import check_size
from fastff.system.files import locked, remove_leftovers
from fastff.system.limits import usable_cpus
from fastff.system.options import Option, as_words
from fastff.system.paths import PATH, HasPaths
from fastff.system.shell import command_line, program
from fastff.system.signals import Stopped, raised
from fastff.system.streams import say

SEEDS = 3


@dataclass(frozen=True)
class Options(HasPaths):
    """Measure what each part of a run's recipe is worth: train again as the run did, and without each of its parts in
    turn (dropout, whitening, weight decay, its schedule, a hidden layer, ...), over several seeds, on all cores.

    Prints how many points of validation accuracy, or hundredths of r2, are lost without each, and writes ablation.json
    and ablation.png into the folder, which fastff report shows. Test rows are not used. Every training is kept, so that
    the same line goes on after an interruption, or with more seeds. The run itself stays as it is.

    Example: fastff ablate runs/digits
    """

    run_dir: Annotated[str, Option("RUN_DIR", positional=True), PATH]
    """The folder of a run, of several (--seeds), or of a search (fastff tune)."""
    seeds: int = SEEDS
    """How many seeds to train each variant with, from the run's own on. More of them make the errors smaller."""
    jobs: Count = None
    """How many networks to train at once, each with one thread; by default as many as this process may use CPUs."""


@command.takes(Options, "ablate")
def main(options: Options) -> None:
    check_size("seeds", options.seeds)
    jobs = usable_cpus() if options.jobs is None else check_size("jobs", options.jobs)
    folder = Path(options.run_dir)
    config = config_of(recipe(folder))
    variants = without(config)
    if not variants:
        raise DataError(f"{folder}: its recipe has no part that can be left out, want a run with one")
    data = load_dataset(config.dataset, **config.loading).with_validation()
    announce_compiling(config.precision)
    with locked(folder):
        remove_leftovers(folder, (ABLATION, ABLATION_PICTURE))
        study = _study(folder, config, data, options.seeds)
        recipes: list[tuple[str | None, Config]] = [(None, config), *variants.items()]
        wanted = {  # seed by seed, so that what an interruption leaves are pairs
            _trainable(variant, seed): (name, seed)
            for seed in study.seeds
            for name, variant in recipes
            if study.record(name, seed) is None
        }
        done = 0

        def keep(item: Fitted) -> None:
            nonlocal done
            name, seed = wanted[item.config]
            record = _record(name, seed, item)
            study.trainings.append(record)
            study.save(folder)
            done += 1
            how = "diverged" if record["error"] else f"{record['val_score']:.2%}"
            what = "the whole recipe" if name is None else f"without {part_name(name, config)}"
            say(f"{done}/{len(wanted)}: seed {seed}, {what}: {how}")

        try:
            with raised():
                fit_many(list(wanted), data, jobs=jobs, on_fitted=keep)
        except KeyboardInterrupt as stop:
            again = command_line([*program("ablate").split(), *as_words(options)])
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            raise Stopped(number, f"finished trainings are kept; {again} goes on") from None
        parts = study.parts()
        drawn = [part for part in parts if not part.problem]
        if drawn:
            _draw(folder / ABLATION_PICTURE, study, drawn)
    print(table(study, parts))
    print(f"written to {folder}: {ABLATION}{f', {ABLATION_PICTURE}' if drawn else ''}; fastff.report shows them")


def table(study: Ablation, parts: list[Part]) -> str:
    """What was measured, for people: the whole recipe, and a line for each part."""
    base, count = study.baseline, len(study.seeds)
    spread = "" if base.error is None else f" ± {100 * base.error:.2f}"
    width = max(len("left out"), *(len(part.name) for part in parts))
    lines = [
        f"{study.dataset}: validation {study.score} {100 * base.score:.2f}%{spread} with all of the recipe, "
        f"{count} seed{'s' * (count > 1)}, {base.seconds:.1f} s a training",
        f"{'left out':<{width}}  {study.score:>8}  points lost    seconds",
    ]
    for part in parts:
        error = "" if part.error is None else f" ± {100 * part.error:.2f}"
        figures = f"{100 * part.score:7.2f}%  {100 * part.lost:+6.2f}{error:<7}  {part.seconds:7.1f}"
        lines.append(f"{part.name:<{width}}  {f'does not train: {part.problem}' if part.problem else figures}")
    if count > 1:
        lines.append("± is the standard error of the mean; what is less than twice its error may be chance.")
    return "\n".join(lines)


def _study(folder: Path, config: Config, data: Dataset, count: int) -> Ablation:
    """The study in the folder, where it is one of this recipe, otherwise a new one."""
    study = read_ablation(folder)
    if study is None or not study.of(settings(config)):
        study = Ablation(settings(config), data.name, [], score="accuracy" if data.task == "classify" else "r2")
    study.seeds = list(range(config.seed, config.seed + count))
    return study


def _trainable(config: Config, seed: int) -> Config:
    """The config as fit_many takes it, with this seed."""
    # Beside those of the command, the options of the other optimizer, which only the preset's name would excuse
    names = (*COMMAND_ONLY, *idle_options(config.optimizer), *(() if config.hidden else ("dropout", "activation")))
    return dataclasses.replace(config, **{name: getattr(Config, name) for name in names}, seed=seed)


def _record(name: str | None, seed: int, item: Fitted) -> dict[str, Any]:
    """What is kept of a training. Raises its error, unless a variant has diverged."""
    record = {"without": name, "seed": seed, "val_score": None, "best_epoch": item.best_epoch, "seconds": None}
    if item.error is not None:
        if name is None or not isinstance(item.error, DivergenceError):
            raise type(item.error)(f"{f'without {name}' if name else 'the whole recipe'}: {item.error}")
        return {**record, "error": str(item.error)}
    assert item.history is not None
    assert item.best_epoch is not None
    best = item.history.epochs[item.best_epoch - 1]
    score = best.val_r2 if best.val_accuracy is None else best.val_accuracy
    seconds = sum(epoch.seconds for epoch in item.history.epochs)
    return {**record, "val_score": score, "seconds": seconds, "error": None}


def _draw(path: Path, study: Ablation, parts: list[Part]) -> None:
    from fastff import plots  # here, as matplotlib takes long to import

    seeds = f"seed {study.seeds[0]}" if len(study.seeds) == 1 else f"seeds {study.seeds[0]} to {study.seeds[-1]}"
    plots.draw_ablation(
        path,
        [part.name for part in parts],
        [100 * part.lost for part in parts],
        [math.nan if part.error is None else 100 * part.error for part in parts],
        score=study.score,
        title=f"{study.dataset}: what each part is worth ({seeds})",
    )


if __name__ == "__main__":
    command.run(main)
