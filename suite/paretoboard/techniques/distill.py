"""Training with a teacher: a network that knows more than the labels say."""

from __future__ import annotations

import contextlib
import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le

from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.train.anew import initial
from paretoboard.techniques.train.finetune import TrainingTechnique, trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from paretoboard.artifact import Candidate
    from paretoboard.spec import TrainSettings
    from paretoboard.techniques import Applied, Workbench
    from paretoboard.training import Batch, Loss
    from paretoboard.training.distillation import Lesson, Teaching


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation(TrainingTechnique):
    """Train on the training images and on what the task's teacher says of them.

    Either the model is trained further as it comes, for `epochs`, and weights that pruning set to zero stay zero; or
    it begins `from_scratch`: initialized, ordered and trained as the task's own model was, by the seed and the settings
    of that, so that the teacher is all that differs.
    """

    needs = ("train", "teacher")

    epochs: Annotated[int, Ge(1)] | None = None
    from_scratch: bool = False

    def __post_init__(self) -> None:
        if (self.epochs is None) != self.from_scratch:
            found = "both" if self.from_scratch else "neither"
            raise InputError(
                "needs either 'epochs', to train the model as it comes, or 'from_scratch = true', to train it as the "
                f"task's own was; found {found}"
            )

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train; an interrupted training is taken up at its last checkpoint.

        The teacher computes in the precision of the training, in float32 where that is float16. Where augmentation
        makes no more variants of an image than there are epochs (one without any, two with "flip"), it is asked once
        about each, before; else as often as the student sees one. Attention maps are kept like logits, the features
        they are made of are not.

        Raises:
            NotApplicableError: for an ONNX graph, for weights of fewer than 32 bits, for a teacher of other classes,
                and from scratch for a model that the task did not train.
            DivergedError: for a loss that is not finite.
        """
        from paretoboard.training import train

        student = own_float32_module(candidate, "distilling")
        settings = self._settings_now(bench.train_settings)
        if self.from_scratch:
            student, _ = initial(student, candidate, bench.train_seed)
        with self.taught(student, candidate, settings, bench) as lesson:
            result = train(
                student.requires_grad_(True),
                bench.train_images(),
                settings,
                preprocess=bench.preprocess,
                seed=bench.train_seed if self.from_scratch else bench.seed,
                checkpoint=bench.scratch / "distill.pt",
                checkpoint_every_s=bench.checkpoint_every_s,
                loss=lesson,
                keep_zeros=not self.from_scratch,
                progress=bench.progress,
                joules=bench.joules,
            )
        return trained(candidate, student, result)

    @contextlib.contextmanager
    def taught(
        self, student: nn.Module, candidate: Candidate, settings: TrainSettings, bench: Workbench
    ) -> Iterator[Lesson]:
        """The loss to train `student`, a form of `candidate`, with: the task's teacher is asked, or was.

        Raises: NotApplicableError for a teacher of other classes.
        """
        from paretoboard.training import weights_digest
        from paretoboard.training.distillation import asked_once, in_bfloat16
        from paretoboard.training.feed import MEMORY_FORMATS, Feed

        teacher = copy.deepcopy(bench.teacher()).to(memory_format=MEMORY_FORMATS[settings.memory_format])
        _check_classes(teacher, candidate)
        with self.lesson(student, teacher, settings.label_smoothing) as lesson:
            if settings.precision == "bfloat16":
                lesson.teaching = in_bfloat16(lesson.teaching)
            lesson.teaching = asked_once(
                lesson.teaching,
                Feed(bench.train_images(), settings, bench.preprocess),
                epochs=settings.epochs,
                folder=bench.scratch,
                asks=f"{type(self).__name__} {weights_digest(teacher)} {settings.precision}",
                progress=bench.progress,
            )
            yield lesson

    @abstractmethod
    def lesson(
        self, student: nn.Module, teacher: nn.Module, label_smoothing: float
    ) -> contextlib.AbstractContextManager[Lesson]:
        """The loss to train `student` with; what was hooked into the networks is gone afterwards."""

    def identity(self, teacher: nn.Module, label_smoothing: float) -> str:
        """All that decides the values of the lesson's loss."""
        from paretoboard.training import weights_digest

        return f"{self!r} {label_smoothing} {weights_digest(teacher)}"

    def _settings_now(self, first: TrainSettings | None) -> TrainSettings:
        if not self.from_scratch:
            assert self.epochs is not None
            return self.settings(self.epochs, first)
        if first is None:
            raise NotApplicableError(
                "from_scratch trains as the task trained its own model, and that one was read from a file: name "
                "'train' instead of 'weights' under [model], or give 'epochs' instead"
            )
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitsDistillation(Distillation):
    """Learn the teacher's softened classes beside the labels."""

    source = "Hinton et al. 2015, arXiv:1503.02531, section 2"

    temperature: Annotated[float, Gt(0)] = 4.0
    alpha: Annotated[float, Ge(0), Le(1)] = 0.9  # share of the teacher in the loss; the labels have the rest

    @contextlib.contextmanager
    def lesson(self, student: nn.Module, teacher: nn.Module, label_smoothing: float) -> Iterator[Lesson]:  # noqa: ARG002
        """alpha T^2 KL(teacher || student) + (1 - alpha) cross-entropy."""
        from paretoboard.training import CrossEntropy
        from paretoboard.training.distillation import Lesson, logits_of, soft_targets

        labelled: Loss = CrossEntropy(label_smoothing=label_smoothing)

        def compare(logits: Tensor, batch: Batch, said: tuple[Tensor, ...]) -> Tensor:
            soft = soft_targets(logits, said[0], self.temperature)
            return self.alpha * soft + (1 - self.alpha) * labelled(logits, batch)

        identity = self.identity(teacher, label_smoothing)
        yield Lesson(teaching=logits_of(teacher), compare=compare, identity=identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoupledDistillation(Distillation):
    """Learn how sure the teacher is of the right class, and how the wrong ones compare, each with a weight of its own.

    The paper raises the weight over the first 20 of 240 epochs; here it is there from the first. Mixed images, which
    have two right classes, are refused.
    """

    source = "Zhao et al. 2022, DKD, arXiv:2203.08679, equation 7; weights of section 4.1"

    temperature: Annotated[float, Gt(0)] = 4.0
    alpha: Annotated[float, Ge(0)] = 1.0  # of the right class against all others
    beta: Annotated[float, Ge(0)] = 8.0  # of the wrong classes among themselves

    @contextlib.contextmanager
    def lesson(self, student: nn.Module, teacher: nn.Module, label_smoothing: float) -> Iterator[Lesson]:  # noqa: ARG002
        """T^2 (alpha TCKD + beta NCKD) + cross-entropy."""
        from paretoboard.training import CrossEntropy
        from paretoboard.training.distillation import Lesson, decoupled, logits_of

        labelled: Loss = CrossEntropy(label_smoothing=label_smoothing)

        def compare(logits: Tensor, batch: Batch, said: tuple[Tensor, ...]) -> Tensor:
            apart = decoupled(logits, said[0], batch.labels, self.temperature, target=self.alpha, others=self.beta)
            return apart + labelled(logits, batch)

        identity = self.identity(teacher, label_smoothing)
        yield Lesson(teaching=logits_of(teacher), compare=compare, identity=identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionTransfer(Distillation):
    """Look where the teacher looks: stages of both networks are to agree on which places of an image count."""

    source = "Zagoruyko and Komodakis 2017, arXiv:1612.03928, section 3.1; mean squares as in its published code"

    beta: Annotated[float, Ge(0)] = 1000.0  # weight of the maps' mean squared difference

    @contextlib.contextmanager
    def lesson(self, student: nn.Module, teacher: nn.Module, label_smoothing: float) -> Iterator[Lesson]:
        """beta x sum over stages of the maps' mean squared difference + cross-entropy.

        Raises: NotApplicableError where a network names no `stages`, or the two not equally many.
        """
        from paretoboard.training import CrossEntropy
        from paretoboard.training.distillation import Lesson, attention, attention_gap, attention_of, watched

        labelled: Loss = CrossEntropy(label_smoothing=label_smoothing)
        stages, teachers = _stages(student, "student"), _stages(teacher, "teacher")
        if len(stages) != len(teachers):
            raise NotApplicableError(f"the student has {len(stages)} stages and the teacher {len(teachers)}")
        with watched(student, stages) as seen, watched(teacher, teachers) as teacher_seen:

            def compare(logits: Tensor, batch: Batch, said: tuple[Tensor, ...]) -> Tensor:
                maps = [attention(features) for features in seen.values()]
                return self.beta * attention_gap(maps, said) + labelled(logits, batch)

            teaching: Teaching = attention_of(teacher, teacher_seen)
            yield Lesson(teaching=teaching, compare=compare, identity=self.identity(teacher, label_smoothing))


def _check_classes(teacher: nn.Module, candidate: Candidate) -> None:
    import torch

    with torch.no_grad():
        classes = teacher(torch.zeros((1, *candidate.input_shape))).shape[1]
    if classes != candidate.classes:
        raise NotApplicableError(f"the teacher knows {classes} classes and the student {candidate.classes}")


def _stages(module: Any, role: str) -> tuple[str, ...]:
    stages: tuple[str, ...] = getattr(module, "stages", ())
    if not stages:
        raise NotApplicableError(
            f"distill.attention compares the outputs of stages, and the {role}, a {type(module).__name__}, names none: "
            "its class would have an attribute 'stages' with the paths of layers"
        )
    return stages
