"""The hot paths: Numba kernels over plain memory, no allocation, no Python objects. Imports NumPy and Numba only.

target     which vectors the CPU has            linear     forward, backward and update of a linear layer
compiler   flags and the cache of machine code  pointwise  activations and dropout
vector     words of vector code                 softmax    softmax with cross-entropy
tile       the register tile                    spmd       a program of these, run by several ranks
lanes      rows to panels of lanes and back    targets    losses against a target an output

bfloat16   rounding, and the operands' forms   linear16   linear's products of bfloat16 operands
product16  the product, by each CPU's means    spmd16     programs with these, compiled where they are used
"""
