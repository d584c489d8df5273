"""Signs of life of a rank: where it stands, told again and again by a thread of its own.

A rank that was stopped tells nothing any more, one that waits for another tells the same; so whoever listens can say
which of several ranks hangs, and where.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from typing import Any, Final

EVERY_S: Final = 0.25
LAUNCHER: Final = -1  # stands for whoever starts the ranks, where a rank is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What a rank tells."""

    rank: int  # or LAUNCHER
    steps: int  # how often it got somewhere new; more is what shows that it does not hang
    place: str  # "step 7 of 40"
    share: float  # of the work that is done
    text: str  # how it goes, "" where there is nothing to say


class Pulse:
    """Tells through a pipe where this rank stands."""

    def __init__(self, descriptor: int, rank: int, *, every_s: float = EVERY_S) -> None:
        self._descriptor, self._rank, self._every_s = descriptor, rank, every_s
        self._now: dict[str, Any] = {"rank": rank, "steps": 0, "place": "start-up", "share": 0.0, "text": ""}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell_on, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def at(self, place: str, share: float, text: str = "") -> None:
        """The rank got there; `text` stays what it was where none is given."""
        now = self._now
        self._now = {**now, "steps": now["steps"] + 1, "place": place, "share": share, "text": text or now["text"]}

    def _tell_on(self) -> None:
        while True:
            ended = self._ended.wait(self._every_s)
            try:
                os.write(self._descriptor, json.dumps(self._now).encode() + b"\n")  # shorter than a pipe's atom
            except OSError:
                return  # nobody listens any more: the kernel ends this process soon
            if ended:
                return
