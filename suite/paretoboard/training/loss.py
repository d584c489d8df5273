"""What training makes small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one step of training sees."""

    images: Tensor  # (n, channels, height, width), augmented and preprocessed
    labels: Tensor  # (n,), int64; (n, classes), float32 with rows that sum to 1, where images are mixed
    indices: Tensor  # (n,), places among the training images
    variants: Tensor  # (n,), which of an image's augmented variants it is; all zeros without augmentation


class Loss(Protocol):
    """A number to make small; what it needs beside the batch, such as a teacher, it brings along."""

    @property
    def identity(self) -> str:
        """Everything that decides its values, so that a checkpoint under another loss is not taken up."""

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of the network's `logits`, (n, classes) in float32; a scalar with a gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Of the labels, which may be smoothed (Szegedy et al. 2016, arXiv:1512.00567, section 7)."""

    label_smoothing: float = 0.0

    @property
    def identity(self) -> str:
        """The smoothing."""
        return repr(self)

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean over the batch; of mixed images the classes count as their labels say."""
        return nn.functional.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
