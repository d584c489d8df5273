"""Another network for the same task, so that architectures stand in one table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from paretoboard.errors import NotApplicableError, UnknownNameError
from paretoboard.registry import MODELS
from paretoboard.spec import TrainSettings
from paretoboard.techniques import Applied, Need, Technique
from paretoboard.techniques.train import trained

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement(Technique):
    """Put another network in the place of the task's, and train it anew as that one was.

    Seed, images and their order are the task's own, and so is each of its settings that is not given here. Networks
    differ in what suits them: what was set for one of them is in its recipe.
    """

    source = "Dodge et al. 2019, arXiv:1909.03004, on comparing networks at equal budgets; each network names its own"
    takes = ("torch",)
    needs: ClassVar[tuple[Need, ...]] = ("train",)

    model: Annotated[str, MinLen(1)]  # a name of `paretoboard list models`, or `module:function`
    epochs: Annotated[int, Ge(1)] | None = None  # this and all that follow: None is as the task's own was trained
    lr: Annotated[float, Gt(0)] | None = None
    batch: Annotated[int, Ge(1)] | None = None
    optimizer: Literal["sgd", "adamw"] | None = None
    schedule: Literal["constant", "cosine", "onecycle"] | None = None
    momentum: Annotated[float, Ge(0), Lt(1)] | None = None
    weight_decay: Annotated[float, Ge(0)] | None = None
    label_smoothing: Annotated[float, Ge(0), Lt(1)] | None = None
    augment: tuple[str, ...] | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    memory_format: Literal["contiguous", "channels_last"] | None = None

    def __post_init__(self) -> None:
        if ":" not in self.model and self.model not in MODELS:
            raise UnknownNameError("model", self.model, MODELS)

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train; an interrupted training is taken up at its last checkpoint.

        Raises:
            NotApplicableError: where the task's own model was read from a file and `epochs` and `lr` are not given, and
                for a network that takes no such images.
            DivergedError: for a loss that is not finite.
        """
        import torch

        from paretoboard.models import build
        from paretoboard.training import train

        settings = self._settings(bench.train_settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(bench.train_seed)
            module = build(self.model, candidate.classes)
        try:
            with torch.inference_mode():
                module(torch.zeros((1, *candidate.input_shape)))
        except RuntimeError as error:
            shape = "x".join(map(str, candidate.input_shape))
            raise NotApplicableError(f"{self.model} takes no images of {shape}: {error}") from error
        result = train(
            module,
            bench.train_images(),
            settings,
            preprocess=bench.preprocess,
            seed=bench.train_seed,
            checkpoint=bench.scratch / "replacement.pt",
            checkpoint_every_s=bench.checkpoint_every_s,
            progress=bench.progress,
        )
        fresh = dataclasses.replace(candidate, architecture=self.model)
        return trained(fresh, module, result)

    def _settings(self, first: TrainSettings | None) -> TrainSettings:
        given = {
            field.name: value
            for field in dataclasses.fields(TrainSettings)
            if (value := getattr(self, field.name, None)) is not None
        }
        if first is not None:
            return dataclasses.replace(first, **given)
        if self.epochs is None or self.lr is None:
            raise NotApplicableError(
                "architecture.replace trains as the task trained its own model, and that one was read from a file: "
                "name 'train' instead of 'weights' under [model], or give 'epochs' and 'lr' here"
            )
        return TrainSettings(**given)
