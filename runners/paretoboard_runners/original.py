"""The model that recipes begin with, where its file or its function is one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import models
from paretoboard.artifact import Candidate, Execution
from paretoboard.datasets.weights import sha256_of
from paretoboard.errors import DataError, NotApplicableError
from paretoboard.models import onnx_file
from paretoboard.models.native import differences
from paretoboard.registry import model_library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch.export import ExportedProgram

    from paretoboard.spec import ModelUse, Preprocess

# Between torch's answers and those of what it was converted to, as a share of the largest.
_TOLERANCE: Final = 1e-3
_GRAPH_NOTE: Final = (
    "The model is an ONNX graph, which torch can't run: the baseline is ONNX Runtime's, with all its optimizations, "
    "and speed-ups are beside that."
)
_PROGRAM_NOTE: Final = "The exported program was converted to an ONNX graph, which gives torch's answers. "


def from_file(model: ModelUse, input_shape: tuple[int, ...], classes: int) -> tuple[Candidate, tuple[str, ...]]:
    """The graph in a file of one's own, for ONNX Runtime, and what there is to say about it.

    Args:
        input_shape: of one image: (channels, height, width).
    Raises: DataError for a file that is damaged, has changed since the plan was made, could run something, or does not
        fit the images and the classes.
    """
    assert model.file is not None
    path = model.file.path
    try:
        found = sha256_of(path)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    if found != model.file.sha256:
        raise DataError(f"{path}: the file has changed: SHA-256 {found} found, {model.file.sha256} expected")
    is_program = path.suffix == ".pt2"
    graph = _of_program(path, input_shape, classes) if is_program else _of_graph(path, input_shape, classes)
    candidate = Candidate(
        architecture=model.name,
        classes=classes,
        input_shape=input_shape,
        graph=graph,
        execution=Execution(runtime="onnxruntime"),
    )
    return candidate, ((_PROGRAM_NOTE if is_program else "") + _GRAPH_NOTE,)


def notes(model: ModelUse, input_shape: tuple[int, ...], preprocess: Preprocess) -> Iterator[str]:
    """What a reader should know of a network whose weights are published: that it is used otherwise than they want."""
    weights = model.weights
    if weights is None:
        return
    if model_library(model.name) and not weights.enum:
        return  # a file of anybody's
    native = models.native_of(model.name, weights.enum)
    if native is not None:
        yield from differences(native, input_shape, preprocess)


def _of_graph(path: Path, input_shape: tuple[int, ...], classes: int) -> bytes:
    return onnx_file.graph_of(onnx_file.read(path), input_shape, classes, str(path))


def _of_program(path: Path, input_shape: tuple[int, ...], classes: int) -> bytes:
    from paretoboard.models import exported_program
    from paretoboard.techniques.export import export_program

    program = exported_program.load(path)
    try:
        content = export_program(program)
    except NotApplicableError as error:
        raise DataError(f"{path}: {error}") from error
    graph = onnx_file.graph_of(onnx_file.parsed(content, str(path)), input_shape, classes, str(path))
    _require_same_answers(program, graph, input_shape, path)
    return graph


def _require_same_answers(program: ExportedProgram, graph: bytes, input_shape: tuple[int, ...], path: Path) -> None:
    """Raises: DataError where the graph is not what the program is."""
    import torch

    images = np.random.default_rng(0).standard_normal((1, *input_shape), dtype=np.float32)
    with torch.inference_mode():
        wanted = program.module(check_guards=False)(torch.from_numpy(images)).numpy()
    found = onnx_file.answers(graph, images, str(path))
    largest = float(np.abs(wanted).max(initial=0.0))
    if not np.allclose(found, wanted, rtol=_TOLERANCE, atol=_TOLERANCE * largest):
        raise DataError(f"{path}: as an ONNX graph it answers otherwise than in torch; give it as an ONNX file instead")
