"""Altering images while a network is trained, so that it sees more of them than there are.

Every augmentation makes numbered variants of an image, all equally likely. What it makes is a function of image and
number, wherever and whenever it is asked: an epoch is the same however it was begun, and where there are finitely many
variants, what a network says of them can be kept and looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from paretoboard.augmentations import AUGMENTATIONS, parse
from paretoboard.training.augmentation.affine import Rotate
from paretoboard.training.augmentation.color import Blend, black, grey, mean_grey
from paretoboard.training.augmentation.draws import NUMBERS, others
from paretoboard.training.augmentation.noise import Noise
from paretoboard.training.augmentation.places import Cutout, Flip, Shift
from paretoboard.training.augmentation.randaugment import RandAugment

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AUGMENTATIONS", "NUMBERS", "Augmentation", "Chain", "augmentation"]


class Augmentation(Protocol):
    """One way of altering images."""

    def variants(self, height: int, width: int) -> int | None:
        """How many variants there are of an image of this size, None for no finite number."""

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """Stored pixels (n, channels, height, width), uint8, each as its variant of number `which`, (n,), int64.

        Numbers are below `variants`, or below NUMBERS where that is None.
        """


_MAKERS: Final[Mapping[str, Callable[..., Augmentation]]] = {  # take the strengths that AUGMENTATIONS names, in order
    "brightness": partial(Blend, black),
    "contrast": partial(Blend, mean_grey),
    "crop": partial(Shift, 1 / 8),
    "cutout": Cutout,
    "flip": Flip,
    "noise": Noise,
    "randaugment": lambda operations, magnitude: RandAugment(int(operations), int(magnitude)),
    "rotate": Rotate,
    "saturation": partial(Blend, grey),
    "shift": Shift,
}


def augmentation(text: str) -> Augmentation:
    """The augmentation that `text` names: "flip", "rotate" with its default strength, "rotate:15".

    Raises:
        UnknownNameError: for a name that AUGMENTATIONS does not have.
        InputError: for strengths that are no numbers, too many or out of range.
    """
    name, strengths = parse(text)
    return _MAKERS[name](*strengths)


@dataclass(frozen=True, slots=True)
class Chain:
    """Several augmentations, one after the other; without any the image is its only variant."""

    parts: Sequence[Augmentation]

    def variants(self, height: int, width: int) -> int | None:
        """One for each combination; None where a part has no finite number, or all together have too many to number."""
        count = 1
        for part in self.parts:
            own = part.variants(height, width)
            if own is None:
                return None
            count *= own
        return count if count <= NUMBERS else None

    def __call__(self, images: Tensor, which: Tensor) -> Tensor:
        """The variant of the first augmentation counts fastest; without a finite number each draws its own."""
        counted = self.variants(*images.shape[-2:]) is not None
        for place, part in enumerate(self.parts):
            own = part.variants(*images.shape[-2:])
            numbers = which if counted else others(which, place)
            images = part(images, numbers if own is None else numbers % own)
            if counted:
                which = which // (own or 1)
        return images
