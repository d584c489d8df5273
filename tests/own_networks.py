"""Networks and images of one's own, as a person outside of this project has them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CLASSES = ("blue", "green", "red")
SIDE = 32
# What a person writes: a network of one's own, with its weights.
MODULE = '''
import torch
from torch import nn


def make(classes):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    ).eval()


def stubborn():
    """Always of five classes."""
    return make(5)


def greedy(classes, depth):
    return make(classes)


def lost(classes):
    raise FileNotFoundError("lost.pth")


def failing(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, classes))
'''


def write_module(folder: Path, name: str = "ownnet") -> Path:
    """A module with networks of one's own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(MODULE)
    return path


def write_images(folder: Path, *, each: int = 12) -> Path:
    """A folder with a folder of images of several sizes for each class."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 120, (36 + number, 44, 3), dtype=np.uint8)
            pixels[:, :, 2 - label] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def onnx_model(
    *,
    classes: int = len(CLASSES),
    batch: int | str = "n",
    side: int | None = SIDE,
    names: tuple[str, str] = ("pixels", "scores"),
    opset: int = 17,
    reshaped_batch: int | None = None,
) -> onnx.ModelProto:
    """Two convolutions and a linear layer.

    Args:
        batch: of the input, a number for a fixed one.
        side: of the input's images, None for any.
        reshaped_batch: a batch that is built into the graph.
    """
    rng = np.random.default_rng(0)
    given, wanted = names

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape, dtype=np.float32) / 4, name)

    flat = [helper.make_node("Flatten", ["mean"], ["flat"])]
    stored = [weight("w1", 8, 3, 3, 3), weight("w2", 16, 8, 3, 3), weight("w3", 16, classes), weight("b3", classes)]
    if reshaped_batch is not None:
        flat = [helper.make_node("Reshape", ["mean", "shape"], ["flat"])]
        stored.append(numpy_helper.from_array(np.array([reshaped_batch, 16]), "shape"))
    nodes = [
        helper.make_node("Conv", [given, "w1"], ["c1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["mean"]),
        *flat,
        helper.make_node("Gemm", ["flat", "w3", "b3"], [wanted]),
    ]
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, [batch, 3, side or "h", side or "w"])],
        [helper.make_tensor_value_info(wanted, TensorProto.FLOAT, [batch, classes])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def write_onnx(path: Path, **arguments: Any) -> Path:
    """The same as a file."""
    path.write_bytes(onnx_model(**arguments).SerializeToString())
    return path


def write_program(path: Path, *, classes: int = len(CLASSES), free: bool = True) -> Path:
    """The network of MODULE as torch.export saves it, with a free batch or one of 2."""
    import torch

    names: dict[str, Any] = {}
    exec(MODULE, names)
    images = torch.zeros((2, 3, SIDE, SIDE))
    shapes = ({0: torch.export.Dim("batch")},) if free else None
    torch.export.save(torch.export.export(names["make"](classes), (images,), dynamic_shapes=shapes), path)
    return path


def rewritten(path: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of a saved program with some of its records changed, written as torch writes them."""
    from torch.export.pt2_archive import PT2ArchiveReader, PT2ArchiveWriter

    reader = PT2ArchiveReader(str(path))
    records = {name: reader.read_bytes(name) for name in reader.get_file_names() if name.startswith(("models", "data"))}
    change(records)
    with PT2ArchiveWriter(str(target)) as writer:
        for name, content in records.items():
            writer.write_bytes(name, content)
    assert zipfile.is_zipfile(target)
    return target
