"""What a network was made for: the image that it takes, and how its published weights want it prepared.

The module of a registered network says it as `NATIVE`; the libraries say it of theirs. A task may do otherwise, and its
record then says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.spec import Preprocess

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """What a network was made for."""

    input_shape: tuple[int, int, int]  # of one image: (channels, height, width)
    preprocess: Preprocess | None = None  # that its published weights were trained with; None where there are none


# Networks for CIFAR's images, and for others of that size.
IMAGES_OF_32: Final = Native(input_shape=(3, 32, 32))


def differences(native: Native, input_shape: tuple[int, ...], preprocess: Preprocess) -> Iterator[str]:
    """In plain words, what a task does otherwise than the network was made for."""
    if tuple(input_shape) != native.input_shape:
        here, there = ("x".join(map(str, shape)) for shape in (input_shape, native.input_shape))
        yield f"The network was made for images of {there} and gets {here}."
    if native.preprocess is not None:
        changed = [
            f"{name} = {getattr(preprocess, name)} where {getattr(native.preprocess, name)} is right"
            for name in (field.name for field in dataclasses.fields(Preprocess))
            if _plain(getattr(preprocess, name)) != _plain(getattr(native.preprocess, name))
        ]
        if changed:
            yield f"Images are prepared otherwise than for the published weights: {', '.join(changed)}."


def _plain(value: object) -> object:
    """A value for every channel and the same value for each of three mean the same."""
    return (value * 3 if len(value) == 1 else value) if isinstance(value, tuple) else value
