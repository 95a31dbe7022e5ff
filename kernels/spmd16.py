"""Programs whose products are of bfloat16: fastff.kernels.spmd with some operations more, compiled only where used."""

from .bfloat16 import gather, round_gradient, round_input, round_weights
from .compiler import cached, kernel
from .linear16 import backward, forward, update, update_bias
from .pointwise import RELU
from .product16 import begin_products, end_products
from .spmd import GATHER, HYPER, operate, stepper
from .vector import flush_subnormals, restore_subnormals

# GATHER, as in spmd: data, dtype, row stride, stride, mean, scale, features, x left, own index, x right or 0 for floats
FORWARD = 101  # x right, y, W^T left, bias, in, out, activation, sums
BACKWARD = 102  # g right, dx, h, W left, in, out, activation that made h, sums
UPDATE = 103  # x left, g^T right, weights, m, v, in, out, W left or 0, W^T left
UPDATE_BIAS = 104  # g^T right, bias, m, v, out
ROUND_WEIGHTS = 105  # weights, W left or 0, W^T left, in, out
ROUND_INPUT = 106  # x, x left, x right, features
ROUND_GRADIENT = 107  # g, g right, g^T right, features


@kernel
def _operate(op, index, epoch, step, first, rows, hyper, rank, size):
    code = op[0]
    a0, a1, a2, a3, a4, a5, a6, a7, a8 = op[2], op[3], op[4], op[5], op[6], op[7], op[8], op[9], op[10]
    if code == FORWARD:
        forward(a0, a1, a2, a3, a4, a5, rows, a6 == RELU, a7, rank, size)
    elif code == BACKWARD:
        backward(a0, a1, a2, a3, a4, a5, rows, a6 == RELU, a7, rank, size)
    elif code == UPDATE:
        update(a0, a1, a2, a3, a4, a5, a6, rows, a7, a8, hyper, rank, size)
    elif code == UPDATE_BIAS:
        update_bias(a0, a1, a2, a3, a4, rows, hyper + 4 * HYPER, rank, size)
    elif code == ROUND_WEIGHTS:
        round_weights(a0, a1, a2, a3, a4, rank, size)
    elif code == ROUND_INPUT:
        round_input(a0, a1, a2, a3, rows, rank, size)
    elif code == ROUND_GRADIENT:
        round_gradient(a0, a1, a2, a3, rows, rank, size)
    elif code == GATHER and op[11] != 0:
        gather(a0, a1, a2, a3, a8 if a8 != 0 else index, rows, a4, a5, a6, a7, op[11], rank, size)
    else:
        operate(op, index, epoch, step, first, rows, hyper, rank, size)


_run_steps = stepper("steps16", _operate)


@cached
def run(tiles, rank, size, control, program, index, total, batch, first_step, last_step, hyper, losses, hits):
    """spmd.run, for these operations too. tiles: the address of product16.TILES."""
    mode = flush_subnormals()
    begin_products(tiles)
    _run_steps(rank, size, control, program, index, total, batch, first_step, last_step, hyper, losses, hits)
    end_products()
    restore_subnormals(mode)
