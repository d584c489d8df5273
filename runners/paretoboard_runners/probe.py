"""Memory and cold-start times, in a process that imported nothing but the model's runtime.

Not in the timed processes: their allocator is told to keep memory, and they share torch with their parent.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import runtimes
from paretoboard_runners import jobs

if TYPE_CHECKING:
    from paretoboard_runners.supervise import Emitter

# ONNX Runtime's arena grows at the first calls, so the peak is read after a few.
_CALLS: Final = 3


def probe(job: jobs.ProbeJob, _folder: Path, emit: Emitter) -> jobs.ProbeResult:
    """Open `job.artifact`, run it at every batch, and read the kernel's peak before and after."""
    emit({"stage": "memory", "done": 0.0, "text": job.runtime})
    images = np.load(job.input_file)
    runtimes.idle(job.runtime)
    idle_bytes = peak_resident_bytes()
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
        peak_bytes=peak_resident_bytes(),
        load_s=load_s,
        first_inference_s=first_inference_s,
    )


def peak_resident_bytes(status: Path = Path("/proc/self/status")) -> int:
    """VmHWM: the most resident memory this process ever had. Not ru_maxrss, which a child inherits from its parent."""
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{status}: no VmHWM")
