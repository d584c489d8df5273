"""The parent's side of a worker: start it pinned, give it jobs, and be sure that nothing of it is left."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psutil

from paretoboard import durable
from paretoboard.records import ControlState
from paretoboard_runners import controls, jobs, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paretoboard.spec import HardwareProfile

T = TypeVar("T")

# Every process of a session carries this variable, so that even one that left its group and its parent is found.
_MARK: Final = "PARETOBOARD_SESSION"
# The worker ends a job at its time limit; only a worker that is itself stopped needs the parent's.
_GRACE_S: Final = 20.0
_START_TIMEOUT_S: Final = 120.0


class WorkerLostError(Exception):
    """The worker itself ended or stopped answering; nothing is known about the job."""


class JobFailedError(Exception):
    """A job ended without a result."""

    def __init__(self, ending: supervise.Ending, failure: jobs.Failure | None) -> None:
        self.ending, self.failure = ending, failure
        super().__init__(self.reason)

    @property
    def reason(self) -> str:
        """In plain words."""
        if self.failure is None:
            return self.ending.reason or "ended without a result"
        if self.failure.kind == "MemoryError":
            return f"out of memory: {self.failure.message or 'an allocation was refused'}"
        return f"{self.failure.kind}: {self.failure.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """What a job is held to."""

    timeout_s: float
    memory_bytes: int | None = None


class Worker:
    """A worker process; use it as a context manager."""

    def __init__(
        self,
        profile: HardwareProfile,
        *,
        cores: tuple[int, ...],
        environment: Mapping[str, str],
        seed: int = 0,
    ) -> None:
        self.cores = cores
        self._profile = profile
        self._token = secrets.token_hex(8)
        self._scratch = tempfile.TemporaryDirectory(prefix="paretoboard-", ignore_cleanup_errors=True)
        self._buffer = b""
        self._jobs = 0
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "paretoboard_runners.worker", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **environment, _MARK: self._token},
            )
        self._socket = ours
        self._descriptor = os.pidfd_open(self._process.pid)
        try:
            self._send({"profile": json.loads(jobs.to_json(profile)), "cores": cores, "seed": seed})
            answer = self._receive(time.monotonic() + _START_TIMEOUT_S)["controls"]
            self._seen_inside = tuple(ControlState(**state) for state in answer)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def controls(self) -> tuple[ControlState, ...]:
        """Each control as it is now: as the worker saw it from inside when it began, and from outside at this moment.

        Raises: WorkerLostError when the worker is gone.
        """
        if select.select([self._descriptor], [], [], 0)[0]:
            raise WorkerLostError("the worker ended")
        seen_outside = controls.observe_process(self.pid, self._profile, self.cores)
        return tuple(controls.states(self._seen_inside, seen_outside))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do(
        self,
        function: str,
        job: object,
        result: type[T],
        *,
        limits: JobLimits,
        preload: Sequence[str] = (),
        fresh_environment: Mapping[str, str] | None = None,
        on_event: Callable[[Mapping[str, Any]], None] = lambda event: None,
    ) -> tuple[T, Path]:
        """Have one job done in a fresh process; its result and the folder with its files.

        Args:
            function: `module:function` that takes (job, folder, emit) and gives a `result`.
            preload: modules that the worker imports first, once for all jobs that ask for them.
            fresh_environment: start a new interpreter with these variables instead of forking the worker.
        Raises:
            JobFailedError: when it ended without a result, for whatever reason.
            WorkerLostError: when the worker itself is gone.
        """
        folder = Path(self._scratch.name) / f"{self._jobs:04d}"
        self._jobs += 1
        folder.mkdir()
        durable.write(folder / jobs.JOB, jobs.to_json(job).encode())
        self._send(
            {
                "function": function,
                "preload": list(preload),
                "kind": f"{type(job).__module__}:{type(job).__qualname__}",
                "folder": str(folder),
                "timeout_s": limits.timeout_s,
                "memory_limit_bytes": limits.memory_bytes,
                "fresh": fresh_environment is not None,
                "environment": None if fresh_environment is None else {**fresh_environment, _MARK: self._token},
            }
        )
        ending = self._wait_for_end(time.monotonic() + limits.timeout_s + _GRACE_S, on_event)
        if ending.exit_code == 0 and (folder / jobs.RESULT).exists():
            return jobs.from_json(result, (folder / jobs.RESULT).read_text()), folder
        raise JobFailedError(ending, _failure(folder))

    def close(self) -> None:
        """End the worker and everything it started."""
        self._socket.close()
        if not select.select([self._descriptor], [], [], 5.0)[0]:
            self._process.kill()
        self._process.wait()
        os.close(self._descriptor)
        kill_marked(self._token)
        self._scratch.cleanup()

    def _wait_for_end(self, deadline: float, on_event: Callable[[Mapping[str, Any]], None]) -> supervise.Ending:
        while True:
            message = self._receive(deadline)
            if "ended" in message:
                return supervise.Ending(**message["ended"])
            on_event(message["event"])

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise WorkerLostError("the worker is gone") from error

    def _receive(self, deadline: float) -> Mapping[str, Any]:
        while b"\n" not in self._buffer:
            sources = [self._socket.fileno(), self._descriptor]
            ready = select.select(sources, [], [], max(0.0, deadline - time.monotonic()))[0]
            data = self._socket.recv(1 << 16) if self._socket.fileno() in ready else b""
            if not data:
                raise WorkerLostError("the worker ended" if ready else "the worker stopped answering")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Mapping[str, Any] = json.loads(line)
        return message


def kill_marked(token: str) -> int:
    """Kill every process that carries a session's mark and wait for their ends; how many there were."""
    mark = f"{_MARK}={token}".encode()
    descriptors = []
    for process in psutil.process_iter():
        try:
            if mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0") and process.pid != os.getpid():
                descriptors.append(os.pidfd_open(process.pid))
        except OSError:
            continue  # gone by now, or not ours to look at
    for descriptor in descriptors:
        # A descriptor, not a number, which might be another process's by now.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], _GRACE_S)
        os.close(descriptor)
    return len(descriptors)


def _failure(folder: Path) -> jobs.Failure | None:
    try:
        return jobs.from_json(jobs.Failure, (folder / jobs.FAILURE).read_text())
    except FileNotFoundError:
        return None
