"""https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html and its example `cpu/run.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static

from bench.parity.libraries import Emit, Made, MakeJob, baseline, calibration_inputs, use_cores
from paretoboard import artifact
from paretoboard.artifact import Candidate, Execution

INPUT = "images"


class DataReader(CalibrationDataReader):
    """One image at a time, as in the example."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._feeds = iter([{INPUT: image[None]} for image in images])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def with_our_settings(job: MakeJob, folder: Path, emit: Emit) -> Made:
    """Per channel with unsigned activations, as quantize.static does it by default."""
    return _make(job, folder, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def with_its_defaults(job: MakeJob, folder: Path, emit: Emit) -> Made:
    """As the example calls it: QDQ, per tensor, signed activations and weights."""
    return _make(job, folder, per_channel=False, weight_type=QuantType.QInt8)


def _make(job: MakeJob, folder: Path, **settings: Any) -> Made:
    import torch

    use_cores(job)
    start = baseline(job)
    assert start.module is not None
    exported, prepared, quantized = (folder / name for name in ("exported.onnx", "prepared.onnx", "quantized.onnx"))
    program = torch.onnx.export(
        start.module,
        (torch.zeros(2, *start.input_shape),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=[INPUT],
    )
    assert program is not None
    program.save(str(exported))
    quant_pre_process(str(exported), str(prepared))
    reader = DataReader(calibration_inputs(job))
    quantize_static(str(prepared), str(quantized), reader, quant_format=QuantFormat.QDQ, **settings)
    made = Candidate(
        architecture=start.architecture,
        classes=start.classes,
        input_shape=start.input_shape,
        graph=quantized.read_bytes(),
        execution=Execution(runtime="onnxruntime"),
    )
    artifact.save(made, job.out)
    return Made()
