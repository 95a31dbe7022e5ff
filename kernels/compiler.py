"""How kernels are compiled, and where the machine code is kept: the one place that decides.

@kernel       a function that other kernels call. It becomes part of their machine code and has none of its own.
@operation    a kernel that a program runs through a pointer (fastff.kernels.operation).
@entry_point  the kernel that Python calls: the driver (fastff.kernels.run).

What is kept is the machine code of operations and entry points, each in files of its own. Numba's cache sees edits in a
function's own file only and writes beside the source; ours lives in the user's cache directory, in a folder named by a
hash of everything that the code depends on: all kernel sources, the CPU and its features, the tile, and the versions of
Numba, llvmlite and NumPy. A file that is damaged is compiled again, and a folder that cannot be written to costs time,
never a run. FASTFF_CACHE_DIR overrides the place.
"""

import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import caching, compiler, types
from numba.core.ccallback import CFunc, _CFuncCompiler
from numba.core.codegen import JITCodeLibrary
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import CPUDispatcher
from numba.misc.appdirs import AppDirs

from . import cpu

# IEEE semantics, so that a NaN is seen and no sum is reordered: there are no fastmath flags
FLAGS = {"error_model": "numpy", "boundscheck": False}


def _key() -> str:
    parts = [
        cpu.ISA,
        cpu.BF16,
        cpu.FMA,
        binding.get_host_cpu_name(),
        *sorted(f for f, on in cpu.FEATURES.items() if on),
    ]
    parts += [numba.__version__, llvmlite.__version__, np.__version__]
    digest = hashlib.sha256("\n".join(parts).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT has turned compiling off."""
    return bool(numba.config.DISABLE_JIT)


def cache_dir() -> Path:
    """The folder of the compiled kernels: FASTFF_CACHE_DIR, or else the user's cache directory."""
    chosen = os.environ.get("FASTFF_CACHE_DIR")
    base = Path(chosen) if chosen else Path(AppDirs("fastff", appauthor=False).user_cache_dir)
    return base / "kernels" / KEY


KEY = _key()


class _Locator(caching._CacheLocator):
    """Names the cache folder; the folder's name carries the key, so the stamp says nothing more."""

    def __init__(self, function: object, file: str) -> None:
        self._py_file = file
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, function: object, file: str) -> "_Locator":
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(cache_dir())

    def get_source_stamp(self) -> str:
        return KEY

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Impl(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):
    """Numba's function cache that survives whatever is wrong with the files."""

    _impl_class = _Impl

    def load_overload(self, sig: object, target_context: object) -> object:
        try:  # without what Numba does first, which is of use for compiling alone and takes longer than all loading
            return self._load_overload(sig, target_context)
        except Exception:  # truncated or foreign bytes fail in many ways inside pickle and LLVM: compile again
            self._discard()
            return None

    def save_overload(self, sig: object, data: object) -> None:
        try:
            os.makedirs(self.cache_path, exist_ok=True)
            super().save_overload(sig, data)
        except Exception:  # read-only, full or raced: this process keeps its code, the next one compiles again
            self._discard()

    def _discard(self) -> None:
        index = Path(self._cache_file._index_path)
        try:
            index.unlink(missing_ok=True)
        except OSError:
            return


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

    Vectors are what the kernels write out; LLVM looks for none in what is left.
    """

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
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

    It is compiled, or read from the cache, when its address is first asked for. Numba names machine code by qualified
    name and a number that each process counts anew, so a function's name must be its own.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._code: Any = None

    def _load(self) -> Any:
        if self._code is None:
            count = len(inspect.signature(self._function).parameters)
            code = CFunc(self._function, ((types.int64,) * count, types.int64), {}, FLAGS)
            own = code._compiler
            code._compiler = _WholeCompiler(self._function, own.targetdescr, own.targetoptions, {}, own.pipeline_class)
            code._cache = _Cache(self._function)
            code.compile()
            self._code = code
        return self._code

    @property
    def loaded(self) -> bool:
        """Whether this process has the machine code."""
        return self._code is not None

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
