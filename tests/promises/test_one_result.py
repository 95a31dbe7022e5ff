"""One seed gives one result: the hashes in one_result.json, on every CPU, system, Python and NumPy, with any threads.

one_result.py says of which networks and ways of training they are.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import one_result
import pytest

from fastff.kernels import cpu

# Other ways of computing that this CPU may have: variables of the environment, and the feature that it takes
WAYS = {
    "avx512": ({"FASTFF_ISA": "avx512"}, "avx512f"),
    "avx2": ({"FASTFF_ISA": "avx2"}, "avx2"),
    "Arm's vectors": ({"FASTFF_ISA": "neon"}, ""),
    "128 bits": ({"FASTFF_ISA": "simd128"}, ""),
    "AVX-512's bfloat16": ({"FASTFF_ISA": "avx512", "FASTFF_BF16": "avx512bf16"}, "avx512bf16"),
}


def script(*command, **variables):
    """What one_result.py prints in a process of its own."""
    environment = {**os.environ, "FASTFF_BF16": "emulated", **variables}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_in_this_process(threads):
    found = one_result.compute(threads=threads)
    assert any(kind.startswith("float32") for kind in found)
    assert not one_result.differences(found)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_on_other_vectors(way):
    variables, feature = WAYS[way]
    if feature and not cpu.FEATURES.get(feature):
        pytest.skip(f"this CPU has no {feature}")
    found = script(sys.executable, one_result.__file__, **variables)
    assert len(found) == 2
    assert not one_result.differences(found)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("mpi4py"), reason="mpi4py is not installed")
def test_two_processes():
    mpiexec = Path(sys.executable).with_name("mpiexec")
    record = json.loads(one_result.RECORD.read_text())
    assert script(mpiexec, "-n", 2, sys.executable, one_result.__file__, "ranks") == record["ranks"]
