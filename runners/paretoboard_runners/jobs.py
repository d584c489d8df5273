"""What the parent asks a child to do, and what the child answers; plain values that travel as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import TypeAdapter

from paretoboard.plan import RunSpec, plain
from paretoboard.records import MetricValue, SearchTrial, Training
from paretoboard.spec import DatasetUse, DetectionUse, Preprocess
from paretoboard_runners.machine_state import Snapshot
from paretoboard_runners.timing import KeptOutput, LaunchPlan

T = TypeVar("T")
# Files of a job's folder.
JOB: Final = "job.json"
RESULT: Final = "result.json"
FAILURE: Final = "failure.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """Apply the recipe's steps, those that no artifact is there for."""

    run: RunSpec
    data_root: Path
    artifacts: Path
    environment_id: str
    hardware_id: str = ""  # counts where times measured in building decide what is built
    cores: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCost:
    """What one step took, kept beside its artifact; sums run over all steps up to it.

    A step that trains anew begins them again: nothing that was built before went into its artifact.
    """

    step_s: float
    total_s: float
    images_seen: int
    parameters: int
    nonzero_parameters: int
    macs: int | None  # None where they can't be counted
    file_bytes: int
    compressed_bytes: int  # under LZMA
    notes: tuple[str, ...]
    energy_j: float | None = None  # of all steps up to it; None where no counter can be read
    trainings: tuple[Training, ...] = ()  # that went into the artifact
    trials: tuple[SearchTrial, ...] = ()  # of the last step up to it that searched for settings
    metrics: tuple[MetricValue, ...] = ()  # of the last step up to it that measured some


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """Where the artifact is, and what it took."""

    folder: Path
    file: str
    digest: str
    runtime: str
    form: str
    cost: BuildCost
    built: int  # steps that were applied now, the others were in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityJob:
    """Score an artifact on every image of the subset."""

    artifact: Path
    dataset: DatasetUse
    preprocess: Preprocess
    detection: DetectionUse | None = None
    data_root: Path
    batches: tuple[int, ...]
    threads: int
    corruptions: tuple[str, ...] = ()  # that it is scored under, too
    timed: bool = True  # whether a detector's pre- and post-processing are timed


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult:
    """The scores; the predictions themselves are in `predictions.npz` of the job's folder."""

    metrics: tuple[MetricValue, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """Open an artifact in a process that imported nothing but its runtime."""

    artifact: Path
    runtime: str
    batches: tuple[int, ...]
    threads: int
    input_file: Path  # float32 array (n, channels, height, width), n the largest batch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Peak resident memory and cold-start times of that process."""

    idle_bytes: int
    peak_bytes: int
    load_s: float
    first_inference_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchJob:
    """Time artifacts against each other in one fresh process; calls go to `calls.npz` of the job's folder."""

    artifacts: tuple[Path, ...]
    batch: int
    plan: LaunchPlan
    input_file: Path  # float32 array (n, channels, height, width)
    other_inputs: tuple[Path, ...] = ()  # of each artifact, where they take images of other sizes
    detection: DetectionUse | None = None  # what tells one answer from another
    apart: bool = False  # each artifact in a child process of its own, driven in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelJob:
    """Time one of `kernels.KERNELS` against its twin that does more; calls go to `calls.npz` of the job's folder."""

    kernel: Literal["matrix product", "memory pass"]
    extra: float  # share of work that the twin does beyond the kernel's own
    plan: LaunchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchResult:
    """What one launch gave beside its calls."""

    windows: tuple[Snapshot, ...]
    outputs: tuple[KeptOutput, ...]
    elapsed_s: float
    timed_s: float
    repeat_effects: tuple[float, ...]  # of the last arm: ln(time with a repeated input / with inputs never seen)
    input_s: tuple[float, ...] = ()  # of the last arm: calls of its input pipeline alone, where it has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error that ended a job."""

    kind: str  # name of the exception's class
    message: str
    traceback: str


def to_json(value: Any) -> str:
    """A job or a result as JSON; its paths as text."""
    return json.dumps(_texts(plain(value)))


def from_json(kind: type[T], text: str) -> T:
    """The job or the result that `to_json` wrote.

    Raises: pydantic.ValidationError if it is not one.
    """
    return TypeAdapter(kind).validate_json(text)


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return str(value) if isinstance(value, Path) else value
