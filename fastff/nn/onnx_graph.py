"""A network as an ONNX graph, from raw rows to probabilities or predicted numbers, for onnxruntime and other programs.

The graph includes the preprocessing, and leaves out Augment and Dropout, which prediction does not use. No other module
imports onnx.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastff import __version__
from fastff.data.columns import Schema
from fastff.data.labels import printable
from fastff.errors import ArgumentError, MissingExtra
from fastff.kernels.pointwise import HIGHEST
from fastff.nn.activations import ReLU, Sigmoid, Tanh
from fastff.nn.dropout import RandomLayer
from fastff.nn.encoding import PiecewiseLinear
from fastff.nn.ensemble import Ensemble
from fastff.nn.layers import LinearLayer
from fastff.nn.network import FeedForwardNeuralNetwork
from fastff.nn.onnx_columns import Columns, inputs_of
from fastff.nn.preprocessing import Standardize, Whiten
from fastff.nn.targets import TargetExp, TargetScale

OPSET, ML_OPSET, IR_VERSION = 13, 2, 8  # old enough for every runtime in use, and new enough for all that is needed
_FLOAT = 1  # TensorProto.FLOAT
_FUNCTIONS = {ReLU: "Relu", Sigmoid: "Sigmoid", Tanh: "Tanh"}


def onnx_bytes(
    model: FeedForwardNeuralNetwork | Ensemble,
    class_names: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    columns: Schema | None = None,
) -> bytes:
    """The model as an ONNX file: input "rows", float32 (N, input_dim); output "probabilities", float32 (N, classes).

    The output of a model that predicts numbers is "predictions", float32 (N, outputs), in the targets' units. With
    columns there is an input (N, 1) for each column of the table instead of "rows": fastff.nn.onnx_columns says which.

    The names of the classes become the model's metadata "class_names", one on each line, with line ends within one as
    escapes; notes are more of it. Raises MissingExtra if onnx is not installed, ArgumentError for a layer of
    somebody's own, and DataError for a column that is called as the output, or as a part of a date.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise MissingExtra.of("exporting to ONNX needs onnx", '"fastff[onnx]"', error) from None
    nodes: list[Any] = []
    constants: list[Any] = []
    result = "probabilities" if model.task == "classify" else "predictions"
    inputs: list[tuple[str, int]] = [("rows", TensorProto.FLOAT)]
    if columns is not None:
        inputs = inputs_of(columns, result, TensorProto)
    taken = {result, *(name for name, _ in inputs)}

    def unique(name: str) -> str:  # columns have any names, also those of constants
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def add(operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or unique(f"{operation.lower()}_{len(nodes)}")
        nodes.append(helper.make_node(operation, inputs, [output], name=output, **attributes))
        return output

    def constant(name: str, array: np.ndarray, kind: type = np.float32) -> str:
        name = unique(name)
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array, kind), name))
        return name

    width, rows = model.input_dim, "rows"
    if columns is not None:
        rows, width = Columns(add, constant, TensorProto).rows(columns), 1

    def whole(network: FeedForwardNeuralNetwork, prefix: str = "", output: str = "") -> str:
        z = _logits(network, rows, columns is not None, add, lambda name, *array: constant(f"{prefix}{name}", *array))
        if model.task == "classify":
            return add("Softmax", z, output=output, axis=1)
        return add("Identity", z, output=output)

    if isinstance(model, Ensemble):
        add("Mean", *(whole(network, f"{i}/") for i, network in enumerate(model.networks)), output=result)
    else:
        whole(model, output=result)
    graph = helper.make_graph(
        nodes,
        "fastff",
        [helper.make_tensor_value_info(name, kind, ["N", width]) for name, kind in inputs],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["N", model.output_dim])],
        constants,
    )
    file = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastff",
        producer_version=__version__,
    )
    names = {"class_names": "\n".join(map(printable, class_names))} if class_names else {}
    helper.set_model_props(file, {**names, **(notes or {})})
    onnx.checker.check_model(file, full_check=True)
    return file.SerializeToString()


def _logits(
    network: FeedForwardNeuralNetwork, value: str, wide: bool, add: Callable[..., str], constant: Callable[..., str]
) -> str:
    """Add the nodes from the rows, called `value`, to the network's logits; returns the name of the logits.

    wide: whether rows are float64, of which the first layer's mean is taken before they are rounded.
    """
    if type(network).forward is not FeedForwardNeuralNetwork.forward:
        raise ArgumentError(f"{type(network).__name__}: has a forward of its own, want a plain network of layers")
    if wide and not (network.layers and type(network.layers[0]) is Standardize):
        value = add("Cast", value, to=_FLOAT)
    for i, layer in enumerate(network.layers):
        if type(layer) in (LinearLayer, Whiten):
            value = add("Gemm", value, *[constant(f"{i}.{name}", array) for name, array in layer.arrays().items()])
        elif type(layer) is Standardize:
            value = add("Sub", value, constant(f"{i}.mean", layer.mean, np.float64 if wide and i == 0 else np.float32))
            value = add("Cast", value, to=_FLOAT) if wide and i == 0 else value
            value = add("Mul", value, constant(f"{i}.scale", layer.scale))
        elif type(layer) is PiecewiseLinear:
            value = add("Gather", value, constant(f"{i}.sources", layer.sources, np.int64), axis=1)
            for operation, name in (("Sub", "lower"), ("Mul", "scale"), ("Max", "low"), ("Min", "high")):
                value = add(operation, value, constant(f"{i}.{name}", getattr(layer, name)))
        elif type(layer) is TargetScale:
            value = add("Mul", value, constant(f"{i}.std", layer.factor))
            value = add("Add", value, constant(f"{i}.mean", layer.mean))
        elif type(layer) is TargetExp:
            value = add("Exp", add("Min", value, constant(f"{i}.highest", np.array(HIGHEST))))
        elif type(layer) in _FUNCTIONS:
            value = add(_FUNCTIONS[type(layer)], value)
        elif not isinstance(layer, RandomLayer):
            raise ArgumentError(f"layers[{i}]: {type(layer).__name__} is not one of fastff's layers")
    return value
