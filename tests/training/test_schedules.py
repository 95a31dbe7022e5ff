"""The step size of each batch follows the schedule, also after an interrupt."""

import numpy as np
import pytest
from trainers import C, D, Through, X, Y, assert_same_weights, make

from fastff import SGD, FeedForwardNeuralNetwork, Trainer

DONE = np.arange(28) / 28
FACTORS = {
    "constant": np.ones(28),
    "step": np.repeat([1, 0.1, 0.01], [14, 7, 7]),
    "cosine": (1 + np.cos(np.pi * DONE)) / 2,
    # up from 1/25 over the first 30%, as torch's OneCycleLR has it, and down to 0
    "one-cycle": np.where(
        DONE < 0.3, 1 - 24 / 25 * (1 + np.cos(np.pi * DONE / 0.3)) / 2, (1 + np.cos(np.pi * (DONE - 0.3) / 0.7)) / 2
    ),
}


@pytest.mark.parametrize("layer", [None, Through], ids=["program", "layers"])
@pytest.mark.parametrize("schedule", FACTORS)
def test_the_step_size_follows_the_schedule(layer, schedule):
    seen = []

    class Watched(SGD):
        def hyper(self, first, step_sizes):
            seen.extend(np.asarray(step_sizes).tolist())
            return super().hyper(first, step_sizes)

    net = FeedForwardNeuralNetwork(D, C, [], optimizer=Watched(), seed=0)
    net.layers[:0] = [layer()] if layer else []
    Trainer(net, batch_size=16, step_size=0.5, schedule=schedule).fit(X, Y, epochs=4)
    np.testing.assert_allclose(seen, 0.5 * FACTORS[schedule], rtol=1e-12)


def test_an_interrupted_cosine_goes_on():
    net, expected_net = make(), make()
    trainer = Trainer(net, batch_size=16, step_size=0.01, schedule="cosine")

    def on_epoch(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=4, on_epoch=on_epoch)
    trainer.fit(X, Y, epochs=2)
    Trainer(expected_net, batch_size=16, step_size=0.01, schedule="cosine").fit(X, Y, epochs=4)
    assert_same_weights(net, expected_net)
