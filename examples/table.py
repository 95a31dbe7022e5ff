"""
A table
=======

A file of text and numbers with gaps, as people have them, goes in as it is.
This needs ``pip install "fastff[tables]"``.
"""

import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastff import Adam, FeedForwardNeuralNetwork, Standardize, Trainer, evaluate, load_dataset

# %%
# First the table itself: 2,000 made-up flats. Some ages are missing.

rng = np.random.default_rng(0)
path = Path(tempfile.mkdtemp()) / "flats.csv"
with path.open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["town", "rooms", "age", "let"])
    for _ in range(2000):
        town, rooms, age = rng.choice(["Basel", "Bern", "Chur"]), rng.integers(1, 7), rng.integers(0, 90)
        wanted = rooms - age / 30 + 2 * (town == "Basel") + rng.normal(0, 0.5)
        writer.writerow([town, rooms, "" if rng.random() < 0.1 else age, "yes" if wanted > 2.5 else "no"])

print(path.read_text()[:90])

# %%
# ``target`` names the column to predict. A fifth of the rows is held out to test, and a tenth of the others to
# validate.

data = load_dataset(path, target="let", test_share=0.2)
print(data)

# %%
# Text becomes a column for each value, and a gap is marked. The same is done to new rows later.

print(data.columns.feature_names)

# %%
network = FeedForwardNeuralNetwork(data.n_features, data.n_classes, hidden_dim=[64, 32], seed=0)
network.layers.insert(0, Standardize.fit(data.x_train))
Trainer(network, Adam(weight_decay=1e-3), batch_size=32).fit(
    data.x_train, data.y_train, data.x_val, data.y_val, epochs=20
)
loss, accuracy = evaluate(network, data.x_test, data.y_test)
print(f"test accuracy {accuracy:.1%}, classes {data.class_names}")

# %%
# How likely a flat of each age is let, as the network sees the test rows.

chance = network.predict_proba(data.x_test)[:, 1]
age = data.x_test[:, data.columns.feature_names.index("age")]
plt.figure(figsize=(6, 3))
plt.scatter(age, chance, s=8)
plt.xlabel("age")
plt.ylabel("probability of being let")
plt.tight_layout()

# %%
# The command does all of this, and more that suits tables, in a line: ``fastff train flats.csv --target let``.
