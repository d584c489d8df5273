"""https://docs.openvino.ai, 'Basic Quantization Flow' and 'Quantizing Models Post-training': an OpenVINO model."""

from __future__ import annotations

from pathlib import Path

from bench.parity.libraries import Emit, Made, MakeJob, baseline, calibration_inputs, use_cores
from paretoboard.runtimes import Session
from paretoboard.runtimes.openvino import OpenVinoSession, library, properties_of, without_telemetry

MODEL = "quantized.xml"
SHAPE = (3, 32, 32)


def quantize(job: MakeJob, folder: Path, emit: Emit) -> Made:
    """nncf.quantize with its defaults, but on all calibration images instead of the first 300."""
    import torch

    openvino = library()
    with without_telemetry():
        import nncf
    use_cores(job)
    start = baseline(job)
    assert start.module is not None
    example = torch.zeros(1, *start.input_shape)
    model = openvino.convert_model(start.module, example_input=example, input=[-1, *start.input_shape])
    images = calibration_inputs(job)
    dataset = nncf.Dataset([image[None] for image in images])
    quantized = nncf.quantize(model, dataset, subset_size=len(images))
    job.out.mkdir(parents=True)
    openvino.save_model(quantized, job.out / MODEL)
    return Made()


def open_session(folder: Path, threads: int, batch: int) -> Session:
    """The model that `quantize` left, run just as ours is: what is not INT8 in true float32."""
    return OpenVinoSession(str(folder / MODEL), SHAPE, properties_of(threads, "f32"), (batch,))
