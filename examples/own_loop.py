"""
A training loop of one's own
============================

``Trainer`` is a loop that one can also write by hand, from the same layers.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastff import CrossEntropySoftmax, FeedForwardNeuralNetwork, Standardize, Trainer, evaluate, load_dataset

data = load_dataset("digits")
prepare = Standardize.fit(data.x_train)


def new_network():
    return FeedForwardNeuralNetwork(64, 10, hidden_dim=[64], seed=0)


# %%
# A step goes forward through the layers, then back, and moves the weights against the gradient.

X, Y = prepare.forward(data.x_train), data.y_train
network, criterion, losses = new_network(), CrossEntropySoftmax(), []
trainer = Trainer(new_network(), batch_size=64, seed=0)
for epoch in range(5):
    order = trainer.order(epoch, len(X))  # any order will do; this one is the trainer's
    for start in range(0, len(X), 64):
        rows = order[start : start + 64]
        losses.append(criterion.forward(network.forward(X[rows]), Y[rows]))
        network.backward(criterion.backward())
        network.step(0.001)
    _, accuracy = evaluate(network, prepare.forward(data.x_val), data.y_val)
    print(f"epoch {epoch + 1}: validation accuracy {accuracy:.1%}")

# %%
# The trainer runs the same operations as one program, faster, and comes to the same weights bit for bit.

trainer.fit(X, Y, epochs=5)
same = all(
    np.array_equal(mine.weights, theirs.weights)
    for mine, theirs in zip(network.linear_layers, trainer.network.linear_layers, strict=True)
)
print("the same weights, bit for bit:", same)

plt.figure(figsize=(6, 3))
plt.plot(losses)
plt.xlabel("batch")
plt.ylabel("loss")
plt.tight_layout()
