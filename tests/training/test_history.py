"""What the history says of batches, epochs and validation."""

import numpy as np
import pytest
from drawn import heading, line
from trainers import X_VAL, Y_VAL, N, X, Y, assert_same_weights, make, trained

from fastff import ArgumentError, Trainer, evaluate


def test_what_the_history_says():
    records = []
    net = make()
    trainer = Trainer(net, batch_size=16, step_size=0.01)
    history = trainer.fit(X, Y, X_VAL, Y_VAL, epochs=3, on_epoch=records.append)
    assert history is trainer.history
    assert history.epochs == records
    assert [record.epoch for record in records] == [1, 2, 3]
    assert len(history.batch_losses) == len(history.batch_accuracies) == 3 * 7
    sizes = np.array([16] * 6 + [7])  # the last batch is ragged
    for i, record in enumerate(records):
        batches = slice(7 * i, 7 * i + 7)
        assert record.train_loss == pytest.approx(np.dot(history.batch_losses[batches], sizes) / N, rel=1e-12)
        assert record.train_accuracy == pytest.approx(np.dot(history.batch_accuracies[batches], sizes) / N, rel=1e-12)
        assert record.seconds > 0
        assert record.examples_per_second == pytest.approx(N / record.seconds)
    assert (records[-1].val_loss, records[-1].val_accuracy) == pytest.approx(evaluate(net, X_VAL, Y_VAL, N), rel=1e-12)
    assert type(history.batch_losses[0]) is type(history.batch_accuracies[0]) is float


def test_without_validation_there_are_no_figures_of_it():
    record = trained(epochs=1)[1].history.epochs[0]
    assert record.val_loss is None
    assert record.val_accuracy is None


def test_validation_does_not_touch_training():
    net = make(dropout=0.3)
    Trainer(net, batch_size=16, step_size=0.01).fit(X, Y, X_VAL, Y_VAL, epochs=2)
    assert_same_weights(net, trained(dropout=0.3)[0])


def test_a_history_says_in_short_what_it_holds():
    history = trained(epochs=2)[1].history
    accuracy = f"{history.epochs[-1].train_accuracy:.3f}"
    assert repr(history) == f"History(2 epochs, 14 batches, train_accuracy {accuracy})"
    trainer = Trainer(make(), batch_size=N)
    assert repr(trainer.history) == "History(0 epochs, 0 batches)"
    history = trainer.fit(X, Y, X_VAL, Y_VAL, epochs=1)
    assert repr(history) == f"History(1 epoch, 1 batch, val_accuracy {history.epochs[0].val_accuracy:.3f})"


def test_a_history_is_drawn_into_a_file_or_for_a_notebook(tmp_path, monkeypatch):
    history = trained(epochs=2)[1].history
    history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    figure = history.plot(title="my network")
    assert plt.fignum_exists(figure.number)
    assert heading(figure).startswith("my network Epoch 2: training accuracy")
    plt.close(figure)
    with pytest.raises(ArgumentError, match="wanted as many in both, at least one"):
        Trainer(make()).history.plot()


def test_a_drawn_history_marks_the_epoch_with_the_best_validation(tmp_path):
    trainer = Trainer(make(dropout=0.3), batch_size=16, step_size=0.01, monitor="val_accuracy")
    history = trainer.fit(X, Y, X_VAL, Y_VAL, epochs=6)
    best = trainer.best.epoch
    figure = history.plot(tmp_path / "curves.png")
    assert line(figure.axes[0], "best epoch").get_xdata() == [best, best]
    said = f"Best epoch {best} of 6: validation accuracy {history.epochs[best - 1].val_accuracy:.1%}"
    assert said in heading(figure)


def test_a_history_is_a_frame_of_its_epochs():
    pytest.importorskip("pandas")
    trainer = Trainer(make(), batch_size=N)
    assert list(trainer.history.to_frame().columns[:2]) == ["epoch", "train_loss"]
    frame = trainer.fit(X, Y, X_VAL, Y_VAL, epochs=3).to_frame()
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame["val_accuracy"].tolist() == [record.val_accuracy for record in trainer.history.epochs]
    assert "val_r2" not in frame
