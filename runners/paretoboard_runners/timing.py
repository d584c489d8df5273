"""One launch of the protocol `ab1`: windows of interleaved blocks, every call recorded.

Why so: on shared machines two programs timed one after the other differ by 27-39 % for no reason of their own, paired
in time and on CPU time by 0.6-0.9 %; and one process is one memory layout, so windows re-allocate and launches repeat.
"""

from __future__ import annotations

import gc
import random
import resource
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from paretoboard_runners import machine_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

LEG_NS: Final = 2_000_000  # a leg is one call, or enough calls for 2 ms
# Shorter calls come at least in twos, and the first of a leg does not count (`stats.compare_calls`): it may find the
# caches full of the other arm's data. In longer ones that hardly shows, and arms that alternate call by call share
# what disturbs them: in legs of two, matrix products of 4 ms were compared half as precisely.
SHORT_CALL_NS: Final = 3_000_000
WINDOW_S: Final = 0.25
WINDOW_BLOCKS: Final = 4
REALLOCATION_FACTOR: Final = 5.0  # a window lasts at least so many times what re-allocating took
LAUNCH_WINDOWS: Final = 2  # a launch holds at least so many windows, however slow the calls
KEPT_SHARE: Final = 0.1  # of the outputs, compared with the quality phase's (MLPerf's TEST01)


class Arm(Protocol):
    """One of the things that are timed against each other, in this process."""

    def refresh(self) -> None:
        """Put weights into fresh buffers."""

    def inputs(self) -> Sequence[Any]:
        """Inputs in fresh buffers, cycled through; the same images for every arm."""

    def call(self, native: Any) -> Any:
        """The timed call."""

    def classes_of(self, output: Any) -> Sequence[int]:
        """The best guess for every image of one output, after the window is over."""


class Side(Protocol):
    """An arm as a launch drives it, wherever it lives: `Here` or `apart.Apart`."""

    def fresh(self, hole: int) -> None:
        """Begin a window: copy weights and inputs into new memory, after a hole of so many bytes."""

    def warm_up(self, calls: int) -> int:
        """Call a few times; the nanoseconds that the fastest call took, at least 1."""

    def leg(self, position: int, calls: int, threads: int, launch_start: int, *, keep: bool) -> CallLog:
        """`calls` timed calls in a row, from input `position` on; the last output is kept, or not."""

    def end_window(self) -> list[tuple[int, tuple[int, ...]]]:
        """What was kept: each output's position among the inputs, and its best guesses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """How long one launch lasts, and from which seed it draws."""

    seconds: float
    seed: int
    threads: int


@dataclass(slots=True)
class CallLog:
    """Columns of timed calls, of a leg or of a launch; appended to in place since they grow while the clock runs."""

    window: list[int] = field(default_factory=list)
    block: list[int] = field(default_factory=list)
    arm: list[int] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    wall_ns: list[int] = field(default_factory=list)
    cpu_ns: list[int] = field(default_factory=list)
    switches: list[int] = field(default_factory=list)

    def extend(self, leg: CallLog, *, window: int, block: int, arm: int) -> None:
        """Add the calls of one leg."""
        for name in ("start_ns", "wall_ns", "cpu_ns", "switches"):
            getattr(self, name).extend(getattr(leg, name))
        calls = len(leg.wall_ns)
        self.window.extend([window] * calls)
        self.block.extend([block] * calls)
        self.arm.extend([arm] * calls)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns as arrays, ready to be saved."""
        types = {"window": np.int16, "block": np.int32, "arm": np.int8, "switches": np.int32}
        return {name: np.asarray(getattr(self, name), dtype=types.get(name, np.int64)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOutput:
    """What one timed call answered."""

    arm: int
    position: int  # of the input in `Arm.inputs`
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What one launch gave."""

    calls: CallLog
    windows: tuple[machine_state.Snapshot, ...]
    outputs: tuple[KeptOutput, ...]
    elapsed_s: float
    timed_s: float  # inside timed calls, as a check of what measuring costs


def run_launch(
    arms: Sequence[Arm], plan: LaunchPlan, *, on_window: Callable[[float], None] = lambda share: None
) -> Launch:
    """Time `arms`, all in this process, against each other as `drive` does."""
    return drive([Here(arm) for arm in arms], plan, on_window=on_window)


def drive(
    sides: Sequence[Side], plan: LaunchPlan, *, on_window: Callable[[float], None] = lambda share: None
) -> Launch:
    """Time `sides` against each other until `plan.seconds` are over and at least two windows are full.

    Args:
        on_window: told the share of the launch that is over, between windows, never inside one.
    """
    rng = random.Random(plan.seed)
    log, states, outputs = CallLog(), [], []
    fastest_ns: dict[int, int] = {}  # call of each side among its warm-ups
    launch_start = time.perf_counter_ns()
    elapsed_s = 0.0
    window = 0
    while window < LAUNCH_WINDOWS or elapsed_s < plan.seconds:
        before = machine_state.read()
        refresh_s = _fresh_buffers(sides, rng)
        warm_ups = 3 if window == 0 else 1
        # The first leg belongs to another arm than the last warm-up, so that it is like every leg after a switch.
        first_order = rng.sample(range(len(sides)), len(sides))
        for index in first_order:
            took_ns = sides[index].warm_up(warm_ups)
            fastest_ns[index] = min(fastest_ns.get(index, took_ns), took_ns)
        leg_calls = _like_legs([leg_of(fastest_ns[index]) for index in range(len(sides))])
        with no_garbage_collection():
            _run_window(sides, leg_calls, first_order, rng, log, window, plan.threads, launch_start, refresh_s)
        outputs += [
            KeptOutput(arm=index, position=position, classes=classes)
            for index, side in enumerate(sides)
            for position, classes in side.end_window()
        ]
        states.append(machine_state.between(before, machine_state.read()))
        window += 1
        elapsed_s = (time.perf_counter_ns() - launch_start) / 1e9
        on_window(min(1.0, elapsed_s / plan.seconds))
    return Launch(
        calls=log,
        windows=tuple(states),
        outputs=tuple(outputs),
        elapsed_s=elapsed_s,
        timed_s=sum(log.wall_ns) / 1e9,
    )


class Here:
    """The side of an arm in this process."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._hole = bytearray()
        self._inputs: Sequence[Any] = ()
        self._kept: list[tuple[int, Any]] = []

    def fresh(self, hole: int) -> None:
        """New memory for the arm's weights and inputs."""
        self._hole = bytearray(hole)
        self._arm.refresh()
        self._inputs = self._arm.inputs()

    def warm_up(self, calls: int) -> int:
        """Of the arm."""
        return warm_up(self._arm.call, self._inputs, calls)

    def leg(self, position: int, calls: int, threads: int, launch_start: int, *, keep: bool) -> CallLog:
        """Of the arm."""
        log = CallLog()
        output = run_leg(self._arm.call, self._inputs, position, calls, log, threads, launch_start)
        if keep:
            self._kept.append(((position + calls - 1) % len(self._inputs), output))
        return log

    def end_window(self) -> list[tuple[int, tuple[int, ...]]]:
        """Ask the arm for its guesses now that the clock doesn't run."""
        answers = [(position, tuple(self._arm.classes_of(output))) for position, output in self._kept]
        self._kept.clear()
        self._hole = bytearray()
        return answers


def _fresh_buffers(sides: Sequence[Side], rng: random.Random) -> float:
    """New memory for all sides, in random order with random holes between; the seconds it took."""
    start = time.perf_counter()
    for index in rng.sample(range(len(sides)), len(sides)):
        sides[index].fresh(rng.randrange(64, 1 << 18))
    return time.perf_counter() - start


def warm_up(call: Callable[[Any], Any], inputs: Sequence[Any], calls: int) -> int:
    """Call a few times; the nanoseconds that the fastest of these calls took, at least 1."""
    fastest_ns = 0
    for number in range(calls):
        start = time.perf_counter_ns()
        call(inputs[number % len(inputs)])
        took_ns = max(1, time.perf_counter_ns() - start)
        fastest_ns = min(fastest_ns or took_ns, took_ns)
    return fastest_ns


def leg_of(call_ns: int) -> int:
    """How many calls of `call_ns` each make a leg."""
    return max(2 if call_ns < SHORT_CALL_NS else 1, round(LEG_NS / call_ns))


def _like_legs(own: Sequence[int]) -> list[int]:
    """Legs of equally many calls for arms of like speed, those of the fastest; `own` for an arm half as fast or less.

    A noisy warm-up may find one call or two to be 2 ms long, and of two equal programs the one with longer legs, and so
    more calls after one of its own, was 12 % faster (a memory pass of 1 to 2 ms; two Zen 4 cores, 2026-11-22).
    """
    most = max(own)
    return [most if 2 * calls >= most else calls for calls in own]


def _run_window(
    sides: Sequence[Side],
    leg_calls: Sequence[int],
    order: Sequence[int],
    rng: random.Random,
    log: CallLog,
    window: int,
    threads: int,
    launch_start: int,
    refresh_s: float,
) -> None:
    """Blocks until the window is full."""
    length_ns = int(max(WINDOW_S, REALLOCATION_FACTOR * refresh_s) * 1e9)
    start_ns = time.perf_counter_ns()
    block = 0
    while block < WINDOW_BLOCKS or time.perf_counter_ns() - start_ns < length_ns:
        for leg, index in enumerate([*order, *reversed(order)]):
            calls = leg_calls[index]
            position = (block * 2 + leg // len(sides)) * calls
            keep = rng.random() < KEPT_SHARE
            done = sides[index].leg(position, calls, threads, launch_start, keep=keep)
            log.extend(done, window=window, block=block, arm=index)
        order = rng.sample(range(len(sides)), len(sides))
        block += 1


def run_leg(
    call: Callable[[Any], Any],
    inputs: Sequence[Any],
    position: int,
    calls: int,
    log: CallLog,
    threads: int,
    launch_start: int,
) -> Any:
    """`calls` timed calls in a row; the last output."""
    wall_clock = time.perf_counter_ns
    cpu_clock = time.thread_time_ns if threads == 1 else time.process_time_ns
    who = resource.RUSAGE_THREAD if threads == 1 else resource.RUSAGE_SELF
    size = len(inputs)
    add_start, add_wall, add_cpu = log.start_ns.append, log.wall_ns.append, log.cpu_ns.append
    switches_before = resource.getrusage(who).ru_nivcsw
    output = None
    for number in range(position, position + calls):
        native = inputs[number % size]
        cpu_start = cpu_clock()
        wall_start = wall_clock()
        output = call(native)
        wall_end = wall_clock()
        cpu_end = cpu_clock()
        add_start(wall_start - launch_start)
        add_wall(wall_end - wall_start)
        add_cpu(cpu_end - cpu_start)
    log.switches.extend([resource.getrusage(who).ru_nivcsw - switches_before] * calls)
    return output


class no_garbage_collection:  # noqa: N801 - used as a statement
    """Collect before, and not during."""

    def __enter__(self) -> None:
        gc.collect()
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()
