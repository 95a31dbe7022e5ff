"""
Many networks, and an ensemble
==============================

``fit_many`` trains a network on each core. Several networks together mostly predict better than one.
"""

import matplotlib.pyplot as plt

from fastff import Config, Ensemble, evaluate, fit_many, load_dataset

data = load_dataset("digits")
configs = [Config(hidden=(64,), epochs=15, batch_size=32, seed=seed) for seed in range(8)]
fitted = fit_many(configs, data)
for one in fitted[:3]:
    print(one)

# %%
# Each result holds the network of its best epoch.

scores = [evaluate(one.network, data.x_test, data.y_test)[1] for one in fitted]
print("one network:", f"{min(scores):.1%} to {max(scores):.1%}")

# %%
# The ensemble predicts the mean of their probabilities, and is saved as one file.

ensemble = Ensemble([one.network for one in fitted])
together = evaluate(ensemble, data.x_test, data.y_test)[1]
print("all eight:", f"{together:.1%}")

plt.figure(figsize=(6, 3))
plt.bar(range(8), [100 * score for score in scores], label="one network")
plt.axhline(100 * together, color="C1", label="all eight")
plt.ylim(90, 100)
plt.xlabel("seed")
plt.ylabel("test accuracy (%)")
plt.legend(loc="lower right")
plt.tight_layout()
