"""What a page says, as plain values: no HTML, and nothing left to compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from paretoboard.records import ControlState, Diagnosis, Status, Verdict
from paretoboard_reports.view.numbers import Quantity

AxisName = Literal["latency", "size", "memory", "throughput", "training"]
Standing = Literal["front", "tied", "dominated", "none"]
Family = Literal["baseline", "runtime", "quantize", "prune", "train", "combined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolves:
    """What difference in quality the images can show, given how often the two models disagree."""

    # Images that only one of the two gets right; None where a quality is of all images together.
    discordant: Quantity | None
    decided: Quantity  # points: the smallest difference that would be told from none
    found: Quantity  # points: a true difference that is told from none in four of five trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How a recipe differs from the baseline, and whether that is real."""

    quantity: Quantity  # of a quality: points of difference; of speed: how many times as fast
    verdict: Verdict
    words: str  # "faster", "worse", "undecided", ...
    reason: str  # why it is undecided, "" otherwise
    note: str  # what the verdict rests on: test, p, launches, clock
    resolves: Resolves | None = None  # of a quality that was compared on the same images


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a recipe stands between quality and one cost."""

    layer: int  # 1 is the front; 0 where one of the two was not measured
    standing: Standing
    probability: float  # of being on the front if all were measured again


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One number of the fold-out."""

    label: str
    summary: str
    scope: str
    quantity: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLine:
    """How well one class is recognised."""

    index: int
    images: int
    precision: str
    recall: str
    f1: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLine:
    """How well objects of one class are found."""

    index: int
    objects: int
    quantity: Quantity  # average precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often images of each class (rows) were called each class (columns)."""

    counts: tuple[tuple[int, ...], ...]
    most: int  # the largest count off the diagonal


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One technique of a recipe."""

    name: str
    version: int
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A short list of label and text."""

    title: str
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLine:
    """All operators of one type in one call."""

    type: str
    kind: str
    dtype: str
    calls: int
    percent: str  # of the time in operators
    time: str
    attainable: str  # by the roofline
    macs: str
    bytes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoofPoint:
    """All operators of one type, in a roofline."""

    macs_per_byte: float
    macs_per_s: float
    share: float  # of the time in operators
    text: str  # what it says when pointed at


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """Operators below the limits of the machine."""

    title: str
    peaks: tuple[tuple[str, float], ...]  # (label, MACs per second)
    bandwidths: tuple[tuple[str, float], ...]  # (label, bytes per second)
    points: tuple[RoofPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a recipe is as fast as it is."""

    sentence: str
    batch: int
    source: str
    operators: tuple[OperatorLine, ...]
    facts: tuple[tuple[str, str], ...]
    fallbacks: tuple[str, ...]  # operators that a quantized model leaves in float
    more_fallbacks: int  # that are not named
    roof: Roof | None  # None where no operator with MACs was timed, or the machine was not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One thing that was seen on the way: a trial of a search, an epoch of a training."""

    x: float
    y: float
    hollow: bool = False  # ended before its time
    text: str  # what it says when pointed at


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How one search or training went."""

    marks: tuple[Mark, ...]
    line: tuple[tuple[float, float], ...]  # corners, (x, y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """How those of all seeds went, one beside the other."""

    title: str
    x_title: str
    y_title: str
    y_low: float  # what lies beyond is drawn at the edge
    y_high: float
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipLine:
    """An image that a recipe answers otherwise than the baseline."""

    image: str
    label: int
    before: int  # the baseline's answer
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipList:
    """The images that flip in one direction."""

    direction: str
    count: int
    lines: tuple[FlipLine, ...]  # the first of them
    more: int  # that are not listed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChangeLine:
    """How a recipe's recall of one class differs from the baseline's."""

    index: int
    images: int
    lost: int
    gained: int
    effect: Effect  # points


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionLine:
    """What one corruption of the images costs a recipe, in points of `score`."""

    corruption: str
    does: str  # in words, with its strength
    score: str
    value: str  # %, under the corruption
    drop: Quantity
    baseline_drop: str  # "–" where it is not known
    further: Effect | None  # how much less it drops than the baseline; above zero is better


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image beside the maps of both models."""

    image: str
    similarity: str
    png: str  # base64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationMove:
    """How far what the model looks at moved from what the baseline looks at."""

    method: str
    reason: str  # why nothing was compared, "" where it was
    similarity: Quantity | None
    worst: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaks:
    """What a recipe breaks beside overall quality; of several seeds, the latest run."""

    agreement: Quantity | None  # with the baseline; None for the baseline itself, and where images differ
    flips: tuple[FlipList, ...]
    classes: tuple[ClassChangeLine, ...]  # those that lose most
    more_classes: int  # that have images and are not listed
    calibration: Quantity | None  # expected calibration error
    calibration_effect: Effect | None  # points of it beside the baseline's; below zero is better
    corruptions: tuple[CorruptionLine, ...]
    explanation: ExplanationMove | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What a row folds out to; of several seeds, the latest run."""

    steps: tuple[Step, ...]
    lines: tuple[Line, ...]
    effects: tuple[tuple[str, Effect], ...]  # (what is compared, how it came out)
    classes: tuple[ClassLine, ...]
    objects: tuple[ObjectLine, ...]  # of a task that finds objects
    confusion: Confusion | None
    explanation: Explanation | None
    breaks: Breaks | None  # None without predictions
    search: Curves | None  # of all seeds; None where nothing was searched
    training: Curves | None  # of all seeds; None where nothing was trained
    training_cost: tuple[tuple[int, str], ...]  # (seed, images, seconds and how many settings were tried)
    diagnosis: Diagnosis | None  # what it rests on, for programs
    controls: tuple[ControlState, ...]
    machine: tuple[tuple[str, str], ...]
    identity: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    seeds: tuple[tuple[int, str], ...]  # (seed, quality or reason)
    log_tail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What techniques change about the same recipe without them, in the same runtime."""

    techniques: tuple[Step, ...]
    words: str  # the same in one line, with their parameters
    recipe: str  # with them
    against: str  # without them
    speed: Effect | None  # timed side by side at the smallest batch
    quality: Effect | None  # on the same images
    size_ratio: float | None  # the file with them / the file without
    missing: str  # why a number is not there, "" where none is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """What the techniques of one recipe contribute, from one point of view."""

    view: Literal["runtime alone", "step by step", "left out"]
    lines: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recipe on a board."""

    anchor: str  # unique on the page
    recipe: str
    family: Family
    recipe_steps: str  # in one line
    status: Status
    reason: str
    tags: tuple[str, ...]
    is_baseline: bool
    measured_at: datetime
    places: Mapping[AxisName, Place]
    costs: Mapping[AxisName, Quantity]  # what the places rest on; those that were not measured are left out
    quality: Quantity | None
    quality_effect: Effect | None
    latency: Quantity | None
    latency_p90: Quantity | None
    latency_p99: Quantity | None
    speedup: Effect | None  # at the smallest batch
    throughput: Quantity | None
    throughput_speedup: Effect | None  # at the largest batch
    file_size: Quantity | None
    memory: Quantity | None
    process_memory: Quantity | None
    parameters: Quantity | None
    macs: Quantity | None
    build_time: Quantity | None
    train_time: Quantity | None  # search included
    train_speedup: Effect | None
    details: Details
    contributions: tuple[Contributions, ...] = ()
    energy: Quantity | None = None  # of one image at the smallest batch

    @property
    def beside_runtime(self) -> Contribution | None:
        """All its techniques together beside its runtime alone; None where that is the baseline."""
        return next((found.lines[0] for found in self.contributions if found.view == "runtime alone"), None)

    @property
    def place(self) -> Place | None:
        """On the axis that its board is ranked by: latency, or the time of training where nothing was timed."""
        return next(iter(self.places.values()), None)

    @property
    def standing(self) -> Standing:
        """On the front of quality and that cost, tied with it, or behind it."""
        return "none" if self.place is None else self.place.standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One recipe in a figure, in the units of its axes."""

    anchor: str
    recipe: str
    family: Family
    standing: Standing
    x: float
    x_low: float
    x_high: float
    y: float
    y_low: float
    y_high: float
    text: str  # what it says when pointed at


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Quality against one cost."""

    axis: AxisName
    label: str  # of the choice
    x_label: str
    y_label: str
    x_higher_is_better: bool
    title: str
    note: str  # how the costs were got, "" where they are each run's own
    points: tuple[Point, ...]
    missing: tuple[str, ...]  # recipes without this cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The recipe to take for one purpose."""

    question: str
    row: Row
    shown: Quantity | None
    purpose: str = ""  # the same on every board: "fastest", "smallest", "best in time", ...
    sure: str = ""  # how sure it is that the limits hold, "" where there are none
    ties: tuple[Row, ...] = ()  # what can't be told from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All that may stand in one table: one task on one machine under one profile."""

    anchor: str
    task: str
    title: str
    dataset: str
    profile: str
    hardware_id: str
    hardware: str
    about: str  # one line: dataset, subset, images, model
    quality_metric: str
    quality_name: str
    small_batch: int
    large_batch: int
    timed: bool  # whether the task asks for speed, or for quality and the cost of building alone
    units: Mapping[str, str]  # column -> unit
    facts: tuple[Facts, ...]
    warnings: tuple[str, ...]
    resolution: str  # what difference in quality these images can show
    subset_ranks: str  # how alike this subset and a larger one rank the recipes, "" where none is at hand
    unscored: str  # why no recipe has a quality, "" where they could have one
    self_check: Effect | None
    answers: tuple[Answer, ...]
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]
    counts: tuple[tuple[str, int], ...]
    superseded: str  # what is stored for this task and not shown, "" if nothing
    measured_at: datetime

    @property
    def ranked(self) -> tuple[Row, ...]:
        """Rows with numbers."""
        return tuple(row for row in self.rows if row.status == "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything on the page."""

    boards: tuple[Board, ...]
    damaged: tuple[str, ...]  # record files that can't be read
