"""What a student's script expects of gradients and steps, and fastff does otherwise: errors that say what to do."""

from typing import Any

import numpy as np

from fastff.errors import ArgumentError

_CURE = (
    "cannot be changed: step goes by what backward was given, and would not see it; want a smaller step_size, "
    "weight_decay in the optimizer, or another gradient given to backward"
)


class StoredGradient(np.ndarray):
    """A gradient that a layer was asked for: read-only, because changing it would change no step. Copies are plain."""

    @classmethod
    def of(cls, array: np.ndarray) -> "StoredGradient":
        """The array as a StoredGradient; it is the only way to it."""
        array.flags.writeable = False
        return array.view(cls)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.flags.writeable:
            raise refused_gradient()
        super().__setitem__(key, value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """The ufunc on plain arrays; where this is what it would write to, as with *= and out=, an error."""
        if any(isinstance(out, StoredGradient) and not out.flags.writeable for out in options.get("out", ())):
            raise refused_gradient()
        if "out" in options:
            options["out"] = tuple(_plain(out) for out in options["out"])
        return getattr(ufunc, method)(*map(_plain, inputs), **options)


def refused_gradient() -> AttributeError:
    """The error for a gradient that is changed or assigned."""
    return AttributeError(f"LinearLayer.grad_weights and grad_bias {_CURE}")


def check_only_step_size(kind: type, others: tuple[Any, ...], named: dict[str, Any]) -> None:
    """ArgumentError where step is given more than a step size, as a step that is an optimizer itself would be."""
    if others or named:
        given = ", ".join([*map(repr, others), *(f"{name}={value!r}" for name, value in named.items())])
        raise ArgumentError(
            f"{kind.__name__}.step: is given {given} beside the step size, want the step size alone; beta, epsilon "
            "and weight_decay are the optimizer's, as in network.optimizer = Adam.course(beta, weight_decay), and it "
            "counts the steps"
        )


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, StoredGradient) else value
