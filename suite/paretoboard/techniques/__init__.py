"""Techniques: one optimization each, with its parameters.

A technique is a frozen dataclass whose fields are its parameters, with their ranges as `annotated_types` in the
annotations, so that a task file can be checked without importing torch. Modules here import torch and its
companions only inside functions, for the same reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from paretoboard.artifact import Candidate, Form
from paretoboard.datasets import Images
from paretoboard.durable import CHECKPOINT_EVERY_S
from paretoboard.errors import DataError
from paretoboard.records import MetricValue, SearchTrial
from paretoboard.spec import DetectionUse, Preprocess, TrainSettings, Weights

if TYPE_CHECKING:
    # no one resolves Workbench's and Applied's annotations, and torch is slow to import
    from torch import Tensor, nn  # noqa: TC004

    from paretoboard.training import Loss, TrainResult  # noqa: TC004

Need = Literal["train", "calibration", "teacher"]


def _no_weights(weights: Weights) -> Mapping[str, Tensor]:
    raise DataError(f"weights '{weights.file}': there is no data root to read them from")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What a technique may use while it is applied."""

    seed: int  # for every random choice of this step
    preprocess: Preprocess
    train_images: Callable[[], Images]  # the task's training images, read on the first call
    calibration_images: Callable[[], Images]
    teacher: Callable[[], nn.Module]  # the task's teacher in evaluation mode, read on the first call; not to be changed
    train_settings: TrainSettings | None  # what the task's own model was trained with, if it was
    train_seed: int  # what the task's own model was initialized and trained with
    scratch: Path  # an empty folder that survives a kill and is handed to the same step again
    progress: Callable[[float, str], None]  # (share done, what is going on)
    checkpoint_every_s: float = CHECKPOINT_EVERY_S  # of training
    weights: Callable[[Weights], Mapping[str, Tensor]] = _no_weights  # a file's tensors, its digest checked
    # What training makes small where it is not the cross-entropy of labels, made on the first call.
    loss: Callable[[], Loss | None] = lambda: None
    detection: DetectionUse | None = None  # of a task that finds objects
    joules: Callable[[], float | None] = lambda: None  # of the device since the step began; None: nothing counts them


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying a technique gave, and what it took."""

    candidate: Candidate
    images_seen: int = 0
    notes: tuple[str, ...] = ()  # what was reached, in plain words: "31.2 % of the parameters removed"
    training: TrainResult | None = None  # of a technique that trains
    anew: bool = False  # whether nothing that was built before went into it, so that its cost doesn't count
    trials: tuple[SearchTrial, ...] = ()  # of a search for settings
    metrics: tuple[MetricValue, ...] = ()  # of building, that no one else can measure


class Technique(ABC):
    """One optimization; subclasses are frozen, slotted, keyword-only dataclasses.

    Parameters that don't go together raise an InputError when the technique is made.
    """

    source: ClassVar[str]  # paper and section, or the library's documented procedure
    version: ClassVar[int] = 1  # raise it when the same parameters come to mean something else
    takes: ClassVar[
        tuple[Form, ...]
    ]  # forms it can be applied to; a "torch" model is exported where only "onnx" is taken
    gives: ClassVar[Form | None] = None  # the form it leaves, None for the one it got
    needs: ClassVar[tuple[Need, ...]] = ()  # whatever its parameters are
    runtime: ClassVar[str | None] = None  # the runtime it chooses, for techniques that choose one
    as_the_task: ClassVar[bool] = False  # whether it trains for as long as the task's own model was trained
    # Whether it can train a network that finds objects: it makes small what the bench says, and asks for no labels.
    detects: ClassVar[bool] = False

    def needs_now(self) -> tuple[Need, ...]:
        """What it needs with the parameters it has."""
        return self.needs

    def unrepeatable(self) -> str:
        """Why two builds with the parameters it has may give other bytes; "" where they give the same."""
        return ""

    @abstractmethod
    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Apply to `candidate`, which is not changed.

        Raises:
            NotApplicableError: for a model or a machine it can't be applied to, with the reason.
            DivergedError: when training gave a loss that is not a number.
        """
