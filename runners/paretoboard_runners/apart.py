"""A side of a launch in a child process of its own, for arms that can't live in one: each with threads of its own.

The child does what `timing.Here` does, asked over a pipe. One child is active at a time: while nobody asks it, it is
stopped, so that threads which wait by spinning take nothing from the other side.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any, NoReturn

from paretoboard.process import die_with_parent
from paretoboard_runners import supervise

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from paretoboard_runners.timing import CallLog


class SideLostError(Exception):
    """The child of a side ended by itself."""


class Apart:
    """The side that `make` makes in a child forked from here, which `close` ends.

    Args:
        make: called in the child, once.
        name: for messages.
    Raises: whatever `make` raises.
    """

    def __init__(self, make: Callable[[], Any], *, name: str) -> None:
        self._name = name
        self._how = "ended"  # how a child that was lost did
        self._connection, theirs = Pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                die_with_parent(parent)
                self._connection.close()
                _serve(theirs, make)
            finally:
                os._exit(0)
        theirs.close()
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._pid

    def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """What the side's `method` gives.

        Raises:
            SideLostError: when the child is gone, naming what ended it.
            Exception: whatever the method raised.
        """
        self._signal(signal.SIGCONT)
        try:
            self._connection.send((method, arguments, named))
        except OSError:
            self._lost()
        return self._answer()

    def fresh(self, hole: int) -> None:
        """As in timing.Side."""
        self.ask("fresh", hole)

    def warm_up(self, calls: int) -> int:
        """As in timing.Side."""
        fastest_ns: int = self.ask("warm_up", calls)
        return fastest_ns

    def leg(self, position: int, calls: int, threads: int, launch_start: int, *, keep: bool) -> CallLog:
        """As in timing.Side; CLOCK_MONOTONIC is one for all processes."""
        log: CallLog = self.ask("leg", position, calls, threads, launch_start, keep=keep)
        return log

    def end_window(self) -> list[tuple[int, tuple[int, ...]]]:
        """As in timing.Side."""
        kept: list[tuple[int, tuple[int, ...]]] = self.ask("end_window")
        return kept

    def close(self) -> None:
        """End the child."""
        self._connection.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)  # stopped or not; until it is waited for, the number is the child's
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _answer(self) -> Any:
        try:
            failed, result = self._connection.recv()
        except (EOFError, OSError):
            self._lost()
        self._stop()
        if failed is not None:
            raise failed
        return result

    def _signal(self, number: signal.Signals) -> None:
        if self._pid:
            os.kill(self._pid, number)

    def _stop(self) -> None:
        """Stop the child and wait until it is."""
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _lost(self) -> NoReturn:
        if self._pid:
            self._how = supervise.how_ended(*supervise.exit_and_signal(os.waitpid(self._pid, 0)[1]))
            self._pid = 0
        raise SideLostError(f"the process of {self._name} was lost while it was timed: {self._how}")


def _serve(connection: Connection, make: Callable[[], Any]) -> None:
    """Answer (what failed or None, result) to each question until nobody asks any more."""
    gc.disable()
    try:
        side = make()
    except BaseException as error:  # noqa: BLE001 - raised where it was asked for
        connection.send((_portable(error), None))
        return
    connection.send((None, None))
    while True:
        try:
            method, arguments, named = connection.recv()
        except EOFError:
            return
        if method == "fresh":
            gc.collect()  # the one moment between windows; off otherwise, as in `timing.no_garbage_collection`
        failed: BaseException | None = None
        result = None
        try:
            result = getattr(side, method)(*arguments, **named)
        except BaseException as error:  # noqa: BLE001
            failed = _portable(error)
        connection.send((failed, result))


def _portable(error: BaseException) -> BaseException:
    """`error`, or one that says the same where it can't travel."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, of this moment
    except Exception:  # noqa: BLE001
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
