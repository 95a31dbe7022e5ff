"""No call from Python crashes the process or gives a wrong answer in silence: misuses, each in a process of its own."""

import pytest
from misuse import GROUPS, described, misuse
from misuse_pieces import ATTRIBUTES, EXAMPLES
from misused import X, Y, trainer
from own_process import Server

COUNT = 30  # misuses of each group
# Findings that are still to be mended: the key of each misuse, and what goes wrong
KNOWN: dict[str, str] = {
    "examples:bdbec8fc": "crash: SIGSEGV [... < steps.py:215 go < steps.py:196 __call__]",
    "examples:2d3d8ff8": "crash: SIGSEGV [... < steps.py:215 go < steps.py:196 __call__]",
    "examples:a910162b": "crash: SIGSEGV [... < steps.py:215 go < steps.py:196 __call__]",
    "examples:23782a7d": "crash: SIGSEGV [... < steps.py:215 go < steps.py:196 __call__]",
    "examples:fd8ba98e": "crash: SIGSEGV [steps.py:145 _rows < steps.py:39 train < steps.py:136 __call__ < train",
    "examples:b19b8cf0": "crash: SIGSEGV [... < evaluation.py:65 run < trainer.py:143 fit]",
    "examples:06cc4598": "crash: SIGSEGV [... < evaluation.py:65 run < trainer.py:143 fit]",
    "examples:b5d2b2db": "crash: SIGSEGV [program.py:100 gather < preprocessing.py:117 gather < preprocessing.py",
    "examples:349bee8f": "crash: SIGSEGV [run.py:93 run_rows < predictor.py:45 __call__ < network.py:186 logits ",
    "examples:78e7770c": "crash: SIGSEGV [... < steps.py:215 go < steps.py:196 __call__]",
    "examples:af5bded2": "crash: SIGSEGV [run.py:93 run_rows < predictor.py:45 __call__ < network.py:186 logits ",
    "during:15efe102": "crash: SIGSEGV [threading.py:327 wait < threading.py:629 wait < threads.py:51 work < t",
    "labels:38f82450": "crash: SIGBUS [rows.py:167 check_labels < trainer.py:153 evaluate < <misuse>:2 <lambda",
    "handed:1752b96a": "crash: SIGSEGV [... < layers.py:60 forward < <misuse>:16 <module>]",
    "overrides:d6f13ba7": "crash: SIGBUS [... < layers.py:258 step < network.py:120 step]",
    "examples:4941a543": "wrong: after the caller changed its array: -6.87427 at (0, 0), want -0.87427",
    "examples:97965cf1": "wrong: logits of 3 rows: 0.320511 at (0, 0), want 0.269154",
    "examples:aa46e1a6": "wrong: answers, but its layers can't be computed with: ValueError('matmul: Input opera",
    "assign:f45876e0": "error: TypeError: 'str' object cannot be interpreted as an integer [ensemble.py:48 pre",
    "assign:e86cc8ee": "error: KeyError: 1e-320 [steps.py:170 make_program < steps.py:159 __init__ < trainer.p",
    "pairs:e74523d4": "error: AttributeError: 'Dropout' object has no attribute 'rate' [layers.py:88 <dictcom",
    "during:c6fc3e13": "error: ValueError: operands could not be broadcast together with shapes (3,) (5,) [tra",
    "during:5e74ae86": "error: TypeError: unsupported operand type(s) for +: 'types.SimpleNamespace' and 'int'",
    "during:303ca73d": "error: AttributeError: 'numpy.ndarray' object has no attribute 'label_smoothing' [step",
    "handed:c8916396": "error: ValueError: cannot reshape array of size 256 into shape (600,32) [panels.py:34 ",
    "handed:c780419f": "error: ValueError: could not broadcast input array from shape (9,1) into shape (1,1) [",
    "handed:40b0d221": "error: ValueError: cannot reshape array of size 256 into shape (600,32) [panels.py:34 ",
    "overrides:2e2f61f9": "error: AttributeError: 'list' object has no attribute 'argmax' [evaluation.py:45 run <",
    "constructors:42988110": "error: ValueError: The truth value of an array with more than one element is ambiguous",
    "constructors:e39e7a27": "error: TypeError: expected str, bytes or os.PathLike object, not float [pathlib.py:493",
    "constructors:efff9631": "error: TypeError: expected str, bytes or os.PathLike object, not float [<frozen posixp",
    "constructors:010e3600": "error: TypeError: expected str, bytes or os.PathLike object, not ndarray [checkpoint.p",
    "constructors:a3aec3e6": "error: IndexError: only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None",
    "constructors:8cad3ad3": "error: ValueError: The truth value of an array with more than one element is ambiguous",
    "constructors:55c4a87d": "error: ValueError: could not broadcast input array from shape (40,6) into shape (40,) ",
    "constructors:719358db": "error: TypeError: object of type 'int' has no len() [layers.py:322 reseed < <misuse>:1",
    "constructors:deb5e1d8": "error: TypeError: float() argument must be a string or a real number, not 'object' [pi",
    "constructors:db0edf6c": "error: TypeError: seed must be integer [bit_generator.pyx:141 numpy.random.bit_generat",
    "threads:0b7e6388": "error: KeyError: '0.weight' [network.py:222 set_parameters < <misuse>:9 <lambda> < mis",
    "sklearn:411c929d": "error: TypeError: 'int' object is not iterable [estimators.py:106 _forward_pass_fast <",
}


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.mark.parametrize("group", GROUPS)
def test_a_misuse_ends_right_or_with_one_line(server, group):
    count = len(EXAMPLES) if group == "examples" else COUNT
    drawn = [misuse(group, number) for number in range(count)]
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
