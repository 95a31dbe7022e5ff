"""Downloads the named data sets once into the user's cache and checks their SHA-256.

pooch, which imports an HTTP client, is imported only when it is needed.
"""

from pathlib import Path

from fastff.errors import DataError

# name: (address, {file: SHA-256}). Other public loaders of the same files check the same sums.
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
    """The folder in this user's cache for the files of a named data set."""
    import pooch

    return Path(pooch.os_cache("fastff")) / name


def fetch(name: str, asked_for: str, wanted: str) -> Path:
    """The cache folder of a named data set, after every file in it was checked, and downloaded if missing or damaged.

    Raises DataError if a download fails or its SHA-256 is wrong. The message starts with asked_for, the name that the
    user gave, and says what is wanted, the files in words, and the folder to put them into.
    """
    import pooch

    folder = cache_folder(name)
    address, files = SOURCES[name]
    for file, sha256 in files.items():
        try:
            pooch.retrieve(address + file, known_hash=f"sha256:{sha256}", fname=file, path=folder)
        # requests raises OSErrors, pooch a ValueError for a wrong SHA-256.
        except (OSError, ValueError) as error:
            reason = "its SHA-256 is wrong" if isinstance(error, ValueError) else _reason(error)
            raise DataError(
                f"{asked_for}: cannot download {address}{file} ({reason}); "
                f"put {wanted} into {folder}, or give their folder as data_dir (--data-dir)"
            ) from None
    return folder


def _reason(error: OSError) -> str:
    return error.strerror or {"ConnectionError": "no connection"}.get(type(error).__name__, type(error).__name__)
