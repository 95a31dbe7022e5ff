"""Which vectors this CPU has, and the shape of the register tile that fits them: the one place that decides.

The tile holds MR x NR floats of a product in registers, NR being VECTORS vectors of LANES floats:

    isa      LANES VECTORS NR  MR   registers used: MR * VECTORS sums, VECTORS of B, 1 of A
    avx512   16    2       32  8    16 + 2 (+ A broadcast from memory) of 32
    avx2     8     3       24  4    12 + 3 + 1 of 16
    neon     4     6       24  4    24 + 6 + 1 of 32; a multiplication takes A as one lane of a register
    simd128  4     3       12  4    12 + 3 + 1 of 16 (SSE)

FASTFF_ISA=avx512|avx2|neon|simd128 overrides the choice, so that one machine can test them all.

Also how bfloat16 is multiplied (fastff.kernels.bfloat16), "" where the CPU cannot:

    amx         tiles of 16 x 16 sums in registers of their own (Intel, since Sapphire Rapids; on Linux)
    avx512bf16  two products a lane and instruction (AMD, since Zen 4; Intel, since Cooper Lake)
    neon        the same on Arm, 128 bits wide
    emulated    in float32, slowly: for tests, on any CPU; only FASTFF_BF16 chooses it

FASTFF_BF16 overrides this choice, by what this CPU and these vectors have. Not all of them are faster than float32:
FASTER_BF16 says whether the one chosen is.
"""

import ctypes
import os
import sys
from collections.abc import Collection

import llvmlite.binding as llvm

_SHAPES = {"avx512": (16, 2, 8), "avx2": (8, 3, 4), "neon": (4, 6, 4), "simd128": (4, 3, 4)}
_BF16_NEEDS = {"amx": ("avx512", "amx-bf16"), "avx512bf16": ("avx512", "avx512bf16"), "neon": ("neon", "bf16")}
# Linux, include/uapi/linux/auxvec.h and arch/arm64/include/uapi/asm/hwcap.h
_AT_HWCAP2, _HWCAP2_BF16 = 26, 1 << 14


def _arm_multiplies_bf16() -> bool:
    """Whether an Arm CPU has BF16, which LLVM leaves out of its features."""
    found, size = ctypes.c_int(), ctypes.c_size_t(4)
    if sys.platform == "darwin":
        name = b"hw.optional.arm.FEAT_BF16"
        ctypes.CDLL(None).sysctlbyname(name, ctypes.byref(found), ctypes.byref(size), None, ctypes.c_size_t(0))
    elif sys.platform == "linux":
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.argtypes, getauxval.restype = [ctypes.c_ulong], ctypes.c_ulong
        found.value = getauxval(_AT_HWCAP2) & _HWCAP2_BF16
    return found.value != 0


def _features() -> dict[str, bool]:
    try:
        found = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on some systems; 128-bit vectors work everywhere
        found = {}
    return {**found, "bf16": _arm_multiplies_bf16()} if ARCHITECTURE == "arm" else found


def _override(variable: str, choices: Collection[str]) -> str:
    """What the environment variable chooses, "" if nothing."""
    choice = os.environ.get(variable, "")
    if choice and choice not in choices:
        raise ValueError(f"{variable}: {choice!r} is not one of {', '.join(choices)}")
    return choice


def _choose() -> str:
    if isa := _override("FASTFF_ISA", _SHAPES):
        return isa
    if ARCHITECTURE == "arm":
        return "neon"
    if FEATURES.get("avx512f"):
        return "avx512"
    return "avx2" if FEATURES.get("avx2") and FEATURES.get("fma") else "simd128"


def _choose_bf16() -> str:
    here = [engine for engine, (isa, feature) in _BF16_NEEDS.items() if isa == ISA and FEATURES.get(feature)]
    if sys.platform != "linux" and "amx" in here:
        here.remove("amx")  # a process must ask for its registers, which fastff.engine.bfloat16 can do on Linux
    engine = _override("FASTFF_BF16", (*_BF16_NEEDS, "emulated"))
    if engine not in ("", "emulated", *here):
        raise ValueError(
            f"FASTFF_BF16: {engine!r}, which this CPU has not, or not with vectors of {ISA}; "
            f"want {' or '.join((*here, 'emulated'))}"
        )
    return engine or next(iter(here), "")


def _is_faster(engine: str) -> bool:
    """Whether this way to multiply bfloat16 beats float32 here.

    Intel's cores take two cycles for an instruction of AVX512_BF16 and do two of float32 in one (docs/bfloat16.md);
    where a virtual machine hides AMX, that is what is left.
    """
    if engine == "avx512bf16":
        return llvm.get_host_cpu_name().startswith("znver")
    return engine in ("amx", "neon")


_TRIPLES = {"x86": "x86", "i686": "x86", "aarch64": "arm", "arm64": "arm"}
ARCHITECTURE = next((name for start, name in _TRIPLES.items() if llvm.get_default_triple().startswith(start)), "other")
FEATURES = _features()
ISA = _choose()
BF16 = _choose_bf16()
FASTER_BF16 = _is_faster(BF16)
LANES, VECTORS, MR = _SHAPES[ISA]
NR = LANES * VECTORS
# A fused multiply-add that the CPU lacks would become a library call an element: let LLVM split it there.
FMA = "llvm.fma" if FEATURES.get("fma") or ARCHITECTURE != "x86" else "llvm.fmuladd"
