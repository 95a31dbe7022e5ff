"""A trainer's state: named arrays and a dictionary, from which training goes on with the same bits.

The names: those of the network's parameters, "0.weight" and so on; Adam's and SGD's two moments of each,
"0.weight.moment1"; "history.batch_losses" and "history.batch_accuracies", empty
where numbers are predicted; the best weights, "best.0.weight"; and where weights are averaged, their averages,
"average.0.weight", beside the weights that are trained.
Nothing random has a state to be kept: the order of rows, dropout and changed pictures follow from the seed, the epoch
and the batch.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastff.engine import panels
from fastff.errors import DataError
from fastff.nn.loss import CrossEntropySoftmax
from fastff.nn.preprocessing import Whiten
from fastff.nn.saved import AVERAGE, BEST, array_name, moment_name, named_parameters
from fastff.system.blocks import Sliceable, copied
from fastff.training.averages import Averages
from fastff.training.history import Best, EpochRecord, History, Progress
from fastff.training.trainer import Trainer

State = tuple[Mapping[str, Sliceable], dict[str, Any]]
Copy = tuple[dict[str, np.ndarray], dict[str, Any]]
_NONE = ("squares", 0.0)  # of a classification


def trainer_state(trainer: Trainer) -> State:
    """The state as it is now. Its arrays are the trainer's own memory: read or copy them before training goes on."""
    arrays, layers = trainer.network.contents()
    for layer, weight, bias in named_parameters(trainer.network.layers):
        shape = (layer.input_dim, layer.output_dim)
        for j in range(2):
            arrays[moment_name(weight, j)] = panels.Unpacked(layer.moments[j], shape)
            arrays[moment_name(bias, j)] = layer.bias_moments[j][: layer.output_dim]
    averages = trainer._own_averages
    if averages is not None:
        arrays |= averages.state(trainer.network.layers)
    arrays["history.batch_losses"] = np.array(trainer.history.batch_losses)
    arrays["history.batch_accuracies"] = np.array(trainer.history.batch_accuracies)
    if trainer.best is not None:
        arrays |= {BEST + name: array for name, array in trainer.best.arrays.items()}
    # a classification's own is not named, as files before there were others
    loss = {} if isinstance(trainer.criterion, CrossEntropySoftmax) else {"loss": type(trainer.criterion).__name__}
    metadata = {
        "layers": layers,
        **loss,
        "updates": [layer.updates for layer in trainer.network.linear_layers],
        **({} if averages is None else {"averaged": averages.count}),
        "progress": _fields(trainer.progress),
        "epochs": [_fields(record) for record in trainer.history.epochs],
        "best": None if trainer.best is None else {"value": trainer.best.value, "epoch": trainer.best.epoch},
        "seed": trainer.seed,
        "batch_size": trainer.batch_size,
        "step_size": trainer.step_size,
        "threads_used": trainer.threads_used,
    }
    return arrays, metadata


def copied_state(state: State, earlier: Copy | None) -> Copy:
    """A copy of a state, which training leaves as it is; earlier: a copy whose memory is used again."""
    memories = {} if earlier is None else earlier[0]
    return {name: copied(array, memories.get(name)) for name, array in state[0].items()}, state[1]


def restore_trainer(
    trainer: Trainer, arrays: Mapping[str, Sliceable], metadata: dict[str, Any], source: object
) -> None:
    """Bring a trainer of the same network and settings to a saved state, whose arrays are copied a block at a time.

    The step size stays the trainer's own. Raises DataError, naming source, where the state belongs to another network,
    seed or batch size, or is not whole; nothing is changed then.
    """
    own, layers = trainer.network.contents()
    linear = list(named_parameters(trainer.network.layers))
    try:
        if metadata["layers"] != layers or any(arrays[name].shape != array.shape for name, array in own.items()):
            shapes = [arrays[name].shape for name in arrays if name.split(".", 1)[1:] == ["weight"]]
            sizes = [(layer.input_dim, layer.output_dim) for layer, _, _ in linear]
            if shapes != sizes:
                raise DataError(f"{source}: holds layers of sizes {shapes}, want {sizes} as the options have it")
            raise DataError(f"{source}: holds layers {metadata['layers']}, want {layers} as the options have it")
        for name in ("seed", "batch_size"):
            if metadata[name] != getattr(trainer, name):
                raise DataError(
                    f"{source}: was trained with {name} {metadata[name]}, want {getattr(trainer, name)} to go on"
                )
        loss, wanted = metadata.get("loss", CrossEntropySoftmax.__name__), type(trainer.criterion).__name__
        if loss != wanted and not isinstance(trainer.criterion, CrossEntropySoftmax):
            raise DataError(f"{source}: was trained with the loss {loss}, want {wanted} to go on")
        fitted = [name for name in own if name.endswith((".mean", ".std"))]
        if not all(np.allclose(np.asarray(arrays[name]), np.asarray(own[name])) for name in fitted):
            raise DataError(f"{source}: was trained on rows of another mean or deviation, want the same data to go on")
        moments = [
            (layer, j, _like(own[w], arrays[moment_name(w, j)]), _like(own[b], arrays[moment_name(b, j)]))
            for layer, w, b in linear
            for j in range(2)
        ]
        epochs = [EpochRecord(**_checked(record)) for record in metadata["epochs"]]
        progress = Progress(**_checked(metadata["progress"]))
        best, kept = None, {}
        if metadata["best"]:
            best = Best(**_checked(metadata["best"]), arrays={})
            kept = {name: _like(own[name], arrays[BEST + name]) for _, *names in linear for name in names}
        updates = [count for _, count in zip(linear, metadata["updates"], strict=True)]
        threads_used, averaged = metadata["threads_used"], metadata.get("averaged")
        counts = [*updates, threads_used, averaged or 0]
        if not all(isinstance(count, int) and 0 <= count < 1 << 53 for count in counts):
            raise TypeError(f"updates {updates}, threads_used {threads_used!r}, averaged {averaged!r}")
        averages = {}
        if averaged is not None:
            averages = {name: _like(own[name], arrays[AVERAGE + name]) for _, *names in linear for name in names}
        losses, accuracies = (np.asarray(arrays[f"history.batch_{kind}"]).tolist() for kind in ("losses", "accuracies"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source}: is not a whole checkpoint of a run: {error!r}") from None
    trainer.network.set_parameters(arrays)
    trainer._averages = None
    if averaged is not None and trainer.ema_decay is not None:
        trainer._averages = Averages.holding(trainer.network, trainer.ema_decay, averages, averaged)
    for i, layer in enumerate(trainer.network.layers):
        if isinstance(layer, Whiten):  # fitted again, its last bits may be others, by the threads of NumPy's libraries
            own_arrays = (np.asarray(arrays[array_name(i, name)]) for name in Whiten.array_names)
            trainer.network.layers[i] = Whiten(*own_arrays)
    for layer, j, weight, bias in moments:
        panels.pack(weight, layer.moments[j])
        layer.bias_moments[j][: layer.output_dim] = np.asarray(bias)
    for (layer, _, _), count in zip(linear, updates, strict=True):
        layer.updates = count
    if best is not None:
        memories = {} if trainer.best is None else trainer.best.arrays
        arrays_then = {name: copied(array, memories.get(name)) for name, array in kept.items()}
        best = dataclasses.replace(best, arrays=arrays_then)
    trainer.recorder.go_on(History(losses, accuracies, epochs), progress, best)
    trainer.threads_used = threads_used


def best_network(arrays: Mapping[str, Sliceable], metadata: dict[str, Any]) -> dict[str, Sliceable]:
    """The network's own arrays of a state, with the best weights so far, or the last ones where none are the best, or
    the averages of these."""
    own = {name: array for name, array in arrays.items() if re.fullmatch(r"\d+\.\w+", name)}
    kept = BEST if metadata["best"] else AVERAGE
    return own | {name: arrays[kept + name] for name in own if kept + name in arrays}


def _fields(record: EpochRecord | Progress) -> dict[str, Any]:
    """A record's fields, without those that only another task has."""
    kept = {"train_accuracy", "val_loss", "val_accuracy"}  # also where they are None
    fields = dataclasses.asdict(record).items()
    return {name: value for name, value in fields if name in kept or (value is not None and (name, value) != _NONE)}


def _like(own: Sliceable, found: Sliceable) -> Sliceable:
    """A saved array, if it has the shape of the trainer's own."""
    if found.shape != own.shape:
        raise ValueError(f"an array of shape {found.shape}, want {own.shape}")
    return found


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """Saved fields, if their values are numbers or None, and those of epoch and batch whole and not negative."""
    for name, value in fields.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in ("epoch", "batch") and not (isinstance(value, int) and 0 <= value < 1 << 53):
            raise TypeError(f"{name} {value}")
        if not number and value is not None:
            raise TypeError(f"{name} {value!r}")
    return fields
