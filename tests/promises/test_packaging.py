"""What is installed is what was written: every module, nothing beside fastff, and three ways of importing it.

kernels/ stands at the top of the checkout and is installed as fastff.kernels, so a checkout and a wheel find it by
different means. The slow tests build the package from a copy of the checkout and try them all.
"""

import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

import fastff
import fastff.kernels

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
IMPORTED = Path(fastff.__file__).parent
WHERE = """
import importlib.util, pkgutil, fastff, fastff.kernels
for module in pkgutil.iter_modules(fastff.kernels.__path__, "fastff.kernels."):
    importlib.import_module(module.name)
top = importlib.util.find_spec("kernels")
print(fastff.__path__[0], fastff.kernels.__path__[0], top and top.origin, sep="\\n")
"""


def run(*command, cwd, **environment):
    """The lines that a command prints; PYTHONPATH is not handed on, nor coverage, which would count modules twice."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "COVERAGE"))}
    done = subprocess.run(command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_tox_tests_the_wheel():
    if "TOX_ENV_DIR" not in os.environ:
        pytest.skip("only tox installs the wheel")
    environment = Path(os.environ["TOX_ENV_DIR"])
    assert IMPORTED.is_relative_to(environment)
    assert Path(fastff.kernels.__file__).is_relative_to(IMPORTED)


def test_kernels_are_found_beside_fastff_only_in_a_checkout():
    inside = IMPORTED / "kernels"
    if inside.exists():
        assert list(fastff.__path__) == [str(IMPORTED)]
        assert Path(fastff.kernels.__file__).parent == inside
    else:
        assert list(fastff.__path__) == [str(IMPORTED), str(IMPORTED.parent)]
        assert Path(fastff.kernels.__file__).parent == IMPORTED.parent / "kernels"


def test_installed_metadata():
    try:
        installed = importlib.metadata.distribution("fastff")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fastff is not installed")
    assert installed.version == fastff.__version__
    assert installed.metadata["License-Expression"].startswith("BSD-3-Clause")
    assert installed.metadata["Requires-Python"] == ">=3.10"
    assert "kernels" not in {file.parts[0] for file in installed.files}


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tox():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


def test_every_folder_of_modules_is_packaged(pyproject):
    folders = {module.parent.relative_to(ROOT) for module in (ROOT / "fastff").rglob("*.py")}
    wanted = {".".join(folder.parts) for folder in folders} | {"fastff.kernels"}
    assert set(pyproject["tool"]["setuptools"]["packages"]) == wanted
    assert not any((ROOT / "kernels").glob("*/**/*.py"))


def test_every_supported_python_is_tested(pyproject, tox):
    prefix = "Programming Language :: Python :: 3."
    names = pyproject["project"]["classifiers"]
    minors = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    environments = tox["tox"]["env_list"].split(", ")
    assert [f"py3{minor}" for minor in minors] == [name for name in environments if name.startswith("py")]
    assert pyproject["project"]["requires-python"] == f">=3.{minors[0]}"


def test_the_oldest_dependencies_are_tested(pyproject, tox):
    promised = dict(re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in pyproject["project"]["dependencies"])
    tested = dict(re.findall(r"minimum: ([\w-]+)==([\d.]+)", tox["testenv"]["deps"]))
    assert promised.items() <= tested.items()


@pytest.mark.parametrize("home", sorted({ROOT, IMPORTED.parent}), ids=lambda home: home.name)
def test_another_package_named_kernels_is_left_alone(home, tmp_path):
    foreign = tmp_path / "kernels"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(home)])
    package, kernels, top = run(sys.executable, "-c", WHERE, cwd=tmp_path, PYTHONPATH=path)
    assert Path(package) == home / "fastff"
    assert Path(kernels).is_relative_to(home)
    assert Path(top) == foreign / "__init__.py"


# What follows builds the package.


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the checkout, so that building leaves nothing there."""
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("building without a network needs setuptools 77 in this environment")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("fastff", "kernels"):
        copytree(ROOT / name, copy / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


def pip(*arguments, python=sys.executable, cwd):
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", str(python), *arguments, *offline, cwd=cwd)


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(pyproject, source, tmp_path):
    pip("wheel", "--wheel-dir", str(tmp_path), str(source), cwd=tmp_path)
    (wheel,) = tmp_path.glob("fastff-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
        info = Path(f"fastff-{fastff.__version__}.dist-info")
        metadata = archive.read((info / "METADATA").as_posix()).decode().splitlines()
    assert "License-Expression: BSD-3-Clause AND CC-BY-4.0" in metadata  # the second is of the digits
    assert metadata.count("Description-Content-Type: text/markdown") == 1
    links = re.findall(r"(?:\]\(|src=\")([^)\s\"]+)", "\n".join(metadata))
    repository = pyproject["project"]["urls"]["Repository"]
    assert f"{repository}/raw/main/docs/curves.png" in links  # PyPI has no files beside the description
    for link in links:
        assert link.startswith("https://"), link
        kind, _, path = link.removeprefix(f"{repository}/").partition("/main/")
        if link.startswith(repository):
            assert kind == ("raw" if path.endswith(".png") else "blob")
            assert (ROOT / path.partition("#")[0]).exists(), link
    modules = {file.relative_to(ROOT) for file in (ROOT / "fastff").rglob("*.py")}
    kernels = {"fastff" / file.relative_to(ROOT) for file in (ROOT / "kernels").glob("*.py")}
    report = [f"report/{name}" for name in ("derivations.typ", "page.js", "report.typ", "style.css")]
    data = ["py.typed", "check/hints.toml", "data/digits.npz", "data/digits.LICENSE.txt", *report]
    extras = {Path("fastff") / name for name in data}
    assert {name for name in names if not name.is_relative_to(info)} == modules | kernels | extras
    assert {info / "licenses" / "LICENSE", info / "licenses/fastff/data/digits.LICENSE.txt"} <= names
    assert wheel.name.endswith("-py3-none-any.whl")


def fresh_python(folder):
    """A new environment with this one's packages but fastff, and its site-packages."""
    venv.create(folder)
    python = folder / "bin" / "python"
    (site,) = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    for ours in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for package in Path(ours).iterdir():
            if "fastff" not in package.name and package.suffix != ".pth":
                Path(site, package.name).symlink_to(package)
    return python, Path(site)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="on Windows: links need a privilege")
@pytest.mark.parametrize("way", ["not installed", "installed", "editable"])
def test_three_ways_of_importing(way, source, tmp_path):
    python, site = fresh_python(tmp_path / "venv")
    if way != "not installed":
        pip("install", *(["--editable"] if way == "editable" else []), str(source), python=python, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    homes = {source: source}  # by working directory; a checkout that one stands in comes first
    if way != "not installed":
        homes[elsewhere] = site if way == "installed" else source
    for cwd, home in homes.items():
        package, kernels, top = run(python, "-c", WHERE, cwd=cwd)
        assert Path(package) == home / "fastff"
        assert Path(kernels) == (home / "fastff" / "kernels" if home == site else home / "kernels")
        assert cwd == source or top == "None"
        out = tmp_path / f"run-{cwd.name}"
        run(python, "-m", "fastff.train", "--epochs", "1", "--out", str(out), cwd=cwd)
        assert (out / "summary.json").exists()
