"""The third phase of a run: one launch of timed calls, of the very artifacts that were scored."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard import runtimes
from paretoboard.runtimes.input.session import InputSession
from paretoboard_runners import apart, feeding, jobs, repeats, scoring, timing
from paretoboard_runners.quality import input_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.runtimes import Session
    from paretoboard_runners.scoring import Answering
    from paretoboard_runners.supervise import Emitter

CALLS: Final = "calls.npz"


def launch(job: jobs.LaunchJob, folder: Path, emit: Emitter) -> jobs.LaunchResult:
    """Time the job's artifacts against each other; leaves every call in `calls.npz`."""
    # All launches are forked from one process, so the arm that is loaded first would get the same memory in each.
    # Whether that ever matters was not seen; drawn anew for each launch, it could only be noise between launches.
    count = len(job.artifacts)
    order = random.Random(job.plan.seed).sample(range(count), count)
    with contextlib.ExitStack() as ends:
        opened = {index: _opened(job, index, ends) for index in order}
        sides = [opened[index] for index in range(count)]
        done = timing.drive(sides, job.plan, on_window=lambda share: emit({"stage": "timing", "launch_done": share}))
        return keep(done, folder, repeat_effects=sides[-1].repeat_effects(job.plan), input_s=sides[-1].input_s())


def _opened(job: jobs.LaunchJob, index: int, ends: contextlib.ExitStack) -> ArtifactSide | ArtifactApart:
    """The side of one artifact; a process of its own ends with `ends`."""
    images = np.load((job.other_inputs or [job.input_file] * len(job.artifacts))[index])
    images = images[: job.batch * input_count(job.batch)]
    batches = images.reshape(-1, job.batch, *images.shape[1:])

    def make() -> ArtifactSide:
        session = runtimes.open(job.artifacts[index], threads=job.plan.threads, batches=(job.batch,))
        return ArtifactSide(SessionArm(session, batches, scoring.answering(job.detection)))

    if not job.apart:
        return make()
    side = ArtifactApart(make, name=str(job.artifacts[index]))
    ends.callback(side.close)
    return side


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


class ArtifactSide(timing.Here):
    """An artifact that is timed in this process."""

    def __init__(self, arm: SessionArm) -> None:
        super().__init__(arm)
        self._asked = arm

    def repeat_effects(self, plan: timing.LaunchPlan) -> tuple[float, ...]:
        """As `repeats.measure` finds them."""
        return repeats.measure(self._asked, plan)

    def input_s(self) -> tuple[float, ...]:
        """As `SessionArm.input_s` finds them."""
        return self._asked.input_s()


class ArtifactApart(apart.Apart):
    """The same in a process of its own."""

    def repeat_effects(self, plan: timing.LaunchPlan) -> tuple[float, ...]:
        """As `repeats.measure` finds them."""
        effects: tuple[float, ...] = self.ask("repeat_effects", plan)
        return effects

    def input_s(self) -> tuple[float, ...]:
        """As `SessionArm.input_s` finds them."""
        found: tuple[float, ...] = self.ask("input_s")
        return found


class SessionArm:
    """A runtime's session as something that is timed."""

    def __init__(self, session: Session, batches: NDArray[np.float32], answers: Answering | None = None) -> None:
        self._session, self._batches = session, batches
        self._answers = answers or scoring.answering(None)
        self._asked = 0
        self.call = session.run

    def refresh(self) -> None:
        """The session's weights."""
        self._session.refresh()

    def inputs(self) -> Sequence[Any]:
        """The batches, each prepared from a copy."""
        return [self._session.prepare(batch.copy()) for batch in self._batches]

    def input_s(self) -> tuple[float, ...]:
        """Seconds of calls of the input pipeline alone, without the model; none where there is no pipeline."""
        return feeding.measure(self._session.feed, self.inputs()) if isinstance(self._session, InputSession) else ()

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
        return [int(best) for best in self._answers(self._session.logits(output))]
