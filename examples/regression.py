"""
Numbers to predict
==================

A network learns a function of one variable from noisy points.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastff import FeedForwardNeuralNetwork, Standardize, TargetScale, Trainer, evaluate

rng = np.random.default_rng(0)
X = rng.uniform(-3, 3, (1000, 1))
Y = 200 + 50 * np.sin(2 * X[:, 0]) * X[:, 0] + rng.normal(0, 10, len(X))

# %%
# ``Standardize`` prepares what goes in. ``TargetScale`` turns what comes out into the targets' own units, so that the
# network itself learns numbers of about 1.

network = FeedForwardNeuralNetwork(1, 1, hidden_dim=[64, 64], seed=0)
network.layers.insert(0, Standardize.fit(X))
network.layers.append(TargetScale.fit(Y))
trainer = Trainer(network, batch_size=32, step_size=3e-3, schedule="one-cycle", loss="squared_error")
history = trainer.fit(X[:800], Y[:800], X[800:], Y[800:], epochs=200)
print(history.epochs[-1])

# %%
# The score is r2, the share of the targets' variation that the predictions explain.

loss, r2 = evaluate(network, X[800:], Y[800:])
grid = np.linspace(-3, 3, 300)[:, None]
plt.figure(figsize=(6, 3.5))
plt.plot(X, Y, ".", markersize=2, color="grey", label="rows")
plt.plot(grid, network.predict(grid), linewidth=2, label=f"network, r2 {r2:.3f}")
plt.legend()
plt.tight_layout()
