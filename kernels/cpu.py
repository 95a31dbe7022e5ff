"""Which vectors this CPU has, and the shape of the register tile that fits them: the one place that decides.

The tile holds MR x NR floats of a product in registers, NR being VECTORS vectors of LANES floats:

    isa      LANES VECTORS NR  MR   registers used: MR * VECTORS sums, VECTORS of B, 1 of A
    avx512   16    2       32  8    16 + 2 (+ A broadcast from memory) of 32
    avx2     8     3       24  4    12 + 3 + 1 of 16
    simd128  4     3       12  4    12 + 3 + 1 of 16 (SSE; NEON has 32)

FASTFF_ISA=avx512|avx2|simd128 overrides the choice, so that one machine can test them all.

Also how bfloat16 is multiplied (fastff.kernels.bfloat16), "" where the CPU cannot:

    amx         tiles of 16 x 16 sums in registers of their own (Intel, since Sapphire Rapids; on Linux)
    avx512bf16  two products a lane and instruction (AMD, since Zen 4; Intel, since Cooper Lake)
    neon        the same on Arm, 128 bits wide
    emulated    in float32, slowly: for tests, on any CPU; only FASTFF_BF16 chooses it

FASTFF_BF16 overrides this choice.
"""

import os
import sys
from collections.abc import Collection

import llvmlite.binding as llvm

_BF16_ENGINES = ("amx", "avx512bf16", "neon", "emulated")
_SHAPES = {"avx512": (16, 2, 8), "avx2": (8, 3, 4), "simd128": (4, 3, 4)}


def _features() -> dict[str, bool]:
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on some systems; 128-bit vectors work everywhere
        return {}


def _override(variable: str, choices: Collection[str]) -> str:
    """What the environment variable chooses, "" if nothing."""
    choice = os.environ.get(variable, "")
    if choice and choice not in choices:
        raise ValueError(f"{variable}: {choice!r} is not one of {', '.join(choices)}")
    return choice


def _choose() -> str:
    if isa := _override("FASTFF_ISA", _SHAPES):
        return isa
    if FEATURES.get("avx512f"):
        return "avx512"
    return "avx2" if FEATURES.get("avx2") and FEATURES.get("fma") else "simd128"


def _choose_bf16() -> str:
    if engine := _override("FASTFF_BF16", _BF16_ENGINES):
        return engine
    # AMX's registers are there for a process that has asked for them, which fastff.engine.bfloat16 can do on Linux
    if sys.platform == "linux" and ISA == "avx512" and FEATURES.get("amx-bf16"):
        return "amx"
    if ISA == "avx512" and FEATURES.get("avx512bf16"):
        return "avx512bf16"
    return "neon" if ARCHITECTURE == "arm" and ISA == "simd128" and FEATURES.get("bf16") else ""


_TRIPLES = {"x86": "x86", "i686": "x86", "aarch64": "arm", "arm64": "arm"}
ARCHITECTURE = next((name for start, name in _TRIPLES.items() if llvm.get_default_triple().startswith(start)), "other")
FEATURES = _features()
ISA = _choose()
BF16 = _choose_bf16()
LANES, VECTORS, MR = _SHAPES[ISA]
NR = LANES * VECTORS
# A fused multiply-add that the CPU lacks would become a library call an element: let LLVM split it there.
FMA = "llvm.fma" if FEATURES.get("fma") or ARCHITECTURE != "x86" else "llvm.fmuladd"
