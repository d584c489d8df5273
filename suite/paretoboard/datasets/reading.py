"""Image files read one by one, and all that is wrong with many of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Final

from paretoboard.datasets.decoding import MOST_BYTES, decode
from paretoboard.datasets.listing import shown
from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from PIL import Image

_TOLD_EVERY: Final = 1000  # images
_CHUNK: Final = 256


def read_picture(path: str | Path) -> Image.Image:
    """The picture in an image file, in RGB.

    Raises: DataError that names the file, for one that can't be read, is too large or no whole picture.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - for names that are no text
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise DataError(f"more than the {MOST_BYTES:,} bytes that are read")
        return decode(content)
    except DataError as error:
        raise DataError(f"{shown(path)}: {error}") from error
    except OSError as error:
        raise DataError(f"{shown(path)}: {error.strerror}") from error


def unreadable(
    names: Iterable[str], require: Callable[[str], object], root: Path, progress: Callable[[str], None]
) -> dict[str, str]:
    """Of the images with these ids those that can't be used, and why; reads them all.

    Args:
        require: reads one; raises DataError that says what is wrong with it. Called by several threads.
        root: of the dataset, for `progress`, which hears of every thousandth.
    """
    reasons: dict[str, str] = {}
    left, done = iter(names), 0

    def reason(name: str) -> str:
        try:
            require(name)
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while chunk := tuple(islice(left, _CHUNK)):
            for name, found in zip(chunk, pool.map(reason, chunk), strict=True):
                if found:
                    reasons[name] = found
                done += 1
                if done % _TOLD_EVERY == 0:
                    progress(f"{root}: {done:,} images decoded, {len(reasons):,} can't be")
    return reasons
