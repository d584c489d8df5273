"""Memory and cold-start times, in a process that imported nothing but the model's runtime.

Not in the timed processes: their allocator is told to keep memory, and they share torch with their parent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import artifact, models, runtimes
from paretoboard.process import resident_bytes
from paretoboard_runners import jobs

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard_runners.supervise import Emitter

# ONNX Runtime's arena grows at the first calls, so the peak is read after a few.
_CALLS: Final = 3


def probe(job: jobs.ProbeJob, _folder: Path, emit: Emitter) -> jobs.ProbeResult:
    """Open `job.artifact`, run it at every batch, and read the kernel's peak before and after."""
    emit({"stage": "memory", "done": 0.0, "text": job.runtime})
    images = np.load(job.input_file)
    runtimes.idle(job.runtime)
    # What defines a network is no more a part of it than its runtime is: a library of networks takes seconds to import.
    manifest = artifact.read_manifest(job.artifact)
    if manifest.form == "torch":
        models.import_definition(manifest.architecture)
    idle_bytes = resident_bytes("VmHWM")
    start = time.perf_counter()
    session = runtimes.open(job.artifact, threads=job.threads, batches=job.batches)
    load_s = time.perf_counter() - start
    first = session.prepare(images[: job.batches[0]])
    start = time.perf_counter()
    session.run(first)
    first_inference_s = time.perf_counter() - start
    for batch in job.batches:
        native = session.prepare(images[:batch])
        for _ in range(_CALLS):
            session.run(native)
    return jobs.ProbeResult(
        idle_bytes=idle_bytes,
        peak_bytes=resident_bytes("VmHWM"),
        load_s=load_s,
        first_inference_s=first_inference_s,
    )
