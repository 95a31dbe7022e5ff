"""One of fuzz_loaders.py's loaders, with bytes that coverage of fastff's own code chooses: pip install atheris.

    python tests/promises/fuzz_guided.py npz-inside 100000

Stops at the first finding and leaves its bytes in crash-*; make a test of it in test_fuzz.py.
"""

import sys
import tempfile
from pathlib import Path

import atheris

# Numba would try to compile what atheris puts into the kernels.
KERNELS = [f"fastff.kernels.{path.stem}" for path in Path(__file__).parents[2].glob("kernels/*.py")]

with atheris.instrument_imports(include=["fastff"], exclude=KERNELS):
    import fuzz_loaders


def main() -> None:
    name, runs = sys.argv[1], int(sys.argv[2])
    loader = fuzz_loaders.make_loaders()[name]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as corpus:
        for i, seed in enumerate(loader.seeds):
            Path(corpus, str(i)).write_bytes(seed)

        def one(data: bytes) -> None:
            said = fuzz_loaders.problem(loader, Path(folder), data)
            if said is not None:
                raise AssertionError(said)

        options = [f"-runs={runs}", f"-timeout={fuzz_loaders.PATIENCE}", "-max_len=100000"]
        atheris.Setup([sys.argv[0], *options, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
