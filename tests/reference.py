"""The twin of every kernel: the same mathematics in plain NumPy, to be read beside the kernels and to test them by.

Rows are rows here: a batch x is (B, in), weights are (in, out), a bias is (1, out). Nothing is packed, tiled or
threaded. Everything follows the type of its arguments: given float64 it is the truth that kernels are measured against.
Imports NumPy only.
"""

import numpy as np

U = 2.0**-24  # unit roundoff of float32: one operation, one conversion has a relative error of at most this
MAX = float(np.finfo(np.float32).max)


def gamma(roundings):
    """The relative error that a chain of so many float32 roundings can build up (Higham 2002, lemma 3.1)."""
    return roundings * U / (1 - roundings * U)


# --- a batch out of the data ---


def gather(rows, index, mean=0.0, scale=1.0):
    """The rows that index names, normalised: (x - mean) * scale."""
    return (rows[index].astype(np.float64) - mean) * scale


# --- averages ---


def averaged(weights, decay):
    """The moving averages of weights (steps + 1, ...) after each step, float64; the first are those before any step."""
    averages = [weights[0].astype(np.float64)]
    for t in range(1, len(weights)):
        d = min(decay, (1 + t) / (10 + t))
        averages.append(d * averages[-1] + (1 - d) * weights[t])
    return averages


# --- linear layer ---


def product(a, b):
    # BLAS computes on what lies past the edge of a small matrix too: it may warn of a NaN that no result has
    with np.errstate(invalid="ignore"):
        return a @ b


def linear_forward(x, w, b):
    return product(x, w) + b


def linear_backward(g, w):
    """dL/dx, from g = dL/dy."""
    return product(g, w.T)


def weight_gradient(x, g):
    """dL/dW."""
    return product(x.T, g)


def bias_gradient(g):
    """dL/db, (1, out)."""
    return g.sum(axis=0, keepdims=True)


# --- activations h = f(z), and f'(z) from h ---


def flush(x):
    """x as the kernels see it: what is below the smallest normal float32 is zero, of its own sign."""
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.zeros_like(x), x), x)


def relu(z):
    return np.maximum(z, 0)  # np.maximum hands a NaN on


def relu_derivative(h):
    return (h > 0).astype(h.dtype)


def sigmoid(z):
    small = np.exp(-np.abs(z))  # at most 1: no overflow on either side
    return np.where(z < 0, small, 1) / (1 + small)


def sigmoid_derivative(h):
    return h * (1 - h)


def tanh(z):
    return np.tanh(z)


def tanh_derivative(h):
    return 1 - h * h


ACTIVATIONS = {
    "relu": (relu, relu_derivative),
    "sigmoid": (sigmoid, sigmoid_derivative),
    "tanh": (tanh, tanh_derivative),
}


# --- softmax and cross-entropy ---


def targets(labels, classes, smoothing=0.0):
    """smoothing / C for every class, and 1 - smoothing more for the label: (B, C)."""
    return smoothing / classes + (1 - smoothing) * np.eye(classes)[labels]


def softmax(z):
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def cross_entropy(z, labels, smoothing=0.0):
    """The loss of each row, (B,): log sum exp(z) - sum t z, with the row's maximum subtracted first."""
    below = z - z.max(axis=1, keepdims=True)
    return np.log(np.exp(below).sum(axis=1)) - (targets(labels, z.shape[1], smoothing) * below).sum(axis=1)


def cross_entropy_gradient(z, labels, smoothing=0.0):
    """The gradient of the mean loss by z: (softmax - target) / B."""
    return (softmax(z) - targets(labels, z.shape[1], smoothing)).astype(z.dtype) / len(z)


def target_loss(name, z, t):
    """The loss of each output against its target, its derivative by z, and what that compares t with: (B, K) each."""
    if name == "squared":
        return (z - t) ** 2 / 2, z - t, z
    if name == "logistic":
        return np.logaddexp(0, z) - t * z, sigmoid(z) - t, sigmoid(z)
    if name == "absolute":
        return np.abs(z - t), np.sign(z - t), z
    return np.exp(z) - t * z, np.exp(z) - t, np.exp(z)


# --- optimizers: parameters, gradient and moments in; new parameters and moments out ---


def adam(w, g, moments, t, step_size, *, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, decay="l2",
         bias_correction="standard"):  # fmt: skip
    """Update number t (from 1) by Adam; pass weight_decay=0 for a bias."""
    m, v = moments
    if decay == "l2":
        g = g + weight_decay * w
    else:
        w = w - step_size * weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    power = t if bias_correction == "standard" else 1
    m_hat, v_hat = m / (1 - beta1**power), v / (1 - beta2**power)
    return w - step_size * m_hat / (np.sqrt(v_hat) + epsilon), (m, v)


def sgd(w, g, moments, t, step_size, *, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Update by gradient descent with momentum; pass weight_decay=0 for a bias."""
    m, unused = moments
    g = g + weight_decay * w
    m = momentum * m + g
    return w - step_size * (g + momentum * m if nesterov else m), (m, unused)


# --- dropout ---


def mix(x):
    """32 well mixed bits of 32-bit counters (the finaliser of MurmurHash3)."""
    x = np.asarray(x, np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def dropout_kept(key, rate, rows, features):
    """Which values of a batch (rows, features) dropout keeps, as booleans."""
    column = mix(mix(np.array([key % 2**32])) ^ np.arange(features, dtype=np.uint32))
    return mix(column[None, :] ^ np.arange(rows, dtype=np.uint32)[:, None]) >= np.uint32(int(rate * 2**32))


# --- a whole network ---


def forward(x, weights, biases, activation="relu"):
    """The layers' inputs, and the logits; the activation stands between layers, not behind the last."""
    f, _ = ACTIVATIONS[activation]
    inputs = []
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        inputs.append(x)
        z = linear_forward(x, w, b)
        x = f(z) if i < len(weights) - 1 else z
    return inputs, z


def gradients(x, labels, weights, biases, activation="relu", smoothing=0.0):
    """The mean loss of a batch, and its gradient by each of the weights and biases."""
    _, derivative = ACTIVATIONS[activation]
    inputs, z = forward(x, weights, biases, activation)
    g = cross_entropy_gradient(z, labels, smoothing)
    by_weights, by_biases = [], []
    for h, w in zip(reversed(inputs), reversed(weights), strict=True):
        by_weights.insert(0, weight_gradient(h, g))
        by_biases.insert(0, bias_gradient(g))
        g = linear_backward(g, w) * derivative(h)
    return cross_entropy(z, labels, smoothing).mean(), by_weights, by_biases


def train(X, Y, weights, biases, *, order, batch_size, step_size, optimizer=adam, weight_decay=0.0, activation="relu",
          smoothing=0.0, **settings):  # fmt: skip
    """Train on the rows of X in `order`, a batch a step, with all moments starting at 0.

    optimizer is adam or sgd from above, settings are its own. Returns the new weights, the new biases and the mean loss
    of each batch, before its update; nothing that was passed in changes. It computes in the type of the weights.
    """
    X = X.astype(weights[0].dtype)
    parameters = [*weights, *biases]
    decays = [weight_decay] * len(weights) + [0.0] * len(biases)  # biases never decay
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
    layers, losses = len(weights), []
    for t, start in enumerate(range(0, len(order), batch_size), start=1):
        rows = order[start : start + batch_size]
        loss, *both = gradients(X[rows], Y[rows], parameters[:layers], parameters[layers:], activation, smoothing)
        losses.append(loss)
        for i, g in enumerate(both[0] + both[1]):
            parameters[i], moments[i] = optimizer(
                parameters[i], g, moments[i], t, step_size, weight_decay=decays[i], **settings
            )
    return parameters[:layers], parameters[layers:], losses


# --- bfloat16 ---


def bfloat16(x):
    """The nearest number of 8 significant bits, ties to even: what a float32 loses when a product takes it so."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    even = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return np.where(np.isnan(x), np.float32(np.nan), even.astype(np.uint32).view(np.float32))
