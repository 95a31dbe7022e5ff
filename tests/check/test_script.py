"""What is loaded of a student's file, and what is run of it: names have the values that they would have in Python."""

import sys

import pytest

from fastff.check.script import Script


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that loads a text as a student's file."""
    path = tmp_path / "homework.py"
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.setitem(sys.modules, "student", None)

    def load(text):
        path.write_text(text, "utf-8")
        return Script(path)

    return load


CONFIG = "config = {}\nconfig['beta'] = 0.9\n\n\n"


@pytest.mark.parametrize(
    ("statements", "expression"),
    [
        ('config = {}\nconfig["beta"] = 0.9', 'config["beta"]'),
        ('config = dict(lr=1e-3)\nconfig.update(beta=float("0.9"))', 'config["beta"]'),
        ('config = {}\nfor name in ("beta", "beta2"):\n    config[name] = 0.9', 'config["beta2"]'),
        ("betas = []\nbetas.append(0.9)", "betas[0]"),
        ("beta = 1.8\nbeta /= 2", "beta"),
        ("beta = None\nif str.isdigit('1'):\n    beta = 0.9", "beta"),
        ("class Layer:\n    pass\n\n\nLayer.beta = 0.9", "Layer.beta"),
        ("class Layer:\n    def f(self):\n        return 0.9\n\n\nLayer.__call__ = Layer.f", "Layer()()"),
        ("class L:\n    pass\n\n\nLayer = L\nLayer.beta = 0.9", "Layer.beta"),
        ("import json\nconfig = json.loads('{}')\nconfig['beta'] = 0.9\n\n\nclass Layer:\n    beta = config['beta']",
         "Layer.beta"),
        ("import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--beta', type=float, default=0.9)\n"
         "args = parser.parse_args()", "args.beta"),
        ("try:\n    import math as m\nexcept ImportError:\n    print('pip install math')\n    raise SystemExit(1)",
         "m.floor(1.2) * 0.9"),
        ("try:\n    import math\n    str.isdigit('1')\nexcept ImportError:\n    raise", "math.floor(1.2) * 0.9"),
        (f"{CONFIG}class Layer:\n    def step(self, beta=config['beta']):\n        return beta", "Layer().step()"),
        (f"{CONFIG}class Layer:\n    def step(self, *, beta=config['beta']):\n        return beta", "Layer().step()"),
        (f"{CONFIG}class Layer:\n    step = lambda self, beta=config['beta']: beta", "Layer().step()"),
        (f"{CONFIG}class Layer:\n    betas = [beta for beta in config.values()]", "Layer.betas[0]"),
        (f"{CONFIG}class Layer:\n    class Settings:\n        beta = config['beta']", "Layer.Settings.beta"),
        (f"{CONFIG}class Layer:\n    class Settings(type(config['beta'])):\n        pass", "Layer.Settings(0.9)"),
        (f"{CONFIG}if True:\n    class Layer:\n        beta = config['beta']", "Layer.beta"),
        (f"{CONFIG}class Layer:\n    @config.setdefault\n    def step(self):\n        pass", "config['beta']"),
    ],
)  # fmt: skip
def test_a_name_has_the_value_that_all_statements_about_it_give(load, statements, expression):
    script = load(f"{statements}\n\n\ndef needed():\n    return {expression}\n")
    assert script.namespace["needed"]() == 0.9


@pytest.mark.parametrize(
    ("method", "kind", "call"),
    [("update", "{}", "update({beta: 1})"), ("append", "[]", "append(beta)"), ("add", "set()", "add(beta)")],
)
def test_a_loop_that_fills_a_container_does_not_train(load, method, kind, call):
    """Even if a class of the file has a method of the same name."""
    script = load(
        f"class Layer:\n    def {method}(self):\n        return max(config)\n\n\n"
        f"config = {kind}\nfor beta in (0.9, 0.99):\n    config.{call}\n\n\ndef needed():\n    return len(config)\n"
    )
    assert script.namespace["needed"]() == 2


@pytest.mark.parametrize(
    ("statements", "expression", "value"),
    [
        ("rate = 0.1\nhalf = float(rate)\nrate /= 2\n", "half, rate", (0.1, 0.05)),
        ("rate = 0.1; half = float(rate); rate /= 2\n", "half, rate", (0.1, 0.05)),
        ("dims = [3072]\ndims.append(10)\nfirst = list(dims)\ndims.append(3)\nsecond = list(dims)\n",
         "first, second, dims", ([3072, 10], [3072, 10, 3], [3072, 10, 3])),
        ("DECAY = 0.1\n\n\ndef step(decay=DECAY):\n    return decay\n\n\nDECAY *= 10\n", "step(), DECAY", (0.1, 1)),
        ("DECAY = 1e-4\n\n\nclass Layer:\n    def step(self, decay=DECAY):\n        return decay\n\n\n"
         "if __name__ == '__main__':\n    DECAY = 1e-3\n", "Layer().step(), DECAY", (1e-4, 1e-3)),
        ("STEP = 0.1\n\n\nclass Layer:\n    step = STEP\n\n\nfor STEP in (0.2, 0.3):\n    pass\n",
         "Layer.step, STEP", (0.1, 0.3)),
        ("dims = [1]\ndims.append(2)\n\n\nclass A:\n    dims = list(dims)\n\n\ndims.append(3)\n\n\n"
         "class B:\n    dims = list(dims)\n", "A.dims, B.dims", ([1, 2], [1, 2, 3])),
        ("import json\nn = 1\nrate = json.loads('2') * n\nn = json.loads('3')\n", "rate, n", (2, 3)),
        ("import json\nn = 1\nn, rate = json.loads('[2, 3]')\n", "rate, n", (3, 2)),
        ("steps = 99\nsteps = min(steps, 9)\n\n\nclass Layer:\n    steps = steps\n", "Layer.steps", 9),
    ],
)  # fmt: skip
def test_a_statement_reads_what_those_above_it_gave(load, statements, expression, value):
    script = load(f"{statements}\n\ndef needed():\n    return {expression}\n")
    assert script.namespace["needed"]() == value


def test_a_loop_that_trains_is_run_for_what_nothing_else_gives(load):
    script = load(
        "def train():\n    return 0.9\n\n\nfor _ in range(2):\n    beta = train()\n\n\ndef needed():\n    return beta\n"
    )
    assert script.namespace["needed"]() == 0.9


def test_main_reads_what_the_statements_above_its_call_gave(load):
    script = load(
        "sizes = [1]\nsizes.append(2)\nn = len(sizes)\n\n\ndef main():\n    done.append((n, list(sizes)))\n\n\n"
        "done = []\nn *= 2\nif __name__ == '__main__':\n    n *= 2\n    main()\n    sizes.append(3)\n    n = 0\n"
    )
    script.run_main()
    assert script.namespace["done"] == [(8, [1, 2])]
    assert script.namespace["n"] == 0


def test_what_trains_is_not_run_for_a_name_that_it_changes(load):
    """Neither is anything that no name needs."""
    training = "losses = [0.5]\nfor epoch in range(9):\n    losses.append(train())\nprint(1 / 0)\n"
    script = load(f"def train():\n    raise RuntimeError\n\n\n{training}\n\ndef needed():\n    return losses\n")
    assert script.namespace["needed"]() == [0.5]
    with pytest.raises(RuntimeError):
        script.run_main()


GUARD = 'if __name__ == "__main__":\n'


@pytest.mark.parametrize(
    ("main", "started"),
    [
        ("def main():\n    done.append(64)\n", GUARD + "    main()\n"),
        ("def main():\n    done.append(64)\n", 'if "--train" in sys.argv:\n    main()\n'),
        ("def main():\n    done.append(64)\n", "while True:\n    pass\n"),
        ("def main(size):\n    done.append(size)\n", GUARD + "    main(64)\n"),
        ("def main(size):\n    done.append(size)\n", "size = int('64')\nwhile False:\n    pass\nmain(size)\n"),
        ("def main(size):\n    done.append(size)\n", GUARD + "    try:\n        main(64)\n    finally:\n        1\n"),
        ("def main():\n    done.append(args.size)\n",
         GUARD + "    import argparse\n    parser = argparse.ArgumentParser()\n"
         "    parser.add_argument('--size', type=int, default=64)\n    args = parser.parse_args()\n    main()\n"),
        ("size = 1\n\n\ndef main():\n    done.append(size)\n", GUARD + "    size = int('64')\n    main()\n"),
        ("def set_up():\n    global size\n    size = 64\n\n\ndef main():\n    done.append(size)\n",
         GUARD + "    set_up()\n    main()\n"),
        ("", GUARD + "    done.append(int('64'))\n"),
    ],
)  # fmt: skip
def test_main_is_called_as_the_file_calls_it(load, main, started):
    script = load(f"import sys\ndone = []\n{main}\n\n{started}")
    script.run_main()
    assert script.namespace["done"] == [64]


def test_names_of_the_guard_are_there_for_what_needs_them(load):
    script = load(
        f"import json\n\n\ndef needed():\n    return beta\n\n\n{GUARD}    beta = json.loads('0.9')\n    1 / 0\n"
    )
    assert script.namespace["needed"]() == 0.9


def test_objects_of_the_file_s_classes_can_be_pickled(load):
    script = load(
        "import pickle\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Layer:\n    beta: 'float' = 0.9\n\n\n"
        "def main():\n    global again\n    again = pickle.loads(pickle.dumps(Layer(0.5)))\n"
    )
    script.run_main()
    assert script.namespace["again"].beta == 0.5


def test_annotations_may_name_what_comes_later(load):
    script = load(
        '"""A."""\nfrom __future__ import annotations\n\n\nclass Layer:\n    def copy(self) -> Layer:\n        pass\n'
    )
    assert script.namespace["Layer"].copy.__annotations__ == {"return": "Layer"}
