"""RandAugment: a few operations on each image, drawn from fourteen, all with the same magnitude.

Source: Cubuk et al. 2020, arXiv:1909.13719. Operations, magnitudes and their order are those of torchvision's
RandAugment, here for a batch in which each image draws its own; geometry is bilinear, black beyond the borders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from paretoboard.training.augmentation import color
from paretoboard.training.augmentation.affine import identities, rotations, transformed
from paretoboard.training.augmentation.draws import below

_STRONGEST: Final = 30  # magnitude
# (images, the sign of each: 1 or -1, magnitude / 30) to images.
_Operation = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True, slots=True)
class RandAugment:
    """Apply `operations` drawn operations one after the other, each with `magnitude` of 30."""

    operations: int
    magnitude: int

    def variants(self, height: int, width: int) -> None:
        """No number that is worth naming: two operations alone are some 500."""

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Operations, and whether they go one way or the other, follow from the number."""
        for turn in range(self.operations):
            drawn = below(len(OPERATIONS), which, 2 * turn)
            signs = 1 - 2 * below(2, which, 2 * turn + 1)
            images = self._one_each(images, drawn, signs)
        return images

    def _one_each(self, images: Tensor, drawn: Tensor, signs: Tensor) -> Tensor:
        made = images.clone()
        for number, operation in enumerate(OPERATIONS.values()):
            rows = (drawn == number).nonzero()[:, 0]
            if len(rows):
                made[rows] = operation(images[rows], signs[rows], self.magnitude / _STRONGEST)
        return made


def _identity(images: Tensor, signs: Tensor, share: float) -> Tensor:  # noqa: ARG001 - as all operations are called
    return images


def _shear_x(images: Tensor, signs: Tensor, share: float) -> Tensor:
    matrices = identities(len(images))
    matrices[:, 0, 1] = signs * 0.3 * share
    matrices[:, 0, 2] = matrices[:, 0, 1] * images.shape[-2] / 2  # the upper edge stays
    return transformed(images, matrices)


def _shear_y(images: Tensor, signs: Tensor, share: float) -> Tensor:
    matrices = identities(len(images))
    matrices[:, 1, 0] = signs * 0.3 * share
    matrices[:, 1, 2] = matrices[:, 1, 0] * images.shape[-1] / 2  # the left edge stays
    return transformed(images, matrices)


def _translate_x(images: Tensor, signs: Tensor, share: float) -> Tensor:
    matrices = identities(len(images))
    matrices[:, 0, 2] = -signs * int(150 / 331 * images.shape[-1] * share)
    return transformed(images, matrices)


def _translate_y(images: Tensor, signs: Tensor, share: float) -> Tensor:
    matrices = identities(len(images))
    matrices[:, 1, 2] = -signs * int(150 / 331 * images.shape[-2] * share)
    return transformed(images, matrices)


def _rotate(images: Tensor, signs: Tensor, share: float) -> Tensor:
    return transformed(images, rotations(signs * 30.0 * share))


def _blend(plain: Callable[[Tensor], Tensor]) -> _Operation:
    def blend(images: Tensor, signs: Tensor, share: float) -> Tensor:
        return color.blended(images, plain(images), 1 + signs * 0.9 * share)

    return blend


def _sharpness(images: Tensor, signs: Tensor, share: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    more, less = (functional.adjust_sharpness(images, 1 + sign * 0.9 * share) for sign in (1, -1))
    return torch.where(signs.view(-1, 1, 1, 1) > 0, more, less)


def _posterize(images: Tensor, signs: Tensor, share: float) -> Tensor:  # noqa: ARG001
    from torchvision.transforms.v2 import functional

    made: Tensor = functional.posterize(images, round(8 - 4 * share))
    return made


def _solarize(images: Tensor, signs: Tensor, share: float) -> Tensor:  # noqa: ARG001
    return torch.where(images >= 255 * (1 - share), 255 - images, images)


def _autocontrast(images: Tensor, signs: Tensor, share: float) -> Tensor:  # noqa: ARG001
    from torchvision.transforms.v2 import functional

    made: Tensor = functional.autocontrast(images)
    return made


def _equalize(images: Tensor, signs: Tensor, share: float) -> Tensor:  # noqa: ARG001
    from torchvision.transforms.v2 import functional

    made: Tensor = functional.equalize(images)
    return made


OPERATIONS: Final[dict[str, _Operation]] = {  # names and order of torchvision's
    "Identity": _identity,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
    "Rotate": _rotate,
    "Brightness": _blend(color.black),
    "Color": _blend(color.grey),
    "Contrast": _blend(color.mean_grey),
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
}
