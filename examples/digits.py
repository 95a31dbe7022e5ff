"""
Handwritten digits
==================

A network learns to read the 8x8 digits inside the package. Nothing is downloaded.
"""

import matplotlib.pyplot as plt

from fastff import Adam, FeedForwardNeuralNetwork, Standardize, Trainer, display_example, evaluate, load_dataset

data = load_dataset("digits")
print(data)

# %%
# A row holds the 64 pixels of one picture.

# sphinx_gallery_thumbnail_number = 2

figure, axes = plt.subplots(1, 5, figsize=(8, 2))
for row, label, ax in zip(data.x_train, data.y_train, axes, strict=False):
    display_example(row, label, ax=ax)

# %%
# ``Standardize`` stands first, so that the network takes raw rows. Its figures come from the training rows alone.

network = FeedForwardNeuralNetwork(64, 10, hidden_dim=[256, 128], seed=0)
network.layers.insert(0, Standardize.fit(data.x_train))
print(network.summary())

# %%
# The monitor keeps the weights of the best epoch, and ``restore_best`` brings them back.

trainer = Trainer(network, Adam(weight_decay=1e-4), batch_size=64, monitor="val_loss")
history = trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=20)
trainer.restore_best()
loss, accuracy = evaluate(network, data.x_test, data.y_test)
print(f"best epoch {trainer.best.epoch}; test loss {loss:.3f}, accuracy {accuracy:.1%}")

# %%
# The history has a loss for every batch, and a record for every epoch.

epochs = [record.epoch for record in history.epochs]
plt.figure(figsize=(6, 3))
plt.plot(epochs, [record.train_loss for record in history.epochs], label="training")
plt.plot(epochs, [record.val_loss for record in history.epochs], label="validation")
plt.xlabel("epoch")
plt.ylabel("loss")
plt.legend()
plt.tight_layout()

# %%
# These test digits were read wrongly: the title is what the network took them for.

guesses = network.predict(data.x_test)
wrong = (guesses != data.y_test).nonzero()[0]
figure, axes = plt.subplots(1, 5, figsize=(8, 2))
for row, ax in zip(wrong, axes, strict=False):
    display_example(data.x_test[row], guesses[row], ax=ax)
