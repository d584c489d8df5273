"""The text of a new task file, for a network and images of one's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from paretoboard.spec import Preprocess

_INT8 = '[{ technique = "quantize.static" }, { technique = "run.onnxruntime" }]'
_FP32 = '[{ technique = "run.onnxruntime" }]'


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """What a new task file says."""

    title: str
    images: str  # folder of images, relative to the task file
    subset: str
    train: str  # "" where there are no images to train on
    calibration: str  # "" where there are none to calibrate with
    model: str  # a name, or the path of a file relative to the task file
    is_file: bool
    weights: str  # of a library, "" for a network that has its own
    preprocess: Preprocess
    profile: str


def text_of(task: NewTask) -> str:
    """The file, about ten lines of TOML."""
    dataset: dict[str, Any] = {"name": "folder", "path": task.images, "subset": task.subset}
    dataset |= {name: value for name in ("train", "calibration") if (value := getattr(task, name))}
    model: dict[str, Any] = {"file" if task.is_file else "name": task.model}
    model |= {"weights": {"enum": task.weights}} if task.weights else {}
    lines = [
        "version = 1",
        f"title = {_value(task.title)}",
        'quality = { metric = "top1" }',
        f"profiles = [{_value(task.profile)}]",
        f"dataset = {_value(dataset)}",
        f"model = {_value(model)}",
        f"preprocess = {_value(_preprocess(task.preprocess))}",
        'measure = { batches = [1, 8], budget = "quick" }',
    ]
    if not task.is_file:  # a file's baseline is in ONNX Runtime already
        lines.append(f"recipes.ort-fp32.steps = {_FP32}")
    if task.calibration:
        lines.append(f"recipes.ort-int8.steps = {_INT8}")
    return "\n".join(lines) + "\n"


def _preprocess(preprocess: Preprocess) -> dict[str, Any]:
    given: dict[str, Any] = {name: getattr(preprocess, name) for name in ("resize", "crop", "interpolation")}
    given |= {"range": preprocess.range, "mean": list(preprocess.mean), "std": list(preprocess.std)}
    given |= {"squash": True} if preprocess.squash else {}
    return {name: value for name, value in given.items() if value is not None}


def _value(value: Any) -> str:
    """A value in TOML; its strings and numbers are written as JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # TOML knows no pairs of escapes for one character
