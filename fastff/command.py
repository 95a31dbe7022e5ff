"""What all commands share: what is known to go wrong becomes one line and an exit status, never a traceback."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from fastff.errors import ArgumentError, FastffError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Run a command on the process's arguments and exit: 0 done, 1 a known failure, 2 bad usage, 130 Ctrl-C."""
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        _say(f"interrupted{': ' + str(stop) if str(stop) else ''}")
        sys.exit(INTERRUPTED)
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
