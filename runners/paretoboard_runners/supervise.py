"""Watch one child process to its end, whatever it does: crash, hang, fork, flood its output, be stopped.

The watcher waits in `select` on a process descriptor and never polls, so that watching costs nothing while the child
is timed. Whatever the child leaves behind is killed with it: the watcher is a "child subreaper", so even grandchildren
that left the process group come back to it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil

from paretoboard.process import die_with_parent

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

LOG_TAIL_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a child ended."""

    exit_code: int | None  # None when a signal ended it
    signal: int | None
    timed_out: bool
    elapsed_s: float
    leftovers: int  # processes that it left behind, all killed
    log_tail: str  # the last 64 KiB of its stdout and stderr

    @property
    def reason(self) -> str:
        """In plain words, "" for a clean end."""
        if self.timed_out:
            return f"ran into its time limit after {self.elapsed_s:.0f} s"
        return "" if self.exit_code == 0 else how_ended(self.exit_code, self.signal)


class ControlClosedError(Exception):
    """Whoever asked for this child is gone."""


def how_ended(exit_code: int | None, signal_number: int | None) -> str:
    """In plain words; one of the two is None, as in `Ending`."""
    return f"ended with exit code {exit_code}" if signal_number is None else f"killed by {_signal_name(signal_number)}"


def exit_and_signal(status: int) -> tuple[int | None, int | None]:
    """What os.waitpid's `status` says: the exit code, None when a signal ended the process, and that signal."""
    code = os.waitstatus_to_exitcode(status)
    return (None, -code) if code < 0 else (code, None)


class Emitter:
    """Sends events, one JSON object a line, to whoever watches this process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Send one event."""
        try:
            os.write(self.descriptor, json.dumps(event).encode() + b"\n")
        except OSError:
            return  # nobody listens any more; the work goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A child process under watch."""

    pid: int
    log: int  # descriptor: what it writes to stdout and stderr
    events: int  # descriptor: its events


def fork(body: Callable[[Emitter], int], *, memory_limit_bytes: int | None = None) -> Child:
    """Start `body` in a forked child: own session, no stdin, its output in a pipe; its result is the exit code."""
    log_read, log_write = os.pipe()
    event_read, event_write = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            die_with_parent(parent)
            os.close(log_read)
            os.close(event_read)
            _redirect(log_write)
            _limit_memory(memory_limit_bytes)
            code = body(Emitter(event_write))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(log_write)
    os.close(event_write)
    return Child(pid=pid, log=log_read, events=event_read)


def watch(
    child: Child,
    *,
    timeout_s: float,
    on_event: Callable[[Mapping[str, Any]], None],
    control: socket.socket | None = None,
    clear: Callable[[], int] | None = None,
) -> Ending:
    """Wait for `child` to end, kill it at its time limit, and clear away what it leaves behind.

    Args:
        control: a socket to whoever asked; when it closes, the child is killed.
        clear: kills what the child left behind and counts it; every descendant of this process when left out.
    Raises: ControlClosedError after killing the child when `control` closed.
    """
    start = time.monotonic()
    tail, lines = _Tail(), _Lines(on_event)
    streams: dict[int, Callable[[bytes], None]] = {child.log: tail.feed, child.events: lines.feed}
    timed_out = closed = False
    process = os.pidfd_open(child.pid)
    with selectors.DefaultSelector() as selector:
        for source in (process, *streams):
            selector.register(source, selectors.EVENT_READ)
        if control is not None:
            selector.register(control, selectors.EVENT_READ)
        ended = False
        while not (ended or closed or timed_out):
            ready = {key.fileobj for key, _ in selector.select(max(0.0, start + timeout_s - time.monotonic()))}
            timed_out, ended, closed = not ready, process in ready, control in ready
            for descriptor in streams.keys() & ready:
                data = os.read(descriptor, 1 << 16)
                streams[descriptor](data)
                if not data:
                    selector.unregister(descriptor)
    elapsed_s = time.monotonic() - start
    if timed_out or closed:
        os.kill(child.pid, signal.SIGKILL)
    exit_code, signal_number = exit_and_signal(os.waitpid(child.pid, 0)[1])
    leftovers = (clear or kill_descendants)()
    _drain(child.log, tail.feed)
    _drain(child.events, lines.feed)
    for descriptor in (process, child.log, child.events):
        os.close(descriptor)
    if closed:
        raise ControlClosedError
    return Ending(
        exit_code=exit_code,
        signal=signal_number,
        timed_out=timed_out,
        elapsed_s=elapsed_s,
        leftovers=leftovers,
        log_tail=tail.text(),
    )


def kill_descendants() -> int:
    """Kill and reap every descendant of this process; how many were running.

    Repeats until none is left, since a fork bomb makes new ones while the old ones are being killed, and since the
    children of whoever was killed come back to this process.
    """
    killed: set[int] = set()
    while children := psutil.Process().children(recursive=True):
        for child in children:
            if _alive(child):
                killed.add(child.pid)
                child.kill()
        _reap(child.pid for child in children)
    return len(killed)


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            continue  # a grandchild; it comes back as a child once its parent is reaped


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _redirect(log: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def _limit_memory(limit_bytes: int | None) -> None:
    if limit_bytes is None:
        return
    import resource

    # RLIMIT_DATA counts private writable memory; RLIMIT_AS would count the address space that torch merely reserves.
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _drain(descriptor: int, feed: Callable[[bytes], None]) -> None:
    """Read what is still in the pipe, without waiting for a writer that holds it open."""
    os.set_blocking(descriptor, False)
    try:
        while data := os.read(descriptor, 1 << 16):
            feed(data)
    except BlockingIOError:
        return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Tail:
    """Keeps the end of a stream."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> None:
        self._data = (self._data + data)[-LOG_TAIL_BYTES:]

    def text(self) -> str:
        return self._data.decode(errors="replace")


class _Lines:
    """Hands whole lines of JSON on as events; a line that is none is dropped, since the child may write anything."""

    _LONGEST: Final = 1 << 20

    def __init__(self, on_event: Callable[[Mapping[str, Any]], None]) -> None:
        self._rest = b""
        self._on_event = on_event

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data)[-self._LONGEST :].split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                self._on_event(event)
