"""Start a job's ranks, watch them to their end, and leave no process behind, whatever happens to them."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from paretoboard.errors import DivergedError, InputError, NotApplicableError, ParallelError, ParetoboardError
from paretoboard.training.parallel import job as jobs
from paretoboard.training.parallel.process import end
from paretoboard.training.parallel.pulse import EVERY_S, LAUNCHER, Sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from paretoboard.training.parallel.job import Answer, Failure, Job

_MODULE: Final = "paretoboard.training.parallel.launcher"
_START_S: Final = 60.0
_SILENT_S: Final = 4 * EVERY_S + 2.0  # on a busy machine too, a rank that lives is heard sooner
_ERRORS: Final[Mapping[str, type[ParetoboardError]]] = {
    kind.__name__: kind for kind in (DivergedError, InputError, NotApplicableError, ParallelError)
}


def launch(job: Job, folder: Path, *, progress: Callable[[float, str], None]) -> Answer:
    """Do the job that lies in `folder`; its weights lie there afterwards.

    Args:
        progress: told (share done, how it goes) as ranks are heard; an error that it raises ends the ranks.
    Raises:
        ParallelError: for a rank that died or hung, for nodes that did not meet, and for a result that is not that of
            one process.
        DivergedError, InputError, NotApplicableError: as a rank raised them.
    """
    jobs.write(folder / jobs.JOB, job)
    watch = _Watch(job, folder)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", _MODULE, str(folder), str(writing), str(os.getpid())]
    try:
        launcher = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=(writing,), env=_environment(folder)
        )
    finally:
        os.close(writing)
    try:
        watch.until_ended(launcher.pid, reading, progress)
    finally:
        end(launcher)
        os.close(reading)
    if launcher.returncode != 0 or not (folder / jobs.ANSWER).exists():
        raise watch.cause(launcher.returncode)
    return jobs.read(jobs.Answer, folder / jobs.ANSWER)


def _environment(folder: Path) -> dict[str, str]:
    """This process's, with its modules: a network may come from one of the user's own. Drafts go to `folder`."""
    paths = os.pathsep.join(path for path in sys.path if path)
    # GNU OpenMP's waiting threads would take the cores from the other ranks.
    return {"OMP_WAIT_POLICY": "passive", **os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder)}


class _Watch:
    """What was heard of the ranks of one job."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._job, self._folder = job, folder
        self._signs: dict[int, Sign] = {}
        self._heard_s: dict[int, float] = {}  # when each was last heard
        self._moved_s = time.monotonic()  # when any of them last got somewhere new
        self._rest = b""

    def until_ended(self, pid: int, reading: int, progress: Callable[[float, str], None]) -> None:
        """Listen until the launcher ends.

        Raises: ParallelError when no rank got anywhere for the job's time limit.
        """
        process = os.pidfd_open(pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process, selectors.EVENT_READ)
                selector.register(reading, selectors.EVENT_READ)
                ended = False
                while not ended:
                    # A cold disk may take its time to give the launcher its modules.
                    limit_s = self._job.timeout_s if self._signs else max(self._job.timeout_s, _START_S)
                    left_s = self._moved_s + limit_s - time.monotonic()
                    if left_s <= 0:
                        raise ParallelError(self._hung())
                    ready = {key.fd for key, _ in selector.select(left_s)}
                    ended = process in ready
                    if reading in ready:
                        data = os.read(reading, 1 << 16)
                        self._listen(data, progress)
                        if not data:
                            selector.unregister(reading)
        finally:
            os.close(process)

    def cause(self, exit_code: int) -> ParetoboardError:
        """Why the ranks ended without an answer."""
        failures = [jobs.read(jobs.Failure, path) for path in self._folder.glob(jobs.FAILURE.format("*"))]
        killed = [failure for failure in failures if failure.kind == "signal"]
        if killed:
            return ParallelError(f"{self._who(killed[0])} was killed by {killed[0].message}{self._where(killed[0])}")
        if not failures:
            how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
            return ParallelError(f"the launcher of the ranks {how}")
        first = min(failures, key=lambda failure: failure.at_s)
        if first.kind in _ERRORS:
            return _ERRORS[first.kind](first.message)
        line = first.message.strip().splitlines()[0] if first.message.strip() else ""
        if first.who == LAUNCHER:
            return ParallelError(line)
        return ParallelError(f"{self._who(first)} failed{self._where(first)}: {first.kind}: {line}")

    def _listen(self, data: bytes, progress: Callable[[float, str], None]) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        now = time.monotonic()
        for line in lines:
            sign = Sign(**json.loads(line))
            before = self._signs.get(sign.rank)
            self._signs[sign.rank], self._heard_s[sign.rank] = sign, now
            if before is None or sign.steps > before.steps:
                self._moved_s = now
        ranks = sorted(rank for rank in self._signs if rank != LAUNCHER)
        if ranks and lines:
            progress(self._signs[ranks[0]].share, self._signs[ranks[0]].text)

    def _hung(self) -> str:
        """Where the ranks stand that get nowhere."""
        said = f"no rank got anywhere for {self._job.timeout_s:g} s"
        if not self._signs:
            return f"the launcher of the ranks did not start within {max(self._job.timeout_s, _START_S):g} s"
        ranks = sorted(rank for rank in self._signs if rank != LAUNCHER)
        if not ranks:
            return f"{said}: the launcher is at {self._signs[LAUNCHER].place}"
        return f"{said}: {', '.join(map(self._stands, ranks))}"

    def _stands(self, rank: int) -> str:
        place, silent_s = self._signs[rank].place, time.monotonic() - self._heard_s[rank]
        if silent_s > _SILENT_S:
            return f"rank {rank} was last heard {silent_s:.0f} s ago in {place}"
        return f"rank {rank} is in {place}"

    def _who(self, failure: Failure) -> str:
        return f"rank {failure.who} of {self._job.ranks}"

    def _where(self, failure: Failure) -> str:
        return f" in {self._signs[failure.who].place}" if failure.who in self._signs else ""
