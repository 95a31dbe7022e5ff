"""fastff NAME ...: one of the commands, also as python -m fastff NAME ... or python -m fastff.NAME ..."""

import difflib
from importlib import import_module

import fastff
from fastff import command
from fastff.command import COMMANDS
from fastff.errors import ArgumentError

_LISTED = "\n".join(f"  {name:<11} {what}" for name, (_, what) in COMMANDS.items())
_HELP = f"""usage: fastff [-h | --version] COMMAND ...

commands, each with --help:
{_LISTED}

For example: fastff train, which trains on the digits inside the package.
"""


def main(arguments: list[str]) -> None:
    """Run the command that the first argument names with the others."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name == "help" and rest:  # as of git and others
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        print(_HELP, end="")
    elif name in ("--version", "version"):
        print(f"fastff {fastff.__version__}")
    elif name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArgumentError(f"{name!r} is no command, want one of {', '.join(COMMANDS)}{hint}")
    else:
        import_module(COMMANDS[name][0]).main(rest)


def entry() -> None:
    """What the installed command `fastff` calls."""
    command.run(main)


if __name__ == "__main__":
    entry()
