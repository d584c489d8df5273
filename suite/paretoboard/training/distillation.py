"""Losses of a student that learns from a teacher, and asking the teacher no more often than needed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from paretoboard import durable
from paretoboard.errors import NotApplicableError
from paretoboard.plan import digest
from paretoboard.training.loss import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.training.feed import Feed

Teaching = Callable[[Batch], tuple[Tensor, ...]]  # what a frozen teacher says of each image of a batch, image first
_ASKED_AT_ONCE: Final = 128  # images; a teacher of 56 layers keeps a few MB for each
_KEPT_BYTES: Final = 512 << 20  # attention maps of 10,000 images of 32x32, as they are and mirrored, are 103 MiB


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

    Raises: NotApplicableError for labels of mixed images.
    Source: Zhao et al. 2022, arXiv:2203.08679, equation 7 with alpha and beta, times T^2 as in its algorithm 1.
    """
    if labels.is_floating_point():
        raise NotApplicableError(
            "decoupled distillation weighs the one right class of an image apart, and images that are mixed have two: "
            'distill with mix = "none", or with distill.logits'
        )
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


def asked_once(
    teaching: Teaching, feed: Feed, *, epochs: int, folder: Path, asks: str, progress: Callable[[float, str], None]
) -> Teaching:
    """What `teaching` says, asked now of every variant of every image and looked up from then on, where that is less.

    Where augmentation makes more variants than there are epochs, images are mixed, or the answers would be more than
    512 MiB, `teaching` itself: the teacher is asked as often as the student, about the very images that the student
    sees. Looked up or not, the answers differ at most by what another composition of its batches does to a network's
    last digits.

    Args:
        folder: keeps the answers in a file until someone removes it, so that they survive a kill.
        asks: everything beside images and variants that decides the answers.
        progress: told (0, what is going on).
    """
    variants = feed.variants
    if variants is None or variants > epochs or feed.mixes:
        return teaching
    said = teaching(feed.take(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)))
    columns = np.dtype([(str(number), np.float32, tuple(part.shape[1:])) for number, part in enumerate(said)])
    if variants * len(feed) * columns.itemsize > _KEPT_BYTES:
        return teaching
    # Other threads or another torch would give other last digits, and a resumed training not the same bits.
    key = digest([asks, feed.identity, torch.get_num_threads(), torch.__version__])
    file = folder / f"teacher-{key[:32]}.npy"
    table = _read(file, columns, (variants, len(feed)))
    if table is None:
        table = _ask(teaching, feed, variants, columns, progress)
        stream = io.BytesIO()
        np.save(stream, table, allow_pickle=False)
        durable.write(file, stream.getbuffer())
    answers = table

    def look_up(batch: Batch) -> tuple[Tensor, ...]:
        rows = answers[batch.variants.numpy(), batch.indices.numpy()]
        return tuple(torch.from_numpy(rows[name]) for name in columns.names or ())

    return look_up


def _ask(
    teaching: Teaching, feed: Feed, variants: int, columns: np.dtype[np.void], progress: Callable[[float, str], None]
) -> NDArray[np.void]:
    """What `teaching` says of every variant of every image, (variants, images) rows of `columns`."""
    table = np.empty((variants, len(feed)), columns)
    for variant in range(variants):
        for start in range(0, len(feed), _ASKED_AT_ONCE):
            progress(0.0, f"asking the teacher about image {variant * len(feed) + start:,} of {table.size:,}")
            indices = torch.arange(start, min(start + _ASKED_AT_ONCE, len(feed)))
            said = teaching(feed.take(indices, torch.full_like(indices, variant)))
            for name, part in zip(columns.names or (), said, strict=True):
                table[name][variant, start : start + len(indices)] = part.numpy()
    return table


def _read(file: Path, columns: np.dtype[np.void], shape: tuple[int, int]) -> NDArray[np.void] | None:
    """The answers in `file`; None where there are none, or not such."""
    try:
        table: NDArray[np.void] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return table if table.dtype == columns and table.shape == shape else None


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
