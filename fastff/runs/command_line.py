"""What a command line of train, or of another command that starts from a Config, says besides the Config itself."""

from contextlib import suppress
from typing import Any

from fastff.errors import FastffError
from fastff.runs.config import Config, config_file, start_from
from fastff.runs.presets import DEFAULTS, PRESETS, own_options
from fastff.system import options
from fastff.system.option_help import help_text
from fastff.system.shell import program


def train_help(arguments: list[str]) -> str:
    """The help of train, with the defaults of the data set, the preset and the file that the arguments name."""
    values: dict[str, Any] = {}
    with suppress(FastffError):  # then it is the help of digits
        values = options.read(Config, [word for word in arguments if word not in ("-h", "--help")]).values
    dataset, preset, config = values.get("dataset", Config.dataset), values.get("preset"), values.get("config")
    file = config_file(config)
    dataset = values.get("dataset") or file.get("dataset", Config.dataset)
    preset = preset or file.get("preset")
    task = "regress" if values.get("task", file.get("task")) == "regress" else "classify"
    start = start_from(dataset, preset, file, task)
    whose = f"the preset {preset}" if preset else _owner(dataset)
    beside = f", and {config} where it has others" if config else ""
    if own_options(dataset) and not preset and dataset not in DEFAULTS and task == "classify":
        beside += ", for classes (--task regress --help: for numbers)"
    about = f"The defaults below are those of {whose}{beside}."
    if not (preset or config):
        about += " Those of others: fastff train DATASET --help, or --preset NAME --help."
    return help_text(Config, program("train"), defaults=vars(start), about_defaults=about)


def _owner(dataset: str) -> str:
    """Whose defaults a data set starts from, for a person."""
    if dataset in DEFAULTS:
        return f"the data set {dataset}"
    return "the preset tabular, from which tables start" if own_options(dataset) else "data without a preset of its own"


def option_names(command: type, arguments: list[str]) -> dict[str, str]:
    """How an error names each option: as on the command line, or where the file of --config, or a preset, has it."""
    found = options.read(command, arguments)
    names, config = options.names_of(command, arguments), found.values.get("config")
    file: dict[str, Any] = {}
    with suppress(FastffError):  # which may be what the error is about
        file = config_file(config)
    dataset = found.values.get("dataset") or file.get("dataset", Config.dataset)
    preset = found.values.get("preset") or file.get("preset")
    general = {**options.names_of(Config, []), **names}
    owned = PRESETS.get(preset, {}) if preset else own_options(dataset)
    whose = f"the preset {preset}" if preset else _owner(dataset).removeprefix("the data set ")
    for name in owned:
        general[name] = f"{general[name]} (of {whose})"
    return {**general, **{name: f"{config}: {name}" for name in file}, **found.spelled}
