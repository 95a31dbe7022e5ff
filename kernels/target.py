"""Which vectors this CPU has, and the shape of the register tile that fits them: the one place that decides.

The tile holds MR x NR floats of a product in registers, NR being VECTORS vectors of LANES floats:

    isa      LANES VECTORS NR  MR   registers used: MR * VECTORS sums, VECTORS of B, 1 of A
    avx512   16    2       32  8    16 + 2 (+ A broadcast from memory) of 32
    avx2     8     3       24  4    12 + 3 + 1 of 16
    simd128  4     3       12  4    12 + 3 + 1 of 16 (SSE; NEON has 32)

FASTFF_ISA=avx512|avx2|simd128 overrides the choice, so that one machine can test them all.
"""

import os

import llvmlite.binding as llvm

_SHAPES = {"avx512": (16, 2, 8), "avx2": (8, 3, 4), "simd128": (4, 3, 4)}


def _features() -> dict[str, bool]:
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on some systems; 128-bit vectors work everywhere
        return {}


def _choose() -> str:
    isa = os.environ.get("FASTFF_ISA", "")
    if isa and isa not in _SHAPES:
        raise ValueError(f"FASTFF_ISA: {isa!r} is not one of {', '.join(_SHAPES)}")
    if isa:
        return isa
    if FEATURES.get("avx512f"):
        return "avx512"
    return "avx2" if FEATURES.get("avx2") and FEATURES.get("fma") else "simd128"


def _architecture() -> str:
    triple = llvm.get_default_triple()
    return next((name for start, name in _TRIPLES.items() if triple.startswith(start)), "other")


_TRIPLES = {"x86": "x86", "i686": "x86", "aarch64": "arm", "arm64": "arm"}
ARCHITECTURE = _architecture()
FEATURES = _features()
ISA = _choose()
LANES, VECTORS, MR = _SHAPES[ISA]
NR = LANES * VECTORS
# A fused multiply-add that the CPU lacks would become a library call an element: let LLVM split it there.
FMA = "llvm.fma" if FEATURES.get("fma") or ARCHITECTURE != "x86" else "llvm.fmuladd"
