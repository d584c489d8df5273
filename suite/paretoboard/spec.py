"""What is to be measured, as plain values: nothing here reads a file or looks at the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Device = Literal["cpu", "cuda"]
Budget = Literal["none", "smoke", "quick", "standard", "release"]
Scenario = Literal["single-stream", "multi-stream", "offline", "server"]
Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine", "onecycle"]
Precision = Literal["float32", "bfloat16", "float16"]
MemoryFormat = Literal["contiguous", "channels_last"]
Mix = Literal["none", "mixup", "cutmix"]
Curriculum = Literal["none", "easy-first", "hard-first", "random"]
Pacing = Literal["exponential", "single-step"]
Head = Literal["anchor-free", "fastestdet"]
NmsLibrary = Literal["numpy", "torchvision"]
Fairness = Literal["images", "seconds", "energy"]
Interpolation = Literal["bilinear", "bicubic"]
BASELINE: Final = "baseline"
# Metadata of fields that plans of before did not have: at their defaults no id speaks of them, so that those ids stay.
LATER: Final[Mapping[str, Any]] = {"later": True}


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
    path: str | None = field(default=None, metadata=LATER)  # absolute, of a folder of one's own; in no id: digests are
    classes: int | None = field(default=None, metadata=LATER)  # of such a folder: the outputs that a network has


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """From stored pictures to the model's input: resize, crop, then (pixel * scale - mean) / std, per channel.

    scale is 1/255 for `range = "unit"` and 1 for `range = "byte"`. Without `resize` and `crop` images are taken as they
    are stored.
    """

    range: Literal["unit", "byte"] = "unit"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: int | None = field(default=None, metadata=LATER)  # pixels of the short side; of both with `squash`
    interpolation: Interpolation = field(default="bilinear", metadata=LATER)  # of resizing, always antialiased
    crop: int | None = field(default=None, metadata=LATER)  # pixels of the side of a square about the middle
    squash: bool = field(default=False, metadata=LATER)  # resize to a square, whatever the picture's proportions
    letterbox: bool = field(default=False, metadata=LATER)  # the long side becomes `resize`, grey fills the square
    order: Literal["rgb", "bgr"] = field(default="rgb", metadata=LATER)  # of the channels that the model takes

    @property
    def makes_squares(self) -> bool:
        """Whether whole pictures become squares of `resize`, squashed or framed."""
        return self.resize is not None and self.crop is None and (self.squash or self.letterbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionUse:
    """How what a detector gives becomes boxes: the part of the model that comes after its network."""

    head: Head  # what its numbers mean
    score_threshold: float = 0.001  # boxes of lower scores are dropped
    nms_iou: float = 0.45  # of two boxes of a class that overlap by more, the one of the lower score is dropped
    most: int | None = None  # boxes of an image, the best; None for all
    clip: bool = False  # whether boxes are cut off at the edges of their image, as objects are


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights: a file below `<data root>/weights`, or what the network's own library publishes under a name."""

    file: str = ""  # checked by its digest; "" with `enum`
    sha256: str = ""
    enum: str = field(default="", metadata=LATER)  # as in torchvision's ResNet50_Weights.IMAGENET1K_V1
    # Nobody had them when the run was planned: it is about the network with initial weights, and has no quality.
    missing: bool = field(default=False, metadata=LATER)

    @property
    def name(self) -> str:
        """What a person knows them by."""
        return self.enum or self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a network is trained; one set of settings for every training in the project.

    Techniques that train a task's network anew take all of this from the task but for what their step names. So a
    budget that the task declares is what every arm of a comparison gets: `epochs` alone gives them equal images,
    `seconds` equal time, `joules` equal energy; with either of these, `epochs` is the most there may be.
    """

    epochs: int
    lr: float
    batch: int = 128
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "cosine"  # over the epochs, or over the share of the seconds or joules that is used
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()  # as augmentations.parse reads them, applied in order
    precision: Precision = "float32"  # of autocast; weights are float32. float16 with its loss scaled
    memory_format: MemoryFormat = "channels_last"
    alternate_flip: bool = field(default=False, metadata=LATER)  # "flip" in every second epoch, not at random
    mix: Mix = field(default="none", metadata=LATER)  # of two images and their labels into one
    mix_alpha: float = field(default=1.0, metadata=LATER)  # of the beta distribution that shares are drawn from
    l1: float = field(default=0.0, metadata=LATER)  # in the loss, as training.penalties.Penalty says
    l2: float = field(default=0.0, metadata=LATER)
    held_out: float = field(default=0.0, metadata=LATER)  # share of each class's images to judge on, not to train on
    patience: int | None = field(default=None, metadata=LATER)  # epochs without a better judgement; the best is kept
    target: float | None = field(default=None, metadata=LATER)  # held-out share right that time is taken until
    seconds: float | None = field(default=None, metadata=LATER)  # of training; judging is not counted
    joules: float | None = field(default=None, metadata=LATER)  # as the computing device's counters say
    curriculum: Curriculum = field(default="none", metadata=LATER)  # order by a teacher's loss
    pacing: Pacing = field(default="exponential", metadata=LATER)  # of a curriculum, as training.curriculum.Pacing
    pacing_start: float = field(default=0.04, metadata=LATER)
    pacing_increase: float = field(default=1.9, metadata=LATER)
    pacing_lengths: tuple[float, ...] = field(default=(0.03,), metadata=LATER)

    @property
    def fair(self) -> Fairness:
        """What two trainings with the same budget have equal."""
        if self.joules is not None:
            return "energy"
        return "images" if self.seconds is None else "seconds"

    @property
    def unrepeatable(self) -> str:
        """Why two trainings may give other weights; "" where they give the same bits."""
        if self.fair == "images":
            return ""
        unit = "seconds" if self.fair == "seconds" else "joules"
        return f"training ends when its {unit} are used up, after as many steps as the machine does in them"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A network with its weights in a file of one's own: an ONNX graph, or a program that torch.export saved."""

    path: Path  # not part of any id, the digest is
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """The network, and where its weights come from.

    They are a file, or what its library publishes; the task's own images that it is trained on; the `file` that it is
    in with them; or the function of one's own that gives it with them.
    """

    name: str  # in registry.MODELS, `torchvision:NAME`, `timm:NAME`, `module:function`, or that of `file`
    weights: Weights | None = None
    train: TrainSettings | None = None
    file: ModelFile | None = field(default=None, metadata=LATER)
    code: str = field(default="", metadata=LATER)  # SHA-256 of the source file of `module:function`
    folder: Path | None = field(default=None, metadata=LATER)  # with that module, where it lies beside the task file

    @property
    def is_graph(self) -> bool:
        """Whether it begins as an ONNX graph, which no torch technique can work on."""
        return self.file is not None

    @property
    def unscored(self) -> str:
        """Why its quality means nothing; "" where it means something."""
        return "weights missing" if self.weights is not None and self.weights.missing else ""


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
    budget: Budget = "standard"  # "none" times nothing: quality and the cost of building alone
    timeout_s: float = 900.0  # for one run, building included
    scenarios: tuple[Scenario, ...] = ()  # of MLPerf, each in accuracy and in performance mode
    server_latency_s: float | None = None  # that 99 queries in 100 keep in scenario "server"
    explain: int = field(default=0, metadata=LATER)  # images whose explanations are compared with the baseline's
    corruptions: tuple[str, ...] = field(default=(), metadata=LATER)  # that images are scored under, too

    @property
    def timed(self) -> bool:
        """Whether the model is run for its speed, memory and energy, or for its quality alone."""
        return self.budget != "none"


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
    detection: DetectionUse | None = None  # of a task that finds objects, None for one that names whole images
    measure: MeasureSpec
    recipes: tuple[Recipe, ...]  # the baseline is the first
