"""fastff completion SHELL: prints a script with which a shell completes the words of fastff when Tab is pressed."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Literal

from fastff import command
from fastff.command import COMMANDS
from fastff.data.load import NAMES
from fastff.runs.presets import PRESETS
from fastff.system.option_help import field_texts, written
from fastff.system.options import Option, Spec, specs

GENERAL = {"--help": "Show the commands.", "--version": "Show the version."}


@dataclass(frozen=True)
class Options:
    """Print a script with which a shell completes the commands, options and choices of fastff when Tab is pressed.

    Examples:
      fastff completion bash > ~/.local/share/bash-completion/completions/fastff
      fastff completion zsh > ~/.zfunc/_fastff       with fpath+=~/.zfunc before compinit in ~/.zshrc
      fastff completion fish > ~/.config/fish/completions/fastff.fish

    Make the folder first where it is not there, and open a new shell afterwards.
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], Option("SHELL", positional=True)]
    """The shell: bash, zsh or fish."""


@command.takes(Options, "completion")
def main(options: Options) -> None:
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell](), end="")


def options_of(name: str) -> type:
    """The dataclass of the options of a command."""
    module = import_module(COMMANDS[name][0])
    kind: type = module.Config if name == "train" else module.Options
    return kind


def words_of(spec: Spec) -> tuple[str, ...]:
    """The words that an option, or what stands in its place, may take; none where it takes others too."""
    known = {"preset": tuple(PRESETS), "dataset": NAMES}
    return spec.choices or known.get(spec.field, ())


def _described(name: str) -> Iterator[tuple[str, str, Spec | None]]:
    """Each name of an option of a command, its meaning in a sentence, and the option; --help has none."""
    texts = field_texts(options_of(name))
    for spec in specs(options_of(name)):
        text = texts.get(spec.field, "").partition(". ")[0].rstrip(".")
        for one in written(spec).split(", ") if spec.type is bool else spec.names:
            if spec.names:
                yield one, text, spec
    yield "--help", "Show this help", None


def _values(name: str) -> tuple[dict[str, tuple[str, ...]], list[str], list[str]]:
    """Of a command: the words behind each option with choices, the options with other values, and words in places."""
    choices, others = {}, []
    for one, _, spec in _described(name):
        if spec is not None and spec.type is not bool:
            if words_of(spec):
                choices[one] = words_of(spec)
            else:
                others.append(one)
    return choices, others, [word for spec in specs(options_of(name)) if not spec.names for word in words_of(spec)]


def _bash() -> str:
    lines = [
        "_fastff() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" words=""',
        '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f'        words="{" ".join([*COMMANDS, *GENERAL])}"',
        "    else",
        '        case "${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD-1]}" in',
    ]
    rest = []
    for name in COMMANDS:
        choices, others, places = _values(name)
        lines += [f'            "{name} {one}") words="{" ".join(words)}" ;;' for one, words in choices.items()]
        if others:
            lines.append(f"            {_cases(name, others)}) ;;")
        options = " ".join(one for one, _, _ in _described(name))
        rest.append(f'            "{name} "*)')
        rest.append(
            f'                case "$current" in -*) words="{options}" ;; *) words="{" ".join(places)}" ;; esac ;;'
        )
    return "\n".join([
        *lines, *rest,
        "        esac",
        "    fi",
        '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -F _fastff fastff",
        "",
    ])  # fmt: skip


def _zsh() -> str:
    commands = [f"{name}:{what}" for name, (_, what) in COMMANDS.items()]
    lines = [
        "#compdef fastff",
        "_fastff() {",
        "    local -a described",
        "    if (( CURRENT == 2 )); then",
        f"        described=({_quoted([*commands, *(f'{one}:{text}' for one, text in GENERAL.items())])})",
        "        _describe command described",
        "        return",
        "    fi",
        '    case "$words[2] $words[CURRENT-1]" in',
    ]
    rest = []
    for name in COMMANDS:
        choices, others, places = _values(name)
        lines += [f'        "{name} {one}") compadd -- {" ".join(words)}; return ;;' for one, words in choices.items()]
        if others:
            lines.append(f"        {_cases(name, others)}) _files; return ;;")
        described = _quoted([f"{one}:{text.replace(':', ' -')}" for one, text, _ in _described(name)])
        rest.append(f"        {name}) described=({described})")
        add = f"compadd -- {' '.join(places)}; _files" if places else "_files"
        rest.append(f"            if [[ $PREFIX == -* ]]; then _describe option described; else {add}; fi ;;")
    return "\n".join([
        *lines,
        "    esac",
        '    case "$words[2]" in',
        *rest,
        "    esac",
        "}",
        'if [[ "$funcstack[1]" == _fastff ]]; then _fastff "$@"; else compdef _fastff fastff; fi',
        "",
    ])  # fmt: skip


def _fish() -> str:
    lines = [
        f"complete -c fastff -n __fish_use_subcommand -f -a {name} -d {_quoted([what])}"
        for name, (_, what) in COMMANDS.items()
    ]
    lines += [
        f"complete -c fastff -n __fish_use_subcommand -l {one.removeprefix('--')} -d {_quoted([text])}"
        for one, text in GENERAL.items()
    ]
    for name in COMMANDS:
        begin = f"complete -c fastff -n '__fish_seen_subcommand_from {name}'"
        for one, text, spec in _described(name):
            words = () if spec is None else words_of(spec)
            value = f" -x -a '{' '.join(words)}'" if words else " -r" if spec and spec.type is not bool else ""
            lines.append(f"{begin} -l {one.removeprefix('--')}{value} -d {_quoted([text])}")
        if places := _values(name)[2]:
            lines.append(f"{begin} -a '{' '.join(places)}'")
    return "\n".join([*lines, ""])


def _cases(name: str, options: list[str]) -> str:
    return "|".join(f'"{name} {one}"' for one in options)


def _quoted(words: list[str]) -> str:
    """Texts as words of a shell's; an apostrophe ends such a word, and is left out."""
    return " ".join(f"'{word.replace(chr(39), '’')}'" for word in words)
