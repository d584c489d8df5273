"""The third phase of a run: one launch of timed calls, of the very artifacts that were scored."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard import runtimes
from paretoboard.runtimes.input.session import InputSession
from paretoboard_runners import feeding, jobs, repeats, timing
from paretoboard_runners.quality import input_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.runtimes import Session
    from paretoboard_runners.supervise import Emitter

CALLS: Final = "calls.npz"


def launch(job: jobs.LaunchJob, folder: Path, emit: Emitter) -> jobs.LaunchResult:
    """Time the job's artifacts against each other; leaves every call in `calls.npz`."""
    images = np.load(job.input_file)[: job.batch * input_count(job.batch)]
    batches = images.reshape(-1, job.batch, *images.shape[1:])
    # All launches are forked from one process, so the arm that is loaded first would get the same memory in each.
    # Whether that ever matters was not seen; drawn anew for each launch, it could only be noise between launches.
    count = len(job.artifacts)
    opened = {
        index: runtimes.open(job.artifacts[index], threads=job.plan.threads, batches=(job.batch,))
        for index in random.Random(job.plan.seed).sample(range(count), count)
    }
    arms = [SessionArm(opened[index], batches) for index in range(count)]
    done = timing.run_launch(arms, job.plan, on_window=lambda share: emit({"stage": "timing", "launch_done": share}))
    repeat_effects = repeats.measure(arms[-1], job.plan)
    timed = opened[count - 1]
    input_s = feeding.measure(timed.feed, arms[-1].inputs()) if isinstance(timed, InputSession) else ()
    for session in opened.values():
        session.close()
    return keep(done, folder, repeat_effects=repeat_effects, input_s=input_s)


def keep(
    done: timing.Launch, folder: Path, *, repeat_effects: tuple[float, ...], input_s: tuple[float, ...] = ()
) -> jobs.LaunchResult:
    """Write the calls of a launch to `calls.npz`; the rest is the job's result."""
    np.savez(folder / CALLS, allow_pickle=False, **done.calls.arrays())
    return jobs.LaunchResult(
        windows=done.windows,
        outputs=done.outputs,
        elapsed_s=done.elapsed_s,
        timed_s=done.timed_s,
        repeat_effects=repeat_effects,
        input_s=input_s,
    )


class SessionArm:
    """A runtime's session as something that is timed."""

    def __init__(self, session: Session, batches: NDArray[np.float32]) -> None:
        self._session, self._batches = session, batches
        self._asked = 0
        self.call = session.run

    def refresh(self) -> None:
        """The session's weights."""
        self._session.refresh()

    def inputs(self) -> Sequence[Any]:
        """The batches, each prepared from a copy."""
        return [self._session.prepare(batch.copy()) for batch in self._batches]

    def unseen(self, count: int) -> Sequence[Any]:
        """So many inputs that were never given before."""
        # Rolled over its edges: the same values elsewhere, so no input equals another in any dtype.
        first = self._asked + 1
        self._asked += count
        return [self._session.prepare(self._rolled(number)) for number in range(first, first + count)]

    def _rolled(self, number: int) -> NDArray[np.float32]:
        height, width = self._batches.shape[-2:]
        base, place = divmod(number, height * width)
        rolled: NDArray[np.float32] = np.roll(
            self._batches[base % len(self._batches)], divmod(place, width), axis=(-2, -1)
        )
        return rolled

    def classes_of(self, output: Any) -> Sequence[int]:
        """The best guess for every image."""
        return [int(best) for best in self._session.logits(output).argmax(axis=1)]
