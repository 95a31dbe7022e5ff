"""The three products of a linear layer over a batch in lanes; each rank does its share.

    activations and their gradients   [batch/NR][features, padded to MR][NR]
    weights, and the moments alike    [out/NR][in, padded to MR][NR]
    a gradient transposed for dW      [out/NR][batch][NR]

Padding is never summed: every sum runs over exactly the features, outputs or rows there are, so what padding holds
cannot reach a result. Each output element is summed in one fixed order, whatever the number of ranks: k blocks of KC
in sequence.
"""

from .compiler import kernel
from .target import LANES, MR, NR, VECTORS
from .tile import backward_tile, forward_tile, update_row, update_tile

KC = 192  # a block of B, KC x NR floats, stays in the first-level cache
CHUNK = 24  # tiles of x that stay in the second-level cache while all outputs pass by


@kernel
def vectors_in(count):
    """How many vectors of a panel the last `count` of something fill."""
    return (min(count, NR) + LANES - 1) // LANES


@kernel
def padded(features):
    """The rows of a panel that holds so many features: whole tiles."""
    return (features + MR - 1) // MR * MR


@kernel
def whole_panels(rows):
    """The rows of a transposed gradient: whole panels, as it is written a block of LANES at a time."""
    return (rows + NR - 1) // NR * NR


@kernel
def forward(x, y, w, bias, n_in, n_out, rows, relu, rank, size):
    """y = W^T x + bias, then ReLU if relu. Rank takes a contiguous share of the tiles."""
    panels, tiles = (rows + NR - 1) // NR, (n_out + MR - 1) // MR
    t0, t1 = tiles * panels * rank // size, tiles * panels * (rank + 1) // size
    in_pad, out_pad = padded(n_in), padded(n_out)
    for k0 in range(0, n_in, KC):
        count = min(KC, n_in - k0)
        for p in range(panels):
            vectors = vectors_in(rows - p * NR)
            xp = x + 4 * NR * (p * in_pad + k0)
            for r in range((t0 - p + panels - 1) // panels, (t1 - p + panels - 1) // panels):
                n = r * MR
                wr = w + 4 * (NR * (n // NR * in_pad + k0) + n % NR)
                forward_tile(
                    vectors,
                    count,
                    wr,
                    xp,
                    y + 4 * NR * (p * out_pad + n),
                    bias + 4 * n,
                    k0 == 0,
                    k0 + count == n_in,
                    relu,
                )


@kernel
def backward(g, dx, h, w, n_in, n_out, rows, masked, rank, size):
    """dx = W g, zeroed where not h > 0 if masked. A rank's rows of W are those it updates: no barrier between."""
    panels, tiles = (rows + NR - 1) // NR, (n_in + MR - 1) // MR
    r0, r1 = tiles * rank // size, tiles * (rank + 1) // size
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
def update(x, gt, w, m, v, n_in, n_out, rows, hyper, more, count, stride, first, last, rank, size):
    """dW = x g^T, each tile of it applied to w, m, v by the optimizer while it is in registers.

    more, count, stride: gradients from `count` other processes, laid out like w and `stride` bytes apart, to be added.
    first, last: the panels of W to do; last 0: all.
    """
    tiles, in_pad, row_pad = (n_in + MR - 1) // MR, padded(n_in), whole_panels(rows)
    r0, r1 = tiles * rank // size, tiles * (rank + 1) // size
    jump = 4 * (NR * in_pad - NR + 1)
    for chunk in range(r0, r1, CHUNK):
        for q in range(first, last if last != 0 else (n_out + NR - 1) // NR):
            vectors = vectors_in(n_out - q * NR)
            for r in range(chunk, min(r1, chunk + CHUNK)):
                o = 4 * NR * (q * in_pad + r * MR)
                xr, gq = x + 4 * NR * r * MR, gt + 4 * NR * q * row_pad
                update_tile(vectors, rows, xr, jump, gq, w + o, m + o, v + o, hyper, more + o, count, stride)


@kernel
def update_bias(gt, bias, m, v, n_out, rows, hyper, more, count, stride, rank, size):
    """db = the sum of g over the batch, applied to bias, m, v by the optimizer; the rest as in update."""
    panels = (n_out + NR - 1) // NR
    for q in range(panels * rank // size, panels * (rank + 1) // size):
        o = 4 * NR * q
        vectors, gq = vectors_in(n_out - q * NR), gt + 4 * NR * q * whole_panels(rows)
        update_row(vectors, rows, gq, bias + o, m + o, v + o, hyper, more + o, count, stride)


@kernel
def apply(g, w, m, v, panels, hyper, rank, size):
    """The optimizer's step on w, m, v by the gradient g, each of `panels` times NR numbers."""
    for q in range(panels * rank // size, panels * (rank + 1) // size):
        o = 4 * NR * q
        update_row(VECTORS, 1, g + o, w + o, m + o, v + o, hyper, 0, 0, 0)
