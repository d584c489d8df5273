"""How much memory a part of a process takes, as the kernel counts it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SELF: Final = Path("/proc/self")
_RESET_PEAK: Final = "5"  # Documentation/filesystems/proc.rst of Linux: "reset the peak resident set size"


@contextmanager
def watched(process: Path = _SELF) -> Iterator[Callable[[], int | None]]:
    """While the block runs, a function that gives the peak of resident memory beyond what was there when it began.

    None where the kernel doesn't let a process begin its peak anew.
    """
    try:
        (process / "clear_refs").write_text(_RESET_PEAK)
        before = resident_bytes("VmRSS", process / "status")
    except (OSError, ValueError):
        yield lambda: None
        return
    yield lambda: max(0, resident_bytes("VmHWM", process / "status") - before)


def resident_bytes(field: str, status: Path = _SELF / "status") -> int:
    """VmHWM, the most resident memory this process had, or VmRSS, what it has now.

    Not ru_maxrss, which a child inherits from its parent.

    Raises: ValueError where the kernel doesn't say.
    """
    for line in status.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{status}: no {field}")
