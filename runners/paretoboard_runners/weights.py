"""The weights that a run begins with: where they are, and which runs have to do without."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from paretoboard.datasets import weights as files
from paretoboard.models.published import may_be_there, place, published

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard.spec import ModelUse


def with_missing_marked(runs: Iterable[RunSpec], data_root: Path) -> list[RunSpec]:
    """`runs`, those marked whose model's weights are nowhere: they are other runs, and have no quality.

    So what is measured without weights never stands beside what is measured with them, and is measured again once they
    are there. A file with another content than it should have is not missing: the run ends with an error that says so.
    """
    missing: dict[ModelUse, bool] = {}
    found = []
    for run in runs:
        model = run.model
        if model not in missing:
            missing[model] = _is_missing(model, data_root)
        found.append(dataclasses.replace(run, model=_marked(model)) if missing[model] else run)
    return found


def path_of(model: ModelUse, data_root: Path) -> Path:
    """The file with the weights of `model`, its digest checked.

    Raises: DataError for a missing or another file; InputError for weights that nobody publishes.
    """
    assert model.weights is not None
    if not model.weights.enum:
        return files.resolve(model.weights, data_root)
    wanted = published(model.name, model.weights.enum)
    return files.resolve_published(place(wanted, data_root / files.FOLDER), wanted.digest, wanted.get)


def _is_missing(model: ModelUse, data_root: Path) -> bool:
    if model.weights is None:
        return False
    folder = data_root / files.FOLDER
    if not model.weights.enum:
        return not (folder / model.weights.file).exists()
    if not may_be_there(model.name, folder):
        return True
    return not place(published(model.name, model.weights.enum), folder).exists()


def _marked(model: ModelUse) -> ModelUse:
    assert model.weights is not None
    return dataclasses.replace(model, weights=dataclasses.replace(model.weights, missing=True))
