"""The summary of a network: a table of its layers."""

from collections.abc import Sequence
from typing import Any

from fastff.nn.layers import Layer, LinearLayer

COPIES = 3  # of each parameter in memory: its value and the optimizer's two moments


class Summary(str):
    """A text that notebooks and consoles show as it is."""

    def __repr__(self) -> str:
        return str(self)


def summary_of(layers: Sequence[Any]) -> Summary:
    """A line for each layer: its number, what it is, the shape of its output for N rows, and its parameters."""
    lines, width = [("", "layer", "output", "parameters")], None
    parameters, frozen = 0, 0
    for i, layer in enumerate(layers):
        own = 0
        if isinstance(layer, LinearLayer):
            own = (layer.input_dim + 1) * layer.output_dim
            frozen += 0 if layer.trainable else own
        parameters += own
        width = layer.output_dim or layer.features_in or width if isinstance(layer, Layer) else None
        lines.append((str(i), repr(layer), "(N, ?)" if width is None else f"(N, {width})", f"{own:,}" if own else ""))
    widest = [max(len(line[k]) for line in lines) for k in range(4)]
    rows = [
        f"{number:>{widest[0]}}  {what:<{widest[1]}}  {shape:<{widest[2]}}  {count:>{widest[3]}}"
        for number, what, shape, count in lines
    ]
    kept = f", {frozen:,} of them frozen" if frozen else ""
    memory = f"{4 * COPIES * parameters / 2**20:.1f} MB with the optimizer's two moments"
    return Summary("\n".join([*rows, "-" * len(rows[0]), f"{parameters:,} parameters{kept}; {memory}"]))
