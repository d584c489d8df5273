"""All controls, in the order in which they are applied and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard.errors import InputError, UnknownNameError
from paretoboard_runners.controls import gpu, openvino, process, system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_runners.controls.base import Control, Setting

CATALOGUE: Final[dict[str, type[Control]]] = {
    kind.name: kind
    for kind in (
        process.Cores,
        process.Threads,
        process.Waiting,
        openvino.OpenVinoThreads,
        process.Allocator,
        process.Seeds,
        process.Determinism,
        process.Float32Precision,
        process.GarbageCollection,
        process.Priority,
        process.AddressRandomization,
        process.HugePages,
        process.MemoryNode,
        system.Governor,
        system.Boost,
        system.SmtSiblings,
        system.PerfEventRate,
        system.Swap,
        system.IsolatedCores,
        gpu.Persistence,
        gpu.SmClock,
        gpu.MemoryClock,
        gpu.PowerLimit,
        gpu.Ecc,
        gpu.Mig,
        gpu.Throttling,
        gpu.ForeignProcesses,
    )
}
# What the profile's own fields say; naming it among the settings as well would give it two values.
_FIELDS: Final = {"cores": "cores", "threads": "cores", "determinism": "deterministic"}


def requested(setting: Setting) -> Iterator[tuple[Control, str]]:
    """Each control that concerns the profile's device, with what the profile asks of it.

    Raises: InputError for a setting or a requirement that no control knows, and for a value that can't be.
    """
    profile = setting.profile
    for name in (*profile.settings, *profile.require):
        if name not in CATALOGUE:
            raise UnknownNameError(f"control in profile {profile.name}:", name, CATALOGUE)
    for name, field in _FIELDS.items():
        if name in profile.settings:
            raise InputError(f"profile {profile.name}: settings.{name}: say it with '{field}' of the profile")
    for name, kind in CATALOGUE.items():
        control = kind(setting=setting)
        if control.reach == "gpu" and profile.device != "cuda":
            continue
        value = spell(profile.settings[name]) if name in profile.settings else control.default()
        wrong = control.accepts(value)
        if wrong is not None:
            raise InputError(f"profile {profile.name}: settings.{name}: '{value}' can't be asked for; {wrong}")
        yield control, value


def spell(value: object) -> str:
    """A TOML value as a control's word: true is "on", false is "off"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
