"""A right solution of the homework in plain style. habits.py and faults.py are edits of its text."""

import logging
import pickle

import matplotlib.pyplot as plt
import numpy as np

logging.basicConfig(level=logging.INFO)


class CrossEntropySoftmax:
    def forward(self, logits, labels):
        shifted = logits - np.max(logits, axis=1, keepdims=True)
        exps = np.exp(shifted)
        total = np.sum(exps, axis=1, keepdims=True)
        self.probabilities = exps / total
        self.labels = labels.reshape(-1)
        rows = np.arange(len(self.labels))
        losses = np.log(total[:, 0]) - shifted[rows, self.labels]
        return np.mean(losses)

    def backward(self):
        grad = self.probabilities.copy()
        grad[np.arange(len(self.labels)), self.labels] -= 1
        return grad / len(self.labels)


class ReLU:
    def forward(self, input):
        self.mask = input > 0
        return np.maximum(input, 0)

    def backward(self, grad):
        return grad * self.mask

    def step(self, step_size):
        return


class LinearLayer:
    def __init__(self, input_dim, output_dim):
        self.weights = np.random.randn(input_dim, output_dim) * np.sqrt(2 / input_dim)
        self.bias = np.zeros((1, output_dim))
        self.beta = 0.9
        self.epsilon = 1e-8
        self.decay = 1e-4
        self.m_weights = np.zeros_like(self.weights)
        self.v_weights = np.zeros_like(self.weights)
        self.m_bias = np.zeros_like(self.bias)
        self.v_bias = np.zeros_like(self.bias)

    def forward(self, input):
        self.input = input
        return input @ self.weights + self.bias

    def backward(self, grad):
        self.grad_weights = self.input.T @ grad
        self.grad_bias = np.sum(grad, axis=0, keepdims=True)
        return grad @ self.weights.T

    def step(self, step_size):
        g = self.grad_weights + self.decay * self.weights
        self.m_weights = self.beta * self.m_weights + (1 - self.beta) * g
        self.v_weights = self.beta * self.v_weights + (1 - self.beta) * g**2
        m_hat = self.m_weights / (1 - self.beta)
        v_hat = self.v_weights / (1 - self.beta)
        self.weights = self.weights - step_size * m_hat / (np.sqrt(v_hat) + self.epsilon)
        h = self.grad_bias
        self.m_bias = self.beta * self.m_bias + (1 - self.beta) * h
        self.v_bias = self.beta * self.v_bias + (1 - self.beta) * h**2
        m_hat = self.m_bias / (1 - self.beta)
        v_hat = self.v_bias / (1 - self.beta)
        self.bias = self.bias - step_size * m_hat / (np.sqrt(v_hat) + self.epsilon)


def evaluate(model, X_val, Y_val, batch_size):
    criterion = CrossEntropySoftmax()
    loss = 0
    correct = 0
    n = X_val.shape[0]
    for start in range(0, n, batch_size):
        X, Y = X_val[start : start + batch_size], Y_val[start : start + batch_size]
        logits = model.forward(X)
        loss += criterion.forward(logits, Y) * len(X)
        correct += np.sum(np.argmax(logits, axis=1) == Y.reshape(-1))
    return loss / n, correct / n


def main():
    batch_size = 64
    max_epochs = 20
    step_size = 0.001
    X_train, Y_train, X_val, Y_val, X_test, Y_test = load_data()
    mean, std = X_train.mean(axis=0), X_train.std(axis=0) + 1e-6
    X_train, X_val, X_test = (X_train - mean) / std, (X_val - mean) / std, (X_test - mean) / std
    net = FeedForwardNeuralNetwork(X_train.shape[1], 3, 32, 2)
    criterion = CrossEntropySoftmax()
    losses = []
    for epoch in range(max_epochs):
        order = np.random.permutation(len(X_train))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            X, Y = X_train[rows], Y_train[rows]
            logits = net.forward(X)
            loss = criterion.forward(logits, Y)
            net.backward(criterion.backward())
            net.step(step_size)
            losses.append(loss)
        val_loss, val_accuracy = evaluate(net, X_val, Y_val, batch_size)
        logging.info("epoch %d: %.4f %.4f", epoch, val_loss, val_accuracy)
    plt.plot(losses)
    plt.show()
    print(evaluate(net, X_test, Y_test, batch_size))


class FeedForwardNeuralNetwork:
    def __init__(self, input_dim, output_dim, hidden_dim, num_layers):
        if num_layers == 1:
            self.layers = [LinearLayer(input_dim, output_dim)]
        else:
            self.layers = [LinearLayer(input_dim, hidden_dim), ReLU()]
            for _ in range(num_layers - 2):
                self.layers.append(LinearLayer(hidden_dim, hidden_dim))
                self.layers.append(ReLU())
            self.layers.append(LinearLayer(hidden_dim, output_dim))

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


def load_data():
    sets = []
    for split in ("train", "val", "test"):
        with open("cifar10_hst_" + split, "rb") as file:
            data = pickle.load(file)
        sets += [data["images"], data["labels"]]
    return sets


if __name__ == "__main__":
    main()
