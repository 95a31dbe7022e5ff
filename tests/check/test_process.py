"""The command: whatever a file does, an answer comes in time, as a table, as JSON or for Gradescope."""

import json
import sys
from pathlib import Path

import pytest
from command_line import refuse, run
from trials import HOMEWORK, edited

from fastff import ArgumentError
from fastff.check import check, process

ENDLESS = ("        self.input = input\n", "        while True:\n            pass\n")
TRIES_TO_STAY = (
    "        self.mask = input > 0\n",
    "        import time\n        while True:\n            try:\n                time.sleep(9)\n"
    "            except BaseException:\n                pass\n",
)
PLOTS = (
    "import numpy as np\n",
    "import numpy as np\nimport pdb\nimport turtle\nfrom tqdm import tqdm\nplt.subplots()[0]\n",
)
IN_LOOP = (
    "        order =",
    "        pdb.set_trace()\n        breakpoint()\n        fig, (a, b) = plt.subplots(1, 2)\n        a.plot([1])\n"
    "        plt.show()\n        order =",
)
SKELETON = """
class LinearLayer:
    def __init__(self, input_dim, output_dim):
        raise Exception("Student error: You haven't implemented the init for LinearLayer yet.")

    def forward(self, input):
        pass

    def backward(self, grad):
        raise NotImplementedError


class ReLU:
    def forward(self, input):
        raise Exception("Student error: You haven't implemented the forward pass for ReLU yet.")

    def backward(self, grad):
        ...


def evaluate(model, X_val, Y_val, batch_size):
    raise Exception("Student error: You haven't implemented the step for evalute function.")
"""


def checked(tmp_path, text, *options):
    """The status, and the results by (part, name), of the command with --json."""
    (tmp_path / "homework.py").write_text(text, "utf-8")
    result = run("check", tmp_path / "homework.py", "--json", *options)
    assert result.err == ""
    report = json.loads(result.out)
    assert report["passed"] == (result.status == 0)
    return result.status, report["checks"]


def only_wrong(checks):
    return [(c["part"], c["name"], c["found"]) for c in checks if c["status"] == "fail"]


def test_a_right_solution_passes_whatever_it_plots(tmp_path):
    status, checks = checked(tmp_path, edited([PLOTS, IN_LOOP, ("in range(max_epochs)", "in tqdm(range(max_epochs))")]))
    assert status == 0
    assert {c["status"] for c in checks} == {"pass"}
    assert {c["question"] for c in checks} == {"Q4", "Q5", "Q6", "Q7"}
    assert not any(file.name != "homework.py" for file in tmp_path.iterdir())


def test_a_right_solution_in_another_style_passes(tmp_path):
    """Base classes, a class for Adam's state, a generator of batches, __call__, argparse, data in another folder."""
    status, checks = checked(tmp_path, Path(__file__).with_name("otherwise.py").read_text("utf-8"))
    assert status == 0
    assert {c["status"] for c in checks} == {"pass"}


def test_a_right_solution_with_an_optimizer_of_its_own_passes_but_for_names(tmp_path):
    status, checks = checked(tmp_path, Path(__file__).with_name("another.py").read_text("utf-8"))
    assert status == 0
    others = {c["name"] for c in checks if c["status"] != "pass"}
    assert others == {"name of grad_weights", "name of grad_bias"}


@pytest.mark.parametrize(
    ("statement", "imported"),
    [
        ('data = np.load("cifar10_hst_" + split, allow_pickle=True)', "import os"),
        ('data = pd.read_pickle("data/cifar10_hst_" + split)', "import pandas as pd"),
        ('data = pickle.loads(Path("cifar10_hst_" + split).read_bytes())', "from pathlib import Path"),
        ('data = pickle.load(io.open("../data/cifar10_hst_" + split, "rb"))', "import io"),
        ('data = pickle.load(os.fdopen(os.open("cifar10_hst_" + split, os.O_RDONLY), "rb"))', "import os"),
        ('assert os.path.exists("cifar10_hst_" + split); data = read("D/cifar10_hst_" + split)',
         "import os\nfrom reading import read"),
    ],
)  # fmt: skip
def test_the_data_is_found_however_it_is_read(tmp_path, statement, imported):
    if "pandas" in imported:
        pytest.importorskip("pandas")
    (tmp_path / "reading.py").write_text("import pickle\n\n\ndef read(p):\n    return pickle.load(open(p, 'rb'))\n")
    opened = '        with open("cifar10_hst_" + split, "rb") as file:\n            data = pickle.load(file)\n'
    status, checks = checked(
        tmp_path, edited([(opened, f"        {statement}\n"), ("import pickle\n", f"import pickle\n{imported}\n")])
    )
    assert status == 0
    assert {c["status"] for c in checks} == {"pass"}


@pytest.mark.parametrize("name", [
    "latest.pkl", "best_val_model.pkl", "val_losses.npy", "train_state", "interval", "values.json", "test"
])  # fmt: skip
def test_what_the_student_writes_is_read_back(tmp_path, monkeypatch, name):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "cifar10_hst_test").write_text("the course's")
    opened = process.opening(tmp_path / "work")
    for path in (name, tmp_path / name):
        with opened(path, "w") as file:
            file.write("own")
        with opened(path) as file:
            assert file.read() == "own"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("data/cifar10_hst_train", "train"),
        ("/no/folder/CIFAR10-HST-Validation.pkl", "val"),
        ("test.pickle", "test"),
        ("trainset.p", "train"),
        ("hw2_train.pkl", "train"),
        ("cifar10_hst_train_full", "train"),
        ("cifar10_3class_train", "train"),
        ("X_train.npy", "train"),
        ("train_small.p", "train"),
        ("data/train_batch", "train"),
        ("hw2.validation.pickle", "val"),
        ("y-valid.npz", "val"),
        ("hw2_test2", "test"),
        ("test_results.txt", None),
        ("latest", None),
        ("interval_means.npy", None),
        ("trainer.pkl", None),
        ("val_losses.json", None),
        ("training.log.gz", None),
    ],
)
def test_a_file_of_the_course_s_is_told_by_its_name(tmp_path, name, found):
    for split in ("train", "val", "test"):
        (tmp_path / f"cifar10_hst_{split}").write_text(split)
    opened = process.opening(tmp_path)
    if found:
        with opened(name) as file:
            assert file.read() == found
    else:
        with pytest.raises(FileNotFoundError):
            opened(name)


@pytest.mark.parametrize(("name", "own"), [("best_val_model.pkl", True), ("cifar10_hst_train", False)])
def test_a_file_beside_the_student_s_is_not_the_course_s_unless_it_has_its_name(tmp_path, name, own):
    (tmp_path / "work").mkdir()
    for split in ("train", "val"):
        (tmp_path / "work" / f"cifar10_hst_{split}").write_text("the course's")
    (tmp_path / name).write_text("beside")
    with process.opening(tmp_path / "work")(tmp_path / name) as file:
        assert file.read() == ("beside" if own else "the course's")


@pytest.mark.parametrize(
    ("edit", "part", "line"), [(ENDLESS, "LinearLayer", "forward"), (TRIES_TO_STAY, "ReLU", "forward")]
)
def test_an_endless_loop_is_named_with_its_line_and_the_rest_is_checked(tmp_path, monkeypatch, edit, part, line):
    monkeypatch.setattr(process, "SECONDS", 1)
    status, checks = checked(tmp_path, edited([edit]))
    assert status == 1
    [(where, name, found)] = only_wrong(checks)
    assert (where, name) == (part, "comes to its end")
    assert f"in {line})" in found
    assert {c["part"] for c in checks if c["status"] == "follows"} >= {"FeedForwardNeuralNetwork", "evaluate"}
    assert any(c["part"] == "CrossEntropySoftmax" and c["status"] == "pass" for c in checks)


def test_ends_prompts_and_missing_modules(tmp_path):
    imports = "import sys\nimport numpy as np\nimport no_such_module as nsm\nfrom no_such_module import nn\n"
    at_the_top = 'size = int(input("batch size? "))\nwhile True:\n    pass\n'
    edits = [
        ("        self.mask = input > 0\n", "        import os\n        os._exit(3)\n"),
        ("        self.input = input\n", "        sys.exit()\n"),
        ("import numpy as np\n", imports),
        ("        shifted = logits -", "        nsm.something(logits)\n        shifted = 2 * logits -"),
        ("class ReLU:", "class ReLU(nn.Module):"),
        ('if __name__ == "__main__":', at_the_top + 'if __name__ == "__main__":'),
    ]
    text = edited(edits)
    status, checks = checked(tmp_path, text)
    assert status == 1
    wrong = {part: found for part, _, found in only_wrong(checks)}
    assert "ends itself" in wrong["LinearLayer"]
    assert "whole process" in wrong["ReLU"]
    assert any("no_such_module" in c["found"] for c in checks if c["status"] == "untried")


def test_only_an_unfinished_part_is_to_do_whatever_an_error_s_words(tmp_path):
    """NumPy's and the student's own errors may speak of what is implemented, too."""
    own = ("        self.mask = input > 0\n", '        raise ValueError("only relu is implemented here")\n')
    numpys = ("        self.input = input\n", '        np.bmat("not implemented")\n')
    unfinished = (
        "        shifted = logits -",
        '        raise Exception("You haven\'t implemented this yet.")\n        shifted = -',
    )
    _, checks = checked(tmp_path, edited([own, numpys, unfinished]))
    assert {part for part, _, _ in only_wrong(checks)} == {"LinearLayer", "ReLU"}
    assert any(c["part"] == "CrossEntropySoftmax" and c["status"] == "to do" for c in checks)


def test_fastff_s_own_classes_are_no_solution(tmp_path):
    names = "CrossEntropySoftmax, FeedForwardNeuralNetwork, LinearLayer, ReLU, evaluate"
    status, checks = checked(tmp_path, f"import numpy as np\nfrom fastff import {names}\n")
    assert status == 1
    assert {c["part"] for c in checks if c["status"] == "to do"} >= {"LinearLayer", "ReLU", "Adam", "evaluate"}
    assert not any(c["status"] == "pass" for c in checks if c["question"] != "Q7")


def test_what_is_not_written_yet_is_to_do_and_not_wrong(tmp_path):
    status, checks = checked(tmp_path, SKELETON)
    assert status == 1
    assert not only_wrong(checks)
    assert {c["part"] for c in checks if c["status"] == "to do"} >= {
        "LinearLayer",
        "ReLU",
        "CrossEntropySoftmax",
        "evaluate",
    }


@pytest.mark.parametrize(
    "text", ["class Dense:\n    pass\n", "class LinearLayer:\n    def __init__(self, weights):\n        pass\n"]
)
def test_another_assignment_is_told_apart(tmp_path, text):
    status, checks = checked(tmp_path, text)
    assert status == 1
    assert not only_wrong(checks)
    assert any(c["status"] == "other assignment" for c in checks)


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("class ReLU\n    pass\n", "line 1: "),
        ("import numpy as np\n\n\ndef f(x=1 / 0):\n    pass\n", "line 4: ZeroDivisionError"),
        ("x = 1\0", "null bytes"),
        ('"""A."""\nfrom __future__ import annotations, foo\n', "line 2: future feature foo is not defined"),
        ("from __future__ import all_feature_names\n", "line 1: future feature all_feature_names is not defined"),
    ],
)
def test_a_file_that_cannot_be_loaded(tmp_path, text, saying):
    (tmp_path / "homework.py").write_text(text)
    refuse(tmp_path, "check", tmp_path / "homework.py", status=2, saying=["homework.py: ", saying])


def test_a_notebook_s_file_is_refused_with_the_way_to_check_it(tmp_path):
    path = tmp_path / "homework.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": [HOMEWORK]}], "nbformat": 4}))
    refuse(tmp_path, "check", path, status=2, saying=["homework.ipynb: a notebook", "nbconvert", "check(globals())"])
    tests = json.loads(run("check", path, "--gradescope").out)["tests"]
    assert "nbconvert" in tests[0]["output"]


def test_bad_usage_is_one_line(tmp_path):
    (tmp_path / "a.py").write_text("")
    refuse(tmp_path, "check", tmp_path / "nothing.py", status=2, saying="no such file")
    refuse(tmp_path, "check", tmp_path / "a.py", "--json", "--gradescope", status=2, saying="want one of them")


def test_gradescope_gets_points_and_students_get_hints(tmp_path):
    text = edited([("np.sum(grad, axis=0, keepdims=True)", "np.mean(grad, axis=0, keepdims=True)")])
    path = tmp_path / "homework.py"
    path.write_text(text)
    tests = json.loads(run("check", path, "--gradescope").out)["tests"]
    assert {"name", "number", "score", "max_score", "output", "visibility"} == set(tests[0])
    points = {q: sum(t["max_score"] for t in tests if t["name"].startswith(q)) for q in ("Q4", "Q5", "Q6", "Q7")}
    assert points == {"Q4": 6, "Q5": 4, "Q6": 5, "Q7": 0}
    assert [t["name"] for t in tests if t["score"] < t["max_score"]] == ["Q4 LinearLayer"]
    assert "divided by the size of the batch" in tests[0]["output"]
    shown, bare = run("check", path), run("check", path, "--no-hints")
    assert shown.status == bare.status == 1
    assert "its code was run" in shown.out
    assert "section B2 of docs/derivations.md" in shown.out
    assert "hint" not in bare.out
    assert set(bare.out.splitlines()) < set(shown.out.splitlines())


@pytest.mark.parametrize(
    ("imported", "first", "saying"),
    [
        ("nosuch", "1 - nosuch.go()", "nosuch, which is not installed"),
        ("broken", "1 - broken.go()", "broken, which cannot be imported (No module named 'nosuch')"),
        ("cv2", "cv2.go() ** 2", "the check replaces"),
        ("os", "input()", "input()"),
    ],
)
def test_what_could_not_be_tried_gets_no_full_points(tmp_path, imported, first, saying):
    (tmp_path / "broken.py").write_text("import nosuch\n")
    path = tmp_path / "homework.py"
    step = "    def step(self, step_size):\n        g ="
    path.write_text(
        edited(
            [
                ("import logging\n", f"import logging\nimport {imported}\n"),
                (step, step.replace("g =", f"{first}\n        g =")),
            ]
        )
    )
    result = run("check", path, "--gradescope")
    adam = next(test for test in json.loads(result.out)["tests"] if test["name"] == "Q5 Adam")
    assert adam["score"] < adam["max_score"]
    assert saying in adam["output"]
    assert "gets no points" in adam["output"]
    assert result.status == 1


MAIN = "    main()\n"
LAST = "    print(evaluate(net, X_test"


@pytest.mark.parametrize(
    ("edits", "found"),
    [
        ([("def main():\n", "def main():\n    input('Start?')\n")], "untried"),
        ([("        order =", "        if epoch == 2:\n            input()\n        order =")], "skipped"),
        ([(LAST, "    input('Test?')\n" + LAST), ("max_epochs = 20", "max_epochs = 2")], "skipped"),
        ([(MAIN, f"    input('Start?')\n    epochs = int(input())\n{MAIN}")], None),
        ([(MAIN, f"    size = int(input())\n{MAIN}"), ("    batch_size = 64", "    batch_size = size")], "untried"),
        ([(MAIN, "    main(int(input()))\n"), ("main():\n    batch_size = 64\n", "main(batch_size):\n")], "untried"),
        ([(MAIN, f"    if input('Start?') != 'n':\n    {MAIN}")], None),
    ],
)  # fmt: skip
def test_input_counts_only_where_the_loop_was_not_seen(tmp_path, edits, found):
    status, checks = checked(tmp_path, edited(edits))
    assert status == (found == "untried")
    asked = [check for check in checks if check["status"] != "pass"]
    assert [(check["part"], check["status"]) for check in asked] == [("training loop", found)] * bool(found)
    assert all("input()" in check["found"] for check in asked)
    assert [bool(check["wanted"]) for check in asked] == [found == "untried"] * bool(found)


@pytest.mark.parametrize(
    "statement",
    ["from .settings import BETA", "from . import settings; BETA = settings.BETA", "from settings import BETA",
     "import sys\nsys.path.append('lib')\nfrom more import BETA",
     "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\nfrom more import BETA"],
)  # fmt: skip
def test_the_student_s_other_files_are_imported(tmp_path, statement):
    (tmp_path / "lib").mkdir()
    for path in (tmp_path / "settings.py", tmp_path / "lib" / "more.py"):
        path.write_text("BETA = 0.9\n")
    edits = [("import logging\n", f"import logging\n{statement}\n"), ("self.beta = 0.9", "self.beta = BETA")]
    status, checks = checked(tmp_path, edited(edits))
    assert status == 0
    assert {c["status"] for c in checks} == {"pass"}


def test_a_notebook_is_checked_where_it_is(capsys):
    namespace = {"__name__": "notebook"}
    exec(HOMEWORK, namespace)
    results = check(namespace)
    assert {r.status for r in results} == {"pass", "skipped"}
    assert "Q5 Adam" in capsys.readouterr().out
    with pytest.raises(ArgumentError, match=r"^namespace: none of LinearLayer"):
        check({})
    assert "student" not in sys.modules
