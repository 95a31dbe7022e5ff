"""
The homework in one page
========================

A feed-forward network from its layers, trained as it should be::

    python examples/homework.py             the digits inside fastff, in seconds
    python examples/homework.py FOLDER      the course's files in FOLDER: cifar10_hst_train, _val and _test

The layers are fastff's. A class of your own with the same methods takes the place of any of them, and the loop stays.
"""

import sys

import matplotlib

matplotlib.use("Agg")  # pictures go to files, also where there is no screen
import matplotlib.pyplot as plt
import numpy as np

from fastff import Adam, CrossEntropySoftmax, LinearLayer, ReLU, evaluate, load_dataset


class Network:
    """Linear layers with a ReLU after each but the last, and the course's Adam for all of them (Q4, Q5)."""

    def __init__(self, widths, seed):
        self.layers = []
        for i in range(len(widths) - 1):
            linear = LinearLayer(widths[i], widths[i + 1], seed=seed + i)  # He's initial weights, a bias of zeros
            linear.optimizer = Adam.course(beta=0.9, weight_decay=1e-4)  # equations 13 to 17
            self.layers += [linear, ReLU()]
        self.layers.pop()  # the last linear layer gives the logits

    def forward(self, X):
        for layer in self.layers:
            X = layer.forward(X)
        return X

    def backward(self, grad):
        for layer in reversed(self.layers):
            grad = layer.backward(grad)

    def step(self, step_size):
        for layer in self.layers:
            layer.step(step_size)

    def parameters(self):
        """Copies of all weights and biases, to go back to."""
        return [(layer.weights.copy(), layer.bias.copy()) for layer in self.layers[::2]]

    def set_parameters(self, parameters):
        for layer, (weights, bias) in zip(self.layers[::2], parameters, strict=True):
            layer.weights, layer.bias = weights, bias


def train(network, X_train, Y_train, X_val, Y_val, epochs, batch_size, step_size, seed):
    """Train, go back to the best epoch's weights; returns the loss of each batch and each epoch's validation (Q6)."""
    criterion, rng = CrossEntropySoftmax(), np.random.default_rng(seed)
    losses, validation, best = [], [], None
    for epoch in range(epochs):
        order = rng.permutation(len(X_train))  # rows and labels in the same new order, each row once
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]  # the last batch may be smaller
            logits = network.forward(X_train[rows])
            losses.append(criterion.forward(logits, Y_train[rows]))  # the mean over the batch
            network.backward(criterion.backward())
            network.step(step_size)
        validation.append(evaluate(network, X_val, Y_val, batch_size))  # exact over all rows
        if best is None or validation[-1][1] > best[0]:
            best = validation[-1][1], network.parameters()
        print(f"epoch {epoch + 1}: validation loss {validation[-1][0]:.3f}, accuracy {validation[-1][1]:.1%}")
    network.set_parameters(best[1])
    return losses, validation


def main(folder=None):
    data = load_dataset(folder or "digits")
    hidden, epochs, step_size = ([256, 256], 10, 1e-4) if folder else ([64], 20, 1e-3)
    mean, std = data.x_train.mean(0), data.x_train.std(0)  # of the training rows alone
    std[std < 1e-2 * std.max()] = 1  # a pixel that never changes stays 0
    X_train, X_val, X_test = ((X - mean) / std for X in (data.x_train, data.x_val, data.x_test))

    network = Network([X_train.shape[1], *hidden, len(data.class_names)], seed=0)
    losses, validation = train(network, X_train, data.y_train, X_val, data.y_val, epochs, 64, step_size, seed=0)
    loss, accuracy = evaluate(network, X_test, data.y_test, 64)  # once, at the very end
    print(f"test loss {loss:.3f}, accuracy {accuracy:.1%}")

    ends = np.arange(1, epochs + 1) * (len(losses) / epochs)
    plt.plot(losses, linewidth=0.5, label="training batches")
    plt.plot(ends, [loss for loss, _ in validation], "o-", label="validation")
    plt.xlabel("batches")
    plt.ylabel("loss")
    plt.legend()
    plt.savefig("homework.png")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
