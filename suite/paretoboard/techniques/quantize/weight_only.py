"""Small files: weights stored in 8 or 4 bits, computed with in float."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge

from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.quantize import graphs

if TYPE_CHECKING:
    import numpy as np  # noqa: TC004 - no one resolves Codes' annotations
    from numpy.typing import NDArray  # noqa: TC004

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

_OPSET: Final = 21  # of ONNX: the first whose DequantizeLinear takes blocks and 4-bit integers
_IR_VERSION: Final = 10  # of ONNX files: the first that knows 4-bit integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """Rows of numbers as integers with a scale for each `group` of neighbours: (codes - zeros) * scales."""

    codes: NDArray[np.int16]  # (rows, columns)
    scales: NDArray[np.float32]  # (rows, groups)
    zeros: NDArray[np.int16]  # (rows, groups)
    group: int  # columns that share a scale; the last group of a row may have fewer

    @property
    def values(self) -> NDArray[np.float32]:
        """(rows, columns): what the codes stand for, rounded as ONNX Runtime rounds."""
        import numpy as np

        columns = self.codes.shape[1]
        scales = np.repeat(self.scales, self.group, axis=1)[:, :columns]
        zeros = np.repeat(self.zeros, self.group, axis=1)[:, :columns]
        values: NDArray[np.float32] = (self.codes - zeros).astype(np.float32) * scales
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightQuantization(Technique):
    """Store the weights of convolutions and matrix products in few bits; compute in float32 with what they stand for.

    The file holds packed integers and scales. Unpacked when the file is loaded, the network is as fast as with float
    weights and takes as much memory; unpacked at each call, the memory stays small and each call pays for it.
    """

    source = (
        "Krishnamoorthi 2018, arXiv:1806.08342, section 3.1.1, weight-only quantization, rounded to nearest; "
        "DequantizeLinear of ONNX opset 21"
    )
    takes = ("onnx",)
    gives = "onnx"

    bits: Literal[8, 4] = 8
    group: Annotated[int, Ge(8)] | None = None  # weights that share a scale; None: all of an output channel
    symmetric: bool = (
        True  # whether codes are signed and zero is 0; else the range is the weights' own, with a zero point
    )
    unpack: Literal["load", "call"] = "load"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Quantize each stored weight to the nearest code.

        Raises: NotApplicableError for a module that can't be exported, for a graph that is quantized already or has no
            layers with stored weights, and for one that ONNX can't bring to the operators' version 21.
        """
        bench.progress(0.0, "exporting to ONNX")
        exported = graphs.float_graph(candidate, "quantize.weights")
        assert exported.graph is not None
        with graphs.drafts(bench.scratch) as (prepared, _, _draft):
            model = _upgraded(graphs.prepare(exported.graph, prepared))
            before = prepared.stat().st_size
        weights: dict[str, list[Any]] = {}
        for node, weight in graphs.weighted_layers(model):
            weights.setdefault(weight.name, []).append(node)
        if not weights:
            raise NotApplicableError("quantize.weights: the model has no convolution or matrix product with weights")
        bench.progress(0.5, f"rounding {len(weights)} weights")
        for name, users in weights.items():
            self._replace(model, name, _outputs_last(users))
        graph = graphs.serialized(model)
        options = {**exported.execution.options, "unpack": self.unpack}
        execution = dataclasses.replace(exported.execution, options=options)
        sharing = f"a scale for {self.group} of them" if self.group else "a scale for each output channel"
        when = "when the file is loaded" if self.unpack == "load" else "at each call"
        notes = (
            f"{len(weights)} layers' weights in {self.bits} bits, {sharing}: {before:,} -> {len(graph):,} bytes",
            f"computes in float32: weights are unpacked {when}",
        )
        return Applied(candidate=dataclasses.replace(exported, graph=graph, execution=execution), notes=notes)

    def _replace(self, model: Any, name: str, outputs_last: bool) -> None:
        """Put codes and a DequantizeLinear in the place of the weight `name`."""
        import numpy as np
        from onnx import helper, numpy_helper

        graph = model.graph
        stored = next(tensor for tensor in graph.initializer if tensor.name == name)
        shape, array = list(stored.dims), numpy_helper.to_array(stored)
        rows = array.reshape(-1, shape[-1]).T if outputs_last else array.reshape(shape[0], -1)
        coded = quantize_rows(rows, bits=self.bits, group=self.group, symmetric=self.symmetric)
        tensors, attributes = self._tensors(name, coded, outputs_last)
        inputs, matrix = [tensor.name for tensor in tensors], len(shape) == 2
        flat = name if matrix else f"{name}_rows"
        nodes = [helper.make_node("DequantizeLinear", inputs, [flat], name=f"{name}_unpack", **attributes)]
        if not matrix:
            tensors.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_shape"))
            nodes.append(helper.make_node("Reshape", [flat, f"{name}_shape"], [name], name=f"{name}_reshape"))
        graph.initializer.remove(stored)
        graph.initializer.extend(tensors)
        for node in reversed(nodes):
            graph.node.insert(0, node)

    def _tensors(self, name: str, coded: Codes, outputs_last: bool) -> tuple[list[Any], dict[str, Any]]:
        """Inputs and attributes of the DequantizeLinear that unpacks `coded`."""
        import numpy as np
        from onnx import numpy_helper

        codes, scales, zeros = coded.codes, coded.scales, coded.zeros
        attributes = {"axis": int(not outputs_last), "block_size": coded.group}
        if self.group is None:
            attributes = {"axis": int(outputs_last)}
            scales, zeros = scales[:, 0], zeros[:, 0]
        if outputs_last:
            codes, scales, zeros = codes.T, scales.T, zeros.T
        tensors = [
            self._packed(f"{name}_codes", codes),
            numpy_helper.from_array(np.ascontiguousarray(scales), f"{name}_scales"),
            self._packed(f"{name}_zeros", zeros),
        ]
        return tensors[:2] if self.symmetric else tensors, attributes

    def _packed(self, name: str, codes: NDArray[np.int16]) -> Any:
        """An ONNX tensor of `codes`, two 4-bit ones in a byte."""
        import numpy as np
        from onnx import TensorProto, helper

        kind = f"{'INT' if self.symmetric else 'UINT'}{self.bits}"
        content = codes.astype(np.uint8).ravel()  # two's complement
        return helper.make_tensor(name, getattr(TensorProto, kind), codes.shape, _bytes(content, self.bits), raw=True)


def _bytes(content: NDArray[np.uint8], bits: int) -> bytes:
    """The lowest `bits` of each number, side by side."""
    import numpy as np

    if bits == 8:
        return content.tobytes()
    pairs = np.append(content, np.zeros(content.size % 2, np.uint8)).reshape(-1, 2) & 0xF
    halves = pairs[:, 0] | pairs[:, 1] << 4  # the first in the low half, as ONNX has it
    return halves.astype(np.uint8).tobytes()


def quantize_rows(weights: NDArray[np.float32], *, bits: int, group: int | None, symmetric: bool) -> Codes:
    """The nearest codes of `weights` (rows, columns), no further off than half a step of each group's scale.

    Args:
        bits: of a code; symmetric ones are -(2^(bits-1) - 1) .. 2^(bits-1) - 1, the others 0 .. 2^bits - 1.
        group: columns that share a scale, all of a row if None.
        symmetric: whether the range goes as far below 0 as above; else it is the smallest that has 0 in it.
    """
    import numpy as np

    rows, columns = weights.shape
    size = min(group or columns, columns)
    filled = np.pad(weights.astype(np.float64), ((0, 0), (0, -columns % size))).reshape(rows, -1, size)
    low, high = filled.min(axis=2).clip(max=0), filled.max(axis=2).clip(min=0)
    top = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
    width = np.maximum(high, -low) if symmetric else high - low
    scales = np.where(width > 0, width / top, 1.0).astype(np.float32)
    zeros = np.zeros_like(scales) if symmetric else np.rint(-low / scales)
    codes = np.rint(filled / scales[..., None]) + zeros[..., None]
    codes = codes.clip(-top if symmetric else 0, top).reshape(rows, -1)[:, :columns]
    return Codes(codes=codes.astype(np.int16), scales=scales, zeros=zeros.astype(np.int16), group=size)


def _outputs_last(users: list[Any]) -> bool:
    """Whether a weight's last axis counts outputs, as in MatMul, or its first, as in convolutions."""
    node = users[0]
    if node.op_type == "Gemm":
        return not any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return bool(node.op_type == "MatMul")


def _upgraded(model: Any) -> Any:
    """`model` in a version of ONNX that knows what is put in.

    Raises: NotApplicableError where ONNX can't convert it.
    """
    import onnx

    (version,) = (found.version for found in model.opset_import if found.domain in ("", "ai.onnx"))
    if version < _OPSET:
        try:
            model = onnx.version_converter.convert_version(model, _OPSET)
        except RuntimeError as error:
            raise NotApplicableError(
                f"quantize.weights: ONNX can't bring the graph to opset {_OPSET}: {error}"
            ) from error
    model.ir_version = max(model.ir_version, _IR_VERSION)
    return model
