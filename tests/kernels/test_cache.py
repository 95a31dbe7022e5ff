"""The cache of compiled kernels: entries are found again, a damaged one is compiled anew, and no cache is no error.

Also which vectors are chosen for a CPU. The cache is tried on a copy of the kernels with one tiny kernel, which
compiles in a moment. Only the tests marked slow compile the real ones.
"""

import errno
import importlib
import io
import json
import os
import pickle
import py_compile
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from llvmlite import binding

from fastff.kernels import cache, compiler, cpu, linear, run

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
from tinykernels.cache import cache_dir
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


def test_four_first_runs_at_once_share_one_cache(copy, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: python(CALL, copy, FASTFF_CACHE_DIR=tmp_path), range(4)))
    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 4
    assert [json.loads(run.stdout)[0] for run in runs] == [42] * 4
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
            return double.cache_hits, module("cache").cache_dir()

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

    monkeypatch.setattr(cache.caching.IndexDataCacheFile, "_save_data", full)
    assert call()[0] == 0
    monkeypatch.undo()
    assert call()[0] == 0
    assert call()[0] == 1


def test_a_folder_that_vanishes_while_kernels_compile_is_made_again(call, tmp_path, monkeypatch):
    compile_uncached = compiler.CFunc._compile_uncached

    def remove_then_compile(self):
        shutil.rmtree(tmp_path / "kernels")
        return compile_uncached(self)

    _, folder = call()
    next(folder.glob("*.nbc")).unlink()
    monkeypatch.setattr(compiler.CFunc, "_compile_uncached", remove_then_compile)
    assert call()[0] == 0
    assert call()[0] == 1


def test_an_index_of_another_numba_is_compiled_again(call):
    _, folder = call()
    (index,) = folder.glob("*.nbi")
    index.write_bytes(pickle.dumps("0.0.1") + b"whatever that version wrote")
    assert [call()[0], call()[0]] == [0, 1]


def test_threads_that_ask_for_one_address_at_once_compile_once(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTFF_CACHE_DIR", str(tmp_path))
    compiled, together = [], threading.Barrier(4)
    compile_uncached = compiler.CFunc._compile_uncached
    monkeypatch.setattr(
        compiler.CFunc, "_compile_uncached", lambda self: (compiled.append(1), compile_uncached(self))[1]
    )
    with fresh(copy, "tinykernels") as module, ThreadPoolExecutor(4) as pool:
        double = module("tiny").double
        addresses = set(pool.map(lambda _: (together.wait(), double.address)[1], range(4)))
    assert (len(addresses), len(compiled)) == (1, 1)
    assert 0 not in addresses


# --- whose code it is ---

posix = pytest.mark.skipif(os.name != "posix", reason="on Windows: nobody tells whose a file is")
linux = pytest.mark.skipif(sys.platform != "linux", reason="on Windows: other folders are used")


class Planted:
    """What somebody else wrote: unpickled, it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@posix
@pytest.mark.parametrize("below", [".", "deeper/down"])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o002])
def test_what_is_made_is_for_this_user_alone(call, tmp_path, below, umask):
    before = os.umask(umask)
    try:
        _, folder = call(tmp_path / "cache" / below)
    finally:
        os.umask(before)
    made = [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert call(tmp_path / "cache" / below)[0] == 1


@posix
@pytest.mark.parametrize("linked", [False, True], ids=["itself", "through a link"])
@pytest.mark.parametrize("whose", ["of the group", "of all", "of another user"])
@pytest.mark.parametrize("part", [".", "kernels", "kernels/*", "kernels/*/*.nbi", "kernels/*/*.nbc"])
def test_code_that_others_could_have_written_never_runs(call, tmp_path, monkeypatch, capfd, part, whose, linked):
    cache, mark = tmp_path / "cache", tmp_path / "mark"
    call(cache)
    (place,) = cache.glob(part) if part != "." else [cache]
    planted = place if place.is_file() else next(cache.glob("kernels/*/*.nbc"))
    planted.write_bytes(pickle.dumps(Planted(mark)))
    if linked:
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    if whose != "of another user":
        place.chmod(place.stat().st_mode | (0o020 if whose == "of the group" else 0o002))
    elif os.geteuid() == 0:
        os.chown(place, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert capfd.readouterr().err == ""
    for _ in range(2):  # nor is it made to look right
        assert call(cache)[0] == 0
        says = capfd.readouterr().err
        assert says.count("\n") == 1
        assert says.startswith("fastff: the kernels are compiled anew in every process")
        assert "FASTFF_CACHE_DIR" in says
        assert repr(str(cache))[:-1] in says
    assert not mark.exists()


def test_a_planted_file_in_a_folder_of_ones_own_would_leave_its_mark(call, tmp_path):
    _, folder = call()
    next(folder.glob("*.nbc")).write_bytes(pickle.dumps(Planted(tmp_path / "mark")))
    call()
    assert (tmp_path / "mark").exists()


class Full(io.StringIO):
    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stream", ["none", "closed", "full"])
def test_without_a_standard_error_nothing_is_said_and_nothing_fails(call, monkeypatch, capfd, stream):
    file = {"none": None, "closed": io.StringIO(), "full": Full()}[stream]
    if stream == "closed":
        file.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", file)
        assert call("relative") == (0, None)
    assert capfd.readouterr() == ("", "")


OF_NOBODY = ["~nobody-of-this-name/cache"] if sys.platform != "win32" else []  # where it is a folder beside the user's


@pytest.mark.parametrize("relative", ["cache", "./cache", "..", *OF_NOBODY, " "])
def test_a_relative_cache_folder_is_refused(call, tmp_path, monkeypatch, capfd, relative):
    monkeypatch.chdir(tmp_path)
    assert call(relative) == (0, None)
    says = capfd.readouterr().err
    assert f"FASTFF_CACHE_DIR is {relative!r}, want an absolute path" in says
    assert says.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@linux
@pytest.mark.parametrize("ours", [None, ""])
@pytest.mark.parametrize("theirs", [None, "", "cache", "./cache", "~/cache", " "])
def test_only_an_absolute_xdg_cache_home_counts(monkeypatch, tmp_path, ours, theirs):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (("FASTFF_CACHE_DIR", ours), ("XDG_CACHE_HOME", theirs)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert cache.cache_dir() == tmp_path / ".cache" / "fastff" / "kernels" / cache.KEY
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "absolute"))
    assert cache.cache_dir() == tmp_path / "absolute" / "fastff" / "kernels" / cache.KEY
    monkeypatch.setenv("FASTFF_CACHE_DIR", "~/mine")
    assert cache.cache_dir() == tmp_path / "mine" / "kernels" / cache.KEY


@linux
@pytest.mark.parametrize("home", ["missing", "a file", "relative", "read-only"])
def test_a_home_that_is_of_no_use_costs_time_only(copy, tmp_path, monkeypatch, capfd, home):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    place = {"relative": "here", "read-only": "/proc"}.get(home, str(tmp_path / home))
    monkeypatch.setenv("HOME", place)
    monkeypatch.delenv("FASTFF_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "here").mkdir()
    with fresh(copy, "tinykernels") as module:
        assert module("tiny").double(21) == 42
    says = capfd.readouterr().err
    assert says.count("\n") == 1
    assert place in says
    assert "let FASTFF_CACHE_DIR name a folder that is yours alone" in says
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "here"]
    assert list((tmp_path / "here").iterdir()) == []


# --- the key ---


def key_of(root, name):
    """The key of the copy of the kernels in root/name."""
    with fresh(root, name) as module:
        return module("cache").KEY


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
    assert key_of(tmp_path, "one") == key_of(tmp_path, "other") == cache.KEY


@pytest.mark.parametrize("source", SOURCES)
def test_an_edit_in_any_kernel_file_changes_the_key(plain, tmp_path, source):
    with (plain("edited") / source).open("a") as file:
        file.write("# one more line\n")
    assert key_of(tmp_path, "edited") != cache.KEY


@pytest.mark.parametrize("packed", ["sources in a zip file", "bytecode", "bytecode in a zip file"])
def test_versions_without_source_files_share_no_entry(copy, tmp_path, monkeypatch, packed):
    monkeypatch.setenv("FASTFF_CACHE_DIR", str(tmp_path / "cache"))
    for times in (2, 3):
        root = tmp_path / str(times)
        shutil.copytree(copy, root)
        (root / "tinykernels" / "tiny.py").write_text(TINY.replace("x + x", f"{times} * x"))
        if "bytecode" in packed:
            for source in root.rglob("*.py"):
                py_compile.compile(str(source), str(source.with_suffix(".pyc")), doraise=True)
                source.unlink()
        if "zip" in packed:
            root = Path(shutil.make_archive(str(root), "zip", root))
        for hits in (0, 1):
            with fresh(root, "tinykernels") as module:
                double = module("tiny").double
                assert (double(21), double.cache_hits) == (21 * times, hits)
                assert str(root) in module("tiny").__file__


def test_modules_of_a_loader_without_files_count_by_their_bytecode(monkeypatch):
    found = []
    for source in ("a = 1", "a = 2"):
        code = compile(source, "frozen", "exec")
        loader = SimpleNamespace(get_code=lambda name, code=code: code)
        monkeypatch.setattr(
            cache.importlib.util, "find_spec", lambda name, loader=loader: SimpleNamespace(loader=loader)
        )
        found.append(cache.source("fastff.kernels.tile"))
    assert found[0] != found[1]


def test_a_function_from_elsewhere_is_not_kept(monkeypatch, tmp_path):
    def triple(x):
        return 3 * x

    monkeypatch.setenv("FASTFF_CACHE_DIR", str(tmp_path))  # whose key would not see a change in it
    assert compiler.entry_point(triple)(14) == 42
    assert list(tmp_path.iterdir()) == []


def test_every_choice_of_vectors_has_a_key_of_its_own(plain, tmp_path, monkeypatch):
    keys = set()
    for isa in ("avx512", "avx2", "neon", "simd128"):
        plain(isa)
        monkeypatch.setenv("FASTFF_ISA", isa)
        keys.add(key_of(tmp_path, isa))
    assert len(keys) == 4


def test_another_cpu_python_or_numba_has_another_key(monkeypatch):
    for place, name, value in (
        (cache.binding, "get_host_cpu_name", lambda: "another"),
        (cache.numba, "__version__", "0.0.1"),
        (cache.llvmlite, "__version__", "0.0.1"),
        (cache.np, "__version__", "0.0.1"),
        (cache.cpu, "FEATURES", {**cpu.FEATURES, "another": True}),
        (cache.sys, "version", "3.99"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            assert cache._key() != cache.KEY, name


def test_the_cache_lies_in_the_users_cache_directory_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTFF_CACHE_DIR", str(tmp_path))
    assert cache.cache_dir() == tmp_path / "kernels" / cache.KEY
    monkeypatch.delenv("FASTFF_CACHE_DIR")
    assert "fastff" in cache.cache_dir().parts
    assert KERNELS not in cache.cache_dir().parents


# --- the vectors ---


@pytest.mark.parametrize("isa", ["sse9", "AVX2", " "])
def test_an_unknown_isa_is_one_clear_line(monkeypatch, isa):
    monkeypatch.setenv("FASTFF_ISA", isa)
    with pytest.raises(ValueError, match="FASTFF_ISA") as caught:
        cpu._choose()
    message = str(caught.value)
    assert repr(isa) in message
    assert "avx512, avx2, neon, simd128" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("architecture", "features", "isa"),
    [
        ("x86", {"avx512f": True, "avx2": True, "fma": True}, "avx512"),
        ("x86", {"avx512f": False, "avx2": True, "fma": True}, "avx2"),
        ("x86", {"avx2": True, "fma": False}, "simd128"),
        ("x86", {}, "simd128"),
        ("arm", {}, "neon"),
        ("other", {}, "simd128"),
    ],
)
def test_the_widest_vectors_that_the_cpu_has(monkeypatch, architecture, features, isa):
    monkeypatch.delenv("FASTFF_ISA", raising=False)
    monkeypatch.setattr(cpu, "ARCHITECTURE", architecture)
    monkeypatch.setattr(cpu, "FEATURES", features)
    assert cpu._choose() == isa
    monkeypatch.setenv("FASTFF_ISA", "")  # empty is not set
    assert cpu._choose() == isa


# --- the real kernels ---

LOAD = """
import json
import numpy as np
from fastff.engine.program import Program
from fastff.engine.table import kernels_cached
before, program = kernels_cached(), Program(3)
out = program.scatter(program.gather(np.ones((3, 2), np.float32)), 3)
program.run()
assert (out == 1).all()
used = {row.operation for section in program.sections() for row in section}
print(json.dumps([before, [operation.name for operation in used if not operation.cache_hits], kernels_cached()]))
"""


def load(cache):
    """Whether the driver was in the cache before, the operations that were compiled, whether the driver is now."""
    done = python(LOAD, FASTFF_CACHE_DIR=cache)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_real_kernels_are_found_again_and_survive_damage(tmp_path):
    before, compiled, after = load(tmp_path)
    assert (before, after) == (False, True)
    assert "panels.scatter" in compiled
    assert load(tmp_path) == [True, [], True]
    (entry,) = tmp_path.glob("kernels/*/*scatter*.nbc")
    entry.write_bytes(entry.read_bytes()[:1000])
    assert load(tmp_path)[1] == ["panels.scatter"]
    assert load(tmp_path) == [True, [], True]


@pytest.mark.slow
def test_eight_first_runs_of_the_real_kernels_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert all(after for _, _, after in pool.map(load, [tmp_path] * 8))
    assert load(tmp_path) == [True, [], True]


def run_tests(files, **variables):
    """A process of its own for these tests, in which environment variables choose other kernels."""
    options = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=small"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, sorted(files))],
        env=environment(**variables), capture_output=True, text=True, timeout=600, cwd=TESTS.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["avx512", "avx2", "neon", "simd128"])
def test_kernels_are_right_on_other_vectors(isa, tmp_path):
    needed = {"avx512": "avx512f", "avx2": "avx2"}.get(isa)
    if needed and not dict(binding.get_host_cpu_features()).get(needed):
        pytest.skip(f"this CPU has no {isa}")
    if isa == cpu.ISA:
        pytest.skip("this CPU's own vectors are what the other tests run on")
    kernels = set(TESTS.glob("kernels/test_*.py")) - {Path(__file__)}  # this file would start itself without end
    run_tests([*kernels, TESTS / "engine" / "test_program.py"], FASTFF_ISA=isa, FASTFF_CACHE_DIR=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["amx", "avx512bf16", "neon", "emulated"])
def test_products_of_bfloat16_are_right_by_other_instructions(engine, tmp_path):
    needed = {"amx": "amx-bf16", "avx512bf16": "avx512bf16", "neon": "bf16"}.get(engine)
    if needed and not cpu.FEATURES.get(needed):
        pytest.skip(f"this CPU has no {engine}")
    if engine == cpu.BF16:
        pytest.skip("this CPU's own instructions are what the other tests run on")
    run_tests([TESTS / "kernels" / "test_bfloat16.py"], FASTFF_BF16=engine, FASTFF_CACHE_DIR=tmp_path)


@pytest.mark.parametrize(
    ("features", "isa", "engine"),
    [
        ({"amx-bf16": True, "avx512bf16": True}, "avx512", "amx" if sys.platform == "linux" else "avx512bf16"),
        ({"avx512bf16": True}, "avx512", "avx512bf16"),
        ({"amx-bf16": True, "avx512bf16": True}, "avx2", ""),
        ({}, "avx512", ""),
        ({"bf16": True}, "neon", "neon"),
        ({"bf16": True}, "simd128", ""),
        ({"bf16": False}, "neon", ""),
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


@pytest.mark.parametrize("engine", ["amx", "avx512bf16", "neon"])
@pytest.mark.parametrize("isa", ["avx512", "neon"])
def test_what_the_cpu_cannot_multiply_bfloat16_by_is_refused_in_one_line(monkeypatch, engine, isa):
    monkeypatch.setenv("FASTFF_BF16", engine)
    monkeypatch.setattr(cpu, "FEATURES", {})
    monkeypatch.setattr(cpu, "ISA", isa)
    with pytest.raises(ValueError, match=f"FASTFF_BF16: '{engine}', .* of {isa}; want emulated$"):
        cpu._choose_bf16()
    monkeypatch.setenv("FASTFF_BF16", "emulated")
    assert cpu._choose_bf16() == "emulated"


class System:
    """A C library that tells what an Arm CPU has, as Linux's or macOS's does."""

    def __init__(self, found):
        self.getauxval = lambda kind: found if kind == 26 else 0
        self.found = found

    def sysctlbyname(self, name, value, size, new, new_size):
        assert name == b"hw.optional.arm.FEAT_BF16"
        value._obj.value = self.found
        return 0


@pytest.mark.parametrize(
    ("platform", "found", "has_it"),
    [
        ("linux", 1 << 14, True),
        ("linux", ~(1 << 14), False),
        ("darwin", 1, True),
        ("darwin", 0, False),
        ("win32", 1, False),
    ],
)
def test_the_system_tells_whether_an_arm_cpu_multiplies_bfloat16(monkeypatch, platform, found, has_it):
    monkeypatch.setattr(cpu.sys, "platform", platform)
    monkeypatch.setattr(cpu.ctypes, "CDLL", lambda name: System(found))
    assert cpu._arm_multiplies_bf16() == has_it


def test_a_waiting_thread_lets_its_core_rest():
    assert re.search(r"^\s+(pause|isb)\b", run.run.inspect_asm(), re.M) or cpu.ARCHITECTURE == "other"


@pytest.mark.parametrize(
    ("host", "chosen", "used"),
    [("oryon-1", None, "neoverse-n1"), ("oryon-1", "generic", "generic"), ("apple-m1", None, None)],
)
def test_on_an_oryon_the_code_is_another_cpus(monkeypatch, host, chosen, used):
    monkeypatch.setattr(compiler.binding, "get_host_cpu_name", lambda: host)
    monkeypatch.setattr(compiler.config, "CPU_NAME", chosen)
    compiler._spare_oryon()
    assert used == compiler.config.CPU_NAME


def test_the_assembly_of_an_operation_has_its_kernels():
    assert re.search(r"fmadd|fmla|mulps", linear.forward.inspect_asm())
