"""`paretoboard list`: what there is, one line each."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paretoboard import locations, profiles, taskfile
from paretoboard.cli import options
from paretoboard.errors import UnknownNameError
from paretoboard.metrics import METRICS
from paretoboard.registry import DATASETS, MODELS, TECHNIQUES, Registry
from paretoboard.spec import BASELINE
from paretoboard.taskfile.steps import describe_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard.spec import ModelUse, Recipe

Rows = list[dict[str, Any]]
_OTHER_MODELS: Final = (
    "Also: torchvision:NAME, timm:NAME (extra 'timm'), and of one's own module:function or, instead of a name, "
    "a file: x.onnx or x.pt2."
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("list")
def list_things(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="tasks, recipes, techniques, models, datasets, metrics, profiles or runners.",
            show_default=False,
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """What there is: tasks, recipes, techniques, models, datasets, metrics, profiles, runners."""
    if kind not in KINDS:
        raise UnknownNameError("kind of thing", kind, KINDS)
    rows, headings = KINDS[kind]
    found = rows()
    if as_json:
        print(json.dumps(found, indent=2))
    elif kind == "techniques":
        print("\n\n".join(map(_technique_text, found)))
    else:
        lines = [[heading.upper() for heading in headings]]
        lines += [[_cell(row[heading]) for heading in headings] for row in found]
        print(options.table(lines))
        if kind == "models":
            print(_OTHER_MODELS, file=sys.stderr)


def _technique_text(row: dict[str, Any]) -> str:
    """A technique, its parameters one a line and its source: too much for one line of a table."""
    details = [*row["parameters"], f"source: {row['source']}"]
    return "\n".join([f"{row['name']}: {row['summary']}", *(f"    {line}" for line in details)])


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value) if value not in ("", None) else "-"


def _tasks() -> Rows:
    return [
        {
            "name": task.name,
            "dataset": task.dataset.name,
            "model": task.model.name,
            "recipes": len(task.recipes) - 1,
            "profiles": [profile.name for profile in task.profiles],
            "title": task.title,
            "description": task.description,
            "file": str(task.file),
        }
        for task in taskfile.load_all([str(locations.tasks_folder())])
    ]


def _recipes() -> Rows:
    return [
        {"task": task.name, "recipe": recipe.name, "steps": _steps(recipe, task.model)}
        for task in taskfile.load_all([str(locations.tasks_folder())])
        for recipe in task.recipes
    ]


def _steps(recipe: Recipe, model: ModelUse) -> str:
    if recipe.name == BASELINE:
        return f"the model as it is, in {'ONNX Runtime' if model.is_graph else 'torch eager'}"
    return " -> ".join(
        f"{step.name}({', '.join(f'{key}={value}' for key, value in step.parameters.items())})" for step in recipe.steps
    )


def _techniques() -> Rows:
    rows = []
    for name in TECHNIQUES:
        technique = TECHNIQUES.load(name)
        rows.append(
            {
                "name": name,
                "summary": TECHNIQUES.describe(name),
                "parameters": describe_parameters(technique),
                "version": technique.version,
                "needs": list(technique.needs),
                "source": technique.source,
            }
        )
    return rows


def _registered(registry: Registry) -> Callable[[], Rows]:
    return lambda: [
        {"name": name, "summary": registry.describe(name), "target": registry.target(name)} for name in registry
    ]


def _datasets() -> Rows:
    rows = []
    for name in DATASETS:
        dataset = DATASETS.load(name)
        shape = dataset.image_shape
        rows.append(
            {
                "name": name,
                "splits": list(dataset.splits),
                "classes": getattr(dataset, "classes", None),  # those of a folder are known once it is named
                "image": "x".join(map(str, shape)) if shape else "any",
                "summary": DATASETS.describe(name),
            }
        )
    return rows


def _metrics() -> Rows:
    return [
        {
            "name": metric.name,
            "kind": metric.kind,
            "unit": metric.unit,
            "better": metric.better,
            "summary": metric.summary,
        }
        for metric in METRICS.values()
    ]


def _profiles() -> Rows:
    return [
        {
            "name": profile.name,
            "device": profile.device,
            "cores": profile.cores,
            "require": list(profile.require),
            "settings": dict(profile.settings),
            "title": profile.title,
        }
        for profile in profiles.load_all(locations.profiles_folder())
    ]


def _runners() -> Rows:
    # One so far, which no task or option names; a registry takes this row's place when there is a second.
    return [
        {"name": "local", "summary": "this machine; each launch is a fresh process, pinned before torch is imported"}
    ]


# What can be listed: its rows, and which of their fields the table shows; --json shows all.
KINDS: Final[dict[str, tuple[Callable[[], Rows], tuple[str, ...]]]] = {
    "tasks": (_tasks, ("name", "dataset", "model", "recipes", "profiles", "title")),
    "recipes": (_recipes, ("task", "recipe", "steps")),
    "techniques": (_techniques, ("name", "summary")),
    "models": (_registered(MODELS), ("name", "summary")),
    "datasets": (_datasets, ("name", "splits", "classes", "image", "summary")),
    "metrics": (_metrics, ("name", "kind", "unit", "better", "summary")),
    "profiles": (_profiles, ("name", "device", "cores", "require", "title")),
    "runners": (_runners, ("name", "summary")),
}
