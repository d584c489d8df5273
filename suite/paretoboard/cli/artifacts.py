"""Where the file lies that a stored run was measured on."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.errors import StoreError
from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path  # noqa: TC004 - nothing resolves these annotations

    from paretoboard.records import ArtifactInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The file of a recipe, or what builds it."""

    folder: Path | None  # with its manifest; None where it is not there
    file: Path | None
    snippet: str  # that loads and calls it, "" where it is not there
    command: str  # that builds it


def find(results: Path, task: str, recipe: str, profile: str, measured_at: datetime) -> Built:
    """The file of the run of `recipe` under `profile` that started at `measured_at`, by its content."""
    from paretoboard import store

    # What an ablation adds to a recipe is built with that recipe: "stacked:first-1" with "stacked".
    whole = recipe.partition(":")[0]
    only = "" if whole == BASELINE else f" --only {shlex.quote(whole)}"
    # A run that is known is not made again unless it is asked for.
    where = f"--profile {shlex.quote(profile)} --fresh --results {shlex.quote(str(results))}"
    command = f"paretoboard run {shlex.quote(task)}{only} {where}"
    missing = Built(folder=None, file=None, snippet="", command=command)
    records = store.read(results, tasks=[task]).records
    same = [r for r in records if (r.recipe, r.profile, r.started_at) == (recipe, profile, measured_at)]
    info = next((record.artifact for record in same if record.artifact is not None), None)
    folder = _folder(results, info) if info is not None else None
    if folder is None:
        return missing
    from paretoboard.artifact import read_manifest
    from paretoboard.runtimes.snippets import snippet

    manifest = read_manifest(folder)
    file = folder / manifest.file
    return Built(folder=folder, file=file, snippet=snippet(folder, manifest), command=command)


def _folder(results: Path, info: ArtifactInfo) -> Path | None:
    """The artifact's folder; of several software environments the one whose file has the digest that was measured."""
    from paretoboard.artifact import read_manifest

    for folder in sorted((results / "artifacts").glob(f"{info.build_id[:32]}-*")):
        try:
            if read_manifest(folder).sha256 == info.digest:
                return folder.resolve()
        except StoreError:
            continue  # a folder of something else, or one that is damaged: it is built again
    return None
