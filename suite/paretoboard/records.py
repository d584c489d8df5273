"""What one run reports: status, metrics with all raw samples, and the environment as it was seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping  # noqa: TC004 - nothing resolves these annotations

    import numpy as np  # noqa: TC004
    from numpy.typing import NDArray  # noqa: TC004

Status = Literal["ok", "failed", "timeout", "refused", "skipped", "unstable"]
STATUSES: Final[tuple[Status, ...]] = ("ok", "failed", "timeout", "refused", "skipped", "unstable")
Verdict = Literal["better", "worse", "same", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One number of one metric, with its 95 % interval where it has one."""

    name: str  # a key of metrics.METRICS
    scope: str = ""  # "", "batch=32", "class=3"
    value: float
    low: float | None = None
    high: float | None = None
    n: int  # how many samples or images it rests on
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How long a call takes against another recipe's, timed interleaved in the same processes."""

    batch: int
    against: str  # recipe name
    ratio: float  # time of this recipe / time of the other: below 1 is faster
    low: float
    high: float
    confidence: float  # of the interval: 0.95, or 0.975 where two looks are allowed
    launches: int
    windows: int
    clock: Literal["cpu", "wall"]
    tolerance: float  # the smallest effect that counts, as a share: max(relevance, noise floor)
    p_value: float | None  # of the effect being zero; None with too few windows
    verdict: Verdict
    reason: str  # why undecided, or "wall only"; "" otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Every timed call, one entry per call in each column, in the order they were made."""

    batch: NDArray[np.int32]
    launch: NDArray[np.int16]  # fresh process; at one batch no two have the same number
    window: NDArray[np.int16]  # within the launch
    block: NDArray[np.int32]  # within the window
    arm: NDArray[np.int8]  # 0 is what the recipe is timed against, 1 the recipe; in its own run both are the baseline
    start_ns: NDArray[np.int64]  # since the launch began
    wall_ns: NDArray[np.int64]
    cpu_ns: NDArray[np.int64]
    switches: NDArray[np.int32]  # involuntary context switches during the call's leg
    reference: NDArray[np.int8]  # whose arm 0 is: 0 the baseline's, n that of the recipe's n-th reference


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowState:
    """What the machine did around one window of timed calls."""

    batch: int
    launch: int
    window: int
    steal: float  # share of CPU time taken by the hypervisor, of the pinned cores
    load1: float  # one-minute load average
    pressure: float | None  # /proc/pressure/cpu: share of time that some task waited, last 10 s
    clock_mhz: float | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptedGuesses:
    """What the model said about every image of the subset under one corruption."""

    corruption: str  # as the task names it: "noise:3"
    best: NDArray[np.int16]  # (images,) the best guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What the model said about every image of the subset, in the subset's order."""

    labels: NDArray[np.int16]  # (images,) the right class
    top_classes: NDArray[np.int16]  # (images, k) best first, k = min(5, classes)
    top_scores: NDArray[np.float32]  # (images, k) softmax probabilities
    ids: tuple[str, ...] = ()  # of the images; () in records from before they were kept
    corrupted: tuple[CorruptedGuesses, ...] = ()  # as many as the task asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What there is to find in a set of images, in pixels of the images as they are stored."""

    sizes: NDArray[np.int32]  # (images, 2) height and width
    image: NDArray[np.int32]  # (objects,) place of the image that each is in
    boxes: NDArray[np.float64]  # (objects, 4) left, top, width, height
    classes: NDArray[np.int16]  # (objects,)
    areas: NDArray[np.float64]  # (objects,) of the outline, which decides what is small
    crowd: NDArray[np.bool_]  # (objects,) whether the box holds many that nobody told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Every box that a detector reported for the images of the subset, beside what there was to find in them."""

    objects: Objects
    image: NDArray[np.int32]  # (boxes,) place of the image in the subset, ascending
    boxes: NDArray[np.float32]  # (boxes, 4) left, top, width, height
    classes: NDArray[np.int16]  # (boxes,)
    scores: NDArray[np.float32]  # (boxes,) descending within an image
    drawn: NDArray[np.float32]  # (draws, 3) mAP, AP50 and AP75 of images drawn again, the same ones in every record


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlState:
    """One control of the machine: what the profile asked for, what was set, what was seen from outside."""

    name: str
    requested: str
    applied: str
    observed: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactInfo:
    """The file that was scored and timed."""

    build_id: str
    digest: str  # SHA-256 of the file that is run
    file: str  # its name in the artifact's folder
    runtime: str
    form: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """All operators of one type, in one forward pass."""

    type: str  # as the runtime names it
    kind: str  # what it is in any runtime: a runtimes.profiling.Kind
    dtype: str  # that it computes in
    calls: int
    share: float  # of the time that all operators take together
    macs: int
    bytes: int  # weights and activations read and activations written, each once
    attainable_s: float | None  # at the roofline of the machine; None without one for the dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The fastest arithmetic seen on a machine in one data type."""

    dtype: str
    macs_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """The fastest reading and writing seen on a machine, of data of one size."""

    working_set_bytes: int
    bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """What a machine reaches under a profile, measured with as many threads as the profile has cores."""

    profile: str
    hardware_id: str
    environment_id: str
    measured_at: datetime  # UTC
    threads: int
    peaks: tuple[Peak, ...]
    bandwidths: tuple[Bandwidth, ...]  # the smallest working set first
    int8_exact: bool  # whether products of extreme INT8 values are right, or saturate on the way
    elapsed_s: float  # that measuring took


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Where the time of a call goes, beside what the machine could reach."""

    batch: int
    source: str  # who took the times of operators
    call_s: float  # of a call that nobody watches, in the process that was profiled
    operator_s: float  # of that, inside operators, as the profiler says; all of it where it says more
    operators: tuple[OperatorCost, ...]  # the longest first
    attainable_s: float | None  # of all operators, one after the other; None where one has none
    peaks: tuple[Peak, ...]
    bandwidths: tuple[Bandwidth, ...]
    int8_exact: bool | None  # of the machine; None where it was not measured
    instruction_sets: tuple[str, ...]  # for arithmetic of fewer than 32 bits, that the machine has
    fallbacks: tuple[str, ...]  # convolutions and matrix products that a quantized model leaves in float
    sentence: str  # why it is as fast as it is, in plain words


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTrial:
    """One trial of a search for settings, and how far the search had come after it."""

    number: int  # from 1
    settings: str  # that it trained with, as canonical JSON
    value: float  # share of held-out images that was right when it ended
    ending: Literal["whole", "pruned", "diverged"]
    images_seen: int  # by all trials so far, repeats counted
    seconds: float  # that all trials so far took
    best: float | None  # value of those so far that were not pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where and with what a record was made."""

    hardware_id: str  # fingerprint of what decides comparability
    hardware: Mapping[str, Any]
    environment_id: str  # fingerprint of the software
    environment: Mapping[str, Any]
    commit: str  # of the project, "" outside a checkout; "+dirty" appended when changed


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedEpoch:
    """One point of a training's curve."""

    epoch: int  # from 1; the last may be a part of one, where another budget than images ended it
    images_seen: int  # until then, repeats counted
    seconds: float  # of training until then; judging is not counted
    loss: float  # mean over the epoch's steps
    held_out_top1: float | None = None  # share right of the images kept from training; None where there are none
    held_out_loss: float | None = None  # their mean cross-entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training that an artifact went through."""

    step: str  # "model" for the task's own, else the technique's name
    seconds: float  # judging not counted; an interruption's own time neither
    images_seen: int  # repeats counted
    fair: str  # what arms have equal: "images", "seconds" or "energy"
    weights: str  # SHA-256 over the weights that it left
    best_epoch: int | None = None  # whose weights were kept, where training may stop early
    stopped_early: bool = False
    target: float | None = None  # held-out share right that time was taken until
    seconds_to_target: float | None = None  # None where it was not reached, or none was asked for
    peak_bytes: int | None = None  # resident memory beyond what the building process had before
    energy_j: float | None = None  # of the whole step; None where nothing counts it
    curve: tuple[TrainedEpoch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedImage:
    """How far the explanation of one answer moved."""

    image: str  # its id
    similarity: float  # of the two maps: their linear correlation, -1 to 1
    picture: bytes = b""  # a PNG of the image, the baseline's map and this one's; only of those that moved most


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationShift:
    """How far what the model looks at moved from what the baseline looks at."""

    method: str  # with the layers that were read
    images: tuple[ExplainedImage, ...]  # the sample, those that moved most first
    reason: str = ""  # why there is nothing to compare, "" where there is


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run reports."""

    run_id: str
    board_id: str
    task: str
    task_version: int
    title: str
    dataset: str
    subset: str
    model: str
    recipe: str
    steps: tuple[Mapping[str, Any], ...]  # {"name", "version", "parameters"} in order
    profile: str
    seed: int
    spec: Mapping[str, Any]  # RunSpec.content()
    status: Status
    reason: str  # "" when ok
    started_at: datetime  # UTC
    duration_s: float
    provenance: Provenance
    artifact: ArtifactInfo | None = None
    metrics: tuple[MetricValue, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    controls: tuple[ControlState, ...] = ()
    windows: tuple[WindowState, ...] = ()
    calls: Calls | None = None
    predictions: Predictions | None = None
    diagnosis: Diagnosis | None = None
    trainings: tuple[Training, ...] = ()  # that the artifact went through, in order
    trials: tuple[SearchTrial, ...] = ()  # of a search in building: the curve of the best value against cost
    explanation: ExplanationShift | None = None  # None where the task does not ask for it, and for the baseline
    detections: Detections | None = None  # of a task that finds objects; it has no predictions
    notes: tuple[str, ...] = ()  # in plain words, for the page
    log_tail: str = ""

    def metric(self, name: str, scope: str = "") -> MetricValue | None:
        """The value of one metric, None where it was not measured."""
        for value in self.metrics:
            if value.name == name and value.scope == scope:
                return value
        return None

    def against(self, recipe: str) -> tuple[Comparison, ...]:
        """The comparisons with another recipe, by its name: one for each batch at which they were timed."""
        return tuple(found for found in self.comparisons if found.against == recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the protocol does on this machine with programs whose difference is known."""

    profile: str
    hardware_id: str
    environment_id: str
    measured_at: datetime  # UTC
    launches: int  # of each comparison
    launch_s: float
    identical: int  # comparisons of a program with itself
    false_alarms: int  # of those, how many were called better or worse
    planted: int  # comparisons with a twin that does `planted_extra` more
    planted_extra: float
    found: int  # of those, how many were called worse
    wrong_way: int  # of those, how many were called better
    noise_floor: float  # 95th percentile of |effect| between identical programs, as a share
    smallest_effect: float  # found with 80 % power, as a share: from the spread between launches
    load1: float  # mean one-minute load average meanwhile
