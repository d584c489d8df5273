"""Whether INT8 kernels saturate: some processors add two products in 16 bits, which is too few.

Without VNNI (or AMX), x86 multiplies unsigned by signed bytes with `vpmaddubsw`, which adds pairs of products in a
signed 16-bit number: 2 x 255 x 127 = 64,770 becomes 32,767, and the network's answers change without an error.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

# Steps of the output's codes: a sum that lies on the border between two codes may be rounded to either.
_ROUNDING: Final = 1
_BATCH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSaturation:
    """How far one integer convolution or matrix product is from what exact integers give."""

    node: str
    operator: str
    largest: int  # difference, in steps of the output's codes
    share: float  # of outputs that are off by more than rounding can be

    @property
    def saturates(self) -> bool:
        """Whether rounding can't explain it."""
        return self.share > 0


def saturates(graph: bytes, images: NDArray[np.float32]) -> tuple[OperatorSaturation, ...]:
    """Every QLinearConv that ONNX Runtime makes of `graph`, against exact integers; the worst first.

    Each is given the very codes that reach it when `images` are run, so that one's error is not another's.

    Args:
        graph: a serialized ONNX model with QuantizeLinear and DequantizeLinear nodes.
        images: preprocessed (n, channels, height, width).
    Raises: NotApplicableError for a graph that the CPU provider has no kernels for.
    """
    model = _optimized(graph)
    constants = _constants(model)
    nodes = [node for node in model.graph.node if _is_checked(node, constants)]
    found = [_watched(model, nodes, images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    compared = [
        compare(node, constants, [(seen[node.input[0]], seen[node.output[0]]) for seen in found]) for node in nodes
    ]
    return tuple(sorted(compared, key=lambda one: (-one.share, -one.largest)))


def machine_saturates() -> bool:
    """Whether this processor's INT8 kernels saturate at all: the largest codes there are, whose sums are known."""
    import numpy as np

    from paretoboard.runtimes.ort import inference_session, session_options

    session = inference_session(_extreme(), session_options(1))
    codes = np.full((1, 64, 8, 8), 255, np.uint8)
    (found,) = session.run(None, {"codes": codes})
    # 64 x 255 x 127 steps of 1 into outputs of 64 x 127 a step: 255 each.
    return bool((np.abs(found.astype(int) - 255) > _ROUNDING).any())


def compare(
    node: Any, constants: Mapping[str, NDArray[Any]], seen: list[tuple[NDArray[Any], NDArray[Any]]]
) -> OperatorSaturation:
    """One QLinearConv's outputs against its inputs convolved in exact integers.

    Args:
        node: the ONNX node.
        constants: its weight, bias, scales and zero points, by name.
        seen: (codes that went in, codes that came out).
    """
    import numpy as np

    apart = [np.abs(exact_convolution(node, constants, codes).astype(int) - came) for codes, came in seen]
    differences = np.concatenate([part.ravel() for part in apart])
    return OperatorSaturation(
        node=node.name,
        operator=node.op_type,
        largest=int(differences.max()),
        share=float((differences > _ROUNDING).mean()),
    )


def exact_convolution(node: Any, constants: Mapping[str, NDArray[Any]], codes: NDArray[Any]) -> NDArray[Any]:
    """The output codes of a QLinearConv on input `codes` (n, channels, height, width), with nothing cut off.

    Sums are taken in 64-bit floats, which hold integers up to 2^53 exactly.
    """
    import numpy as np

    x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero = (constants[name] for name in node.input[1:8])
    kernel = weight.astype(float) - w_zero.reshape(-1, 1, 1, 1)
    sums = np.concatenate([_convolved(node, image.astype(float) - x_zero.item(), kernel) for image in codes[:, None]])
    if len(node.input) > 8 and node.input[8]:
        sums += constants[node.input[8]].reshape(1, -1, 1, 1)
    steps = (
        np.rint(sums * (x_scale.item() * w_scale.astype(float).reshape(1, -1, 1, 1) / y_scale.item())) + y_zero.item()
    )
    limits = np.iinfo(y_zero.dtype)
    clipped: NDArray[Any] = steps.clip(limits.min, limits.max).astype(y_zero.dtype)
    return clipped


def _convolved(node: Any, image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1, channels, height, width) convolved with (outputs, channels / groups, height, width) as `node` says."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    attributes = {attribute.name: attribute for attribute in node.attribute}

    def numbers(name: str, default: list[int]) -> list[int]:
        return list(attributes[name].ints) if name in attributes else default

    top, left, bottom, right = numbers("pads", [0, 0, 0, 0])
    (down, across), (high, wide) = numbers("strides", [1, 1]), numbers("dilations", [1, 1])
    groups = attributes["group"].i if "group" in attributes else 1
    padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
    span = (high * (kernel.shape[2] - 1) + 1, wide * (kernel.shape[3] - 1) + 1)
    windows = sliding_window_view(padded, span, axis=(2, 3))[:, :, ::down, ::across, ::high, ::wide]
    parts = [
        np.tensordot(part, own, axes=([1, 4, 5], [1, 2, 3]))
        for part, own in zip(np.split(windows, groups, axis=1), np.split(kernel, groups), strict=True)
    ]
    return np.concatenate(parts, axis=3).transpose(0, 3, 1, 2)


def _is_checked(node: Any, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether `node` is a two-dimensional integer convolution with stored weights and stated padding."""
    if node.op_type != "QLinearConv" or not all(name in constants for name in (*node.input[1:8], *node.input[8:9])):
        return False
    padded = {attribute.name: attribute.s for attribute in node.attribute}.get("auto_pad", b"NOTSET")
    return padded == b"NOTSET" and constants[node.input[3]].ndim == 4


def _optimized(graph: bytes) -> Any:
    """The graph that ONNX Runtime runs, before it reorders tensors for its kernels."""
    import onnx

    from paretoboard.runtimes.ort import inference_session, session_options

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options = session_options(1, "extended")
        options.optimized_model_filepath = str(path)
        inference_session(graph, options)
        return onnx.load_model(path)


def _constants(model: Any) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _watched(model: Any, nodes: list[Any], images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The tensors that go into and come out of `nodes` when `images` are run."""
    import onnx

    from paretoboard.runtimes.ort import inference_session, session_options

    names = sorted({name for node in nodes for name in (node.input[0], node.output[0])})
    known = {value.name for value in (*model.graph.input, *model.graph.output)}
    watched = type(model)()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    # No optimizing again: what is watched would be what was made for watching.
    session = inference_session(watched.SerializeToString(), session_options(1, "disabled"))
    (feed,) = session.get_inputs()
    return dict(zip(names, session.run(names, {feed.name: images}), strict=True))


def _extreme() -> bytes:
    """A QLinearConv of 1x1 over 64 channels whose weights are all the largest code."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    stored = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "weight": np.full((16, 64, 1, 1), 127, np.int8),
        "weight_zero": np.int8(0),
        "step": np.float32(64 * 127),
    }
    inputs = ["codes", "one", "zero", "weight", "one", "weight_zero", "step", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", inputs, ["sums"])],
        "extreme",
        [helper.make_tensor_value_info("codes", TensorProto.UINT8, [1, 64, 8, 8])],
        [helper.make_tensor_value_info("sums", TensorProto.UINT8, [1, 16, 8, 8])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
