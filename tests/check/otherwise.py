"""A right solution of the homework in another style than homework.py."""

import argparse
import os
import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

rng = np.random.default_rng(42)
np.set_printoptions(precision=3)
DATA = Path("~/Downloads/data").expanduser()
CONFIG = {"lr": 1e-3, "epochs": 15, "batch": 100}


class Layer(ABC):
    @abstractmethod
    def forward(self, x): ...

    @abstractmethod
    def backward(self, grad): ...

    def __call__(self, x):
        return self.forward(x)

    def step(self, lr=0.01):
        pass


@dataclass
class AdamState:
    shape: tuple
    beta: float = 0.9
    eps: float = 1e-7
    m: np.ndarray = field(init=False)
    v: np.ndarray = field(init=False)

    def __post_init__(self):
        self.m, self.v = np.zeros(self.shape), np.zeros(self.shape)

    def delta(self, g):
        self.m += (1 - self.beta) * (g - self.m)
        self.v += (1 - self.beta) * (np.square(g) - self.v)
        return self.m / (1 - self.beta) / (np.sqrt(self.v / (1 - self.beta)) + self.eps)


class LinearLayer(Layer):
    def __init__(self, input_dim, output_dim, wd=1e-3):
        limit = np.sqrt(6 / (input_dim + output_dim))
        self.W = rng.uniform(-limit, limit, size=(input_dim, output_dim))
        self.b = np.zeros(output_dim)
        self.wd = wd
        self.opt = {"W": AdamState(self.W.shape), "b": AdamState(self.b.shape)}
        self.cache = None

    def forward(self, x):
        self.cache = x
        return np.einsum("bi,io->bo", x, self.W) + self.b

    def backward(self, grad):
        self.grad_weights = np.einsum("bi,bo->io", self.cache, grad)
        self.grad_bias = grad.sum(0)
        return grad.dot(self.W.T)

    def step(self, lr=0.01):
        self.W -= lr * self.opt["W"].delta(self.grad_weights + self.wd * self.W)
        self.b -= lr * self.opt["b"].delta(self.grad_bias)


class ReLU(Layer):
    def forward(self, x):
        self.out = np.where(x > 0, x, 0.0)
        return self.out

    def backward(self, grad):
        return np.where(self.out > 0, grad, 0.0)


class CrossEntropySoftmax:
    def forward(self, logits, labels):
        labels = np.asarray(labels).ravel().astype(int)
        self.p = self.softmax(logits)
        self.t = np.eye(logits.shape[1])[labels]
        m = logits.max(axis=1)
        lse = m + np.log(np.exp(logits - m[:, None]).sum(axis=1))
        return float((lse - logits[range(len(labels)), labels]).mean())

    @staticmethod
    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def backward(self):
        return (self.p - self.t) / self.p.shape[0]


class FeedForwardNeuralNetwork:
    def __init__(self, input_dim, output_dim, hidden_dim, num_layers):
        dims = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = []
        for i, (a, b) in enumerate(zip(dims[:-1], dims[1:], strict=True)):
            self.layers += [LinearLayer(a, b)] + ([ReLU()] if i < num_layers - 1 else [])

    def forward(self, X):
        out = X
        for layer in self.layers:
            out = layer(out)
        return out

    __call__ = forward

    def backward(self, grad):
        for layer in self.layers[::-1]:
            grad = layer.backward(grad)
        return grad

    def step(self, step_size=0.001):
        [layer.step(step_size) for layer in self.layers]

    def predict(self, X):
        return self(X).argmax(axis=1)


def batches(X, Y, size, shuffle=True):
    idx = rng.permutation(len(X)) if shuffle else np.arange(len(X))
    for i in range(0, len(X), size):
        yield X[idx[i : i + size]], Y[idx[i : i + size]]


def evaluate(model, X_val, Y_val, batch_size):
    losses, hits, sizes = [], [], []
    for x, y in batches(X_val, Y_val, batch_size, shuffle=False):
        out = model(x)
        losses.append(CrossEntropySoftmax().forward(out, y))
        hits.append(np.mean(out.argmax(axis=1).reshape(-1, 1) == y.reshape(-1, 1)))
        sizes.append(len(x))
    return np.average(losses, weights=sizes), np.average(hits, weights=sizes)


def load(split):
    with open(os.path.join(DATA, f"cifar10_hst_{split}"), "rb") as f:
        d = pickle.load(f)
    return d["images"].astype(np.float32), d["labels"]


def train(net, train_set, val_set, epochs, lr, batch):
    loss_fn = CrossEntropySoftmax()
    best = 0
    for epoch in range(epochs):
        total = 0
        for x, y in batches(*train_set, batch):
            total += loss_fn.forward(net(x), y) * len(x)
            net.backward(loss_fn.backward())
            net.step(step_size=lr)
        vl, va = evaluate(net, *val_set, batch)
        best = max(best, va)
        print(f"{epoch}: {total / len(train_set[0]):.3f} {vl:.3f} {va:.1%}")
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=64)
    args = parser.parse_args()
    x, y = load("train")
    mu, sd = x.mean(), x.std()
    xv, yv = load("val")
    x, xv = (x - mu) / sd, (xv - mu) / sd
    net = FeedForwardNeuralNetwork(x.shape[1], 3, args.hidden, 3)
    train(net, (x, y), (xv, yv), CONFIG["epochs"], CONFIG["lr"], CONFIG["batch"])


if __name__ == "__main__":
    main()
