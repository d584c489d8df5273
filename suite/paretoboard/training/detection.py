"""What training makes small for a detector without anchors, in place of the cross-entropy of whole images' classes."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from paretoboard.detection.boxes import corners
from paretoboard.detection.heads import BOX_NUMBERS, LARGEST_LOG
from paretoboard.detection.placement import placements
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.plan import digest, plain

if TYPE_CHECKING:
    from paretoboard.datasets import Images
    from paretoboard.spec import DetectionUse, Preprocess, TrainSettings
    from paretoboard.training.loss import Batch

# Augmentations that leave objects where they are.
_IN_PLACE: Final = frozenset({"brightness", "contrast", "cutout", "noise", "saturation"})
# Lin et al. 2017, arXiv:1708.02002, section 3.2.
_ALPHA: Final = 0.25
_GAMMA: Final = 2.0
_RADIUS: Final = 1.5  # cells around an object's centre that are to find it: FCOS's centre sampling
_LEAST: Final = 0.05  # cells: objects smaller than a cell may end before its centre
_NONE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the cells of each image's grid should say."""

    labels: Tensor  # (images, rows, columns), int64; -1 where a cell is to find nothing
    sides: Tensor  # (images, 4, rows, columns), cells from the centre to the left, upper, right and lower side


class DetectionLoss:
    """Focal loss of the classes of all cells, and 1 - GIoU of the boxes of those that are to find an object.

    Source: Tian et al. 2019, FCOS, arXiv:1904.01355, section 3.1; centre sampling as in its authors' code; Lin et al.
    2017, Focal Loss, arXiv:1708.02002; Rezatofighi et al. 2019, Generalized IoU, arXiv:1902.09630.
    """

    def __init__(self, images: Images, preprocess: Preprocess, use: DetectionUse) -> None:
        """Args:
            images: that are trained on, with their objects.
        Raises: NotApplicableError for a head that nobody here can train.
        """
        if use.head != "anchor-free":
            raise NotApplicableError(f"no training is known for detectors with the head '{use.head}'")
        assert images.objects is not None
        self._objects = images.objects
        self._placements = placements(images.objects.sizes, preprocess)
        self._preprocess = preprocess
        self._targets: Targets | None = None

    @property
    def identity(self) -> str:
        """Digest of objects and of where they lie in the input."""
        content = hashlib.sha256()
        for array in (getattr(self._objects, field.name) for field in dataclasses.fields(self._objects)):
            content.update(np.ascontiguousarray(array).tobytes())
        return digest(["anchor-free", content.hexdigest(), plain(self._preprocess)])

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Of (n, 4 + classes, rows, columns); the mean over objects' cells."""
        rows, columns = int(logits.shape[2]), int(logits.shape[3])
        if self._targets is None or self._targets.labels.shape[1:] != (rows, columns):
            self._targets = self._made(rows, columns)
        labels, sides = self._targets.labels[batch.indices], self._targets.sides[batch.indices]
        wanted = F.one_hot(labels.clamp(min=0), logits.shape[1] - BOX_NUMBERS).movedim(-1, 1).float()
        found = labels != _NONE
        focal = _focal(logits[:, BOX_NUMBERS:], wanted * found[:, None])
        count = max(1, int(found.sum()))
        if not bool(found.any()):
            return focal
        said = logits[:, :BOX_NUMBERS].clamp(max=LARGEST_LOG).exp().movedim(1, -1)[found]
        return focal / count + (1 - _giou(said, sides.movedim(1, -1)[found])).mean()

    def _made(self, rows: int, columns: int) -> Targets:
        """The targets for a grid, of which an object takes the cells near its centre; the smallest comes first."""
        images = len(self._objects.sizes)
        labels = np.full((images, rows, columns), _NONE, dtype=np.int64)
        sides = np.zeros((images, 4, rows, columns), dtype=np.float32)
        y, x = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
        grid = np.array([columns, rows, columns, rows])
        stored = np.asarray(corners(self._objects.boxes), dtype=np.float64)
        # From the largest to the smallest, so that what is written last is the smallest's.
        for number in np.argsort(-self._objects.areas, kind="stable"):
            if self._objects.crowd[number]:
                continue
            image = int(self._objects.image[number])
            left, top, right, bottom = self._placements[image].to_input(stored[number : number + 1])[0] * grid
            distances = np.stack([x - left, y - top, right - x, bottom - y])
            middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
            own = (np.abs(x - middle_x) < _RADIUS) & (np.abs(y - middle_y) < _RADIUS) & (distances.min(axis=0) > 0)
            # Every object has a cell, however small it is; the nearest one where its centre lies beyond the edge.
            own[_within(middle_y, rows), _within(middle_x, columns)] = True
            labels[image][own] = self._objects.classes[number]
            sides[image][:, own] = np.maximum(distances, _LEAST)[:, own]
        return Targets(labels=torch.from_numpy(labels), sides=torch.from_numpy(sides))


def check_settings(settings: TrainSettings) -> None:
    """Raises: InputError for settings that ask for labels of whole images, or move objects away from their boxes."""
    moving = [text for text in settings.augment if text.partition(":")[0] not in _IN_PLACE]
    asked = {
        "held_out": bool(settings.held_out),
        "mix": settings.mix != "none",
        "curriculum": settings.curriculum != "none",
        "label_smoothing": bool(settings.label_smoothing),
    }
    for name, given in asked.items():
        if given:
            raise InputError(f"'{name}' needs a class for each image, and these have boxes around objects")
    if moving:
        known = ", ".join(sorted(_IN_PLACE))
        raise InputError(
            f"augmentation '{moving[0]}' would move objects away from their boxes; one of {known} is right"
        )


def _within(middle: float, cells: int) -> int:
    """The cell that holds `middle`, in cells from the edge; the first or last one where it is beyond."""
    return min(max(int(middle), 0), cells - 1)


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """The sum over all cells and classes; `wanted` is 0 or 1, of the same shape."""
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = (torch.sigmoid(logits) - wanted).abs()
    weight = _ALPHA * wanted + (1 - _ALPHA) * (1 - wanted)
    return (weight * wrong**_GAMMA * entropy).sum()


def _giou(said: Tensor, wanted: Tensor) -> Tensor:
    """(n,) generalized intersection over union of boxes around the same points, (n, 4) distances to their sides."""
    inner, outer = torch.minimum(said, wanted), torch.maximum(said, wanted)
    shared, frame = _area(inner), _area(outer)
    union = _area(said) + _area(wanted) - shared
    return shared / union - (frame - union) / frame


def _area(sides: Tensor) -> Tensor:
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
