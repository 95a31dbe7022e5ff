"""Extreme numbers, and arrays of every type and layout: the result is right, or the refusal is clear."""

import numpy as np
import pytest
import reference

from fastff import (
    SGD,
    Adam,
    CrossEntropySoftmax,
    DataError,
    DivergenceError,
    Dropout,
    FeedForwardNeuralNetwork,
    LinearLayer,
    Sigmoid,
    Standardize,
    Trainer,
    evaluate,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 7)).astype(np.float32)
Y = np.arange(60) % 3
TINY = np.finfo(np.float32).tiny


def trained(x, y=Y, *, epochs=2, hidden=(9,), classes=3, **settings):
    """The parameters of a network trained on these rows, and the losses of its batches."""
    network = FeedForwardNeuralNetwork(x.shape[1], classes, list(hidden), seed=1)
    history = Trainer(network, **{"batch_size": 16, "threads": 1, **settings}).fit(x, y, epochs=epochs)
    return network.parameters(), np.array(history.batch_losses)


def assert_same(one, other):
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, other[0][name])
    np.testing.assert_array_equal(one[1], other[1])


# --- arrays of every kind


def mapped(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def read_only(x, _):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "Fortran": lambda x, _: np.asfortranarray(x),
    "backwards": lambda x, _: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "every third of a wider one": lambda x, _: np.repeat(np.repeat(x, 3, axis=1), 2, axis=0)[::2, ::3],
    "transposed": lambda x, _: np.ascontiguousarray(x.T).T,
    "read-only": read_only,
    "memory-mapped": mapped,
    "big-endian": lambda x, _: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x, _: np.frombuffer(b"?" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "a list": lambda x, _: x.tolist() if x.dtype == np.float64 else x,
}


@pytest.mark.filterwarnings("ignore:X. whole numbers of up to")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_same_rows_in_any_layout_train_to_the_same_bits(layout, dtype, tmp_path):
    rows = (40 * np.abs(X)).astype(dtype) if dtype == np.uint8 else X.astype(dtype)
    other = LAYOUTS[layout](rows, tmp_path)
    if not isinstance(other, list):
        assert_same(trained(rows), trained(other))
    network = FeedForwardNeuralNetwork(7, 3, [9], seed=1)
    for call in (network.predict_proba, network.forward, Standardize.fit(rows).forward):
        np.testing.assert_array_equal(call(rows), call(other))
    assert evaluate(network, rows, Y, 16) == evaluate(network, other, Y[::1], 16)


def test_one_value_for_all_rows_by_a_stride_of_zero():
    rows = np.broadcast_to(X[:1], X.shape)
    assert_same(trained(rows), trained(rows.copy()))


@pytest.mark.parametrize("dtype", ["b", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f2", "?"])
def test_other_types_are_their_values_in_float32(dtype):
    rows = (10 * np.abs(X)).astype(dtype)
    assert_same(trained(rows), trained(rows.astype(np.float32)))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u4", "i8", ">i4", "f4", "f8", "?"])
@pytest.mark.parametrize("column", [False, True])
def test_labels_of_any_type(dtype, column):
    labels = (Y % 2).astype(dtype)
    assert_same(trained(X, labels[:, None] if column else labels), trained(X, Y % 2))


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (X.astype(complex), "holds complex128"),
        (X.astype(object), "holds object"),
        (X.astype(str), "holds <U"),
        (X.astype("g"), "holds float128|holds longdouble") if np.dtype("g").itemsize > 8 else (X[0], "two dimensions"),
        (np.array(["2020"], "M8[Y]")[:, None], "holds datetime64"),
        (np.zeros((4, 7), "f4,f4"), "want numbers"),
        (X[:, :, None], "two dimensions"),
        (X[:0], "empty"),
    ],
)
def test_arrays_that_are_no_rows_are_refused(rows, found):
    network = FeedForwardNeuralNetwork(7, 3, [9], seed=1)
    for call in (network.predict, network.forward, lambda x: Trainer(network).fit(x, Y, epochs=1)):
        with pytest.raises(DataError, match=found):
            call(rows)


# --- shapes at the edges


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_of_one_row(threads):
    one = trained(X[:9], Y[:9], batch_size=1, threads=threads)
    assert_same(one, trained(X[:9], Y[:9], batch_size=1))
    network = FeedForwardNeuralNetwork(7, 3, [9], optimizer=Adam(), seed=1)
    loss = CrossEntropySoftmax()
    for epoch in range(2):
        for row in np.random.default_rng([0, epoch]).permutation(9):
            loss.forward(network.forward(X[row : row + 1]), Y[row : row + 1])
            network.backward(loss.backward())
            network.step(1e-3)
    for name, array in network.parameters().items():
        np.testing.assert_array_equal(array, one[0][name])


def test_one_row_in_all():
    _, losses = trained(X[:1], Y[:1], epochs=30, step_size=0.05)
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("label", [0, 2])
def test_one_class_present(label):
    _, losses = trained(X, np.full(60, label), epochs=40, step_size=0.01)
    assert losses[-1] < 0.1


def test_a_network_of_one_class_has_nothing_to_learn():
    parameters, losses = trained(X, np.zeros(60, int), classes=1)
    np.testing.assert_array_equal(losses, 0)
    for name, array in FeedForwardNeuralNetwork(7, 1, [9], seed=1).parameters().items():
        np.testing.assert_array_equal(array, parameters[name])


@pytest.mark.parametrize("threads", [1, 2])
def test_layers_one_wide(threads):
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    network = FeedForwardNeuralNetwork(1, 2, [1, 1, 1], seed=3)
    for layer in network.linear_layers[:-1]:
        layer.weights = np.abs(layer.weights)
        layer.bias = [[0.5]]
    Trainer(network, batch_size=8, step_size=0.02, threads=threads).fit(x, (x[:, 0] > 0).astype(int), epochs=60)
    assert evaluate(network, x, (x[:, 0] > 0).astype(int), 16)[1] > 0.95


def test_thirty_layers_deep_against_float64():
    network = FeedForwardNeuralNetwork(7, 3, 16, 30, optimizer=SGD(), seed=0)
    before = network.parameters()
    loss = CrossEntropySoftmax()
    value = loss.forward(network.forward(X), Y)
    network.backward(loss.backward())
    h, hidden = X.astype(np.float64), [X.astype(np.float64)]
    linear = [i for i, layer in enumerate(network.layers) if isinstance(layer, LinearLayer)]
    for i in linear:
        z = h @ before[f"{i}.weight"].astype(np.float64) + before[f"{i}.bias"]
        h = np.maximum(z, 0)
        hidden.append(h)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    assert value == pytest.approx(-np.log(p[np.arange(60), Y]).mean(), rel=1e-4)
    g = (p - np.eye(3)[Y]) / 60
    for i, below in zip(linear[::-1], hidden[-2::-1], strict=True):
        got, truth = network.layers[i].grad_weights, below.T @ g
        # each of 30 layers adds some gamma(16) of what it hands on; a ReLU on the other side of 0 adds nothing here
        assert np.abs(got - truth).max() <= 60 * reference.gamma(40) * np.abs(truth).max()
        g = (g @ before[f"{i}.weight"].astype(np.float64).T) * (below > 0)


def test_a_hundred_thousand_classes():
    classes = 100_000
    labels = np.array([0, 99_999, 54_321, 7])
    rows = np.eye(4, dtype=np.float32)
    network = FeedForwardNeuralNetwork(4, classes, [8], seed=0)
    assert evaluate(network, rows, labels, 2)[0] == pytest.approx(np.log(classes), rel=0.3)
    history = Trainer(network, batch_size=2, step_size=0.1, threads=2).fit(rows, labels, epochs=25)
    assert history.batch_losses[-1] < 0.1
    np.testing.assert_array_equal(network.predict(rows), labels)
    with pytest.raises(DataError, match="100000 at row 0"):
        evaluate(network, rows[:1], [classes], 2)


# --- values at the edges


def test_a_constant_feature_is_centred_and_does_no_harm():
    rows = X.copy()
    rows[:, 2] = 1234.5678
    layer = Standardize.fit(rows)
    out = layer.forward(rows)
    np.testing.assert_array_equal(out[:, 2], 0)
    assert np.isfinite(out).all()
    assert np.isfinite(layer.forward(rows + 1)).all()  # other rows, where it is not constant


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_features_of_any_scale_train_alike_once_standardised(scale):
    losses = []
    for factor in (1.0, scale):
        rows = X.astype(np.float64) * factor
        network = FeedForwardNeuralNetwork(7, 3, [9], seed=1)
        network.layers.insert(0, Standardize.fit(rows))
        losses.append(Trainer(network, batch_size=16).fit(rows.astype(np.float32), Y, epochs=3).batch_losses)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_features_of_1e30_as_they_are_give_finite_logits_and_stop_where_training_cannot_go_on():
    rows = X * np.float32(1e30)
    network = FeedForwardNeuralNetwork(7, 3, [9], seed=1)
    assert np.isfinite(network.logits(rows)).all()
    assert np.isfinite(Trainer(network, Adam(), batch_size=16).fit(rows, Y, epochs=2).batch_losses).all()
    with pytest.raises(DivergenceError, match=r"not finite at epoch 1, batch 1 .* standardised rows"):
        Trainer(FeedForwardNeuralNetwork(7, 3, [9], seed=1), SGD(), batch_size=16).fit(rows, Y, epochs=2)


def test_features_beyond_float32_are_refused():
    for factor in (1e38, 1e150, 1e300):
        with pytest.raises(DataError, match=r"^X: column 0 deviates by .*, want less than 8.5e37"):
            Standardize.fit(X.astype(np.float64) * factor)
    with pytest.raises(DivergenceError, match="not finite at epoch 1, batch 0"):
        trained(X.astype(np.float64) * 1e300)


# --- subnormals


@pytest.mark.parametrize("threads", [1, 2])
def test_subnormals_are_zero_in_kernels_and_nowhere_else(threads):
    rows = np.full((8, 7), TINY / 4, np.float32)
    layer = LinearLayer(7, 5, seed=0)
    layer.weights = np.full((7, 5), 2.0**20)
    np.testing.assert_array_equal(layer.forward(rows), 0)
    network = FeedForwardNeuralNetwork(7, 3, [9], seed=1)
    Trainer(network, threads=threads).fit(X, Y, epochs=1)
    for mine in (np.float32(TINY), np.full(100, TINY, np.float32)):  # this thread's arithmetic is as it was
        assert np.all(mine / 4 > 0)
        assert np.all((mine / 4) * 4 == TINY)
    assert float(np.finfo(np.float64).tiny) / 4 > 0


def test_moments_die_out_instead_of_lingering_as_subnormals():
    layer = LinearLayer(4, 3, seed=0)
    rows = np.ones((2, 4), np.float32)
    for grad, steps in ((1e-20, 1), (0.0, 300)):
        for _ in range(steps):
            layer.forward(rows)
            layer.backward(np.full((2, 3), grad, np.float32), input_gradient=False)
            layer.step(1e-3)
    for moment in layer.moments:
        assert (np.abs(moment[moment != 0]) >= TINY).all()


def test_saturated_activations_and_much_dropout_stay_finite():
    network = FeedForwardNeuralNetwork(7, 3, [9, 9], seed=1)
    network.layers[1] = Sigmoid()
    network.layers.insert(2, Dropout(0.999, seed=0))
    history = Trainer(network, batch_size=16, step_size=0.1).fit(X * 1e4, Y, epochs=20)
    assert np.isfinite(history.batch_losses).all()
