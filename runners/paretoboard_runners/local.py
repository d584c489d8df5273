"""The runner of this machine: a run becomes a record, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from paretoboard.errors import DataError, NotApplicableError, RefusedError
from paretoboard_runners import controls, diagnose, machine
from paretoboard_runners.client import JobFailedError, Worker, WorkerLostError
from paretoboard_runners.draft import Draft
from paretoboard_runners.measurement import Held, Measurement, TimedOtherwiseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from paretoboard.plan import RunSpec
    from paretoboard.records import RunRecord, Status
    from paretoboard.spec import HardwareProfile
    from paretoboard_runners.runner import Watch

# What an error inside a job makes of the run; every other error is a failure.
_STATUS_OF: Final[Mapping[str, Status]] = {"NotApplicableError": "skipped", "RefusedError": "refused"}
_TRIES: Final = 2


class LocalRunner:
    """Runs on this machine, in processes forked from one pinned worker per profile."""

    def __init__(
        self,
        *,
        data_root: Path,
        artifacts: Path,
        noise_floor: Callable[[str], float] = lambda profile: 0.0,
        rooflines: diagnose.Rooflines | None = None,
        fresh_seeds: bool = False,
    ) -> None:
        """A runner with its own folder of artifacts.

        Args:
            noise_floor: by profile, the effect that identical programs reach here (`Calibration.noise_floor`).
            rooflines: where those of this machine are kept, by default with this runner.
            fresh_seeds: draw the launches' layouts and orders anew each time, from the moment the run begins, and not
                from its id alone: nights that share them would share their luck.
        """
        self._fresh_seeds = fresh_seeds
        self._noise_floor = noise_floor
        self._rooflines = rooflines or diagnose.remembered()
        self._data_root = data_root.absolute()
        self._artifacts = artifacts.absolute()
        self._held: Held | None = None
        self._own_cores = os.sched_getaffinity(0)
        self._provenance = machine.provenance()

    def __enter__(self) -> LocalRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def measure(self, run: RunSpec, watch: Watch) -> RunRecord:
        """As `Runner.measure`."""
        draft = Draft(run=run, provenance=self._provenance, started_at=datetime.now(UTC), start=time.monotonic())
        for attempt in range(1, _TRIES + 1):
            try:
                self._take(run, draft, watch)
                lost = controls.not_held(run.profile, draft.controls)
                return draft.record("unstable", f"not held until the end: {lost}") if lost else draft.record("ok", "")
            except JobFailedError as error:
                _raise_data_error(error)
                # A kill from outside says nothing about the run, unless it happens again.
                if error.ending.signal != signal.SIGKILL or error.ending.timed_out or attempt == _TRIES:
                    return _failed(draft, error)
            except WorkerLostError as error:
                self.close()
                if attempt == _TRIES:
                    return draft.record("failed", f"the measuring worker was lost twice: {error}")
            except RefusedError as error:
                return draft.record("refused", str(error))
            except NotApplicableError as error:
                return draft.record("skipped", str(error))
            except TimedOtherwiseError as error:
                return draft.record("unstable", str(error))
            draft.forget()
        raise AssertionError("the last attempt returns")

    def close(self) -> None:
        """As `Runner.close`."""
        if self._held is not None:
            self._held.worker.close()
            self._held = None
        os.sched_setaffinity(0, self._own_cores)

    def _take(self, run: RunSpec, draft: Draft, watch: Watch) -> None:
        """All phases of a run, with a look at the controls before and after."""
        held = self._hold(run.profile)
        draft.controls = held.worker.controls()
        controls.check_required(run.profile, draft.controls)
        Measurement(
            held=held,
            data_root=self._data_root,
            artifacts=self._artifacts,
            noise_floor=self._noise_floor(run.profile.name),
            rooflines=self._rooflines,
            run=run,
            draft=draft,
            watch=watch,
            salt=draft.started_at.isoformat() if self._fresh_seeds else "",
        ).take()
        draft.controls = tuple(controls.states(draft.controls, held.worker.controls()))

    def _hold(self, profile: HardwareProfile) -> Held:
        if profile.device != "cpu":
            # Timing its calls from the CPU's clocks would measure something else than the profile says.
            raise RefusedError(f"profile {profile.name}: no runtime of this version runs on {profile.device}")
        if self._held is None or self._held.profile != profile:
            self.close()
            cores = controls.choose_cores(profile)
            build_cores = controls.choose_cores(profile, building=True)
            environment = controls.session_environment(profile, cores)
            worker = Worker(profile, cores=cores, environment=environment)
            self._held = Held(profile=profile, worker=worker, build_cores=build_cores)
            # The parent draws bars and writes files; it stays off the measured cores where there are others.
            os.sched_setaffinity(0, self._own_cores - set(cores) or self._own_cores)
        return self._held


def _failed(draft: Draft, error: JobFailedError) -> RunRecord:
    kind = error.failure.kind if error.failure else ""
    status: Status = "timeout" if error.ending.timed_out else _STATUS_OF.get(kind, "failed")
    reason = error.failure.message if error.failure and status != "failed" else error.reason
    log = error.failure.traceback if error.failure else ""
    return draft.record(status, reason, log_tail=f"{error.ending.log_tail}\n{log}".strip())


def _raise_data_error(error: JobFailedError) -> None:
    if error.failure is not None and error.failure.kind in ("DataError", "InputError"):
        raise DataError(error.failure.message) from None
