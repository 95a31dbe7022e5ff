"""The hot paths: Numba kernels over plain memory, without allocation or Python objects.

In the order in which a batch meets them:

cpu        which vectors, tile shape and bfloat16 this CPU has
compiler   how kernels are compiled                           cache      where machine code is kept
emit       words for vector code: loads, stores, atomics, transposes
operation  what a program consists of: a kernel whose signature is its declaration
run        the driver that runs a program on several threads  system     what it asks of the operating system
team       how these wait for one another, and how many take part
panels     how matrices lie in memory; gather, scatter, transpose
encoding   piecewise-linear functions of a feature
linear     forward, backward and update of a linear layer     tile       the register tile that these are
optimizer  Adam and SGD applied to a tile                     pointwise  activations and their slopes
clipping   gradients scaled by their norm                     averaging  moving averages of the weights
random     dropout                                            losses     cross-entropy and losses of target values
pictures   pictures mirrored, moved, rotated and so on at random

linear16, bfloat16   the products in bfloat16
files                rows read from files                     processes  what several processes add
symmetric            eigenvectors and Cholesky factors of small matrices
"""
