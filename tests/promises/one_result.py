"""Trains small networks in many ways and prints a hash of what each way gives: python one_result.py [SETTING ...]

one_result.json holds the hashes that were recorded, the same ones for every machine; test_one_result.py compares.

    python tests/promises/one_result.py --compare    prints what differs from the record; ends with 1 if anything does
    python tests/promises/one_result.py --record     puts what this process computes into the record

Run with FASTFF_ISA and FASTFF_BF16 as wanted. Of most settings these things are hashed: `weights` (with Adam's
moments), `history` (losses, hits and the epochs' records, but no times), and `logits` and `probabilities` of some rows.
There is one result in float32, and one for each way of multiplying bfloat16. A CPU without fused multiply-adds rounds
more often, so it has a result of its own.
"""

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from fastff import (
    SGD,
    Adam,
    Augment,
    CrossEntropySoftmax,
    Dropout,
    Ensemble,
    FeedForwardNeuralNetwork,
    LinearLayer,
    ReLU,
    Sigmoid,
    Standardize,
    Tanh,
    TargetExp,
    TargetScale,
    Trainer,
    Whiten,
    evaluate,
    load_dataset,
)
from fastff.kernels import cpu as target
from fastff.nn.encoding import PiecewiseLinear, scale_by_quarters
from fastff.training.state import restore_trainer, trainer_state

try:
    from fastff.sklearn import MLPClassifier, MLPRegressor
except ImportError:  # scikit-learn is optional
    SKLEARN = False
else:
    SKLEARN = True

RECORD = Path(__file__).with_name("one_result.json")
ROWS, FEATURES, CLASSES = 101, 215, 5  # more features than a block of the sums, and no multiple of a tile


def rows(dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (ROWS, FEATURES), np.uint8) if dtype == np.uint8 else rng.normal(size=(ROWS, FEATURES))
    return x.astype(dtype), np.arange(ROWS) % CLASSES


def net(*, hidden=(70, 33), activation=ReLU, inputs=FEATURES, optimizer=None, seed=3):
    network = FeedForwardNeuralNetwork(inputs, CLASSES, hidden, optimizer=optimizer, seed=seed)
    network.layers = [activation() if isinstance(layer, ReLU) else layer for layer in network.layers]
    return network


def digest(*arrays):
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


RECORDED = ("epoch", "train_accuracy", "train_loss", "val_accuracy", "val_loss")  # of an epoch's record, by name


def result(trainer, x):
    arrays, _ = trainer_state(trainer)
    names = [name for name in sorted(arrays) if not name.startswith("history")]
    history = trainer.history
    records = [[getattr(r, name) or 0.0 for name in RECORDED] for r in history.epochs]
    return {
        "weights": digest(*(np.asarray(arrays[name]) for name in names)),
        "history": digest(np.array(history.batch_losses), np.array(history.batch_accuracies), np.array(records)),
        "logits": digest(trainer.network.logits(x[:40])),
        "probabilities": digest(trainer.network.predict_proba(x[:40])),
    }


def trained(network, x, y, *, epochs=3, validated=True, watch=None, **options):
    trainer = Trainer(network, batch_size=32, seed=1, **options)
    validation = (x[:17], y[:17]) if validated else ()
    trainer.fit(x, y, *validation, epochs=epochs, on_epoch=watch)
    return result(trainer, x)


def relu(**options):
    return trained(net(optimizer=Adam(weight_decay=1e-2)), *rows(), **options)


def decoupled(**options):
    optimizer = Adam(0.9, 0.9, 1e-6, 0.1, decay="decoupled", bias_correction="constant")
    return trained(net(optimizer=optimizer), *rows(), label_smoothing=0.1, schedule="one-cycle", **options)


def tanh(**options):
    network = net(activation=Tanh, optimizer=SGD(0.9, nesterov=True, weight_decay=1e-3))
    return trained(network, *rows(), step_size=0.01, **options)


def sigmoid(**options):
    return trained(net(activation=Sigmoid), *rows(np.float64), schedule="cosine", **options)


def dropout(**options):
    x, y = rows(np.uint8)
    network = net()
    network.layers.insert(0, Standardize.fit(x))
    network.layers.insert(3, Dropout(0.3))
    return trained(network, x, y, watch=lambda record: None, **options)


def augment(**options):
    x, y = rows(np.uint8)
    x = x[:, :192]
    network = net(inputs=192)
    network.layers[:0] = [Augment((3, 8, 8), mirror=True, shift=2), Standardize.fit(x)]
    return trained(network, x, y, validated=False, **options)


def warp(**options):
    """Pictures rotated, zoomed and covered, as floating-point numbers."""
    x, y = rows()
    x = x[:, :192]
    network = net(inputs=192)
    network.layers[:0] = [Augment((3, 8, 8), shift=1, rotate=10.0, zoom=0.2, cutout=3), Standardize.fit(x)]
    return trained(network, x, y, validated=False, **options)


def best(**options):
    """Many epochs in one call, with validation, copies of the best weights and an end by patience."""
    return trained(net(hidden=(9,)), *rows(), epochs=12, monitor="val_loss", patience=4, step_size=0.01, **options)


def wide(**options):
    """More rows than a panel, and more outputs than fit one pass."""
    x, y = np.repeat(rows()[0], 3, axis=0), np.repeat(rows()[1], 3)
    trainer = Trainer(net(hidden=(300,)), batch_size=150, seed=1, **options)
    trainer.fit(x, y, epochs=2)
    return result(trainer, x)


def strided(**options):
    x, y = rows(np.float64)
    return trained(net(inputs=107), x[:, 1::2], y, **options)


def by_hand(**options):
    """Layer by layer, with a layer that no program knows. It has one thread and one precision."""

    class Own(ReLU):
        pass

    trainer, (x, y) = Trainer(net(activation=Own), batch_size=32, seed=1), rows()
    trainer.fit(x, y, x[:17], y[:17], epochs=3)
    parameters = trainer.network.parameters()
    return {
        "weights": digest(*(parameters[name] for name in sorted(parameters))),
        "history": digest(np.array(trainer.history.batch_losses)),
        "logits": digest(trainer.network.logits(x[:40])),
    }


def shards(**options):
    x, y = rows(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for i, part in enumerate(np.array_split(np.arange(ROWS), 3)):
            np.save(f"{folder}/x_train-{i:05}.npy", x[part])
        np.save(f"{folder}/y_train.npy", y)
        data = load_dataset(folder).with_validation(0.2)
        network = net()
        network.layers[:0] = [Standardize.fit(data.x_train)]
        trainer = Trainer(network, batch_size=32, seed=1, **options)
        trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=2)
        return result(trainer, x)


def resumed(**options):
    """The same as going on at once: a state that is put into another trainer."""
    x, y = rows()

    def fresh():
        network = net()
        network.layers.insert(2, Dropout(0.3))
        return Trainer(network, batch_size=32, seed=1, **options)

    first, second = fresh(), fresh()
    first.fit(x, y, epochs=2)
    restore_trainer(second, *trainer_state(first), "the first")
    second.fit(x, y, epochs=2)
    return result(second, x)


def averaged(**options):
    """Averages of the weights are validated, kept and shown, and training goes on from the weights."""
    x, y = rows()
    trainer = Trainer(net(), batch_size=32, seed=1, monitor="val_loss", ema_decay=0.95, **options)
    for epochs in (4, 3):
        trainer.fit(x, y, x[:17], y[:17], epochs=epochs)
    return result(trainer, x)


def clipped(**options):
    """Gradients that are clipped by their norm, in most steps; not in bfloat16."""
    return trained(net(optimizer=SGD(0.9)), *rows(), clip_norm=0.7, step_size=0.1, **options)


def ranges(**options):
    """Numbers that are divided into ranges, as those of a table."""
    x, y = rows(np.float64)
    front = scale_by_quarters(x)
    encoded = PiecewiseLinear.fit(x, 5, after=front)
    network = net(inputs=encoded.output_dim)
    network.layers[:0] = [front, encoded]
    return trained(network, x, y, **options)


def sklearn(**options):
    """The estimators' attributes, of a fit with weights, a fit with sgd and three kinds of regression."""
    x, y = rows()
    common = {"hidden_layer_sizes": (40, 20), "max_iter": 3, "random_state": 0, "batch_size": 32, **options}
    weights = 1 + np.arange(ROWS) % 3
    targets = np.stack([x[:, 0], x[:, 1] * 2], 1).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = [
            MLPClassifier(dropout=0.2, **common).fit(x, y, sample_weight=weights),
            MLPClassifier(solver="sgd", learning_rate="adaptive", activation="tanh", **common).fit(x, y % 2),
            MLPRegressor(alpha=0.1, **common).fit(x, targets),
            MLPRegressor(loss="poisson", decay="decoupled", **common).fit(x, np.abs(targets[:, 0])),
        ]
    arrays = [array for model in fitted for array in (*model.coefs_, *model.intercepts_)]
    moments = [array for model in fitted for array in getattr(model._optimizer, "ms", [])]
    return {"weights": digest(*arrays, *moments)}


def loss(**options):
    """The gradient of the loss alone, for logits that are far apart."""
    x, y = rows()
    criterion = CrossEntropySoftmax(0.2)
    value = criterion.forward(x[:, :CLASSES] * np.float32(1e4), y)
    return {"history": digest(np.array(value)), "logits": digest(criterion.backward())}


def layer(**options):
    """One layer by hand: its gradients, and a step."""
    x, _ = rows()
    own = LinearLayer(FEATURES, 33, seed=0)
    own.optimizer = Adam()
    below = own.backward(own.forward(x))
    gradients = digest(below, own.grad_weights, own.grad_bias)
    own.step(0.01)
    return {"weights": digest(own.weights, own.bias), "logits": gradients}


def prepared(**options):
    """What is made of rows before training: statistics, principal components and initial weights."""
    x = rows()[0] * np.linspace(1, 50, FEATURES, dtype=np.float32) + np.float32(1000)
    many = np.concatenate([x * np.float32(factor) for factor in range(1, 30)])
    layers = [Standardize.fit(x), Standardize.fit(rows(np.uint8)[0]), Standardize.fit(many.astype(np.float64))]
    initial = FeedForwardNeuralNetwork(FEATURES, CLASSES, (200, 70), seed=5)
    wide = np.random.PCG64(0).random_raw(700 * 520).reshape(700, 520).astype(np.uint8)  # by subspace iteration
    whitening = Whiten.fit(x, 9, after=layers[0]), Whiten.fit(wide, 40, after=Standardize.fit(wide))
    return {
        "components": digest(*(array for layer in whitening for array in (layer.projection, layer.shift))),
        "statistics": digest(*(array for layer in layers for array in (layer.mean, layer.std))),
        "weights": digest(*(layer.weights for layer in initial.linear_layers)),
    }


def digits(**options):
    """The embedded pictures, as the train command takes them: the rows of the validation, and an ensemble's answers."""
    data = load_dataset("digits").with_validation(0.1)
    networks = [FeedForwardNeuralNetwork(64, 10, (100,), seed=seed) for seed in (0, 1)]
    for network in networks:
        network.layers.insert(0, Standardize.fit(data.x_train))
        trainer = Trainer(network, batch_size=50, seed=2, schedule="one-cycle", step_size=0.01, **options)
        trainer.fit(data.x_train, data.y_train, data.x_val, data.y_val, epochs=3)
    ensemble = Ensemble(networks)
    return {
        **result(trainer, data.x_test),
        "ensemble": digest(ensemble.forward(data.x_test), ensemble.predict_proba(data.x_test)),
        "evaluation": digest(np.array(evaluate(network, data.x_test, data.y_test))),
    }


def numbers(**options):
    """Losses on numbers to predict, with weights of rows, in front of the layers that are made for them."""
    x, y = rows()
    targets = 1e6 + np.column_stack([x[:, 0] * np.float32(7), x[:, 1] - y]).astype(np.float64)
    found = []
    for loss in ("squared_error", "absolute_error", "poisson"):
        network = FeedForwardNeuralNetwork(FEATURES, 2, (70, 33), seed=3)
        counts = np.stack([y, y % 3], 1)
        network.layers.append(TargetExp() if loss == "poisson" else TargetScale.fit(targets))
        wanted = counts if loss == "poisson" else targets
        trainer = Trainer(network, batch_size=32, seed=1, step_size=3e-4, loss=loss, **options)
        history = trainer.fit(x, wanted, x[:17], wanted[:17], epochs=3, sample_weight=1 + y)
        records = [[r.train_loss, r.train_r2, r.val_loss, r.val_r2] for r in history.epochs]
        figures = digest(np.array(history.batch_losses), np.array(records))
        found.append((digest(*network.parameters().values()), figures, digest(network.predict(x), network.forward(x))))
    weights, histories, outputs = zip(*found, strict=True)
    return {"weights": " ".join(weights), "history": " ".join(histories), "logits": " ".join(outputs)}


SETTINGS = (relu, decoupled, tanh, sigmoid, dropout, augment, warp, best, wide, strided, by_hand, shards, resumed,
            averaged, clipped, ranges, sklearn, loss, layer, prepared, digits, numbers)  # fmt: skip
# those that are trained in bfloat16 too
ROUNDED = (relu, tanh, dropout, augment, best, wide, shards, resumed, averaged, ranges, sklearn)


def ranks():
    """What 2 processes of mpiexec train, in each of their ways; rank 0 prints it."""
    from fastff.data.dataset import make_dataset
    from fastff.distributed import follow, lead
    from fastff.distributed.group import Group, join

    x, y = rows()
    data = make_dataset("rows", {"train": (x, y), "val": (x[:7], y[:7])}, source="rows")
    world, found = join(), {}
    for way in ("memory", "messages", "sharded", "memory averaged", "sharded averaged"):
        group = Group(world.comm, on_one_machine=way.startswith("memory"))
        if group.rank > 0:
            follow.follow(group, data)
            continue
        network = net()
        network.layers.insert(3, Dropout(0.3))
        ema_decay = 0.9 if way.endswith("averaged") else None
        trainer = lead.LeadingTrainer(network, batch_size=20, seed=1, threads=1, ema_decay=ema_decay)
        trainer.group, trainer.sharded = group, way.startswith("sharded")
        with group:
            trainer.fit(x, y, x[:7], y[:7], epochs=2)
        found[way] = result(trainer, x)
    if world.rank == 0:
        print(json.dumps(found))


def compute(names=(), *, threads=1):
    """{arithmetic: {setting: {what: hash}}} of the settings of these names, or all, with so many threads."""
    kinds = [("float32", "float32", SETTINGS)]
    if target.BF16:
        kinds.append(("bfloat16", f"bfloat16 by {target.BF16}", ROUNDED))
    without = "" if target.FMA == "llvm.fma" else " without FMA"
    return {
        kind + without: {
            setting.__name__: setting(precision=precision, threads=threads)
            for setting in settings
            if (not names or setting.__name__ in names) and (SKLEARN or setting is not sklearn)
        }
        for precision, kind, settings in kinds
    }


def differences(found):
    """Lines that say what differs from the record; none of a way of multiplying that was never recorded."""
    record = json.loads(RECORD.read_text())
    return [
        f"{kind}: {setting}: {what} is {value}, recorded is {recorded}"
        for kind, settings in found.items()
        for setting, hashes in settings.items()
        for what, value in hashes.items()
        if kind in record and (recorded := record[kind].get(setting, {}).get(what)) != value
    ]


def main(arguments):
    if arguments == ["ranks"]:
        ranks()
        return
    if arguments == ["--compare"]:
        found = compute()
        lines = differences(found)
        told = ", ".join(f"{len(settings)} settings of {kind}" for kind, settings in found.items())
        print(*lines, f"{target.ISA}: {told}: {len(lines)} differences", sep="\n")
        sys.exit(bool(lines))
    if arguments != ["--record"]:
        print(json.dumps(compute(arguments), indent=1))
        return
    record = json.loads(RECORD.read_text())
    found = [compute(threads=threads) for threads in (1, 2, 7)]
    assert found[0] == found[1] == found[2], "threads change bits"
    record.update(found[0])
    if importlib.util.find_spec("mpi4py"):
        mpiexec = [Path(sys.executable).with_name("mpiexec"), "-n", "2", sys.executable, __file__, "ranks"]
        record["ranks"] = json.loads(subprocess.run(mpiexec, capture_output=True, text=True, check=True).stdout)
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
