"""A command's options: read from a command line into a dataclass, whose fields they are, and named in errors.

The type of a field says what an option takes: bool is a flag, tuple[int, ...] takes several values, X | None may be
left out, Literal names the choices. An Option beside the type says what that does not. option_help.py prints the help.
Given again, an option of several names takes more of them, as each is a thing of its own; of another one the last value
counts, also of the widths in --hidden: scripts add options to those that they have.

argparse is not underneath, as that made it longer: its errors give all names of an option in place of the one that was
typed, it takes -1e-3 for an option and a path behind numbers for a number, and its lines differ from Python to Python.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from fastff.errors import ArgumentError, DataError, FastffError

WANTED = {int: "a whole number", float: "a number", str: "a text"}
METAVARS = {int: "N", float: "F", str: "TEXT", bool: ""}
# What other programs call an option of ours
_ELSEWHERE = {
    **dict.fromkeys(("--learning-rate", "--alpha", "--eta"), "--lr"),
    **dict.fromkeys(("--layers", "--units", "--hidden-dim", "--hidden-layers", "--hidden-layer-sizes"), "--hidden"),
    **dict.fromkeys(("--bs", "--minibatch"), "--batch-size"),
    **dict.fromkeys(("--n-epochs", "--num-epochs", "--max-iter", "--iterations"), "--epochs"),
    **dict.fromkeys(("--output", "--save", "-o"), "--out"),
    **dict.fromkeys(("--wd", "--l2"), "--weight-decay"),
    **dict.fromkeys(("--n-jobs", "--workers"), "--jobs"),
    **dict.fromkeys(("--label", "--y"), "--target"),
    **dict.fromkeys(("--random-state",), "--seed"),
    **dict.fromkeys(("--early-stopping",), "--patience"),
    **dict.fromkeys(("--gpu", "--device", "--cuda"), "--threads N, as fastff trains on the CPU"),
    "adamw": "adam with --decay decoupled",
}  # fmt: skip


@dataclass(frozen=True)
class Option:
    """How an option is written.

    metavar: what stands for its value. aliases: other names, which come first in the help. alone: a flag without a --no
    beside it. positional: it has no name. unset: what the help calls the default where that is None. text: what it
    means, where the field has no text below it.
    """

    metavar: str | None = None
    aliases: tuple[str, ...] = ()
    alone: bool = False
    positional: bool = False
    unset: str = ""
    text: str = ""


Flag = Annotated[bool, Option(alone=True)]


@dataclass(frozen=True)
class Spec:
    """An option of a command: its field, how it is called (no names: it has a place of its own), and what it takes."""

    field: str
    names: tuple[str, ...]
    metavar: str
    type: Any  # of one value
    choices: tuple[str, ...]
    several: bool
    default: Any  # dataclasses.MISSING: it must be given
    option: Option

    @property
    def wanted(self) -> str:
        """What it takes, for an error."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return {int: "whole numbers, such as 256 128", str: "texts"}[self.type] if self.several else WANTED[self.type]

    def value(self, name: str, text: str) -> Any:
        """One value; ArgumentError for a text that is none."""
        if self.choices:
            if text not in self.choices:
                raise ArgumentError(f"{name}: {text!r}, want {self.wanted}{meant(text, self.choices)}")
            return text
        try:
            return self.type(text)
        except ValueError:
            comma = meant(text, [text.replace(",", ".")]) if self.type is float and not self.several else ""
            raise ArgumentError(f"{name}: {text!r}, want {self.wanted}{comma if ',' in text else ''}") from None


@dataclass
class Said:
    """What a command line says: values by their fields, and how each option is written there."""

    values: dict[str, Any] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)


@lru_cache
def specs(options: type) -> tuple[Spec, ...]:
    """The options that the fields of a dataclass are, in their order."""
    hints = get_type_hints(options, include_extras=True)
    return tuple(_spec(one.name, hints[one.name], one.default) for one in dataclasses.fields(options))


def _spec(name: str, hint: Any, default: Any) -> Spec:
    notes = hint.__metadata__ if get_origin(hint) is Annotated else ()
    option = next((note for note in notes if isinstance(note, Option)), Option())
    kind = hint.__origin__ if notes else hint
    if type(None) in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not type(None))
    several = get_origin(kind) is tuple
    kind = get_args(kind)[0] if several else kind
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    kind = str if choices else kind
    metavar = option.metavar or ("{" + ",".join(choices) + "}" if choices else METAVARS[kind])
    names = () if option.positional else (*option.aliases, "--" + name.replace("_", "-"))
    return Spec(name, names, metavar, kind, choices, several, default, option)


def meant(word: str, known: Sequence[str]) -> str:
    """The end of an error for a word that is not known: what was meant, where something is near."""
    if word in _ELSEWHERE and _ELSEWHERE[word].split(" ")[0] in known:
        return f"; did you mean {_ELSEWHERE[word]}?"
    bare = {name.lstrip("-"): name for name in known}
    text = word.lstrip("-").lower()
    begun = [name for name in bare if name.startswith(text) or (len(name) > 2 and text.startswith(name))]
    near = begun if len(begun) == 1 or len(text) == 1 else difflib.get_close_matches(text, bare, 1)
    return f"; did you mean {' or '.join(bare[name] for name in near)}?" if near else ""


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether -h or --help is among the arguments."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "-h" in before or "--help" in before


def read(options: type, arguments: Sequence[str], program: str = "") -> Said:
    """What a command line says. ArgumentError for an option that there is not, and for a value that is none of its.

    program: what stands before the arguments.
    """
    found, places, words = Said(), [spec for spec in specs(options) if not spec.names], list(arguments)
    free, taken = list(places), ""
    while words:
        word = words.pop(0)
        if word == "--":
            words, rest = [], words
            for other in rest:
                _place(found, free, places, other)
        elif not _is_option(word):
            _place(found, free, places, word)
        else:
            taken = _option(found, specs(options), word, words) or taken
    for spec in free:
        if taken:
            raise ArgumentError(f"{taken} takes all the words behind it, want {spec.metavar} before it")
    missing = [
        spec for spec in specs(options) if spec.default is dataclasses.MISSING and spec.field not in found.values
    ]
    if missing:
        said = ", ".join(f"{spec.names[-1]} {spec.metavar}" if spec.names else spec.metavar for spec in missing)
        raise ArgumentError(f"{said}: not given, want {program}{' ' * (program != '')}{usage(options)}")
    return found


def usage(options: type) -> str:
    """The words behind a command's name."""
    required = [spec for spec in specs(options) if spec.default is dataclasses.MISSING]
    places = [spec.metavar if spec in required else f"[{spec.metavar}]" for spec in specs(options) if not spec.names]
    return " ".join([*places, *(f"{spec.names[-1]} {spec.metavar}" for spec in required if spec.names), "[OPTIONS]"])


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _is_number(word)


def _is_number(word: str) -> bool:
    with suppress(ValueError):
        float(word)
        return True
    return False


def _place(found: Said, free: list[Spec], places: list[Spec], word: str) -> None:
    if not free:
        given = ", ".join(f"{spec.metavar} is {found.values[spec.field]}" for spec in places)
        raise ArgumentError(
            f"{word!r}: one word too many{f', as {given}' if given else ''}; want names of options before values"
        )
    spec = free.pop(0)
    found.values[spec.field], found.spelled[spec.field] = spec.value(spec.metavar, word), spec.metavar


def _option(found: Said, specs: Sequence[Spec], word: str, words: list[str]) -> str:
    """Take an option and its values from the words; returns its name if texts behind it may belong elsewhere."""
    named = {name: spec for spec in specs for name in spec.names}
    name, equals, value = word.partition("=")
    name = name.replace("_", "-")
    on = not (name.startswith("--no-") and name not in named)
    key = name if on else "--" + name.removeprefix("--no-")
    spec = named.get(key)
    if spec is None or (not on and (spec.type is not bool or spec.option.alone)):
        places = [spec.metavar for spec in specs if not spec.names]
        if name in ("--data", "--dataset", "--input", "--file") and places:
            raise ArgumentError(f"{name}: no such option, want {places[-1]} without a name before it")
        raise ArgumentError(f"{name}: no such option{meant(name, [*named]) or ', --help lists them'}")
    found.spelled[spec.field] = name
    if spec.type is bool:
        if equals:
            raise ArgumentError(f"{name}: takes no value, but {value!r} was given")
        found.values[spec.field] = on
        return ""
    if spec.several:
        more, last = _several(spec, name, [value] if equals else None, words)
        before = found.values.get(spec.field, ()) if spec.type is str else ()
        found.values[spec.field] = (*before, *more)
        return name if last and os.path.exists(last) else ""
    if not equals:
        if not words or words[0].startswith("--"):
            raise ArgumentError(f"{name}: nothing behind it, want {spec.wanted}")
        value = words.pop(0)
    found.values[spec.field] = spec.value(name, value)
    return ""


def _several(spec: Spec, name: str, given: list[str] | None, words: list[str]) -> tuple[tuple[Any, ...], str]:
    """The values of an option that takes several, which are taken from the words, and the last text among them."""
    texts = given or []
    while given is None and words and not _is_option(words[0]):
        if spec.type is not str and texts and not _is_number(words[0].strip("[](),").split(",")[0]):
            break  # a word behind the numbers
        texts.append(words.pop(0))
    if spec.type is str:
        return tuple(texts), texts[-1] if texts and given is None else ""
    plain = [text.strip("[]()").replace(",", " ") for text in texts]  # 256,128 and [256, 128] are meant so
    parts = [part for text in plain for part in text.split()]
    return tuple(spec.value(name, part) for part in parts), ""


@contextmanager
def naming(names: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Let errors in the block, which begin with the name of a field, begin with the name in its place in `names`."""
    try:
        yield
    except (ArgumentError, DataError) as error:
        begin, name = re.match(r"(\w+)(?=:)", str(error)), None
        with suppress(FastffError):  # as of a command line that cannot be read
            name = None if begin is None else names().get(begin[1])
        if begin is None or name is None:
            raise
        raise type(error)(name + str(error)[begin.end() :]) from None


def names_of(options: type, arguments: Sequence[str]) -> dict[str, str]:
    """How each option is called: as it is written in the command line, or else by its name."""
    general = {spec.field: spec.names[0] if spec.names else spec.metavar for spec in specs(options)}
    return {**general, **read(options, arguments).spelled}


def as_words(options: Any) -> list[str]:
    """The options of a command as words of a command line that says the same."""
    words: list[str] = []
    kind: type = type(options)
    for spec in sorted(specs(kind), key=lambda spec: bool(spec.names)):
        value = getattr(options, spec.field)
        if value == spec.default:
            continue
        if spec.type is bool:
            words.append(spec.names[-1] if value else "--no-" + spec.names[-1].removeprefix("--"))
        else:
            texts = [*map(str, value if spec.several else [value])]
            dashes = len(texts) == 1 and texts[0].startswith("--")
            words += [f"{spec.names[-1]}={texts[0]}"] if dashes and spec.names else [*spec.names[-1:], *texts]
    return words
