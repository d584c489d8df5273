"""Task files: TOML, checked strictly, with every mistake of a file at once and the line it is in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from paretoboard.errors import InputError, Problem, TaskFileError, suggestion
from paretoboard.locations import profiles_folder as default_profiles_folder
from paretoboard.locations import tasks_folder as default_tasks_folder
from paretoboard.registry import DATASETS, MODELS, TECHNIQUES
from paretoboard.spec import (
    DatasetUse,
    DetectionUse,
    MeasureSpec,
    ModelUse,
    Preprocess,
    QualityTarget,
    Subset,
    TaskSpec,
    TrainSettings,
    Weights,
)
from paretoboard.taskfile.model import TaskFile
from paretoboard.taskfile.names import Names, look_up
from paretoboard.taskfile.steps import read_recipes
from paretoboard.tomlfile.checking import check, value_at
from paretoboard.tomlfile.document import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.registry import Registry
    from paretoboard.spec import Recipe
    from paretoboard.taskfile.model import ModelTable, PreprocessTable
    from paretoboard.taskfile.own_models import OwnModel
    from paretoboard.tomlfile.document import Document


def load(
    path: Path,
    *,
    profiles_folder: Path | None = None,
    techniques: Registry = TECHNIQUES,
    models: Registry = MODELS,
    datasets: Registry = DATASETS,
) -> TaskSpec:
    """The task that the file at `path` describes.

    Args:
        profiles_folder: where the profiles it names are; None for the project's own.
    Raises: TaskFileError with every mistake of the file, and of the lists and profiles it names.
    """
    document = read(path)
    table, problems = check(TaskFile, document)
    folder = profiles_folder if profiles_folder is not None else default_profiles_folder()
    names = look_up(document, profiles_folder=folder, models=models, datasets=datasets)
    # What is named but wrong is reported once, and not again by each step that needs it.
    available = {
        role: role in names.subsets or value_at(document.values, ("dataset", role)) is not None
        for role in ("train", "calibration")
    }
    available["teacher"] = "teacher" in document.values
    recipes, step_problems = read_recipes(document, techniques, available, graph=_is_graph(document))
    problems += names.problems + step_problems
    if table is None or problems:
        raise TaskFileError(problems)
    return _spec(path, table, names, recipes)


def load_all(
    wanted: Iterable[str], *, tasks_folder: Path | None = None, profiles_folder: Path | None = None
) -> list[TaskSpec]:
    """The tasks of files, folders, and names below the tasks folder ("cifar10/resnet20", "quick").

    Raises: InputError for what leads to no task file, TaskFileError with every mistake of all files.
    """
    tasks: list[TaskSpec] = []
    problems: list[Problem] = []
    for file in find(wanted, tasks_folder=tasks_folder):
        try:
            tasks.append(load(file, profiles_folder=profiles_folder))
        except TaskFileError as error:
            problems += error.problems
    if problems:
        raise TaskFileError(list(dict.fromkeys(problems)))
    return tasks


def find(wanted: Iterable[str], *, tasks_folder: Path | None = None) -> list[Path]:
    """The task files that `wanted` leads to, each once, in the order asked for and sorted within a folder.

    Raises: InputError for what leads to none.
    """
    folder = tasks_folder if tasks_folder is not None else default_tasks_folder()
    found: dict[Path, Path] = {}
    for text in wanted:
        for file in _files_of(text, folder):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def known_names(tasks_folder: Path | None = None) -> list[str]:
    """Names of the task files below the tasks folder, sorted."""
    folder = tasks_folder if tasks_folder is not None else default_tasks_folder()
    return [task_name(file) for file in _files_below(folder)]


def task_name(file: Path) -> str:
    """The path below the nearest folder called `tasks`, without the suffix; elsewhere the file's stem."""
    parents = file.absolute().parents
    for parent in parents:
        if parent.name == "tasks":
            return file.absolute().relative_to(parent).with_suffix("").as_posix()
    return file.stem


def _files_of(text: str, tasks_folder: Path) -> Sequence[Path]:
    if not text or "\0" in text:
        raise InputError(f"unknown task {text!r}. A file, a folder or a name below {tasks_folder} is needed.")
    try:
        files = _existing(text, tasks_folder)
    except OSError as error:  # a name too long, a folder that may not be entered
        raise InputError(f"task '{text[:100]}' can't be read: {error.strerror}") from None
    if files:
        return files
    if Path(text).is_dir():
        raise InputError(f"{text}: no task files (*.toml) in this folder")
    names = known_names(tasks_folder)
    folders = {parent.as_posix() for name in names for parent in Path(name).parents} - {"."}
    bare = text.removesuffix(".toml").removeprefix("tasks/")
    raise InputError(f"unknown task '{text}'.{suggestion(bare, {*names, *folders})}")


def _existing(text: str, tasks_folder: Path) -> Sequence[Path]:
    # What the user sees in the current folder comes first; then names, with "tasks/" in front or without.
    for path in (Path(text), tasks_folder / text, tasks_folder / f"{text}.toml", tasks_folder.parent / text):
        if path.is_dir():
            if files := _files_below(path):
                return files
        elif path.exists():
            return [path]
    return []


def _files_below(folder: Path) -> list[Path]:
    # Published numbers lie in tasks/claims, beside the tasks that measure them again: see paretoboard.claims.
    return [file for file in sorted(folder.rglob("*.toml")) if not task_name(file).startswith("claims/")]


def _is_graph(document: Document) -> bool:
    """Whether the task's model is an ONNX graph from the beginning."""
    return value_at(document.values, ("model", "file")) is not None


def _spec(path: Path, table: TaskFile, names: Names, recipes: tuple[Recipe, ...]) -> TaskSpec:
    return TaskSpec(
        name=task_name(path),
        file=path,
        version=table.version,
        title=table.title,
        description=table.description,
        quality=QualityTarget(metric=table.quality.metric, at_least=table.quality.at_least),
        seeds=tuple(table.seeds),
        profiles=names.profiles,
        dataset=DatasetUse(
            name=table.dataset.name,
            subset=names.subsets["subset"],
            train=names.subsets.get("train", Subset(name=table.dataset.train)),
            calibration=names.subsets.get("calibration"),
            path=names.path,
            classes=names.classes,
        ),
        model=_model(table.model, names.own["model"]),
        teacher=_model(table.teacher, names.own["teacher"]) if table.teacher else None,
        preprocess=_preprocess(table.preprocess),
        detection=DetectionUse(**table.detection.model_dump()) if table.detection else None,
        measure=MeasureSpec(
            batches=tuple(table.measure.batches),
            budget=table.measure.budget,
            timeout_s=table.measure.timeout_s,
            scenarios=tuple(table.measure.scenarios),
            server_latency_s=table.measure.server_latency_s,
            explain=table.measure.explain,
            corruptions=tuple(table.measure.corruptions),
        ),
        recipes=recipes,
    )


def _model(table: ModelTable, own: OwnModel) -> ModelUse:
    weights = Weights(**table.weights.model_dump(exclude_none=True)) if table.weights else None
    train = None
    if table.train:
        settings = table.train.model_dump()
        train = TrainSettings(**{**settings, "augment": tuple(settings["augment"])})
    name = table.name or Path(table.file or "").name
    return ModelUse(name=name, weights=weights, train=train, file=own.file, code=own.code, folder=own.folder)


def _preprocess(table: PreprocessTable) -> Preprocess:
    settings = table.model_dump()
    return Preprocess(**{**settings, "mean": tuple(settings["mean"]), "std": tuple(settings["std"])})
