"""Arguments that other libraries call otherwise: a TypeError that says what they are called here."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Target = TypeVar("Target", bound=Callable[..., Any])

_STEP = dict.fromkeys(("lr", "learning_rate"), "step_size")
_OF_TRAINER = dict.fromkeys(("lr", "learning_rate", "step_size"), "Trainer(network, step_size=...)")
_OF_OPTIMIZER = dict.fromkeys(
    ("lr", "learning_rate", "step_size"), "it in Trainer(network, step_size=...) or network.step(step_size)"
)
# What to write instead, by the name of the class or method and the argument
INSTEAD: dict[str, dict[str, str]] = {
    "Adam": {**_OF_OPTIMIZER, "betas": "beta1 and beta2", "eps": "epsilon", "amsgrad": "no such variant"},
    "SGD": _OF_OPTIMIZER,
    "LinearLayer.step": _STEP,
    "FeedForwardNeuralNetwork.step": _STEP,
    "FeedForwardNeuralNetwork": {
        **_OF_TRAINER, "hidden_layer_sizes": "hidden_dim", "hidden": "hidden_dim", "random_state": "seed",
    },
    "LinearLayer": {"in_features": "input_dim", "out_features": "output_dim", "random_state": "seed"},
    "Trainer": {
        **dict.fromkeys(("lr", "learning_rate", "learning_rate_init"), "step_size"),
        **dict.fromkeys(("epochs", "n_epochs", "max_iter"), "fit(..., epochs=...)"),
        **dict.fromkeys(("criterion", "loss_fn"), "loss"),
        "weight_decay": "it in the optimizer, such as Adam(weight_decay=1e-4)",
        "random_state": "seed", "n_jobs": "threads", "callbacks": "fit(..., on_epoch=...)",
    },
    "Trainer.fit": {
        **_OF_TRAINER,
        **dict.fromkeys(("n_epochs", "num_epochs", "max_iter"), "epochs"),
        **dict.fromkeys(("callback", "callbacks"), "on_epoch"),
        "batch_size": "Trainer(network, batch_size=...)", "verbose": "Trainer(network, verbose=True)",
        "validation_data": "X_val and Y_val", "x_val": "X_val", "y_val": "Y_val", "y": "Y", "x": "X",
    },
}  # fmt: skip


def called_here(target: Target) -> Target:
    """Let a method, a constructor or a class refuse the names in INSTEAD with a TypeError that says what is wanted."""
    if isinstance(target, type):
        target.__init__ = called_here(target.__init__)  # type: ignore[misc]
        return target
    what = target.__qualname__.removesuffix(".__init__")
    instead = INSTEAD[what]

    @wraps(target)
    def checked(*args: Any, **options: Any) -> Any:
        for name in options:
            if name in instead:
                raise TypeError(f"{what} has no argument {name!r}, want {instead[name]}")
        return target(*args, **options)

    return checked  # type: ignore[return-value]
