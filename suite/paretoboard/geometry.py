"""What size pictures have after a task's resizing and cropping: arithmetic alone, no picture is touched."""

from __future__ import annotations

from typing import Final

from paretoboard.errors import DataError
from paretoboard.spec import Preprocess

AS_STORED: Final = Preprocess()
SIZES_DIFFER: Final = (
    "images have sizes of their own, and a model takes one: 'resize' and 'crop' under [preprocess], or 'resize' with "
    "'squash = true', would be right"
)
# Pillow's own bound, a quarter of a gigabyte in RGB; also for what resizing makes of a picture that is one pixel high.
MOST_PIXELS: Final = 89_478_485

Size = tuple[int, int]  # (height, width) in pixels


def changes(preprocess: Preprocess) -> bool:
    """Whether pictures are resized or cropped at all."""
    return preprocess.resize is not None or preprocess.crop is not None


def resized(size: Size, preprocess: Preprocess) -> Size:
    """The size after resizing: the short side as asked for, the long one in proportion, rounded down.

    With `letterbox` it is the long side, and the frame does not count.

    Raises: DataError where the long side would make a picture of more than MOST_PIXELS.
    Source: torchvision's `transforms.Resize`; with `squash` that of a pair of sides; `letterbox` as in the YOLO family.
    """
    if preprocess.resize is None:
        return size
    side = preprocess.resize
    if preprocess.squash:
        return side, side
    if preprocess.letterbox:
        return letterboxed(size, side)[0]
    height, width = size
    long = int(side * max(size) / min(size))
    if side * long > MOST_PIXELS:
        raise DataError(
            f"{width:,} x {height:,} pixels: with a short side of {side} the long one would be {long:,}, too large a "
            f"picture; 'squash' would be right, or leaving it out"
        )
    return (side, long) if height <= width else (long, side)


def letterboxed(size: Size, side: int) -> tuple[Size, Size]:
    """The size of a picture whose long side becomes `side`, and the rows above and columns left of it in the square."""
    height, width = (max(1, round(side * extent / max(size))) for extent in size)
    return (height, width), ((side - height) // 2, (side - width) // 2)


def output_size(size: Size, preprocess: Preprocess) -> Size:
    """The size after resizing and cropping.

    Raises: DataError where the picture is smaller than the crop, or as `resized` does.
    """
    if preprocess.letterbox and preprocess.resize is not None:
        return preprocess.resize, preprocess.resize
    found = resized(size, preprocess)
    if preprocess.crop is None:
        return found
    if preprocess.crop > min(found):
        raise DataError(
            f"{found[1]:,} x {found[0]:,} pixels can't be cropped to {preprocess.crop} x {preprocess.crop}: a larger "
            "'resize' would be right"
        )
    return preprocess.crop, preprocess.crop


def fixed_size(preprocess: Preprocess) -> Size | None:
    """The size that every picture has afterwards, whatever it had before; None where that is not so."""
    fitted = preprocess.squash or preprocess.letterbox
    side = preprocess.crop if preprocess.crop is not None else preprocess.resize if fitted else None
    return None if side is None else (side, side)
