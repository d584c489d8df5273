"""The names in a task file: models, datasets, metrics, profiles and subsets, each looked up where it is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paretoboard import geometry, locations, profiles
from paretoboard.errors import DataError, InputError, Problem, TaskFileError, UnknownNameError
from paretoboard.metrics import METRICS, QUALITIES, task_of
from paretoboard.spec import HardwareProfile, Preprocess, Subset
from paretoboard.taskfile import own_models, subsets
from paretoboard.tomlfile.checking import value_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.registry import Registry
    from paretoboard.tomlfile.document import Document


# What a task that finds objects can't ask for.
_OF_CLASSES: Final[Mapping[tuple[str, str], str]] = {
    ("measure", "scenarios"): "LoadGen's accuracy mode asks for",
    ("measure", "corruptions"): "guesses under corruptions are",
    ("measure", "explain"): "Grad-CAM explains",
    ("model", "file"): "a graph of one's own has to give numbers for",
}


@dataclass(slots=True, kw_only=True)
class Names:
    """What the names stand for, and what is wrong with them."""

    profiles: tuple[HardwareProfile, ...] = ()
    subsets: dict[str, Subset] = field(default_factory=dict)  # by role: "subset", "train", "calibration"
    own: dict[str, own_models.OwnModel] = field(default_factory=dict)  # by table: "model", "teacher"
    path: str | None = None  # absolute, of a dataset that lies in a folder of one's own
    classes: int | None = None  # of such a dataset
    problems: list[Problem] = field(default_factory=list)


def look_up(document: Document, *, profiles_folder: Path, models: Registry, datasets: Registry) -> Names:
    """Look up every name but those of techniques; wrong types are skipped, the model of the file reports them."""
    found = Names(problems=_metric_problems(document) + _model_problems(document, ("model", "name"), models))
    for table in ("model", "teacher"):
        found.own[table], problems = own_models.look_up(document, table)
        found.problems += problems
    found.profiles, problems = _profiles(document, profiles_folder)
    found.problems += problems
    found.problems += _model_problems(document, ("teacher", "name"), models) + _teacher_problems(document)
    found.problems += _registry_problems(document, ("dataset", "name"), datasets)
    dataset = _dataset(document, datasets, found)
    if dataset is not None:
        found.classes = dataset.classes if found.path is not None else None
        found.subsets, problems = _subsets(document, dataset)
        found.problems += problems + _channel_problems(document, dataset.channels) + _size_problems(document, dataset)
        found.problems += _task_problems(document, dataset)
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


def _model_problems(document: Document, path: tuple[str, ...], models: Registry) -> list[Problem]:
    name = value_at(document.values, path)
    if not isinstance(name, str) or ":" not in name:
        return _registry_problems(document, path, models)
    # Whether a library has a network of this name is known once it is imported, which takes seconds.
    message = own_models.colon_problem(name)
    return [document.problem(path, message)] if message else []


def _teacher_problems(document: Document) -> list[Problem]:
    """Of a teacher of one's own: what techniques learn from is a network of torch, with weights or trained."""
    table, path = value_at(document.values, ("teacher",)), ("teacher", "file")
    if not isinstance(table, dict) or "file" not in table:
        return []
    return [document.problem(path, "a teacher is a network of torch; name it, with 'weights' or 'train'")]


def _task_problems(document: Document, dataset: Any) -> list[Problem]:
    """What of a task does not go with what its dataset asks for: a class for each image, or boxes."""
    task = task_of(dataset)
    name = value_at(document.values, ("dataset", "name"))
    problems = []
    metric = value_at(document.values, ("quality", "metric"))
    others = [known for kind, names in QUALITIES.items() if kind != task for known in names]
    if metric in others:
        message = f"'{metric}' says nothing of {task}, which dataset '{name}' is for"
        problems.append(document.problem(("quality", "metric"), f"{message}; one of {', '.join(QUALITIES[task])} does"))
    if task == "detection":
        problems += _detection_problems(document)
    elif "detection" in document.values:
        problems.append(document.problem(("detection",), f"dataset '{name}' has no boxes; leave this table out"))
    return problems


def _detection_problems(document: Document) -> list[Problem]:
    problems = []
    if "detection" not in document.values:
        message = "its objects have boxes; say under [detection] with 'head' what the network's numbers mean"
        problems.append(document.problem(("dataset", "name"), message))
    resize, crop, squash, letterbox = (
        value_at(document.values, ("preprocess", key)) for key in ("resize", "crop", "squash", "letterbox")
    )
    if crop is not None:
        message = "would cut objects off; 'resize' with 'squash' or 'letterbox' would be right"
        problems.append(document.problem(("preprocess", "crop"), message))
    elif resize is not None and True not in (squash, letterbox):
        message = "leaves images of several sides; 'squash' or 'letterbox' makes one of them"
        problems.append(document.problem(("preprocess", "resize"), message))
    for path, what in _OF_CLASSES.items():
        if value_at(document.values, path):
            message = f"{what} one class of each image, and a detector gives boxes; leave it out"
            problems.append(document.problem(path, message))
    return problems


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


def _dataset(document: Document, datasets: Registry, found: Names) -> Any:
    """The dataset that is named; None where there is none, which `found` then says."""
    name = value_at(document.values, ("dataset", "name"))
    if not isinstance(name, str) or name not in datasets:
        return None
    path = ("dataset", "path")
    given = value_at(document.values, path)
    try:
        kind = datasets.load(name)
    except InputError as error:
        found.problems.append(document.problem(("dataset", "name"), f"can't be loaded: {error}"))
        return None
    if not kind.takes_path:
        if given is not None:
            found.problems.append(document.problem(path, f"'{name}' lies below the data root: leave this out"))
        return kind(locations.data_root())
    if not isinstance(given, str) or not given or "\0" in given:
        if given is None or isinstance(given, str):
            message = f"'{name}' needs the path of a folder, relative to this file"
            found.problems.append(document.problem(path, message))
        return None
    found.path = str((document.place(path)[0].parent / given).absolute())
    try:
        return kind(Path(found.path))
    except (InputError, OSError) as error:
        found.problems.append(document.problem(path, str(error)))
        return None


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
            subset = subsets.find(name, folder, dataset, table["name"])
        except TaskFileError as error:
            problems += error.problems
            continue
        except InputError as error:  # what lies in a folder of one's own
            problems.append(document.problem(path, str(error)))
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


def _size_problems(document: Document, dataset: Any) -> list[Problem]:
    given = [value_at(document.values, ("preprocess", key)) for key in ("resize", "crop", "squash", "letterbox")]
    resize, crop, squash, letterbox = given
    if any(type(side) is not int or side <= 0 for side in (resize, crop) if side is not None):
        return []  # the model of the file says so
    preprocess = Preprocess(resize=resize, crop=crop, squash=squash is True, letterbox=letterbox is True)
    try:
        if dataset.image_shape is not None:
            geometry.output_size(dataset.image_shape[1:], preprocess)
        elif geometry.fixed_size(preprocess) is None:
            raise DataError(geometry.SIZES_DIFFER)
    except DataError as error:
        path = ("preprocess",) if "preprocess" in document.values else ("dataset", "name")
        return [document.problem(path, str(error))]
    return []
