"""One launch of protocol ab1 for two callables, in a process forked from the test's own.

Closures can't be sent to another process, a fork has them already. Threads don't survive a fork: the child works with
one thread, on one core, so that no pool of OpenMP or BLAS has to be woken that is not there any more.
"""

from __future__ import annotations

import gc
import inspect
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from paretoboard.pytest_plugin.verdict import ComparisonError
from paretoboard.records import Calls
from paretoboard.spec import HardwareProfile
from paretoboard_runners import controls, supervise, timing
from paretoboard_runners.comparing import read_calls
from paretoboard_runners.launch import CALLS

if TYPE_CHECKING:
    from collections.abc import Sequence


# As in rigor's comparisons: huge pages are a matter of luck, and held off for both.
PROFILE: Final = HardwareProfile(
    name="pytest", title="one core of the test's own", cores=1, deterministic=False, settings={"huge_pages": "off"}
)
SIDES: Final = ("baseline", "candidate")
_ERROR: Final = "error.txt"
_OURS: Final = tuple(str(Path(file).parent) for file in (__file__, timing.__file__))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What is compared."""

    baseline: Callable[[], Any]
    candidate: Callable[[], Any]
    fresh: bool  # both are factories: each window calls what they make anew

    @property
    def sides(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """In the order of the arms."""
        return self.baseline, self.candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What one launch gave."""

    calls: Calls
    load1: float


class Launcher(Protocol):
    """Makes one launch."""

    def __call__(self, pair: Pair, plan: timing.LaunchPlan, *, number: int, folder: Path, timeout_s: float) -> Launched:
        """Launch `number` of a comparison, counted from 0.

        Raises: ComparisonError where nothing could be timed.
        """


def check(pair: Pair) -> None:
    """Refuse what can't be timed this way before a process is made.

    Raises: ComparisonError.
    """
    for name, function in zip(SIDES, pair.sides, strict=True):
        _check_callable(name, function)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise ComparisonError(
            "CUDA is initialised in this process, and a forked process can't use it: CUDA's context does not survive a "
            "fork. Compare what runs on the CPU, in a session of pytest that has not touched the GPU."
        )


def _check_callable(name: str, function: Any) -> None:
    if not callable(function):
        raise ComparisonError(f"{name}: found {function!r}; a callable without arguments would be right")
    core = inspect.unwrap(getattr(function, "func", function))
    called = getattr(core, "__call__", core)  # noqa: B004 - of an object with such a method, the method
    for what, asks in (
        ("an async function", inspect.iscoroutinefunction),
        ("an async generator", inspect.isasyncgenfunction),
        ("a generator", inspect.isgeneratorfunction),
    ):
        if asks(core) or asks(called):
            raise ComparisonError(
                f"{name}: found {what}; calling it does no work. A plain function that does all of it would be right, "
                "as in `lambda: asyncio.run(work())` or `lambda: list(work())`"
            )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ComparisonError(
            f"{name}: can't be called without arguments ({error}); `lambda: function(arguments)` would be right"
        ) from None
    except ValueError:
        return  # a builtin that doesn't tell its arguments


def launch(pair: Pair, plan: timing.LaunchPlan, *, number: int, folder: Path, timeout_s: float) -> Launched:
    """Time `pair` in a forked process, pinned to one core.

    Raises: ComparisonError where the process fails, hangs or is killed.
    """
    cores = controls.choose_cores(PROFILE)
    loads: list[float] = []
    try:
        child = supervise.fork(lambda emit: _in_child(pair, plan, cores, folder, emit, first=number == 0))
    except OSError as error:
        raise ComparisonError(f"no process could be forked: {error}") from error
    try:
        ending = supervise.watch(
            child,
            timeout_s=timeout_s,
            on_event=lambda event: loads.append(float(event["load1"])),
            clear=lambda: _end_group(child.pid),
        )
    except BaseException:
        _end_group(child.pid)
        raise
    _explain(ending, folder, timeout_s)
    return Launched(
        calls=read_calls(folder / CALLS, batch=1, launch=number), load1=sum(loads) / len(loads) if loads else 0.0
    )


def _explain(ending: supervise.Ending, folder: Path, timeout_s: float) -> None:
    error, log = folder / _ERROR, ending.log_tail.strip()
    said = f"\nIt wrote:\n{log}" if log else ""
    if error.exists():
        raise ComparisonError(error.read_text() + said)
    if ending.timed_out:
        raise ComparisonError(
            f"a launch did not end within {timeout_s:g} s and was killed: a callable hangs, or is so slow that it "
            f"needs a longer limit, as in @pytest.mark.paretoboard(timeout_s={10 * timeout_s:g}){said}"
        )
    if ending.reason or not (folder / CALLS).exists():
        raise ComparisonError(
            f"the process that timed the callables {ending.reason or 'ended with exit code 0 before it was done'}{said}"
        )


def _end_group(pid: int) -> int:
    """Kill what is left of a child's process group, which it leads; 1 where something was."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return 0
    return 1


def _in_child(
    pair: Pair,
    plan: timing.LaunchPlan,
    cores: Sequence[int],
    folder: Path,
    emit: supervise.Emitter,
    *,
    first: bool,
) -> int:
    try:
        gc.freeze()  # what the test's process holds is not walked before each window
        _hold_still(cores, plan.seed)
        arms = [CallableArm(name, side, fresh=pair.fresh) for name, side in zip(SIDES, pair.sides, strict=True)]
        if first:
            for arm in arms:
                arm.try_out()
        done = timing.run_launch(arms, plan)
        emit({"load1": sum(window.load1 for window in done.windows) / len(done.windows)})
        partial = folder / f"partial-{CALLS}"
        np.savez(partial, allow_pickle=False, **done.calls.arrays())
        partial.rename(folder / CALLS)
    except BaseException as error:  # noqa: BLE001 - whatever a callable raises, SystemExit too, is told to the test
        (folder / _ERROR).write_text(_told(error))
        return 1
    return 0


def _hold_still(cores: Sequence[int], seed: int) -> None:
    controls.apply_in_process(PROFILE, cores, seed)
    controls.keep_freed_memory()
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    random.seed(seed)


def _told(error: BaseException) -> str:
    """The traceback from the callable on; of our own errors the message alone."""
    if isinstance(error, ComparisonError):
        return str(error)
    frames = error.__traceback__
    while frames and frames.tb_next and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    return f"a callable raised {type(error).__name__}:\n{text}"


class CallableArm:
    """A callable, or what a factory makes of it for each window, as one of the protocol's arms."""

    def __init__(self, name: str, function: Callable[[], Any], *, fresh: bool) -> None:
        self._name, self._function, self._fresh = name, function, fresh
        self._use(function)

    def _use(self, function: Callable[[], Any]) -> None:
        self.call: Callable[[Any], Any] = lambda native: function()

    def refresh(self) -> None:
        """A new callable of the factory, with buffers of its own."""
        if self._fresh:
            made = self._function()
            if not callable(made):
                raise ComparisonError(
                    f"{self._name}: with fresh=True a factory that returns a callable would be right; it gave {made!r}"
                )
            self._use(made)

    def try_out(self) -> None:
        """Call it once, and refuse an answer that says the work is still to be done."""
        self.refresh()
        answer = self.call(None)
        if inspect.isawaitable(answer) or inspect.isgenerator(answer) or inspect.isasyncgen(answer):
            raise ComparisonError(
                f"{self._name}: gave {answer!r}, so that its work is not done when it returns. A function that does "
                "all of it would be right, as in `lambda: asyncio.run(work())` or `lambda: list(work())`"
            )

    def inputs(self) -> Sequence[Any]:
        """None of its own: a callable knows what it works on."""
        return (None,)

    def classes_of(self, output: Any) -> Sequence[int]:  # noqa: ARG002 - a name of the protocol
        """It guesses no classes."""
        return ()
