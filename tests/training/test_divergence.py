"""A loss that is not finite ends training before its batch changes the weights."""

import math
import re

import numpy as np
import pytest
from trainers import Through, X, Y, assert_same_history, assert_same_weights, make

from fastff import SGD, CrossEntropySoftmax, DivergenceError, Trainer


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
def test_a_loss_that_is_not_finite_stops_before_its_batch_changes_the_weights(layer):
    net, before = make(layer=layer and layer()), []
    rows = X.copy()
    rows[50] = 3e38  # finite, but no sum of it is
    trainer = Trainer(net, batch_size=16, step_size=0.01)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(rows, Y, epochs=3)
    message = str(caught.value)
    found = re.fullmatch(
        r"the loss is not finite at epoch 1, batch (\d+) "
        r"\(step \1, largest \|logit\| (inf|nan), largest \|weight\| \d\.\d+\); "
        r"the weights are those before it\. Try a step size below 0\.01, or standardised rows",
        message,
    )
    assert found, message
    done = int(found[1])
    assert len(trainer.history.batch_losses) == done
    assert all(math.isfinite(loss) for loss in trainer.history.batch_losses)
    assert not trainer.history.epochs
    # as far as it came, it came as training without that row does
    recorder = Through()
    Trainer(make(layer=recorder), batch_size=16, step_size=0.01).fit(X, Y, epochs=1)
    number, expected, criterion = {row.tobytes(): i for i, row in enumerate(X)}, make(), CrossEntropySoftmax()
    for batch in recorder.batches[:done]:
        before = [number[row.tobytes()] for row in batch]
        criterion.forward(expected.forward(X[before]), Y[before])
        expected.backward(criterion.backward())
        expected.step(0.01)
    assert_same_weights(net, expected)
    assert {layer.updates for layer in net.linear_layers} == {done}


def test_a_step_too_large_diverges_with_finite_weights_and_advice():
    net = make(optimizer=SGD())
    with pytest.raises(DivergenceError, match=r"epoch \d+, batch \d+ .*Try a step size below 1e\+20"):
        Trainer(net, batch_size=16, step_size=1e20).fit(X, Y, epochs=50)
    assert issubclass(DivergenceError, ArithmeticError)


def test_after_a_divergence_a_smaller_step_goes_on():
    net = make(optimizer=SGD())
    trainer = Trainer(net, batch_size=16, step_size=1e20)
    with pytest.raises(DivergenceError):
        trainer.fit(X, Y, epochs=1)
    done = len(trainer.history.batch_losses)
    for layer in net.linear_layers:
        layer.weights = layer.weights * 0
        layer.bias = layer.bias * 0
    trainer.step_size = 0.01
    assert len(trainer.fit(X, Y, epochs=1).batch_losses) == 7
    assert done < 7


def test_a_divergence_in_the_first_batch_of_a_later_epoch_leaves_the_epochs_before_it():
    """Without a callback one native call trains all epochs: the result is that of one call an epoch."""

    class LastStepTooLarge(SGD):
        def hyper(self, first, step_sizes):
            steps = np.arange(first, first + len(step_sizes))
            return super().hyper(first, np.where(steps == 14, 3e38, step_sizes))

    results = []
    for on_epoch in (None, lambda _: None):
        trainer = Trainer(make(optimizer=LastStepTooLarge()), batch_size=16, step_size=0.01, monitor="train_loss")
        with pytest.raises(DivergenceError, match=r"^the loss is not finite at epoch 3, batch 0 \(step 14, "):
            trainer.fit(X, Y, epochs=5, on_epoch=on_epoch)
        results.append(trainer)
    one, other = results
    assert (one.progress.epoch, one.progress.batch, len(one.history.epochs)) == (2, 0, 2)
    assert_same_history(one.history, other.history)
    assert one.best.epoch == other.best.epoch
    for name, array in one.best.arrays.items():
        np.testing.assert_array_equal(array, other.best.arrays[name])
