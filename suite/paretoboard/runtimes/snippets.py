"""A few lines of Python that load an artifact and call it, without paretoboard where that does the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.artifact import Manifest


def snippet(folder: Path, manifest: Manifest) -> str:
    """Five lines that answer one image with the artifact in `folder`.

    What a plain call of the runtime would run otherwise than it was measured (options of its own, stored images as
    input, boxes as output) is loaded by paretoboard, which does as the manifest says.
    """
    execution = manifest.execution
    plain = execution.input is None and execution.boxes is None
    path, shape = str(folder / manifest.file), (1, *manifest.input_shape)
    if plain and execution.runtime == "onnxruntime" and dict(execution.options) in ({}, {"graph": "all"}):
        return _onnxruntime(path, shape)
    if plain and execution.runtime == "openvino":
        return _openvino(path, shape, str(execution.options.get("precision", "f32")))
    eager = execution.runtime in ("eager", "compile") and not execution.options
    if plain and eager and execution.dtype == "float32":
        return _torch(str(folder), shape, manifest)
    return _ours(str(folder), shape)


def _onnxruntime(path: str, shape: tuple[int, ...]) -> str:
    return _lines(
        "import numpy as np, onnxruntime",
        f"session = onnxruntime.InferenceSession({path!r})",
        _images(shape),
        "[logits] = session.run(None, {session.get_inputs()[0].name: images})",
        "print(logits.argmax(axis=1))",
    )


def _openvino(path: str, shape: tuple[int, ...], precision: str) -> str:
    return _lines(
        "import numpy as np, openvino",
        f'model = openvino.compile_model({path!r}, "CPU", {{"INFERENCE_PRECISION_HINT": "{precision}"}})',
        _images(shape),
        "logits = model(images)[0]",
        "print(logits.argmax(axis=1))",
    )


def _torch(folder: str, shape: tuple[int, ...], manifest: Manifest) -> str:
    loaded = f"load(Path({folder!r})).module"
    if manifest.execution.memory_format == "channels_last":
        loaded += ".to(memory_format=torch.channels_last)"
    compiled = f"torch.compile({loaded})" if manifest.execution.runtime == "compile" else loaded
    return _lines(
        "import torch; from pathlib import Path; from paretoboard.artifact import load",
        f"model = {compiled}",
        f"images = torch.zeros({shape})  # preprocessed as the task says",
        "with torch.inference_mode():",
        "    print(model(images).argmax(dim=1))",
    )


def _ours(folder: str, shape: tuple[int, ...]) -> str:
    return _lines(
        "import numpy as np; from pathlib import Path; from paretoboard import runtimes",
        f"session = runtimes.open(Path({folder!r}), threads=1, batches=(1,))",
        _images(shape),
        "answers = session.logits(session.run(session.prepare(images)))",
        "print(answers.shape)",
    )


def _images(shape: tuple[int, ...]) -> str:
    return f"images = np.zeros({shape}, dtype=np.float32)  # preprocessed as the task says"


def _lines(*lines: str) -> str:
    return "\n".join(lines)
