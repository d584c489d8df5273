"""How much memory a part of a process takes, as the kernel counts it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard.process import begin_peak_anew, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SELF: Final = Path("/proc/self")


@contextmanager
def watched(process: Path = _SELF) -> Iterator[Callable[[], int | None]]:
    """While the block runs, a function that gives the peak of resident memory beyond what was there when it began.

    None where the kernel doesn't let a process begin its peak anew.
    """
    try:
        begin_peak_anew(process)
        before = resident_bytes("VmRSS", process)
    except (OSError, ValueError):
        yield lambda: None
        return
    yield lambda: max(0, resident_bytes("VmHWM", process) - before)
