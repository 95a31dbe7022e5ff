"""Whatever is wrong with an option of train, the line that says so has its name: as it is typed, or of the file."""

import dataclasses

import numpy as np
import pytest
from command_line import run, write_flowers

from fastff.runs.config import Config

TABLE, NUMBERS = "t.csv --target y", "t.csv --target z --task regress"
# Of every option command lines that it cannot have, some of which only the data show
REFUSED = {
    "dataset": ["digts", "t.txt", "--hidden 3 -- nowhere.npz"],
    "data_dir": ["flowers.npz --data-dir .", "digits --data-dir .", "mnist --data-dir .", "cifar10-hst --data-dir no"],
    "target": ["t.csv", "t.csv --target Y", "flowers.npz --target y", "t.csv --target"],
    "task": [f"{TABLE} --task numbers", "digits --task regress"],
    "drop": [f"{TABLE} --drop w", f"{TABLE} --drop y", "flowers.npz --drop a"],
    "categorical": [f"{TABLE} --categorical w", "flowers.npz --categorical a"],
    "weight_column": [f"{TABLE} --weight-column w", f"{TABLE} --weight-column y", f"{TABLE} --weight-column less"],
    "class_weight": [f"{TABLE} --class-weight even", f"{NUMBERS} --class-weight balanced"],
    "test_share": [f"{TABLE} --test-share 1", f"{TABLE} --test-share 0.99", f"{TABLE} --test-share 0.2 --test t.csv"],
    "test": [f"{TABLE} --test nowhere.csv", f"{TABLE} --test flowers.npz", "flowers.npz --test t.csv"],
    "split_seed": [f"{TABLE} --split-seed -1", f"{TABLE} --split-seed 0.5", "flowers.npz --split-seed 3"],
    "preset": ["--preset bset", "--preset"],
    "config": ["--config nowhere.toml", "--config ."],
    "out": ["--out", "--out=", "flowers.npz --out flowers.npz"],
    "resume": ["--resume --out empty", "--resume=yes"],
    "log": ["--log wandb"],
    "distributed": ["--distributed gpu"],
    "distributed_timeout": ["--distributed-timeout 30", "--distributed-timeout soon"],
    "shard_optimizer": ["--shard-optimizer"],
    "seeds": ["--seeds 0", "--seeds many", "--seeds 2 --log tensorboard"],
    "checkpoint_epochs": ["--checkpoint-epochs 0"],
    "checkpoint_minutes": ["--checkpoint-minutes 0", "--checkpoint-minutes nan"],
    "on_divergence": ["--on-divergence panic"],
    "hidden": ["--hidden 0", "--hidden 8 -8", "--hidden 8,0", "--hidden wide", "--hidden 1.5"],
    "activation": ["--activation gelu", "flowers.npz --hidden --activation tanh"],
    "dropout": ["--dropout 1", "--dropout -0.5", "--dropout nan", "flowers.npz --hidden --dropout 0.5"],
    "standardize": ["--standardize=3"],
    "whiten": ["--whiten -1", "flowers.npz --whiten 5"],
    "bins": ["--bins -1", "--bins 4 --whiten 4"],
    "mirror": ["flowers.npz --mirror", f"{TABLE} --mirror"],
    "shift": ["digits --shift 8", "digits --shift -1", "flowers.npz --shift 1", f"{TABLE} --shift 1"],
    "rotate": ["digits --rotate -1", "digits --rotate 360", "flowers.npz --rotate 5"],
    "zoom": ["digits --zoom 1", "digits --zoom nan", "flowers.npz --zoom 0.1"],
    "cutout": ["digits --cutout 8", "digits --cutout 0.5", "flowers.npz --cutout 2"],
    "epochs": ["--epochs 0", "--epochs many", "--epochs 1.5"],
    "batch_size": ["--batch-size 0"],
    "step_size": ["--step-size 0", "--step-size -1e-3", "--step-size inf", "--step-size 0,1"],
    "schedule": ["--schedule linear"],
    "optimizer": ["--optimizer rmsprop", "--optimizer Adam"],
    "beta1": ["--beta1 1", "flowers.npz --optimizer sgd --beta1 0.5"],
    "beta2": ["--beta2 1", "flowers.npz --optimizer sgd --beta2 0.5"],
    "epsilon": ["--epsilon 0", "flowers.npz --optimizer sgd --epsilon 0.5"],
    "bias_correction": ["--bias-correction none", "flowers.npz --optimizer sgd --bias-correction constant"],
    "decay": ["--decay l1"],
    "weight_decay": ["--weight-decay -1"],
    "momentum": ["--momentum 0.5", "--optimizer sgd --momentum 1"],
    "loss": ["--loss hinge", "--loss poisson", f"{NUMBERS} --loss cross_entropy", f"{NUMBERS} --loss poisson"],
    "clip_norm": ["--clip-norm 0", "--clip-norm 1 --precision bfloat16"],
    "ema_decay": ["--ema-decay 1", "--ema-decay -0.1", "--ema-decay half"],
    "label_smoothing": ["--label-smoothing 1", f"{NUMBERS} --label-smoothing 0.1"],
    "patience": ["--patience 0"],
    "monitor": ["--monitor accuracy", "--monitor val_r2", f"{NUMBERS} --monitor val_auc"],
    "precision": ["--precision float16"],
    "threads": ["--threads 0"],
    "seed": ["--seed -1", "--seed x"],
}
# The same of a file's, whose key the line has
IN_FILES = {
    "hidden": "[0]", "dropout": "1.0", "whiten": "5", "bins": "-1", "mirror": "true", "shift": "1", "epochs": "0",
    "rotate": "5.0", "zoom": "0.1", "cutout": "2",
    "batch_size": "0", "step_size": "0.0", "beta1": "1.0", "epsilon": "0.0", "weight_decay": "-1.0", "momentum": "0.5",
    "loss": "'poisson'", "clip_norm": "0.0", "ema_decay": "1.0", "label_smoothing": "1.0", "patience": "0",
    "monitor": "'val_r2'", "threads": "0", "seed": "-1", "checkpoint_epochs": "0", "target": "'y'", "split_seed": "3",
    "schedule": "'linear'",
    "precision": "'half'",
}  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    write_flowers(folder)
    pairs = np.random.default_rng(0).normal(size=(90, 2))
    rows = [f"{a:.3f},{b:.3f},{i % 3},{-a:.3f},-1" for i, (a, b) in enumerate(pairs)]
    (folder / "t.csv").write_text("\n".join(["a,b,y,z,less", *rows]))
    (folder / "t.txt").write_text("x")
    return folder


def test_every_option_is_tried():
    assert {*REFUSED} == {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in REFUSED.items() for line in lines])
def test_a_bad_value_is_answered_by_a_line_with_the_options_name(here, monkeypatch, name, line):
    monkeypatch.chdir(here)
    if name == "distributed":  # without the package that is what is said
        pytest.importorskip("mpi4py")
    result = run("train", *line.split())
    assert result.status in (1, 2), result
    assert (result.out, result.err.count("\n")) == ("", 1)
    begins = f"error: --{name.replace('_', '-')}: "
    if name == "dataset":  # it has no name
        begins = f"error: {line.split()[-1]}: "
    assert result.err.startswith(begins)
    assert not (here / "runs").exists()


@pytest.mark.parametrize(("name", "value"), IN_FILES.items())
def test_a_bad_value_of_a_file_is_named_by_its_key(here, monkeypatch, name, value):
    monkeypatch.chdir(here)
    (here / "own.toml").write_text(f"{name} = {value}\n")
    result = run("train", "flowers.npz", "--config", "own.toml")
    assert result.status in (1, 2), result
    assert (result.out, result.err.count("\n")) == ("", 1)
    assert result.err.startswith(f"error: own.toml: {name}")
    assert not (here / "runs").exists()
