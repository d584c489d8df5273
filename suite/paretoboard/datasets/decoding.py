"""From the bytes of an image file, which a stranger may have written, to a picture in RGB.

Grey, palette and CMYK pictures become RGB by Pillow's `convert`, as in torchvision's datasets, with which published
accuracies were measured; transparency is dropped, and of several frames the first is taken. An orientation that a
camera noted (EXIF) is not applied, since it is not applied there either. Grey pictures of 16 bits or of floating-point
numbers are refused: Pillow would cut them off at 255. Of 16 bits a colour it takes the upper 8.

What is bad about a file is an error with the reason. A JPEG with a few wrong bytes in its middle is none that any
decoder reports; it gives a picture with a stripe.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Final

from paretoboard import geometry
from paretoboard.errors import DataError
from paretoboard.geometry import MOST_PIXELS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from paretoboard.spec import Preprocess

# By content, not by name: ImageNet has a PNG and CMYK pictures under names that end in .JPEG.
FORMATS: Final = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
# What is taken for an image in a folder, in lower case; torchvision's IMG_EXTENSIONS.
SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MOST_BYTES: Final = 1 << 28  # of a file; 89 million pixels in RGB that nothing compresses take no more
# Of the frame around a letterboxed picture, as detectors of the YOLO family are trained.
GREY: Final = 114
_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
# What Pillow's decoders raise for damaged files depends on where they stumble.
_DAMAGE: Final = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    RuntimeError, AssertionError, SystemError, struct.error, zlib.error,
)  # fmt: skip


def decode(content: bytes) -> Image.Image:
    """The picture in `content`, in RGB.

    Raises: DataError with the reason, for anything but a whole picture of at most MOST_PIXELS in one of FORMATS.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _require_decodable(picture)
            return picture.convert("RGB")
    except Image.DecompressionBombError as error:
        raise DataError(f"too large a picture, refused before decoding: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"not an image: none of {', '.join(FORMATS)}") from error
    except _DAMAGE as error:
        raise DataError(f"damaged: {str(error) or type(error).__name__}") from error


def fit(picture: Image.Image, preprocess: Preprocess) -> Image.Image:
    """`picture` resized and cropped as the task asks.

    Raises: DataError where it is too small for the crop, or one side is so long that it would become too large.
    Source: torchvision's `Resize` and `CenterCrop` of Pillow pictures, of which it has every bit.
    """
    from PIL import Image

    width, height = picture.size
    geometry.output_size((height, width), preprocess)
    target_height, target_width = geometry.resized((height, width), preprocess)
    if (target_width, target_height) != picture.size:
        resampling = Image.Resampling[preprocess.interpolation.upper()]
        picture = picture.resize((target_width, target_height), resampling)
    if preprocess.letterbox and preprocess.resize is not None:
        return _framed(picture, (height, width), preprocess.resize)
    if preprocess.crop is None:
        return picture
    # round() takes halves to the even neighbour, as torchvision does.
    left, top = round((target_width - preprocess.crop) / 2), round((target_height - preprocess.crop) / 2)
    return picture.crop((left, top, left + preprocess.crop, top + preprocess.crop))


def _framed(picture: Image.Image, stored: geometry.Size, side: int) -> Image.Image:
    """A picture that was resized from the size `stored` in the middle of a grey square."""
    from PIL import Image

    _, (top, left) = geometry.letterboxed(stored, side)
    square = Image.new(picture.mode, (side, side), GREY if picture.mode == "L" else (GREY,) * 3)
    square.paste(picture, (left, top))
    return square


def planes(picture: Image.Image) -> NDArray[np.uint8]:
    """(channels, height, width) pixels of a picture in grey or RGB."""
    import numpy as np

    pixels = np.asarray(picture)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels)


def _require_decodable(picture: Image.Image) -> None:
    """Raises: DataError for what is known from the header to be no picture for us."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise DataError(
            f"too large a picture, refused before decoding: {width:,} x {height:,} pixels, {MOST_PIXELS:,} at most"
        )
    if picture.mode not in _MODES:
        raise DataError(f"pixels of mode {picture.mode}: 8 bits a channel would be right")
