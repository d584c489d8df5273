"""Losses of a student that learns from a teacher, and asking the teacher no more often than needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.training.loss import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess

Teaching = Callable[[Batch], tuple[Tensor, ...]]  # what a frozen teacher says of each image of a batch, image first
_ASKED_AT_ONCE = 128  # images; a teacher of 56 layers keeps a few MB for each


@dataclass(slots=True, kw_only=True)
class Lesson:
    """A training.Loss that compares the student with what a teacher says."""

    teaching: Teaching
    compare: Callable[[Tensor, Batch, tuple[Tensor, ...]], Tensor]  # (student's logits, batch, what the teacher says)
    identity: str

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of the student's logits."""
        return self.compare(logits, batch, self.teaching(batch))


def soft_targets(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softened classes of two (n, classes) logits, mean over the batch.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2; T^2 keeps the gradient's size at every temperature.
    """
    return _divergence(F.log_softmax(student / temperature, 1), F.log_softmax(teacher / temperature, 1), temperature)


def decoupled(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, *, target: float, others: float
) -> Tensor:
    """`target` x TCKD + `others` x NCKD: how sure of the right class, and how the wrong ones compare, apart.

    Source: Zhao et al. 2022, arXiv:2203.08679, equation 7 with alpha and beta, times T^2 as in its algorithm 1.
    """
    right = F.one_hot(labels, student.shape[1]).bool()
    parts = []
    for logits in (student / temperature, teacher / temperature):
        wrong = logits[~right].view(len(logits), -1)  # (n, classes - 1)
        pair = torch.stack([logits[right], wrong.logsumexp(1)], 1)
        parts.append((F.log_softmax(pair, 1), F.log_softmax(wrong, 1)))
    (student_pair, student_wrong), (teacher_pair, teacher_wrong) = parts
    return target * _divergence(student_pair, teacher_pair, temperature) + others * _divergence(
        student_wrong, teacher_wrong, temperature
    )


def attention(features: Tensor) -> Tensor:
    """Where a layer looks: (n, channels, height, width) to (n, height x width) of length 1.

    Source: Zagoruyko and Komodakis 2017, arXiv:1612.03928, section 3.1: F_sum^2, normalized as in equation 2.
    """
    return F.normalize(features.float().pow(2).sum(1).flatten(1))


def attention_gap(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference of their attention maps, (n, height x width) each.

    Raises: NotApplicableError for maps of different sizes.
    """
    for own, wanted in zip(student, teacher, strict=True):
        if own.shape != wanted.shape:
            raise NotApplicableError(
                f"the student's attention map has {own.shape[1]} places and the teacher's {wanted.shape[1]}: "
                "only layers of the same height and width can be compared"
            )
    gaps = [F.mse_loss(own, wanted) for own, wanted in zip(student, teacher, strict=True)]
    return torch.stack(gaps).sum()


def logits_of(teacher: nn.Module) -> Teaching:
    """The teacher's logits."""

    def ask(batch: Batch) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (teacher(batch.images),)

    return ask


def attention_of(teacher: nn.Module, seen: Mapping[str, Tensor]) -> Teaching:
    """The teacher's attention maps; `seen` is what `watched` gave for it."""

    def ask(batch: Batch) -> tuple[Tensor, ...]:
        with torch.no_grad():
            teacher(batch.images)
            return tuple(attention(features) for features in seen.values())

    return ask


def in_bfloat16(teaching: Teaching) -> Teaching:
    """`teaching` with the teacher computing in bfloat16; what it says is float32 again."""

    def ask(batch: Batch) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return tuple(said.float() for said in teaching(batch))

    return ask


def precomputed(teaching: Teaching, images: Images, preprocess: Preprocess) -> Teaching:
    """What `teaching` says of every one of `images`, asked now and looked up by a batch's indices from then on."""
    parts = []
    for start in range(0, len(images), _ASKED_AT_ONCE):
        pixels = images.pixels[start : start + _ASKED_AT_ONCE]
        indices = torch.arange(start, start + len(pixels))
        inputs = torch.from_numpy(preprocess_images(pixels, preprocess)).to(memory_format=torch.channels_last)
        parts.append(teaching(Batch(images=inputs, labels=torch.from_numpy(images.labels)[indices], indices=indices)))
    tables = [torch.cat(column) for column in zip(*parts, strict=True)]
    return lambda batch: tuple(table[batch.indices] for table in tables)


@contextlib.contextmanager
def watched(module: nn.Module, layers: Sequence[str]) -> Iterator[Mapping[str, Tensor]]:
    """The outputs of `layers` in the latest forward pass of `module`, in the order they were computed in."""
    seen: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(layer: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ARG001 - torch gives all three
            seen[name] = output

        return keep

    handles = [module.get_submodule(name).register_forward_hook(keeper(name)) for name in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
        seen.clear()


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of log-probabilities."""
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
