"""An ONNX file of one's own as a graph that everything here can work on, or a clear word on why it can't be.

The graph gets the names and the free batch that graphs of this project have: the input `images` (batch, channels,
height, width) in float32, the output `logits` (batch, classes). Nothing that a file names is run or read: weights must
be in the file itself, and operators of other domains than ONNX's and ONNX Runtime's end in an error.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard.errors import DataError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INPUT: Final = "images"
OUTPUT: Final = "logits"
# What protobuf can hold; more is kept in files beside, which are not read.
MOST_BYTES: Final = 2**31 - 1
_RANK: Final = 4
# Calls of one image and of three must give the same numbers: a graph with a batch built in does not.
_BATCHES: Final = (1, 3)
_TOLERANCE: Final = 1e-3  # of the largest output
_QUANTIZABLE: Final = 13  # version of ONNX's operators
_WEIGHTS_APART: Final = 4  # version of the format; before, weights had to be inputs, too


def read(path: Path) -> Any:
    """The ModelProto in `path`, checked to be whole and to hold all its weights.

    Raises: DataError that names the file and says what is wrong with it.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MOST_BYTES:
            raise DataError(f"{path}: {size_bytes:,} bytes, an ONNX file holds at most {MOST_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    return parsed(content, str(path))


def parsed(content: bytes, name: str) -> Any:
    """The ModelProto of `content`, which `name` stands for in errors.

    Raises: DataError as `read` does.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, TypeError) as error:
        raise DataError(f"{name}: not a whole ONNX file: truncated, or something else: {error}") from error
    # Before the checker, which would look for the files that a graph names.
    outside = next((tensor.name for tensor in _tensors(model, onnx) if _lies_outside(tensor, onnx)), None)
    if outside is not None:
        raise DataError(
            f"{name}: the weight '{outside}' lies in another file, and none that a graph names is read: "
            "save the model as one file, with onnx.save(model, path, save_as_external_data=False)"
        )
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: not a valid ONNX graph: {first_line(error)}") from error
    return model


def image_shape(model: Any, name: str) -> tuple[int, int, int] | None:
    """(channels, height, width) of the images that a model takes; None where it leaves them open.

    Raises: DataError for anything but one input of four dimensions.
    """
    extents = _extents(_only_input(model, name), name)
    if not all(extents[1:]):
        return None
    _, channels, height, width = extents
    return channels, height, width


def graph_of(model: Any, input_shape: tuple[int, ...], number: int, name: str) -> bytes:
    """The serialized graph of a model, for images of `input_shape` and `number` classes.

    Args:
        model: as `read` gives it; it is changed.
        input_shape: of one image: (channels, height, width).
        name: what stands for the model in errors.
    Raises: DataError that says what does not fit, for a graph that ONNX Runtime can't run, and for one that gives other
        answers for three images together than one by one.
    """
    _require_input(model, input_shape, name)
    _rename(model, _only_input(model, name).name, _only_output(model, name).name)
    _store_constants(model)
    _free_batch(model, input_shape)
    _strip(model)
    answers = _answers_of(model, input_shape, number, name)
    newer = _newer(model)
    if newer is not None:
        # Where it was converted badly it runs as it is, and what needs a newer version says so.
        with contextlib.suppress(DataError):
            model = newer if _alike(answers, _answers_of(newer, input_shape, number, name)) else model
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _newer(model: Any) -> Any | None:
    """The model in the version of operators that can be quantized for each channel; None where it can be or won't."""
    import onnx
    from onnx import version_converter

    version = next((found.version for found in model.opset_import if found.domain in ("", "ai.onnx")), _QUANTIZABLE)
    if version >= _QUANTIZABLE:
        return None
    try:
        converted = version_converter.convert_version(model, _QUANTIZABLE)
        onnx.checker.check_model(converted)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):
        return None
    return converted


def _require_input(model: Any, input_shape: tuple[int, ...], name: str) -> None:
    import onnx

    given = _only_input(model, name)
    extents = _extents(given, name)
    kind = given.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        found = onnx.TensorProto.DataType.Name(kind)
        raise DataError(f"{name}: takes {found} as '{given.name}'; FLOAT would be right, images as they are normalized")
    wanted = (None, *input_shape)
    if any(found and found != right for found, right in zip(extents[1:], wanted[1:], strict=True)):
        shown = ", ".join(str(extent or "any") for extent in extents[1:])
        order = " Its channels come last; export it with channels first." if extents[-1] == input_shape[0] else ""
        raise DataError(
            f"{name}: takes images of ({shown}), the task gives {tuple(input_shape)}: (channels, height, width).{order}"
        )


def _answers_of(model: Any, input_shape: tuple[int, ...], number: int, name: str) -> np.ndarray[Any, Any]:
    """What it gives for several random images, after it gave the same for the first of them alone."""
    session = _session(model.SerializeToString(deterministic=True), name)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((max(_BATCHES), *input_shape), dtype=np.float32)
    few, many = (_answers(session, images[:batch], name) for batch in _BATCHES)
    for batch, found in zip(_BATCHES, (few, many), strict=True):
        if found.shape != (batch, number):
            raise DataError(
                f"{name}: gives {found.shape} for {batch} images; ({batch}, {number}), a number for each of the "
                f"dataset's {number} classes, would be right"
            )
        if found.dtype.kind != "f":
            raise DataError(f"{name}: gives {found.dtype}; a number in floating point for each class would be right")
    # Ranges that are found anew at each call are those of all its images together.
    dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node)
    if not dynamic and not _alike(few, many[:1]):
        raise DataError(f"{name}: answers otherwise for an image alone than among others; export it with a free batch")
    return many


def _alike(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> bool:
    largest = float(np.abs(second[np.isfinite(second)]).max(initial=0.0))
    return bool(np.allclose(first, second, rtol=_TOLERANCE, atol=_TOLERANCE * largest, equal_nan=True))


def answers(graph: bytes, images: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """What a graph gives for images (n, channels, height, width) in ONNX Runtime, (n, classes).

    Raises: DataError where it can't be run.
    """
    return _answers(_session(graph, name), images, name)


def _session(content: bytes, name: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # Its errors have no common base but this.
    except Exception as error:
        raise DataError(f"{name}: ONNX Runtime can't run this graph: {first_line(error)}") from error


def _answers(session: Any, images: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    try:
        found: np.ndarray[Any, Any] = np.asarray(session.run([OUTPUT], {INPUT: images})[0])
    except Exception as error:
        raise DataError(
            f"{name}: can't take {len(images)} images at once, which measuring at several batches needs; export it "
            f"with a free batch: {first_line(error)}"
        ) from error
    return found


def _only_input(model: Any, name: str) -> Any:
    # In old files weights are inputs, too.
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [given for given in model.graph.input if given.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(given.name for given in inputs) or "none"
        raise DataError(f"{name}: takes {len(inputs)} inputs ({names}); one, the images, would be right")
    return inputs[0]


def _only_output(model: Any, name: str) -> Any:
    outputs = list(model.graph.output)
    if len(outputs) != 1:
        names = ", ".join(given.name for given in outputs) or "none"
        raise DataError(f"{name}: gives {len(outputs)} outputs ({names}); one, a number for each class, would be right")
    return outputs[0]


def _extents(given: Any, name: str) -> list[int]:
    """Of each dimension, 0 where it is open."""
    extents = [dimension.dim_value for dimension in given.type.tensor_type.shape.dim]
    if len(extents) != _RANK:
        raise DataError(
            f"{name}: takes '{given.name}' of {len(extents)} dimensions; four, (batch, channels, height, width), "
            "would be right"
        )
    return extents


def _rename(model: Any, old_input: str, old_output: str) -> None:
    """Give the input and the output the names that graphs of this project have, and let weights be no inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [given for given in model.graph.input if given.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, _WEIGHTS_APART)
    names = _free_names(model, {old_input: INPUT, old_output: OUTPUT})
    for graph in _graphs(model.graph):
        for node in graph.node:
            node.input[:] = [names.get(used, used) for used in node.input]
            node.output[:] = [names.get(used, used) for used in node.output]
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = names.get(value.name, value.name)
        for tensor in graph.initializer:
            tensor.name = names.get(tensor.name, tensor.name)


def _free_names(model: Any, wanted: dict[str, str]) -> dict[str, str]:
    """`wanted`, and other names for what has a wanted one already."""
    used = {name for graph in _graphs(model.graph) for node in graph.node for name in (*node.input, *node.output)}
    used |= {tensor.name for tensor in model.graph.initializer}
    names = dict(wanted)
    for name in wanted.values():
        if name in used and name not in wanted:
            other = f"{name}_"
            while other in used:
                other += "_"
            names[name] = other
            used.add(other)
    return names


def _store_constants(model: Any) -> None:
    """Let weights that nodes hold be stored as all weights are, so that they are counted and quantized."""
    constants = [node for node in model.graph.node if node.op_type == "Constant" and not node.domain]
    for node in constants:
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if value is not None:
            stored = model.graph.initializer.add()
            stored.CopyFrom(value)
            stored.name = node.output[0]
            model.graph.node.remove(node)


def _free_batch(model: Any, input_shape: tuple[int, ...]) -> None:
    """Leave the batch open and nothing else of the input; what was inferred otherwise is forgotten."""
    for value in (*model.graph.input, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if dimensions:
            dimensions[0].dim_param = "batch"
    for dimension, extent in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], input_shape, strict=True):
        dimension.dim_value = extent
    del model.graph.value_info[:]


def _strip(model: Any) -> None:
    """Remove what does not compute: names of people's files, documentation."""
    del model.metadata_props[:]
    model.ClearField("doc_string")
    model.graph.ClearField("doc_string")
    for node in model.graph.node:
        node.ClearField("doc_string")


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _graphs(inner)


def _tensors(message: Any, onnx: Any) -> Iterator[Any]:
    """Every stored tensor of a message: weights, constants in nodes, those in graphs and functions within."""
    from google.protobuf.message import Message

    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in (value,) if isinstance(value, Message) else value:
                yield from _tensors(inner, onnx)


def _lies_outside(tensor: Any, onnx: Any) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data)
