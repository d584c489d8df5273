"""What is told while a command goes on, kept in a file as well that can't grow without end."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_BYTES: Final = 1_000_000
_ENOUGH: Final = "\n[the rest is left out: this file has reached its limit]\n"


class _Both(io.TextIOBase):
    """Writes to stderr, and to a file until that has enough."""

    def __init__(self, stderr: TextIO, file: TextIO, room: int) -> None:
        self._stderr, self._file, self._room = stderr, file, room

    def write(self, text: str) -> int:
        self._stderr.write(text)
        if self._room > 0:
            self._room -= len(text.encode())
            try:
                self._file.write(text if self._room > 0 else _ENOUGH)
                self._file.flush()
            except OSError:  # the disk is full: what is told there is still told here
                self._room = 0
        return len(text)

    def flush(self) -> None:
        self._stderr.flush()

    def isatty(self) -> bool:
        return False  # lines, also where somebody watches: bars would fill the file


@contextmanager
def logged(path: Path, *, keep: int) -> Iterator[None]:
    """Write what goes to stderr to `path` too, after what is there; of all logs in its folder the newest few stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(path.parent.glob(f"[0-9]*{path.suffix}"))[: -keep or None]:
        if old != path:
            old.unlink(missing_ok=True)
    with path.open("a", encoding="utf-8") as file:
        room = MOST_BYTES - file.tell()
        try:
            with redirect_stderr(_Both(sys.stderr, file, room)):
                yield
        except BaseException as error:
            # The person who called sees it by other ways; whoever reads the log would miss it.
            if not isinstance(error, SystemExit) and str(error):
                file.write(f"{error}\n")
            raise
