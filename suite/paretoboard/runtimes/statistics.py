"""How much a model stores and computes, whichever form it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from paretoboard.artifact import Candidate

# Where quantization nodes take scales and zero points from: they describe numbers, and aren't counted.
_SCALE_INPUTS: Final = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
}
_CONVOLUTIONS: Final = {
    "Conv": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
}  # operator -> which input is its weight
_PRODUCTS: Final = {"Gemm": 1, "MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """Counts of one model."""

    parameters: int  # weights and biases, folded or not; running statistics, scales and zero points are none
    nonzero_parameters: int
    macs: int  # multiply-accumulates of convolutions and matrix products, for one image


def statistics(candidate: Candidate) -> ModelStatistics:
    """Counts of `candidate`.

    MACs of a torch model are half the FLOPs that torch's FlopCounterMode counts; those of a graph are counted
    by the same rule from its inferred shapes.
    """
    if candidate.graph is not None:
        return _of_graph(candidate.graph)
    assert candidate.module is not None
    return _of_module(candidate.module, candidate)


def _of_module(module: nn.Module, candidate: Candidate) -> ModelStatistics:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    parameters = list(module.parameters())
    image = torch.zeros((1, *candidate.input_shape), dtype=getattr(torch, candidate.execution.dtype))
    # Not inference_mode: the counter sees no operators there.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(image)
    return ModelStatistics(
        parameters=sum(parameter.numel() for parameter in parameters),
        nonzero_parameters=sum(int(torch.count_nonzero(parameter)) for parameter in parameters),
        macs=counter.get_total_flops() // 2,
    )


def _of_graph(content: bytes) -> ModelStatistics:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(content)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    described = {
        node.input[position]
        for node in model.graph.node
        for position in _SCALE_INPUTS.get(node.op_type, ())
        if position < len(node.input)
    }
    # int64 initializers are shapes, axes and indices; single numbers are bounds and constants.
    stored = [
        array for name, array in arrays.items() if name not in described and array.dtype != np.int64 and array.ndim > 0
    ]
    return ModelStatistics(
        parameters=sum(array.size for array in stored),
        nonzero_parameters=sum(int(np.count_nonzero(array)) for array in stored),
        macs=sum(_graph_macs(model)),
    )


def _graph_macs(model: Any) -> Iterator[int]:
    """MACs of each convolution and matrix product of an ONNX model, for one image."""
    import onnx

    single = onnx.ModelProto()
    single.CopyFrom(model)
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    for output in single.graph.output:
        output.type.tensor_type.shape.dim[0].ClearField("dim_param")
    graph = onnx.shape_inference.infer_shapes(single, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = tuple(extent.dim_value for extent in value.type.tensor_type.shape.dim)
    for node in graph.node:
        if node.op_type in _CONVOLUTIONS:
            weight = shapes[node.input[_CONVOLUTIONS[node.op_type]]]
            yield math.prod(shapes[node.output[0]]) * math.prod(weight[1:])
        elif node.op_type in _PRODUCTS:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            weight = shapes[node.input[_PRODUCTS[node.op_type]]]
            yield math.prod(shapes[node.output[0]]) * weight[-1 if transposed else -2]
