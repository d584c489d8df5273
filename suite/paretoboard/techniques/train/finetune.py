"""Training a model further."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

from paretoboard.spec import MemoryFormat, Optimizer, Precision, Schedule, TrainSettings
from paretoboard.taskfile.model import AugmentationText
from paretoboard.techniques import Applied, Need, Technique
from paretoboard.techniques.forms import own_float32_module

if TYPE_CHECKING:
    from torch import nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench
    from paretoboard.training import TrainResult


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTechnique(Technique):
    """One that trains: its parameters are TrainSettings', but for how long."""

    takes = ("torch",)
    needs: ClassVar[tuple[Need, ...]] = ("train",)

    lr: Annotated[float, Gt(0)] = 0.01
    batch: Annotated[int, Ge(1)] = 128
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "cosine"
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 5e-4
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    augment: tuple[AugmentationText, ...] | None = None  # None: as the model was first trained; nothing if not known
    precision: Precision = "float32"
    memory_format: MemoryFormat = "channels_last"  # as fast or faster in either precision

    def settings(self, epochs: int, first: TrainSettings | None) -> TrainSettings:
        """How to train for `epochs`; augmented as `first` says where no augmentation was asked for."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainingTechnique)}
        if self.augment is None:
            own["augment"] = first.augment if first else ()
        return TrainSettings(epochs=epochs, **own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetune(TrainingTechnique):
    """Train on the task's training images; weights that pruning set to zero stay zero."""

    source = "Han et al. 2015, arXiv:1506.02626, section 3.3: retraining what pruning left"
    detects = True

    epochs: Annotated[int, Ge(1)]

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train; an interrupted training is taken up at its last checkpoint.

        Raises:
            NotApplicableError: for an ONNX graph, and for weights of fewer than 32 bits.
            DivergedError: for a loss that is not finite.
            UnknownNameError: for an augmentation that training.AUGMENTATIONS does not know.
        """
        from paretoboard.training import train

        module = own_float32_module(candidate, "train.finetune").requires_grad_(True)
        result = train(
            module,
            bench.train_images(),
            self.settings(self.epochs, bench.train_settings),
            preprocess=bench.preprocess,
            seed=bench.seed,
            checkpoint=bench.scratch / "finetune.pt",
            checkpoint_every_s=bench.checkpoint_every_s,
            loss=bench.loss(),
            keep_zeros=True,
            progress=bench.progress,
        )
        return trained(candidate, module, result)


def trained(candidate: Candidate, module: nn.Module, result: TrainResult) -> Applied:
    """`candidate` with the module that training left, and how the loss went."""
    notes = [f"training loss {result.losses[0]:.3f} in the first epoch, {result.losses[-1]:.3f} in the last"]
    if result.stopped_at is not None:
        notes.append(
            f"stopped early after epoch {result.stopped_at}; the weights are those of epoch {result.best_epoch}"
        )
    return Applied(
        candidate=dataclasses.replace(candidate, module=module),
        images_seen=result.images_seen,
        notes=tuple(notes),
        training=result,
    )
