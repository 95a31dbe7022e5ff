"""What each part of a run's recipe is worth, measured by training without it: the parts, ablation.json, the figures.

The command fastff.ablate trains; the report reads what it wrote.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastff
from fastff.errors import DataError
from fastff.runs import config
from fastff.runs.build import idle_options
from fastff.runs.config import Config
from fastff.runs.folder import ABLATION, DATA
from fastff.system.files import write_text

# Each option that can be left out: what it is then, and what a person calls it, given the options of the run
_LEFT_OUT: dict[str, tuple[Any, Callable[[Config], str]]] = {
    "standardize": (False, lambda o: "standardising the features"),
    "bins": (0, lambda o: f"{o.bins} ranges of each number"),
    "whiten": (0, lambda o: f"whitening to {o.whiten} components"),
    "mirror": (False, lambda o: "mirroring"),
    "shift": (0, lambda o: f"shifts of up to {o.shift} pixel{'s' * (o.shift > 1)}"),
    "rotate": (0.0, lambda o: f"rotations of up to {o.rotate:g} degrees"),
    "zoom": (0.0, lambda o: f"zooms of up to {o.zoom:.0%}"),
    "cutout": (0, lambda o: f"squares of {o.cutout} pixel{'s' * (o.cutout > 1)} cut out"),
    "dropout": (0.0, lambda o: f"dropout {o.dropout:g}"),
    "label_smoothing": (0.0, lambda o: f"label smoothing {o.label_smoothing:g}"),
    "ema_decay": (0.0, lambda o: f"averaged weights, decay {o.ema_decay:g}"),
    "weight_decay": (0.0, lambda o: f"weight decay {o.weight_decay:g}"),
    "schedule": ("constant", lambda o: f"the {o.schedule} schedule"),
    "bias_correction": ("standard", lambda o: f"the {o.bias_correction} bias correction"),
    "momentum": (0.0, lambda o: f"momentum {o.momentum:g}"),
    "hidden": ((), lambda o: f"the last hidden layer of {o.hidden[-1]} units"),
}


@dataclass(frozen=True)
class Part:
    """What one part is worth, over the seeds: means, and the standard error of what is lost (None of one seed).

    lost: how much higher the validation accuracy (0..1), or r2, of the whole recipe is: a mean over pairs of one seed.
    seconds: of training, one of several at once. problem: why there are no figures, where training has diverged, or "".
    """

    name: str
    score: float
    lost: float
    error: float | None
    seconds: float
    problem: str = ""


@dataclass
class Ablation:
    """The trainings of one study. options: the run's, as config.toml has them. trainings: one record each.

    score: accuracy or r2, by which the parts are judged.
    """

    options: dict[str, Any]
    dataset: str
    seeds: list[int]
    trainings: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    score: str = "accuracy"

    def record(self, without: str | None, seed: int) -> dict[str, Any] | None:
        """The training without this option (None: with all of them), if there is one already."""
        return next((t for t in self.trainings if (t["without"], t["seed"]) == (without, seed)), None)

    def save(self, folder: Path) -> None:
        figures = {**dataclasses.asdict(self), "version": fastff.__version__}
        write_text(folder / ABLATION, json.dumps(figures, indent=1) + "\n")

    def of(self, options: dict[str, Any]) -> bool:
        """Whether this is a study of the recipe with these options, wherever its data was."""
        return _without_places(self.options) == _without_places(options)

    @property
    def baseline(self) -> Part:
        """The whole recipe; `lost` is 0, and `error` the standard error of its score."""
        records = self._records(None)
        values = [record["val_score"] for record in records]
        return Part("nothing", statistics.fmean(values), 0.0, _standard_error(values), _seconds(records))

    def parts(self) -> list[Part]:
        """The parts that all seeds were trained without, those that lose most first."""
        names = dict.fromkeys(record["without"] for record in self.trainings if record["without"] is not None)
        found = [self._part(option) for option in names if len(self._records(option)) == len(self.seeds)]
        return sorted(found, key=lambda part: -part.lost)

    @property
    def complete(self) -> bool:
        """Whether every part of the recipe was left out with every seed."""
        wanted = [None, *without(config_of(self.options))]
        return all(self.record(option, seed) is not None for option in wanted for seed in self.seeds)

    def _records(self, option: str | None) -> list[dict[str, Any]]:
        return [found for seed in self.seeds if (found := self.record(option, seed)) is not None]

    def _part(self, option: str) -> Part:
        records, name = self._records(option), part_name(option, config_of(self.options))
        problem = next((record["error"] for record in records if record["error"] is not None), "")
        if problem:
            return Part(name, math.nan, math.inf, None, math.nan, problem)
        values = [record["val_score"] for record in records]
        whole = [record["val_score"] for record in self._records(None)]
        lost = [one - other for one, other in zip(whole, values, strict=True)]
        return Part(name, statistics.fmean(values), statistics.fmean(lost), _standard_error(lost), _seconds(records))


def without(options: Config) -> dict[str, Config]:
    """The recipe without each part that it has, by the option that says how much of it there is."""
    found = {}
    idle = idle_options(options.optimizer)
    for name, (nothing, _) in _LEFT_OUT.items():
        if name not in idle and getattr(options, name) != nothing:
            less: Any = options.hidden[:-1] if name == "hidden" else nothing
            found[name] = dataclasses.replace(options, **{name: less})
    return found


def part_name(option: str, options: Config) -> str:
    """What a person calls the part of a recipe that this option is."""
    return _LEFT_OUT[option][1](options)


def config_of(options: dict[str, Any]) -> Config:
    """The Config of options as config.toml has them, with the defaults for the others."""
    return dataclasses.replace(Config(), **options)


def read_ablation(folder: Path) -> Ablation | None:
    """The study in a run's folder, None where there is none. Raises DataError for a file that is damaged."""
    path = folder / ABLATION
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_bytes())
        study = Ablation(**{field.name: values[field.name] for field in dataclasses.fields(Ablation)})
        study.options = config.checked(study.options, path)
        for record in study.trainings:
            if record["error"] is None:
                record["val_score"], record["seconds"] = float(record["val_score"]), float(record["seconds"])
        if study.complete:
            study.parts()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except DataError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not as fastff.ablate writes it ({error!r}), want it removed and made anew") from None
    return study


def _without_places(options: dict[str, Any]) -> Config:
    return dataclasses.replace(config_of(options), **{name: getattr(Config, name) for name in DATA})


def _standard_error(values: list[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _seconds(records: list[dict[str, Any]]) -> float:
    return statistics.fmean(record["seconds"] for record in records)
