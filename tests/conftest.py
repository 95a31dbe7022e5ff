"""Settings and fixtures of all tests.

Hypothesis's profiles, products of bfloat16 emulated where the CPU has none, a small data set, and kernel memory that
starts as NaN, so that a kernel that reads padding gives a wrong result. Signals are handled as in the foreground.
"""

import os
import signal
import tempfile
from pathlib import Path

# Before NumPy is imported: the arrays are small, and OpenBLAS's threads would mostly wait for one another
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings
from llvmlite import binding

# before fastff is imported, which chooses: where the CPU has nothing for bfloat16, its products are emulated
_FEATURES = dict(binding.get_host_cpu_features())
if os.environ.get("FASTFF_ISA", "avx512") != "avx512" or not (_FEATURES.get("avx512bf16") or _FEATURES.get("amx-bf16")):
    os.environ.setdefault("FASTFF_BF16", "emulated")

from fastff.engine import panels, run  # noqa: E402

# Tests that run in the background may have been started with these ignored, and so would the commands that they start
for _name, _handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _handler)

# What a failed assert of the shared helpers compared is shown as for asserts in tests
pytest.register_assert_rewrite("command_line", "derivations")

# No deadlines: the first example of a test may compile kernels
settings.register_profile("fastff", deadline=None, max_examples=60)
settings.register_profile("small", deadline=None, max_examples=10)  # for runs of the same tests on other vector sizes
settings.load_profile("fastff")


@pytest.fixture(autouse=True)
def all_threads_take_part():
    """A test begins with as many threads as it asks for, however busy the machine was in the one before."""
    run._account[:] = 0


@pytest.fixture(scope="module")
def poisoned():
    """Kernel memory starts as NaN (and integers as -1) instead of 0, so that padding that is read shows."""
    clean = panels.aligned

    def dirty(count, dtype=np.float32):
        array = clean(count, dtype)
        array.view(np.uint8)[:] = 0xFF
        return array

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panels, "aligned", dirty)
        yield


@pytest.fixture
def flowers(tmp_path):
    """The path of a small data set, which is written for each test."""
    from command_line import write_flowers  # here, as it imports every command

    return write_flowers(tmp_path)


@pytest.fixture
def hosts(tmp_path):
    """The machine has two of that name at a time, so tests that run side by side take turns."""
    import fcntl  # here, as Windows has none

    from hosts import Hosts

    own = Hosts(tmp_path / "hosts")
    with (Path(tempfile.gettempdir()) / "two_hosts.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        up = own("up")
        if "h1 reaches h2" not in up.stdout:
            own("down")
            pytest.skip(f"only root may make hosts, and not everywhere: {up.stderr[-200:]}")
        yield own
        own("mend")
        own("down")
