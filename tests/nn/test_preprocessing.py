"""The layers that prepare raw rows: what Augment, Standardize and Whiten make of them, and what they refuse."""

import re

import numpy as np
import pytest
from reference import U

from fastff import (
    ArgumentError,
    Augment,
    DataError,
    FeedForwardNeuralNetwork,
    LinearLayer,
    Standardize,
    Trainer,
    Whiten,
)
from fastff.system.checkpoint import load, save
from fastff.training.state import restore_trainer, trainer_state


def rows_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- Augment ---

SHAPE = (2, 5, 4)


def versions_of(picture, shift):
    """Every picture that mirroring and shifting by up to shift pixels can make of one (channels, height, width)."""
    _, height, width = picture.shape
    for one in (picture, picture[:, :, ::-1]):
        wide = np.pad(one, ((0, 0), (shift, shift), (shift, shift)), mode="reflect")
        for y in range(2 * shift + 1):
            for x in range(2 * shift + 1):
                yield wide[:, y : y + height, x : x + width].tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_augment_makes_every_version_and_no_other(dtype, shift):
    picture = np.arange(40).reshape(SHAPE).astype(np.float32)
    rows = np.tile(picture.reshape(1, -1), (2000, 1)).astype(dtype)
    result = Augment(SHAPE, shift=shift, seed=0).forward(rows)
    made, possible = {row.tobytes() for row in result}, set(versions_of(picture, shift))
    # 2000 draws out of at most 98 leave one out with a probability of 98 e^-20
    assert made == possible


def draws(seed, sample, count):
    """The numbers from -1 to 1 that decide what happens to a picture of the first batch, and its first random bits."""

    def mixed(x):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = (x ^ (x >> shift)) * factor % 2**32
        return x ^ (x >> 16)

    bits = mixed(mixed(int(np.random.SeedSequence(seed).generate_state(1)[0])) ^ sample)
    return bits, [mixed(bits ^ (0x9E3779B9 * n % 2**32)) for n in range(1, count + 1)]


def even(bits):
    return bits / 2**31 - 1


def warped(picture, seed, sample, *, shift, rotate, zoom):
    """The picture (channels, height, width) rotated, zoomed and moved, pixel by pixel in float64."""
    bits, (first, second, third) = draws(seed, sample, 3)
    _, height, width = picture.shape
    far = 4 * max(height, width)
    whole = np.pad(picture, ((0, 0), (far, far), (far, far)), mode="reflect")
    angle, size, stretch = np.radians(rotate * even(first)), 1 + zoom * even(second), 1 + zoom * even(third) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([width - 1, height - 1]) / 2
    moved = [(bits >> 1) % (2 * shift + 1) - shift, (bits >> 12) % (2 * shift + 1) - shift]
    out = np.empty(picture.shape)
    for y in range(height):
        for x in range(width):
            at = turn @ (([x, y] - centre) * [size * stretch, size / stretch]) + centre + moved
            at[0] = width - 1 - at[0] if bits & 1 else at[0]
            (left, top), (wx, wy) = np.floor(at).astype(int) + far, at - np.floor(at)
            corners = whole[:, top : top + 2, left : left + 2]
            out[:, y, x] = corners @ [1 - wx, wx] @ [1 - wy, wy]
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "how"),
    [
        ((2, 5, 4), {"rotate": 20.0}),
        ((3, 4, 7), {"zoom": 0.3}),
        ((1, 6, 6), {"rotate": 350.0, "zoom": 0.9, "shift": 5}),
        ((2, 1, 9), {"zoom": 0.5}),
    ],
)
def test_rotated_and_zoomed_pictures_are_those_of_numpy(dtype, shape, how):
    how = {"shift": 0, "rotate": 0.0, "zoom": 0.0, **how}
    rows = np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(dtype)
    result = Augment(shape, seed=3, **how).forward(rows.reshape(40, -1))
    twin = np.array([warped(picture.astype(float), 3, i, **how) for i, picture in enumerate(rows)])
    # both weights are rounded down to 256ths, from places that are off by 2^-12 at most; bytes to whole numbers too
    near = 255 * 2 * (1 / 256 + 2**-12) + (0.5 if dtype == np.uint8 else 0)
    np.testing.assert_allclose(result, twin.reshape(40, -1), rtol=0, atol=near)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_square_is_cut_out_wherever_it_may_lie(dtype):
    shape, side = (2, 6, 5), 3
    rows = np.random.default_rng(0).integers(1, 256, (300, 60)).astype(dtype)
    result = Augment(shape, mirror=False, cutout=side, seed=1).forward(rows).reshape(-1, *shape)
    places = set()
    for i, (picture, cut) in enumerate(zip(rows.reshape(-1, *shape), result, strict=True)):
        _, numbers = draws(1, i, 5)
        top, left = numbers[3] % (6 + side - 1) - side + 1, numbers[4] % (5 + side - 1) - side + 1
        inside = np.s_[:, max(0, top) : top + side, max(0, left) : left + side]
        wanted = picture.astype(float)
        means = wanted.mean((1, 2), keepdims=True)
        wanted[inside] = np.floor(means + 0.5) if dtype == np.uint8 else means
        np.testing.assert_allclose(cut, wanted, rtol=4 * U, atol=0)
        places.add((top, left))
    assert {top for top, _ in places} == set(range(-2, 6))
    assert {left for _, left in places} == set(range(-2, 5))


def test_augment_without_mirror_and_shift_or_training_changes_nothing():
    rows = rows_of((9, 40))
    np.testing.assert_array_equal(Augment(SHAPE, mirror=False).forward(rows), rows)
    layer = Augment(SHAPE, shift=2, seed=0)
    layer.training = False
    np.testing.assert_array_equal(layer.forward(rows), rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": SHAPE, "shift": 4}, "shift: 4, want a whole number of pixels from 0 to 3"),
        ({"image_shape": SHAPE, "shift": -1}, "shift: -1, want "),
        ({"image_shape": SHAPE, "shift": 0.5}, "shift: 0.5, want "),
        ({"image_shape": SHAPE, "cutout": 4}, "cutout: 4, want a whole number of pixels from 0 to 3"),
        ({"image_shape": SHAPE, "rotate": -1}, "rotate: -1, want a number in [0, 360)"),
        ({"image_shape": SHAPE, "rotate": "5"}, "rotate: '5', want "),
        ({"image_shape": SHAPE, "zoom": 1.0}, "zoom: 1.0, want a number in [0, 1)"),
        ({"image_shape": (5, 4)}, "image_shape: (5, 4), want "),
        ({"image_shape": (0, 5, 4)}, "image_shape: "),
        ({"image_shape": 40}, "image_shape: 40, want "),
    ],
)
def test_augmentations_that_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}[^\n]*$"):
        Augment(**arguments)


# --- Standardize ---


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_standardize_centres_and_scales_each_column(dtype):
    X = np.random.default_rng(0).integers(0, 256, (300, 7)).astype(dtype)
    X[:, 3] = 200  # constant: only centred
    layer = Standardize.fit(X)
    Z = layer.forward(X).astype(np.float64)
    exact = X.astype(np.float64)
    std = np.where(exact.std(0) > 0, exact.std(0), 1)
    # mean and scale are float32, then two roundings: of numbers below 256 / std
    np.testing.assert_allclose(Z, (exact - exact.mean(0)) / std, rtol=0, atol=4 * U * 256 / std.min())
    assert not Z[:, 3].any()
    assert Standardize.fit(X.astype(np.float64) * 1).features_in == 7


@pytest.mark.parametrize("offset", [1e5, 1.6e9])
def test_standardize_keeps_what_float64_columns_far_from_zero_say(offset):
    """Seconds since 1970, say: float32 holds those to 128, so the mean has to go before the rounding."""
    X = offset + np.random.default_rng(0).normal(size=(500, 2)) * 10
    Z = Standardize.fit(X).forward(X)
    np.testing.assert_allclose(Z, (X - X.mean(0)) / X.std(0), rtol=0, atol=1e-3)


def test_standardize_by_hand():
    layer = Standardize([1, 2], [[2, 0]])
    np.testing.assert_array_equal(layer.forward([[5, 5]]), [[2, 3]])
    np.testing.assert_array_equal(layer.backward([[1, 1]]), [[0.5, 1]])
    layer.step(0.1)
    np.testing.assert_array_equal(layer.forward([[5, 5]]), [[2, 3]])


def test_a_column_that_is_constant_but_for_rounding_is_only_centred():
    X = np.stack([np.full(1000, 0.1), np.arange(1000) / 1000], axis=1)
    assert Standardize.fit(X).std[0] == 0


@pytest.mark.parametrize("values", ["ab", [[1], [1, 2]], None, [["x"]]])
def test_a_mean_that_is_no_row_of_numbers_is_refused(values):
    with pytest.raises(ArgumentError, match=r"^mean: [^\n]*want"):
        Standardize(values, [1, 1])


def test_fitting_standardize_to_bad_rows_is_refused():
    with pytest.raises(DataError, match=r"^X: nan at row 1, column 0; want finite numbers$"):
        Standardize.fit([[0.0, 1.0], [np.nan, 1.0]])
    with pytest.raises(DataError, match=r"^X: shape \(3,\)"):
        Standardize.fit([1.0, 2.0, 3.0])


# --- Whiten ---


def correlated_rows(rows=500, features=37, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 9)) @ rng.standard_normal((9, features)) + 0.1 * rng.standard_normal(
        (rows, features)
    )


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8])
def test_its_outputs_are_uncorrelated_with_variance_1_and_mean_0(kind):
    X = (40 * correlated_rows() / np.abs(correlated_rows()).max() + 100).astype(kind)
    first = Standardize.fit(X)
    y = Whiten.fit(X, 9, after=first).forward(first.forward(X)).astype(np.float64)
    assert np.allclose(y.mean(0), 0, atol=1e-4)
    assert np.allclose(y.T @ y / len(y), np.eye(9), atol=1e-3)


def test_its_components_are_the_largest_principal_components():
    X = correlated_rows()
    centred = X - X.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(centred @ directions[:5].T / singular[:5]) * np.sqrt(len(X))
    assert np.allclose(np.abs(Whiten.fit(X, 5).forward(X)), expected, rtol=1e-3, atol=1e-3)


def test_directions_without_variance_stay_zero():
    X = correlated_rows()
    X[:, 3] = 7.0
    X[:, 4] = X[:, 5]
    y = Whiten.fit(X, 37).forward(X)
    assert np.isfinite(y).all()
    assert np.allclose(y[:, -2:], 0)


def test_values_too_large_to_square_are_refused():
    X = correlated_rows()
    with pytest.raises(DataError, match="X: values too large to whiten, want standardised rows"):
        Whiten.fit(1e30 * X, 5)
    assert np.isfinite(Whiten.fit(1e30 * X, 5, after=Standardize.fit(1e30 * X)).projection).all()


def test_backward_is_the_transposed_map():
    X, grad = correlated_rows(5), np.random.default_rng(1).standard_normal((5, 9)).astype(np.float32)
    layer = Whiten.fit(correlated_rows(), 9)
    layer.forward(X)
    assert np.allclose(layer.backward(grad), grad @ layer.projection.T, rtol=1e-4, atol=1e-5)


def whitening_network(X, y_classes=3):
    network = FeedForwardNeuralNetwork(9, y_classes, [16], seed=0)
    first = Standardize.fit(X)
    network.layers[:0] = [first, Whiten.fit(X, 9, after=first)]
    return network


@pytest.fixture
def data():
    X = correlated_rows().astype(np.float32)
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def test_a_network_trains_behind_it_and_one_program_gives_the_bits_of_the_layers(data):
    X, Y = data
    network, twin = whitening_network(X), whitening_network(X)
    history = Trainer(network, batch_size=50, step_size=0.01).fit(X, Y, epochs=20)
    assert history.epochs[-1].train_accuracy > 0.9
    twin.lowers = lambda: False
    Trainer(twin, batch_size=50, step_size=0.01).fit(X, Y, epochs=20)
    assert np.array_equal(network.linear_layers[0].weights, twin.linear_layers[0].weights)


def test_a_saved_network_takes_raw_rows(tmp_path, data):
    X, _ = data
    network = whitening_network(X)
    network.save(str(tmp_path / "net.safetensors"))
    assert np.array_equal(FeedForwardNeuralNetwork.load(str(tmp_path / "net.safetensors")).logits(X), network.logits(X))


def test_a_resumed_run_whitens_with_the_bits_it_began_with(data):
    X, Y = data
    trainer, other = Trainer(whitening_network(X)), Trainer(whitening_network(X))
    trainer.fit(X, Y, epochs=1)
    projection = other.network.layers[1].projection
    other.network.layers[1] = Whiten(np.nextafter(projection, np.float32(9)), other.network.layers[1].shift)
    restore_trainer(other, *trainer_state(trainer), "state")
    assert np.array_equal(other.network.layers[1].projection, trainer.network.layers[1].projection)


def test_what_does_not_fit_is_refused_by_name(tmp_path, data):
    X, _ = data
    with pytest.raises(ArgumentError, match="components: 38, want at most the 37 features"):
        Whiten.fit(X, 38)
    with pytest.raises(ArgumentError, match="components: 0"):
        Whiten.fit(X, 0)
    for after in (Standardize, Whiten.fit(X, 2), 5, "text", X):
        with pytest.raises(ArgumentError, match=r"^after: .*, want a Standardize or None$"):
            Whiten.fit(X, 5, after=after)
    with pytest.raises(ArgumentError, match=r"projection: shape \(3, 2\) with a shift of 1"):
        Whiten(np.ones((3, 2)), np.ones(1))
    with pytest.raises(ArgumentError, match="projection: holds a value that is not finite"):
        Whiten(np.full((3, 2), np.nan), np.ones(2))
    network = whitening_network(X)
    network.layers[2] = LinearLayer(8, 16)
    arrays, layers = network.contents()
    save(tmp_path / "bad.safetensors", arrays, {"layers": layers})
    assert load(tmp_path / "bad.safetensors")
    with pytest.raises(DataError, match=r"layer 2 \(linear\) takes 8 values, want 9"):
        FeedForwardNeuralNetwork.load(str(tmp_path / "bad.safetensors"))
