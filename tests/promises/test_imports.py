"""Imports go one way: every package of fastff uses what stands below it and nothing above, and there are no circles.

The source is read, not run, so that imports inside functions and those for type checkers count too.
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What each part may import: these, and all that they may import themselves. Nothing imports a command.
STANDS_ON = {
    "errors": (),
    "kernels": (),
    "system": ("errors",),
    "plots": ("system",),
    "data": ("system",),
    "engine": ("kernels", "data"),
    "nn": ("engine",),
    "training": ("nn", "plots"),
    "evaluate": ("training",),
    "sklearn": ("training",),
    "fastff": ("evaluate",),  # fastff/__init__.py, the public names
    "runs": ("evaluate", "plots"),
    "distributed": ("runs",),
    "tune": ("runs",),
    "report": ("runs",),
    "check": ("system",),  # NumPy only: the right answers are plain float64
    "command": ("system",),  # what all commands share
    "a command": ("command", "distributed", "tune", "report", "check"),
}
# Libraries that take long to import or need not be installed: the only part that imports each, and whether it does so
# at the top of a module. The others are imported inside functions, when they are needed.
LIBRARIES = {
    "llvmlite": ("kernels", "top"),
    "numba": ("kernels", "top"),
    "matplotlib": ("plots", "top"),
    "optuna": ("tune", "top"),
    "sqlalchemy": ("tune", "top"),
    "sklearn": ("sklearn", "top"),
    "pandas": ("training", "function"),
    "scipy": ("sklearn", "top"),
    "joblib": ("sklearn", "top"),
    "pyarrow": ("data", "function"),
    "narwhals": ("data", "function"),
    "pooch": ("data", "function"),
    "onnx": ("nn", "function"),
    "mpi4py": ("distributed", "function"),
    "tensorboard": ("runs", "function"),
    "mlflow": ("runs", "function"),
    "typst": ("report", "function"),
}

ALSO = {("runs", "sklearn")}  # a second part, which imports a library inside functions: the importance of columns


def name_of(file):
    """The name that a file is imported by: kernels/tile.py is fastff.kernels.tile."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join((() if parts[0] == "fastff" else ("fastff",)) + parts).removesuffix(".__init__")


def imports(node, package, inside=False):
    """(the full name, whether it is inside a function) of everything that the code below a node imports."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, inside) for alias in child.names if alias.name != "fastff")
        elif isinstance(child, ast.ImportFrom):
            source = child.module if not child.level else f"{package}.{child.module}"
            yield from ((f"{source}.{alias.name}", inside) for alias in child.names)
        elif isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id == "fastff":
            yield f"fastff.{child.attr}", inside  # after `import fastff`
        yield from imports(child, package, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))


FILES = {name_of(file): file for folder in ("fastff", "kernels") for file in (ROOT / folder).rglob("*.py")}
FOUND = {
    module: sorted(set(imports(ast.parse(file.read_text("utf-8")), module.rpartition(".")[0])))
    for module, file in FILES.items()
}


def module_of(name):
    """The module that an imported name comes from: fastff.nn.layers for fastff.nn.layers.ReLU."""
    while name not in FILES:
        name = name.rpartition(".")[0]
    return name


# The graph of modules. Every module may read the version from fastff/__init__.py.
IMPORTED = {
    module: {module_of(name) for name, _ in found if name.startswith("fastff.") and name != "fastff.__version__"}
    for module, found in FOUND.items()
}


def part_of(module):
    """The key of STANDS_ON to which a module belongs. A module of fastff/ itself that has no key is a command."""
    first = module.split(".")[1] if "." in module else module
    command = first not in STANDS_ON and FILES[module] == ROOT / "fastff" / f"{first}.py"
    return "a command" if command or module.endswith(".__main__") else first


def below(part):
    return {part}.union(*map(below, STANDS_ON[part])) - {"a command"}


def test_every_part_imports_only_what_stands_below_it():
    wrong = {
        f"{module} imports {other}"
        for module, others in IMPORTED.items()
        for other in others
        if part_of(other) not in below(part_of(module))
    }
    assert not wrong


def test_no_modules_import_one_another():
    try:
        TopologicalSorter(IMPORTED).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_libraries_are_imported_where_they_are_needed():
    wrong = set()
    for module, found in FOUND.items():
        for name, inside in found:
            library = name.split(".")[0]
            part, where = LIBRARIES.get(library, (part_of(module), "top"))
            if (part_of(module), library) in ALSO:
                part, where = part_of(module), "function"
            if part_of(module) != part:
                wrong.add(f"{module} imports {library}: only {part} does")
            elif where == "function" and not inside:
                wrong.add(f"{module} imports {library} at its top: do so in the function that needs it")
    assert not wrong


def test_kernels_import_numpy_and_numba_and_nothing_else():
    ours = sys.stdlib_module_names | {"fastff", "llvmlite", "numba", "numpy"}
    assert not {
        f"{module} imports {name}"
        for module, found in FOUND.items()
        for name, _ in found
        if part_of(module) == "kernels" and name.split(".")[0] not in ours
    }
