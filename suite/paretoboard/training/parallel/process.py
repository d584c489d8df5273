"""Processes that end together, and what one of them holds in memory."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Final

import psutil

from paretoboard.process import begin_peak_anew, resident_bytes

if TYPE_CHECKING:
    import subprocess

_ENDED_WITHIN_S: Final = 10.0  # a killed process is gone much sooner, unless its memory is large


def end(leader: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group of its own, with that group and all descendants; return when they are gone."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(leader.pid).children(recursive=True)
    # Not reaped yet: no other group can have got its number.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    leader.wait()
    deadline = time.monotonic() + _ENDED_WITHIN_S
    while any(_runs(process) for process in family) and time.monotonic() < deadline:
        time.sleep(0.01)


def _runs(process: psutil.Process) -> bool:
    """Zombies don't: who adopted them may take its time."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Memory:
    """Resident memory of this process beyond what it has now."""

    def __init__(self) -> None:
        self._before = resident_bytes("VmRSS")

    def begin(self) -> None:
        """Forget peaks of before, where the system lets us."""
        with contextlib.suppress(OSError):
            begin_peak_anew()

    def peak_bytes(self) -> int:
        """The highest since `begin`, beyond what there was when this was made."""
        return max(resident_bytes("VmHWM") - self._before, 0)
