"""A right solution of the homework in a third style: an optimizer of its own, parameters in dictionaries."""

from __future__ import annotations

import os
import pickle as pkl
import sys
import time
from collections import defaultdict

import numpy as np

try:
    import matplotlib.pyplot as plt
except ImportError:
    plt = None

SEED = 7
gen = np.random.RandomState(SEED)
HP = {"lr": 5e-4, "b1": 0.9, "b2": 0.9, "wd": 1e-4, "eps": 1e-8, "bs": 50, "epochs": 6}


class Optimizer:
    def __init__(self, params: dict[str, np.ndarray]):
        self.state = {k: (np.zeros_like(v), np.zeros_like(v)) for k, v in params.items()}

    def update(self, params, grads, lr):
        for k, p in params.items():
            g = grads[k] + (HP["wd"] * p if k == "W" else 0)
            m, v = self.state[k]
            m *= HP["b1"]
            m += (1 - HP["b1"]) * g
            v *= HP["b2"]
            v += (1 - HP["b2"]) * np.power(g, 2)
            p -= lr * (m / (1 - HP["b1"])) / (np.sqrt(v / (1 - HP["b2"])) + HP["eps"])


class LinearLayer:
    def __init__(self, input_dim: int, output_dim: int) -> None:
        self.params = {"W": gen.normal(0, (2.0 / input_dim) ** 0.5, (input_dim, output_dim)), "b": np.zeros(output_dim)}
        self.grads: dict[str, np.ndarray] = {}
        self.opt = Optimizer(self.params)

    @property
    def weights(self):
        return self.params["W"]

    @property
    def bias(self):
        return self.params["b"]

    def forward(self, input):
        self._x = np.array(input)
        return np.add(np.dot(self._x, self.params["W"]), self.params["b"])

    def backward(self, grad):
        self.grads["W"] = np.dot(self._x.transpose(), grad)
        self.grads["b"] = np.einsum("ij->j", grad)
        return np.dot(grad, self.params["W"].transpose())

    def step(self, step_size=HP["lr"]):
        self.opt.update(self.params, self.grads, step_size)


class ReLU:
    def forward(self, input):
        self._neg = input <= 0
        out = np.array(input, copy=True)
        out[self._neg] = 0
        return out

    def backward(self, grad):
        g = np.array(grad, copy=True)
        g[self._neg] = 0
        return g

    def step(self, *_): ...


class CrossEntropySoftmax:
    def forward(self, logits, labels):
        y = np.zeros_like(logits)
        np.put_along_axis(y, labels.astype(int).reshape(-1, 1), 1, axis=1)
        z = logits - logits.max(-1)[:, None]
        logp = z - np.log(np.exp(z).sum(-1))[:, None]
        self._p, self._y = np.exp(logp), y
        return float(-(y * logp).sum() / y.shape[0])

    def backward(self):
        return (self._p - self._y) / self._y.shape[0]


class FeedForwardNeuralNetwork:
    def __init__(self, input_dim, output_dim, hidden_dim, num_layers):
        dims = [input_dim] + [hidden_dim] * (num_layers - 1) + [output_dim]
        self.stack: list = []
        for n, (a, b) in enumerate(zip(dims, dims[1:], strict=False)):
            if n:
                self.stack.append(ReLU())
            self.stack.append(LinearLayer(a, b))

    def __call__(self, X):
        for layer in self.stack:
            X = layer.forward(X)
        return X

    forward = __call__

    def backward(self, grad):
        for layer in self.stack[::-1]:
            grad = layer.backward(grad)
        return grad

    def step(self, step_size):
        [layer.step(step_size) for layer in self.stack]


def batches(X, Y, size, shuffle=False):
    idx = gen.permutation(len(X)) if shuffle else np.arange(len(X))
    for part in np.split(idx, range(size, len(X), size)):
        yield X[part], Y[part]


def evaluate(model, X_val, Y_val, batch_size) -> tuple[float, float]:
    tot = defaultdict(float)
    for x, y in batches(X_val, Y_val, batch_size):
        out = model(x)
        tot["n"] += len(x)
        tot["loss"] += CrossEntropySoftmax().forward(out, y) * len(x)
        tot["hit"] += (out.argmax(-1)[:, None] == y).sum()
    return tot["loss"] / tot["n"], tot["hit"] / tot["n"]


def load(which, root="./data"):
    with open(os.path.join(root, f"cifar10_hst_{which}"), "rb") as fh:
        d = pkl.load(fh)
    return d["images"].astype(np.float32), d["labels"]


def main():
    (xt, yt), (xv, yv), (xs, ys) = map(load, ("train", "val", "test"))
    mu, sd = xt.mean(0, keepdims=True), xt.std(0, keepdims=True) + 1e-5
    xt, xv, xs = [(q - mu) / sd for q in (xt, xv, xs)]
    net, crit = FeedForwardNeuralNetwork(xt.shape[-1], 3, 64, 3), CrossEntropySoftmax()
    t0, log = time.time(), []
    for ep in range(HP["epochs"]):
        for x, y in batches(xt, yt, HP["bs"], shuffle=True):
            log.append(crit.forward(net(x), y))
            net.backward(crit.backward())
            net.step(HP["lr"])
        print(ep, evaluate(net, xv, yv, HP["bs"]), time.time() - t0, file=sys.stderr)
    if plt:
        plt.plot(log)
        plt.savefig("loss.png")
    print(evaluate(net, xs, ys, HP["bs"]))


if __name__ == "__main__":
    main()
