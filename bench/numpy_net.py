"""A network as a careful student writes it in NumPy, to compare with: float32, BLAS products, in-place Adam."""

from itertools import pairwise

import numpy as np


class NumpyNet:
    """Linear layers with ReLU between, softmax with cross-entropy, Adam; sizes = (inputs, hidden..., classes)."""

    def __init__(self, sizes: list[int], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        pairs = list(pairwise(sizes))
        self.weights = [rng.standard_normal(pair, np.float32) * np.float32(np.sqrt(2 / pair[0])) for pair in pairs]
        self.biases = [np.zeros(n, np.float32) for _, n in pairs]
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self.weights + self.biases]
        self.t = 0

    def epoch(self, X: np.ndarray, Y: np.ndarray, order: np.ndarray, batch: int) -> float:
        """Train an epoch over X (N, D), float32, or uint8 that is divided by 255; returns the mean loss."""
        total = 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            x = X[rows] if X.dtype == np.float32 else X[rows] * np.float32(1 / 255)
            total += self.step(x, Y[rows]) * len(rows)
        return total / len(order)

    def step(self, x: np.ndarray, y: np.ndarray, step_size: float = 1e-3) -> float:
        activations = [x]
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = activations[-1] @ w
            z += b
            activations.append(np.maximum(z, 0, out=z) if i < len(self.weights) - 1 else z)
        z = activations.pop()
        z -= z.max(1, keepdims=True)
        e = np.exp(z)
        total = e.sum(1)
        at = np.arange(len(y)), y
        loss = float((np.log(total) - z[at]).mean())
        g = e / total[:, None]
        g[at] -= 1
        g *= np.float32(1 / len(y))
        gradients = [None] * len(self.moments)
        for i in range(len(self.weights) - 1, -1, -1):
            gradients[i] = activations[i].T @ g
            gradients[len(self.weights) + i] = g.sum(0)
            if i:
                g = g @ self.weights[i].T
                g *= activations[i] > 0
        self.t += 1
        rate = np.float32(step_size / (1 - 0.9**self.t))
        root = np.float32(1 / np.sqrt(1 - 0.999**self.t))
        for p, (m, v), d in zip(self.weights + self.biases, self.moments, gradients, strict=True):
            m += np.float32(0.1) * (d - m)
            d *= d
            v += np.float32(0.001) * (d - v)
            p -= rate * m / (np.sqrt(v) * root + np.float32(1e-8))
        return loss
