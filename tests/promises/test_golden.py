"""Training gives the bits that are recorded in golden.json; golden.py says of which networks and ways of training."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import golden
import pytest

from fastff.kernels import cpu as target

RECORD = json.loads(golden.RECORD.read_text())
OTHERS = [isa for isa in ("avx512", "avx2", "neon", "simd128") if isa != target.ISA]
HAS = {"avx512": "avx512f", "avx2": "avx2"}
needs_fma = pytest.mark.skipif(golden.KEY != target.ISA, reason="this CPU has no FMA, with which this was recorded")


def wanted(isa, precision=""):
    return {name: hashes for name, hashes in RECORD[isa].items() if name.startswith(precision) and name != "ranks"}


def script(*command, isa=target.ISA):
    """What golden.py prints in a process of its own, with bfloat16 emulated."""
    environment = {**os.environ, "FASTFF_ISA": isa, "FASTFF_BF16": "emulated"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_float32_in_this_process(threads):
    assert {k: v for k, v in golden.compute(threads=threads).items() if k.startswith("float32")} == wanted(
        golden.KEY, "float32"
    )


@pytest.mark.slow
@needs_fma
def test_bfloat16_and_float32_in_one_process():
    assert script(sys.executable, golden.__file__) == wanted(target.ISA)


@pytest.mark.slow
@needs_fma
@pytest.mark.parametrize("isa", OTHERS)
def test_on_other_vectors(isa):
    if isa in HAS and not target.FEATURES.get(HAS[isa]):
        pytest.skip(f"this CPU has no {isa}")
    assert script(sys.executable, golden.__file__, isa=isa) == wanted(isa)


@pytest.mark.slow
@needs_fma
@pytest.mark.skipif(not importlib.util.find_spec("mpi4py"), reason="mpi4py is not installed")
def test_two_processes():
    mpiexec = Path(sys.executable).with_name("mpiexec")
    assert script(mpiexec, "-n", 2, sys.executable, golden.__file__, "ranks") == RECORD[target.ISA]["ranks"]
