"""Gradients clipped by their norm: as float64 and PyTorch have it, by hand and in training, whatever the threads."""

import numpy as np
import pytest

from fastff import SGD, Adam, ArgumentError, CrossEntropySoftmax, FeedForwardNeuralNetwork, Trainer

RNG = np.random.default_rng(0)
X, Y = (3 * RNG.standard_normal((90, 21))).astype(np.float32), RNG.integers(0, 5, 90)


def network(widths=(37, 18)):
    return FeedForwardNeuralNetwork(21, 5, widths, optimizer=Adam(weight_decay=0.1), seed=1)


def gradients(net):
    return [array.astype(np.float64) for layer in net.linear_layers for array in (layer.grad_weights, layer.grad_bias)]


def backward(net, rows=90):
    loss = CrossEntropySoftmax()
    loss.forward(net.forward(X[:rows]), Y[:rows])
    net.backward(loss.backward())


@pytest.mark.parametrize("widths", [(), (1,), (37, 18), (130,)])
@pytest.mark.parametrize("rows", [1, 17, 90])
def test_by_hand_the_norm_is_float64s_and_gradients_are_scaled_to_it(widths, rows):
    net = network(widths)
    backward(net, rows)
    before = gradients(net)
    norm = float(np.sqrt(sum((g**2).sum() for g in before)))
    assert net.clip_gradients(norm * 2) == pytest.approx(norm, rel=1e-12)
    assert all(np.array_equal(a, b) for a, b in zip(gradients(net), before, strict=True))  # below the limit
    net.clip_gradients(norm / 3)
    for found, whole in zip(gradients(net), before, strict=True):
        # the factor, the products with it, and sums of as many terms as there are rows each round by 2^-24
        assert np.allclose(found, whole / 3, rtol=1e-5, atol=(rows + 4) * 2.0**-24 * norm)


def weights_after(net, **options):
    Trainer(net, batch_size=32, step_size=0.01, **options).fit(X, Y, epochs=3)
    return [array.tobytes() for array in net.parameters().values()]


def test_training_gives_the_same_bits_as_one_program_by_layers_and_with_any_threads():
    expected = weights_after(network(), clip_norm=0.3, threads=1)
    assert expected == weights_after(network(), clip_norm=0.3, threads=2)
    layers = network()
    layers.lowers = lambda: False
    assert expected == weights_after(layers, clip_norm=0.3)
    assert expected != weights_after(network())
    assert weights_after(network(), clip_norm=1e9) == weights_after(network())


def test_a_trajectory_is_pytorchs():
    torch = pytest.importorskip("torch")
    net = FeedForwardNeuralNetwork(21, 5, [16], optimizer=SGD(0.9), seed=3)
    layers = []
    for layer in net.linear_layers:
        layers += [torch.nn.Linear(layer.input_dim, layer.output_dim), torch.nn.ReLU()]
        layers[-2].weight.data, layers[-2].bias.data = torch.tensor(layer.weights.T), torch.tensor(layer.bias[0])
    model = torch.nn.Sequential(*layers[:-1]).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = Trainer(net, batch_size=30, step_size=0.1, clip_norm=0.5)
    orders = [trainer.order(epoch, len(X)) for epoch in range(4)]
    trainer.fit(X, Y, epochs=4)
    for order in orders:
        for rows in order.reshape(3, 30):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(torch.tensor(X[rows]).double()), torch.tensor(Y[rows]))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    for layer, twin in zip(net.linear_layers, model[::2], strict=True):
        assert np.allclose(layer.weights, twin.weight.detach().numpy().T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("limit", [0, -1, np.nan, np.inf, "1", [1.0]])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ArgumentError, match=r"^clip_norm: "):
        Trainer(network(), clip_norm=limit)
    net = network()
    backward(net)
    with pytest.raises(ArgumentError, match=r"^clip_norm: "):
        net.clip_gradients(limit)


def test_what_has_no_gradient_cannot_be_clipped():
    with pytest.raises(ArgumentError, match="no backward has run"):
        network().clip_gradients(1.0)
