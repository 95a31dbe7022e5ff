"""Loads the definitions of a student's file: imports, classes, functions, constants, but not what trains or draws."""

import __future__

import ast
import builtins
import math
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
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda, *_COMPREHENSIONS)


class StandIn(types.ModuleType):
    """Stands in for a module and for everything in it: calls, items and attributes give a stand-in again."""

    used: ClassVar[set[str]] = set()  # the missing modules that the student's code has called, with what is wrong

    def __init__(self, name: str, missing: str = "") -> None:
        super().__init__(name)
        self.__dict__["_missing"] = missing

    def _again(self, *_: Any, **__: Any) -> "StandIn":
        if self.__dict__["_missing"]:
            StandIn.used.add(self.__dict__["_missing"])
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
    """The file's globals. When a name is needed, the statements that were left out and that bind or change it are run
    first, in their order: all of them, or those above the statement that needs it. What has got a value otherwise
    keeps that.
    """

    def __init__(self, path: str, features: int) -> None:
        super().__init__(__name__="student", __file__=path)
        self._path, self._features = path, features
        self._late: dict[str, list[ast.stmt]] = {}
        self._begun: set[ast.stmt] = set()
        self._now: tuple[float, int] = (math.inf, 0)  # the place in the file of the statement that is being run

    def run(self, node: ast.stmt) -> None:
        """Run a statement of the file."""
        before, self._now = self._now, _place(node)
        self._begun.add(node)
        try:
            # Python does not ask for what a statement only binds, nor for what the body of a class reads
            for name in [*(name for name, late in self._late.items() if node in late), *_in_classes(node)]:
                self._run_late(name)
            exec(compile(ast.Module([node], []), self._path, "exec", self._features, dont_inherit=True), self)
        except BaseException:
            self._begun.discard(node)  # what needs its names is told, too
            raise
        finally:
            self._now = before

    def leave_out(self, statements: list[ast.stmt], own: set[str]) -> None:
        """Do not run these until a name of them is needed; own are the names that the file defines."""
        bound = {name for node in statements for name in _bound(node)}
        for name in bound:
            # A loop that trains is run only for what nothing else gives
            nodes = [n for n in statements if name in (*_bound(n), *_changed(n))]
            self._late[name] = [n for n in nodes if not _trains(n, own)] or nodes

    def _run_late(self, name: str) -> None:
        late = self._late.get(name, [])
        if not super().__contains__(name) or not self._begun.isdisjoint(late):
            for node in late:
                if node not in self._begun and _place(node) < self._now:
                    self.run(node)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._late

    def __getitem__(self, name: str) -> Any:
        if name in self._late:
            self._run_late(name)
        return super().__getitem__(name)


class _Module(types.ModuleType):
    """The student's file as a module, where pickle and dataclasses look for its classes."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__("student")
        self.__dict__["_namespace"] = namespace

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_namespace"][name]
        except KeyError:
            raise AttributeError(name) from None


class Script:
    """A file's syntax tree, its definitions, and what was not run of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_bytes(), str(path))
        own = {node.name for node in ast.walk(self.tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
        own -= {name for kind in (dict, list, set, str) for name in dir(kind)}  # config.update() is seldom the file's
        others = [node for node in self.tree.body if not _is_definition(node, own)]
        # A constant that another statement changes is not ready before that statement has run
        inside = [part for node in others for part in _block(node) if not _trains(part, own)]
        changed = {name for node in inside for name in (*_bound(node), *_changed(node))}
        constants = (ast.Assign, ast.AnnAssign)
        self.skipped = [
            node
            for node in self.tree.body
            if node in others or (isinstance(node, constants) and changed & {*_bound(node)})
        ]
        self.namespace = Namespace(str(path), _features(self.tree))
        self.namespace["__builtins__"] = {
            **vars(builtins),
            "__import__": _importing(builtins.__import__),
            "input": _refuse_input,
            "breakpoint": lambda *_, **__: None,
        }
        sys.path.insert(0, str(path.parent))
        sys.modules["student"] = _Module(self.namespace)
        self.namespace.leave_out([part for node in self.skipped for part in _block(node)], own)
        self.failed = [reason for node in self.tree.body if node not in self.skipped and (reason := self._define(node))]

    def _define(self, node: ast.stmt) -> str:
        """Run a definition. What is wrong with a constant is returned, as it may not matter; the rest must be right."""
        try:
            self.namespace.run(node)
            if _is_path(node):
                sys.path[:] = [str(self.path.parent / folder) for folder in sys.path]
        except Exception as error:
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):
                raise
            return f"{type(error).__name__}: {error} (line {node.lineno})"
        return ""

    def run_main(self) -> None:
        """Do what the file does when it is started: call main as it does, or run it all if there is no main."""
        blocks = [_block(node) for node in self.skipped]
        main = "main" in self.namespace
        if main:
            blocks = [block for block in blocks if any(map(_calls_main, block))]
            if not blocks:
                self.namespace["main"]()
        for node in (node for block in blocks for node in block):
            try:
                self.namespace.run(node)
            except EOFError:  # of input() before main is called: if main needs what it gives, that is raised again
                if not main or _calls_main(node):
                    raise


def _features(tree: ast.Module) -> int:
    """What the file imports from __future__, as compile takes it: a statement by itself does not know of the others."""
    imports = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    names = {alias.name for node in imports for alias in node.names}.intersection(__future__.all_feature_names)
    return sum({getattr(__future__, name).compiler_flag for name in names})


def _place(node: ast.stmt) -> tuple[float, int]:
    return node.lineno, node.col_offset


def _is_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _block(node: ast.stmt) -> list[ast.stmt]:
    """What a statement runs when the file is started: of `if __name__ == "__main__"` its body."""
    return node.body if isinstance(node, ast.If) and _is_guard(node) else [node]


def _calls_main(node: ast.AST) -> bool:
    """Whether a statement calls main whatever comes: not only under a condition, such as one of arguments."""
    calls = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "main"
    return calls or (
        not isinstance(node, (ast.If, ast.IfExp, *_SCOPES)) and any(map(_calls_main, ast.iter_child_nodes(node)))
    )


def _is_definition(node: ast.stmt, own: set[str]) -> bool:
    """Whether a statement imports, defines, or assigns a constant to names or to attributes of the file's classes."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Pass)) or _is_path(node):
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        ready = all(
            isinstance(t, (ast.Name, ast.Tuple)) or (isinstance(t, ast.Attribute) and _root(t) in own) for t in targets
        )
        return ready and _is_constant(node.value)
    if isinstance(node, ast.Try):  # whatever its handlers do: modules that are missing are replaced
        return all(_is_definition(part, own) for part in [*node.body, *node.orelse, *node.finalbody])
    if isinstance(node, ast.If) and not _is_guard(node):
        return _is_constant(node.test) and all(_is_definition(part, own) for part in [*node.body, *node.orelse])
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_path(node: ast.stmt) -> bool:
    """Whether a statement changes where imports look."""
    return ast.unparse(node).startswith("sys.path")


def _is_constant(value: ast.expr | None) -> bool:
    if value is None:
        return True
    calls = [ast.unparse(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)]
    return all(_CALLS.fullmatch(call) for call in calls)


def _trains(node: ast.stmt, own: set[str]) -> bool:
    """Whether a statement has a loop that calls what the file defines, by name."""
    loops = [part for part in _parts(node) if isinstance(part, (ast.For, ast.While))]
    calls = [part.func for loop in loops for part in ast.walk(loop) if isinstance(part, ast.Call)]
    return any(getattr(call, "attr", getattr(call, "id", "")) in own for call in calls)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is run with it: of functions and classes in it not their bodies, whose names are others."""
    yield node
    for child in ast.iter_child_nodes(node) if not isinstance(node, _SCOPES) else _outside(node):
        yield from _parts(child)


def _outside(scope: Any) -> list[ast.AST]:
    """What a scope evaluates where it stands: defaults, decorators and bases, and what a comprehension goes over."""
    if isinstance(scope, _COMPREHENSIONS):
        return [scope.generators[0].iter]
    body = scope.body if isinstance(scope, (ast.FunctionDef, ast.ClassDef)) else [scope.body]
    return [child for child in ast.iter_child_nodes(scope) if child not in body]


def _in_classes(node: ast.AST) -> Iterator[str]:
    """The names that the bodies of classes read when a statement is run."""
    for statement in (s for part in _parts(node) if isinstance(part, ast.ClassDef) for s in part.body):
        yield from (p.id for p in _parts(statement) if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Load))
        yield from _in_classes(statement)


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement binds."""
    for part in _parts(node):
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            yield part.name
        elif isinstance(part, ast.alias):
            yield part.asname or part.name.split(".")[0]
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def _changed(node: ast.stmt) -> Iterator[str]:
    """The names of objects of which a statement sets an item or an attribute, or calls a method for its effect."""
    for part in _parts(node):
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            yield _root(part.value.func) if isinstance(part.value.func, ast.Attribute) else ""
        elif isinstance(part, (ast.Attribute, ast.Subscript)) and not isinstance(part.ctx, ast.Load):
            yield _root(part)


def _root(node: ast.expr) -> str:
    """The name at which a chain of attributes, items and calls begins, or nothing."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _importing(real: Callable[..., Any]) -> Callable[..., Any]:
    """An __import__ that replaces some modules. Only the student's own imports go through it."""

    def imported(name: str, into: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
        if level and not name:  # from . import settings
            return types.SimpleNamespace(**{own: imported(own) for own in names})
        top, missing = name.split(".")[0], ""
        if top not in REPLACED:
            try:
                return real(name, into, local, names, 0)  # `from .settings import` too: the file beside this one
            except ImportError as error:
                if top in NEEDED:
                    raise
                known = isinstance(error, ModuleNotFoundError) and error.name == top
                missing = f"{top}, which {'is not installed' if known else f'cannot be imported ({error})'}"
        return StandIn(name if names else top, missing)

    return imported


def _refuse_input(*_: object) -> str:
    raise EOFError("input() waits for somebody who types, and nobody does during a check")
