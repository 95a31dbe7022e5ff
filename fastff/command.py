"""What all commands share: known errors become one line and an exit status instead of a traceback."""

import contextlib
import signal
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, NoReturn

from fastff.errors import ArgumentError, FastffError
from fastff.system import options, streams
from fastff.system.option_help import help_text
from fastff.system.options import Option
from fastff.system.paths import PATH
from fastff.system.shell import program
from fastff.system.signals import Stopped

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
    "completion": ("fastff.completion", "a script for a shell's Tab key"),
}
# The option of the commands that use a trained model (runs.model.load_model)
_RUN_DIR = "The folder of a run, or of several (--seeds), or a file that a network or an Ensemble was saved to."
RunDir = Annotated[str, Option("RUN_DIR", positional=True, text=_RUN_DIR), PATH]
SIGNALLED = 128  # plus the number of the signal, a convention of shells: 130 for Ctrl-C, 143 for SIGTERM
_STOPPED = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up", "SIGBREAK": "interrupted"}


Main = Callable[[list[str]], None]


def takes(
    kind: type, name: str, names: Callable[[type, list[str]], dict[str, str]] = options.names_of
) -> Callable[[Callable[[Any], None]], Main]:
    """Makes a main that takes a command's arguments of one that takes the options, a dataclass, that they say.

    --help prints what the dataclass says. names: what errors call each option, given the dataclass and the arguments.
    """

    def decorate(main: Callable[[Any], None]) -> Main:
        @wraps(main)
        def called(arguments: list[str]) -> None:
            if options.asks_for_help(arguments):
                print(help_text(kind, program(name)), end="")
                return
            said = options.read(kind, arguments, program(name))
            with options.naming(lambda: names(kind, arguments)):
                main(kind(**said.values))

        return called

    return decorate


def run(main: Main) -> NoReturn:
    """Call main with the process's arguments and exit with 0 after success.

    The other statuses: 1 for a known error, or a result that standard output did not take; 2 for bad usage; 130 for
    Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, 149 for Windows's Ctrl-Break. Streams that are closed lose what is printed,
    and nothing else.
    """
    streams.prepare()
    with contextlib.redirect_stderr(streams.Lossy(sys.stderr)):
        status = _status(main)
    sys.exit(streams.close(status))


def _status(main: Main) -> int:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            main(sys.argv[1:])
    except SystemExit as end:  # of --help and of bad usage
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        _say(f"{_STOPPED[signal.Signals(number).name]}{': ' + str(stop) if str(stop) else ''}")
        return SIGNALLED + number
    except FastffError as error:
        _say(f"error: {error}")
        return 2 if isinstance(error, ArgumentError) else 1
    except MemoryError as error:
        _say(f"error: not enough memory{': ' + str(error) if str(error) else ''}")
        return 1
    except BrokenPipeError:  # as in "train | head", where standard output is not buffered
        return 1
    except OSError as error:  # files of ours have a DataError, so without a name it was standard output
        _say(f"error: {error.filename or 'standard output'}: {error.strerror or error}")
        return 1
    return 0


def _say(line: str) -> None:
    streams.say(" ".join(line.split()))
