"""How kernels are compiled: the one place that decides.

@kernel       a function that other kernels call. It becomes part of their machine code and has none of its own.
@operation    a kernel that a program runs through a pointer (fastff.kernels.operation).
@entry_point  the kernel that Python calls: the driver (fastff.kernels.run).

The machine code of operations and of the driver is kept (fastff.kernels.cache).
"""

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import compiler, config, types
from numba.core.ccallback import CFunc, _CFuncCompiler
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import CPUDispatcher

from .cache import Cache, cache_dir

# IEEE semantics, so that a NaN is seen and no sum is reordered: there are no fastmath flags
FLAGS = {"error_model": "numpy", "boundscheck": False}


def _spare_oryon() -> None:
    """Have Numba compile for a CPU that Oryon can do all of, unless somebody chose another.

    LLVM's model of Oryon lacks what Numba's LLVM insists on, which ends the process (numba/numba#10388).
    """
    if config.CPU_NAME is None and binding.get_host_cpu_name() == "oryon-1":
        config.CPU_NAME = "neoverse-n1"


_spare_oryon()


def disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT has turned compiling off."""
    return bool(config.DISABLE_JIT)


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
        self._address = 0

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
            code._cache = Cache(self._function, folder)
        code.compile()
        return code

    @property
    def loaded(self) -> bool:
        """Whether this process has the machine code."""
        return self._code is not None

    @property
    def address(self) -> int:
        """Where the machine code begins."""
        if not self._address:
            self._address = int(self._load().address)
        return self._address

    @property
    def cache_hits(self) -> int:
        """1 where the machine code was read from the cache."""
        return 0 if self._code is None else int(self._code.cache_hits)

    def inspect_asm(self) -> str:
        """The assembly of the function and of all kernels in it, compiled once more."""
        with global_compiler_lock:
            library = self._load()._compile_uncached().library
            library.finalize()  # which brings the kernels in
        return str(library.get_asm_str())


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
