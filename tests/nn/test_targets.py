"""TargetScale and TargetExp: forward and backward by hand, training in front of them, files, ensembles and ONNX."""

import itertools

import numpy as np
import pytest
from trainers import N, Through, X, assert_same_history, assert_same_weights

from fastff import (
    AbsoluteError,
    ArgumentError,
    DataError,
    Ensemble,
    FeedForwardNeuralNetwork,
    LinearLayer,
    PoissonLoss,
    SquaredError,
    TargetExp,
    TargetScale,
    Trainer,
    evaluate,
)

T = 1e6 + 1e3 * (X[:, :2].astype(np.float64) * 3 + X[:, 2:4] ** 2)
COUNTS = np.random.default_rng(0).poisson(np.exp(X[:, :1]))


def network(*last, outputs=2, layer=None, seed=0):
    net = FeedForwardNeuralNetwork(X.shape[1], outputs, (16, 9), seed=seed)
    net.layers = [*([] if layer is None else [layer]), *net.layers, *last]
    return net


def fitted(net, targets, loss="squared_error", epochs=4, **options):
    trainer = Trainer(net, batch_size=16, step_size=0.01, loss=loss, **options)
    return trainer.fit(X, targets, X[::-1], targets[::-1], epochs=epochs)


def test_forward_is_in_the_targets_units_and_backward_goes_through():
    z, g = X[:, :2], X[:, 2:4]
    scale = TargetScale.fit(T)
    np.testing.assert_allclose(scale.mean, T.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scale.std, T.std(0), rtol=1e-9)
    np.testing.assert_allclose(scale.forward(z), T.mean(0) + T.std(0) * z, rtol=1e-6)
    np.testing.assert_allclose(scale.backward(g), T.std(0) * g, rtol=1e-6)
    power = TargetExp()
    np.testing.assert_allclose(power.forward(z), np.exp(z), rtol=1e-6)
    np.testing.assert_allclose(power.backward(g), g * np.exp(z), rtol=1e-6)
    np.testing.assert_allclose(power.forward([[500.0, -500.0]]), [[np.exp(88.0), 0]], rtol=1e-6)


@pytest.mark.parametrize("last", [TargetScale([3.0, -1.0], [2.0, 0.5]), TargetExp()], ids=repr)
def test_a_network_is_trained_through_it_by_hand(last):
    net, criterion = network(last), SquaredError()
    targets = np.abs(X[:, 1:3])
    criterion.forward(net(X), targets)
    net.backward(criterion.backward())
    weights = net.layers[4].weights
    found, step = net.layers[4].grad_weights[0, 1], 1e-2
    losses = []
    for sign in (1, -1):
        weights[0, 1] += sign * step
        losses.append(criterion.forward(net(X), targets))
        weights[0, 1] -= sign * step
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(found, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_training_is_that_of_scaled_targets(loss):
    scale = TargetScale.fit(T)
    one, plain = network(scale), network()
    scaled = (T - scale.mean) / scale.std
    history, again = fitted(one, T, loss, monitor="val_r2"), fitted(plain, scaled, loss, monitor="val_r2")
    assert_same_weights(one, plain)
    assert_same_history(history, again)
    assert history.epochs[-1].val_r2 == again.epochs[-1].val_r2
    assert evaluate(one, X, T, loss=loss) == evaluate(plain, X, scaled, loss=loss)
    np.testing.assert_allclose(one.predict(X), scale.mean + scale.std * plain.predict(X), rtol=1e-12)
    np.testing.assert_allclose(one.forward(X), one.predict(X), rtol=1e-6)
    own = network(scale, layer=Through())
    assert_same_history(history, fitted(own, T, loss, monitor="val_r2"))
    assert_same_weights(one, own)


def test_targets_far_from_zero_keep_their_differences():
    far = 1e9 + X[:, 0].astype(np.float64)
    net = network(TargetScale.fit(far), outputs=1)
    history = fitted(net, far, epochs=40)
    assert history.epochs[-1].val_r2 > 0.9
    assert np.abs(net.predict(X) - far).max() < 2


def test_poisson_is_computed_of_the_logarithms():
    one, plain = network(TargetExp(), outputs=1), network(outputs=1)
    history, again = fitted(one, COUNTS, "poisson"), fitted(plain, COUNTS, "poisson")
    assert_same_weights(one, plain)
    assert_same_history(history, again)
    assert evaluate(one, X, COUNTS) == evaluate(plain, X, COUNTS, loss=PoissonLoss())
    np.testing.assert_allclose(one.predict(X), np.exp(plain.predict(X)), rtol=1e-12)
    np.testing.assert_allclose(one.forward(X)[:, 0], one.predict(X), rtol=1e-5)


def test_a_few_rows_and_many_are_predicted_alike():
    net = network(TargetScale.fit(T))
    fitted(net, T)
    for rows in (1, 3, 16, 17):
        np.testing.assert_array_equal(net.predict(X[:rows]), net.predict(X)[:rows])
    net.layers[-1] = TargetScale([0.0, 0.0], [1.0, 1.0])
    np.testing.assert_allclose(net.predict(X), net.forward(X), rtol=1e-6)
    net.layers[0] = LinearLayer(X.shape[1], 16, seed=9)
    np.testing.assert_allclose(net.predict(X), net.forward(X), rtol=1e-6)


@pytest.mark.parametrize("last", [TargetScale.fit(T[:, :1]), TargetExp(), None], ids=["scale", "exp", "none"])
def test_files_and_ensembles_predict_the_same(tmp_path, last):
    nets = [network(*([] if last is None else [last]), outputs=1, seed=seed) for seed in range(2)]
    for net in nets:
        fitted(
            net,
            T[:, 0] if type(last) is TargetScale else COUNTS,
            loss="poisson" if type(last) is TargetExp else "squared_error",
        )
    expected = nets[0].predict(X)
    assert (expected.dtype, expected.shape) == (np.float64, (N,))
    nets[0].save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(FeedForwardNeuralNetwork.load(tmp_path / "net.safetensors").predict(X), expected)
    both = Ensemble(nets)
    mean = (expected + nets[1].predict(X)) / 2
    np.testing.assert_allclose(both.predict(X), mean, rtol=1e-12)
    np.testing.assert_allclose(both.forward(X)[:, 0], mean, rtol=1e-6)
    both.save(tmp_path / "both.safetensors")
    np.testing.assert_array_equal(Ensemble.load(tmp_path / "both.safetensors").predict(X), both.predict(X))
    with pytest.raises(ArgumentError, match=r"^predict_proba: the network predicts numbers"):
        both.predict_proba(X)
    with pytest.raises(ArgumentError, match=r"^networks\[1\]: task classify, want regress as networks\[0\] has it$"):
        Ensemble([nets[0], FeedForwardNeuralNetwork(X.shape[1], 1, 4, 2)])


@pytest.mark.parametrize(("count", "last"), list(itertools.product((1, 2), (TargetScale.fit(T), TargetExp(), None))))
def test_onnx_gives_the_same_numbers(count, last):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from fastff.nn.onnx_graph import onnx_bytes

    nets = [network(*([] if last is None else [last]), seed=seed) for seed in range(count)]
    for net in nets:
        net.task = "regress"
    model = nets[0] if count == 1 else Ensemble(nets)
    session = runtime.InferenceSession(onnx_bytes(model), providers=["CPUExecutionProvider"])
    (found,) = session.run(["predictions"], {"rows": X})
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TargetScale([1.0], [1.0, 2.0]), "std: 2 values, want as many as mean has, 1"),
        (lambda: TargetScale([1.0], [-1.0]), "std: -1, want no negative value"),
        (lambda: TargetScale([1e39], [1.0]), "mean and std: beyond float32"),
        (lambda: TargetScale.fit(["a"]), "Y: holds <U1 values, want numbers to predict"),
        (lambda: TargetScale.fit([1.0, -1e200]), r"Y: -1e\+200 is beyond float32, want numbers below 3.4e38"),
        (lambda: TargetScale.fit([[1.0], [np.nan]]), "Y: nan at row 1, want finite numbers"),
        (lambda: fitted(network(TargetScale.fit(T)), T[:, 0]), "Y: rows of 1, want 2: a number for each output"),
        (lambda: fitted(network(TargetScale.fit(T)), T[:5]), "Y: 5 targets for 103 rows, want one a row"),
        (lambda: fitted(network(TargetScale.fit(T * 1e-40)), T), "Y: beyond float32 in units of the network's"),
        (lambda: fitted(network(TargetExp()), -T, "poisson"), "Y: -1.*, want numbers of 0 or more for PoissonLoss"),
        (
            lambda: fitted(network(TargetScale.fit(T)), COUNTS[:, 0], "cross_entropy"),
            "loss: of labels, but TargetScale",
        ),
        (lambda: Trainer(network(), loss="mse"), "loss: 'mse', want one of cross_entropy, squared_error, absolute_err"),
        (lambda: Trainer(network(), loss=AbsoluteError), "loss: <class .*, want one of"),
        (lambda: Trainer(network(), loss=AbsoluteError(), label_smoothing=0.1), "label_smoothing: 0.1 beside the"),
        (lambda: Trainer(network(), loss="poisson", monitor="val_accuracy"), "monitor: 'val_accuracy', want one of"),
        (lambda: Trainer(network(), monitor="val_r2"), "monitor: 'val_r2', want one of"),
        (lambda: fitted(network(), T[:, 0] + 0.5, "cross_entropy"), 'Y: .*want .*, or loss="squared_error" for'),
    ],
)
def test_misuse_is_one_line(call, message):
    with pytest.raises((ArgumentError, DataError), match=f"^{message}"):
        call()


def test_a_constant_target_is_predicted():
    net = network(TargetScale.fit(np.full(N, 7.0)), outputs=1)
    history = fitted(net, np.full(N, 7.0), epochs=30)
    assert history.epochs[-1].train_r2 == 0.0
    assert np.abs(net.predict(X) - 7).max() < 1
