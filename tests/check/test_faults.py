"""Every mistake is named where it is, once, and right solutions in other habits are not called wrong."""

import itertools
import re
from pathlib import Path

import pytest
from trials import edited, read_edits, results_of

from fastff.check.parts import HINTS, PARTS
from fastff.check.results import WRONG
from fastff.check.training import write_files

NAMES = [part.name for part in PARTS]
FAULTS, HABITS = read_edits("faults.txt"), read_edits("habits.txt")
DERIVATIONS = (Path(__file__).parents[2] / "docs" / "derivations.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_files(folder)
    return folder


@pytest.mark.parametrize("part", [name for name in NAMES if name != "tuning"])
def test_every_fault_is_named(folder, part):
    missed = {}
    for (name, where, check, words), edits in FAULTS:
        if where != part:
            continue
        # The loop, which takes longest, is run where the fault is in it
        results = results_of(edited(edits), folder, NAMES if part == "training loop" else NAMES[:-2])
        failed = [result for result in results if result.status == "fail"]
        right = [r for r in failed if (r.part, r.name) == (where, check) and words in r.found and r.hint]
        if not right or any(r.part != where for r in failed):
            missed[name] = [(r.part, r.name, r.found) for r in failed]
    assert not missed


@pytest.mark.slow
def test_every_fault_is_named_in_another_style(folder):
    text, missed = Path(__file__).with_name("another.py").read_text("utf-8"), {}
    for (name, where, check, words), edits in read_edits("another_faults.txt"):
        results = results_of(edited(edits, text), folder, NAMES if where == "training loop" else NAMES[:-2])
        failed = [(r.part, r.name, r.found) for r in results if r.status == "fail"]
        right = [found for part, own, found in failed if (part, own) == (where, check) and words in found]
        if not right or any(part != where for part, _, _ in failed):
            missed[name] = failed
    assert not missed


def test_no_right_solution_is_called_wrong(folder):
    wrong = {}
    for (name,), edits in HABITS:
        results = results_of(edited(edits), folder)
        bad = [(r.part, r.name, r.status, r.found) for r in results if r.status in (*WRONG, "follows")]
        if bad or len(results) < 50:
            wrong[name] = bad, len(results)
    assert not wrong


@pytest.mark.slow
def test_faults_are_named_in_other_habits_too(folder):
    """Each fault again in every habit that its edit fits. Only that its part fails, not the words, is asked for."""
    missed, tried = [], 0
    # Decay is not looked for where lambda is 0; a main that reshapes may reshape labels
    beside = {("no decay", "Adam"), ("mirrored pictures", "evaluate")}
    # The check gives that step its lambda; in columns the shape's second number is the batch; 1 in v is no 0 / 0
    beside |= {("settings given to step", "a decay of 10"), ("columns are examples", "divided by the classes only")}
    beside |= {("decay in backward", "a decay of 10"), ("averages that start at 1", "no epsilon")}
    beside |= {("averages that start at 1", "decay of the step size's square"), ("probabilities", "gradient of logits")}
    # Nothing is called weights there, so that the edit does nothing
    beside |= {("other names", "forward changes weights"), ("parameters in a dict", "forward changes weights")}
    beside |= {
        ("mirrored pictures", "CrossEntropySoftmax"),
        ("flat labels, a loss that takes both", "CrossEntropySoftmax"),
    }
    pairs = itertools.product(enumerate(HABITS), enumerate(FAULTS))
    for (i, ((habit,), first)), (j, ((fault, part, *_), second)) in pairs:
        text = edited(first)
        if (
            (i + j) % 4  # each fault in a quarter of the habits: all of them take minutes
            or part == "training loop"
            or {(habit, part), (habit, fault)} & beside
            or any(old not in text for old, _ in second)
        ):
            continue
        tried += 1
        results = results_of(edited(second, text), folder, [part])
        if not any(r.part == part and r.status == "fail" for r in results):
            missed.append((habit, fault))
    assert tried > 375
    assert not missed, "\n".join(map(str, missed))


def test_every_hint_is_of_a_check_and_leads_to_a_section():
    for table in HINTS.values():
        for hint, section in table.values():
            assert hint.endswith((".", "?"))
            assert not section or re.search(rf"^###? {section} ", DERIVATIONS, re.M)
