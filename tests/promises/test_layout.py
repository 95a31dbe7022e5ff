"""Every module has its tests where one looks for them, stays short, and what is said about tests in words is true.

The tests of fastff/data/tar.py would be in tests/data/test_tar.py, and those of kernels/tile.py in
tests/kernels/test_tile.py. Where a module is better tested together with others, ELSEWHERE names the file.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A file of tests, and the modules without one of their own that it tests.
ELSEWHERE = {
    "tests/check/test_faults.py": [
        "fastff/check/adam.py",
        "fastff/check/evaluation.py",
        "fastff/check/hints.py",
        "fastff/check/layers.py",
        "fastff/check/linear.py",
        "fastff/check/loss.py",
        "fastff/check/network.py",
        "fastff/check/optimizer.py",
        "fastff/check/parts.py",
        "fastff/check/results.py",
        "fastff/check/solution.py",
        "fastff/check/training.py",
    ],
    "tests/check/test_process.py": ["fastff/check/__main__.py", "fastff/check/notebook.py", "fastff/check/report.py"],
    "tests/commands/test_commands.py": [
        "fastff/command.py",
        "fastff/evaluate/__main__.py",
        "fastff/runs/progress.py",
        "fastff/runs/summary.py",
        "fastff/train.py",
    ],
    "tests/commands/test_fastff.py": ["fastff/__main__.py"],
    "tests/commands/test_ablate.py": ["fastff/runs/ablation.py"],
    "tests/commands/test_swap.py": ["fastff/nn/gradient.py"],
    "tests/commands/test_export.py": ["fastff/nn/onnx_graph.py"],
    "tests/data/test_cifar.py": ["fastff/data/tar.py"],
    "tests/data/test_columns.py": [
        "fastff/data/cells.py",
        "fastff/data/column.py",
        "fastff/data/labels.py",
        "fastff/data/names.py",
    ],
    "tests/data/test_load.py": ["fastff/data/arrays.py", "fastff/data/idx.py"],
    "tests/data/test_tables.py": ["fastff/data/decimals.py", "fastff/data/names.py", "fastff/data/text_tables.py"],
    "tests/data/test_shards.py": ["fastff/data/statistics.py", "fastff/engine/readahead.py", "kernels/files.py"],
    "tests/distributed/test_distributed.py": [
        "fastff/distributed/follow.py",
        "fastff/distributed/home.py",
        "fastff/distributed/lead.py",
        "fastff/distributed/programs.py",
        "fastff/distributed/steps.py",
        "kernels/processes.py",
    ],
    "tests/engine/test_averaging.py": ["kernels/averaging.py"],
    "tests/engine/test_clipping.py": ["kernels/clipping.py"],
    "tests/engine/test_products.py": ["kernels/symmetric.py"],
    "tests/engine/test_program.py": ["fastff/engine/run.py", "fastff/engine/table.py", "kernels/run.py"],
    "tests/engine/test_threads.py": ["fastff/engine/context.py", "fastff/system/signals.py"],
    "tests/kernels/test_bfloat16.py": ["kernels/linear16.py"],
    "tests/kernels/test_cache.py": ["kernels/compiler.py", "kernels/cpu.py"],
    "tests/kernels/test_losses_softmax.py": ["kernels/losses.py"],
    "tests/kernels/test_pointwise.py": ["kernels/emit.py", "kernels/random.py"],
    "tests/kernels/test_update.py": ["kernels/optimizer.py", "kernels/tile.py"],
    "tests/nn/test_encoding.py": ["kernels/encoding.py"],
    "tests/nn/test_preprocessing.py": ["kernels/pictures.py"],
    "tests/nn/test_layers.py": ["fastff/nn/activations.py", "fastff/nn/by_hand.py", "fastff/nn/dropout.py"],
    "tests/promises/test_bad_calls.py": ["fastff/system/arguments.py"],
    "tests/promises/test_fuzz.py": ["fastff/errors.py"],
    "tests/report/test_report.py": [
        "fastff/report/__main__.py",
        "fastff/report/contents.py",
        "fastff/report/finished.py",
        "fastff/report/typeset.py",
    ],
    "tests/runs/test_config.py": ["fastff/runs/presets.py"],
    "tests/runs/test_run.py": ["fastff/runs/model.py", "fastff/training/state.py"],
    "tests/runs/test_sweep.py": ["fastff/engine/side_by_side.py"],
    "tests/sklearn/test_drop_in.py": ["fastff/sklearn/onnx.py"],
    "tests/sklearn/test_estimators.py": [
        "fastff/sklearn/checks.py",
        "fastff/sklearn/epochs.py",
        "fastff/sklearn/forward.py",
    ],
    "tests/system/test_checkpoint.py": ["fastff/system/blocks.py"],
    "tests/system/test_options.py": ["fastff/system/option_help.py"],
    "tests/training/test_progress.py": ["fastff/training/verbose.py"],
    "tests/training/test_trainer.py": ["fastff/training/steps.py"],
    "tests/tune/test_search.py": ["fastff/tune/__main__.py", "fastff/tune/results.py", "fastff/tune/space.py"],
    "tests/tune/test_shared.py": ["fastff/tune/presence.py", "fastff/tune/storage.py"],
}
LINES = 350  # of one module, docstrings left out
ALL_LINES = 24_700  # of fastff/ and kernels/ together; to raise this, say in the commit what the lines are for


def sources(*folders):
    """The paths of all Python files in these folders, from the checkout's root, and what they hold."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    return {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in files}


MODULES, TESTS = sources("fastff", "kernels"), sources("tests")


def own_tests(module):
    """The file where a module's tests are looked for; commands have no folder of their own in fastff/."""
    folder, _, name = module.removeprefix("fastff/").rpartition("/")
    return f"tests/{folder or 'commands'}/test_{name}"


def test_every_module_is_tested_in_its_own_file_or_in_one_that_is_named():
    named = {module for modules in ELSEWHERE.values() for module in modules}
    alone = {module for module in MODULES if own_tests(module) not in TESTS and not module.endswith("__init__.py")}
    untested, needless, missing = alone - named, named - alone, set(ELSEWHERE) - set(TESTS)
    assert not untested, "these modules have no file of tests, and ELSEWHERE names none"
    assert not needless, "ELSEWHERE names modules that are gone, or that have a file of tests of their own"
    assert not missing, "these files of tests are not there"


def docstring_lines(text):
    """How many lines of a module are docstrings."""
    places = (
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    )
    found = (node.body[0] for node in places if ast.get_docstring(node, clean=False))
    return sum(docstring.end_lineno - docstring.lineno + 1 for docstring in found)


def test_modules_stay_short():
    lines = {module: text.count("\n") - docstring_lines(text) for module, text in MODULES.items()}
    long, together = {module: count for module, count in lines.items() if count > LINES}, sum(lines.values())
    assert not long
    assert together <= ALL_LINES


def test_files_that_the_architecture_names_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+(?:[a-z_0-9]+\.py)?)`", text)
    assert len(named) > 30
    assert not [path for path in named if not (ROOT / path).exists() and not (ROOT / "fastff" / path).exists()]


def test_tests_that_are_named_in_words_are_there():
    names = {path.rpartition("/")[2] for path in TESTS}
    functions = set(re.findall(r"^def (test_\w+)", "\n".join(TESTS.values()), re.M))
    words = {file.name: file.read_text("utf-8") for file in [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]}
    words["tox.ini"] = (ROOT / "tox.ini").read_text("utf-8")
    missing = set()
    for place, text in {**words, **MODULES, **TESTS, **sources("bench")}.items():
        if place != "tests/promises/test_layout.py":
            missing |= {(place, path) for path in re.findall(r"\btests/[\w/]+\.py", text) if path not in TESTS}
            missing |= {(place, name) for name in re.findall(r"\btest_\w+\.py", text) if name not in names}
    for place in ("reliability.md", "derivations.md"):
        missing |= {(place, name) for name in re.findall(r"[`:](test_\w+)`", words[place]) if name not in functions}
    assert not missing
