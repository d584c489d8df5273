"""What the runner calls, in the order of a run: choose, set the environment, apply, observe, check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from paretoboard.errors import RefusedError
from paretoboard.records import ControlState
from paretoboard_runners import machine, nvml
from paretoboard_runners.controls.base import AS_IS, UNKNOWN, Control, NotHeldError, Setting
from paretoboard_runners.controls.catalogue import requested
from paretoboard_runners.controls.process import ALLOCATOR_VARIABLES, numa_nodes
from paretoboard_runners.controls.system import isolated, siblings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from paretoboard.spec import HardwareProfile


def choose_cores(
    profile: HardwareProfile,
    *,
    building: bool = False,
    root: Path = Path("/"),
    allowed: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """The cores for a session; the same machine and profile give the same ones. Ask before pinning.

    Isolated cores go first, then one hardware thread of each physical core, then cores of one NUMA node; core
    0, which serves most interrupts, goes last.

    Args:
        allowed: the cores to choose from; those that this process may run on when left out.
    Raises: RefusedError if fewer cores are usable than the profile asks for.
    """
    allowed = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    usable = len(machine.usable_cpus(root, allowed))
    asked = profile.build_cores if building else profile.cores
    count = usable if asked == "all" else asked
    if count > usable:
        raise RefusedError(f"profile {profile.name} asks for {count} cores; {usable} can be used here")
    free = set(isolated(root))
    node_of = {core: node for node, members in numa_nodes(root).items() for core in members}
    physical = {core: siblings(root, core) for core in allowed}

    def rank(core: int) -> tuple[bool, bool, bool, int]:
        first = min(set(physical[core]) & set(allowed), default=core)
        return core not in free, core != first, core == 0, core

    def cost(cores: tuple[int, ...]) -> tuple[int, int, int, bool, tuple[int, ...]]:
        shared = len(cores) - len({physical[core] for core in cores})
        return len(set(cores) - free), shared, len({node_of.get(core) for core in cores}), 0 in cores, cores

    best = sorted(allowed, key=rank)
    on_nodes = [[core for core in best if node_of.get(core) == node] for node in set(node_of.values())]
    candidates = [tuple(cores[:count]) for cores in (best, *on_nodes) if len(cores) >= count]
    cheapest = min(candidates, key=cost)
    return tuple(sorted(cheapest))


def session_environment(
    profile: HardwareProfile, cores: Sequence[int] | None = None, *, root: Path = Path("/")
) -> dict[str, str]:
    """The variables that the measuring process must be started with, to be added to those it inherits.

    Args:
        cores: what `choose_cores` gave, asked for when left out.
    """
    chosen = tuple(cores) if cores is not None else choose_cores(profile, root=root)
    variables: dict[str, str] = {}
    for control, value in requested(Setting(profile=profile, cores=chosen, root=root)):
        if (value != AS_IS and control.available() is None) or control.reach == "gpu":
            variables |= control.child_environment(value)
    return variables


def memory_environment(
    profile: HardwareProfile, cores: Sequence[int] | None = None, *, root: Path = Path("/")
) -> dict[str, str]:
    """All variables for a process whose memory is measured: ours and the session's, less the allocator's.

    An allocator that keeps what is freed would make every peak look the same.
    """
    variables = {**os.environ, **session_environment(profile, cores, root=root)}
    return {name: value for name, value in variables.items() if name not in ALLOCATOR_VARIABLES}


def apply_in_process(profile: HardwareProfile, cores: Sequence[int], seed: int) -> list[ControlState]:
    """Hold the calling process to the profile: called first, before heavy imports and in the only thread.

    A process that builds takes garbage collection back: cycles that nobody collects would fill the memory.
    """
    setting = Setting(profile=profile, cores=tuple(cores), seed=seed)
    return [
        _applied(control, value, _apply_early, lambda control: control.observe(os.getpid()))
        for control, value in requested(setting)
        if control.reach == "process"
    ]


def apply_after_imports(profile: HardwareProfile, cores: Sequence[int], seed: int) -> list[ControlState]:
    """Hold the libraries that are imported by now: seeds, thread pools, deterministic algorithms, precision.

    Forked processes call it each, with a seed each. Nothing is imported for it.
    """
    setting = Setting(profile=profile, cores=tuple(cores), seed=seed)
    return [
        _applied(
            control,
            value,
            lambda control, value: control.apply_after_imports(value),
            lambda control: control.observe_inside(),
        )
        for control, value in requested(setting)
        if control.reach == "process"
    ]


def observe_process(
    pid: int,
    profile: HardwareProfile,
    cores: Sequence[int],
    *,
    root: Path = Path("/"),
    open_nvml: nvml.Opener = nvml.opened,
) -> list[ControlState]:
    """What the kernel and the driver say about process `pid` and the machine, asked from outside of it."""
    setting = Setting(profile=profile, cores=tuple(cores), root=root, open_nvml=open_nvml)
    return [_observed(control, value, pid) for control, value in requested(setting)]


def states(*views: Iterable[ControlState]) -> list[ControlState]:
    """One state per control from several looks at it; held only if every look that saw anything says so."""
    merged: dict[str, ControlState] = {}
    for view in views:
        for state in view:
            merged[state.name] = _both(merged[state.name], state) if state.name in merged else state
    return list(merged.values())


def check_required(profile: HardwareProfile, found: Iterable[ControlState]) -> None:
    """Raise RefusedError that names each control the profile requires and that is not held."""
    missing = not_held(profile, found)
    if missing:
        raise RefusedError(f"profile {profile.name} requires what is not held here: {missing}")


def not_held(profile: HardwareProfile, found: Iterable[ControlState]) -> str:
    """The controls that the profile requires and that are not held, each with what was found; "" where all are."""
    seen = {state.name: state for state in found}
    missing = []
    for name in profile.require:
        state = seen.get(name)
        if state is None:
            missing.append(f"{name} (nobody looked at it)")
        elif not state.held:
            why = f"; {state.applied}" if state.applied.startswith("not ") else ""
            missing.append(f"{name} (asked for {state.requested}, found {state.observed or UNKNOWN}{why})")
    return ", ".join(missing)


def _apply_early(control: Control, value: str) -> str | None:
    applied = control.apply(value)
    variables = control.child_environment(value)
    if not variables:
        return applied
    # Runtimes read these when they are loaded: setting them now would only look as if they held.
    if not variables.items() <= os.environ.items():
        raise NotHeldError("the process was started without " + ", ".join(sorted(variables)))
    return applied or value


def _applied(
    control: Control,
    value: str,
    apply: Callable[[Control, str], str | None],
    look: Callable[[Control], str | None],
) -> ControlState:
    applied = ""
    if value != AS_IS:
        reason = control.available()
        try:
            applied = f"not applied: {reason}" if reason is not None else apply(control, value) or ""
        except NotHeldError as error:
            applied = f"not applied: {error}"
    observed = _look(lambda: look(control))
    return ControlState(
        name=control.name,
        requested=value,
        applied=applied,
        observed=observed,
        held=bool(observed) and control.holds(value, observed),
    )


def _observed(control: Control, value: str, pid: int) -> ControlState:
    observed = _look(lambda: control.observe(pid))
    held = bool(observed) and control.holds(value, observed)
    reason = None if held else control.available()
    return ControlState(
        name=control.name,
        requested=value,
        applied=f"not applied: {reason}" if reason is not None else "",
        observed=observed,
        held=held,
    )


def _look(look: Callable[[], str | None]) -> str:
    """What was seen; "" where there is nothing to see from here, "unknown" where looking failed."""
    try:
        return look() or ""
    except OSError:
        return UNKNOWN


def _both(first: ControlState, second: ControlState) -> ControlState:
    looks = [state for state in (first, second) if state.observed]
    return ControlState(
        name=first.name,
        requested=second.requested,
        applied=second.applied or first.applied,
        observed="; ".join(dict.fromkeys(state.observed for state in looks)),
        held=bool(looks) and all(state.held for state in looks),
    )
