"""What the tests of plots share: names and epochs to draw, and what is written and drawn in a picture."""

from types import SimpleNamespace

NAMES = ["horse", "ship", "truck"]


def records(losses, accuracies, *, validated=True):
    """Epoch records whose training figures are 0.1 above (loss) and below (accuracy) their validation ones."""
    return [
        SimpleNamespace(
            epoch=number,
            train_loss=loss + 0.1,
            train_accuracy=accuracy - 0.1,
            val_loss=loss if validated else None,
            val_accuracy=accuracy if validated else None,
        )
        for number, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def heading(figure):
    """The title and the notes below it, as one line."""
    return " ".join(text.get_text() for text in figure.texts)


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found
