"""Data sets as NumPy arrays: `load_dataset` turns a name or a path into a Dataset of checked splits."""

from fastff.data.dataset import Dataset
from fastff.data.load import load_dataset

__all__ = ["Dataset", "load_dataset"]
