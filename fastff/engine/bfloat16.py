"""Training in bfloat16: the products of linear layers take their operands rounded, everything else stays float32.

Weights, moments, sums, activations between layers and the loss are float32 as ever: what is saved knows no precision.
What multiplies is a copy of half the size, in the order that the CPU's instructions read (fastff.kernels.bfloat16):
`Program16` adds the operations that make it. The copies of the weights are made anew for every run, and then follow
the optimizer.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastff.engine import panels
from fastff.engine.program import Lanes, Program, compile_kernels
from fastff.errors import ArgumentError
from fastff.kernels import spmd, spmd16, target
from fastff.kernels.pointwise import IDENTITY
from fastff.kernels.product16 import TILES
from fastff.kernels.target import NR

_TILES = np.frombuffer(TILES, np.uint8)
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18  # Linux, Documentation/arch/x86/xstate.rst


@lru_cache(maxsize=1)
def missing() -> str:
    """What this CPU lacks to multiply bfloat16 fast, "" if nothing."""
    if not target.BF16:
        found = "this CPU has neither AMX nor AVX512_BF16 (nor Arm's BF16)"
        return found if target.ISA == "avx512" or target.ARCHITECTURE == "arm" else f"vectors are {target.ISA}: {found}"
    # a process must ask for the tiles' registers: Linux makes room for them in every signal frame
    if target.BF16 == "amx" and ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) != 0:
        return "the operating system does not grant the use of AMX"
    return ""


def resolve_precision(precision: str) -> str:
    """ "float32" or "bfloat16"; "auto" is whichever is faster here. ArgumentError for any other, or without the CPU."""
    if precision not in ("float32", "bfloat16", "auto"):
        raise ArgumentError(f"precision: {precision!r}, want 'float32', 'bfloat16' or 'auto'")
    if precision == "bfloat16":
        _require()
    if precision == "auto":
        return "bfloat16" if target.BF16 not in ("", "emulated") and not missing() else "float32"
    return precision


def _require() -> None:
    if missing():
        raise ArgumentError(f"precision: 'bfloat16', but {missing()}; want 'float32', or 'auto' for the best there is")


@dataclass(eq=False)
class _Copies:
    """The left forms of a layer's weights, for backward (where there is one) and for forward."""

    left: np.ndarray | None
    left_t: np.ndarray
    made: list[int]  # the operation that makes them


class Program16(Program):
    """A program whose linear layers multiply bfloat16."""

    _FORWARD, _BACKWARD = spmd16.FORWARD, spmd16.BACKWARD

    def __init__(self, rows: int) -> None:
        _require()
        super().__init__(rows)
        self._copies: dict[int, _Copies] = {}  # by the address of the weights
        self._first: Program16 | None = None  # the program that makes them

    # --- building ---

    def linear(self, x: Lanes, weights: np.ndarray, bias: np.ndarray, n_out: int) -> Lanes:
        left, right = _blocks(self.rows, x.features), _blocks(self.rows, x.features)
        if x.maker is not None and x.maker[spmd.CODE] == spmd.GATHER:  # nobody else takes what a gather gives
            x.maker[spmd.ARGUMENTS + 7], x.maker[spmd.ARGUMENTS + 9] = left.ctypes.data, right.ctypes.data
            self._kept += [left, right]
        else:
            self.add(spmd16.ROUND_INPUT, x, left, right, x.features)
        x.rounded = left
        y = self.lanes(n_out)
        self.flops += 2 * self.rows * x.features * n_out
        copies = self._copies_of(weights, x.features, n_out)
        y.maker = self.add(
            self._FORWARD,
            right,
            y,
            copies.left_t,
            bias,
            x.features,
            n_out,
            IDENTITY,
            _blocks(self.rows, n_out, np.float32),
        )
        return y

    def transpose(self, g: Lanes) -> np.ndarray:
        right, right_t = _blocks(self.rows, g.features), _blocks(self.rows, g.features)
        self.add(spmd16.ROUND_GRADIENT, g, right, right_t, g.features)
        g.rounded = right
        return right_t

    def linear_backward(self, g: Lanes, weights: np.ndarray, n_in: int, *, barrier: bool = False) -> Lanes:
        if g.rounded is None:
            self.transpose(g)
        assert g.rounded is not None
        copies = self._copies_of(weights, n_in, g.features)
        if copies.left is None:
            copies.left = _blocks(n_in, g.features)
            copies.made[3] = copies.left.ctypes.data
        dx = self.lanes(n_in)
        self.flops += 2 * self.rows * g.features * n_in
        # a rank updates the rows of W that it reads here, so an update needs no barrier in between
        dx.maker = self.add(self._BACKWARD, g.rounded, dx, dx, copies.left, n_in, g.features, IDENTITY,
                            _blocks(self.rows, n_in, np.float32), barrier=barrier)  # fmt: skip
        return dx

    def update(
        self, x: Lanes, gt: np.ndarray, weights: Sequence[np.ndarray], bias: Sequence[np.ndarray], n_out: int
    ) -> None:
        assert x.rounded is not None
        self.flops += 2 * self.rows * x.features * n_out
        copies = self._copies_of(weights[0], x.features, n_out)
        self.add(spmd16.UPDATE_BIAS, gt, *bias, n_out, barrier=False)
        self.add(spmd16.UPDATE, x.rounded, gt, *weights, x.features, n_out,
                 0 if copies.left is None else copies.left, copies.left_t)  # fmt: skip

    def _copies_of(self, weights: np.ndarray, n_in: int, n_out: int) -> _Copies:
        key = weights.ctypes.data
        if key not in self._copies:
            if self._first is None:
                self._first = Program16(1)
            left_t = _blocks(n_in, n_out)
            made = self._first.add(spmd16.ROUND_WEIGHTS, weights, 0, left_t, n_in, n_out)
            self._copies[key] = _Copies(None, left_t, made)
        return self._copies[key]

    # --- running ---

    @staticmethod
    def call(*arguments: "int | np.ndarray") -> None:
        """One rank's part of a run: fastff.kernels.spmd16.run."""
        spmd16.run(_TILES.ctypes.data, *arguments)

    def begin(self) -> None:
        """Round the weights as they are now."""
        if self._first is not None:
            self._first.run(threads=1)


def _blocks(rows: int, columns: int, dtype: type = np.uint16) -> np.ndarray:
    """Room for a matrix in whole blocks: of bfloat16, an operand in either form; of float32, a product's sums."""
    return panels.aligned(panels.round_up(rows, NR) * panels.round_up(columns, NR), dtype)


PROGRAMS: dict[str, type[Program]] = {"float32": Program, "bfloat16": Program16}


def prepare(precision: str) -> float:
    """Compile or load all kernels that a training takes, whose validation is float32's; the seconds it took."""
    return compile_kernels() + (compile_kernels(Program16.call) if precision == "bfloat16" else 0.0)
