"""The register tile: C[MR, n * LANES] = sum over k of A[k, MR] (outer) B[k, n * LANES], and what follows it.

B is loaded as vectors and A is broadcast from memory at constant strides, so no operand is ever repacked. With panels
(fastff.kernels.panels) the three products of a linear layer are this one tile:

    forward   y  = W^T x   A = W: MR outs side by side                 then bias and ReLU
    backward  dx = W g     A = W: MR ins NR apart, k jumps by panel    then the derivative of the activation
    update    dW = x g^T   A = x: MR features NR apart, k jumps        then the optimizer, on the tile in registers

Every tile exists for 1..VECTORS vectors a row: narrow outputs and small batches don't pay for a wide one.
"""

from functools import reduce

from numba import types

from .cpu import LANES, MR, NR, VECTORS
from .emit import F32, I64, VEC, Emitter, address, emits, i64


def accumulate(e, vectors, k_count, a, b_panel, side_by_side, jump=None, row=NR, multiply=Emitter.fma):
    """The k loop, for k_count >= 1. A[k*NR + i] if side_by_side, else A[i*row + k] with a jump after every `row` of k.

    multiply(e, a, b, sums): the sums with the products of a and b added.
    """
    b = e.b
    entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.done")
    b.branch(loop)
    b.position_at_end(loop)
    k, pa, pb = b.phi(I64), b.phi(I64), b.phi(I64)
    left = None if side_by_side else b.phi(I64)
    sums = [[b.phi(VEC) for _ in range(vectors)] for _ in range(MR)]
    for phi, start in ((k, k_count), (pa, a), (pb, b_panel)):
        phi.add_incoming(start, entry)
    for phi in (s for row in sums for s in row):
        phi.add_incoming(e.const(0.0), entry)
    bs = [e.load(pb, j * LANES) for j in range(vectors)]
    new = []
    for i in range(MR):
        ai = e.splat(e.load_scalar(pa, i if side_by_side else i * row))
        new.append([multiply(e, ai, bs[j], sums[i][j]) for j in range(vectors)])
    if left is None:
        step = I64(4 * NR)
    else:
        left1 = b.sub(left, I64(1))
        wrap = b.icmp_signed("==", left1, I64(0))
        step = b.select(wrap, jump, I64(4))
        left.add_incoming(I64(row), entry)
        left.add_incoming(b.select(wrap, I64(row), left1), loop)
    k1 = b.sub(k, I64(1))
    k.add_incoming(k1, loop)
    pa.add_incoming(b.add(pa, step), loop)
    pb.add_incoming(b.add(pb, I64(4 * NR)), loop)
    for row, sums_row in zip(new, sums, strict=True):
        for value, phi in zip(row, sums_row, strict=True):
            phi.add_incoming(value, loop)
    b.cbranch(b.icmp_signed("!=", k1, I64(0)), loop, done)
    b.position_at_end(done)
    return new


def widths(e, vectors, emit):
    """Branch to emit(n) for the n in 1..VECTORS that `vectors` holds at run time."""
    b = e.b
    end = b.append_basic_block("width.end")
    for n in range(1, VECTORS):
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


@emits(types.void, i64, i64, address, address, address, address, i64, i64, i64)
def forward_tile(e, vectors, k_count, w, x, y, bias, first, last, relu):
    """y[MR, vectors * LANES] = (first: 0, else: y) + W^T x over k_count; last adds bias[MR] and applies relu."""
    b = e.b
    is_first, is_last, is_relu = (b.icmp_signed("!=", flag, I64(0)) for flag in (first, last, relu))

    def write(tile, adds, ends):
        low = e.splat(b.select(is_relu, F32(0.0), F32(float("-inf")))) if ends else None
        for i, _, o, z in each(tile):
            z = b.fadd(z, e.load(y, o)) if adds else z
            if ends:
                z = b.fadd(z, e.splat(e.load_scalar(bias, i)))
                z = e.select(">", low, z, low, z)  # the larger, written so that a NaN in z passes
            e.store(z, y, o)

    def emit(n):
        tile = accumulate(e, n, k_count, w, x, side_by_side=True)
        with b.if_else(is_first) as (start, again):
            for branch, adds in ((start, False), (again, True)):
                with branch, b.if_else(is_last) as (end, more):
                    with end:
                        write(tile, adds, ends=True)
                    with more:
                        write(tile, adds, ends=False)

    widths(e, vectors, emit)


@emits(types.void, i64, i64, address, i64, address, address, address, i64, i64)
def backward_tile(e, vectors, k_count, w, jump, g, dx, h, first, masked):
    """dx[MR, vectors * LANES] = (first: 0, else: dx) + W g over k_count; masked: 0 where not h > 0 (ReLU's slope)."""
    b, zero = e.b, e.const(0.0)
    is_first, is_masked = (b.icmp_signed("!=", flag, I64(0)) for flag in (first, masked))

    def write(tile, adds, masks):
        for _, _, o, v in each(tile):
            v = b.fadd(v, e.load(dx, o)) if adds else v
            e.store(e.select(">", e.load(h, o), zero, v, zero) if masks else v, dx, o)

    def emit(n):
        tile = accumulate(e, n, k_count, w, g, side_by_side=False, jump=jump)
        with b.if_else(is_first) as (start, again):
            for branch, adds in ((start, False), (again, True)):
                with branch, b.if_else(is_masked) as (mask, plain):
                    with mask:
                        write(tile, adds, masks=True)
                    with plain:
                        write(tile, adds, masks=False)

    widths(e, vectors, emit)


def plus(e, tile, more, count, stride):
    """The tile and what `count` other processes have summed for it, the first at `more`, the next `stride` bytes on."""
    b = e.b
    entry, loop, done = b.block, b.append_basic_block("more"), b.append_basic_block("more.done")
    b.cbranch(b.icmp_signed(">", count, I64(0)), loop, done)
    b.position_at_end(loop)
    left, p = b.phi(I64), b.phi(I64)
    sums = [[b.phi(VEC) for _ in row] for row in tile]
    new = [[b.fadd(s, e.load(p, i * NR + j * LANES)) for j, s in enumerate(row)] for i, row in enumerate(sums)]
    left1 = b.sub(left, I64(1))
    for phi, start, value in ((left, count, left1), (p, more, b.add(p, stride))):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, loop)
    b.cbranch(b.icmp_signed(">", left1, I64(0)), loop, done)
    b.position_at_end(done)
    result = [[b.phi(VEC) for _ in row] for row in tile]
    for own, summed, added, phi in zip(
        *([v for row in rows for v in row] for rows in (tile, sums, new, result)), strict=True
    ):
        summed.add_incoming(own, entry)
        summed.add_incoming(added, loop)
        phi.add_incoming(own, entry)
        phi.add_incoming(added, loop)
    return result


def sum_rows(e, n, k_count, gt, read):
    """A tile of one row, the sum of many of n vectors; read(p, j) gives what vector j of the row at p adds."""
    b = e.b
    entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.done")
    b.branch(loop)
    b.position_at_end(loop)
    k, p, sums = b.phi(I64), b.phi(I64), [b.phi(VEC) for _ in range(n)]
    for phi, start in [(k, k_count), (p, gt), *((s, e.const(0.0)) for s in sums)]:
        phi.add_incoming(start, entry)
    new = [reduce(b.fadd, read(p, j), s) for j, s in enumerate(sums)]
    k1 = b.sub(k, I64(1))
    for phi, value in [(k, k1), (p, b.add(p, I64(4 * NR))), *zip(sums, new, strict=True)]:
        phi.add_incoming(value, loop)
    b.cbranch(b.icmp_signed("!=", k1, I64(0)), loop, done)
    b.position_at_end(done)
    return [new]
