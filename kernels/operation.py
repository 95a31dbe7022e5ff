"""Operations: what a program consists of. The signature of an operation is its declaration.

    @operation
    def forward(x: batch("n_in"), y: batch("n_out"), ..., n_in, n_out, relu, /, rows, thread, threads): ...

Before the / stand the fields of a row in the program's table: arrays, whose annotation says which type and how much of
it, and whole numbers. After it stands what every step gives, by the names in STEP. An operation that returns anything
but 0 ends the run there, and must do so in all threads alike.

The decorator writes a function of two addresses, the row's and the step's, that loads all of these and calls the
kernel. It is compiled, and cached, by itself when a program first uses it, and the driver calls it through its address.
Here arrays become addresses, and nowhere else: type, order, alignment and least size are checked first.
"""

import inspect
from collections.abc import Callable, Mapping
from ctypes import addressof, c_char
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .compiler import Compiled, kernel
from .emit import load_i64

# What a step gives, each an int64 in its memory: the rows of the batch, the number of the first one in its epoch, the
# epoch and the batch's number in it; the addresses of the batch's row numbers, of the optimizer's numbers, and of where
# loss and hits go; the control block of the run; the thread that runs the operation, and how many there are.
STEP = ("rows", "first", "epoch", "number", "index", "hyper", "losses", "hits", "control", "thread", "threads")
# Of a row in the table, int64: where its function begins, whether all threads wait for one another behind it, fields
FUNCTION, BARRIER, FIELDS = 0, 1, 2

Fields = Mapping[str, Any]
# What a field is: given its name, its value, the row's fields and the rows of the program's batches, the number in the
# table; FieldError for a value that its operation could not work on
Field = Callable[[str, Any, Fields, int], int]


class FieldError(ValueError):
    """What stands in a field is not what its operation works on."""


def address(array: np.ndarray) -> int:
    """Where an array begins."""
    buffer: Any = array  # not all versions of NumPy say that it is one
    try:
        return addressof(c_char.from_buffer(buffer))  # a fifth of the time of ctypes.data
    except (TypeError, ValueError, BufferError):  # read-only, strided or empty
        return array.ctypes.data


def array(dtype: Any, size: int | str | Callable[[Fields, int], int] = 1, *, optional: bool = False) -> Field:
    """A field that is an array of a type, C-contiguous, of at least so many values, or as many as another field says.

    size: also a function of the row's fields and of the rows of the program's batches. optional: whether None may stand
    for no array.
    """

    kind = np.dtype(dtype)
    wanted = size if callable(size) else lambda fields, rows: fields[size] if isinstance(size, str) else size

    def place(name: str, value: Any, fields: Fields, rows: int) -> int:
        if type(value) is not np.ndarray:  # a subclass might lie about itself
            if value is None and optional:
                return 0
            raise FieldError(f"{name}: {type(value).__name__}, want an array of {dtype.__name__}")
        flags = value.flags
        if value.dtype != kind or not flags.c_contiguous or not flags.aligned:
            raise FieldError(
                f"{name}: {value.dtype} of strides {value.strides}, want {dtype.__name__}, contiguous and aligned"
            )
        if value.size < (least := wanted(fields, rows)):
            raise FieldError(f"{name}: {value.size} values, want at least {least}")
        return address(value)

    return place


def rows_of(*dtypes: Any) -> Field:
    """A field that is the rows (N, features) which a batch is picked from, of any strides, in one of these types."""

    def place(name: str, value: Any, fields: Fields, rows: int) -> int:
        rows_like = type(value) is np.ndarray and value.ndim == 2
        if not rows_like or value.dtype not in dtypes or not value.dtype.isnative:
            found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise FieldError(f"{name}: {found}, want rows of {' or '.join(dtype.__name__ for dtype in dtypes)}")
        return address(value)

    return place


def number(name: str, value: Any, fields: Fields, rows: int) -> int:
    """A field that is a whole number."""
    if type(value) is not int and not isinstance(value, int | np.integer):
        raise FieldError(f"{name}: {value!r}, want a whole number")
    return int(value)


def anything(name: str, value: Any, fields: Fields, rows: int) -> int:
    """A field of a function written in C: an array of any type, or a number as it is."""
    return address(value) if isinstance(value, np.ndarray) else int(value)


class Operation(Compiled):
    """A kernel as a program uses it. `fields` are what a row of it holds, by name, in order."""

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters = inspect.signature(function).parameters.values()
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        own = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
        self.fields: dict[str, Field] = {p.name: number if p.annotation is p.empty else p.annotation for p in own}
        given = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
        if unknown := set(given) - set(STEP):
            raise TypeError(f"{self.name}: a step gives no {', '.join(sorted(unknown))}, but {', '.join(STEP)}")
        super().__init__(_wrapper(self.name, function, len(self.fields), given))

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def load(self) -> int:
        """Where its machine code begins: compiled now, or read from the cache, if it was not before."""
        return self.address

    def check(self, names: Any) -> None:
        """TypeError unless these are the names of its fields, all of them."""
        if names != self.fields.keys():
            missing, unknown = (
                ", ".join(sorted(a - b)) for a, b in ((self.fields.keys(), names), (names, self.fields.keys()))
            )
            says = [f"has no field {unknown}"] * bool(unknown) + [f"wants the field {missing}"] * bool(missing)
            raise TypeError(f"{self.name}: {' and '.join(says)}")

    def encode(self, fields: Fields, *, barrier: bool, rows: int) -> list[int]:
        """The row of a table, for batches of at most so many rows. FieldError for what the kernel could not work on."""
        try:
            values = [field(name, fields[name], fields, rows) for name, field in self.fields.items()]
        except FieldError as error:
            raise FieldError(f"{self.name}: {error}") from None
        return [self.address, int(barrier), *values]


operation = Operation  # the decorator


def _wrapper(name: str, function: Callable[..., Any], fields: int, given: list[str]) -> Callable[..., Any]:
    """The function of a row and a step that calls the kernel. Its name is its own: Numba names machine code by it."""
    own = "operation_" + name.replace(".", "_")
    loads = [f"load(row + {8 * (FIELDS + i)})" for i in range(fields)]
    loads += [f"load(step + {8 * STEP.index(n)})" for n in given]
    source = f"def {own}(row, step):\n    return status(run({', '.join(loads)}))\n"
    scope = {"run": kernel(function), "load": load_i64, "status": _status, "__name__": function.__module__}
    exec(compile(source, function.__code__.co_filename, "exec"), scope)
    return scope[own]


@intrinsic
def _status(typing_context, result):
    """What a kernel returns, as an int64; 0 where it returns nothing."""

    def generate(context, builder, signature, values):
        if result is types.none:
            return context.get_constant(types.int64, 0)
        return context.cast(builder, values[0], result, types.int64)

    return types.int64(result), generate
