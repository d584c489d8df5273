"""Pickles to test with: one that does harm, and one as Python 2 wrote the batches of CIFAR-10."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np


class FileMaker:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def python2_batch(records: bytes) -> bytes:
    """Records of the binary version as a pickle with byte strings, which only Python 2 writes."""
    images = np.frombuffer(records, np.uint8).reshape(-1, 3073)
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in images[:, 0].tolist()) + b"e"
    return (
        b"\x80\x02}(" + _short("batch_label") + _short("a batch") + _short("labels") + labels
        + _short("data") + _array(images[:, 1:]) + b"u."
    )  # fmt: skip


def _array(values: np.ndarray) -> bytes:
    content = values.tobytes()
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _short("b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + _short("u1") + b"K\x00K\x01\x87R(K\x03" + _short("|") + b"NNN"
    dtype += b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    shape = b"(" + b"".join(b"J" + struct.pack("<i", extent) for extent in values.shape) + b"t"
    return empty + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(content)) + content + b"tb"


def _short(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()
