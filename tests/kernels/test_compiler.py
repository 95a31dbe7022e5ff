"""The cache of compiled kernels: entries are found again, a damaged one is compiled anew, and no cache is no error.

Also which vectors are chosen for a CPU. The cache is tried on a copy of the kernels with one tiny kernel, which
compiles in a moment. Only the tests marked slow compile the real ones.
"""

import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from llvmlite import binding

from fastff.kernels import compiler, cpu

KERNELS = Path(compiler.__file__).parent
TESTS = Path(__file__).parents[1]
SOURCES = sorted(path.name for path in KERNELS.glob("*.py"))
TINY = """
from .compiler import entry_point
@entry_point
def double(x):
    return x + x
"""
CALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from tinykernels.tiny import double
from tinykernels.compiler import cache_dir
print(json.dumps([double(21), double.cache_hits, str(cache_dir())]))
"""


def environment(**changes):
    """This process's environment, the kernels' settings as given, without coverage, which would count a second copy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASTFF_", "COVERAGE"))}
    return {**kept, **{name: str(value) for name, value in changes.items()}}


def python(code, *arguments, **changes):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment(**changes), capture_output=True, text=True,
        timeout=300, cwd=TESTS.parent,
    )  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with the package tinykernels: a copy of the kernels and the tiny one."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(KERNELS, root / "tinykernels", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tinykernels" / "tiny.py").write_text(TINY)
    return root


def test_the_second_process_loads_what_the_first_compiled(copy, tmp_path):
    for hits in (0, 1):
        done = python(CALL, copy, FASTFF_CACHE_DIR=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        result, found, folder = json.loads(done.stdout)
        assert (result, found) == (42, hits)
        assert Path(folder).is_relative_to(tmp_path)
        assert list(Path(folder).glob("*.nbi"))
        assert list(Path(folder).glob("*.nbc"))


def test_eight_first_runs_at_once_share_one_cache(copy, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: python(CALL, copy, FASTFF_CACHE_DIR=tmp_path), range(8)))
    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 8
    assert [json.loads(run.stdout)[0] for run in runs] == [42] * 8
    assert json.loads(python(CALL, copy, FASTFF_CACHE_DIR=tmp_path).stdout)[1] == 1


@contextmanager
def fresh(root, name):
    """Import from root/name as a new process would."""
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield lambda module: importlib.import_module(f"{name}.{module}")
    finally:
        sys.path.remove(str(root))
        for module in [m for m in sys.modules if m.split(".")[0] == name]:
            del sys.modules[module]


@pytest.fixture
def call(copy, tmp_path, monkeypatch):
    """Call the tiny kernel in a state as of a new process: how often it came from the cache, and the cache's folder."""

    def run(cache=tmp_path):
        monkeypatch.setenv("FASTFF_CACHE_DIR", str(cache))
        with fresh(copy, "tinykernels") as module:
            double = module("tiny").double
            assert double(21) == 42
            return double.cache_hits, module("compiler").cache_dir()

    return run


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage"])
def test_a_damaged_entry_is_compiled_again(call, suffix, damage):
    _, folder = call()
    (entry,) = folder.glob(f"*.{suffix}")
    whole = entry.read_bytes()
    assert call()[0] == 1
    entry.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "garbage": b"\x93" * 99}[damage])
    assert call()[0] == 0
    assert call()[0] == 1  # and the cache is whole again


def test_a_missing_entry_is_compiled_again(call):
    _, folder = call()
    for entry in folder.glob("*.nbc"):
        entry.unlink()
    assert call()[0] == 0
    assert call()[0] == 1


@pytest.mark.parametrize("below", [".", "deeper/down"])
def test_a_file_in_the_place_of_the_cache_costs_time_only(call, tmp_path, below):
    (tmp_path / "file").write_text("not a folder")
    assert call(tmp_path / "file" / below)[0] == 0
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_costs_time_only(call, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o555)
    assert call(tmp_path / "cache")[0] == 0


def test_a_full_disk_costs_time_only(call, tmp_path, monkeypatch):
    def full(self, name, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(compiler.caching.IndexDataCacheFile, "_save_data", full)
    assert call()[0] == 0
    monkeypatch.undo()
    assert call()[0] == 0
    assert call()[0] == 1


# --- the key ---


def key_of(root, name):
    """The key of the copy of the kernels in root/name."""
    with fresh(root, name) as module:
        return module("compiler").KEY


@pytest.fixture
def plain(tmp_path):
    """A copy of the kernels, and no settings around it."""

    def make(name):
        shutil.copytree(KERNELS, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        return tmp_path / name

    return make


def test_the_same_sources_have_the_same_key(plain, tmp_path):
    plain("one")
    plain("other")
    assert key_of(tmp_path, "one") == key_of(tmp_path, "other") == compiler.KEY


@pytest.mark.parametrize("source", SOURCES)
def test_an_edit_in_any_kernel_file_changes_the_key(plain, tmp_path, source):
    with (plain("edited") / source).open("a") as file:
        file.write("# one more line\n")
    assert key_of(tmp_path, "edited") != compiler.KEY


def test_every_choice_of_vectors_has_a_key_of_its_own(plain, tmp_path, monkeypatch):
    keys = set()
    for isa in ("avx512", "avx2", "simd128"):
        plain(isa)
        monkeypatch.setenv("FASTFF_ISA", isa)
        keys.add(key_of(tmp_path, isa))
    assert len(keys) == 3


def test_another_cpu_or_another_numba_has_another_key(monkeypatch):
    for place, name, value in (
        (compiler.binding, "get_host_cpu_name", lambda: "another"),
        (compiler.numba, "__version__", "0.0.1"),
        (compiler.llvmlite, "__version__", "0.0.1"),
        (compiler.np, "__version__", "0.0.1"),
        (compiler.cpu, "FEATURES", {**cpu.FEATURES, "another": True}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            assert compiler._key() != compiler.KEY, name


def test_the_cache_lies_in_the_users_cache_directory_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTFF_CACHE_DIR", str(tmp_path))
    assert compiler.cache_dir() == tmp_path / "kernels" / compiler.KEY
    monkeypatch.delenv("FASTFF_CACHE_DIR")
    assert "fastff" in compiler.cache_dir().parts
    assert KERNELS not in compiler.cache_dir().parents


# --- the vectors ---


@pytest.mark.parametrize("isa", ["sse9", "AVX2", " "])
def test_an_unknown_isa_is_one_clear_line(monkeypatch, isa):
    monkeypatch.setenv("FASTFF_ISA", isa)
    with pytest.raises(ValueError, match="FASTFF_ISA") as caught:
        cpu._choose()
    message = str(caught.value)
    assert repr(isa) in message
    assert "avx512, avx2, simd128" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("features", "isa"),
    [
        ({"avx512f": True, "avx2": True, "fma": True}, "avx512"),
        ({"avx512f": False, "avx2": True, "fma": True}, "avx2"),
        ({"avx2": True, "fma": False}, "simd128"),
        ({}, "simd128"),
    ],
)
def test_the_widest_vectors_that_the_cpu_has(monkeypatch, features, isa):
    monkeypatch.delenv("FASTFF_ISA", raising=False)
    monkeypatch.setattr(cpu, "FEATURES", features)
    assert cpu._choose() == isa
    monkeypatch.setenv("FASTFF_ISA", "")  # empty is not set
    assert cpu._choose() == isa


# --- the real kernels ---

LOAD = """
import json
import numpy as np
from fastff.engine.program import Program
from fastff.engine.run import kernels_cached
before, program = kernels_cached(), Program(3)
out = program.scatter(program.gather(np.ones((3, 2), np.float32)), 3)
program.run()
assert (out == 1).all()
hits = sum(row.operation.cache_hits for section in program.sections() for row in section)
print(json.dumps([before, hits, kernels_cached()]))
"""


def load(cache):
    done = python(LOAD, FASTFF_CACHE_DIR=cache)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_real_kernels_are_found_again_and_survive_damage(tmp_path):
    assert load(tmp_path) == [False, 0, True]
    assert load(tmp_path) == [True, 1, True]
    (entry,) = tmp_path.glob("kernels/*/*scatter*.nbc")
    entry.write_bytes(entry.read_bytes()[:1000])
    assert load(tmp_path)[1] == 0
    assert load(tmp_path) == [True, 1, True]


@pytest.mark.slow
def test_eight_first_runs_of_the_real_kernels_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert all(after for _, _, after in pool.map(load, [tmp_path] * 8))
    assert load(tmp_path) == [True, 1, True]


def run_tests(files, **variables):
    """A process of its own for these tests, in which environment variables choose other kernels."""
    options = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=small"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, sorted(files))],
        env=environment(**variables), capture_output=True, text=True, timeout=600, cwd=TESTS.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["avx512", "avx2", "simd128"])
def test_kernels_are_right_on_other_vectors(isa, tmp_path):
    needed = {"avx512": "avx512f", "avx2": "avx2", "simd128": None}[isa]
    if needed and not dict(binding.get_host_cpu_features()).get(needed):
        pytest.skip(f"this CPU has no {isa}")
    if isa == cpu.ISA:
        pytest.skip("this CPU's own vectors are what the other tests run on")
    kernels = set(TESTS.glob("kernels/test_*.py")) - {Path(__file__)}  # this file would start itself without end
    run_tests([*kernels, TESTS / "engine" / "test_program.py"], FASTFF_ISA=isa, FASTFF_CACHE_DIR=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["amx", "avx512bf16", "emulated"])
def test_products_of_bfloat16_are_right_by_other_instructions(engine, tmp_path):
    needed = {"amx": "amx-bf16", "avx512bf16": "avx512bf16", "emulated": None}[engine]
    if needed and not dict(binding.get_host_cpu_features()).get(needed):
        pytest.skip(f"this CPU has no {engine}")
    if engine == cpu.BF16:
        pytest.skip("this CPU's own instructions are what the other tests run on")
    run_tests([TESTS / "kernels" / "test_bfloat16.py"], FASTFF_BF16=engine, FASTFF_CACHE_DIR=tmp_path)


@pytest.mark.parametrize(
    ("features", "isa", "engine"),
    [
        ({"amx-bf16": True, "avx512bf16": True}, "avx512", "amx"),
        ({"avx512bf16": True}, "avx512", "avx512bf16"),
        ({"amx-bf16": True, "avx512bf16": True}, "avx2", ""),
        ({}, "avx512", ""),
    ],
)
def test_what_multiplies_bfloat16(monkeypatch, features, isa, engine):
    monkeypatch.delenv("FASTFF_BF16", raising=False)
    monkeypatch.setattr(cpu, "FEATURES", features)
    monkeypatch.setattr(cpu, "ISA", isa)
    assert cpu._choose_bf16() == engine
    monkeypatch.setenv("FASTFF_BF16", "fp8")
    with pytest.raises(ValueError, match="FASTFF_BF16: 'fp8' is not one of amx, avx512bf16, neon, emulated"):
        cpu._choose_bf16()
