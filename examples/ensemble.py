"""
Many networks, and an ensemble
==============================

``fit_many`` trains a network on each core. Several networks together mostly predict better than one.
"""

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
print("all eight:", f"{evaluate(ensemble, data.x_test, data.y_test)[1]:.1%}")
