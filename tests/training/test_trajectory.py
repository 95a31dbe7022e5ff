"""Twenty steps of training a network, against the float64 twin and against PyTorch where that is installed.

What may differ is what float32 loses on the way, and how much that is depends on the network: so the yardstick is the
same training in NumPy's (PyTorch's) float32. Eight times its largest distance from float64 is allowed, as sums in
another order round otherwise, and a few ulps of the largest weight for a lucky yardstick.
"""

import numpy as np
import pytest
import reference
from reference import U

from fastff import SGD, Adam, CrossEntropySoftmax, FeedForwardNeuralNetwork, ReLU, Sigmoid, Tanh, Trainer

STEPS, BATCH, STEP_SIZE = 20, 16, 0.01
ACTIVATIONS = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}
OPTIMIZERS = {
    "adam": (Adam(), reference.adam, {}),
    "adam l2": (Adam(weight_decay=0.1), reference.adam, {"weight_decay": 0.1}),
    "adam decoupled": (Adam(weight_decay=0.1, decay="decoupled"), reference.adam,
                       {"weight_decay": 0.1, "decay": "decoupled"}),
    "adam constant": (Adam(0.9, 0.9, weight_decay=0.01, bias_correction="constant"), reference.adam,
                      {"beta1": 0.9, "beta2": 0.9, "weight_decay": 0.01, "bias_correction": "constant"}),
    "sgd": (SGD(), reference.sgd, {}),
    "momentum": (SGD(0.9, weight_decay=0.1), reference.sgd, {"momentum": 0.9, "weight_decay": 0.1}),
    "nesterov": (SGD(0.9, True, 0.1), reference.sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(STEPS * BATCH, 20)).astype(np.float32)
    return X, (X @ rng.normal(size=(20, 4))).argmax(1)


def network(optimizer, activation="relu"):
    net = FeedForwardNeuralNetwork(20, 4, [30, 20], optimizer=optimizer, seed=0)
    net.layers[1::2] = [ACTIVATIONS[activation](), ACTIVATIONS[activation]()]
    for layer in net.linear_layers:
        layer.bias = np.full((1, layer.output_dim), 0.05)
    return net


def parameters(net, dtype=np.float32):
    layers = net.linear_layers
    return [layer.weights.astype(dtype) for layer in layers], [layer.bias.astype(dtype) for layer in layers]


def train_by_hand(net, X, Y, smoothing=0.0):
    criterion, losses = CrossEntropySoftmax(smoothing), []
    for i in range(0, len(X), BATCH):
        losses.append(criterion.forward(net.forward(X[i : i + BATCH]), Y[i : i + BATCH]))
        net.backward(criterion.backward())
        net.step(STEP_SIZE)
    return losses


def assert_as_close_as_float32_gets(actual, exact, rounded):
    for a, e, r in zip(actual, exact, rounded, strict=True):
        tolerance = 8 * np.abs(r - e).max() + 4 * U * np.abs(e).max()
        assert tolerance < 1e-3 * STEP_SIZE * STEPS  # a wrong equation is off by far more than the yardstick
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_follows_the_twin(data, name, activation):
    optimizer, rule, settings = OPTIMIZERS[name]
    net, (X, Y) = network(optimizer, activation), data
    twins = [
        reference.train(X, Y, *parameters(net, dtype), order=np.arange(len(X)), batch_size=BATCH, step_size=STEP_SIZE,
                        optimizer=rule, activation=activation, smoothing=0.1, **settings)
        for dtype in (np.float64, np.float32)
    ]  # fmt: skip
    losses = train_by_hand(net, X, Y, smoothing=0.1)
    (exact, rounded), (weights, biases) = twins, parameters(net)
    assert_as_close_as_float32_gets(weights, exact[0], rounded[0])
    assert_as_close_as_float32_gets(biases, exact[1], rounded[1])
    assert_as_close_as_float32_gets([np.array(losses)], [np.array(exact[2])], [np.array(rounded[2])])


def test_the_trainer_follows_the_twin_over_its_own_order(data):
    X, Y = data
    X, Y = X[:100], Y[:100]  # the last batch is ragged
    net = network(Adam(weight_decay=0.1))
    trainer = Trainer(net, batch_size=BATCH, step_size=STEP_SIZE, seed=3)
    order = np.concatenate([np.random.default_rng([3, epoch]).permutation(100) for epoch in range(3)])
    start, results = parameters(net, np.float64), []
    for dtype in (np.float64, np.float32):
        weights, biases = ([p.astype(dtype) for p in group] for group in start)
        moments = [(np.zeros_like(p), np.zeros_like(p)) for p in weights + biases]
        t = 0
        for epoch in range(3):
            for i in range(0, 100, BATCH):
                t += 1
                rows = order[epoch * 100 : epoch * 100 + 100][i : i + BATCH]
                _, *by = reference.gradients(X[rows].astype(dtype), Y[rows], weights, biases)
                new = [
                    reference.adam(p, g, mv, t, STEP_SIZE, weight_decay=0.1 if k < 3 else 0.0)
                    for k, (p, g, mv) in enumerate(zip(weights + biases, by[0] + by[1], moments, strict=True))
                ]
                weights, biases, moments = [p for p, _ in new[:3]], [p for p, _ in new[3:]], [mv for _, mv in new]
        results.append(weights + biases)
    trainer.fit(X, Y, epochs=3)
    weights, biases = parameters(net)
    assert_as_close_as_float32_gets(weights + biases, *results)


# --- PyTorch ---


def torch_optimizer(torch, name, net):
    """The same rule there; decay on weights only takes two groups."""
    ours = OPTIMIZERS[name][0]
    groups = [
        {
            "params": [p for key, p in net.named_parameters() if key.endswith("weight")],
            "weight_decay": ours.weight_decay,
        },
        {"params": [p for key, p in net.named_parameters() if key.endswith("bias")], "weight_decay": 0.0},
    ]
    if isinstance(ours, SGD):
        return torch.optim.SGD(groups, lr=STEP_SIZE, momentum=ours.momentum, nesterov=ours.nesterov)
    kind = torch.optim.AdamW if ours.decay == "decoupled" else torch.optim.Adam
    return kind(groups, lr=STEP_SIZE, betas=(ours.beta1, ours.beta2), eps=ours.epsilon)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "adam constant"])
def test_training_follows_torch(data, name, activation):
    torch = pytest.importorskip("torch")
    net, (X, Y) = network(OPTIMIZERS[name][0], activation), data
    results = []
    for dtype in (torch.float64, torch.float32):
        layers = []
        for linear in net.linear_layers:
            layer = torch.nn.Linear(linear.input_dim, linear.output_dim, dtype=dtype)
            with torch.no_grad():
                layer.weight.copy_(torch.tensor(linear.weights.T.copy()))
                layer.bias.copy_(torch.tensor(linear.bias[0].copy()))
            layers += [layer, {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}[activation]()]
        other = torch.nn.Sequential(*layers[:-1])
        optimizer, losses = torch_optimizer(torch, name, other), []
        for i in range(0, len(X), BATCH):
            optimizer.zero_grad()
            logits = other(torch.tensor(X[i : i + BATCH], dtype=dtype))
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(Y[i : i + BATCH]), label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        trained = [layer for layer in other if isinstance(layer, torch.nn.Linear)]
        weights = [layer.weight.detach().numpy().T for layer in trained]
        results.append([*weights, *(layer.bias.detach().numpy()[None] for layer in trained), np.array(losses)])
    losses = train_by_hand(net, X, Y, smoothing=0.1)
    weights, biases = parameters(net)
    assert_as_close_as_float32_gets([*weights, *biases, np.array(losses)], *results)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "adam constant"])
def test_training_on_numbers_follows_torch(data, name):
    torch = pytest.importorskip("torch")
    net, X = network(OPTIMIZERS[name][0], "relu"), data[0]
    T = np.random.default_rng(3).normal(2.0, 1.0, (len(X), net.output_dim))
    results = []
    for dtype in (torch.float64, torch.float32):
        layers = []
        for linear in net.linear_layers:
            layer = torch.nn.Linear(linear.input_dim, linear.output_dim, dtype=dtype)
            with torch.no_grad():
                layer.weight.copy_(torch.tensor(linear.weights.T.copy()))
                layer.bias.copy_(torch.tensor(linear.bias[0].copy()))
            layers += [layer, torch.nn.ReLU()]
        other = torch.nn.Sequential(*layers[:-1])
        optimizer, losses = torch_optimizer(torch, name, other), []
        for i in range(0, len(X), BATCH):
            optimizer.zero_grad()
            outputs = other(torch.tensor(X[i : i + BATCH], dtype=dtype))
            loss = torch.nn.functional.mse_loss(outputs, torch.tensor(T[i : i + BATCH], dtype=dtype))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        trained = [layer for layer in other if isinstance(layer, torch.nn.Linear)]
        weights = [layer.weight.detach().numpy().T for layer in trained]
        results.append([*weights, *(layer.bias.detach().numpy()[None] for layer in trained), np.array(losses)])

    class InOrder(Trainer):
        def order(self, epoch, rows):
            return np.arange(rows)

    trainer = InOrder(net, batch_size=BATCH, step_size=STEP_SIZE, loss="squared_error")
    losses = trainer.fit(X, T, epochs=1).batch_losses
    weights, biases = parameters(net)
    assert_as_close_as_float32_gets([*weights, *biases, np.array(losses)], *results)
