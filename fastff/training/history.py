"""What training leaves behind: a record an epoch, the losses of all batches, how far it came, and the best weights."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class EpochRecord:
    """One epoch: training figures are means over its batches as they came, validation follows it (None without)."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float  # of training; validation counts where one call trained several epochs
    examples_per_second: float


@dataclass
class History:
    """What training showed: loss and accuracy of every batch, in order, and a record an epoch."""

    batch_losses: list[float] = field(default_factory=list)
    batch_accuracies: list[float] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)


@dataclass
class Progress:
    """How far training has come: epochs finished, and the batches done and seconds spent in the one under way."""

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0


@dataclass
class Best:
    """The best value of what is monitored, its epoch, and the network's parameters() then."""

    value: float
    epoch: int
    arrays: dict[str, np.ndarray]
