"""Loads the definitions of a student's file: imports, classes, functions, constants, but not what trains or draws."""

import ast
import builtins
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

# Always replaced: they open windows or wait for somebody. Other modules are replaced when they are not installed.
REPLACED = {"turtle", "tkinter", "matplotlib", "pdb", "ipdb", "IPython", "seaborn", "cv2", "tqdm"}
NEEDED = {"numpy", "fastff"}
_CALLS = re.compile(
    r"(np|numpy|math)\.(?!load|save|genfromtxt|fromfile|memmap)[\w.]+|range|len|int|float|list|dict|tuple|set|bool|str"
)
_DATA = re.compile(r"(train|val|test)", re.IGNORECASE)


class StandIn(types.ModuleType):
    """Stands in for a module and for everything in it: calls, items and attributes give a stand-in again."""

    used: ClassVar[set[str]] = set()  # the names of missing modules that the student's code has called

    def __init__(self, name: str, missing: bool = False) -> None:
        super().__init__(name)
        self.__dict__["_missing"] = missing

    def _again(self, *_: Any, **__: Any) -> "StandIn":
        if self.__dict__["_missing"]:
            StandIn.used.add(self.__name__.split(".")[0])
        return self

    def __getattr__(self, name: str) -> "StandIn":
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}", self.__dict__["_missing"])

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        if self.__name__ in ("tqdm", "tqdm.tqdm") and arguments:
            return arguments[0]  # it shows progress and hands on what it is given
        if len(arguments) == 1 and isinstance(arguments[0], (types.FunctionType, type)):
            return arguments[0]  # as a decorator
        return self._again()

    def __mro_entries__(self, _: object) -> tuple[type, ...]:
        return ()  # as the base of a class it adds nothing

    def __iter__(self) -> Iterator["StandIn"]:
        return iter((self._again(), self))

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    __getitem__ = __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __truediv__ = _again


class Namespace(dict[str, Any]):
    """The file's globals. A name that only a statement which was not run would define is defined when it is missed."""

    def __init__(self, path: str, skipped: list[ast.stmt]) -> None:
        super().__init__(__name__="student", __file__=path)
        self._path = path
        self._skipped = {name: node for node in skipped if not _is_guard(node) for name in _names(node)}

    def __missing__(self, name: str) -> Any:
        node = self._skipped.pop(name, None)
        if node is None:
            raise KeyError(name)
        exec(compile(ast.Module([node], []), self._path, "exec"), self)
        return dict.__getitem__(self, name)


class Script:
    """A file's syntax tree, its definitions, and what was not run of it."""

    def __init__(self, path: Path, data_folder: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_bytes(), str(path))
        self.skipped = [node for node in self.tree.body if not _is_definition(node)]
        self.namespace = Namespace(str(path), self.skipped)
        self.namespace["__builtins__"] = {
            **vars(builtins),
            "__import__": _importing(builtins.__import__),
            "open": _opening(data_folder),
            "input": _refuse_input,
            "breakpoint": lambda *_, **__: None,
        }
        sys.path.insert(0, str(path.parent))
        self.failed = [reason for node in self.tree.body if _is_definition(node) and (reason := self._define(node))]

    def _define(self, node: ast.stmt) -> str:
        """Run a definition. What is wrong with a constant is returned, as it may not matter; the rest must be right."""
        try:
            exec(compile(ast.Module([node], []), str(self.path), "exec"), self.namespace)
        except Exception as error:
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):
                raise
            return f"{type(error).__name__}: {error} (line {node.lineno})"
        return ""

    def run_main(self) -> None:
        """Call main, or run what the file does when it is started, if there is no main."""
        if "main" in self.namespace:
            self.namespace["main"]()
            return
        body = [
            part
            for node in self.skipped
            for part in (node.body if isinstance(node, ast.If) and _is_guard(node) else [node])
        ]
        exec(compile(ast.Module(body, []), str(self.path), "exec"), self.namespace)


def _is_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)):
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(target, (ast.Name, ast.Tuple)) for target in targets) and _is_constant(node.value)
    if isinstance(node, ast.Try):
        inner = [*node.body, *node.orelse, *node.finalbody, *(part for h in node.handlers for part in h.body)]
        return all(isinstance(part, ast.Pass) or _is_definition(part) for part in inner)
    if isinstance(node, ast.If) and not _is_guard(node):
        return _is_constant(node.test) and all(map(_is_definition, [*node.body, *node.orelse]))
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_constant(value: ast.expr | None) -> bool:
    if value is None:
        return True
    calls = [ast.unparse(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)]
    return all(_CALLS.fullmatch(call) for call in calls)


def _names(node: ast.stmt) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _importing(real: Callable[..., Any]) -> Callable[..., Any]:
    """An __import__ that replaces some modules. Only the student's own imports go through it."""

    def imported(name: str, into: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
        top, missing = name.split(".")[0], False
        if top not in REPLACED:
            try:
                return real(name, into, local, names, level)
            except ImportError:
                if top in NEEDED:
                    raise
                missing = True
        return StandIn(name if names else top, missing)

    return imported


def _opening(folder: Path) -> Callable[..., Any]:
    """An open that finds the course's files in `folder` under whatever path the student has them."""

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if isinstance(file, (str, os.PathLike)) and "r" in mode:
            split = _DATA.findall(Path(file).name)
            ours = folder / f"cifar10_hst_{split[-1].lower()}" if split else None
            if ours is not None and ours.exists():
                file = ours
        return open(file, mode, *arguments, **options)

    return opened


def _refuse_input(*_: object) -> str:
    raise EOFError("input() waits for somebody who types, and nobody does during a check")
