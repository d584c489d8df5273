"""Names of corruptions and how severe each may be, as task files say them: "noise:3", "jpeg:5".

Kinds, severities and their constants are those of ImageNet-C and, for small images, CIFAR-10-C: Hendrycks & Dietterich
2019, arXiv:1903.12261. What they do to pixels is the datasets'; this much of them can be checked without numpy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

SEVERITIES: Final = 5
# Images whose shorter side has at most this many pixels get the constants of CIFAR-10-C: those of ImageNet-C, made for
# 224, would leave nothing of an image of 32.
SMALL_SIDE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """One kind of corruption."""

    does: str  # one line
    strength: str  # what the constants are
    small: tuple[float, ...]  # the constant at each severity, from 1 to 5, for small images
    large: tuple[float, ...]


CORRUPTIONS: Final[Mapping[str, Corruption]] = {
    "blur": Corruption(
        does="blurred by a Gaussian",
        strength="its standard deviation in pixels",
        small=(0.4, 0.6, 0.7, 0.8, 1.0),
        large=(1.0, 2.0, 3.0, 4.0, 6.0),
    ),
    "contrast": Corruption(
        does="less contrast: every channel closer to its mean",
        strength="share that is left of the distance from it",
        small=(0.75, 0.5, 0.4, 0.3, 0.15),
        large=(0.4, 0.3, 0.2, 0.1, 0.05),
    ),
    "jpeg": Corruption(
        does="stored as a JPEG file and read again",
        strength="its quality, at most 100",
        small=(80.0, 65.0, 58.0, 50.0, 40.0),
        large=(25.0, 18.0, 15.0, 10.0, 7.0),
    ),
    "noise": Corruption(
        does="noisy: a normal draw for every pixel and channel",
        strength="its standard deviation, as a share of black to white",
        small=(0.04, 0.06, 0.08, 0.09, 0.1),
        large=(0.08, 0.12, 0.18, 0.26, 0.38),
    ),
}

# For editors.
SCHEMA: Final = {"type": "string", "pattern": f"^(?:{'|'.join(CORRUPTIONS)}):[1-{SEVERITIES}]$"}


def parse(text: str) -> tuple[str, int]:
    """The name and the severity in `text`.

    Raises:
        UnknownNameError: for a name that CORRUPTIONS does not have.
        InputError: for a severity that is none.
    """
    name, _, severity = text.partition(":")
    if name not in CORRUPTIONS:
        raise UnknownNameError("corruption", name, CORRUPTIONS)
    if not re.fullmatch(f"[1-{SEVERITIES}]", severity):
        found = f"'{severity}'" if severity else "none"
        raise InputError(
            f"'{text}': found {found} for the severity; '{name}:1' to '{name}:{SEVERITIES}' would be right"
        )
    return name, int(severity)


def constant(name: str, severity: int, side: int) -> float:
    """How strong a corruption is for images whose shorter side has `side` pixels."""
    known = CORRUPTIONS[name]
    return (known.small if side <= SMALL_SIDE else known.large)[severity - 1]
