"""What the techniques that quantize an ONNX graph have in common."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import NotApplicableError
from paretoboard.techniques.export import as_graph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Candidate

# Operators whose weights are most of a network's, with the place of the weight among their inputs.
WEIGHTED: Final = {"Conv": 1, "Gemm": 1, "MatMul": 1}
# ONNX Runtime would put quantizers around these, and has no INT8 kernel for them on a CPU; it stops at a scale that
# several of the first share, as group normalization is exported.
_FLOAT_ONLY: Final = frozenset({"InstanceNormalization", "LayerNormalization"})


def float_graph(candidate: Candidate, technique: str) -> Candidate:
    """`candidate` as a graph without a quantized operator.

    Raises: NotApplicableError where it is quantized already, and for a module that can't be exported.
    """
    exported = as_graph(candidate)
    assert exported.graph is not None
    if any("Quantize" in node.op_type for node in parsed(exported.graph).graph.node):
        raise NotApplicableError(f"{technique}: the model is quantized already")
    return exported


def prepare(graph: bytes, prepared: Path) -> Any:
    """Write `graph` with batch norm folded and constants computed to the file `prepared`; the model written.

    Every node has a name of its own.
    """
    import onnx
    from onnxruntime import quantization

    prepared = prepared.absolute()
    try:
        # Where it can't infer all sizes it leaves a model and its weights in the folder that it runs in.
        with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
            quantization.quant_pre_process(parsed(graph), str(prepared))
    except Exception as error:
        # Sizes that only follow from one another, as a channel shuffle of any batch has, are beyond its symbols.
        if "symbolic shape" not in str(error):
            raise
        # Without symbols it leaves weights that it was given in memory out of what it optimized; those in a file not.
        prepared.write_bytes(graph)
        quantization.quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
    model = onnx.load_model(str(prepared))
    names: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{index}"
        names.add(node.name)
    onnx.save_model(model, str(prepared))
    return model


def after_last_weights(prepared: Path) -> list[str]:
    """Names of the nodes of the file `prepared` that no convolution or matrix product comes after.

    Of a detector these make probabilities and boxes of numbers and put them together. In 8 bits that have one scale for
    all of them, a probability would be one of a few, and with it the order of all boxes.
    """
    import onnx

    graph = onnx.load_model(str(prepared)).graph
    needed: set[str] = set()  # names of tensors that such a node depends on
    for node in reversed(graph.node):
        if node.op_type in WEIGHTED or needed.intersection(node.output):
            needed.update(node.input)
    return [node.name for node in graph.node if node.op_type not in WEIGHTED and not needed.intersection(node.output)]


def float_only(prepared: Path) -> list[str]:
    """Names of the nodes of the file `prepared` that quantizing gains nothing for."""
    import onnx

    return [node.name for node in onnx.load_model(str(prepared)).graph.node if node.op_type in _FLOAT_ONLY]


def parsed(graph: bytes) -> Any:
    """The ModelProto of a serialized ONNX model."""
    import onnx

    return onnx.load_model_from_string(graph)


def serialized(model: Any) -> bytes:
    """The bytes of a ModelProto, without what does not compute; the same model gives the same bytes."""
    # Shapes are inferred again when the graph is loaded; what is kept is what is run.
    del model.graph.value_info[:]
    del model.metadata_props[:]
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def weighted_layers(model: Any) -> list[tuple[Any, Any]]:
    """(node, initializer of its weight) of every layer whose float32 weight is stored, in the order of computing."""
    from onnx import TensorProto

    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    found = []
    for node in model.graph.node:
        place = WEIGHTED.get(node.op_type)
        if place is not None and len(node.input) > place and node.input[place] in stored:
            found.append((node, stored[node.input[place]]))
    return found


def reader(images: NDArray[np.float32], batch: int) -> Any:
    """The images, `batch` at a time, as ONNX Runtime's calibration wants them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            starts = range(0, len(images), batch)
            self._feeds = iter([{"images": images[start : start + batch]} for start in starts])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._feeds, None)

    return Reader()


@contextlib.contextmanager
def drafts(scratch: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Three files in `scratch` that are gone afterwards, and the library's chatter kept from the user."""
    files = scratch / "prepared.onnx", scratch / "ranges.json", scratch / "quantized.onnx"
    try:
        with quiet():
            yield files
    finally:
        for file in (*files, scratch / "ranges.onnx"):
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's chatter from the user; its errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
