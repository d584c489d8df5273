"""The names in a task file: models, datasets, metrics, profiles and subsets, each looked up where it is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paretoboard import profiles
from paretoboard.errors import InputError, Problem, TaskFileError, UnknownNameError
from paretoboard.metrics import METRICS
from paretoboard.spec import HardwareProfile, Subset
from paretoboard.taskfile import subsets
from paretoboard.tomlfile.checking import value_at

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.registry import Registry
    from paretoboard.tomlfile.document import Document


@dataclass(slots=True, kw_only=True)
class Names:
    """What the names stand for, and what is wrong with them."""

    profiles: tuple[HardwareProfile, ...] = ()
    subsets: dict[str, Subset] = field(default_factory=dict)  # by role: "subset", "train", "calibration"
    problems: list[Problem] = field(default_factory=list)


def look_up(document: Document, *, profiles_folder: Path, models: Registry, datasets: Registry) -> Names:
    """Look up every name but those of techniques; wrong types are skipped, the model of the file reports them."""
    found = Names(problems=_metric_problems(document) + _registry_problems(document, ("model", "name"), models))
    found.profiles, problems = _profiles(document, profiles_folder)
    found.problems += problems
    found.problems += _registry_problems(document, ("teacher", "name"), models)
    found.problems += _registry_problems(document, ("dataset", "name"), datasets)
    name = value_at(document.values, ("dataset", "name"))
    if isinstance(name, str) and name in datasets:
        try:
            dataset = datasets.load(name)
        except InputError as error:
            found.problems.append(document.problem(("dataset", "name"), f"can't be loaded: {error}"))
        else:
            found.subsets, problems = _subsets(document, dataset)
            found.problems += problems + _channel_problems(document, dataset.image_shape[0])
    return found


def _metric_problems(document: Document) -> list[Problem]:
    path = ("quality", "metric")
    name = value_at(document.values, path)
    known = [metric.name for metric in METRICS.values() if metric.kind == "quality"]
    if not isinstance(name, str) or name in known:
        return []
    if name in METRICS:
        message = (
            f"'{name}' is a metric of {METRICS[name].kind}, not of quality; one of {', '.join(known)} would be right"
        )
        return [document.problem(path, message)]
    return [document.problem(path, str(UnknownNameError("metric", name, known)))]


def _registry_problems(document: Document, path: tuple[str, ...], registry: Registry) -> list[Problem]:
    name = value_at(document.values, path)
    if not isinstance(name, str) or name in registry:
        return []
    return [document.problem(path, str(UnknownNameError(registry.kind, name, registry)))]


def _profiles(document: Document, folder: Path) -> tuple[tuple[HardwareProfile, ...], list[Problem]]:
    names = document.values.get("profiles")
    loaded: list[HardwareProfile] = []
    problems: list[Problem] = []
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if not isinstance(name, str):
            continue
        try:
            loaded.append(profiles.load(name, folder))
        except TaskFileError as error:
            problems += error.problems
        except UnknownNameError as error:
            problems.append(document.problem(("profiles", index), str(error)))
    return tuple(loaded), problems


def _subsets(document: Document, dataset: Any) -> tuple[dict[str, Subset], list[Problem]]:
    table = value_at(document.values, ("dataset",))
    found: dict[str, subsets.Found] = {}
    problems: list[Problem] = []
    for role, default in (("subset", None), ("train", "train"), ("calibration", None)):
        name = table.get(role, default)
        if not isinstance(name, str) or not subsets.is_name(name):
            continue
        path = ("dataset", role)
        folder = document.place(path)[0].parent if role in table else document.file.parent
        try:
            subset = subsets.find(name, folder, dataset.splits, table["name"])
        except TaskFileError as error:
            problems += error.problems
            continue
        if isinstance(subset, subsets.Found):
            found[role] = subset
        elif role in table:  # only a step that trains misses the default
            problems.append(document.problem(path, subset))
    for role in {"train", "calibration"} & found.keys() if "subset" in found else ():
        if shared := subsets.overlap(found[role], found["subset"]):
            message = f"{shared} as the subset that quality is read on; they must not share images"
            problems.append(document.problem(("dataset", role), message))
    return {role: item.subset for role, item in found.items()}, problems


def _channel_problems(document: Document, channels: int) -> list[Problem]:
    problems = []
    for key in ("mean", "std"):
        path = ("preprocess", key)
        values = value_at(document.values, path)
        if isinstance(values, list) and values and len(values) not in (1, channels):
            wanted = "1 number" if channels == 1 else f"1 number, or {channels}, one for each channel,"
            problems.append(document.problem(path, f"found {len(values)} numbers; {wanted} would be right"))
    return problems
