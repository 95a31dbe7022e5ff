"""What other libraries call otherwise: arguments and attributes are refused by a line that says what is wanted here."""

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
_EPOCHS = "epochs, a record each, such as epochs[-1].{0}, or to_frame().{0}"
# What to write instead, by the name of the class and the attribute
ATTRIBUTES_INSTEAD: dict[str, dict[str, str]] = {
    "FeedForwardNeuralNetwork": {
        **dict.fromkeys(("fit", "compile", "train_on_batch"), "Trainer(network, Adam()).fit(X, Y, epochs=...)"),
        **dict.fromkeys(("score", "evaluate"), "evaluate(network, X, Y)"),
        **dict.fromkeys(("train", "eval"), "no mode: predict and evaluate leave dropout out by themselves"),
        **dict.fromkeys(("to", "cuda", "cpu"), "no device: fastff trains on the CPU"),
        **dict.fromkeys(("num_parameters", "count_params", "n_parameters"), "parameter_count"),
        **dict.fromkeys(("weights", "coefs_", "biases"), "layers[i].weights and .bias, or parameters()"),
        "state_dict": "parameters()", "load_state_dict": "set_parameters(...)", "zero_grad": "nothing of the kind: "
        "each backward makes the gradients anew", "add": "layers.append(...)",
    },
    "Trainer": {
        "train": "fit(X, Y, epochs=...)", "model": "network", "score": "evaluate(X, Y)",
        "predict": "network.predict(X)", "predict_proba": "network.predict_proba(X)", "save": "network.save(path)",
    },
    "History": {
        "history": "epochs, a record each, or to_frame()",
        **{name: _EPOCHS.format(name) for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")},
        "loss": _EPOCHS.format("train_loss"), "accuracy": _EPOCHS.format("train_accuracy"),
    },
}  # fmt: skip


class KnownElsewhere:
    """A base for the classes in ATTRIBUTES_INSTEAD: the AttributeError for such a name says what to use."""

    def __getattr__(self, name: str) -> Any:
        found = (ATTRIBUTES_INSTEAD.get(kind.__name__, {}) for kind in type(self).__mro__)
        instead = next((names[name] for names in found if name in names), None)
        if instead is None:
            return object.__getattribute__(self, name)  # raises, as it has before, what Python or a property says
        what = type(self).__name__
        raise AttributeError(f"{what} has no attribute {name!r}, want {instead}", name=name, obj=self)


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
