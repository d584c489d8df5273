"""Ways of running a model: memory formats, precisions, compilers, runtimes and devices.

Batch sizes are no technique: a task names them as `batches` under [measure], and each recipe is measured at all of
them. Threads are as many as the profile has cores; a recipe may ask for fewer with the parameter `threads`.
"""

from __future__ import annotations

from paretoboard.techniques.run.devices import Cuda, Xla
from paretoboard.techniques.run.onnx_runtime import OnnxRuntime
from paretoboard.techniques.run.openvino import OpenVino
from paretoboard.techniques.run.pytorch import Autocast, ChannelsLast, Compile
from paretoboard.techniques.run.tensorrt import TensorRt

__all__ = [
    "Autocast",
    "ChannelsLast",
    "Compile",
    "Cuda",
    "OnnxRuntime",
    "OpenVino",
    "TensorRt",
    "Xla",
]
