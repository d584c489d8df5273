"""Where task files, profiles, results and data are found.

A checkout has `tasks/` and `runners/profiles/` in its root; an installed distribution carries copies of both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from paretoboard.plan import RunSpec

DATA_VARIABLE: Final = "PARETOBOARD_DATA"
# Folders with modules of one's own, beside task files; `paretoboard run` sets it for the processes that it starts.
MODULES_VARIABLE: Final = "PARETOBOARD_MODULES"
_PACKAGE: Final = Path(__file__).resolve().parent
_SHIPPED: Final = _PACKAGE / "shipped"
_CHECKOUT: Final = _PACKAGE.parent.parent


def tasks_folder() -> Path:
    """The folder that a task's name is a path below."""
    return _SHIPPED / "tasks" if _SHIPPED.is_dir() else _CHECKOUT / "tasks"


def claims_folder() -> Path:
    """The folder with one TOML file for each set of published numbers; no task files lie in it."""
    return tasks_folder() / "claims"


def profiles_folder() -> Path:
    """The folder with one TOML file for each hardware profile."""
    return _SHIPPED / "profiles" if _SHIPPED.is_dir() else _CHECKOUT / "runners" / "profiles"


def results_folder(given: Path | None = None) -> Path:
    """Where results are written and read: `given`, or `results` in the folder the command was called from."""
    return given if given is not None else Path("results")


def data_root(given: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Where datasets and weights are: `given`, the variable PARETOBOARD_DATA, or a per-user cache folder."""
    if given is not None:
        return given
    if environ.get(DATA_VARIABLE):
        return Path(environ[DATA_VARIABLE]).expanduser()
    return cache_folder(environ) / "data"


def module_folders(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Where modules of one's own are looked for that are not installed."""
    return tuple(filter(None, environ.get(MODULES_VARIABLE, "").split(os.pathsep)))


def find_modules(runs: Iterable[RunSpec]) -> None:
    """Let this process, and those that it starts, import the networks of one's own that lie beside task files."""
    models = [model for run in runs for model in (run.model, run.teacher) if model]
    folders = [str(model.folder) for model in models if model.folder]
    known = dict.fromkeys([*module_folders(), *folders])
    if known:
        os.environ[MODULES_VARIABLE] = os.pathsep.join(known)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The per-user cache folder of the XDG base directory specification."""
    base = environ.get("XDG_CACHE_HOME", "")
    # The specification says that a relative path there is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "paretoboard"
