"""fastff completion SHELL: prints a script with which a shell completes the words of fastff when Tab is pressed."""

import argparse
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal

from fastff import command
from fastff.command import COMMANDS
from fastff.data.load import NAMES
from fastff.errors import MissingExtra
from fastff.runs.presets import PRESETS
from fastff.system.option_help import field_texts, written
from fastff.system.options import Option, Spec, specs

_NAMES = " ".join(NAMES)
# Of a data set, which is a name or a path
_DATA: dict[str, Any] = {
    "bash": "_fastff_data_file",  # shtab adds the slash to folders where "file" is in the name
    "zsh": "_fastff_data",
    "fish": f"{_NAMES} (__fish_complete_path (commandline -ct))",
    "preamble": {
        "bash": f'_fastff_data_file() {{ compgen -f -- "$1"; compgen -W "{_NAMES}" -- "$1"; }}',
        "zsh": f"_fastff_data() {{ compadd -- {_NAMES}; _files; }}",
    },
}


@dataclass(frozen=True)
class Options:
    """Print a script with which a shell completes the commands, options and choices of fastff when Tab is pressed.

    Examples:
      fastff completion bash > ~/.local/share/bash-completion/completions/fastff
      fastff completion zsh > ~/.zfunc/_fastff       with fpath+=~/.zfunc before compinit in ~/.zshrc
      fastff completion fish > ~/.config/fish/completions/fastff.fish

    Make the folder first where it is not there, and open a new shell afterwards. shtab makes the script:
    pip install "fastff[completion]"
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], Option("SHELL", positional=True)]
    """The shell: bash, zsh or fish."""


@command.takes(Options, "completion")
def main(options: Options) -> None:
    try:
        import shtab
    except ImportError as error:
        raise MissingExtra.of("fastff completion needs shtab", '"fastff[completion]"', error) from None
    parser = argparse.ArgumentParser("fastff", add_help=False)
    for name, text in {"--help": "Show the commands.", "--version": "Show the version."}.items():
        parser.add_argument(name, action="store_true", help=text)
    commands = parser.add_subparsers()
    for name, (_, what) in COMMANDS.items():
        texts = field_texts(options_of(name))
        own = commands.add_parser(name, help=what, add_help=False)
        for spec in specs(options_of(name)):
            _add(own, spec, texts.get(spec.field, "").partition(". ")[0].rstrip("."), shtab.FILE)
        own.add_argument("--help", action="store_true", help="Show this help")
    print(shtab.complete(parser, options.shell))


def options_of(name: str) -> type:
    """The dataclass of the options of a command."""
    module = import_module(COMMANDS[name][0])
    kind: type = module.Config if name == "train" else module.Options
    return kind


def _add(parser: argparse.ArgumentParser, spec: Spec, text: str, files: Any) -> None:
    """Tell the parser of an option, and which words the shell offers for it."""
    text = text.replace("%", "%%")
    if spec.type is bool:
        parser.add_argument(*written(spec).split(", "), action="store_true", help=text)
        return
    choices = tuple(PRESETS) if spec.field == "preset" else spec.choices or None
    action: Any = parser.add_argument(
        *(spec.names or [spec.field]), help=text, choices=choices, nargs="*" if spec.several else None
    )
    if spec.field == "dataset":
        action.complete = _DATA
    elif spec.type is str and not choices and not spec.several:
        action.complete = files


if __name__ == "__main__":
    command.run(main)
