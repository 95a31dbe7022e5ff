"""No call from Python crashes the process or gives a wrong answer in silence: misuses, each in a process of its own."""

import pytest
from misuse import GROUPS, described, misuse
from misuse_pieces import ATTRIBUTES, EXAMPLES
from misused import X, Y, trainer
from own_process import Server

COUNT = 30  # misuses of each group, of which every Python tries QUICK
QUICK = 8
# Findings that are still to be mended: the key of each misuse, and what goes wrong
KNOWN: dict[str, str] = {}


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("group", GROUPS)
def test_a_misuse_ends_right_or_with_one_line(server, group, quick):
    count = len(EXAMPLES) if group == "examples" else COUNT
    drawn = [misuse(group, number) for number in (range(QUICK) if quick else range(QUICK, count))]
    ends = [(each, server.run(each.code)) for each in drawn if each.key not in KNOWN]
    findings = [described(each, end) for each, end in ends if not end.good]
    assert not findings, "\n".join(findings)


def test_there_are_300_different_misuses():
    assert len({misuse(group, number).key for group in GROUPS for number in range(COUNT)}) >= 300


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import ctypes\nctypes.string_at(0)", "crash"),
        ("import ctypes\na = np.zeros(5)\nctypes.string_at(a.ctypes.data, a.nbytes + 16)", "crash"),
        (
            "import ctypes\na = np.zeros(5)\nat = a.ctypes.data\na.resize(50, refcheck=False)\nctypes.string_at(at)",
            "crash",
        ),
        ("os.abort()", "crash"),
        ("os._exit(3)", "crash"),
        ("raise Wrong('not so')", "wrong"),
        ("near(X, X + 1, 'rows')", "wrong"),
        ("net = network()\nnet.layers[0].weights += 1\nnear(twin(network(), X), net.logits(X), 'logits')", "wrong"),
        ("raise FastffError('two\\nlines')", "refused"),  # which FastffError makes one of
        ("trainer().fit(X, Y, epochs=1, on_epoch=lambda record: 1 / 0)", "refused"),
        ("from fastff.engine import panels\npanels.pack(X, np.zeros(1, np.float32))", "error"),
        ("Trainer(network(), nonsense=1)", "refused"),
        ("Trainer(network(), batch_size=0)", "refused"),
        ("sound(network('all'))", "right"),
        ("sound(network('own'))", "right"),
    ],
)
def test_the_ends_of_misuses_are_told_apart(server, code, how):
    assert server.run(code).how == how, server.run(code)


def test_every_public_attribute_is_assigned():
    own = trainer("all", monitor="train_loss")
    own.fit(X, Y, epochs=1)
    net = own.network
    missing = []
    for owner, names in ATTRIBUTES.items():
        if owner in ("ensemble", "data") or owner.startswith("type("):
            continue
        found = eval(owner, {"own": own, "net": net})
        missing += [f"{owner}.{n}" for n in vars(found) if not n.startswith("_") and n not in names]
    assert not missing
