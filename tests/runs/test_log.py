"""What a run writes for TensorBoard and MLflow, read back as they read it."""

import json
import sys

import numpy as np
import pytest
from command_line import run, snapshot, succeed, write_flowers

from fastff.runs.progress import TrainingProgress

# SQLAlchemy 2.1 deprecates what MLflow calls.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SMALL = ("--hidden", 8, "--batch-size", 16)
TAGS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "val_loss": "loss/val",
    "val_accuracy": "accuracy/val",
    "examples_per_second": "examples_per_second",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """MLflow 3.7 leaves an empty folder where it is used."""
    monkeypatch.chdir(tmp_path)


def metrics(folder, name):
    """What metrics.jsonl has by this name, by epoch."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["epoch"]: line[name] for line in lines}


def interrupt(monkeypatch, epoch):
    """Ctrl-C at the end of an epoch."""

    def show(self, record):
        if record.epoch == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingProgress, "show", show)


# --- TensorBoard


def scalars(folder):
    """What TensorBoard finds in the event files: {tag: {step: value}}."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    found = accumulators.EventAccumulator(str(folder)).Reload()
    series = {tag: found.Tensors(tag) for tag in found.PluginTagToContent("scalars")}
    for tag, events in series.items():
        assert len({event.step for event in events}) == len(events), tag
    return {tag: {e.step: make_ndarray(e.tensor_proto).item() for e in events} for tag, events in series.items()}


def assert_logged(folder):
    """TensorBoard finds just what metrics.jsonl says."""
    found = scalars(folder)
    for name, tag in TAGS.items():
        assert found[tag] == {epoch: np.float32(value) for epoch, value in metrics(folder, name).items()}


def test_tensorboard_reads_the_figures(flowers, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    folder = tmp_path / "runs" / "one"
    succeed("train", flowers, *SMALL, "--epochs", 3, "--log", "tensorboard", "--out", folder)
    assert_logged(folder)
    summary = json.loads((folder / "summary.json").read_text())
    for kind in ("loss", "accuracy"):
        assert scalars(folder)[f"{kind}/test"] == {3: np.float32(summary[f"test_{kind}"])}


def test_tensorboard_shows_the_options(flowers, tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")
    from tensorboard.plugins.hparams import metadata

    succeed("train", flowers, *SMALL, "--epochs", 1, "--log", "tensorboard", "--out", tmp_path / "run")
    found = accumulators.EventAccumulator(str(tmp_path / "run")).Reload().PluginTagToContent("hparams")
    options = metadata.parse_session_start_info_plugin_data(found["_hparams_/session_start_info"]).hparams
    assert options["hidden"].string_value == "[8]"
    assert options["batch_size"].number_value == 16
    assert options["standardize"].bool_value
    assert not {"out", "log", "resume"} & set(options)


def test_tensorboard_shows_a_run_without_validation_figures_or_test_rows(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    data = write_flowers(tmp_path, x_test=None, y_test=None)
    succeed("train", data, *SMALL, "--epochs", 1, "--log", "tensorboard", "--out", tmp_path / "run")
    assert set(scalars(tmp_path / "run")) == set(TAGS.values())


def test_what_ctrl_c_left_goes_on_in_tensorboard(flowers, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        stopped = run("train", flowers, *SMALL, "--epochs", 4, "--log", "tensorboard", "--out", folder)
    assert stopped.status == 130
    assert f"--resume --out {folder} --log tensorboard goes on" in stopped.err
    assert_logged(folder)
    succeed("train", "--resume", "--log", "tensorboard", "--out", folder)
    assert list(scalars(folder)["loss/train"]) == [1, 2, 3, 4]
    assert_logged(folder)


def test_a_new_run_in_an_old_folder_is_all_that_tensorboard_shows(flowers, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    for epochs in (4, 2):
        succeed("train", flowers, *SMALL, "--epochs", epochs, "--log", "tensorboard", "--out", tmp_path / "run")
    assert_logged(tmp_path / "run")


def test_a_full_disk_is_one_line(flowers, tmp_path, monkeypatch):
    writers = pytest.importorskip("tensorboard.summary.writer.event_file_writer")

    def flush(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writers.EventFileWriter, "flush", flush)
    result = run("train", flowers, *SMALL, "--epochs", 2, "--log", "tensorboard", "--out", tmp_path / "run")
    assert (result.status, result.err) == (1, "error: --log tensorboard: [Errno 28] No space left on device\n")


# --- MLflow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with MLflow's store, which takes seconds to make, and a run that made it; a client that reads it."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    folder = tmp_path_factory.mktemp("mlflow's")
    flowers = write_flowers(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        trained = run("train", flowers, *SMALL, "--epochs", 3, "--log", "mlflow")
    assert trained.status == 0, trained
    return folder, mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def tracked(store, monkeypatch):
    """As store, for runs that are not started in its folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store[0] / 'mlflow.db'}")
    return store


def runs_of(client, name):
    """The runs of this name, the latest first."""
    experiment = client.get_experiment_by_name("flowers")
    return client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")


def assert_tracked(client, tracked, folder):
    """MLflow has just what metrics.jsonl says."""
    for name in TAGS:
        history = client.get_metric_history(tracked.info.run_id, name)
        assert [(point.step, point.value) for point in history] == list(metrics(folder, name).items())


def test_mlflow_reads_the_figures(store):
    folder, client = store
    (found,) = runs_of(client, "flowers")
    assert found.info.status == "FINISHED"
    assert_tracked(client, found, folder / "runs" / "flowers")
    summary = json.loads((folder / "runs" / "flowers" / "summary.json").read_text())
    for name in ("test_loss", "test_accuracy", "val_accuracy", "best_epoch", "parameters"):
        assert found.data.metrics[f"summary/{name}"] == summary[name]


def test_mlflow_shows_the_options(store):
    (found,) = runs_of(store[1], "flowers")
    options = found.data.params
    assert (options["hidden"], options["batch_size"], options["standardize"]) == ("[8]", "16", "True")
    assert not {"out", "log", "resume"} & set(options)


def test_what_ctrl_c_left_goes_on_as_the_same_run_of_mlflow(flowers, tmp_path, tracked, monkeypatch):
    _, client = tracked
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        stopped = run("train", flowers, *SMALL, "--epochs", 3, "--log", "mlflow", "--out", folder)
    assert stopped.status == 130
    (found,) = runs_of(client, "stopped")
    assert found.info.status == "KILLED"
    assert_tracked(client, found, folder)
    succeed("train", "--resume", "--epochs", 4, "--log", "mlflow", "--out", folder)
    (found,) = runs_of(client, "stopped")
    assert found.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(found.info.run_id, "train_loss")] == [1, 2, 3, 4]
    assert_tracked(client, found, folder)


def test_a_run_that_diverges_has_failed_in_mlflow(flowers, tmp_path, tracked):
    _, client = tracked
    options = ["--optimizer", "sgd", "--step-size", 1e30, "--epochs", 3]
    result = run("train", flowers, *SMALL, *options, "--log", "mlflow", "--out", tmp_path / "diverged")
    assert (result.status, result.err.count("\n")) == (1, 1)
    (found,) = runs_of(client, "diverged")
    assert found.info.status == "FAILED"


def test_a_resumed_run_that_mlflow_does_not_know_is_a_new_one(flowers, tmp_path, tracked):
    _, client = tracked
    succeed("train", flowers, *SMALL, "--epochs", 2, "--out", tmp_path / "unknown")
    succeed("train", "--resume", "--epochs", 3, "--log", "mlflow", "--out", tmp_path / "unknown")
    (found,) = runs_of(client, "unknown")
    assert [point.step for point in client.get_metric_history(found.info.run_id, "train_loss")] == [3]


def test_a_store_that_cannot_be_used_is_one_line_and_leaves_no_run(flowers, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://")
    before = snapshot(tmp_path)
    result = run("train", flowers, "--log", "mlflow", "--out", tmp_path / "run")
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("error: --log mlflow: ")
    assert "nowhere://" in result.err
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "run").exists()


# --- neither


@pytest.mark.parametrize("package", ["tensorboard", "mlflow"])
def test_a_missing_package_is_one_line_and_leaves_no_run(flowers, tmp_path, monkeypatch, package):
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    before = snapshot(tmp_path)
    for out in ((), ("--out", tmp_path / "run")):
        result = run("train", flowers, "--log", package, *out)
        assert result.status == 1
        assert result.err == f'error: --log {package} needs {package}: pip install "fastff[{package}]"\n'
        assert snapshot(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == [flowers.name]
