#!/usr/bin/env python3
"""Make fastff/data/digits.npz, the data set inside the package, from scikit-learn's copy of UCI's digits.

    python tools/make_digits.py

1,797 rows of 8x8 pixels, 0..16, stored as uint8. The split is fixed here, and the same for everybody: 1,257 rows to
train on, 180 for validation, 360 for test, each with the classes in the set's proportions. Needs scikit-learn.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

OUT = Path(__file__).parents[1] / "fastff" / "data" / "digits.npz"
SEED = 0


def main() -> None:
    x, y = load_digits(return_X_y=True)
    rows = np.arange(len(y))
    rest, test = train_test_split(rows, test_size=360, stratify=y, random_state=SEED)
    train, val = train_test_split(rest, test_size=180, stratify=y[rest], random_state=SEED)
    arrays = {}
    for split, chosen in (("train", train), ("val", val), ("test", test)):
        arrays[f"x_{split}"] = x[chosen].astype(np.uint8)
        arrays[f"y_{split}"] = y[chosen].astype(np.uint8)
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes, {len(train)} + {len(val)} + {len(test)} rows")


if __name__ == "__main__":
    main()
