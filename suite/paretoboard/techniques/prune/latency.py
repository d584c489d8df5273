"""How long a network takes beside another, on the machine at hand.

As in the protocol that runs are measured by, calls of both are interleaved in blocks, weights and inputs move to new
memory for each window, and the lower half of the calls decides; but all in one process and within seconds.
"""

from __future__ import annotations

import contextlib
import gc
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from paretoboard.runtimes import Session

MIN_WINDOWS: Final = 12  # enough for an interval that one odd window doesn't decide
MAX_WINDOWS: Final = 36
_WINDOW_NS: Final = 50_000_000  # of the clock that decides, and at least so many blocks
_WINDOW_BLOCKS: Final = 4
_LEG_NS: Final = 2_000_000  # of timed calls of one network in a row, at least one
_INPUTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeShare:
    """Time of a network as a share of another's, for one image."""

    share: float
    low: float  # 95 % interval over the windows
    high: float
    windows: int

    def __str__(self) -> str:
        return f"{self.share:.1%} of the time ({self.low:.1%} to {self.high:.1%} over {self.windows} windows)"


def time_share(
    whole: Path,
    cut: Path,
    input_shape: tuple[int, ...],
    *,
    decide: float,
    seed: int,
    clock: Callable[[], int] = time.thread_time_ns,
) -> TimeShare:
    """Time of the artifact in `cut` as a share of that in `whole`, at batch 1 with one thread.

    Args:
        decide: windows are added until the interval is all above or all below it, or there are MAX_WINDOWS.
        seed: of inputs and order.
        clock: nanoseconds; CPU time of this thread, in which others on the same cores don't count.
    Raises: NotApplicableError for a missing library.
    """
    from paretoboard import runtimes

    with _one_thread(), contextlib.ExitStack() as stack:
        sessions = []
        for folder in (whole, cut):
            session = runtimes.open(folder, threads=1, batches=(1,))
            stack.callback(session.close)
            sessions.append(session)
        return share_of(sessions, input_shape, decide=decide, seed=seed, clock=clock)


def share_of(
    sessions: list[Session], input_shape: tuple[int, ...], *, decide: float, seed: int, clock: Callable[[], int]
) -> TimeShare:
    """Time of the second session as a share of the first's; arguments as those of `time_share`."""
    from paretoboard import stats

    rng = random.Random(seed)
    effects: list[float] = []
    with _no_garbage_collection():
        while True:
            effects.append(_window(sessions, input_shape, rng, clock))
            if len(effects) < MIN_WINDOWS:
                continue
            found = stats.estimate([effects])
            share, low, high = (math.exp(effect) for effect in (found.log_ratio, found.low, found.high))
            if low > decide or high < decide or len(effects) == MAX_WINDOWS:
                return TimeShare(share=share, low=low, high=high, windows=len(effects))


def _window(
    sessions: list[Session], input_shape: tuple[int, ...], rng: random.Random, clock: Callable[[], int]
) -> float:
    """ln(time of the second / time of the first) in one memory layout."""
    import numpy as np

    from paretoboard.stats import window_effect

    holes, inputs = _fresh_buffers(sessions, input_shape, rng)
    warm = [_warm(session, own, clock) for session, own in zip(sessions, inputs, strict=True)]
    calls = max(1, round(_LEG_NS / max(1, min(warm))))
    times: tuple[list[int], list[int]] = ([], [])
    blocks, start = 0, clock()
    while blocks < _WINDOW_BLOCKS or clock() - start < _WINDOW_NS:
        order = rng.sample((0, 1), 2)
        for arm in (*order, *reversed(order)):
            run, own = sessions[arm].run, inputs[arm]
            run(own[-1])  # not timed: it finds the caches full of the other network's data
            for number in range(calls):
                before = clock()
                run(own[number % _INPUTS])
                times[arm].append(clock() - before)
        blocks += 1
    del holes
    return window_effect(np.asarray(times[0]), np.asarray(times[1]))


def _fresh_buffers(
    sessions: list[Session], input_shape: tuple[int, ...], rng: random.Random
) -> tuple[list[bytearray], list[list[Any]]]:
    """Weights and inputs of both in new memory, with random holes between."""
    import numpy as np

    images = np.random.default_rng(rng.randrange(2**32)).standard_normal((_INPUTS, 1, *input_shape), dtype=np.float32)
    holes: list[bytearray] = []
    inputs: list[list[Any]] = [[], []]
    for arm in rng.sample((0, 1), 2):
        holes.append(bytearray(rng.randrange(64, 1 << 18)))
        sessions[arm].refresh()
        inputs[arm] = [sessions[arm].prepare(image) for image in images]
    return holes, inputs


def _warm(session: Session, inputs: list[Any], clock: Callable[[], int]) -> int:
    """Call a few times; how long the last call took."""
    took = 0
    for native in inputs:
        start = clock()
        session.run(native)
        took = clock() - start
    return took


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch have its number of threads back afterwards: opening a session sets it."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect before, and not during."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
