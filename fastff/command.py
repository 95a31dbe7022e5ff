"""What all commands share: what is known to go wrong becomes one line and an exit status, never a traceback."""

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from fastff.errors import ArgumentError, FastffError
from fastff.system.signals import Stopped

SIGNALLED = 128  # plus the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Run a command on the process's arguments and exit.

    0: done, 1: a known failure, 2: bad usage, 130: Ctrl-C, 143: SIGTERM.
    """
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        what = "terminated" if number == signal.SIGTERM else "interrupted"
        _say(f"{what}{': ' + str(stop) if str(stop) else ''}")
        sys.exit(SIGNALLED + number)
    except BrokenPipeError:  # the reader of our output has left; Python would complain again at exit
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
