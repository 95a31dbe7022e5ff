"""A student's script with its classes replaced by fastff's trains as before, or stops with a line that says what to do.

The script is the right solution that tests of fastff.check use, on the digits inside the package; each case edits its
text as other students would have written it.
"""

import re
from pathlib import Path

import numpy as np
import pytest

import fastff
from fastff import load_dataset
from fastff.errors import FastffError

SCRIPT = (Path(__file__).parents[1] / "check" / "homework.py").read_text("utf-8")
CLASSES = ["CrossEntropySoftmax", "ReLU", "LinearLayer", "FeedForwardNeuralNetwork"]
DIGITS = load_dataset("digits").with_validation()
STEP = "            net.step(step_size)\n"


def load_data():
    return [
        array
        for split in ("train", "val", "test")
        for array in (getattr(DIGITS, f"x_{split}").astype(np.float64), getattr(DIGITS, f"y_{split}").reshape(-1, 1))
    ]


def swapped(*edits, classes=CLASSES, functions=("evaluate",)):
    """The figures that main() of the script prints, with these of its classes and functions imported from fastff."""
    text = SCRIPT
    for name in (*classes, *functions):
        text, count = re.subn(rf"^(class|def) {name}\b.*?(?=^(?:class|def|if) )", "", text, flags=re.M | re.S)
        assert count == 1, name
    imports = f"from fastff import {', '.join([*classes, *functions, 'Adam'])}\n"
    text = imports + text.replace("import matplotlib.pyplot as plt", "").replace("import pickle", "")
    text = text.replace("    plt.plot(losses)\n    plt.show()\n", "")
    text = text.replace("X_train.shape[1], 3, 32, 2", "X_train.shape[1], 10, 32, 2").replace(
        "max_epochs = 20", "max_epochs = 10"
    )
    text = text.replace("1e-6", "1")  # some of the digits' pixels are nearly always 0
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    printed = []
    space = {"__name__": "swapped", "print": lambda *values: printed.append(values)}
    np.random.seed(0)  # noqa: NPY002 (the script's generator)
    exec(compile(text, "swapped.py", "exec"), space)
    space["load_data"] = load_data
    space["main"]()
    return printed[-1][0]


OWN_LAYERS = ["CrossEntropySoftmax", "ReLU", "LinearLayer"]


@pytest.mark.parametrize(
    "classes",
    [CLASSES, OWN_LAYERS, ["LinearLayer"], ["ReLU"], ["CrossEntropySoftmax"], ["FeedForwardNeuralNetwork"]],
    ids=["all", "layers", "linear", "relu", "loss", "network"],
)
def test_any_of_the_classes_can_be_swapped(classes):
    loss, accuracy = swapped(classes=classes)
    assert accuracy > 0.8
    assert loss < 0.75


def test_the_course_s_optimizer_gives_the_student_s_own_steps():
    """Both start from the same weights and see the same batches, so the losses agree up to float32."""
    weights = ("self.weights = np.random.randn(input_dim, output_dim)",
               "self.weights = np.random.default_rng(output_dim).standard_normal((input_dim, output_dim))")  # fmt: skip
    own = swapped(weights, classes=[], functions=[])
    start = "    criterion = CrossEntropySoftmax()\n    losses"
    given = (
        "    net.optimizer = Adam.course(0.9, 1e-4)\n"
        "    for layer in net.layers[::2]:\n"
        "        shape = layer.W.shape\n"
        "        layer.W = np.random.default_rng(shape[1]).standard_normal(shape) * np.sqrt(2 / shape[0])\n" + start
    )
    ours = swapped((start, given))
    np.testing.assert_allclose(ours, own, rtol=2e-2)


@pytest.mark.parametrize(
    ("edit", "saying"),
    [
        (("criterion.forward(logits, Y)", "criterion.forward(logits, np.eye(10)[Y[:, 0]])"),
         r"labels: shape \(64, 10\), .* one-hot rows become class numbers by labels.argmax\(1\)"),
        ((STEP, STEP.replace("step_size", "step_size, 0.9, 1e-4")),
         r"FeedForwardNeuralNetwork.step: is given 0.9, 0.0001 beside the step size, .*Adam.course\(beta"),
        ((STEP, STEP.replace("step_size", "step_size, t=5")), r"is given t=5 beside .* it counts the steps"),
        ((STEP, "            for layer in net.layers: layer.step(step_size, 5)\n"), "LinearLayer.step: is given 5"),
        (("logits = net.forward(X)", "logits = net.forward(X)[-1]"), r"logits: shape \(10,\), .*\[-1\] takes the last"),
        (("logits = net.forward(X)", "logits = [X, net.forward(X)]"), r"logits: a list of 2 arrays, .*\[-1\]"),
        ((STEP, "            net.layers[0].grad_weights *= 0.1\n" + STEP), "not see it; want a smaller step_size"),
        ((STEP, "            net.layers[0].grad_weights[0] = 0\n" + STEP), "would not see it"),
        ((STEP, "            net.layers[0].grad_weights = np.zeros((64, 32))\n" + STEP), "would not see it"),
        ((STEP, "            g = net.layers[0].grad_bias; np.clip(g, -1, 1, out=g)\n" + STEP), "would not see it"),
        ((STEP, "            net.layers[0].beta = 0.5\n" + STEP), "LinearLayer has no attribute 'beta'"),
    ],
    ids=["one-hot", "step's settings", "step's count", "a layer's step", "last row", "list", "scaled gradient",
         "written gradient", "assigned gradient", "clipped gradient", "setting"],
)  # fmt: skip
def test_what_the_student_s_classes_did_otherwise_is_a_line_with_the_cure(edit, saying):
    with pytest.raises((FastffError, AttributeError), match=saying) as failed:
        swapped(edit)
    assert "\n" not in str(failed.value)


def test_a_list_of_all_outputs_from_the_student_s_own_network():
    returns_all = ("        for layer in self.layers:\n            X = layer.forward(X)\n        return X\n",
                   "        outputs = [X]\n        for layer in self.layers:\n"
                   "            outputs.append(layer.forward(outputs[-1]))\n        return outputs\n")  # fmt: skip
    last = ("logits = net.forward(X)", "logits = net.forward(X)[-1]")
    with pytest.raises(FastffError, match=r"FeedForwardNeuralNetwork.forward: a list of 4 arrays, .*\[-1\]"):
        swapped(returns_all, last, classes=OWN_LAYERS)


def test_probabilities_are_warned_of():
    softmax = ("logits = net.forward(X)",
               "logits = np.exp(net.forward(X)); logits /= logits.sum(1, keepdims=True)")  # fmt: skip
    with pytest.warns(UserWarning, match="the loss applies the softmax itself"):
        swapped(softmax)


def test_gradients_that_are_read_behave_like_arrays():
    layer = fastff.LinearLayer(4, 3, seed=0)
    layer.forward(np.ones((2, 4)))
    layer.backward(np.ones((2, 3)))
    gradient = layer.grad_weights
    for plain in (gradient * 2, np.abs(gradient), np.clip(gradient, 0, 1), gradient @ gradient.T, gradient.sum()):
        assert type(plain) in (np.ndarray, np.float32)
    copy = gradient.copy()
    copy *= 0.5
    copy[0] = 7
    other = np.zeros_like(np.asarray(gradient))
    other += gradient
    np.testing.assert_array_equal(other, gradient)
    np.testing.assert_array_equal(gradient, np.full((4, 3), 2))
    layer.weights -= 0.1 * gradient
