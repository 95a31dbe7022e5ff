"""What all commands share: known errors become one line and an exit status instead of a traceback."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import tyro

from fastff.errors import ArgumentError, FastffError
from fastff.system.signals import Stopped

# The option of the commands that use a trained model (runs.model.load_model)
_RUN_DIR = "The folder of a run, or of several (--seeds), or a file that a network or an Ensemble was saved to."
RunDir = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_DIR", help=_RUN_DIR)]
SIGNALLED = 128  # plus the number of the signal, a convention of shells: 130 for Ctrl-C, 143 for SIGTERM


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Call main with the process's arguments and exit with 0 after success.

    The other statuses: 1 for a known error, 2 for bad usage, 130 for Ctrl-C, 143 for SIGTERM.
    """
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        what = "terminated" if number == signal.SIGTERM else "interrupted"
        _say(f"{what}{': ' + str(stop) if str(stop) else ''}")
        sys.exit(SIGNALLED + number)
    except BrokenPipeError:  # as in "train | head"; at exit Python would flush and complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except FastffError as error:
        _say(f"error: {error}")
        sys.exit(2 if isinstance(error, ArgumentError) else 1)
    except MemoryError as error:
        _say(f"error: not enough memory{': ' + str(error) if str(error) else ''}")
        sys.exit(1)
    sys.exit(0)


def _say(line: str) -> None:
    print(" ".join(line.split()), file=sys.stderr)
