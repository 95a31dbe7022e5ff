"""Seconds to an accuracy: python bench/to_accuracy.py [--data-dir DIR] [--rounds N] [--peers NAME ...]

How long a whole process takes, imports, whitening and all, until its accuracy on the validation rows first reaches 85,
88 and 90% on horses, ships and trucks (with --data-dir, the folder of the course's pickles), and 97% on the digits.
Each library follows fastff's presets as its users would write them: whitening, pictures mirrored and shifted anew in
each epoch, dropout, label smoothing, decoupled weight decay, schedule. scikit-learn's MLPClassifier has none of the
last five: it is given whitened rows and mirrored copies. The data is an .npz for all; caches of compiled code are warm
(a first process of each, of one epoch, is not counted). For each accuracy the preset that is there first is shown: the
median of the rounds (lowest to highest), or the best accuracy that was reached.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from peers import machine

TARGETS = {"cifar10-hst": [0.85, 0.88, 0.90], "digits": [0.97]}
RECIPES = {"cifar10-hst": ["fast", "cifar10-hst"], "digits": ["digits"]}
SECONDS = 300  # that a process may take


def say(accuracy: Any) -> None:
    """Tell the parent the accuracy after an epoch."""
    print(float(accuracy), flush=True)


# --- a function for each library: train by a recipe, the options of a preset, and say the accuracy after each epoch ---


def fastff(path: str, data: Any, recipe: dict) -> None:
    from fastff import Config, load_dataset
    from fastff.runs.build import make_trainer

    rows = dataclasses.replace(load_dataset(path), image_shape=tuple(map(int, data["shape"])) or None)
    trainer = make_trainer(Config(**{**recipe, "hidden": tuple(recipe["hidden"])}), rows)
    trainer.fit(
        rows.x_train, rows.y_train, rows.x_val, rows.y_val, epochs=recipe["epochs"],
        on_epoch=lambda record: say(record.val_accuracy),
    )  # fmt: skip


def torch(path: str, data: Any, recipe: dict) -> None:
    import torch
    from torch import nn

    torch.set_num_threads(2)
    torch.manual_seed(0)
    X, X_val = (torch.from_numpy(data[name].astype(np.float32)) for name in ("x_train", "x_val"))
    Y, Y_val = (torch.from_numpy(data[name]) for name in ("y_train", "y_val"))
    shape, batch, whiten = tuple(data["shape"]), recipe.get("batch_size", 128), recipe.get("whiten", 0)
    mean, std = X.mean(0), X.std(0)
    scale = 1 / torch.where(std > 0, std, 1)
    project, width = torch.eye(0), X.shape[1]
    if whiten:
        _, values, directions = torch.pca_lowrank((X - mean) * scale, q=whiten, center=False, niter=3)
        project, width = directions / values * len(X) ** 0.5, whiten

    def prepared(x: Any) -> Any:
        x = (x - mean) * scale
        return x @ project if whiten else x

    def changed(x: Any) -> Any:
        _, height, wide = shape
        far = recipe.get("shift", 0)
        down, right = (torch.randint(-far, far + 1, (len(x), 1)) for _ in range(2))
        i, j = ((torch.arange(size) + by).abs() for size, by in ((height, down), (wide, right)))
        i, j = (torch.where(at >= size, 2 * size - 2 - at, at) for at, size in ((i, height), (j, wide)))
        each, colours = torch.arange(len(x))[:, None, None, None], torch.arange(shape[0])[:, None, None]
        j = torch.where(torch.rand(len(x), 1) < 0.5, wide - 1 - j, j) if recipe.get("mirror") else j
        return x.view(-1, *shape)[each, colours, i[:, None, :, None], j[:, None, None, :]].flatten(1)

    layers: list[nn.Module] = []
    for a, b in pairwise([width, *recipe["hidden"]]):
        layers += [nn.Linear(a, b), nn.ReLU(), *([nn.Dropout(recipe["dropout"])] if recipe["dropout"] else [])]
    network = nn.Sequential(*layers, nn.Linear(recipe["hidden"][-1], int(Y.max()) + 1))
    rate, epochs, steps = recipe.get("step_size", 1e-3), recipe["epochs"], -(-len(X) // batch)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=rate, weight_decay=recipe.get("weight_decay", 0.0), fused=True
    )
    plan = {
        "one-cycle": lambda: torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps),
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
    }[recipe.get("schedule", "constant")]()
    loss = nn.CrossEntropyLoss(label_smoothing=recipe["label_smoothing"])
    rows_val = prepared(X_val)
    for _ in range(epochs):
        network.train()
        for index in torch.randperm(len(X)).split(batch):
            x = changed(X[index]) if recipe.get("mirror") else X[index]
            optimizer.zero_grad(set_to_none=True)
            loss(network(prepared(x)), Y[index]).backward()
            optimizer.step()
            plan.step()
        network.eval()
        with torch.no_grad():
            say((network(rows_val).argmax(1) == Y_val).float().mean())


def jax(path: str, data: Any, recipe: dict) -> None:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_compilation_cache_dir", str(Path(path).parent / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    X, X_val = (jnp.asarray(data[name], jnp.float32) for name in ("x_train", "x_val"))
    Y, Y_val = (jnp.asarray(data[name], jnp.int32) for name in ("y_train", "y_val"))
    shape, batch, whiten = tuple(map(int, data["shape"])), recipe.get("batch_size", 128), recipe.get("whiten", 0)
    mean, std = X.mean(0), X.std(0)
    scale, project, width = 1 / jnp.where(std > 0, std, 1), None, X.shape[1]
    if whiten:
        centred = np.asarray((X - mean) * scale)
        values, directions = np.linalg.eigh(centred.T @ centred / len(X))
        project, width = jnp.asarray(directions[:, -whiten:] / np.sqrt(values[-whiten:])), whiten
    sizes, far, drop = [width, *recipe["hidden"], int(Y.max()) + 1], recipe.get("shift", 0), recipe["dropout"]
    rate, epochs, steps = recipe.get("step_size", 1e-3), recipe["epochs"], len(X) // batch
    decay, smoothing = recipe.get("weight_decay", 0.0), recipe["label_smoothing"]
    rng = np.random.default_rng(0)
    params = [
        (jnp.asarray(rng.standard_normal(p) * np.sqrt(2 / p[0]), jnp.float32), jnp.zeros(p[1])) for p in pairwise(sizes)
    ]
    zeros = jax.tree.map(jnp.zeros_like, params)

    def prepared(x: Any) -> Any:
        x = (x - mean) * scale
        return x if project is None else x @ project

    def changed(x: Any, key: Any) -> Any:
        _, height, wide = shape
        a, b, c = jax.random.split(key, 3)
        down, right = (jax.random.randint(k, (len(x), 1), -far, far + 1) for k in (a, b))
        i, j = (jnp.abs(jnp.arange(size) + by) for size, by in ((height, down), (wide, right)))
        i, j = (jnp.where(at >= size, 2 * size - 2 - at, at) for at, size in ((i, height), (j, wide)))
        each, colours = jnp.arange(len(x))[:, None, None, None], jnp.arange(shape[0])[:, None, None]
        j = jnp.where(jax.random.uniform(c, (len(x), 1)) < 0.5, wide - 1 - j, j)
        return x.reshape(-1, *shape)[each, colours, i[:, None, :, None], j[:, None, None, :]].reshape(len(x), -1)

    def outputs(params: Any, x: Any, key: Any = None) -> Any:
        for n, (w, b) in enumerate(params):
            x = x @ w + b
            if n < len(params) - 1:
                x = jax.nn.relu(x)
                if key is not None and drop:
                    kept = jax.random.bernoulli(jax.random.fold_in(key, n), 1 - drop, x.shape)
                    x = jnp.where(kept, x / (1 - drop), 0)
        return x

    def loss(params: Any, x: Any, y: Any, key: Any) -> Any:
        logs = jax.nn.log_softmax(outputs(params, x, key))
        own = jnp.take_along_axis(logs, y[:, None], 1).mean()
        return -(1 - smoothing) * own - smoothing * logs.mean()

    def size_of(t: Any) -> Any:
        part = t / (epochs * steps)
        if recipe.get("schedule") == "one-cycle":
            rises = (1 - jnp.cos(jnp.pi * part / 0.3)) / 2
            return rate * jnp.where(part < 0.3, 0.04 + 0.96 * rises, (1 + jnp.cos(jnp.pi * (part - 0.3) / 0.7)) / 2)
        return rate * (1 + jnp.cos(jnp.pi * part)) / 2 if recipe.get("schedule") == "cosine" else rate

    def step(state: Any, given: Any) -> Any:
        params, m, v, t = state
        index, key = given
        x = changed(X[index], key) if recipe.get("mirror") else X[index]
        g = jax.grad(loss)(params, prepared(x), Y[index], key)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        move, root, now = 1 / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t), size_of(t)
        params = jax.tree.map(
            lambda p, m, v: p * (1 - now * decay * (p.ndim == 2)) - now * move * m / (jnp.sqrt(v) * root + 1e-8),
            params, m, v,
        )  # fmt: skip
        return (params, m, v, t), None

    @jax.jit
    def epoch(state: Any, key: Any) -> Any:
        order = jax.random.permutation(key, len(X))[: steps * batch].reshape(-1, batch)
        return jax.lax.scan(step, state, (order, jax.random.split(key, steps)))[0]

    right = jax.jit(lambda params: (outputs(params, prepared(X_val)).argmax(1) == Y_val).mean())
    state = (params, zeros, zeros, jnp.float32(0))
    for number in range(epochs):
        state = epoch(state, jax.random.key(number))
        say(right(state[0]))


def sklearn(path: str, data: Any, recipe: dict) -> None:
    from sklearn.decomposition import PCA
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    X, Y, X_val, Y_val = (data[name] for name in ("x_train", "y_train", "x_val", "y_val"))
    if recipe.get("mirror"):
        mirrored = X.reshape(-1, *data["shape"])[..., ::-1].reshape(X.shape)
        X, Y = np.concatenate([X, mirrored]), np.concatenate([Y, Y])
    X, X_val = X.astype(np.float32), X_val.astype(np.float32)
    layers = [StandardScaler()]
    if recipe.get("whiten"):
        layers.append(PCA(recipe["whiten"], whiten=True, svd_solver="randomized", random_state=0))
    for layer in layers:
        X = layer.fit_transform(X)
        X_val = layer.transform(X_val)
    model = MLPClassifier(
        tuple(recipe["hidden"]), alpha=1e-4, batch_size=recipe.get("batch_size", 128),
        learning_rate_init=recipe.get("step_size", 1e-3), random_state=0,
    )  # fmt: skip
    for _ in range(recipe["epochs"]):
        model.partial_fit(X, Y, classes=np.unique(Y))
        say(model.score(X_val, Y_val))


# --- the comparison ---


def seconds_to(peer: str, path: Path, preset: str, targets: list[float]) -> tuple[dict[float, float], float]:
    """When a process reached each accuracy, counted from its start, and the best that it reached."""
    from fastff.runs.presets import PRESETS

    start, best, reached = time.perf_counter(), 0.0, dict[float, float]()
    command = [sys.executable, __file__, "--serve", peer, str(path), json.dumps(PRESETS[preset])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            best = max(best, float(line))
            now = time.perf_counter() - start
            reached |= {target: now for target in targets if best >= target and target not in reached}
            if len(reached) == len(targets) or now > SECONDS:
                process.kill()
    return reached, best


def prepare(name: str, data_dir: str | None, folder: Path) -> Path:
    """The data set as an .npz that needs nothing of fastff to be read."""
    from fastff import load_dataset

    data = load_dataset(name, data_dir=data_dir)
    names = [f"{kind}_{split}" for split in ("train", "val") for kind in "xy"]
    path = folder / f"{name}.npz"
    np.savez(path, shape=data.image_shape or (), **{each: getattr(data, each) for each in names})
    return path


def compare(name: str, path: Path, peers: list[str], rounds: int) -> None:
    print(f"\n{name}: seconds from the start of a process to an accuracy on the validation rows")
    found: dict[tuple[str, str], list[tuple[dict[float, float], float]]] = {}
    for number in range(rounds + 1):
        for peer in peers:
            for preset in RECIPES[name]:
                if number == 0:
                    seconds_to(peer, path, preset, [0.0])
                else:
                    result = seconds_to(peer, path, preset, TARGETS[name])
                    found.setdefault((peer, preset), []).append(result)
    for peer in peers:
        cells = []
        for target in TARGETS[name]:
            by_preset = {}
            for preset in RECIPES[name]:
                runs = [reached.get(target) for reached, _ in found[peer, preset]]
                if None not in runs:
                    by_preset[preset] = [second for second in runs if second is not None]
            if by_preset:
                preset, seconds = min(by_preset.items(), key=lambda pair: statistics.median(pair[1]))
                spread = f"{min(seconds):.1f}-{max(seconds):.1f}"
                cells.append(f"{target:.0%}: {statistics.median(seconds):.1f} ({spread}, as {preset})")
            else:
                best = max(best for preset in RECIPES[name] for _, best in found[peer, preset])
                cells.append(f"{target:.0%}: not in each run (best {best:.1%})")
        print(f"{peer:8} " + "; ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="the folder with the pickles of horses, ships and trucks")
    parser.add_argument("--peers", nargs="+", choices=["fastff", "torch", "jax", "sklearn"])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each")
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    with tempfile.TemporaryDirectory() as folder:
        for name in TARGETS if options.data_dir else ["digits"]:
            path = prepare(name, options.data_dir if name != "digits" else None, Path(folder))
            compare(name, path, options.peers or ["fastff", "torch", "jax", "sklearn"], options.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        with np.load(sys.argv[3]) as arrays:
            globals()[sys.argv[2]](sys.argv[3], dict(arrays), json.loads(sys.argv[4]))
    else:
        main()
