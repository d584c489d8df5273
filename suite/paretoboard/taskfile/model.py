"""What a task file may say: shapes, types and ranges. Names and what steps make of each other are checked elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from paretoboard import augmentations, corruptions
from paretoboard.errors import InputError
from paretoboard.registry import MODEL_LIBRARIES, is_own
from paretoboard.spec import (  # noqa: TC001  (pydantic reads the annotations)
    Budget,
    Head,
    Interpolation,
    MemoryFormat,
    Mix,
    Optimizer,
    Precision,
    Scenario,
    Schedule,
)
from paretoboard.tomlfile.checking import Table

SUBSET_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
RECIPE_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,99}$"
# Networks of one's own: a file, and `module:function` that is no library's name.
FILE_PATTERN: Final = r"\.(onnx|pt2)$"
OWN_PATTERN: Final = rf"^(?!({'|'.join(MODEL_LIBRARIES)}):)[^:]+:[^:]+$"


def _without(*names: str) -> dict[str, Any]:
    """JSON Schema for a table that has none of these keys."""
    return {"not": {"anyOf": [{"required": [name]} for name in names]}}


def _distinct(values: list[Any]) -> list[Any]:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value!r} is given twice")
        seen.add(value)
    return values


def _ascending(values: list[int]) -> list[int]:
    right = sorted(set(values))
    if values != right:
        raise ValueError(f"must ascend without repeats: {right} would be right")
    return values


def _augmentation(text: str) -> str:
    try:
        augmentations.parse(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


def _corruption(text: str) -> str:
    try:
        corruptions.parse(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


# An augmentation's name, and behind colons how strong it is to be.
AugmentationText = Annotated[str, AfterValidator(_augmentation), WithJsonSchema(augmentations.SCHEMA)]
# A kind of corruption and, behind a colon, how severe it is to be.
CorruptionText = Annotated[str, AfterValidator(_corruption), WithJsonSchema(corruptions.SCHEMA)]
_Text = Annotated[str, MinLen(1)]
_SubsetName = Annotated[str, Field(pattern=SUBSET_PATTERN)]
_Share = Annotated[float, Ge(0), Le(1)]
_Positive = Annotated[float, Gt(0)]
_Side = Annotated[int, Gt(0), Le(4096)]  # 200 MB as a model's input
_Unique = Field(json_schema_extra={"uniqueItems": True})
# Seeds of numpy's legacy generators, which some libraries still draw from, end at 2**32.
_Seeds = Annotated[list[Annotated[int, Ge(0), Lt(2**32)]], MinLen(1), AfterValidator(_distinct), _Unique]
_Batches = Annotated[list[Annotated[int, Gt(0), Le(2**16)]], MinLen(1), AfterValidator(_ascending), _Unique]
_Names = Annotated[list[_Text], MinLen(1), AfterValidator(_distinct), _Unique]


class QualityTable(Table):
    """What a recipe's quality is judged by."""

    metric: Annotated[str, Field(description="a metric of kind 'quality'")]
    at_least: _Share | None = Field(default=None, description="below this a recipe misses the task's target")


class DatasetTable(Table):
    """Which images the task is about. A subset is a split's name, or `<name>.txt` beside the task file."""

    name: _Text
    subset: Annotated[_SubsetName, Field(description="images that quality is read on")]
    train: Annotated[_SubsetName, Field(description="images that recipes may train on")] = "train"
    calibration: _SubsetName | None = Field(default=None, description="images that activation ranges are found on")
    path: _Text | None = Field(
        default=None, description="of 'folder': where it lies, relative to this file; a folder of images for each class"
    )


class PreprocessTable(Table):
    """From stored pictures to the model's input: resize, crop, then (pixel * scale - mean) / std, per channel."""

    range: Annotated[
        Literal["unit", "byte"], Field(description="scale of pixels before mean and std: 0 to 1, or 0 to 255")
    ] = "unit"
    mean: Annotated[list[float], MinLen(1)] = Field(default=[0.0])
    std: Annotated[list[_Positive], MinLen(1)] = Field(default=[1.0])
    resize: _Side | None = Field(default=None, description="pixels of the short side; of both sides with 'squash'")
    interpolation: Annotated[Interpolation, Field(description="of resizing, always antialiased")] = "bilinear"
    crop: _Side | None = Field(default=None, description="pixels of the side of a square about the middle")
    squash: Annotated[bool, Field(description="resize to a square, whatever the picture's proportions")] = False
    letterbox: Annotated[bool, Field(description="resize the long side, and fill the square with grey")] = False
    order: Annotated[Literal["rgb", "bgr"], Field(description="of the channels that the model takes")] = "rgb"

    @model_validator(mode="after")
    def _what_resizes_has_a_size(self) -> PreprocessTable:
        given = [name for name in ("squash", "letterbox", "interpolation") if name in self.model_fields_set]
        if given and self.resize is None:
            raise ValueError(f"'{given[0]}' is of resizing: give 'resize', such as 256")
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise ValueError(f"'crop' is {self.crop} and 'resize' {self.resize}: at most as large would be right")
        other = "squash" if self.squash else "crop" if self.crop is not None else ""
        if self.letterbox and other:
            raise ValueError(f"found 'letterbox' and '{other}'; one of them is right")
        return self


class DetectionTable(Table):
    """How what a detector gives becomes boxes, for datasets with boxes around objects."""

    head: Annotated[Head, Field(description="what the network's numbers mean")]
    score_threshold: Annotated[float, Ge(0), Lt(1), Field(description="boxes of lower scores are dropped")] = 0.001
    nms_iou: Annotated[
        float, Ge(0), Le(1), Field(description="overlap from which on the worse of two boxes of a class is dropped")
    ] = 0.45
    most: Annotated[int, Ge(1), Field(description="boxes of an image, the best")] | None = None
    clip: Annotated[bool, Field(description="cut boxes off at the edges of their image")] = False


class WeightsTable(Table):
    """A file below `<data root>/weights`, or what the network's own library publishes under a name."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["file", "sha256"], **_without("enum")},
                {"required": ["enum"], **_without("file", "sha256")},
            ]
        },
    )

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    enum: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,100}$")] | None = Field(
        default=None,
        description="as torchvision names them, IMAGENET1K_V1 for one; `paretoboard data fetch` brings them",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> WeightsTable:
        of_file = self.file is not None and self.sha256 is not None
        if of_file == (self.enum is not None) or (self.file is None) != (self.sha256 is None):
            found = " and ".join(f"'{name}'" for name in ("file", "sha256", "enum") if getattr(self, name)) or "none"
            raise ValueError(f"needs either 'file' and 'sha256' or 'enum', found {found}")
        return self


class TrainTable(Table):
    """How the task's own model is trained, and what every arm that is trained anew takes from it.

    The budget is shared: `epochs` alone gives all arms equal images, `seconds` equal time, `joules` equal energy.
    """

    epochs: Annotated[int, Gt(0), Field(description="with 'seconds' or 'joules' the most there may be")]
    lr: _Positive
    batch: Annotated[int, Gt(0)] = 128
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "cosine"
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 5e-4
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    augment: list[AugmentationText] = Field(default=[])
    precision: Precision = "float32"
    memory_format: MemoryFormat = "channels_last"
    alternate_flip: bool = Field(
        default=False, description="'flip' mirrors an image in every second epoch, not at random"
    )
    mix: Mix = Field(default="none", description="two images and their labels into one")
    mix_alpha: _Positive = 1.0
    l1: Annotated[float, Ge(0)] = 0.0
    l2: Annotated[float, Ge(0)] = 0.0
    held_out: Annotated[float, Ge(0), Le(0.5), Field(description="share of the training images to judge on")] = 0.0
    patience: Annotated[int, Ge(1)] | None = Field(
        default=None, description="epochs without a better result on 'held_out' that end training; the best is kept"
    )
    target: Annotated[float, Gt(0), Le(1)] | None = Field(
        default=None, description="share of 'held_out' that is to be right: read is when it first is"
    )
    seconds: _Positive | None = Field(default=None, description="of training: every arm gets equal time")
    joules: _Positive | None = Field(default=None, description="of the device: every arm gets equal energy")

    @model_validator(mode="after")
    def _what_is_judged_is_held_out(self) -> TrainTable:
        judging = [name for name in ("patience", "target") if getattr(self, name) is not None]
        if judging and not self.held_out:
            raise ValueError(f"'{judging[0]}' needs images to judge on: give 'held_out', 0.1 for every tenth")
        return self

    @model_validator(mode="after")
    def _what_alternates_is_there(self) -> TrainTable:
        if self.alternate_flip and "flip" not in self.augment:
            raise ValueError("'alternate_flip' needs 'flip' in 'augment', which it then does in every second epoch")
        return self

    @model_validator(mode="after")
    def _one_budget(self) -> TrainTable:
        if self.seconds is not None and self.joules is not None:
            raise ValueError("found both 'seconds' and 'joules'; all arms get one budget, so one of them is right")
        return self


class ModelTable(Table):
    """The network: by name with exactly one of `weights` and `train`, or a `file` with all that belongs to it.

    `module:function`, a network of one's own, may have neither: then it has its weights already.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["name", "weights"], **_without("train", "file")},
                {"required": ["name", "train"], **_without("weights", "file")},
                {"required": ["file"], **_without("name", "weights", "train")},
                {
                    "required": ["name"],
                    "properties": {"name": {"pattern": OWN_PATTERN}},
                    **_without("weights", "train", "file"),
                },
            ]
        },
    )

    name: _Text | None = None
    file: Annotated[str, Field(pattern=FILE_PATTERN)] | None = Field(
        default=None, description="an ONNX graph (.onnx) or a saved torch.export program (.pt2), relative to this file"
    )
    weights: WeightsTable | None = None
    train: TrainTable | None = None

    @model_validator(mode="after")
    def _one_network(self) -> ModelTable:
        if (self.name is None) == (self.file is None):
            found = "neither" if self.name is None else "both"
            raise ValueError(f"needs exactly one of 'name' and 'file', found {found}")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> ModelTable:
        sources = [name for name in ("weights", "train") if getattr(self, name) is not None]
        if self.file is not None and sources:
            raise ValueError(f"a file holds its weights: '{sources[0]}' must not stand beside 'file'")
        complete = self.file is not None or is_own(self.name or "")
        if len(sources) > 1 or not (sources or complete):
            found = "both" if sources else "neither"
            raise ValueError(f"needs exactly one of 'weights' and 'train', found {found}")
        return self


class MeasureTable(Table):
    """What is timed, and for how long."""

    batches: _Batches = Field(default=[1], description="latency is read at the smallest, throughput at the largest")
    budget: Annotated[
        Budget, Field(description="'none' times nothing: for recipes that give the same network, trained otherwise")
    ] = "standard"
    timeout_s: Annotated[_Positive, Field(description="for one run, building included")] = 900.0
    scenarios: Annotated[list[Scenario], AfterValidator(_distinct), _Unique] = Field(
        default=[], description="of MLPerf, run by its LoadGen; needs the extra 'scenarios'"
    )
    server_latency_s: _Positive | None = Field(
        default=None, description="latency that 99 queries in 100 must keep in scenario 'server'"
    )
    explain: Annotated[int, Ge(0), Le(1000)] = Field(
        default=0,
        description="images whose explanations (Grad-CAM) are compared with the baseline's; needs the extra 'explain'",
    )
    corruptions: Annotated[list[CorruptionText], AfterValidator(_distinct), _Unique] = Field(
        default=[], description="that the subset is scored under, too: a kind and a severity of 1 to 5, as 'noise:3'"
    )

    @model_validator(mode="after")
    def _scenarios_are_timed(self) -> MeasureTable:
        if self.scenarios and self.budget == "none":
            raise ValueError("found 'scenarios' with budget 'none', which times nothing: any other budget is right")
        return self

    @model_validator(mode="after")
    def _server_has_its_latency(self) -> MeasureTable:
        if ("server" in self.scenarios) != (self.server_latency_s is not None):
            raise ValueError("scenario 'server' and 'server_latency_s' need each other, found only one of them")
        return self


class StepTable(Table):
    """One technique; its parameters are the other keys."""

    model_config = ConfigDict(extra="allow")

    technique: _Text


class RecipeTable(Table):
    """A named, ordered list of techniques."""

    steps: Annotated[list[StepTable], MinLen(1)]
    ablate: bool = Field(
        default=False, description="also measure it with its techniques added one by one, and with each left out"
    )


class TaskFile(Table):
    """A task: dataset subset, model, baseline, recipes, metric, profiles and seeds."""

    extends: str | None = Field(
        default=None, description="another task file, of which this one names only what differs"
    )
    version: Annotated[int, Gt(0), Field(description="raise it when the task changes meaning")]
    title: _Text
    description: str = ""
    quality: QualityTable
    seeds: _Seeds = Field(default=[0])
    profiles: _Names
    dataset: DatasetTable
    model: ModelTable
    teacher: ModelTable | None = Field(default=None, description="what techniques that distill learn from")
    preprocess: PreprocessTable = PreprocessTable()
    detection: DetectionTable | None = None
    measure: MeasureTable = MeasureTable()
    recipes: dict[str, RecipeTable] = Field(default={})
