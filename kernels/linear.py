"""The three products of a linear layer over a batch in panels, and the optimizer's step; each thread does its share.

Each element of a result is summed in one fixed order, whatever the number of threads: blocks of KC values of k, one
after the other. Padding is never summed: every sum runs over exactly the features, outputs or rows there are.
"""

import numpy as np

from .compiler import kernel
from .cpu import MR, NR, VECTORS
from .emit import load_f32, load_i64, store_f32
from .operation import array, operation
from .optimizer import HYPER, update_row, update_tile
from .panels import BIAS, GRAM, WEIGHTS, batch, padded, takes, vectors_in, whole_panels
from .tile import backward_tile, forward_tile, gram_tile, sparse_tile

KC = 192  # a block of B, KC x NR floats, stays in the first-level cache
CHUNK = 24  # tiles of x that stay in the second-level cache while all outputs pass by


@operation
def forward(x: batch("n_in"), y: batch("n_out"), w: WEIGHTS, bias: BIAS, n_in, n_out, relu, /, rows, thread, threads):
    """y = W^T x + bias, then ReLU if relu. A thread takes a contiguous share of the tiles."""
    panels, tiles = (rows + NR - 1) // NR, (n_out + MR - 1) // MR
    t0, t1 = tiles * panels * thread // threads, tiles * panels * (thread + 1) // threads
    in_pad, out_pad = padded(n_in), padded(n_out)
    for k0 in range(0, n_in, KC):
        count = min(KC, n_in - k0)
        for p in range(panels):
            vectors = vectors_in(rows - p * NR)
            xp = x + 4 * NR * (p * in_pad + k0)
            for r in range((t0 - p + panels - 1) // panels, (t1 - p + panels - 1) // panels):
                n = r * MR
                wr, yr = w + 4 * (NR * (n // NR * in_pad + k0) + n % NR), y + 4 * NR * (p * out_pad + n)
                forward_tile(vectors, count, wr, xp, yr, bias + 4 * n, k0 == 0, k0 + count == n_in, relu)


def _sums(fields, rows):
    return rows * NR


@operation
def forward_sparse(
    starts: array(np.int64), columns: array(np.int64, 0), values: array(np.float32, 0), sums: array(np.float32, _sums),
    y: batch("n_out"), w: WEIGHTS, bias: BIAS, n_in, n_out, relu, /, index, rows, thread, threads,
):  # fmt: skip
    """forward for rows as their entries: those of row r are starts[r] to starts[r + 1], in the order of their columns.

    What is not there counts 0, so the sums are forward's to the bit. sums: NR floats for each row of a batch.
    """
    in_pad, out_pad = padded(n_in), padded(n_out)
    for i in range(rows * thread // threads, rows * (thread + 1) // threads):
        row, own = load_i64(index + 8 * i), sums + 4 * NR * i
        begin, end = load_i64(starts + 8 * row), load_i64(starts + 8 * row + 8)
        for n in range(0, n_out, NR):
            count, at = min(NR, n_out - n), begin
            while at < end:
                block, stop = load_i64(columns + 8 * at) // KC, at + 1
                while stop < end and load_i64(columns + 8 * stop) // KC == block:
                    stop += 1
                wn = w + 4 * n * in_pad
                sparse_tile(vectors_in(count), stop - at, columns + 8 * at, values + 4 * at, wn, own, at == begin)
                at = stop
            yn = y + 4 * (NR * (i // NR * out_pad + n) + i % NR)
            for o in range(count):
                z = load_f32(bias + 4 * (n + o))
                if begin < end:
                    z = load_f32(own + 4 * o) + z
                store_f32(yn + 4 * NR * o, np.float32(0.0) if relu != 0 and z < 0 else z)


@operation
def backward(
    g: batch("n_out"), dx: batch("n_in"), h: batch("n_in"), w: WEIGHTS, n_in, n_out, masked, /, rows, thread, threads
):
    """dx = W g, zeroed where not h > 0 if masked: the slope of the ReLU that made h.

    A thread's rows of W are those that it updates, so an update may follow without a barrier.
    """
    panels, tiles = (rows + NR - 1) // NR, (n_in + MR - 1) // MR
    r0, r1 = tiles * thread // threads, tiles * (thread + 1) // threads
    in_pad, out_pad = padded(n_in), padded(n_out)
    jump = 4 * (NR * in_pad - NR + 1)
    for k0 in range(0, n_out, KC):
        count = min(KC, n_out - k0)
        for p in range(panels):
            vectors = vectors_in(rows - p * NR)
            gp = g + 4 * NR * (p * out_pad + k0)
            for r in range(r0, r1):
                o = 4 * NR * (p * in_pad + r * MR)
                wr = w + 4 * NR * (k0 // NR * in_pad + r * MR)
                backward_tile(vectors, count, wr, jump, gp, dx + o, h + o, k0 == 0, masked * (k0 + count == n_out))


@kernel
def share(part, parts, thread, threads):
    """Which share of the parameters is a thread's, and of how many: those of its process are shared out once more."""
    return part * threads + thread, parts * threads


@operation
def update(
    x: batch("n_in"), gt: batch("n_out"), w: WEIGHTS, m: WEIGHTS, v: WEIGHTS, n_in, n_out,
    more: array(np.float32, optional=True), count, stride, first, last, part, parts,
    numbers: array(np.float32, HYPER, optional=True), /, rows, hyper, thread, threads,
):  # fmt: skip
    """dW = x g^T, each tile of it applied to w, m, v by the optimizer while it is in registers.

    more, count, stride: gradients from `count` other processes, laid out like w and `stride` bytes apart, to be added.
    first, last: the panels of W to do; last 0: all. part, parts: the process's share of W. numbers: the optimizer's,
    instead of the step's.
    """
    tiles, in_pad, row_pad = (n_in + MR - 1) // MR, padded(n_in), whole_panels(rows)
    own, shares = share(part, parts, thread, threads)
    hyper = numbers if numbers != 0 else hyper
    r0, r1 = tiles * own // shares, tiles * (own + 1) // shares
    jump = 4 * (NR * in_pad - NR + 1)
    for chunk in range(r0, r1, CHUNK):
        for q in range(first, last if last != 0 else (n_out + NR - 1) // NR):
            vectors = vectors_in(n_out - q * NR)
            for r in range(chunk, min(r1, chunk + CHUNK)):
                o = 4 * NR * (q * in_pad + r * MR)
                xr, gq = x + 4 * NR * r * MR, gt + 4 * NR * q * row_pad
                update_tile(vectors, rows, xr, jump, gq, w + o, m + o, v + o, hyper, more + o, count, stride)


@operation
def update_bias(
    gt: batch("n_out"), bias: BIAS, m: BIAS, v: BIAS, n_out,
    more: array(np.float32, optional=True), count, stride, part, parts,
    numbers: array(np.float32, HYPER, optional=True), /, rows, hyper, thread, threads,
):  # fmt: skip
    """db = the sum of g over the batch, applied to bias, m, v by the optimizer; the rest as in update."""
    panels = (n_out + NR - 1) // NR
    own, shares = share(part, parts, thread, threads)
    hyper = numbers if numbers != 0 else hyper + 4 * HYPER
    for q in range(panels * own // shares, panels * (own + 1) // shares):
        o = 4 * NR * q
        vectors, gq = vectors_in(n_out - q * NR), gt + 4 * NR * q * whole_panels(rows)
        update_row(vectors, rows, gq, bias + o, m + o, v + o, hyper, more + o, count, stride)


@operation
def gram(x: batch("features"), xt: batch("features"), out: GRAM, features, /, rows, thread, threads):
    """out += x x^T: the tiles with something on the diagonal or right of it, as weights lie.

    xt: x transposed as update takes a gradient. A thread takes chunks of tiles to and fro, as the first are longest.
    """
    tiles, panels = (features + MR - 1) // MR, (features + NR - 1) // NR
    in_pad, row_pad = padded(features), whole_panels(rows)
    jump = 4 * (NR * in_pad - NR + 1)
    for chunk in range(0, tiles, CHUNK):
        if not takes(chunk // CHUNK, thread, threads):
            continue
        for q in range(chunk * MR // NR, panels):
            vectors = vectors_in(features - q * NR)
            for r in range(chunk, min(chunk + CHUNK, ((q + 1) * NR + MR - 1) // MR, tiles)):
                to = out + 8 * NR * (q * in_pad + r * MR)
                gram_tile(vectors, rows, x + 4 * NR * r * MR, jump, xt + 4 * NR * q * row_pad, to)


def _values(fields, _):
    return NR * fields["panels"]


@operation
def apply(
    g: array(np.float32, _values), w: array(np.float32, _values), m: array(np.float32, _values),
    v: array(np.float32, _values), panels, biases, /, hyper, thread, threads,
):  # fmt: skip
    """The optimizer's step on w, m, v by the gradient g, each of `panels` times NR numbers, weights or biases."""
    hyper += 4 * HYPER * biases
    for q in range(panels * thread // threads, panels * (thread + 1) // threads):
        o = 4 * NR * q
        update_row(VECTORS, 1, g + o, w + o, m + o, v + o, hyper, 0, 0, 0)
