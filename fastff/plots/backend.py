"""Imports matplotlib before all else in this package does, whatever MPLBACKEND names.

matplotlib reads MPLBACKEND when it is imported, and fails where that names a backend that is not installed here, as in
a job that a notebook has started. Our files need no backend; for pyplot it stays what the variable says, where it can.
"""

import contextlib
import os
import sys

if "matplotlib" not in sys.modules and (_chosen := os.environ.pop("MPLBACKEND", "")):
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = _chosen
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = _chosen
