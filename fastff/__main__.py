"""fastff NAME ...: one of the commands, also as python -m fastff NAME ... or python -m fastff.NAME ..."""

import difflib
from importlib import import_module

import fastff
from fastff import command
from fastff.errors import ArgumentError

# Each command: where its main is, and what it does
COMMANDS = {
    "train": ("fastff.train", "train a network on a data set"),
    "evaluate": ("fastff.evaluate.__main__", "loss and accuracy of a trained network"),
    "predict": ("fastff.predict", "a trained network's predictions for new rows"),
    "tune": ("fastff.tune.__main__", "search for better options"),
    "ablate": ("fastff.ablate", "what each part of a run's recipe is worth"),
    "report": ("fastff.report.__main__", "a report of a run, as a web page and as a PDF"),
    "check": ("fastff.check.__main__", "check your own solution of the homework"),
    "export": ("fastff.export", "a trained network as an ONNX model"),
}
_LISTED = "\n".join(f"  {name:<10}{what}" for name, (_, what) in COMMANDS.items())
_HELP = f"""usage: fastff [-h | --version] COMMAND ...

commands, each with --help:
{_LISTED}

For example: fastff train, which trains on the digits inside the package.
"""


def main(arguments: list[str]) -> None:
    """Run the command that the first argument names with the others."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print(_HELP, end="")
    elif name == "--version":
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
