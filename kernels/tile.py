"""The register tile: C[MR, n * LANES] = sum over k of A[k, MR] (outer) B[k, n * LANES], and what follows it.

B is loaded as vectors and A is broadcast from memory at constant strides, so no operand is ever repacked. With panels
(fastff.kernels.panels) the three products of a linear layer are this one tile:

    forward   y  = W^T x   A = W: MR outs side by side                 then bias and ReLU
    backward  dx = W g     A = W: MR ins NR apart, k jumps by panel    then the derivative of the activation
    update    dW = x g^T   A = x: MR features NR apart, k jumps        then the optimizer, on the tile in registers

A tile exists for several numbers of vectors a row: narrow outputs and small batches don't pay for the widest one.
"""

from functools import reduce

from numba import types

from .cpu import LANES, MR, NR, VECTORS
from .emit import F32, I64, VEC, Emitter, address, emits, i64

# The vectors a row that tiles exist for besides VECTORS, which serves the others: each one takes time to compile
_NARROW = [n for n in range(1, VECTORS) if n <= 2 or n % 2 == 0]


def accumulate(e, vectors, k_count, a, b_panel, jump=None, row=NR, multiply=Emitter.fma):
    """The k loop, for k_count >= 1. A[k*NR + i], or with a jump A[i*row + k] and the jump after every `row` of k.

    multiply(e, a, b, sums): the sums with the products of a and b added.
    """
    b = e.b

    def add(pa, pb, left, *sums):
        bs = [e.load(pb, j * LANES) for j in range(vectors)]
        new, step = [], I64(4 * NR)
        for i, ai in enumerate(e.spread(pa, MR, 1 if jump is None else row)):
            new += [multiply(e, ai, bs[j], sums[i * vectors + j]) for j in range(vectors)]
        if jump is not None:
            left = b.sub(left, I64(1))
            wrap = b.icmp_signed("==", left, I64(0))
            step, left = b.select(wrap, jump, I64(4)), b.select(wrap, I64(row), left)
        return b.add(pa, step), b.add(pb, I64(4 * NR)), left, *new

    _, _, _, *sums = e.repeat(k_count, (a, b_panel, I64(row), *[e.const(0.0)] * (MR * vectors)), add)
    return [sums[i : i + vectors] for i in range(0, len(sums), vectors)]


def widths(e, vectors, emit):
    """Branch to emit(n) for the tile that does as many vectors as `vectors` says at run time."""
    b = e.b
    end = b.append_basic_block("width.end")
    for n in _NARROW:
        yes, no = b.append_basic_block(f"width.{n}"), b.append_basic_block("wider")
        b.cbranch(b.icmp_signed("==", vectors, I64(n)), yes, no)
        b.position_at_end(yes)
        emit(n)
        b.branch(end)
        b.position_at_end(no)
    emit(VECTORS)
    b.branch(end)
    b.position_at_end(end)


def each(tile):
    """The row, the vector and the offset of each vector of a tile, with its value."""
    return [(i, j, i * NR + j * LANES, v) for i, row in enumerate(tile) for j, v in enumerate(row)]


def store_tile(e, tile, out, first, last, finish):
    """Store a tile at out, where not `first` added to what stands there, and where `last` as finish(i, o, v) has it."""
    b = e.b
    is_first, is_last = (b.icmp_signed("!=", flag, I64(0)) for flag in (first, last))
    with b.if_else(is_first) as (start, again):
        for branch, adds in ((start, False), (again, True)):
            with branch, b.if_else(is_last) as (end, more):
                for part, ends in ((end, True), (more, False)):
                    with part:
                        for i, _, o, v in each(tile):
                            v = b.fadd(v, e.load(out, o)) if adds else v
                            e.store(finish(i, o, v) if ends else v, out, o)


@emits(types.void, i64, i64, address, address, address, address, i64, i64, i64)
def forward_tile(e, vectors, k_count, w, x, y, bias, first, last, relu):
    """y[MR, vectors * LANES] = (first: 0, else: y) + W^T x over k_count; last adds bias[MR] and applies relu."""
    b = e.b
    is_relu = b.icmp_signed("!=", relu, I64(0))

    def finish(i, _, z):
        low = e.splat(b.select(is_relu, F32(0.0), F32(float("-inf"))))
        z = b.fadd(z, e.splat(e.load_scalar(bias, i)))
        return e.select(">", low, z, low, z)  # the larger, written so that a NaN in z passes

    widths(e, vectors, lambda n: store_tile(e, accumulate(e, n, k_count, w, x), y, first, last, finish))


@emits(types.void, i64, i64, address, address, address, address, i64)
def sparse_tile(e, vectors, count, columns, values, w, out, first):
    """out[vectors * LANES] = (first: 0, else: out) + the sum over count >= 1 entries of value * W[column]."""
    b = e.b

    def add(column, value, *sums):
        number, factor = b.load(b.inttoptr(column, I64.as_pointer())), e.splat(e.load_scalar(value))
        row = b.add(w, b.mul(number, I64(4 * NR)))
        new = [e.fma(factor, e.load(row, j * LANES), s) for j, s in enumerate(sums)]
        return b.add(column, I64(8)), b.add(value, I64(4)), *new

    def emit(n):
        _, _, *sums = e.repeat(count, (columns, values, *[e.const(0.0)] * n), add)
        store_tile(e, [sums], out, first, I64(0), lambda i, o, v: v)

    widths(e, vectors, emit)


@emits(types.void, i64, i64, address, i64, address, address, address, i64, i64)
def backward_tile(e, vectors, k_count, w, jump, g, dx, h, first, masked):
    """dx[MR, vectors * LANES] = (first: 0, else: dx) + W g over k_count; masked: 0 where not h > 0 (ReLU's slope)."""
    zero = e.const(0.0)

    def mask(_, o, v):
        return e.select(">", e.load(h, o), zero, v, zero)

    widths(e, vectors, lambda n: store_tile(e, accumulate(e, n, k_count, w, g, jump), dx, first, masked, mask))


@emits(types.void, i64, i64, address, i64, address, address)
def gram_tile(e, vectors, k_count, x, jump, xt, out):
    """out[MR, vectors * LANES], doubles, += x x^T over k_count, for rows and columns as they come."""

    def add(n):
        for _, _, o, v in each(accumulate(e, n, k_count, x, xt, jump)):
            e.add_doubles(v, out, o)

    widths(e, vectors, add)


def plus(e, tile, more, count, stride):
    """The tile and what `count` other processes have summed for it, the first at `more`, the next `stride` bytes on."""
    b, own, result = e.b, each(tile), []

    def add(p, *sums):
        return b.add(p, stride), *[b.fadd(s, e.load(p, o)) for s, (_, _, o, _) in zip(sums, own, strict=True)]

    entry = b.block
    with b.if_then(b.icmp_signed(">", count, I64(0))):
        _, *sums = e.repeat(count, (more, *[v for _, _, _, v in own]), add)
        summed = b.block
    for (_, _, _, v), s in zip(own, sums, strict=True):
        result.append(b.phi(VEC))
        result[-1].add_incoming(v, entry)
        result[-1].add_incoming(s, summed)
    return [result[i : i + len(tile[0])] for i in range(0, len(result), len(tile[0]))]


def sum_rows(e, n, k_count, gt, read):
    """A tile of one row, the sum of many of n vectors; read(p, j) gives what vector j of the row at p adds."""

    def add(p, *sums):
        return e.b.add(p, I64(4 * NR)), *[reduce(e.b.fadd, read(p, j), s) for j, s in enumerate(sums)]

    _, *sums = e.repeat(k_count, (gt, *[e.const(0.0)] * n), add)
    return [sums]
