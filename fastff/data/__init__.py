"""Data sets as NumPy arrays: one function that turns a name or a path into checked splits.

A leaf of the package: only the commands and the users' scripts import it, and it imports fastff.validation, fastff.room
and fastff.errors only.
"""

from fastff.data.dataset import Dataset
from fastff.data.load import load_dataset

__all__ = ["Dataset", "load_dataset"]
