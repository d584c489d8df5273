"""What a claim is: published numbers with their conditions, and where they are measured again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from paretoboard.spec import BASELINE

# The five verdicts, and what there is no verdict on.
Verdict = Literal["confirmed", "falls short", "better", "undecided", "not comparable", "not measured"]
Scale = Literal["points", "times"]
# A condition that a claim leaves open on purpose: it is made for any.
ANY: Final = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimMetric:
    """What a published number is about."""

    scale: Scale  # a quality changes by points; a cost by how many times it is better
    higher_is_better: bool
    unit: str  # of published values
    label: str
    measured_as: str = ""  # a key of metrics.METRICS, "" where nothing here measures it
    timed: bool = False  # whether machine, batch and runtime decide it


# Names as claims files use them. Qualities are in percent, as they are published.
CLAIM_METRICS: Final[Mapping[str, ClaimMetric]] = {
    "top1": ClaimMetric(scale="points", higher_is_better=True, unit="%", label="Top-1", measured_as="top1"),
    "mAP": ClaimMetric(scale="points", higher_is_better=True, unit="%", label="mAP", measured_as="mAP"),
    "mIoU": ClaimMetric(scale="points", higher_is_better=True, unit="%", label="mIoU"),
    # The complement of top-1: the same change with the other sign.
    "error": ClaimMetric(scale="points", higher_is_better=False, unit="%", label="test error", measured_as="top1"),
    "latency": ClaimMetric(
        scale="times", higher_is_better=False, unit="ms", label="latency", measured_as="latency", timed=True
    ),
    "throughput": ClaimMetric(
        scale="times", higher_is_better=True, unit="images/s", label="throughput", measured_as="throughput", timed=True
    ),
    "train_time": ClaimMetric(
        scale="times", higher_is_better=False, unit="s", label="time of training", measured_as="train_time", timed=True
    ),
    "macs": ClaimMetric(scale="times", higher_is_better=False, unit="GMACs", label="MACs", measured_as="macs"),
    "parameters": ClaimMetric(
        scale="times", higher_is_better=False, unit="M", label="parameters", measured_as="parameters"
    ),
    "file_size": ClaimMetric(
        scale="times", higher_is_better=False, unit="MB", label="file size", measured_as="file_size"
    ),
    "peak_memory": ClaimMetric(
        scale="times", higher_is_better=False, unit="MB", label="memory", measured_as="peak_memory"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedNumber:
    """One published number: a change from `baseline` to `claimed`, or said as such; alone, `claimed` is a level."""

    metric: str  # a key of CLAIM_METRICS
    baseline: float | None = None
    claimed: float | None = None
    times: float | None = None  # how many times better, above 1 is better
    points: float | None = None  # of a quality, above 0 is better
    at_least: bool = False  # the claim is a bound: more than it says confirms it
    images: int | None = None  # a level on all images of a test set: counted on as many, it is no sample
    differs: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # as of a Link, of this number alone

    @property
    def about(self) -> ClaimMetric:
        """What it is about."""
        return CLAIM_METRICS[self.metric]

    @property
    def is_level(self) -> bool:
        """Whether it is a value of its own, and no change."""
        return self.times is None and self.points is None and self.baseline is None

    @property
    def change(self) -> float:
        """What is claimed, better being more: points of difference, how many times better, or the level itself."""
        said = self.times if self.times is not None else self.points
        if said is not None:
            return said
        if self.claimed is None:
            raise ValueError(f"{self.metric}: no change is given")
        if self.baseline is None:
            return self.claimed
        if self.about.scale == "points":
            sign = 1 if self.about.higher_is_better else -1
            return sign * (self.claimed - self.baseline)
        return self.claimed / self.baseline if self.about.higher_is_better else self.baseline / self.claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The recipe of a task that measures a claim again, beside what."""

    task: str
    recipe: str
    against: str = BASELINE
    differs: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # field -> (there, here), not in the records


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which conditions a number was got; None where that is not said."""

    model: str
    dataset: str
    technique: str | None  # registered name; None for one that is not here
    method: str  # the technique in words
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the technique, those that matter
    hardware: str | None = None
    cores: str | None = None
    batch: str | None = None
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One published row."""

    id: str
    says: str  # in our words
    conditions: Conditions
    numbers: tuple[ClaimedNumber, ...]
    source: str
    under: str = ""  # all other conditions that are published, in words
    note: str = ""  # what was seen on checking the source
    measured_by: tuple[Link, ...] = ()
    unmeasured: str = ""  # why nothing measures it here, and what would


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimSet:
    """The claims of one file."""

    name: str  # of the file
    title: str
    about: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A condition that matters and is not the same."""

    field: str
    claimed: str
    ours: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A change that we measured, as its claim counts it: better is more."""

    value: float  # points, times, or a level in percent
    low: float | None  # of the 95 % interval; None where it was measured once
    high: float | None
    exact: bool = False  # counted, not measured: the same in every run
    n: int  # images, launches, or runs
    baseline: float | None = None  # quality in percent that the change is against
    link: Link
    conditions: Conditions
    run_id: str
    profile: str
    hardware_id: str
    measured_at: datetime
