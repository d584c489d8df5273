"""What is to be measured, as plain values: nothing here reads a file or looks at the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Device = Literal["cpu", "cuda"]
Budget = Literal["smoke", "quick", "standard", "release"]
Scenario = Literal["single-stream", "multi-stream", "offline", "server"]
BASELINE: Final = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Images of a dataset, by a name the dataset knows ("test") or by a committed list of ids."""

    name: str
    digest: str = ""  # SHA-256 over the ids, "" for a subset that the dataset itself defines
    file: Path | None = None  # the committed list; not part of any id, its digest is


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetUse:
    """Which images a task is about."""

    name: str
    subset: Subset
    train: Subset
    calibration: Subset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """From stored pixels to the model's input: (pixel * scale - mean) / std, per channel.

    scale is 1/255 for `range = "unit"` and 1 for `range = "byte"`.
    """

    range: Literal["unit", "byte"] = "unit"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights, found by name below `<data root>/weights` and checked by its digest."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a network is trained; one set of settings for every training in the project."""

    epochs: int
    lr: float
    batch: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["constant", "cosine", "onecycle"] = "cosine"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()  # as augmentations.parse reads them, applied in order
    mix: Literal["none", "mixup", "cutmix"] = "none"
    mix_alpha: float = 1.0  # of the Beta distribution that proportions are drawn from
    precision: Literal["float32", "bfloat16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "channels_last"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """The network, and where its weights come from: a file, or training on the task's own images."""

    name: str
    weights: Weights | None = None
    train: TrainSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueUse:
    """One step of a recipe: a technique's name, its version, and every parameter with its value."""

    name: str
    version: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A recipe without some of its techniques, as an ablation asks for it."""

    name: str
    steps: tuple[TechniqueUse, ...]
    reason: str = ""  # why there can be no such recipe, "" where there can


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The recipes that show what the techniques of one recipe contribute."""

    ladder: tuple[Variant, ...]  # its runtime alone, then with more and more of its techniques; the last is the recipe
    left_out: tuple[Variant, ...] = ()  # the recipe without one technique each, in the order of the techniques

    @property
    def impossible(self) -> tuple[Variant, ...]:
        """Those that can't be made, each once."""
        return tuple({found.name: found for found in (*self.ladder, *self.left_out) if found.reason}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named, ordered list of techniques; the baseline has none."""

    name: str
    steps: tuple[TechniqueUse, ...] = ()
    references: tuple[Recipe, ...] = ()  # what it is timed against besides the baseline; they have none of their own
    ablation: Ablation | None = None  # None where there is nothing to tell apart


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityTarget:
    """What a recipe's quality is judged by."""

    metric: str
    at_least: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """What is timed, and for how long."""

    batches: tuple[int, ...] = (1,)  # latency is read at the smallest, throughput at the largest
    budget: Budget = "standard"
    timeout_s: float = 900.0  # for one run, building included
    scenarios: tuple[Scenario, ...] = ()  # of MLPerf, each in accuracy and in performance mode
    server_latency_s: float | None = None  # that 99 queries in 100 keep in scenario "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """What the hardware is held to while a run is measured."""

    name: str
    title: str
    device: Device = "cpu"
    cores: int | Literal["all"] = 1
    build_cores: int | Literal["all"] = "all"
    deterministic: bool = True
    memory_limit_bytes: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)  # control name -> what it is asked for
    require: tuple[str, ...] = ()  # controls without which the run is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task file, checked."""

    name: str  # path below tasks/ without the suffix, as in "cifar10/resnet20"
    file: Path
    version: int
    title: str
    description: str
    quality: QualityTarget
    seeds: tuple[int, ...]
    profiles: tuple[HardwareProfile, ...]
    dataset: DatasetUse
    model: ModelUse
    teacher: ModelUse | None = None  # what techniques that distill learn from; it takes the same input
    preprocess: Preprocess
    measure: MeasureSpec
    recipes: tuple[Recipe, ...]  # the baseline is the first
