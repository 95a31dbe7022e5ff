"""The three products of a linear layer with bfloat16 operands and float32 sums; each thread does its share.

    forward   y  = W^T x   left W^T, right x      then bias and ReLU
    backward  dx = W g     left W,   right g      then the derivative of the activation
    update    dW = x g^T   left x,   right g^T    then the optimizer on float32 weights, rounded for the next forward

y and dx are float32 in panels, as in fastff.kernels.linear: what stands between two layers is the same there and here.
What is padding in an operand is zero (fastff.kernels.bfloat16), so it adds nothing.
"""

import numpy as np
from numba import types

from .bfloat16 import (
    BLOCK,
    amx_block,
    blocks,
    blocks_of_floats,
    form,
    product_block,
    round_weight_block,
    strip_of_product,
    unpacked,
)
from .cpu import BF16, LANES, MR, NR, VECTORS
from .emit import F32, I64, address, emits, i64
from .operation import operation
from .optimizer import HYPER, apply_rule, fetch_tiles
from .panels import BIAS, GRAM, WEIGHTS, batch, padded, takes
from .tile import sum_rows

# Blocks of k that stay in the first-level cache: half of it for the left operand, half for the right. Sums start anew
# with each KC of them, so emulation takes as many values for every size of blocks: its bits are to be the same.
KC = 384 // NR if BF16 == "emulated" else 16
CHUNK = 8  # rows of blocks of x that stay in the second-level cache while all columns of x x^T pass by


@emits(types.void, address, address, address, i64, i64)
def _finish_forward(e, sums, y, bias, rows, relu):
    """y = sums + bias, then ReLU if relu, for so many rows of a block."""
    low = e.splat(e.b.select(e.b.icmp_signed("!=", relu, I64(0)), F32(0.0), F32(float("-inf"))))
    with e.loop(rows) as i:
        offset, shift = e.b.mul(i, I64(4 * NR)), e.splat(e.load_scalar(e.at(bias, i)))
        for j in range(VECTORS):
            z = e.b.fadd(e.load(e.b.add(sums, offset), j * LANES), shift)
            # the larger, written so that a NaN in z passes
            e.store(e.select(">", low, z, low, z), e.b.add(y, offset), j * LANES)


@emits(types.void, address, address, address, i64, i64)
def _finish_backward(e, sums, dx, h, rows, masked):
    """dx = sums, 0 where not h > 0 if masked, for so many rows of a block."""
    zero, everywhere = e.const(0.0), e.splat(e.b.icmp_signed("==", masked, I64(0)))
    with e.loop(rows) as i:
        offset = e.b.mul(i, I64(4 * NR))
        for j in range(VECTORS):
            positive = e.b.fcmp_ordered(">", e.load(e.b.add(h, offset), j * LANES), zero)
            v = e.load(e.b.add(sums, offset), j * LANES)
            e.store(e.b.select(e.b.or_(positive, everywhere), v, zero), e.b.add(dx, offset), j * LANES)


@emits(types.void, i64, address, i64, address, address, address, address, address, i64, address)
def _update_block(e, k_blocks, x, jump, gt, w, m, v, sums, rows, hyper):
    """dW = x g^T for a block, and the optimizer's step on w, m, v by it, for so many rows, MR at a time.

    sums: room for the block where the product needs it in memory.
    """
    if BF16 == "amx":
        amx_block(e, k_blocks, x, jump, gt, sums, I64(0))
    with e.loop(e.b.udiv(rows, I64(MR))) as strip:
        offset = e.b.mul(strip, I64(4 * NR * MR))
        source, w_strip, m_strip, v_strip = (e.b.add(base, offset) for base in (sums, w, m, v))
        if BF16 == "amx":
            tile = [[e.load(source, i * NR + j * LANES) for j in range(VECTORS)] for i in range(MR)]
        else:
            fetch_tiles(e, (w_strip, m_strip, v_strip))
            tile = strip_of_product(e, k_blocks, x, jump, gt, strip)
        apply_rule(e, tile, w_strip, m_strip, v_strip, hyper, estimate=True)


@emits(types.void, i64, address, address, address, address, address)
def _update_row(e, words, gt, w, m, v, hyper):
    """db of NR outputs = the sum of so many rows of words of right g^T, and the optimizer's step by it."""
    sums = sum_rows(e, VECTORS, words, gt, lambda p, j: unpacked(e, e.load(p, j * LANES)))
    apply_rule(e, sums, w, m, v, hyper)


@operation
def forward(
    x: form("n_in"), y: batch("n_out"), left_t: form("n_in", "n_out"), bias: BIAS, n_in, n_out, relu,
    sums: form("n_out", dtype=np.float32), /, rows, thread, threads,
):  # fmt: skip
    """y = W^T x + bias, then ReLU if relu. sums: room for the blocks of y; a thread takes a contiguous share."""
    panels, tiles, k_blocks, out_pad = blocks(rows), blocks(n_out), blocks(n_in), padded(n_out)
    t0, t1 = tiles * panels * thread // threads, tiles * panels * (thread + 1) // threads
    jump = BLOCK * tiles
    for k in range(0, k_blocks, KC):
        for p in range(panels):
            for r in range((t0 - p + panels - 1) // panels, (t1 - p + panels - 1) // panels):
                block = sums + 2 * BLOCK * (p * tiles + r)
                right = x + BLOCK * (p * k_blocks + k)
                product_block(min(KC, k_blocks - k), left_t + BLOCK * (k * tiles + r), jump, right, block, k)
                if k + KC >= k_blocks:
                    n = r * NR
                    to = y + 4 * NR * (p * out_pad + n)
                    _finish_forward(block, to, bias + 4 * n, min(NR, out_pad - n), relu)


@operation
def backward(
    g: form("n_out"), dx: batch("n_in"), h: batch("n_in"), left: form("n_in", "n_out"), n_in, n_out, masked,
    sums: form("n_in", dtype=np.float32), /, rows, thread, threads,
):  # fmt: skip
    """dx = W g, zeroed where not h > 0 if masked. sums: room for the blocks of dx. A thread takes a share of inputs."""
    panels, tiles, k_blocks, in_pad = blocks(rows), blocks(n_in), blocks(n_out), padded(n_in)
    jump = BLOCK * tiles
    for k in range(0, k_blocks, KC):
        for p in range(panels):
            for r in range(tiles * thread // threads, tiles * (thread + 1) // threads):
                block = sums + 2 * BLOCK * (p * tiles + r)
                right = g + BLOCK * (p * k_blocks + k)
                product_block(min(KC, k_blocks - k), left + BLOCK * (k * tiles + r), jump, right, block, k)
                if k + KC >= k_blocks:
                    to = 4 * NR * (p * in_pad + r * NR)
                    _finish_backward(block, dx + to, h + to, min(NR, in_pad - r * NR), masked)


@operation
def update(
    x: form("n_in"), gt: form("n_out"), w: WEIGHTS, m: WEIGHTS, v: WEIGHTS, n_in, n_out,
    left: form("n_in", "n_out", optional=True), left_t: form("n_in", "n_out"), /, rows, hyper, thread, threads,
):  # fmt: skip
    """dW = x g^T, each block of it applied to w, m, v by the optimizer while it is in the cache, then rounded.

    left, left_t: as in round_weights.
    """
    tiles, row_blocks, in_pad = blocks(n_in), blocks(rows), padded(n_in)
    jump, sums = BLOCK * tiles, blocks_of_floats()
    for r in range(tiles * thread // threads, tiles * (thread + 1) // threads):
        for q in range(blocks(n_out)):
            o = 4 * NR * (q * in_pad + r * NR)
            inputs, right = min(NR, in_pad - r * NR), gt + BLOCK * q * row_blocks
            _update_block(row_blocks, x + BLOCK * r, jump, right, w + o, m + o, v + o, sums, inputs, hyper)
            round_weight_block(w, left, left_t, n_in, n_out, r, q)


@emits(types.void, address, address, i64)
def _add_to_gram(e, sums, out, rows):
    """out, doubles, += sums, for so many rows of a block."""
    with e.loop(rows) as i:
        source, to = e.b.add(sums, e.b.mul(i, I64(4 * NR))), e.b.add(out, e.b.mul(i, I64(8 * NR)))
        for j in range(VECTORS):
            e.add_doubles(e.load(source, j * LANES), to, j * LANES)


@operation
def gram(left: form("features"), right_t: form("features"), out: GRAM, features, /, rows, thread, threads):
    """out += x x^T: the blocks on the diagonal and right of it, as weights lie.

    left, right_t: as round_columns makes them. A thread takes rows of blocks to and fro, as the first are longest.
    """
    tiles, row_blocks, in_pad = blocks(features), blocks(rows), padded(features)
    jump, sums = BLOCK * tiles, blocks_of_floats()
    for chunk in range(0, tiles, CHUNK):
        if not takes(chunk // CHUNK, thread, threads):
            continue
        for q in range(chunk, tiles):
            for r in range(chunk, min(chunk + CHUNK, q + 1)):
                product_block(row_blocks, left + BLOCK * r, jump, right_t + BLOCK * q * row_blocks, sums, 0)
                to = out + 8 * NR * (q * in_pad + r * NR)
                _add_to_gram(sums, to, min(NR, in_pad - r * NR))


@operation
def update_bias(gt: form("n_out"), bias: BIAS, m: BIAS, v: BIAS, n_out, /, rows, hyper, thread, threads):
    """db = the sum of g over the batch, applied to bias, m, v by the optimizer."""
    tiles = blocks(n_out)
    for q in range(tiles * thread // threads, tiles * (thread + 1) // threads):
        o = 4 * NR * q
        row = gt + BLOCK * q * blocks(rows)
        _update_row(NR // 2 * blocks(rows), row, bias + o, m + o, v + o, hyper + 4 * HYPER)
