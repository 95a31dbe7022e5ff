"""Data sets as NumPy arrays: one function that turns a name or a path into checked splits.

Imports fastff.system and fastff.errors only.
"""

from fastff.data.dataset import Dataset
from fastff.data.load import load_dataset

__all__ = ["Dataset", "load_dataset"]
