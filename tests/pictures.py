"""Image files to test with: real encodings of made-up pictures, and of what is wrong with some."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    """A picture of smooth colours, (height, width, 3): JPEG changes it little, and every seed gives another one."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [128 + 100 * np.sin(rng.uniform(2, 6) * rows + rng.uniform(2, 6) * columns + phase) for phase in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def encoded(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """A picture as the content of a file."""
    stream = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(stream, kind, **options)
    return stream.getvalue()


def written(path: Path, content: bytes | None = None, *, seed: int = 0) -> Path:
    """A file, of a picture of its own where no content is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels(seed=seed)) if content is None else content)
    return path


def folder_of(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 3) -> Path:
    """A folder with `each` pictures of every class."""
    for label, name in enumerate(classes):
        for number in range(each):
            written(root / name / f"{number}.png", seed=100 * label + number)
    return root


def bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """A whole PNG of so many grey pixels, all black: 400 million of them in some 400 kB."""
    squeezer = zlib.compressobj(9)
    rows = b"".join(squeezer.compress(bytes(width + 1)) for _ in range(height)) + squeezer.flush()
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
