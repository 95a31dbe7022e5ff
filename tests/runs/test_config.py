"""Where an option's value comes from: the command line, a config file, a preset or the data set, in this order.

A config that is written to a file and read back is the same.
"""

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.errors import ArgumentError, DataError
from fastff.runs.config import Config, parse, read, settings, write
from fastff.runs.presets import DEFAULTS, PRESETS

DIGITS = DEFAULTS["digits"]


def no_run(options):
    raise AssertionError("nothing was to be resumed")


def options(*arguments):
    return parse([str(argument) for argument in arguments], no_run)


def toml(path, **values):
    write(settings(dataclasses.replace(Config(), **values)), path)
    return path


def test_nothing_said_is_digits_with_its_own_values():
    found = options()
    assert found.dataset == "digits"
    assert {name: getattr(found, name) for name in DIGITS} == DIGITS
    assert found.step_size == Config.step_size


def test_an_unknown_data_set_starts_from_the_general_values():
    assert options("flowers.npz") == dataclasses.replace(Config(), dataset="flowers.npz")


@pytest.mark.parametrize("name", ["flowers.csv", "there/flowers.CSV", "flowers.parquet"])
def test_a_table_starts_from_the_preset_for_tables(name):
    assert options(name) == dataclasses.replace(options(name, "--preset", "tabular"), preset=None)
    assert options(name, "--preset", "course").monitor == Config.monitor != PRESETS["tabular"]["monitor"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_takes_the_place_of_what_the_data_set_starts_from(name):
    found = options("cifar10-hst", "--preset", name)
    assert found == dataclasses.replace(Config(), dataset="cifar10-hst", preset=name, **PRESETS[name])


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_a_data_set_starts_from_is_a_preset_by_its_name(name):
    assert options("./mine.npz", "--preset", name).hidden == options(name).hidden


def test_a_config_file_wins_over_preset_and_data_set(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("epochs = 3\n")
    found = options("digits", "--preset", "course", "--config", path)
    assert (found.epochs, found.batch_size) == (3, PRESETS["course"]["batch_size"])


def test_the_command_line_wins_over_all(tmp_path):
    path = toml(tmp_path / "own.toml", epochs=3, hidden=(7,), standardize=False)
    found = options("--config", path, "--epochs", 5, "--hidden", 9, 8, "--standardize")
    assert (found.epochs, found.hidden, found.standardize) == (5, (9, 8), True)
    # also where it says what would have been the general value
    assert options("digits", "--epochs", Config.epochs).epochs == Config.epochs != DIGITS["epochs"]


def test_a_config_file_names_data_set_and_preset(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('dataset = "mnist"\npreset = "course"\n')
    found = options("--config", path)
    assert (found.dataset, found.preset, found.beta2) == ("mnist", "course", PRESETS["course"]["beta2"])
    assert options("cifar10", "--config", path).dataset == "cifar10"


def test_resuming_takes_the_runs_options(tmp_path):
    saved = {"dataset": "mnist", "epochs": 3, "seed": 7}
    found = parse(["--resume", "--epochs", "5"], lambda said: (tmp_path, saved))
    assert (found.dataset, found.epochs, found.seed, found.out, found.resume) == ("mnist", 5, 7, str(tmp_path), True)


@pytest.mark.parametrize("begun", [None, "course"])
@pytest.mark.parametrize("where", ["command line", "file"])
def test_resuming_with_another_preset_is_refused(tmp_path, begun, where):
    """Its options would not count beside the run's, and config.toml would say that they did."""
    saved = {"dataset": "mnist", **({} if begun is None else {"preset": begun, **PRESETS[begun]})}
    more = ["--preset", "fast"] if where == "command line" else ["--config", toml(tmp_path / "own.toml", preset="fast")]
    how = "without one" if begun is None else f"with {begun!r}"
    with pytest.raises(ArgumentError, match=rf"^preset: 'fast' for .*, which has begun {how}, want it left out$"):
        parse(["--resume", *map(str, more)], lambda said: (tmp_path, saved))
    if begun is not None:
        assert parse(["--resume", "--preset", begun], lambda said: (tmp_path, saved)).preset == begun


def test_every_value_of_the_presets_is_an_option(tmp_path):
    for values in (*DEFAULTS.values(), *PRESETS.values()):
        path = toml(tmp_path / "config.toml", **values)
        assert read(path).items() >= values.items()


def test_a_path_that_can_be_none_is_refused_by_its_name():
    with pytest.raises(ArgumentError, match=r"^dataset: .*, want a path"):
        Config(dataset="~\0")


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    dataset=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),  # that is in no name of a file
    hidden=st.lists(st.integers(1, 10**6)).map(tuple),
    step_size=finite,
    epsilon=finite,
    standardize=st.booleans(),
    patience=st.none() | st.integers(1, 99),
    optimizer=st.sampled_from(["adam", "sgd"]),
    seed=st.integers(0, 2**63 - 1),
)
def test_a_config_survives_its_file(tmp_path_factory, **values):
    config = dataclasses.replace(Config(), **values)
    path = tmp_path_factory.mktemp("config") / "config.toml"
    write(settings(config), path)
    assert dataclasses.replace(Config(), **read(path)) == config


def test_where_a_run_is_kept_is_not_in_its_config(tmp_path):
    text = toml(tmp_path / "config.toml", out="there", resume=True, config="other.toml", log="mlflow").read_text()
    assert not {"out", "resume", "config", "log"} & {line.split(" = ")[0] for line in text.splitlines()}


def test_a_whole_number_will_do_for_a_number(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("step_size = 1\n")
    assert isinstance(read(path)["step_size"], float)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_options_or_a_data_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("config") / "own.toml"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        assert all(hasattr(Config, name) for name in read(path))


def test_an_unknown_preset_is_refused():
    with pytest.raises(ArgumentError, match="preset: 'sota', want one of course"):
        options("--preset", "sota")
