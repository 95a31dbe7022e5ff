"""What each process (rank) of test_distributed.py runs.

    mpiexec -n 2 python tests/distributed/ranks.py WHAT [OPTIONS of train]

WHAT is `same`: train a small network in several ways, and print how far it is from what a single process trains.
Any other WHAT is the command train, in which the thing of that name happens to one of the ranks.
"""

import json
import os
import signal
import sys
import zlib

import numpy as np

from fastff import Adam, Dropout, FeedForwardNeuralNetwork, Standardize, Trainer, command, train
from fastff.data.dataset import make_dataset
from fastff.distributed import follow, lead
from fastff.distributed.group import Group, join
from fastff.distributed.steps import SharedSteps
from fastff.system.limits import usable_cores
from fastff.training.state import trainer_state

# 101 rows in batches of 20 end with a batch of 1, in batches of 2 a third rank has no row of any
WAYS = "memory", "messages", "sharded"
CASES = [(way, *more) for way in WAYS for more in ((20, 2, None), (2, 1, None), (20, 2, 0.95))]


def same():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(101, 70)).astype(np.float32), np.arange(101) % 5
    data = make_dataset("rows", {"train": (x, y), "val": (x[:7], y[:7])}, source="rows")
    world = join()
    for way, batch, threads, decay in CASES:
        group = Group(world.comm, on_one_machine=way == "memory")
        settings = {"batch_size": batch, "threads": threads, "label_smoothing": 0.1, "ema_decay": decay}
        if group.rank > 0:
            group.comm.gather(checksum(followed(group, data).network), root=0)
            continue
        alone, shared = Trainer(network(x), **settings), lead.LeadingTrainer(network(x), **settings)
        shared.group, shared.sharded = group, way == "sharded"
        with group:
            for trainer in (alone, shared):
                trainer.fit(x, y, x[:7], y[:7], epochs=2)
                trainer.fit(x, y, epochs=2)
            states = [trainer_state(trainer)[0] for trainer in (alone, shared)]
            if decay is not None:
                shared._averages.hide()  # which only rank 0 has
        validated = [trainer.history.epochs[:2] for trainer in (alone, shared)]
        record = {
            "case": [way, batch, threads, decay],
            "apart": max(float(np.abs(np.subtract(*(state[name] for state in states))).max()) for name in states[0]),
            "validation": max(abs(a.val_loss - b.val_loss) for a, b in zip(*validated, strict=True)),
            "orders": float(np.abs(np.subtract(alone.history.batch_accuracies, shared.history.batch_accuracies)).max()),
            "checksums": group.comm.gather(checksum(shared.network), root=0),
            "threads": [group.threads, usable_cores()],
        }
        print(json.dumps(record), flush=True)


def network(x):
    net = FeedForwardNeuralNetwork(70, 5, [40, 330, 33], seed=0, optimizer=Adam(weight_decay=1e-2))
    net.layers.insert(0, Standardize.fit(x))
    net.layers.insert(3, Dropout(0.3))
    return net


def followed(group, data):
    """The trainer of a rank that has followed rank 0 to the end."""
    made = []
    train = follow.Follower.train

    def kept(self, *arguments):
        train(self, *arguments)
        made.append(self.trainer)

    follow.Follower.train = kept
    follow.follow(group, data)
    follow.Follower.train = train
    return made[0]


def checksum(net):
    return zlib.crc32(b"".join(array.tobytes() for array in net.parameters().values()))


def in_run(number, what):
    """Have what() called when this rank begins its run of steps `number`."""
    run, calls = SharedSteps.run, []

    def counted(self, *arguments):
        calls.append(arguments)
        if len(calls) == number:
            what()
        return run(self, *arguments)

    SharedSteps.run = counted


if __name__ == "__main__":
    what, rank = sys.argv.pop(1), join().rank
    if what == "same":
        same()
    else:
        if what == "killed" and rank == 1:
            in_run(2, lambda: os.kill(os.getpid(), signal.SIGKILL))
        elif what == "failing" and rank == 1:
            in_run(2, lambda: 1 / 0)
        elif what == "interrupted" and rank == 0:
            in_run(2, lambda: os.kill(os.getpid(), signal.SIGINT))
        elif what == "cut" and rank == 1:
            in_run(2, lambda: os.truncate(f"{sys.argv[1]}/x_train-00001.npy", 200))
        elif what == "elsewhere" and rank == 1:
            os.chdir("/")
        elif what == "another" and rank == 1:
            os.chdir("another")
        command.run(train.main)
