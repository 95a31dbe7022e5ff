"""Layers that are called by hand: forward, backward and step of several at once, each as one program of them alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastff.data.rows import check_rows
from fastff.engine.clipping import clip
from fastff.engine.program import Program
from fastff.errors import ArgumentError
from fastff.nn.optim import check_step_size, store_gradient


def forward_all(layers: Sequence[Any], input: np.ndarray) -> np.ndarray:
    """The output of layers that stand one behind the other, as one program; each can go back then."""
    rows = check_rows(input, "input", features=layers[0].features_in)
    program = Program(len(rows))
    x = layers[0].gather(program, rows)
    batches, saved = [x], []
    for layer in layers:
        x, kept = layer.lower_forward(program, x, training=True)
        batches.append(x)
        saved.append(kept)
    result = program.scatter(x, len(rows))
    program.run()
    for batch in batches:
        batch.maker = None  # it holds the rows, and cannot be copied
    for i, layer in enumerate(layers):
        layer._last = saved[i], batches[i + 1], len(rows)
    return result


def backward_all(layers: Sequence[Any], grad: np.ndarray, *, input_gradient: bool = True) -> Any:
    """The gradient by the input of such layers' last forward, given the one by the output; None if it is not asked."""
    lasts = [layer._last_forward() for layer in layers]
    _, output, rows = lasts[-1]
    grad = check_rows(grad, "grad", features=output.features)
    if len(grad) != rows:
        raise ArgumentError(f"grad: {len(grad)} rows, want {rows} as in the last forward")
    program = Program(rows)
    g: Any = program.gather(grad)
    for i in range(len(layers) - 1, -1, -1):
        saved, output, count = lasts[i]
        if (count, output.features) != (rows, g.features):
            found = f"{rows} rows of {g.features} values, want {count} of {output.features}"
            raise ArgumentError(f"{type(layers[i]).__name__}.backward: {found} as in its last forward")
        g = layers[i]._lower_by_hand(program, g, saved, further=input_gradient or i > 0)
    below = None if g is None else program.scatter(g, rows)
    program.run()
    return below


def clip_all(layers: Sequence[Any], limit: float) -> float:
    """Clip the gradients of the last backward of linear layers by their norm together; returns the norm before it."""
    updates, rows = [], set()
    for layer in reversed(layers):
        if layer.trainable:
            x, gt, count = layer._last_backward()
            updates.append((x, gt, *layer.memory, layer.output_dim))
            rows.add(count)
    if len(rows) != 1:
        raise ArgumentError(f"layers: the last backwards had {sorted(rows)} rows, want one backward of all of them")
    program = Program(rows.pop())
    found = clip(program, updates, limit, store_gradient())
    program.run()
    return float(found[1])


def step_all(layers: Sequence[Any], step_size: float) -> None:
    """Have the optimizer that all layers share move them once: as one program those that are at the same update."""
    sizes, groups = np.array([check_step_size(step_size)]), dict[Any, list[Any]]()
    for layer in layers:
        if not layer.trainable:
            continue
        layer.moves_by(layers[0].optimizer)
        groups.setdefault((layer.updates, layer._last_backward()[2]), []).append(layer)
    for (updates, rows), alike in groups.items():
        hyper, program = layers[0].optimizer.hyper(updates + 1, sizes), Program(rows)
        for layer in alike:
            layer.sync()
            x, gt, _ = layer._last_backward()
            weights, biases = layer.memory
            program.update(x, gt, weights, biases, layer.output_dim)
        program.run(hyper=hyper)
        for layer in alike:
            layer.updated(1)
