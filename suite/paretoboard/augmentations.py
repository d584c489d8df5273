"""Names of augmentations and how strong each may be, as task files say them: "flip", "rotate:15", "randaugment:2:9".

What they do to images is training's; this much of them can be checked without torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """One number after an augmentation's name."""

    means: str  # with its unit
    # What it is where only the name is given, and so part of what the name means: results under a name whose default
    # has changed could not be compared.
    default: float
    above: float | None = None  # which it exceeds; either this or at_least
    at_least: float | None = None
    at_most: float
    whole: bool = False  # no fractions

    @property
    def range(self) -> str:
        """`more than 0 and at most 180`."""
        low = f"more than {self.above:g}" if self.above is not None else f"at least {self.at_least:g}"
        return f"{'a whole number, ' if self.whole else ''}{low} and at most {self.at_most:g}"

    def holds(self, value: float) -> bool:
        """Whether it may be that strong."""
        if self.whole and value != int(value):
            return False
        low = value > self.above if self.above is not None else value >= (self.at_least or 0.0)
        return low and value <= self.at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is known of an augmentation without making it."""

    does: str  # one line
    source: str
    strengths: tuple[Strength, ...] = ()  # in the order they are given in


def _share(means: str, default: float, *, at_most: float = 1.0) -> tuple[Strength, ...]:
    return (Strength(means=means, default=default, above=0.0, at_most=at_most),)


_FACTOR: Final = "largest change, as a share"
_JITTER: Final = "torchvision's ColorJitter, one property at a time"

AUGMENTATIONS: Final[Mapping[str, Declared]] = {
    "brightness": Declared(does="darker or brighter", source=_JITTER, strengths=_share(_FACTOR, 0.4)),
    "contrast": Declared(does="closer to its mean grey or farther", source=_JITTER, strengths=_share(_FACTOR, 0.4)),
    "crop": Declared(
        does="moved by up to an eighth of the side, black where it leaves",
        source="He et al. 2015, arXiv:1512.03385, section 4.2: 4 pixels of 32",
    ),
    "cutout": Declared(
        does="black in a square, centred anywhere",
        source="DeVries and Taylor 2017, arXiv:1708.04552; half the side as for CIFAR-10 there",
        strengths=_share("side of the square, as a share of the image's", 0.5),
    ),
    "flip": Declared(does="mirrored left to right, or not", source="He et al. 2015, arXiv:1512.03385, section 4.2"),
    "noise": Declared(
        does="noisy: a normal draw for every pixel and channel",
        source="torchvision's GaussianNoise",
        strengths=_share("standard deviation, as a share of black to white", 0.05, at_most=0.5),
    ),
    "randaugment": Declared(
        does="altered by operations drawn from 14, all of one magnitude",
        source="Cubuk et al. 2020, arXiv:1909.13719; operations and magnitudes are torchvision's",
        strengths=(
            Strength(means="operations on an image", default=2, at_least=1, at_most=14, whole=True),
            Strength(means="magnitude of each", default=9, at_least=0, at_most=30, whole=True),
        ),
    ),
    "rotate": Declared(
        does="turned about its middle, black where it leaves",
        source="torchvision's RandomRotation",
        strengths=_share("degrees to either side", 15, at_most=180),
    ),
    "saturation": Declared(does="closer to grey or farther", source=_JITTER, strengths=_share(_FACTOR, 0.4)),
    "shift": Declared(
        does="moved by whole pixels in both directions, black where it leaves",
        source="translation as in torchvision's RandomAffine",
        strengths=_share("share of the side", 1 / 16, at_most=0.5),
    ),
}

# For editors: the names alone, and those that take numbers with numbers.
SCHEMA: Final = {
    "anyOf": [
        {"enum": list(AUGMENTATIONS)},
        {
            "type": "string",
            "pattern": "^(?:"
            + "|".join(
                f"{name}(?::{_NUMBER})" + (f"{{1,{len(known.strengths)}}}" if len(known.strengths) > 1 else "")
                for name, known in AUGMENTATIONS.items()
                if known.strengths
            )
            + ")$",
        },
    ]
}


def parse(text: str) -> tuple[str, tuple[float, ...]]:
    """The name in `text` and all strengths of that augmentation: those that stand after it, else their defaults.

    Raises:
        UnknownNameError: for a name that AUGMENTATIONS does not have.
        InputError: for strengths that are no numbers, too many or out of range.
    """
    name, *given = text.split(":")
    if name not in AUGMENTATIONS:
        raise UnknownNameError("augmentation", name, AUGMENTATIONS)
    strengths = AUGMENTATIONS[name].strengths
    if len(given) > len(strengths):
        takes = ":".join([name, *(f"<{strength.means}>" for strength in strengths)])
        raise InputError(f"'{text}': found {len(given)} strengths; '{takes}' would be right")
    found = [_value(text, number, strength) for number, strength in zip(given, strengths, strict=False)]
    return name, (*found, *(strength.default for strength in strengths[len(found) :]))


def _value(text: str, number: str, strength: Strength) -> float:
    if not re.fullmatch(_NUMBER, number) or not strength.holds(float(number)):
        raise InputError(f"'{text}': found '{number}' for {strength.means}; {strength.range} would be right")
    return float(number)
