"""Right solutions in other habits than homework.py's, as edits of its text: (name, edits). None may be called wrong."""

from faults import ADAM_BIAS, ADAM_WEIGHTS

INIT = "np.random.randn(input_dim, output_dim) * np.sqrt(2 / input_dim)"
MOMENTS = """        self.m_weights = np.zeros_like(self.weights)
        self.v_weights = np.zeros_like(self.weights)
        self.m_bias = np.zeros_like(self.bias)
        self.v_bias = np.zeros_like(self.bias)
"""
STEP_START = "    def step(self, step_size):\n        g = self.grad_weights + self.decay * self.weights\n"
LAYER_STEPS = "    def step(self, step_size):\n        for layer in self.layers:\n            layer.step(step_size)\n"
LOSS_BODY = """        shifted = logits - np.max(logits, axis=1, keepdims=True)
        exps = np.exp(shifted)
        total = np.sum(exps, axis=1, keepdims=True)
        self.probabilities = exps / total
        self.labels = labels.reshape(-1)
        rows = np.arange(len(self.labels))
        losses = np.log(total[:, 0]) - shifted[rows, self.labels]
        return np.mean(losses)
"""
SOFTMAX = """def softmax(scores):
    exps = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


class CrossEntropySoftmax:
"""
FLAT = ('sets += [data["images"], data["labels"]]', 'sets += [data["images"], data["labels"].flatten()]')

HABITS = [
    ("plain",),
    ("other names", ("self.weights", "self.W"), ("self.bias", "self.b"), ("self.grad_weights", "self.dW"), ("self.grad_bias", "self.db")),
    ("parameters in a dict", ("self.weights", "self.params['W']"), ("self.bias", "self.params['b']"),
     ("        self.params['W'] = np.random", "        self.params = {}\n        self.params['W'] = np.random")),
    ("float32", (INIT, f"({INIT}).astype(np.float32)"), ("np.zeros((1, output_dim))", "np.zeros((1, output_dim), np.float32)"),
     ("        self.input = input\n", "        input = input.astype(np.float32)\n        self.input = input\n")),
    ("bias (out,)", ("np.zeros((1, output_dim))", "np.zeros(output_dim)"), ("axis=0, keepdims=True)\n        return grad @", "axis=0)\n        return grad @")),
    ("settings of the file", ("class LinearLayer:\n", "BETA, LAMBDA = 0.95, 5e-4\n\n\nclass LinearLayer:\n"), ("self.beta = 0.9", "self.beta = BETA"),
     ("self.decay = 1e-4", "self.decay = LAMBDA")),
    ("averages in a dict of the file", ("class LinearLayer:\n", "AVERAGES = {}\n\n\nclass LinearLayer:\n"), (MOMENTS, ""),
     (STEP_START, STEP_START + "        self.m_weights, self.v_weights, self.m_bias, self.v_bias = AVERAGES.get(self, (0, 0, 0, 0))\n"),
     (ADAM_BIAS, ADAM_BIAS + "        AVERAGES[self] = self.m_weights, self.v_weights, self.m_bias, self.v_bias\n")),
    ("in place", ("self.weights = self.weights - step_size", "self.weights -= step_size"), ("self.bias = self.bias - step_size", "self.bias -= step_size"),
     ("        return np.maximum(input, 0)", "        input[input < 0] = 0\n        return input"),
     ("        return grad * self.mask", "        grad *= self.mask\n        return grad"),
     ("grad = self.probabilities.copy()", "grad = self.probabilities"),
     ("self.m_weights = self.beta * self.m_weights + (1 - self.beta) * g", "self.m_weights *= self.beta\n        self.m_weights += (1 - self.beta) * g"),
     ("g = self.grad_weights + self.decay * self.weights", "self.grad_weights += self.decay * self.weights\n        g = self.grad_weights")),
    ("labels (N,)", FLAT, ("self.labels = labels.reshape(-1)", "self.labels = labels"), ("== Y.reshape(-1)", "== Y")),
    ("flat labels, a loss that takes both", FLAT, ("== Y.reshape(-1)", "== Y")),
    ("one-hot labels", ('sets += [data["images"], data["labels"]]', 'sets += [data["images"], np.eye(3)[data["labels"][:, 0]]]'),
     ("self.labels = labels.reshape(-1)", "self.labels = labels.argmax(axis=1)"), ("== Y.reshape(-1)", "== Y.argmax(axis=1)")),
    ("one-hot labels inside", (LOSS_BODY, """        shifted = logits - np.max(logits, axis=1, keepdims=True)
        self.P = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        self.T = np.zeros_like(logits)
        for i in range(len(labels)):
            self.T[i, int(labels[i, 0])] = 1
        return (np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - (shifted * self.T).sum(axis=1, keepdims=True)).mean()
"""), ("""        grad = self.probabilities.copy()
        grad[np.arange(len(self.labels)), self.labels] -= 1
        return grad / len(self.labels)
""", "        return (self.P - self.T) / self.P.shape[0]\n")),
    ("probabilities", ("class CrossEntropySoftmax:\n", SOFTMAX), (LOSS_BODY, """        self.probabilities = logits
        self.labels = labels.reshape(-1)
        return -np.mean(np.log(logits[np.arange(len(logits)), self.labels]))
"""), ("logits = net.forward(X)", "logits = softmax(net.forward(X))"), ("logits = model.forward(X)", "logits = softmax(model.forward(X))")),
    ("a small number in the logarithm", ("np.log(total[:, 0]) - shifted[rows, self.labels]", "-np.log(self.probabilities[rows, self.labels] + 1e-12)")),
    ("the sum, said so", ("        return np.mean(losses)", "        # The sum over the batch; the mean is taken in evaluate.\n        return np.sum(losses)"),
     ("return grad / len(self.labels)", "return grad"), ("criterion.forward(logits, Y) * len(X)", "criterion.forward(logits, Y)")),
    ("divided in the layer", ("return grad / len(self.labels)", "return grad"), ("self.input.T @ grad", "self.input.T @ grad / len(grad)"),
     ("np.sum(grad, axis=0, keepdims=True)", "np.mean(grad, axis=0, keepdims=True)")),
    ("arguments of backward", ("    def backward(self):\n", "    def backward(self, logits, labels):\n"), ("criterion.backward()", "criterion.backward(logits, Y)")),
    ("standard Adam", (MOMENTS, MOMENTS + "        self.t = 0\n"), (STEP_START, STEP_START + "        self.t += 1\n"), ("(1 - self.beta)\n", "(1 - self.beta**self.t)\n")),
    ("a count given to step", ("    def step(self, step_size):\n", "    def step(self, step_size, t):\n"), ("layer.step(step_size)", "layer.step(step_size, t)"),
     ("net.step(step_size)", "net.step(step_size, epoch + 1)"), ("(1 - self.beta)\n", "(1 - self.beta**t)\n")),
    ("settings given to step", ("    def step(self, step_size):\n", "    def step(self, step_size, beta, lam):\n"), ("layer.step(step_size)", "layer.step(step_size, beta, lam)"),
     ("net.step(step_size)", "net.step(step_size, 0.9, 1e-4)"), ("self.beta * ", "beta * "), ("(1 - self.beta)", "(1 - beta)"), ("self.decay * ", "lam * ")),
    ("averages from the first step on", (MOMENTS, "        self.m_weights = None\n"), (STEP_START, STEP_START +
     "        if self.m_weights is None:\n            self.m_weights, self.v_weights, self.m_bias, self.v_bias = 0, 0, 0, 0\n")),
    ("averages that start at 1", (MOMENTS, MOMENTS.replace("zeros", "ones"))),
    ("decay in backward", ("self.input.T @ grad", "self.input.T @ grad + self.decay * self.weights"), ("g = self.grad_weights + self.decay * self.weights", "g = self.grad_weights")),
    ("weights (out, in)", (INIT, "np.random.randn(output_dim, input_dim) * np.sqrt(2 / input_dim)"), ("input @ self.weights", "input @ self.weights.T"),
     ("self.input.T @ grad", "grad.T @ self.input"), ("grad @ self.weights.T", "grad @ self.weights")),
    ("columns are examples", (INIT, "np.random.randn(output_dim, input_dim) * np.sqrt(2 / input_dim)"), ("np.zeros((1, output_dim))", "np.zeros((output_dim, 1))"),
     ("input @ self.weights", "self.weights @ input"), ("self.input.T @ grad", "grad @ self.input.T"), ("np.sum(grad, axis=0,", "np.sum(grad, axis=1,"),
     ("grad @ self.weights.T", "self.weights.T @ grad"),
     (LOSS_BODY, """        shifted = logits - np.max(logits, axis=0, keepdims=True)
        exps = np.exp(shifted)
        self.probabilities = exps / np.sum(exps, axis=0, keepdims=True)
        self.labels = labels.reshape(-1)
        columns = np.arange(len(self.labels))
        return np.mean(np.log(np.sum(exps, axis=0)) - shifted[self.labels, columns])
"""), ("grad[np.arange(len(self.labels)), self.labels] -= 1", "grad[self.labels, np.arange(len(self.labels))] -= 1"),
     ("n = X_val.shape[0]", "n = X_val.shape[1]"),
     ("X_val[start : start + batch_size], Y_val[start : start + batch_size]", "X_val[:, start : start + batch_size], Y_val[:, start : start + batch_size]"),
     ("* len(X)", "* X.shape[1]"), ("np.argmax(logits, axis=1)", "np.argmax(logits, axis=0)"),
     ('sets += [data["images"], data["labels"]]', 'sets += [data["images"].T, data["labels"].T]'),
     ("X_train.mean(axis=0), X_train.std(axis=0)", "X_train.mean(axis=1, keepdims=True), X_train.std(axis=1, keepdims=True)"),
     ("X_train.shape[1]", "X_train.shape[0]"), ("np.random.permutation(len(X_train))", "np.random.permutation(X_train.shape[1])"),
     ("X, Y = X_train[rows], Y_train[rows]", "X, Y = X_train[:, rows], Y_train[:, rows]")),
    ("loops", ("self.input.T @ grad", "sum(np.outer(x, g) for x, g in zip(self.input, grad))"), ("np.sum(grad, axis=0, keepdims=True)", "np.array([sum(grad)])")),
    ("another initialisation", (INIT, "np.random.uniform(-1, 1, (input_dim, output_dim)) / np.sqrt(input_dim)"), ("np.zeros((1, output_dim))", "0.01 * np.random.randn(1, output_dim)")),
    ("small weights", (INIT, "0.01 * np.random.randn(input_dim, output_dim)")),
    ("shuffled in place, equal batches", ("        order = np.random.permutation(len(X_train))\n        for start in range(0, len(order), batch_size):\n            rows = order[start : start + batch_size]\n",
     "        order = np.random.permutation(len(X_train))\n        X_train, Y_train = X_train[order], Y_train[order]\n        for rows in np.array_split(np.arange(len(order)), 5):\n")),
    ("pixels divided by 255", ("mean, std = X_train.mean(axis=0), X_train.std(axis=0) + 1e-6", "mean, std = 0, 255")),
    ("mirrored pictures", ("            logits = net.forward(X)\n", "            turn = np.random.rand(len(X)) < 0.5\n            X = X.copy()\n"
     "            X[turn] = X[turn].reshape(-1, 3, 32, 32)[..., ::-1].reshape(-1, 3072)\n            logits = net.forward(X)\n")),
    ("a loop without main", ("def main():\n", "if __name__ == '__main__':\n"), ('\n\nif __name__ == "__main__":\n    main()\n', "\n")),
    ("one epoch", ("max_epochs = 20", "max_epochs = 1")),
    ("rows by one", ("batch_size = 64", "batch_size = 1")),
    ("an epsilon in the root", ("(np.sqrt(v_hat) + self.epsilon)", "np.sqrt(v_hat + self.epsilon)")),
    ("no decay", ("self.decay = 1e-4", "self.decay = 0")),
    ("accuracy in percent", ("return loss / n, correct / n", "return loss / n, 100 * correct / n")),
]  # fmt: skip
