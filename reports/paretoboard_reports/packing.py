"""Tables and values for the scripts of the pages, as classic scripts that a page can load from a disk.

At file:// a browser refuses fetch, modules and workers; a script that hands over gzip in base64 is what is left, and
a hundred thousand rows of it are ready in less than half a second. The same content gives the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Kind = Literal["number", "words", "bytes"]

# Typed arrays of a browser begin at multiples of their item's size.
_ALIGNMENT: Final = 8
# A part is a string in a script: far below what any engine holds, and no server's limit for a file.
PART_CHARACTERS: Final = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a packed table."""

    name: str
    label: str  # as a heading, with its unit
    kind: Kind
    values: Any = field(repr=False)  # number: float64, NaN where missing; words: texts; bytes: (rows, width) uint8
    unit: str = ""


def pack(columns: Sequence[Column]) -> bytes:
    """A table as bytes: a head in JSON that says where each column lies, then the columns.

    Numbers take the narrowest type that holds them exactly; words are a sorted dictionary and a number for each row,
    so that the order of the numbers is the order of the words.
    """
    head: list[dict[str, Any]] = []
    parts: list[bytes] = []
    offset = 0
    for column in columns:
        array, more = _array(column)
        content = array.tobytes()
        content += b"\0" * (-len(content) % _ALIGNMENT)
        about = {"name": column.name, "label": column.label, "unit": column.unit, "kind": column.kind}
        head.append({**about, "type": array.dtype.str[1:], "offset": offset, **more})
        parts.append(content)
        offset += len(content)
    rows = len(columns[0].values) if columns else 0
    text = json.dumps({"rows": rows, "columns": head}, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 4) % _ALIGNMENT)
    return struct.pack("<I", len(text)) + text + b"".join(parts)


def scripts(name: str, content: bytes) -> Iterator[bytes]:
    """`content` as scripts, each of which hands one part of it over under `name`."""
    text = compressed(content)
    for start in range(0, max(len(text), 1), PART_CHARACTERS):
        yield script(name, text[start : start + PART_CHARACTERS])


def script(name: str, text: str) -> bytes:
    """A script that hands `text` over under `name`."""
    return f"paretoboard.part({json.dumps(name)}, {json.dumps(text)});\n".encode()


def compressed(content: bytes) -> str:
    """`content` as gzip in base64."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _array(column: Column) -> tuple[NDArray[Any], dict[str, Any]]:
    if column.kind == "words":
        codes, words = pd.factorize(np.asarray(column.values, dtype=object), sort=True)
        return codes.astype(_narrowest_count(len(words))), {"words": [str(word) for word in words]}
    if column.kind == "bytes":
        found = np.ascontiguousarray(column.values, dtype=np.uint8)
        return found, {"width": found.shape[1]}
    return _narrowest(np.asarray(column.values, dtype=np.float64)), {}


def _narrowest(values: NDArray[np.float64]) -> NDArray[Any]:
    """The same numbers, none changed, in as few bytes as hold them all."""
    if np.isfinite(values).all() and (values == np.floor(values)).all() and (values >= 0).all():
        most = int(values.max(initial=0))
        if most < 2**32:
            return values.astype(_narrowest_count(most + 1))
    with np.errstate(over="ignore"):
        single = values.astype("<f4")
    exact = np.array_equal(single.astype(np.float64), values, equal_nan=True)
    return single if exact else values.astype("<f8")


def _narrowest_count(values: int) -> str:
    return "<u1" if values <= 2**8 else "<u2" if values <= 2**16 else "<u4"
