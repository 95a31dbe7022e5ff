"""A command line is read into a dataclass, errors name its options as they are typed, and --help explains them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import pytest

from fastff.errors import ArgumentError, DataError
from fastff.system.option_help import entry, field_texts, grouped, help_text, shown_value
from fastff.system.options import Flag, Option, as_words, asks_for_help, names_of, naming, read


@dataclass(frozen=True)
class Bake:
    """Bake a cake.

    Example: bake cake --minutes 30
    """

    GROUPS: ClassVar = {"oven": ("minutes", "heat"), "cake": ("layers", "icing")}

    cake: Annotated[str, Option("CAKE", positional=True)]
    """What to bake."""
    plate: Annotated[str, Option("PLATE", positional=True)] = "any"
    """Where to put it."""
    heat: Annotated[float, Option(aliases=("--temperature",))] = 180.0
    """How hot the
    oven is."""
    minutes: int | None = None
    """For how long; by default until it is done."""
    layers: tuple[int, ...] = (2, 1)
    """The sizes of its layers."""
    icing: Literal["none", "sugar", "chocolate"] = "none"
    """What is on it."""
    nuts: tuple[str, ...] = ()
    """What is in it."""
    butter: bool = True
    """Whether there is butter in it."""
    eat: Flag = False
    """Eat it too."""


def values(*words):
    return read(Bake, words).values


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["x"], {}),
        (["x", "white"], {"plate": "white"}),
        (["--minutes", "3", "x"], {"minutes": 3}),
        (["--minutes=3", "x"], {"minutes": 3}),
        (["x", "--heat", "-1e-3"], {"heat": -0.001}),
        (["x", "--temperature", "1e2"], {"heat": 100.0}),
        (["x", "--heat", "nan", "--heat", "5"], {"heat": 5.0}),
        (["--layers", "3", "4", "x"], {"layers": (3, 4)}),
        (["--layers", "3", "-4", "x"], {"layers": (3, -4)}),
        (["x", "--layers", "3,4"], {"layers": (3, 4)}),
        (["x", "--layers", "3, 4"], {"layers": (3, 4)}),
        (["x", "--layers", "3 4"], {"layers": (3, 4)}),
        (["x", "--layers=3,4"], {"layers": (3, 4)}),
        (["x", "--layers"], {"layers": ()}),
        (["x", "--nuts", "hazel, ground", "wal", "--eat"], {"nuts": ("hazel, ground", "wal"), "eat": True}),
        (["x", "--nuts=-pea"], {"nuts": ("-pea",)}),
        (
            ["x", "--nuts", "hazel", "--minutes", "3", "--nuts", "wal", "pea"],
            {"minutes": 3, "nuts": ("hazel", "wal", "pea")},
        ),
        (["x", "--nuts=hazel", "--nuts=wal"], {"nuts": ("hazel", "wal")}),
        (["x", "--layers", "3", "--layers", "4"], {"layers": (4,)}),
        (["x", "--minutes", "3", "--minutes", "4"], {"minutes": 4}),
        (["x", "--icing", "sugar", "--no-butter"], {"icing": "sugar", "butter": False}),
        (["x", "--no-butter", "--butter"], {"butter": True}),
        (["--", "x", "--eat"], {"plate": "--eat"}),
    ],
    ids=" ".join,
)
def test_what_a_command_line_says(words, found):
    assert values(*words) == {"cake": "x", **found}


def test_underscores_are_dashes_too():
    @dataclass
    class Long:
        two_words: int = 0

    assert read(Long, ["--two_words", "3"]).values == {"two_words": 3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "CAKE: not given, want CAKE [PLATE] [OPTIONS]"),
        (["x", "--minute", "3"], "--minute: no such option; did you mean --minutes?"),
        (["x", "--mintues", "3"], "--mintues: no such option; did you mean --minutes?"),
        (["x", "-minutes", "3"], "-minutes: no such option; did you mean --minutes?"),
        (["x", "--qqq"], "--qqq: no such option, --help lists them"),
        (["x", "--no-eat"], "--no-eat: no such option"),
        (["x", "--minutes"], "--minutes: nothing behind it, want a whole number"),
        (["x", "--minutes", "--eat"], "--minutes: nothing behind it, want a whole number"),
        (["x", "--minutes", "3.5"], "--minutes: '3.5', want a whole number"),
        (["x", "--heat", "hot"], "--heat: 'hot', want a number"),
        (["x", "--temperature", "hot"], "--temperature: 'hot', want a number"),
        (["x", "--icing", "suger"], "--icing: 'suger', want one of none, sugar, chocolate; did you mean sugar?"),
        (["x", "--layers", "two"], "--layers: 'two', want whole numbers, such as 256 128"),
        (["x", "--eat=yes"], "--eat: takes no value, but 'yes' was given"),
        (["x", "y", "z"], "'z': one word too many, as CAKE is x, PLATE is y"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_is_one_line_that_says_what_is_wanted(words, said):
    with pytest.raises(ArgumentError) as caught:
        values(*words)
    assert str(caught.value).startswith(said)


def test_an_option_that_swallows_a_file_is_noticed(tmp_path):
    (tmp_path / "cake").touch()
    with pytest.raises(ArgumentError, match="--nuts takes all the words behind it, want CAKE before it"):
        values("--nuts", "hazel", str(tmp_path / "cake"))


def test_options_become_words_that_say_the_same():
    baked = Bake("x", heat=3.5, layers=(1, 2), nuts=("--odd",), butter=False, eat=True)
    assert Bake(**values(*as_words(baked))) == baked
    assert as_words(Bake("x")) == ["x"]


def test_errors_begin_with_the_name_that_was_typed():
    def fail(words, error):
        with naming(lambda: names_of(Bake, words)):
            raise error

    for words, name in (
        (["x", "--temperature", "3"], "--temperature"),
        (["x"], "--temperature"),
        (["x", "--heat", "3"], "--heat"),
    ):
        with pytest.raises(ArgumentError, match=f"^{name}: 3, want less$"):
            fail(words, ArgumentError("heat: 3, want less"))
    with pytest.raises(DataError, match=r"^CAKE: stale$"):
        fail(["x"], DataError("cake: stale"))
    with pytest.raises(ArgumentError, match=r"^heated: no$"):
        fail(["x"], ArgumentError("heated: no"))


@pytest.mark.parametrize(("words", "asked"), [(["-h"], True), (["x", "--help"], True), (["--", "--help"], False)])
def test_help_is_asked_for(words, asked):
    assert asks_for_help(words) is asked


@pytest.mark.parametrize("width", [80, 60, 120])
def test_help_fits_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = help_text(Bake, "bake", defaults={"heat": 200.0}, about_defaults="As grandmother had it.")
    assert max(map(len, text.splitlines())) <= width
    assert "usage: bake CAKE [PLATE] [OPTIONS]\n" in text
    assert "How hot the oven is. Default: 200." in " ".join(text.split())
    assert "As grandmother had it." in text


def test_help_is_in_groups_and_shows_defaults_plainly():
    text = help_text(Bake, "bake")
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["arguments:", "oven:", "cake:", "options:"]
    assert [spec.field for spec in grouped(Bake)["oven"]] == ["minutes", "heat"]
    assert "(default" not in text
    assert "None" not in text
    assert "--butter, --no-butter" in text
    assert "Default: on." in text
    assert text.count("Default:") == 5  # of plate, heat, layers, icing, butter
    assert "-h, --help" in text


def test_long_choices_are_broken_at_their_commas():
    lines = entry("--icing {" + ",".join(f"flavour{i}" for i in range(20)) + "}", "What is on it.", 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == " " * 24 + "What is on it."


def test_a_class_without_source_has_no_texts():
    assert field_texts(type("Made", (), {})) == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (True, "on"), (1e-8, "1e-08"), (0.0, "0"), ((256, 128), "256 128"), ("relu", "relu")],
)
def test_values_are_shown_as_they_are_typed(value, shown):
    assert shown_value(value) == shown
