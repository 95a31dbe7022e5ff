"""The losses as their users see them: a float, a gradient, any shape of labels, any finite logit, clear refusals."""

import warnings

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import MAX, U

from fastff import (
    AbsoluteError,
    ArgumentError,
    CrossEntropySoftmax,
    DataError,
    FeedForwardNeuralNetwork,
    Loss,
    PoissonLoss,
    SquaredError,
    Trainer,
    evaluate,
)

# Hypothesis also makes rows such as 0, 1, of which the loss warns
pytestmark = pytest.mark.filterwarnings("ignore:logits. each row holds:UserWarning")


def twin(logits, labels, smoothing=0.0):
    """(mean loss, gradient, softmax), float64."""
    z, labels = np.asarray(logits, np.float64), np.asarray(labels)
    loss = reference.cross_entropy(z, labels, smoothing).mean()
    return loss, reference.cross_entropy_gradient(z, labels, smoothing), reference.softmax(z)


@st.composite
def batches(draw):
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    elements = st.floats(-50, 50, width=32)
    logits = draw(hnp.arrays(np.float32, (rows, classes), elements=elements))
    return logits, draw(hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))


@given(batches(), st.sampled_from([0.0, 0.1, 0.5]))
def test_loss_and_gradient_are_the_equations(batch, smoothing):
    logits, labels = batch
    criterion = CrossEntropySoftmax(smoothing)
    loss, gradient = criterion.forward(logits, labels), criterion.backward()
    expected, expected_gradient, p = twin(logits, labels, smoothing)
    classes = logits.shape[1]
    # z - max is rounded once, by U * 100 at most, which moves log(sum exp) as much; exp is within 3 U, and the float32
    # sums (of exponentials, and of smoothing's mean) lose U a term of their absolute sum
    assert abs(loss - expected) <= U * (100 + classes + 3 + smoothing * 100 * (classes + 2))
    # a probability is moved by factors e^(z's error) above and below, U a term of the sum, and a few single roundings
    bound = U * (p * (2 * 100 + classes + 10) + 4) / len(logits)
    assert (np.abs(gradient - expected_gradient) <= bound).all()


def test_what_comes_back():
    criterion = CrossEntropySoftmax()
    loss = criterion.forward(np.zeros((4, 3)), [0, 1, 2, 0])
    assert type(loss) is float
    assert loss == pytest.approx(np.log(3), abs=4 * U)
    gradient = criterion.backward()
    assert gradient.shape == (4, 3)
    np.testing.assert_allclose(gradient[0], [-2 / 12, 1 / 12, 1 / 12], rtol=0, atol=4 * U)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32, ">i8"])
def test_labels_of_either_shape_and_any_integer_type(dtype):
    logits, labels = np.random.default_rng(0).normal(size=(7, 4)), np.array([0, 1, 2, 3, 3, 2, 1])
    plain, other = CrossEntropySoftmax(), CrossEntropySoftmax()
    expected = plain.forward(logits, labels)
    for shaped in (labels.astype(dtype), labels.astype(dtype)[:, None], labels.tolist()):
        assert other.forward(logits, shaped) == expected
        np.testing.assert_array_equal(other.backward(), plain.backward())


def test_labels_that_are_a_column_of_a_table():
    logits = np.random.default_rng(0).normal(size=(6, 4))
    table = np.stack([[0, 1, 2, 3, 2, 1], [3, 3, 3, 0, 0, 0]], axis=1)
    for labels in (table[:, 0], table[:, :1], table[::-1, 1]):
        loss = CrossEntropySoftmax().forward(logits, labels)
        assert loss == CrossEntropySoftmax().forward(logits, labels.copy())


@pytest.mark.parametrize("scale", [1e4, 1e30, MAX])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_logits_give_finite_numbers(scale, smoothing):
    logits = np.float32(scale) * np.array([[1, -1, 0], [-1, 1, 1], [0, 0, 0], [-1, -1, -1]], np.float32)
    labels = [1, 0, 2, 1]
    criterion = CrossEntropySoftmax(smoothing)
    loss, gradient = criterion.forward(logits, labels), criterion.backward()
    expected, expected_gradient, _ = twin(logits, labels, smoothing)
    assert np.isfinite(loss)
    # past 2 * MAX the distance from the row's maximum no longer fits float32, which costs smoothing's small share
    assert loss == pytest.approx(expected, rel=8 * U if scale < MAX or not smoothing else smoothing)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=4 * U)


def test_one_class_costs_nothing():
    criterion = CrossEntropySoftmax()
    assert criterion.forward([[5.0], [-3.0]], [0, 0]) == 0.0
    np.testing.assert_array_equal(criterion.backward(), np.zeros((2, 1)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_is_seen(bad):
    logits = np.zeros((5, 3), np.float32)
    logits[2, 1] = bad
    criterion = CrossEntropySoftmax()
    loss = criterion.forward(logits, [0, 1, 1, 0, 2])
    assert not np.isfinite(loss)
    # who steps along this gradient must meet the NaN, not whatever was in memory
    gradient = criterion.backward()
    if bad != -np.inf:  # whose softmax exists: only the loss is infinite
        assert np.isnan(gradient[2]).any()
    np.testing.assert_allclose(gradient[0], np.array([-2, 1, 1]) / 15, rtol=0, atol=4 * U)


def test_the_loss_of_a_batch_that_went_wrong_does_not_stay():
    criterion = CrossEntropySoftmax()
    criterion.forward([[np.nan, 0.0]], [0])
    assert criterion.forward([[0.0, 0.0]], [0]) == pytest.approx(np.log(2), abs=4 * U)
    np.testing.assert_allclose(criterion.backward(), [[-0.5, 0.5]], rtol=0, atol=4 * U)


def test_the_arguments_are_not_modified():
    logits, labels = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32), np.arange(9) % 5
    before = logits.copy(), labels.copy()
    criterion = CrossEntropySoftmax()
    criterion.forward(logits, labels)
    criterion.backward()
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3], r"^labels: 3 at row 1, want a whole number from 0 to 2$"),
        ([-1, 0], r"^labels: -1 at row 0, want a whole number from 0 to 2$"),
        ([0, 0.5], r"^labels: 0.5 at row 1, want a whole number from 0 to 2$"),
        ([0, 1, 2], r"^labels: 3 labels for 2 rows, want one a row$"),
        ([[0, 1], [1, 0]], r"^labels: shape \(2, 2\), want \(rows,\) or \(rows, 1\)"),
        (["a", "b"], r"^labels: holds <U1 values, want class numbers, as names, labels = np.unique"),
    ],
)
def test_labels_that_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        CrossEntropySoftmax().forward(np.zeros((2, 3)), labels)


def test_logits_that_are_refused():
    with pytest.raises(DataError, match=r"^logits: shape \(3,\), want \(rows, classes\)"):
        CrossEntropySoftmax().forward(np.zeros(3), [0])
    with pytest.raises(DataError, match=r"^logits: empty"):
        CrossEntropySoftmax().forward(np.zeros((0, 3)), [])


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan"), "0.1", None])
def test_smoothing_that_is_refused(smoothing):
    with pytest.raises(ArgumentError, match=rf"^label_smoothing: {smoothing!r}, want a number in \[0, 1\)$"):
        CrossEntropySoftmax(smoothing)


def test_backward_needs_a_forward():
    with pytest.raises(ArgumentError, match=r"^CrossEntropySoftmax.backward: no forward has run$"):
        CrossEntropySoftmax().backward()


@pytest.mark.parametrize("rows", [[[0.2, 0.8], [0.5, 0.5]], [[1.0, 0.0, 0.0]], np.full((4, 3), 1 / 3)])
def test_probabilities_in_place_of_logits_are_warned_of(rows):
    with pytest.warns(
        UserWarning, match="^logits: each row holds numbers from 0 to 1 that sum to 1, as after a softmax"
    ):
        CrossEntropySoftmax().forward(np.array(rows), np.zeros(len(rows), int))


@pytest.mark.parametrize(
    "rows", [[[0.2, 0.9]], [[-0.5, 1.5]], [[0.5], [1.0]], [[0.5, 0.5], [3.0, 1.0]], np.zeros((2, 2))]
)
def test_logits_are_not_taken_for_probabilities(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CrossEntropySoftmax().forward(np.array(rows), np.zeros(len(rows), int))


# --- losses on numbers to predict ---

TWINS = {"squared_error": (SquaredError, "squared", 2.0), "absolute_error": (AbsoluteError, "absolute", 1.0),
         "poisson": (PoissonLoss, "poisson", 1.0)}  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", TWINS)
def test_a_loss_of_numbers_is_a_mean_over_rows_and_outputs(name, weighted):
    kind, twin, share = TWINS[name]
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(37, 3)).astype(np.float32), rng.integers(0, 4, (37, 3))
    w = rng.integers(0, 3, 37) if weighted else np.ones(37)
    loss, slope, _ = reference.target_loss(twin, z.astype(np.float64), t)
    criterion = kind()
    found = criterion.forward(z, t, *([w] if weighted else []))
    assert found == pytest.approx(share * (w[:, None] * loss).sum() / (w.sum() * 3), rel=1e-5)
    expected = share * w[:, None] * slope / (w.sum() * 3)
    np.testing.assert_allclose(criterion.backward(), expected, rtol=1e-5, atol=1e-7)
    errors = (np.exp(z) if name == "poisson" else z) - t
    scale = 1.0 if not weighted else 0.25  # the largest weight, 2, is kept as 1/2
    assert criterion.score(z, t) == pytest.approx(scale * (w[:, None] * errors.astype(float) ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize("name", TWINS)
def test_the_gradient_is_that_of_finite_differences(name):
    criterion, rng = TWINS[name][0](), np.random.default_rng(1)
    z, t = rng.normal(size=(5, 2)), rng.integers(0, 4, (5, 2))
    criterion.forward(z, t)
    gradient, step = criterion.backward(), 1e-2
    for i, k in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[i, k] += step
        down[i, k] -= step
        assert gradient[i, k] == pytest.approx(
            (criterion.forward(up, t) - criterion.forward(down, t)) / (2 * step), abs=2e-4
        )


@pytest.mark.parametrize("name", TWINS)
def test_the_same_as_torch(name):
    torch = pytest.importorskip("torch")
    other = {"squared_error": torch.nn.MSELoss(), "absolute_error": torch.nn.L1Loss(),
             "poisson": torch.nn.PoissonNLLLoss(log_input=True)}[name]  # fmt: skip
    rng, criterion = np.random.default_rng(2), TWINS[name][0]()
    z, t = rng.normal(size=(9, 4)).astype(np.float32), rng.integers(0, 4, (9, 4)).astype(np.float32)
    z[0, 0] = t[0, 0]
    outputs = torch.tensor(z, requires_grad=True)
    loss = other(outputs, torch.tensor(t))
    loss.backward()
    assert criterion.forward(z, t) == pytest.approx(loss.item(), rel=1e-6)
    np.testing.assert_allclose(criterion.backward(), outputs.grad.numpy(), rtol=1e-5, atol=1e-8)


def test_targets_of_one_output_may_be_flat():
    criterion = SquaredError()
    assert criterion.forward([[1.0], [3.0]], [0, 1]) == criterion.forward([[1.0], [3.0]], [[0], [1]]) == 2.5
    np.testing.assert_array_equal(criterion.backward(), [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["a", "b"], "targets: holds <U1 values, want numbers to predict"),
        ([1.0, np.nan], "targets: nan at row 1, want finite numbers within float32"),
        ([1.0, 1e39], "targets: inf at row 1, want finite numbers within float32"),
        ([1.0], "targets: 1 targets for 2 rows, want one a row"),
        ([[1.0, 2.0]] * 2, "targets: rows of 2, want 1: a number for each output of the network"),
        (np.zeros((2, 1, 1)), r"targets: shape \(2, 1, 1\), want \(rows, outputs\), or \(rows,\) for one output"),
    ],
)
def test_bad_targets_are_refused(targets, message):
    with pytest.raises(DataError, match=f"^{message}$"):
        SquaredError().forward([[1.0], [2.0]], targets)


def test_a_loss_of_ones_own_is_trained_by_its_forward_and_backward():
    class Huber(Loss):  # as in docs/architecture.md
        def forward(self, outputs, targets):
            self.error = np.clip(outputs - targets, -1, 1)
            return float(np.mean(self.error * (outputs - targets) - self.error**2 / 2))

        def backward(self):
            return self.error / self.error.size

    X = np.random.default_rng(0).normal(size=(200, 3))
    net = FeedForwardNeuralNetwork(3, 1, 16, 2, seed=0)
    history = Trainer(net, loss=Huber(), step_size=0.01, monitor="val_r2").fit(
        X, X[:, 0] ** 2, X, X[:, 0] ** 2, epochs=60
    )
    assert history.epochs[-1].val_r2 > 0.8
    assert history.batch_accuracies == []
    torch = pytest.importorskip("torch")
    huber, z = Huber(), X[:, :1].astype(np.float32) * 3
    expected = torch.nn.functional.huber_loss(torch.tensor(z), torch.tensor(X[:, 1:2].astype(np.float32)))
    assert huber.forward(z, X[:, 1:2].astype(np.float32)) == pytest.approx(expected.item(), rel=1e-5)


def test_a_loss_that_is_no_number_is_refused():
    class Each(Loss):
        def forward(self, outputs, targets):
            return (outputs - targets) ** 2

    net, X = FeedForwardNeuralNetwork(3, 1, 16, 2, seed=0), np.ones((6, 3))
    for call in (
        lambda: Trainer(net, loss=Each()).fit(X, X[:, 0], epochs=1),
        lambda: evaluate(net, X, X[:, 0], loss=Each()),
    ):
        with pytest.raises(ArgumentError, match=r"^Each.forward: an array of float32 \(6, 1\), want the mean loss, a"):
            call()


def test_a_loss_of_ones_own_on_classes_has_accuracies():
    class Mine(Loss):
        task = "classify"

        def forward(self, outputs, targets):
            self.inner = CrossEntropySoftmax()
            return self.inner.forward(outputs, targets)

        def backward(self):
            return self.inner.backward()

    X = np.random.default_rng(0).normal(size=(90, 4))
    Y, histories = (X[:, :3]).argmax(1), []
    for loss in (Mine(), "cross_entropy"):
        net = FeedForwardNeuralNetwork(4, 3, 8, 2, seed=0)
        histories.append(Trainer(net, loss=loss, batch_size=16).fit(X, Y, X, Y, epochs=3))
    one, two = histories
    assert one.batch_losses == two.batch_losses
    assert one.batch_accuracies == two.batch_accuracies
    assert one.epochs[-1].val_accuracy == two.epochs[-1].val_accuracy
