"""How much a model stores and computes, whichever form it has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paretoboard.runtimes.profiling import graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """Counts of one model."""

    parameters: int  # weights and biases, folded or not; running statistics, scales and zero points are none
    nonzero_parameters: int
    macs: int  # multiply-accumulates of convolutions and matrix products, for one image


def statistics(candidate: Candidate) -> ModelStatistics:
    """Counts of `candidate`.

    MACs of a torch model are half the FLOPs that torch's FlopCounterMode counts, with the attention that it leaves out
    on the CPU; those of a graph are counted by the same rule from its inferred shapes.
    """
    if candidate.graph is not None:
        return _of_graph(candidate.graph)
    assert candidate.module is not None
    return _of_module(candidate.module, candidate)


def _of_module(module: nn.Module, candidate: Candidate) -> ModelStatistics:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from paretoboard.runtimes.profiling.pytorch import OWN_FORMULAS

    parameters = list(module.parameters())
    image = torch.zeros((1, *candidate.input_shape), dtype=getattr(torch, candidate.execution.dtype))
    # Not inference_mode: the counter sees no operators there.
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=OWN_FORMULAS) as counter:
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
        macs=sum(macs for _, macs in _graph_macs(model)),
    )


def macs_by_kind(candidate: Candidate) -> Mapping[str, int]:
    """MACs for one image, by kind of operator; kinds without any are left out."""
    if candidate.graph is not None:
        import onnx

        counts: Counter[str] = Counter()
        for kind, macs in _graph_macs(onnx.load_model_from_string(candidate.graph)):
            counts[kind] += macs
        return counts
    import torch

    from paretoboard.runtimes.profiling.pytorch import work_of

    assert candidate.module is not None
    image = torch.zeros((1, *candidate.input_shape), dtype=getattr(torch, candidate.execution.dtype))
    return {kind: macs for kind, (macs, _) in work_of(candidate.module, image).items() if macs}


def _graph_macs(model: Any) -> Iterator[tuple[str, int]]:
    """Kind and MACs of each convolution and matrix product of an ONNX model, for one image."""
    import onnx

    single = onnx.ModelProto()
    single.CopyFrom(model)
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    for output in single.graph.output:
        output.type.tensor_type.shape.dim[0].ClearField("dim_param")
    inferred = onnx.shape_inference.infer_shapes(single, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        shapes[value.name] = tuple(extent.dim_value for extent in value.type.tensor_type.shape.dim)
    for node in inferred.node:
        # Of other domains' operators ONNX infers no shapes.
        macs = 0 if node.domain not in ("", "ai.onnx") else graph.macs_of(node, shapes)
        if macs:
            yield graph.kind_of(node, shapes), macs
