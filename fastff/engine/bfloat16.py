"""Training in bfloat16: the products of linear layers take their operands rounded, everything else stays float32.

Weights, moments, sums, activations between layers and the loss are float32 as ever: what is saved knows no precision.
What multiplies is a copy of half the size, in the order that the CPU's instructions read (fastff.kernels.bfloat16):
`Program16` adds the operations that make it. The copies of the weights are made anew before the first step of a run;
then they follow the optimizer.
"""

import ctypes
import sys
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fastff.engine import panels
from fastff.engine.panels import Panels
from fastff.engine.program import Program
from fastff.engine.table import Row
from fastff.errors import ArgumentError
from fastff.kernels import bfloat16, cpu, linear16
from fastff.kernels.bfloat16 import TILES, form_size
from fastff.kernels.operation import address
from fastff.system.arguments import shown

_TILES = np.frombuffer(TILES, np.uint8)
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18  # Linux, Documentation/arch/x86/xstate.rst


@lru_cache(maxsize=1)
def missing() -> str:
    """What this CPU lacks to multiply bfloat16 fast, "" if nothing."""
    if not cpu.BF16:
        found = "this CPU has neither AMX nor AVX512_BF16 (nor Arm's BF16)"
        return found if cpu.ISA == "avx512" or cpu.ARCHITECTURE == "arm" else f"vectors are {cpu.ISA}: {found}"
    if cpu.BF16 == "amx" and not _granted():
        return "the operating system does not grant the use of AMX"
    return ""


def _granted() -> bool:
    """Ask for the tiles' registers, as each process must: Linux makes room for them in every signal frame."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0


def resolve_precision(precision: str) -> str:
    """ "float32" or "bfloat16"; "auto" is whichever is faster here. ArgumentError for any other, or without the CPU."""
    if not isinstance(precision, str) or precision not in ("float32", "bfloat16", "auto"):
        raise ArgumentError(f"precision: {shown(precision)}, want 'float32', 'bfloat16' or 'auto'")
    if precision == "auto":
        return "bfloat16" if cpu.FASTER_BF16 and not missing() else "float32"
    if precision == "bfloat16":
        _require()
    return precision


def _require() -> None:
    if missing():
        raise ArgumentError(f"precision: 'bfloat16', but {missing()}; want 'float32', or 'auto' for the best there is")


class Program16(Program):
    """A program whose linear layers multiply bfloat16."""

    def __init__(self, rows: int) -> None:
        _require()
        super().__init__(rows)
        self._copies: dict[int, Row] = {}  # what makes the copies of weights before the first step, by their address
        if cpu.BF16 == "amx":
            self.before.append(Row(bfloat16.begin_products, rows, tiles=_TILES))
            self.after.append(Row(bfloat16.end_products, rows))

    def linear(self, x: Panels, weights: np.ndarray, bias: np.ndarray, n_out: int) -> Panels:
        left, right = _form(self.rows, x.features), _form(self.rows, x.features)
        gather = x.maker
        if gather is not None and "places" in gather.fields:  # nobody else takes what a gather gives
            fields = {name: value for name, value in gather.fields.items() if name != "x"}
            gather.operation = bfloat16.GATHER16[fields["data"].dtype.type]
            gather.fields = {**fields, "left": left, "right": right}
        else:
            self.add(bfloat16.round_input, x=x, left=left, right=right, features=x.features)
        x.rounded = left
        y = self.panels(n_out)
        self.flops += 2 * self.rows * x.features * n_out
        left_t = self._copies_of(weights, x.features, n_out).fields["left_t"]
        y.maker = self.add(
            linear16.forward, x=right, y=y, left_t=left_t, bias=bias, n_in=x.features, n_out=n_out, relu=0,
            sums=_form(self.rows, n_out, np.float32),
        )  # fmt: skip
        return y

    def transpose(self, g: Panels) -> np.ndarray:
        right, right_t = _form(self.rows, g.features), _form(self.rows, g.features)
        self.add(bfloat16.round_gradient, g=g, right=right, right_t=right_t, features=g.features)
        g.rounded = right
        return right_t

    def linear_backward(self, g: Panels, weights: np.ndarray, n_in: int, *, barrier: bool = False) -> Panels:
        if g.rounded is None:
            self.transpose(g)
        copies = self._copies_of(weights, n_in, g.features)
        if copies.fields["left"] is None:
            copies.set(left=_form(n_in, g.features))
        left = copies.fields["left"]
        dx = self.panels(n_in)
        self.flops += 2 * self.rows * g.features * n_in
        # a thread updates the rows of W that it reads here, so an update needs no barrier in between
        dx.maker = self.add(
            linear16.backward, g=g.rounded, dx=dx, h=dx, left=left, n_in=n_in, n_out=g.features, masked=0,
            sums=_form(self.rows, n_in, np.float32), barrier=barrier,
        )  # fmt: skip
        return dx

    def update(
        self, x: Panels, gt: np.ndarray, weights: Sequence[np.ndarray], bias: Sequence[np.ndarray], n_out: int
    ) -> None:
        self.flops += 2 * self.rows * x.features * n_out
        self._updates = True
        (w, m, v), (b, mb, vb) = weights, bias
        copies = self._copies_of(w, x.features, n_out)
        self.add(linear16.update_bias, gt=gt, bias=b, m=mb, v=vb, n_out=n_out, barrier=False)
        self.add(
            linear16.update, x=x.rounded, gt=gt, w=w, m=m, v=v, n_in=x.features, n_out=n_out,
            left=copies.fields["left"], left_t=copies.fields["left_t"],
        )  # fmt: skip

    def gram(self, x: Panels, total: np.ndarray) -> None:
        """As in Program, with x rounded: exact where bfloat16 and float32 hold the numbers and the sums of a batch."""
        left, right_t = _form(self.rows, x.features), _form(self.rows, x.features)
        self.flops += self.rows * x.features * x.features
        self.add(bfloat16.round_columns, x=x, left=left, right_t=right_t, features=x.features)
        self.add(linear16.gram, left=left, right_t=right_t, out=total, features=x.features)

    def _copies_of(self, weights: np.ndarray, n_in: int, n_out: int) -> Row:
        """What copies these weights when a run begins: to `left` for backward, if there is one, and to `left_t`."""
        key = address(weights)
        if key not in self._copies:
            self._copies[key] = Row(
                bfloat16.round_weights, self.rows, w=weights, left=None, left_t=_form(n_in, n_out), n_in=n_in,
                n_out=n_out, barrier=True,
            )  # fmt: skip
            self.before.append(self._copies[key])
        return self._copies[key]


def _form(rows: int, columns: int, dtype: type = np.uint16) -> np.ndarray:
    """Room for a matrix in whole blocks: of bfloat16, an operand in either form; of float32, a product's sums."""
    return panels.aligned(form_size(rows, columns), dtype)


PROGRAMS: dict[str, type[Program]] = {"float32": Program, "bfloat16": Program16}
