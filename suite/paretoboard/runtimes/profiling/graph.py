"""What a node of an ONNX graph computes and moves, also of a graph that ONNX Runtime has optimized."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoboard.runtimes.profiling import Kind

# Operator -> which input is its weight.
CONVOLUTIONS: Final = {
    "Conv": 1,
    "FusedConv": 1,
    "NhwcFusedConv": 1,
    "ConvTranspose": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
}
PRODUCTS: Final = {
    "Gemm": 1,
    "FusedGemm": 1,
    "MatMul": 1,
    "FusedMatMul": 1,
    "MatMulNBits": 1,
    "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1,
    "DynamicQuantizeMatMul": 1,
    "QGemm": 3,
    "QLinearMatMul": 3,
}
# Their second and third inputs are weights, of what comes in and of the state, each used at every step.
RECURRENT: Final = frozenset({"GRU", "LSTM", "RNN"})
# Those of the first two that compute in INT8.
INTEGER: Final = frozenset(
    {
        "ConvInteger",
        "QLinearConv",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QGemm",
        "QLinearMatMul",
    }
)
_KINDS: Final[Mapping[Kind, Sequence[str]]] = {
    "normalization": ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "SkipLayerNormalization"),
    "activation": (
        "Clip",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "PRelu",
        "QuickGelu",
        "Relu",
        "Sigmoid",
        "Softmax",
        "Tanh",
        "QLinearLeakyRelu",
        "QLinearSigmoid",
        "QLinearSoftmax",
    ),
    "elementwise": ("Add", "Div", "Mul", "Sub", "Sum", "QLinearAdd", "QLinearMul"),
    "pooling": (
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MaxPool",
        "ReduceMean",
        "QLinearAveragePool",
        "QLinearGlobalAveragePool",
        "QLinearReduceMean",
    ),
    "quantizing": ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    "reordering": (
        "Cast",
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Pad",
        "QLinearConcat",
        "ReorderInput",
        "ReorderOutput",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    ),
}
_KIND_OF: Final = {name: kind for kind, names in _KINDS.items() for name in names}
# These hand on the buffer that they get.
_FREE: Final = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# These read only what they give.
_PARTIAL: Final = frozenset({"Gather", "Slice", "Split"})


def kind_of(node: Any, shapes: Mapping[str, Sequence[int]]) -> Kind:
    """What kind of operator a node is.

    Args:
        shapes: by name of a value, at least those of the node's weight.
    """
    if node.op_type in PRODUCTS or node.op_type in RECURRENT:
        return "matrix product"
    if node.op_type in CONVOLUTIONS:
        weight = shapes[node.input[CONVOLUTIONS[node.op_type]]]
        return "depthwise convolution" if attribute(node, "group", 1) > 1 and weight[1] == 1 else "convolution"
    return _KIND_OF.get(node.op_type, "other")


def macs_of(node: Any, shapes: Mapping[str, Sequence[int]]) -> int:
    """Multiply-accumulates of a convolution, matrix product or recurrent layer with these shapes, 0 for all others."""
    name = node.op_type
    if name in CONVOLUTIONS:
        weight = shapes[node.input[CONVOLUTIONS[name]]]
        # A transposed convolution does for each input what others do for each output.
        places = shapes[node.input[0]] if name == "ConvTranspose" else shapes[node.output[0]]
        return math.prod(places) * math.prod(weight[1:])
    if name == "MatMulNBits":
        return math.prod(shapes[node.output[0]]) * attribute(node, "K", 0)
    if name in PRODUCTS:
        weight = shapes[node.input[PRODUCTS[name]]]
        depth = weight[-1 if attribute(node, "transB", 0) else -2] if len(weight) > 1 else weight[0]
        return math.prod(shapes[node.output[0]]) * depth
    if name in RECURRENT:
        steps, images = shapes[node.input[0]][:2]
        return steps * images * sum(math.prod(shapes[node.input[place]]) for place in (1, 2))
    return 0


def bytes_of(node: Any, sizes: Mapping[str, int]) -> int:
    """Bytes that a node reads and writes, each once; a value whose size is not known counts as nothing.

    Args:
        sizes: bytes by name of a value.
    """
    if node.op_type in _FREE:
        return 0
    written = sum(sizes.get(name, 0) for name in node.output)
    if node.op_type in _PARTIAL:
        return 2 * written
    return written + sum(sizes.get(name, 0) for name in node.input)


def attribute(node: Any, name: str, default: int) -> int:
    """An integer attribute of a node."""
    return next((int(found.i) for found in node.attribute if found.name == name), default)
