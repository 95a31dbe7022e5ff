"""Runs searches inside this process and reads what they leave, for the tests of tune."""

import csv
import multiprocessing
import re

from command_line import run


def search(*arguments, pictures=False, status=0):
    """Run a search that must end with `status`; returns what it printed and the lines on standard error."""
    result = run("tune", *arguments, pictures=pictures)
    assert result.status == status, result
    return result.out, result.err.splitlines()


def workers():
    """The processes of searches that are there; joblib keeps its own for later fits."""
    return [process for process in multiprocessing.active_children() if "Loky" not in type(process).__name__]


def table(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def states(folder):
    return [row["state"] for row in table(folder)]


def parameters(row):
    return {name: row[name] for name in ("layers", "width_1", "step_size", "batch_size", "dropout", "label_smoothing")}


def choice(row):
    """What a trial tries, without what it does not have."""
    return [(name, row[name]) for name in list(row)[list(row).index("note") + 1 :] if row[name]]


def ended(said):
    """The numbers of the trials that a command says it has brought to their end."""
    return [int(number) for number in re.findall(r"^\d+/\d+  trial (\d+): \d", said, re.MULTILINE)]
