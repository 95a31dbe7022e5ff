"""Fetches the named sets once into the user's cache, checked against their SHA-256.

Imports fastff.errors only, and pooch (which brings in an HTTP client) when it is needed.
"""

from pathlib import Path

from fastff.errors import DataError

# name: (address, {file: SHA-256}). The sums are those that other public loaders of the same files check as well.
SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "cifar10": (
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
    ),
    "mnist": (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}


def cache_folder(name: str) -> Path:
    """Where the files of a named set are kept for this user."""
    import pooch

    return Path(pooch.os_cache("fastff")) / name


def fetch(name: str, asked_for: str, alternatives: str = "") -> Path:
    """The cache folder of a named set with all its files there: checked, and downloaded if missing or damaged.

    Raises DataError when a download fails or its sum is wrong; it starts with the name that was asked for, and says
    which files, or which alternatives to them, to put where.
    """
    import pooch

    folder = cache_folder(name)
    address, files = SOURCES[name]
    for file, sha256 in files.items():
        try:
            pooch.retrieve(address + file, known_hash=f"sha256:{sha256}", fname=file, path=folder)
        # The errors of requests are OSErrors; a wrong sum is a ValueError.
        except (OSError, ValueError) as error:
            reason = "its SHA-256 is wrong" if isinstance(error, ValueError) else _reason(error)
            raise DataError(
                f"{asked_for}: cannot download {address}{file} ({reason}); "
                f"put {', '.join(files)}{alternatives} into {folder}, or give their folder as data_dir (--data-dir)"
            ) from None
    return folder


def _reason(error: OSError) -> str:
    return error.strerror or {"ConnectionError": "no connection"}.get(type(error).__name__, type(error).__name__)
