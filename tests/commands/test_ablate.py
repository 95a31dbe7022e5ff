"""fastff ablate trains a run's recipe without each of its parts, in pairs of seeds, and says what each is worth."""

import json
import math
import signal
import statistics

import pytest
from command_line import refuse, run, succeed, write_flowers

from fastff import Config, ablate, fit_many, load_dataset, plots
from fastff.runs.ablation import read_ablation, without
from fastff.runs.config import read

RECIPE = ("--hidden", 8, "--epochs", 3, "--dropout", 0.25, "--schedule", "cosine", "--step-size", 0.05)


@pytest.fixture
def trained(tmp_path):
    succeed("train", write_flowers(tmp_path), *RECIPE, "--seed", 4, "--out", tmp_path / "run")
    return tmp_path / "run"


def ablation(folder):
    return json.loads((folder / "ablation.json").read_text())


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (Config(), {"standardize", "hidden"}),
        (Config(hidden=(), standardize=False), set()),
        (Config(hidden=(), whiten=3, shift=1, mirror=True), {"standardize", "whiten", "shift", "mirror"}),
        (Config(hidden=(), rotate=5.0, zoom=0.1, cutout=2), {"standardize", "rotate", "zoom", "cutout"}),
        (Config(optimizer="sgd", bias_correction="constant"), {"standardize", "hidden", "momentum"}),
        (
            Config(
                bias_correction="constant", weight_decay=0.1, label_smoothing=0.1, schedule="one-cycle", ema_decay=0.9
            ),
            {"standardize", "hidden", "bias_correction", "weight_decay", "label_smoothing", "schedule", "ema_decay"},
        ),
    ],
)
def test_the_parts_are_what_a_recipe_has_and_could_lack(options, parts):
    assert set(without(options)) == parts


def test_one_hidden_layer_is_left_out_at_a_time():
    assert without(Config(hidden=(16, 8)))["hidden"].hidden == (16,)


def test_the_figures_are_those_of_fit_many_and_paired_by_seed(trained):
    result = run("ablate", trained, "--seeds", 3)
    assert result.status == 0
    data = load_dataset(trained.parent / "flowers.npz")
    base = {name: tuple(v) if isinstance(v, list) else v for name, v in read(trained / "config.toml").items()}
    del base["dataset"]
    means = {}
    for name, other in {None: {}, "dropout": {"dropout": 0.0}, "hidden": {"hidden": (), "dropout": 0.0}}.items():
        configs = [Config(**{**base, **other, "seed": seed}) for seed in (4, 5, 6)]
        means[name] = [item.best for item in fit_many(configs, data)]
    study = read_ablation(trained)
    assert study.baseline.score == pytest.approx(statistics.fmean(means[None]))
    parts = {part.name: part for part in study.parts()}
    assert set(parts) == {"standardising the features", "dropout 0.25", "the cosine schedule"} | {
        "the last hidden layer of 8 units"
    }
    for name, key in (("dropout", "dropout 0.25"), ("hidden", "the last hidden layer of 8 units")):
        lost = [one - other for one, other in zip(means[None], means[name], strict=True)]
        assert parts[key].lost == pytest.approx(statistics.fmean(lost))
        assert parts[key].error == pytest.approx(statistics.stdev(lost) / math.sqrt(3))
        line = next(line for line in result.out.splitlines() if line.startswith(key))
        assert f"{100 * statistics.fmean(lost):+.2f} ± " in line
    assert [part.lost for part in study.parts()] == sorted((part.lost for part in study.parts()), reverse=True)
    assert study.complete


def test_the_run_itself_stays_as_it_is(trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    run("ablate", trained, "--seeds", 1)
    after = {path.name: path.read_bytes() for path in trained.iterdir()}
    assert {name: after[name] for name in before} == before


def test_it_goes_on_where_it_was_stopped_and_adds_seeds(trained, monkeypatch):
    save, saved = ablate.Ablation.save, []

    def stop_at_the_third(study, folder):
        save(study, folder)
        saved.append(len(study.trainings))
        if len(saved) == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ablate.Ablation, "save", stop_at_the_third)
    stopped = run("ablate", trained, "--seeds", 1, "--jobs", 1)
    assert stopped.status == 143
    assert "goes on" in stopped.err
    kept = ablation(trained)["trainings"]
    assert len(kept) == 3
    result = run("ablate", trained, "--seeds", 2)
    assert result.status == 0
    assert "1/7: " in result.err  # five variants with two seeds, less three
    assert ablation(trained)["trainings"][:3] == kept
    assert run("ablate", trained, "--seeds", 2).err == ""  # nothing was left to train
    fewer = run("ablate", trained, "--seeds", 1)
    assert fewer.err == ""
    assert "±" not in fewer.out


def test_another_recipe_is_measured_anew(trained):
    run("ablate", trained, "--seeds", 1)
    first = ablation(trained)
    succeed("train", "--config", trained / "config.toml", "--epochs", 2, "--out", trained)
    assert not (trained / "ablation.json").exists()  # it was of another recipe
    run("ablate", trained, "--seeds", 1)
    assert ablation(trained)["options"]["epochs"] == 2
    assert len(ablation(trained)["trainings"]) == len(first["trainings"])


def test_a_variant_that_diverges_is_named(tmp_path):
    large = {f"x_{split}": load_dataset(write_flowers(tmp_path)).x_train[:15] * 1e18 for split in ("val", "test")}
    large["x_train"] = load_dataset(tmp_path / "flowers.npz").x_train * 1e18
    data = write_flowers(tmp_path, **large)
    sgd = ("--optimizer", "sgd", "--momentum", 0, "--step-size", 0.1)
    succeed("train", data, *sgd, "--hidden", 8, "--epochs", 2, "--out", tmp_path / "run")
    result = run("ablate", tmp_path / "run", "--seeds", 2)
    assert result.status == 0, result
    assert "standardising the features" in result.out
    assert "does not train: the loss is not finite" in result.out
    assert [part.problem != "" for part in read_ablation(tmp_path / "run").parts()] in ([True, False], [False, True])


def test_folders_of_seeds_and_options_alone_will_do(trained, tmp_path):
    succeed_seeds = run("train", tmp_path / "flowers.npz", *RECIPE, "--seeds", 2, "--out", tmp_path / "seeds")
    assert succeed_seeds.status == 0
    assert run("ablate", tmp_path / "seeds", "--seeds", 1).status == 0
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "best.toml").write_text((trained / "config.toml").read_text())
    assert run("ablate", tmp_path / "tuned", "--seeds", 1).status == 0
    assert len(ablation(tmp_path / "tuned")["trainings"]) == 5


def test_a_preset_s_options_for_the_other_optimizer_do_not_matter(tmp_path):
    course = ("--preset", "course", "--optimizer", "sgd", "--step-size", 0.05)
    succeed("train", write_flowers(tmp_path), *course, "--epochs", 2, "--out", tmp_path / "run")
    result = run("ablate", tmp_path / "run", "--seeds", 1)
    assert result.status == 0, result
    assert "momentum 0.9" in result.out


def test_it_draws_a_bar_for_each_part(trained, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "draw_ablation", lambda *a, **k: drawn.append((a, k)))
    run("ablate", trained, "--seeds", 2, pictures=True)
    ((path, names, points, errors), _) = drawn[0]
    assert path == trained / "ablation.png"
    assert len(names) == len(points) == len(errors) == 4


@pytest.mark.parametrize(
    ("arguments", "saying", "status"),
    [
        (["nowhere"], "no such folder, want the folder of a run", 1),
        (["run", "--seeds", 0], "seeds: 0", 2),
        (["run", "--jobs", 0], "jobs: 0", 2),
    ],
)
def test_what_cannot_be_measured_is_one_line(trained, arguments, saying, status):
    arguments[0] = trained.parent / arguments[0]
    refuse(trained.parent, "ablate", *arguments, status=status, saying=saying)


@pytest.mark.parametrize("text", ["", "[]", '{"options": 5}', '{"trainings": [{}]}'])
def test_a_damaged_study_is_one_line(trained, text):
    (trained / "ablation.json").write_text(text)
    refuse(trained, "ablate", trained, status=1, saying="ablation.json")


def test_a_recipe_without_parts(tmp_path):
    data = write_flowers(tmp_path)
    succeed("train", data, "--hidden", "--no-standardize", "--epochs", 1, "--out", tmp_path / "run")
    refuse(tmp_path, "ablate", tmp_path / "run", status=1, saying="no part that can be left out")
