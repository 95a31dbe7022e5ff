"""A quick check of the whole package, in seconds: load, train, evaluate, save, load, predict. Run this one first."""

import numpy as np

from fastff import (
    Dropout,
    FeedForwardNeuralNetwork,
    LinearLayer,
    ReLU,
    Standardize,
    Trainer,
    display_example,
    evaluate,
    load_dataset,
)


def test_digits_from_rows_to_saved_predictions(tmp_path):
    data = load_dataset("digits")
    net = FeedForwardNeuralNetwork(64, 10, hidden_dim=64, num_layers=2, seed=0)
    net.layers.insert(0, Standardize.fit(data.x_train))

    before = evaluate(net, data.x_val, data.y_val, 64)
    history = Trainer(net, batch_size=32, seed=0).fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=8)
    loss, accuracy = evaluate(net, data.x_test, data.y_test, 64)

    assert before[1] < 0.4  # ten classes and random weights
    assert len(history.epochs) == 8
    assert history.epochs[-1].train_loss < 0.3 * history.epochs[0].train_loss
    assert loss < before[0]
    assert accuracy > 0.9

    net.save(tmp_path / "net.safetensors")
    again = FeedForwardNeuralNetwork.load(tmp_path / "net.safetensors")
    predicted = again.predict(data.x_test)
    np.testing.assert_array_equal(predicted, net.predict(data.x_test))
    assert (predicted == data.y_test).mean() == accuracy


def test_a_layer_by_hand():
    layer, relu = LinearLayer(3, 2, seed=0), ReLU()
    y = relu.forward(layer.forward(np.ones((4, 3))))
    dx = layer.backward(relu.backward(np.ones((4, 2))))
    before = layer.weights.copy()
    layer.step(0.1)
    assert y.shape == (4, 2)
    assert dx.shape == (4, 3)
    assert (layer.weights != before).any() or not y.any()


def test_dropout_trains():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(96, 5))
    Y = (X[:, 0] > 0).astype(int)
    net = FeedForwardNeuralNetwork(5, 2, 32, 2, seed=0)
    net.layers.insert(2, Dropout(0.2, seed=0))
    Trainer(net, batch_size=16, step_size=0.01).fit(X, Y, epochs=10)
    assert evaluate(net, X, Y, 96)[1] > 0.9


def test_the_picture_function_is_there():
    assert callable(display_example)
