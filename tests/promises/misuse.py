# ruff: noqa: E501 (pieces of code in strings)
"""Misuses the public API in all ways that come to mind, each in a process of its own: no crash, and right or one line.

    python tests/promises/misuse.py --count 5000 --seed 7       so many misuses, drawn anew
    python tests/promises/misuse.py --group assign --count 200   of one group
    python tests/promises/misuse.py --only assign:17 --show      the code of one, and how it ends

A misuse is a piece of code, drawn by the seed, its group and its number; misused.py has the names that it uses. What
it may end with is said in own_process.py. Findings are printed with their code, and the exit status is then 1.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import misuse_pieces as pieces
from own_process import LENIENT, End, Server

PLACES = [(owner, name) for owner, names in pieces.ATTRIBUTES.items() for name in names]
MADE = """net = network('{kind}')
own = trainer(net=net, batch_size=8, threads={threads}, monitor={monitor!r}, optimizer={optimizer})
fit(own)
ensemble = Ensemble([net, network()])
data = replace(DIGITS)
"""


def _made(r: Random, kind: str | None = None) -> str:
    kind = kind or r.choice(["all", "all", "plain", "own"])
    monitor = r.choice([None, "val_loss", "train_accuracy"])
    optimizer = r.choice(["None", "Adam(weight_decay=0.01)", "SGD(0.9)"])
    return MADE.format(kind=kind, threads=r.choice([None, 1, 2]), monitor=monitor, optimizer=optimizer)


def _place(r: Random, number: int) -> tuple[str, str]:
    return PLACES[number * 7919 % len(PLACES)] if r.random() < 0.7 else r.choice(PLACES)


def _assignment(r: Random, number: int) -> str:
    owner, name = _place(r, number)
    target, value = f"{owner}.{name}", r.choice(pieces.VALUES)
    return r.choice([f"{target} = {value}"] * 8 + [
        f"del {target}", f"setattr({owner}, {name!r}, {value})", f"{owner}.__dict__[{name!r}] = {value}",
        f"vars({owner}).update({{{name!r}: {value}}})", f"{target}[:] = {value}", f"{target}[0] = {value}",
        f"{target} += {value}", f"object.__setattr__({owner}, {name!r}, {value})", f"{target} *= 1000",
    ])  # fmt: skip


def assign(r: Random, number: int) -> str:
    """An attribute is assigned between two calls."""
    lines = [_assignment(r, number), r.choice(pieces.LATER)]
    return _made(r, "all") + "G = np.ones((8, 3), np.float32)\n" + "\n".join(lines)


def pairs(r: Random, number: int) -> str:
    """Two assignments, with a call between them and one behind."""
    lines = [_assignment(r, number), r.choice(pieces.LATER), _assignment(r, number + 1), r.choice(pieces.LATER)]
    return _made(r, "all") + "G = np.ones((8, 3), np.float32)\n" + "\n".join(lines)


def _change(r: Random) -> str:
    number = r.choice(["0", "-1", "1", "2", "3", "7", "500", "10**9", "-10**6", "40", "2**62"])
    return r.choice(pieces.CHANGES).format(
        n=number, v=r.choice(pieces.VALUES), k=r.choice(["all", "own", "plain"]), d=r.choice([1, 3, 5, 9, 600]), b=r.random() < 0.5,
        f=r.random(), o=r.choice(pieces.ORDERS),
    )  # fmt: skip


def during(r: Random, number: int) -> str:
    """on_epoch, or a layer that is called in training, changes what training works on."""
    changes = "\n    ".join(_change(r) for _ in range(r.choice([1, 1, 2])))
    head = _made(r) + "x, y, v, w = X.copy(), Y.copy(), V.copy(), W.copy()\ncount = 0\n"
    validation = r.choice(["", "v, w, "]) if "monitor=None" in head or "'train" in head else "v, w, "
    inside = f"def change(record=SimpleNamespace()):\n    global x, y, v, w, count\n    count += 1\n    if count != {r.choice([1, 2, 3])}: return\n    {changes}\n"
    call = f"own.fit(x, y, {validation}epochs=4, on_epoch=change)"
    if r.random() < 0.3:
        where = r.choice(["forward", "backward", "order", "hyper"])
        call = call.replace(", on_epoch=change", "")
        inside += {
            "order": "class Ordering(Trainer):\n    def order(self, epoch, rows):\n        change()\n        return super().order(epoch, rows)\nown.__class__ = Ordering\n",
            "hyper": "class Numbers(Adam):\n    def hyper(self, first, sizes):\n        change()\n        return super().hyper(first, sizes)\nnet.optimizer = Numbers()\n",
        }.get(where, f"class Own(Scale):\n    def {where}(self, a):\n        change()\n        return super().{where}(a)\nnet.layers.insert(-1, Own())\n")  # fmt: skip
    return head + inside + f"{call}\nif net is own.network: sound(net)\nfit(own, 1)\nif net is own.network: sound(net)"


def rows(r: Random, number: int) -> str:
    """Rows, logits and gradients of all shapes, types and strides."""
    form = pieces.FORMS[number * 31 % len(pieces.FORMS)] if r.random() < 0.7 else r.choice(pieces.FORMS)
    kind = r.choice(["plain", "all", "own"])
    call = r.choice(pieces.CALLS).format(n=f"network({kind!r})", k=kind)
    return f"value = {form.format(a=r.choice(['X', 'X', 'X.astype(np.float64)', 'MANY[:40]', 'MANY']))}\nsame({call}, value)"


def labels(r: Random, number: int) -> str:
    """Labels of all shapes, types and strides; targets of scikit-learn's estimators."""
    value = pieces.LABELS[number * 31 % len(pieces.LABELS)] if r.random() < 0.8 else r.choice(pieces.LABELS)
    kind = r.choice(["plain", "all", "own"])
    call = r.choice([
        f"lambda v: fitted(X, v, {kind!r})", f"lambda v: evaluate(network({kind!r}), X, v, 7)[0]", f"lambda v: trainer({kind!r}).evaluate(X, v)[0]",
        f"lambda v: trainer({kind!r}, monitor='val_loss').fit(X, Y, X, v, epochs=2).epochs[-1].val_loss",
        "lambda v: CrossEntropySoftmax().forward(X, v)", "lambda v: (c := CrossEntropySoftmax(), c.forward(X[:, :3], v), c.backward())[-1]",
    ])  # fmt: skip
    return f"value = {value}\nsame({call}, value)"


def handed(r: Random, number: int) -> str:
    """An array that was handed in or out is resized, reshaped or overwritten."""
    code = """s, p, q = np.random.default_rng(1).random((6, 2)) + 0.5, np.asarray(Whiten.fit(X, 4).projection).copy(), np.zeros(4, np.float32) standard, whiten = Standardize(s[:, 0], s[:, 1]), Whiten(p, q) net = network('plain') given = np.random.default_rng(1).normal(size=(6, 9)).astype(np.float32) net.layers[0].weights = given own = trainer(net=net, monitor='val_loss') fit(own) loss = CrossEntropySoftmax() loss.forward(net.forward(X), Y) net.backward(loss.backward()) net.logits(X[:3]) if {stacked}: net.layers = [standard, whiten, LinearLayer(4, 9, seed=1), *net.layers[1:]] w = {array} {change} standard.forward(X); whiten.forward(X) {later} """  # fmt: skip
    later = r.choice(["fit(own); trained(own)", "sound(net)", "own.restore_best(); sound(net)", "net.step(0.01); sound(net)", "net.logits(X[:3]); fit(own); sound(net)",
        "net.backward(loss.backward()); net.step(0.1); sound(net)", "net.layers[0].forward(X[:, :net.layers[0].features_in]); sound(net)", "sound(copy.deepcopy(net))"])  # fmt: skip
    array = pieces.HANDED[number * 11 % len(pieces.HANDED)] if r.random() < 0.7 else r.choice(pieces.HANDED)
    return code.format(stacked=r.random() < 0.5, array=array, change=r.choice(pieces.WEIGHTS).format(v=r.choice(pieces.VALUES)), later=later)  # fmt: skip


def overrides(r: Random, number: int) -> str:
    """A subclass whose methods return nonsense."""
    which = number % 5
    training = r.choice(["fit(own); trained(own, finite=False)", "own.fit(X, Y, epochs=3)\nsound(net)", "own.fit(X, Y, epochs=1, on_epoch=lambda record: True)\nsound(net)"])  # fmt: skip
    settings = f"batch_size={r.choice([5, 8, 40, 64])}, threads={r.choice([None, 2])}, monitor={r.choice([None, 'train_loss'])!r}"
    kind = r.choice(["plain", "all", "own"])
    if which == 0:
        order = r.choice(pieces.ORDERS)
        return f"class Own(Trainer):\n    def order(self, epoch, rows):\n        return {order}\nnet = network({kind!r})\nown = Own(net, {settings})\n{training}"
    if which == 1:
        base = r.choice(["Adam", "SGD"])
        return f"class Own({base}):\n    def hyper(self, first, sizes):\n        h = super().hyper(first, sizes)\n        return {r.choice(pieces.HYPER)}\nnet = network({kind!r})\nown = Trainer(net, Own(), {settings})\n{training}"
    if which == 2:
        base, method = (
            r.choice(["Scale", "ReLU", "LinearLayer", "Dropout", "Standardize", "Whiten"]),
            r.choice(["forward", "backward"]),
        )
        made = { "Scale": "", "ReLU": "", "LinearLayer": "9, 9", "Dropout": "0.5", "Standardize": "np.zeros(9), np.ones(9)", "Whiten": "np.eye(9), np.zeros(9)", }[base]  # fmt: skip
        return f"class Own({base}):\n    def {method}(self, a, **more):\n        out = super().{method}(a, **more)\n        return {r.choice(pieces.ANSWERS)}\nnet = network('plain')\nnet.layers.insert(1, Own({made}))\nown = Trainer(net, {settings})\n{r.choice(['own.fit(X, Y, epochs=2)', 'net.logits(X)', 'evaluate(net, X, Y, 7)', 'net.forward(X); net.backward(np.ones((40, 3)))'])}"
    if which == 3:
        base = r.choice(["ReLU", "Tanh"])
        lowers = (
            "from fastff.engine.panels import Panels\n"
            + f"class Own({base}, lowers=True):\n    def lower_forward(self, program, x, *, training):\n        {r.choice(pieces.LOWERED)}\n"
        )
        return f"{lowers}net = network('plain')\nnet.layers.insert({r.choice([0, 1, 2, 3])}, Own())\nown = Trainer(net, {settings})\n{r.choice(['own.fit(X, Y, epochs=2)', 'net.logits(X)', 'net.logits(X[:3])', 'net.forward(X); net.backward(np.ones((40, 3)))'])}"
    model = r.choice(pieces.ANSWERS)
    return f"class Own:\n    input_dim, output_dim = {r.choice(['6, 3', 'None, None', '6, 10**6', '9, 1', '-1, -1'])}\n    def forward(self, a):\n        out = np.zeros((len(a), 3), 'f4')\n        return {model}\nloss, accuracy = evaluate(Own(), X, Y, {r.choice([1, 7, 40, 10**6])})\nif not (np.isnan(loss) or min(abs(loss - np.log([3, 9, 600]))) < 0.01): raise Wrong(f'loss {{loss}}')"


def constructors(r: Random, number: int) -> str:
    """One or two arguments of a call are replaced by what they should not be."""
    calls = list(pieces.CONSTRUCTED)
    call = calls[number % len(calls)]
    arguments = list(pieces.CONSTRUCTED[call])
    for _ in range(r.choice([1, 1, 1, 2])):
        i = r.randrange(len(arguments))
        name = (
            arguments[i].partition("=")[0] + "="
            if arguments[i].partition("=")[0].isidentifier() and "=" in arguments[i]
            else ""
        )
        value = r.choice(pieces.FORMS).format(a="X") if r.random() < 0.25 else r.choice(pieces.VALUES)
        arguments[i] = name + value
    use = pieces.USED.get(call.partition("(")[0], "")
    return f"r = {call.format(', '.join(arguments))}\n{use}"


def copies(r: Random, number: int) -> str:
    """Copies of everything, in all states, used side by side with the original."""
    whats = ["net", "own", "own.history", "own.best", "net.layers[3]", "net.layers[0]", "net.layers[2]", "net.layers[1]", "net.layers[5]", "net.layers[4]", "own.criterion", "net.layers", "ensemble", "own.optimizer", "own.recorder", "net.layers[10]", "data", "Config()", "own.progress"]  # fmt: skip
    what = whats[number % len(whats)]
    how = r.choice(["copy.copy({})", "copy.deepcopy({})", "pickle.loads(pickle.dumps({}))", "pickle.loads(pickle.dumps({}, 2))", "type({0}).__new__(type({0}))", "(lambda o: (o.__setstate__({{}}) if hasattr(o, '__setstate__') else None, o)[1])(copy.copy({}))"])  # fmt: skip
    before = r.choice(["", "net.logits(X[:3])", "net.forward(X); net.backward(np.ones((40, 3), 'f4'))", "keep = net.layers[3].weights", "net.forward(X)"])  # fmt: skip
    after = r.choice(["fit(own); trained(own)", "fit(own)\ndel net, own; gc.collect()", "net.layers[3]._allocate(5, 9)", "sound(net)", "net.layers[3].weights[:] = 0.5"])  # fmt: skip
    back = {"net": "net", "own": "own"}.get(what)
    use = {
        "net": "sound(c); fit(trainer(net=c)); sound(c); sound(net)", "own": "fit(c); trained(c); sound(own.network)", "own.criterion": "c.backward(); c.forward(X, Y)", "ensemble": "c.predict(X)",
        "net.layers": "net.layers = c; sound(net)", "own.optimizer": "net.optimizer = c; fit(own); trained(own)", "own.recorder": "own.recorder = c; fit(own); trained(own)", "own.best": "own.recorder.best = c; own.restore_best(); sound(net)",
        "own.history": "own.recorder.history = c; fit(own); trained(own)", "own.progress": "own.recorder.progress = c; fit(own); trained(own)", "data": "c.with_validation(); repr(c)", "Config()": "fit_many([replace(c, epochs=1, hidden=(4,))], data)",
    }.get(what, f"{what} = c; sound(net); c.backward(c.forward(X[:, :c.features_in or 6]))")  # fmt: skip
    deleted = "del net, own" in after
    if deleted and back is None:
        after = "fit(own); trained(own)"
        deleted = False
    if deleted:
        use = {"net": "sound(c)", "own": "fit(c); trained(c)"}[what]
    return _made(r, "all") + f"{before}\nc = {how.format(what)}\n{after}\n{use}"


def threads(r: Random, number: int) -> str:
    """Two or three threads use one network or trainer at once."""
    calls = [pieces.TOGETHER[number % len(pieces.TOGETHER)], *r.sample(pieces.TOGETHER, r.choice([1, 1, 2]))]
    listed = ", ".join(f"lambda: {call}" for call in calls)
    return (
        _made(r, "all")
        + f"x = X.copy(); path = FOLDER / f'load{{os.getpid()}}'; net.save(path)\nnet.forward(X)\nnet.backward(np.ones((40, 3), 'f4'))\ntogether({listed})\nnet.logits(X[:3])"
    )


def files(r: Random, number: int) -> str:
    """A saved network is altered, with or without the right checksum, and loaded."""
    head = "from fastff.system import checkpoint\nnet, path = network('all'), FOLDER / f'misuse{os.getpid()}'\n"
    target = r.choice(["FeedForwardNeuralNetwork.load(path)", "net.load(path)", "network('own').load(path)"])
    if number % 3 == 0:
        return (
            head
            + f"net.save(path)\ncontent = path.read_bytes()\n{r.choice(pieces.FILES)}\npath.write_bytes(content)\nagain = {target}\nsound(again)"
        )
    values = ["None", "-1", "0", "7", "1e300", "'x'", "[]", "[1, 2]", "[0, 0, 0]", "[-1, -2, 3]", "{}", "True", "0.999999999", "[1.5, 2, 2]", "[6, 1, 1]", "[3, 1, 2]", "10**30"]  # fmt: skip
    change = (
        pieces.DESCRIBED[number % len(pieces.DESCRIBED)] if r.random() < 0.7 else r.choice(pieces.DESCRIBED)
    ).format(v=r.choice(values))
    return (
        head
        + f"arrays, layers = net.contents()\narrays = {{name: np.asarray(array) for name, array in arrays.items()}}\n{change}\ncheckpoint.save(path, arrays, {{'layers': layers}})\nagain = {target}\nsound(again)\nfit(trainer(net=again)); sound(again)"
    )


def sklearn(r: Random, number: int) -> str:
    """scikit-learn's estimators: other outputs, features and weights from call to call, attributes assigned, threads."""
    regress = r.random() < 0.5
    kind, targets = ("MLPRegressor", ["T", "T[:, 0]", "T[:, :2]", "T[:, ::-1]", "T * np.nan", "T * 1e300", "np.tile(T, (1, 3))", "T[:, :1]", "T.astype('f4')", "Y", "T.tolist()", "None", "T[:5]", "T * 1e39", "unaligned(T)"])  # fmt: skip
    if not regress:
        kind, targets = "MLPClassifier", ["Y", "Y + 1", "Y.astype(str)", "Y > 0", "np.eye(3)[Y]", "np.eye(3, dtype=int)[Y]", "Y[:5]", "Y * 0", "Y[:, None]", "np.arange(40)", "Y - 1", "Y.astype(float)", "None", "Y + 0.5", "Y[::-1]", "np.eye(3, dtype=int)[Y][:, :2]"]  # fmt: skip
    rows = ["X"] * 12 + ["X[:, :4]", "X[::-1]", "X.astype('f8')", "X * 1e39", "X[:, ::-1]", "np.asfortranarray(X)", "unaligned(X)", "X.astype('f8') * 1e300", "X[:3]", "np.repeat(X, 2, 1)", "Lying(X, 10**6)", "__import__('scipy.sparse').sparse.csr_matrix(X)"]  # fmt: skip
    weighted = ["None", "np.ones(40)", "np.zeros(40)", "-np.ones(40)", "np.full(40, 1e300)", "np.full(40, np.nan)", "np.ones(3)", "np.full(40, 1e-320)", "'x'", "3", "np.ones((40, 1))", "np.arange(40) - 20.0", "X[:, 0]"]  # fmt: skip
    options = ["dropout={v}", "decay={v}", "threads={v}", "max_iter={v}", "batch_size={v}", "max_seconds={v}", "on_epoch={v}", "random_state={v}", "validation_fraction={v}", "early_stopping=True", "precision={v}", "solver='sgd'", "momentum={v}", "learning_rate_init={v}", "tol={v}", "label_smoothing={v}", "class_weight={v}", "hidden_layer_sizes={v}"]  # fmt: skip
    value = r.choice(pieces.VALUES)
    calls = [
        r.choice(pieces.SKLEARN if i else pieces.SKLEARN[:7])
        if r.random() < 0.5 or i == 0
        else pieces.SKLEARN[number % len(pieces.SKLEARN)]
        for i in range(r.choice([1, 2, 2, 3]))
    ]
    filled = [
        c.format(x=r.choice(rows), y=r.choice([targets[0], *targets]), s=r.choice(weighted), v=r.choice(pieces.VALUES), p=r.choice(options).format(v=value)) for c in calls
    ]  # fmt: skip
    start = r.choice([f"m.fit(X, {targets[0]})", f"m.fit(X, {targets[0]})", f"m.partial_fit(X, {targets[0]}{', np.unique(Y)' if not regress else ''})"])  # fmt: skip
    solver = r.choice(["adam", "adam", "sgd", "lbfgs"])
    large = r.random() < 0.6
    head = "X, Y, T = np.tile(X, (3, 1)), np.tile(Y, 3), np.tile(T, (3, 1))\n" if r.random() < 0.5 else ""
    return (
        f"{head}big = MANY.copy()\nm = {kind}({'(300, 200)' if large else '(9,)'}, solver={solver!r}, max_iter=4, random_state=0, dropout={r.choice([0.0, 0.0, 0.2])}, warm_start={r.random() < 0.3})\n{start}\n"
        + "\n".join(filled)
        + "\np = m.predict(X)\nif len(p) != len(X): raise Wrong(f'{len(p)} predictions')"
    )


def examples(r: Random, number: int) -> str:
    """What users did, word for word."""
    return pieces.EXAMPLES[number % len(pieces.EXAMPLES)]


GROUPS: dict[str, Callable[[Random, int], str]] = {
    group.__name__: group
    for group in (examples, assign, pairs, during, rows, labels, handed, overrides, constructors, copies, threads, files, sklearn)
}  # fmt: skip


# What is not the public API: methods assigned, names with an underscore, a program's own parts
METHODS = (
    "forward|backward|lower_forward|lower_backward|lower_update|lower_rows|sync|step|updated|arrays|settings|move|reseed|"
    "gather|lowers|logits|load|contents|parameters|predict_proba|order|hyper|array_names|setting_names|saved_as|function|context"
)
BEHIND = re.compile(
    rf"\.({METHODS}|_\w+)(\[.*\])? [-+*]?= |(setattr|update)\(.*'({METHODS}|_\w+)'|^ *del .*\.({METHODS})$|__dict__|vars\("
    r"|recorder|object\.__setattr__|\._[a-z]|type\(net|lower_forward\(self|__new__|kernels",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Misuse:
    """A piece of code; `key` names it for as long as its code stays the same."""

    group: str
    number: int
    code: str

    @property
    def key(self) -> str:
        return f"{self.group}:{hashlib.sha256(self.code.encode()).hexdigest()[:8]}"


def misuse(group: str, number: int, seed: int = 0) -> Misuse:
    """The misuse of this number in its group."""
    code = GROUPS[group](Random(f"{seed} {group} {number}"), number)
    return Misuse(group, number, f"{LENIENT}\n{code}" if BEHIND.search(code) else code)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="how many misuses")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    parser.add_argument("--group", choices=GROUPS, action="append", help="only of this group; may be given again")
    parser.add_argument("--only", metavar="GROUP:NUMBER", help="this one alone")
    parser.add_argument("--show", action="store_true", help="print the code of all, and how they end")
    options = parser.parse_args()
    names = options.group or list(GROUPS)
    chosen = [misuse(names[i % len(names)], i // len(names), options.seed) for i in range(options.count)]
    if options.only:
        group, _, number = options.only.partition(":")
        chosen = [misuse(group, int(number), options.seed)]
    ends: dict[str, int] = {}
    with Server() as server:
        for each in chosen:
            end = server.run(each.code)
            ends[end.how] = ends.get(end.how, 0) + 1
            if options.show or not end.good:
                print(described(each, end), flush=True)
    print(f"{len(chosen)} misuses: " + ", ".join(f"{count} {how}" for how, count in sorted(ends.items())))
    return int(any(not End(how).good for how in ends))


def described(each: Misuse, end: End) -> str:
    """A misuse and its end, to be printed."""
    return f"--- {each.group}:{each.number} ({each.key})\n{each.code}\n=> {end.how}: {end.message}"


if __name__ == "__main__":
    sys.exit(main())
