"""Section B of docs/derivations.md: the gradients of linear layers, of the L2 penalty and of activations.

A test's docstring opens with the section it checks. Tests named test_fastff_* compare fastff with the document's
formula; the others check the formula itself, in float64 NumPy. ReLU has no complex derivative (it is not analytic):
it takes central differences.
"""

import numpy as np
import pytest
from derivations import EXP, U64, U, close, complex_step, generator, single

import fastff


def layer_case(rng, rows, inputs, outputs):
    """X, W, b and an upstream gradient G."""
    shapes = (rows, inputs), (inputs, outputs), (1, outputs), (rows, outputs)
    return [single(rng.normal(size=shape)) for shape in shapes]


def check_linear_formulas(X, W, b, G, dW, db, dX):
    """Compare with the complex step on L = sum(G * (X W + b)), whose gradient with respect to Y is G."""
    # Each result is a sum of at most n products of two numbers below 5: n roundings of a sum of at most 25 n.
    n = max(X.size, W.size)
    tolerance = 25 * n * n * U64
    close(dW, complex_step(lambda W: (G * (X @ W + b)).sum(), W), tolerance)
    close(db, complex_step(lambda b: (G * (X @ W + b)).sum(), b), tolerance)
    close(dX, complex_step(lambda X: (G * (X @ W + b)).sum(), X), tolerance)


def test_linear_layer_one_example():
    """B1: dW = x^T g, db = g, dx = g W^T for one row."""
    x, W, b, g = layer_case(generator(), 1, 4, 3)
    check_linear_formulas(x, W, b, g, np.outer(x, g), g, g @ W.T)


def test_linear_layer_batch():
    """B2: dW = X^T G, db = 1 G, dX = G W^T, sums over the single rows."""
    X, W, b, G = layer_case(generator(), 5, 4, 3)
    check_linear_formulas(X, W, b, G, X.T @ G, G.sum(axis=0, keepdims=True), G @ W.T)
    close(X.T @ G, sum(np.outer(x, g) for x, g in zip(X, G, strict=True)), 2 * 25 * 5 * 5 * U64)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (1, 7, 3), (5, 7, 3), (33, 65, 17), (64, 32, 32)])
def test_fastff_linear_layer(rows, inputs, outputs):
    """B2: forward X W + b and the three gradients of fastff's layer."""
    X, W, b, G = layer_case(generator(), rows, inputs, outputs)
    layer = fastff.LinearLayer(inputs, outputs, seed=0)
    layer.weights, layer.bias = W.astype(np.float32), b.astype(np.float32)
    # A float32 sum of n products, in any order, errs by at most (n + 1) U times the sum of their sizes, to first order.
    output = layer.forward(X.astype(np.float32))
    close(output, X @ W + b, (inputs + 2) * U * (np.abs(X) @ np.abs(W) + np.abs(b)))
    dX = layer.backward(G.astype(np.float32))
    close(dX, G @ W.T, (outputs + 1) * U * (np.abs(G) @ np.abs(W.T)))
    close(layer.grad_weights, X.T @ G, (rows + 1) * U * (np.abs(X.T) @ np.abs(G)))
    close(layer.grad_bias, G.sum(axis=0, keepdims=True), (rows + 1) * U * np.abs(G).sum(axis=0, keepdims=True))


def test_l2_on_weights_only():
    """B3: the penalty adds lambda W to dW and nothing to db."""
    X, W, b, G = layer_case(generator(), 5, 4, 3)
    decay = 0.3

    def penalised(W, b):
        return (G * (X @ W + b)).sum() + decay / 2 * (W**2).sum()

    tolerance = 25 * 20 * 20 * U64  # as in check_linear_formulas
    close(complex_step(lambda W: penalised(W, b), W), X.T @ G + decay * W, tolerance)
    close(complex_step(lambda b: penalised(W, b), b), G.sum(axis=0, keepdims=True), tolerance)


ACTIVATIONS = {  # name: the function, and its derivative from its output
    "ReLU": (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(np.float64)),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "Tanh": (lambda x: np.sinh(x) / np.cosh(x), lambda y: 1 - y**2),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gradients(name):
    """B4: dX = G * f'(X), with f' from the output."""
    function, derivative = ACTIVATIONS[name]
    X, _, _, G = layer_case(generator(), 6, 5, 5)
    expected = G * derivative(function(X))
    if name == "ReLU":
        # f is linear on both sides of 0 and no entry is nearer to 0 than h: central differences have no truncation
        # error, only that of rounding x + h and x - h, (|x| + h) U64 each, over 2 h; the quotient and G round too.
        h = 1e-3
        assert np.abs(X).min() > h
        differences = G * (function(X + h) - function(X - h)) / (2 * h)
        close(differences, expected, np.abs(G) * (2 * (np.abs(X) + h) * U64 / (2 * h) + 4 * U64))
    else:
        # The derivative is a difference of two terms up to 1, each with a few functions' roundings; the sum's other
        # entries have no imaginary part and add nothing.
        step = complex_step(lambda X: (G * function(X)).sum(), X)
        close(step, expected, 4 * EXP * np.abs(G) * U64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_fastff_activations(name):
    """B4: fastff's activations, forward and backward, far from 0 and at 0 exactly (ReLU's slope there is 0)."""
    function, derivative = ACTIVATIONS[name]
    X, _, _, G = layer_case(generator(), 6, 5, 5)
    X[0] = [0, 2.0**-20, -(2.0**-20), 20, -20]
    layer = getattr(fastff, name)()
    Y = function(X)
    # ReLU rounds nothing. The others err by EXP roundings of a y up to 1, which f' doubles at most and rounds twice;
    # the product with G rounds once.
    rounding = 0 if name == "ReLU" else U
    close(layer.forward(X.astype(np.float32)), Y, EXP * rounding)
    close(layer.backward(G.astype(np.float32)), G * derivative(Y), (2 * EXP + 3) * rounding * np.abs(G))
