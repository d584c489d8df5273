"""Changing settings of the machine so that they always find their way back, even after `kill -9`.

The values to go back to are on disk before the first change is made, with the id of this boot: a restart of
the machine takes the settings back by itself.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paretoboard import durable
from paretoboard.errors import StoreError
from paretoboard_runners import nvml
from paretoboard_runners.controls.base import AS_IS, NotHeldError, Setting
from paretoboard_runners.controls.catalogue import requested
from paretoboard_runners.controls.knobs import Change, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_VERSION: Final = 1
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one change, or going back on it, went."""

    control: str
    target: str
    value: str
    error: str  # "" when it was done


def default_state_file() -> Path:
    """Where the values to go back to are kept on this machine."""
    if os.access("/run", os.W_OK) or Path("/run/paretoboard").exists():
        return Path("/run/paretoboard/controls.json")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "paretoboard" / "controls.json"


def plan(setting: Setting) -> tuple[list[Change], list[Outcome]]:
    """What would have to change on this machine for the profile, and what can't be, with the reason."""
    changes: list[Change] = []
    refused: list[Outcome] = []
    for control, value in requested(setting):
        try:
            changes += control.changes(value) if value != AS_IS else ()
        except (NotHeldError, OSError) as error:
            refused.append(Outcome(control=control.name, target="", value=value, error=str(error)))
    return changes, refused


def apply(
    changes: Sequence[Change],
    state_file: Path,
    open_nvml: nvml.Opener = nvml.opened,
) -> list[Outcome]:
    """Make `changes`, the values to go back to being on disk first.

    A change that is refused is an outcome with an error and is not kept. What an earlier call changed keeps
    the value from before that call.
    Raises: StoreError if the state file is damaged; OSError if it can't be written, with nothing changed.
    """
    if not changes:
        return []
    with _locked(state_file):
        earlier = pending(state_file)
        known = {change.target for change in earlier}
        everything = (*earlier, *(change for change in changes if change.target not in known))
        _write(state_file, everything)
        outcomes = [_set(change, change.after, open_nvml) for change in changes]
        failed = {outcome.target for outcome in outcomes if outcome.error} - known
        _write(state_file, tuple(change for change in everything if change.target not in failed))
    return outcomes


def restore(state_file: Path, open_nvml: nvml.Opener = nvml.opened) -> list[Outcome]:
    """Set everything back to what it was, the last change first; what fails stays pending.

    Raises: StoreError if the state file is damaged.
    """
    if not state_file.exists():
        return []
    with _locked(state_file):
        changes = pending(state_file)
        outcomes = [_set(change, change.before, open_nvml) for change in reversed(changes)]
        failed = {outcome.target for outcome in outcomes if outcome.error}
        _write(state_file, tuple(change for change in changes if change.target in failed))
    return outcomes


def pending(state_file: Path) -> tuple[Change, ...]:
    """The changes that were made, or begun, and not taken back; none after a restart of the machine.

    Raises: StoreError if the file is damaged.
    """
    try:
        content = json.loads(state_file.read_text())
        if content["version"] != _VERSION:
            raise StoreError(f"{state_file}: version {content['version']}, this program reads {_VERSION}")
        if content["boot"] != _boot():
            return ()
        return tuple(Change(**change) for change in content["changes"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{state_file}: not a list of settings to go back to ({error}); delete it to go on") from None


def _set(change: Change, value: str, open_nvml: nvml.Opener) -> Outcome:
    try:
        write(change, value, open_nvml)
    except PermissionError:
        error = "only root may change it"
    except nvml.NotPermittedError:
        error = "only root may change it"
    except (OSError, nvml.NvmlError) as problem:
        error = str(problem)
    else:
        error = ""
    return Outcome(control=change.control, target=change.target, value=value, error=error)


def _write(path: Path, changes: Sequence[Change]) -> None:
    """Replace the state file in one step that survives a crash; delete it when nothing is left."""
    if not changes:
        path.unlink(missing_ok=True)
        durable.sync_folder(path.parent)
        return
    content: dict[str, Any] = {
        "version": _VERSION,
        "boot": _boot(),
        "changes": [asdict(change) for change in changes],
    }
    durable.write(path, json.dumps(content, indent=2).encode())


@contextmanager
def _locked(state_file: Path) -> Iterator[None]:
    state_file.parent.mkdir(parents=True, exist_ok=True)
    with state_file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
