"""How kernels are compiled, and where the machine code is kept: the one place that decides.

@kernel       a function that other kernels call. It becomes part of their machine code and has none of its own.
@operation    a kernel that a program runs through a pointer (fastff.kernels.operation).
@entry_point  the kernel that Python calls: the driver (fastff.kernels.run).

What is kept is the machine code of operations and entry points, each in files of its own. Numba's cache sees edits in a
function's own file only and writes beside the source; ours lives in the user's cache directory, in a folder named by a
hash of everything that the code depends on: all modules of this package, the CPU and its features, the tile, and the
versions of Python, Numba, llvmlite and NumPy. FASTFF_CACHE_DIR overrides the place.

Whoever can write these files chooses what runs, so they are read only where they belong to this user and nobody else
can write to them. Where that does not hold, or the folder cannot be written to, kernels are compiled in every process,
and one line says so. A file that is damaged is compiled again.
"""

import contextlib
import hashlib
import importlib.util
import inspect
import io
import marshal
import os
import pickle
import pkgutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import caching, compiler, types
from numba.core.ccallback import CFunc, _CFuncCompiler
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import CPUDispatcher
from numba.misc.appdirs import AppDirs

from . import cpu

# IEEE semantics, so that a NaN is seen and no sum is reordered: there are no fastmath flags
FLAGS = {"error_model": "numpy", "boundscheck": False}


def _code(module: str) -> bytes:
    """The source of a module, or its bytecode where that is all there is; from a folder, a zip file or elsewhere."""
    spec = importlib.util.find_spec(module)
    loader: Any = spec and spec.loader
    try:
        return bytes(loader.get_data(loader.get_filename(module)))
    except (AttributeError, ImportError, OSError):  # a loader that keeps modules in no file
        return marshal.dumps(loader.get_code(module), 2)  # version 2: the same bytes in every process


def _key() -> str:
    """A hash of all that machine code depends on."""
    parts = [cpu.ISA, cpu.BF16, cpu.FMA, binding.get_host_cpu_name()]
    parts += sorted(f for f, on in cpu.FEATURES.items() if on)
    parts += [sys.version, numba.__version__, llvmlite.__version__, np.__version__]
    names = sorted(module.name for module in pkgutil.iter_modules(sys.modules[__package__].__path__))
    for name in ("", *(f".{name}" for name in names)):
        parts.append(f"{name} {hashlib.sha256(_code(__package__ + name)).hexdigest()}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


KEY = _key()


class _Unusable(Exception):
    """Machine code cannot be kept in, or may not be loaded from, the place that this names."""


_CURE = "let FASTFF_CACHE_DIR name a folder that is yours alone"
_said: list[object] = []


def _say(reason: object) -> None:
    """Say once, where there is a standard error, why kernels are compiled in every process."""
    if not _said and sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # full, or closed
            sys.stderr.write(f"fastff: the kernels are compiled anew in every process, without a cache: {reason}\n")
            sys.stderr.flush()
    _said.append(reason)


def _base() -> Path:
    """The folder that ours are made in: FASTFF_CACHE_DIR, or else the user's cache directory.

    It is never a relative one: what code runs must not depend on the folder that somebody happens to work in.
    """
    if chosen := os.environ.get("FASTFF_CACHE_DIR"):
        if not os.path.isabs(base := os.path.expanduser(chosen)):
            raise _Unusable(f"FASTFF_CACHE_DIR is {chosen!r}, want an absolute path")
        return Path(base)
    if sys.platform == "win32":
        return Path(AppDirs("fastff", appauthor=False).user_cache_dir)
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if sys.platform != "darwin" and os.path.isabs(chosen):  # its specification says to ignore any other
        return Path(chosen, "fastff")
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or not os.path.isdir(home):
        raise _Unusable(f"there is no home folder {home!r}; {_CURE}")
    return Path(home, "Library/Caches" if sys.platform == "darwin" else ".cache", "fastff")


def _check(path: str | Path, descriptor: int | None = None) -> None:
    """_Unusable where a folder or file is not this user's or others can write to it. Windows does not tell."""
    if os.name != "posix":
        return
    try:
        status = os.stat(path if descriptor is None else descriptor)
    except FileNotFoundError:
        return  # it will be made
    except OSError as error:
        raise _Unusable(f"{str(path)!r} cannot be used ({error.strerror}); {_CURE}") from error
    if status.st_uid != os.geteuid():
        raise _Unusable(f"{str(path)!r} belongs to another user (number {status.st_uid}); {_CURE}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _Unusable(f"others can write to {str(path)!r}; forbid it (chmod go-w), or {_CURE}")


def cache_dir() -> Path | None:
    """The folder of the compiled kernels, there or to be made; None, and a line says why, where none can be used."""
    try:
        folder = _base() / "kernels" / KEY
        for part in (folder.parents[1], folder.parent, folder):
            _check(part)
    except _Unusable as reason:
        _say(reason)
        return None
    return folder


def _make(folder: Path) -> None:
    """Make a folder and what is missing above it, for this user alone."""
    for part in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        part.mkdir(0o700, exist_ok=True)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        _check(path, file.fileno())
        return file.read()


class _Files(caching.IndexDataCacheFile):
    """Numba's index and code of a function, on disk: read where it is safe, written for this user alone."""

    def _load_index(self) -> dict[Any, str]:
        try:
            file = io.BytesIO(_read(self._index_path))
        except FileNotFoundError:
            return {}
        if pickle.load(file) != self._version:
            return {}
        stamp, names = pickle.load(file)
        return dict(names) if stamp == self._source_stamp else {}

    def _load_data(self, name: str) -> Any:
        return pickle.loads(_read(self._data_path(name)))

    @contextlib.contextmanager
    def _open_for_write(self, path: str) -> Iterator[Any]:
        with super()._open_for_write(path) as file:
            os.chmod(file.name, 0o600)
            yield file


class _Cache:
    """The cache of one function, as Numba asks for it. It survives whatever is wrong with the files."""

    def __init__(self, function: Any, folder: Path) -> None:
        code = function.__code__
        name = f"{Path(code.co_filename).stem}.{function.__qualname__}-{code.co_firstlineno}"
        self._folder: Path | None = folder
        self._files = _Files(str(folder), name, KEY)

    def load_overload(self, signature: object, target: Any) -> Any:
        try:
            kept = self._files.load((signature, target.codegen().magic_tuple()))
            return kept and compiler.CompileResult._rebuild(target, *kept)
        except _Unusable as reason:
            _say(reason)
            self._folder = None
        except Exception:  # truncated or foreign bytes fail in many ways inside pickle and LLVM: compile again
            self._discard()
        return None

    def save_overload(self, signature: object, result: Any) -> None:
        if self._folder is None or result.library.has_dynamic_globals:  # addresses of this process
            return
        try:
            _make(self._folder)
            self._files.save((signature, result.codegen.magic_tuple()), result._reduce())
        except OSError as error:
            if os.name == "posix":  # on Windows, another process may be at the same file
                _say(f"{str(self._folder)!r} cannot be written to ({error.strerror}); {_CURE}")
        except Exception:  # raced: this process keeps its code, the next one compiles again
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._files._index_path)


class _PartLibrary(JITCodeLibrary):
    """The code of a kernel as its callers link it in. It is optimised and becomes machine code there, once for all."""

    def add_llvm_module(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout
        self._final_module.link_in(module)

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


class _WholeLibrary(JITCodeLibrary):
    """The code of an operation with all kernels that it calls: optimised in one pass, where Numba takes three.

    Vectors are what the kernels write out; LLVM looks for none in what is left. Only `public` can be seen from outside:
    Numba names functions by a number that each process counts anew, so that a kernel in code from the cache may have
    the name of another one that is compiled now.
    """

    public = ""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.name != self.public:
                function.linkage = "internal"
        passes, builder = self._codegen._module_pass_manager(loop_vectorize=False, slp_vectorize=False)
        passes.run(self._final_module, builder)


def _compile(self: Any, kind: type, args: Any, return_type: Any, **more: bool) -> Any:
    """What Numba's compilers do, with a library of our kind and more flags."""
    flags, target = compiler.Flags(), self.targetdescr.target_context
    self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
    for name, value in more.items():
        setattr(flags, name, value)
    library = kind(target.codegen(), self.py_func.__qualname__)
    library.enable_object_caching()
    return compiler.compile_extra(
        self.targetdescr.typing_context, target, self.py_func, args=args, return_type=return_type, flags=flags,
        locals=self.locals, library=library, pipeline_class=self.pipeline_class,
    )  # fmt: skip


class _PartCompiler(_FunctionCompiler):
    def _compile_core(self, args: Any, return_type: Any) -> Any:
        result = _compile(
            self, _PartLibrary, args, return_type, no_compile=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
        )
        # Numba calls a compiled function by what stands here, which is otherwise its address
        result = result._replace(entry_point=object())
        self.targetdescr.target_context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        return result


class _WholeCompiler(_CFuncCompiler):
    def _compile_core(self, args: Any, return_type: Any) -> Any:
        flags = {"no_compile": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        result = _compile(self, _WholeLibrary, args, return_type, **flags)
        # Numba's own function for C callers looks for exceptions, which no kernel raises, and needs Numba's runtime
        target, name = self.targetdescr.target_context, result.fndesc
        result.library.public = name.llvm_cfunc_wrapper_name
        module = target.create_module("c_function")
        kind = target.call_conv.get_function_type(name.restype, name.argtypes)
        callee = ir.Function(module, kind, name.llvm_func_name)
        i64 = ir.IntType(64)
        function = ir.Function(module, ir.FunctionType(i64, [i64] * len(args)), name.llvm_cfunc_wrapper_name)
        builder = ir.IRBuilder(function.append_basic_block())
        _, value = target.call_conv.call_function(builder, callee, name.restype, name.argtypes, function.args)
        builder.ret(value)
        result.library.add_ir_module(module)
        return result


class _Kernel(CPUDispatcher):
    """A function that can be called by compiled functions alone."""

    def __init__(self, function: Any) -> None:
        super().__init__(function, targetoptions={"nopython": True, "nogil": True, **FLAGS})
        own = self._compiler
        self._compiler = _PartCompiler(function, own.targetdescr, own.targetoptions, {}, own.pipeline_class)

    def add_overload(self, result: Any) -> None:
        self.overloads[tuple(result.signature.args)] = result


def kernel(function: Any) -> Any:
    """Make a function callable for other kernels, as part of their code. Python cannot call it."""
    return _Kernel(function)


class Compiled:
    """A function of int64 that returns one, as C could call it.

    It is compiled, or read from the cache, when its address is first asked for. Its qualified name must be its own.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._code: Any = None

    def _load(self) -> Any:
        if self._code is None:
            with global_compiler_lock:  # Numba's own, which it takes to compile: one thread does, the others wait
                if self._code is None:
                    self._code = self._compiled()
        return self._code

    def _compiled(self) -> Any:
        count = len(inspect.signature(self._function).parameters)
        code = CFunc(self._function, ((types.int64,) * count, types.int64), {}, FLAGS)
        own = code._compiler
        code._compiler = _WholeCompiler(self._function, own.targetdescr, own.targetoptions, {}, own.pipeline_class)
        inside = self._function.__module__.startswith(f"{__package__}.")  # the key covers no others
        if inside and (folder := cache_dir()):
            code._cache = _Cache(self._function, folder)
        code.compile()
        return code

    @property
    def address(self) -> int:
        """Where the machine code begins."""
        return int(self._load().address)

    @property
    def cache_hits(self) -> int:
        """1 where the machine code was read from the cache."""
        return 0 if self._code is None else int(self._code.cache_hits)

    def inspect_asm(self) -> str:
        """The assembly of the function and of all kernels in it, compiled once more."""
        return str(self._load()._compile_uncached().library.get_asm_str())


class EntryPoint(Compiled):
    """What Python calls, with whole numbers; Python's lock is free meanwhile."""

    def __call__(self, *numbers: int) -> int:
        return int(self.load()(*numbers))

    def load(self) -> Any:
        """The function, compiled or read from the cache."""
        return self._load().ctypes


def entry_point(function: Callable[..., Any]) -> EntryPoint:
    """Make a function of whole numbers that returns one callable for Python."""
    return EntryPoint(function)
