"""Importing this tells skl2onnx to use its converters of scikit-learn's MLPClassifier and MLPRegressor for ours."""

from typing import Any

from fastff.errors import ArgumentError, MissingExtra

try:
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )
    from skl2onnx.operator_converters import multilayer_perceptron
except ImportError as error:
    raise MissingExtra.of("fastff.sklearn.onnx needs skl2onnx", "skl2onnx", error) from None

from fastff.sklearn.estimators import MLPClassifier, MLPRegressor


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    """skl2onnx's converter of regressors, which would give several outputs as one column."""
    model = operator.raw_operator
    if model.n_outputs_ != 1 or model.out_activation_ != "identity":
        raise ArgumentError(
            f"MLPRegressor: {model.n_outputs_} outputs, loss={model.loss!r}, want one output and 'squared_error', for "
            "which skl2onnx has a converter"
        )
    multilayer_perceptron.convert_sklearn_mlp_regressor(scope, operator, container)


update_registered_converter(
    MLPClassifier, "FastffMLPClassifier", calculate_linear_classifier_output_shapes,
    multilayer_perceptron.convert_sklearn_mlp_classifier,
    options={"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]},
)  # fmt: skip
update_registered_converter(
    MLPRegressor, "FastffMLPRegressor", calculate_linear_regressor_output_shapes, _convert_regressor
)  # fmt: skip
