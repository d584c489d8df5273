"""The phase after timing: where the time of a call goes, in processes of their own that nobody times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import artifact, runtimes
from paretoboard.diagnosis import Origin, diagnose
from paretoboard.errors import StoreError
from paretoboard.records import Roofline
from paretoboard.registry import TECHNIQUES
from paretoboard.runtimes.profiling import Profile, Question
from paretoboard.runtimes.statistics import macs_by_kind
from paretoboard.spec import BASELINE
from paretoboard.taskfile.order import is_runtime
from paretoboard_runners import machine, roofline
from paretoboard_runners.client import JobFailedError, JobLimits, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import Comparison, Diagnosis
    from paretoboard.spec import Recipe
    from paretoboard_runners import jobs
    from paretoboard_runners.draft import Draft
    from paretoboard_runners.supervise import Emitter

# Of calls that are profiled, and as long of calls that are not: all of a diagnosis is to stay near a second.
_PROFILED_S: Final = 0.15
_LONGEST_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileJob:
    """Take a call of an artifact apart, and count the MACs of it and of the baseline's."""

    artifact: Path
    baseline: Path
    batch: int
    threads: int
    input_file: Path  # float32 array (n, channels, height, width), n at least the batch
    int8_exact: bool  # of the machine; where it is not, the artifact's own INT8 operators are checked


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileResult:
    """One call, and MACs of one image by kind of operator."""

    profile: Profile
    macs_by_kind: Mapping[str, int]
    baseline_macs_by_kind: Mapping[str, int]
    saturating: tuple[str, ...] | None  # names of INT8 operators; None where they were not checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooflines:
    """Where the roofline of a profile is found and kept, so that it is measured once."""

    find: Callable[[str], Roofline | None]
    keep: Callable[[Roofline], object]


def remembered() -> Rooflines:
    """Rooflines for as long as this process lives."""
    known: dict[str, Roofline] = {}
    return Rooflines(find=known.get, keep=lambda found: known.update({found.profile: found}))


def profile(job: ProfileJob, folder: Path, emit: Emitter) -> ProfileResult:
    """Profile the artifact; what its runtime's profiler writes stays in the job's folder."""
    emit({"stage": "diagnosis", "done": 0.0, "text": f"batch {job.batch}"})
    images = np.load(job.input_file)[: job.batch]
    question = Question(
        images=images,
        threads=job.threads,
        cache=job.artifact / "cache",
        scratch=folder,
        seconds=_PROFILED_S,
    )
    found = runtimes.profile(job.artifact, question)
    candidate = artifact.load(job.artifact)
    own = macs_by_kind(candidate)
    saturating = None
    if found.quantized and not job.int8_exact and candidate.graph is not None:
        from paretoboard.runtimes.saturation import saturates

        saturating = tuple(each.node for each in saturates(candidate.graph, images) if each.saturates)
    baseline = own if job.baseline == job.artifact else macs_by_kind(artifact.load(job.baseline))
    return ProfileResult(profile=found, macs_by_kind=own, baseline_macs_by_kind=baseline, saturating=saturating)


def roofline_of(worker: Worker, draft: Draft, rooflines: Rooflines, limits: JobLimits) -> Roofline:
    """The roofline of the run's profile: the one that is kept, or measured now and kept.

    Raises: JobFailedError.
    """
    known = rooflines.find(draft.run.profile.name)
    if known is not None:
        return known
    job = roofline.RooflineJob(threads=len(worker.cores))
    measured = worker.do("paretoboard_runners.roofline:measure", job, roofline.RooflineResult, limits=limits)[0]
    found = Roofline(
        profile=draft.run.profile.name,
        hardware_id=draft.provenance.hardware_id,
        environment_id=draft.provenance.environment_id,
        measured_at=datetime.now(UTC),
        threads=job.threads,
        peaks=measured.peaks,
        bandwidths=measured.bandwidths,
        int8_exact=measured.int8_exact,
        elapsed_s=measured.elapsed_s,
    )
    rooflines.keep(found)
    return found


def explain(
    worker: Worker,
    draft: Draft,
    *,
    baseline: jobs.BuildResult,
    built: jobs.BuildResult,
    comparisons: tuple[Comparison, ...],
    input_file: Path,
    rooflines: Rooflines,
    limits: JobLimits,
) -> Diagnosis | None:
    """Why the recipe is as fast as it is, at its smallest batch; None with a note where that can't be found out."""
    limits = JobLimits(timeout_s=min(limits.timeout_s, _LONGEST_S), memory_bytes=limits.memory_bytes)
    roof = _roofline_or_note(worker, draft, rooflines, limits)
    job = ProfileJob(
        artifact=built.folder,
        baseline=baseline.folder,
        batch=min(draft.run.measure.batches),
        threads=len(worker.cores),
        input_file=input_file,
        int8_exact=roof is None or roof.int8_exact,
    )
    preload = [runtimes.module_of(built.runtime)]
    try:
        function = "paretoboard_runners.diagnose:profile"
        found = worker.do(function, job, ProfileResult, preload=preload, limits=limits)[0]
    except JobFailedError as error:
        # What is measured stands without it.
        draft.notes.append(f"Not diagnosed: {error}.")
        return None
    origin = Origin(
        is_baseline=draft.run.is_baseline,
        macs=built.cost.macs,
        baseline_macs=baseline.cost.macs,
        parameters=built.cost.parameters,
        nonzero_parameters=built.cost.nonzero_parameters,
        macs_by_kind=found.macs_by_kind,
        baseline_macs_by_kind=found.baseline_macs_by_kind,
        comparisons=most_telling(draft.run.recipe, [each for each in comparisons if each.batch == job.batch]),
        saturating=found.saturating,
    )
    return diagnose(found.profile, origin, roof, machine.instruction_sets(draft.run.profile.device))


def _roofline_or_note(worker: Worker, draft: Draft, rooflines: Rooflines, limits: JobLimits) -> Roofline | None:
    try:
        return roofline_of(worker, draft, rooflines, limits)
    except (JobFailedError, StoreError) as error:
        draft.notes.append(f"What this machine can reach was not measured: {error}.")
        return None


def most_telling(recipe: Recipe, comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """With the baseline, and then with the recipe's runtime alone: both do the baseline's MACs."""
    alone = {
        reference.name
        for reference in recipe.references
        if all(is_runtime(step.name, TECHNIQUES.load(step.name)) for step in reference.steps)
    }
    return (
        *(found for found in comparisons if found.against == BASELINE),
        *(found for found in comparisons if found.against in alone),
    )
