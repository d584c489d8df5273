"""What techniques share that train a task's network anew: the same start, the same settings but for what they name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Le, Lt

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.spec import (
    Curriculum,
    MemoryFormat,
    Mix,
    Optimizer,
    Pacing,
    Precision,
    Schedule,
    TrainSettings,
)
from paretoboard.taskfile.model import AugmentationText
from paretoboard.techniques import Need, Technique
from paretoboard.techniques.train.finetune import trained

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Applied, Workbench
    from paretoboard.training import TrainResult

_Positive = Annotated[float, Gt(0)]
_NotNegative = Annotated[float, Ge(0)]
# Seen images differ by a batch or so where a step's own batch doesn't divide them as the task's does.
_EQUAL: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedAnew(Technique):
    """One that trains the task's network from its beginning: settings that it doesn't name are the task's.

    The same seed gives the same initial weights, the same order of images, the same augmentation and the same images
    held out, so that what a step names is all that differs from the task's own training. The budget is the task's,
    too: where a step names `epochs`, `seconds` or `joules` of its own, a note says that the two are not equal.
    """

    takes = ("torch",)
    needs: ClassVar[tuple[Need, ...]] = ("train",)

    epochs: Annotated[int, Ge(1)] | None = None
    lr: _Positive | None = None
    batch: Annotated[int, Ge(1)] | None = None
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    momentum: Annotated[float, Ge(0), Lt(1)] | None = None
    weight_decay: _NotNegative | None = None
    label_smoothing: Annotated[float, Ge(0), Lt(1)] | None = None
    augment: tuple[AugmentationText, ...] | None = None
    precision: Precision | None = None
    memory_format: MemoryFormat | None = None
    alternate_flip: bool | None = None
    mix: Mix | None = None
    mix_alpha: _Positive | None = None
    l1: _NotNegative | None = None
    l2: _NotNegative | None = None
    held_out: Annotated[float, Ge(0), Le(0.5)] | None = None
    patience: Annotated[int, Ge(1)] | None = None
    target: Annotated[float, Gt(0), Le(1)] | None = None
    seconds: _Positive | None = None
    joules: _Positive | None = None
    curriculum: Curriculum | None = None
    pacing: Pacing | None = None
    pacing_start: Annotated[float, Gt(0), Le(1)] | None = None
    pacing_increase: Annotated[float, Gt(1)] | None = None
    pacing_lengths: tuple[Annotated[float, Gt(0), Le(1)], ...] | None = None
    difficulty: Literal["model", "teacher"] = "model"  # whose losses say how hard images are: the model's as it comes

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises: InputError for parameters that don't go together, whatever the task says."""
        paced = (self.pacing, self.pacing_start, self.pacing_increase, self.pacing_lengths)
        if self.curriculum in (None, "none") and any(value is not None for value in paced):
            raise InputError("a pace is that of a curriculum: name 'easy-first', 'hard-first' or 'random'")
        if self.difficulty == "teacher" and not self._ranks:
            raise InputError("a teacher ranks images for a curriculum: name 'easy-first' or 'hard-first'")
        if self.seconds is not None and self.joules is not None:
            raise InputError("found both 'seconds' and 'joules'; a training has one budget")

    def needs_now(self) -> tuple[Need, ...]:
        """Training images, and a teacher where images are ranked by how hard one finds them."""
        return ("train", "teacher") if self.difficulty == "teacher" else ("train",)

    def unrepeatable(self) -> str:
        """Because of a budget of its own; the task's is the task's to say."""
        return TrainSettings(epochs=1, lr=1.0, seconds=self.seconds, joules=self.joules).unrepeatable

    def settings(self, first: TrainSettings | None, technique: str) -> TrainSettings:
        """`first`, which the task's own model was trained with, but for what is named here.

        Raises: NotApplicableError where the task's own model was not trained.
        """
        if first is None:
            raise NotApplicableError(
                f"{technique} trains as the task trained its own model, and that one was read from a file: name "
                "'train' instead of 'weights' under [model]"
            )
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainSettings)}
        named = {name: value for name, value in own.items() if value is not None}
        if {"seconds", "joules"} & named.keys():  # a budget of its own takes the place of the task's
            first = dataclasses.replace(first, seconds=None, joules=None)
        return dataclasses.replace(first, **named)

    def train_anew(
        self, network: nn.Module, candidate: Candidate, bench: Workbench, technique: str, *, anew: bool
    ) -> Applied:
        """Train `network`; an interrupted training is taken up at its last checkpoint.

        Args:
            anew: whether nothing that was built before is part of `network`.
        Raises:
            NotApplicableError: for settings that don't go together, or not with the task's.
            DivergedError: for a loss that is not finite.
        """
        from paretoboard.training import train

        settings = self.settings(bench.train_settings, technique)
        images, difficulty = bench.train_images(), self._image_losses(candidate, bench)
        try:
            result = train(
                network,
                images,
                settings,
                preprocess=bench.preprocess,
                seed=bench.train_seed,
                checkpoint=bench.scratch / f"{technique.rpartition('.')[2]}.pt",
                checkpoint_every_s=bench.checkpoint_every_s,
                loss=bench.loss(),
                difficulty=difficulty,
                progress=bench.progress,
                joules=bench.joules,
            )
        except InputError as error:
            raise NotApplicableError(f"{technique}: {error}") from error
        applied = trained(candidate, network, result)
        ranker = {"model": "the model that it replaces", "teacher": "the task's teacher"}[self.difficulty]
        ranked = (
            (f"images ranked by their loss in {ranker}, whose training is not counted here",) if self._ranks else ()
        )
        notes = (*applied.notes, *ranked, *self._unequal(result, settings, bench))
        return dataclasses.replace(applied, anew=anew, notes=notes)

    @property
    def _ranks(self) -> bool:
        return self.curriculum in ("easy-first", "hard-first")

    def _image_losses(self, candidate: Candidate, bench: Workbench) -> Tensor | None:
        """The loss of each training image, where a curriculum asks for it.

        Like a teacher's, the training of the model that ranks them is not charged to this one.
        """
        if not self._ranks:
            return None
        from paretoboard.training.curriculum import image_losses

        ranking = bench.teacher() if self.difficulty == "teacher" else candidate.module
        assert ranking is not None
        return image_losses(ranking, bench.train_images(), bench.preprocess, progress=bench.progress)

    def _unequal(self, result: TrainResult, settings: TrainSettings, bench: Workbench) -> tuple[str, ...]:
        """What is not equal between this training and the task's own, in plain words."""
        from paretoboard.training.feed import Feed

        first = bench.train_settings
        assert first is not None
        if (settings.fair, settings.seconds, settings.joules) != (first.fair, first.seconds, first.joules):
            return (f"not the task's budget: {_budget(settings)} here, {_budget(first)} there",)
        if settings.fair != "images":
            return ()
        feed = Feed(bench.train_images(), first, bench.preprocess, seed=bench.train_seed)
        there = feed.steps * feed.batch * first.epochs
        if abs(result.images_seen - there) <= _EQUAL * there:
            return ()
        early = " if it is not stopped early" if first.patience is not None else ""
        return (f"{result.images_seen:,} images seen, the task's own training sees {there:,}{early}",)


def initial(module: nn.Module, candidate: Candidate, seed: int) -> tuple[nn.Module, bool]:
    """A network of `module`'s structure with the initial weights that `seed` gives.

    Returns: the network, and whether its structure is the architecture's own.
    """
    import torch

    from paretoboard.models import build
    from paretoboard.models.structure import describe, rebuild

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = build(candidate.architecture, candidate.classes)
        structure = describe(module, base)
        return rebuild(base, structure), not structure


def _budget(settings: TrainSettings) -> str:
    if settings.joules is not None:
        return f"{settings.joules:g} J"
    return f"{settings.seconds:g} s" if settings.seconds is not None else f"{settings.epochs} epochs"
