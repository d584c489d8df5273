"""A phase of a run: one scenario, in a fresh process."""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import artifact, datasets, runtimes
from paretoboard.errors import NotApplicableError
from paretoboard.records import MetricValue
from paretoboard.spec import DatasetUse, MeasureSpec, Preprocess, Scenario
from paretoboard_runners.budgets import DURATIONS, LATENCIES, Durations
from paretoboard_runners.scenarios.loadgen import MULTI_STREAM_SAMPLES, LoadTest, accuracy, performance
from paretoboard_runners.scenarios.outcome import Outcome, top1
from paretoboard_runners.scenarios.server import START, serve
from paretoboard_runners.scenarios.system import System

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from paretoboard_runners.supervise import Emitter

_LOADED_BYTES: Final = 256 << 20  # of samples in memory at once, in performance mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioJob:
    """Run one scenario on an artifact, in accuracy and in performance mode."""

    scenario: Scenario
    artifact: Path
    dataset: DatasetUse
    preprocess: Preprocess
    data_root: Path
    largest_batch: int  # that the task declares; Offline uses it
    threads: int
    durations: Durations
    seed: int
    server_latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What LoadGen found."""

    metrics: tuple[MetricValue, ...]
    positions: tuple[int, ...]  # in the subset, of the images that accuracy mode asked for
    classes: tuple[int, ...]  # what was answered, from LoadGen's accuracy log
    valid: bool
    notes: tuple[str, ...]


def require(measure: MeasureSpec, find: Callable[[str], object] = importlib.util.find_spec) -> None:
    """Check that the scenarios of a task can be run, before anything else is done for it.

    Raises: NotApplicableError with the command that installs LoadGen, or with a latency that would be long enough for
        the budget's tests.
    """
    if not measure.scenarios:
        return
    if find("mlperf_loadgen") is None:
        raise NotApplicableError(
            "the scenarios of MLPerf need its LoadGen, which is not installed: pip install 'paretoboard[scenarios]'"
        )
    longest_s = DURATIONS[measure.budget].most_s / LATENCIES
    if measure.server_latency_s is not None and measure.server_latency_s > longest_s:
        raise NotApplicableError(
            f"server_latency_s = {measure.server_latency_s:g}: tests of budget '{measure.budget}' are too short to see "
            f"whether a load keeps more than {longest_s:g} s; a longer budget would be right"
        )


def measure(job: ScenarioJob, folder: Path, emit: Emitter) -> ScenarioResult:
    """Both modes of one scenario; LoadGen's logs last only as long as this takes."""
    sized = artifact.sized_for(artifact.read_manifest(job.artifact).input_shape, job.preprocess)
    images = datasets.read_subset(job.dataset, job.dataset.subset, job.data_root, sized)
    positions = sample_positions(len(images), job.durations.images)
    batch = _batch(job)
    session = runtimes.open(job.artifact, threads=job.threads, batches=(batch,))
    system = System(session, images.pixels[positions], sized, batch)

    def progress(done: float, text: str) -> None:
        emit({"stage": "scenarios", "done": done, "text": f"{job.scenario}: {text}"})

    progress(0.0, "calibrate")
    test = _test(job, system, len(positions), batch)
    with tempfile.TemporaryDirectory(dir=folder) as logs:
        progress(0.1, "accuracy mode")
        answers = accuracy(test, system, Path(logs) / "accuracy")
        if job.scenario == "server":
            outcome = serve(test, system, Path(logs), progress)
        else:
            progress(0.5, "performance mode")
            outcome = Outcome(test=test, log=performance(test, system, Path(logs) / "performance"))
    asked = sorted(answers)
    return ScenarioResult(
        metrics=(
            *outcome.metrics(),
            top1(job.scenario, images.labels[positions[asked]], np.asarray([answers[index] for index in asked])),
        ),
        positions=tuple(int(positions[index]) for index in asked),
        classes=tuple(answers[index] for index in asked),
        valid=outcome.valid,
        notes=outcome.notes(),
    )


def sample_positions(images: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` positions, evenly spaced over `images`: subsets may be sorted by class."""
    count = min(images, wanted)
    return np.arange(count, dtype=np.int64) * images // count


def _batch(job: ScenarioJob) -> int:
    sizes = {"multi-stream": MULTI_STREAM_SAMPLES, "offline": job.largest_batch}
    return sizes.get(job.scenario, 1)


def _test(job: ScenarioJob, system: System, samples: int, batch: int) -> LoadTest:
    call_s = system.call_s()
    return LoadTest(
        scenario=job.scenario,
        least_s=job.durations.least_s,
        most_s=job.durations.most_s,
        samples=samples,
        loaded=max(1, min(samples, _LOADED_BYTES // system.sample_bytes)),
        batch=batch,
        call_s=call_s,
        seed=job.seed,
        load_qps=START / call_s if job.scenario == "server" else None,
        latency_s=job.server_latency_s,
    )
