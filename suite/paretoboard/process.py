"""What Linux lets a process ask of itself: to end with its parent, and how much memory it takes."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER: Final = 36
_RESET_PEAK: Final = "5"  # Documentation/filesystems/proc.rst of Linux: "reset the peak resident set size"
_SELF: Final = Path("/proc/self")
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends; at once if that has happened."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    _libc.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def resident_bytes(field: str, process: Path = _SELF) -> int:
    """VmHWM, the most resident memory this process had, or VmRSS, what it has now.

    Not ru_maxrss, which a child inherits from its parent.

    Raises: ValueError where the kernel doesn't say.
    """
    status = process / "status"
    for line in status.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{status}: no {field}")


def begin_peak_anew(process: Path = _SELF) -> None:
    """Let VmHWM count from what is resident now.

    Raises: OSError where the kernel doesn't let a process do so.
    """
    (process / "clear_refs").write_text(_RESET_PEAK)
