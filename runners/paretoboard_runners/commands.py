"""A command of somebody else's, run to its end in a folder: its processor time, what it printed, how it ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from paretoboard_runners.supervise import exit_and_signal, how_ended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TAIL_BYTES: Final = 2000
_OUTPUT_BYTES: Final = 1_000_000
_DYING_S: Final = 2.0


class CommandFailedError(Exception):
    """A command did not end well; the message says how, with the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command that ended well took and printed."""

    cpu_s: float  # of it and of all processes that it waited for
    wall_s: float
    stdout: str  # the last megabyte


def run(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout_s: float) -> Done:
    """Run a command, without a shell, in a session of its own that ends with it.

    Raises: CommandFailedError where it can't be started, fails, or runs into its time limit.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailedError(f"{command[0]} can't be started: {error.strerror}") from error
        ended, status, cpu_s, wall_s = False, 0, 0.0, 0.0
        try:
            ended = _ends_within(process.pid, timeout_s)
        finally:
            # Whatever happens here, also Ctrl-C, nothing of it is left behind.
            if not ended:
                _kill(process.pid)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu_s, wall_s = used.ru_utime + used.ru_stime, time.perf_counter() - start
            _kill(process.pid)
            _wait_until_gone(process.pid)
        if not ended:
            raise CommandFailedError(f"ran into its time limit of {timeout_s:g} s{_said(err)}")
        if status:
            raise CommandFailedError(f"{how_ended(*exit_and_signal(status))}{_said(err)}")
        return Done(cpu_s=cpu_s, wall_s=wall_s, stdout=_tail(out, _OUTPUT_BYTES))


def _ends_within(pid: int, timeout_s: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _wait_until_gone(group: int) -> None:
    """What was killed takes a moment to end, in which it would run beside the next command.

    Not for long: whoever inherits what is left may never ask how it ended.
    """
    deadline = time.monotonic() + _DYING_S
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.002)


def _said(stream: IO[bytes]) -> str:
    text = _tail(stream, _TAIL_BYTES).strip()
    return f"; it said:\n{text}" if text else ""


def _tail(stream: IO[bytes], size: int) -> str:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - size))
    return stream.read().decode(errors="replace")
