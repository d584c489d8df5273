"""https://docs.pytorch.org/ao, 'PyTorch 2 Export Quantization with X86 Backend through Inductor'."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.parity.libraries import Emit, Made, MakeJob, baseline, calibration_inputs, use_cores
from paretoboard.runtimes import Session


def static(job: MakeJob, folder: Path, emit: Emit) -> Made:
    """Prepare, calibrate, convert, once for each batch size, whose kernels are their own."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    use_cores(job)
    start = baseline(job)
    assert start.module is not None
    images = torch.from_numpy(calibration_inputs(job))
    job.out.mkdir(parents=True)
    for batch in job.run.measure.batches:
        with torch.no_grad():
            exported = torch.export.export(start.module.eval(), (images[:batch],)).module()
            quantizer = X86InductorQuantizer()
            quantizer.set_global(get_default_x86_inductor_quantization_config())
            prepared = prepare_pt2e(exported, quantizer)
            for part in images.split(batch):
                if len(part) == batch:
                    prepared(part)
            converted = convert_pt2e(prepared)
            torch.export.save(torch.export.export(converted, (images[:batch],)), _file(job.out, batch))
    return Made()


class CompiledSession(Session):
    """A model compiled by Inductor with frozen weights, as the documentation asks."""

    def __init__(self, file: Path, batch: int, threads: int) -> None:
        import torch
        import torch._inductor.config

        # Registers the operators in the file, and the passes without which all of them run in float.
        import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401

        torch.set_num_threads(threads)
        torch._inductor.config.freezing = True
        self._torch = torch
        self._compiled = torch.compile(torch.export.load(file).module())
        self.run(torch.zeros(batch, 3, 32, 32))

    def prepare(self, images: NDArray[np.float32]) -> Any:
        return self._torch.tensor(images)

    def run(self, native: Any) -> Any:
        with self._torch.no_grad():
            return self._compiled(native)

    def logits(self, native: Any) -> NDArray[np.float32]:
        return np.asarray(native.numpy(), dtype=np.float32)

    def refresh(self) -> None:
        """Frozen weights are where they are; a launch is a process, and lays them out anew."""


def open_session(folder: Path, threads: int, batch: int) -> Session:
    """The model that `static` left for this batch size."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    return CompiledSession(_file(folder, batch), batch, threads)


def _file(folder: Path, batch: int) -> Path:
    return folder / f"batch-{batch}.pt2"
