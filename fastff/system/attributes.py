"""Attributes that are checked when they are assigned, or cannot be, and classes that take no others.

What defines memory or numbers must be as right when it is changed as when it was made; and a name that a class does not
have is a mistake of the writer's, which would otherwise go unnoticed.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any


class Checked:
    """A class attribute whose value goes through check(value), which returns it as it is kept or raises."""

    def __init__(self, check: Callable[[Any], Any]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else _value(instance, self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = self._check(value)


class Fixed:
    """A class attribute that is set once, when the object is made."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else _value(instance, self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        if self._name in instance.__dict__:
            raise AttributeError(f"{type(instance).__name__}.{self._name} cannot be changed: make another one")
        instance.__dict__[self._name] = value


class Absent(Checked):
    """A class attribute that is None. A subclass outside fastff may give its objects another, through check(value)."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return None if instance is None else instance.__dict__.get(self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        if type(instance).__module__.startswith("fastff."):
            raise AttributeError(f"{type(instance).__name__}.{self._name} cannot be changed")
        if value is None:
            instance.__dict__[self._name] = None
        else:
            super().__set__(instance, value)


class Closed:
    """A base for classes of fastff whose objects take no public attributes but those that their class has.

    A subclass elsewhere may have what it likes.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        kind: Any = type(self)
        if kind.__module__.startswith("fastff.") and name not in _names(kind):
            own = ", ".join(n for n in sorted(_names(kind)) if not callable(getattr(kind, n, None)))
            raise AttributeError(f"{kind.__name__} has no attribute {name!r}, but {own}")
        found = getattr(kind, name, None)
        if isinstance(found, property) and found.fset is None:
            raise AttributeError(f"{kind.__name__}.{name} cannot be changed")
        object.__setattr__(self, name, value)


@cache
def _names(kind: type) -> set[str]:
    """The public names that a class has or declares."""
    # get_annotations: from Python 3.14 on they are not in vars until they are asked for
    names = {name for one in kind.__mro__ for name in (*vars(one), *inspect.get_annotations(one))}
    return {name for name in names if not name.startswith("_")}


def _value(instance: Any, name: str) -> Any:
    if name not in instance.__dict__:
        raise AttributeError(f"{type(instance).__name__}.{name} has no value yet")
    return instance.__dict__[name]
