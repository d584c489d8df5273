"""From tasks to runs, and the ids that say whether two runs are the same.

An id is the SHA-256 of everything that decides an outcome, written as canonical JSON. What only describes (titles,
file paths) is left out; what the machine decides is kept apart, in a record's fingerprints.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from paretoboard.spec import (
    BASELINE,
    LATER,
    DatasetUse,
    DetectionUse,
    HardwareProfile,
    MeasureSpec,
    ModelUse,
    Preprocess,
    QualityTarget,
    Recipe,
    Subset,
    TaskSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Raise when the way numbers are taken changes their meaning; older records then stop being compared.
PROTOCOL: Final = "ab1"
METRICS_VERSION: Final = 2  # 2: calls after the other arm's no longer count where calls are short


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One cell of the plan: task x recipe x profile x seed."""

    task: str
    task_version: int
    title: str
    dataset: DatasetUse
    model: ModelUse
    teacher: ModelUse | None = None
    preprocess: Preprocess
    detection: DetectionUse | None = None
    quality: QualityTarget
    measure: MeasureSpec
    recipe: Recipe
    profile: HardwareProfile
    seed: int

    @cached_property
    def run_id(self) -> str:
        """64 hex digits over everything that decides the outcome."""
        content = {**self.content(), "recipe": _deciding(self.recipe)}
        return digest({"protocol": PROTOCOL, "metrics": METRICS_VERSION, **content})

    @cached_property
    def board_id(self) -> str:
        """What runs must share to stand in one table: all but the recipe and the seed."""
        content = self.content()
        del content["recipe"], content["seed"]
        return digest({"protocol": PROTOCOL, "metrics": METRICS_VERSION, **content})

    @cached_property
    def build_ids(self) -> tuple[str, ...]:
        """Ids of the artifacts after each step; the first is the untouched model, the last what is measured.

        Two recipes that begin alike share their first ids, and so share the artifacts.
        """
        start = {
            "model": _model_content(self.model),
            "dataset": _dataset_content(self.dataset, evaluated=False),
            "preprocess": plain(self.preprocess),
            **self._detection(),
            "seed": self.seed,
        }
        ids = [digest(start)]
        for step in self.recipe.steps:
            ids.append(digest({"after": ids[-1], "step": plain(step), **self._teacher()}))
        return tuple(ids)

    @property
    def is_baseline(self) -> bool:
        """Whether this is the model as it is."""
        return self.recipe.name == BASELINE

    def content(self) -> dict[str, Any]:
        """What decides the outcome, as plain values; of references and their ablation also the names."""
        return {
            "task": self.task,
            "task_version": self.task_version,
            "dataset": _dataset_content(self.dataset, evaluated=True),
            "model": _model_content(self.model),
            **self._teacher(),
            "preprocess": plain(self.preprocess),
            **self._detection(),
            "quality": self.quality.metric,
            "measure": plain(self.measure),
            "recipe": _recipe_content(self.recipe),
            "profile": {key: value for key, value in plain(self.profile).items() if key != "title"},
            "seed": self.seed,
        }

    def _teacher(self) -> dict[str, Any]:
        # Left out where there is none, so that ids of tasks without a teacher say nothing of teachers.
        return {"teacher": _model_content(self.teacher)} if self.teacher else {}

    def _detection(self) -> dict[str, Any]:
        return {"detection": plain(self.detection)} if self.detection else {}


def expand(
    tasks: Iterable[TaskSpec],
    *,
    profiles: Iterable[str] | None = None,
    recipes: Iterable[str] | None = None,
    seeds: Iterable[int] | None = None,
) -> Iterator[RunSpec]:
    """The runs of `tasks`, the baseline first within each task, profile and seed.

    Args:
        profiles, recipes, seeds: keep only these; the baseline is always kept, since all else is compared with it.
    """
    chosen_profiles, chosen_recipes = _optional_set(profiles), _optional_set(recipes)
    chosen_seeds = tuple(seeds) if seeds is not None else None
    for task in tasks:
        # Seeds are outermost so that a plan cut short still compares all recipes fairly.
        for seed in chosen_seeds if chosen_seeds is not None else task.seeds:
            for profile in task.profiles:
                if chosen_profiles is not None and profile.name not in chosen_profiles:
                    continue
                for recipe in task.recipes:
                    if chosen_recipes is None or recipe.name in chosen_recipes or recipe.name == BASELINE:
                        yield _cell(task, recipe, profile, seed)


def digest(content: Any) -> str:
    """SHA-256 over the canonical JSON of plain values."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as dicts and lists that JSON can hold.

    Of fields that were added later and are as they would have been before, nothing is said.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {spec: getattr(value, spec.name) for spec in dataclasses.fields(value)}
        said = {spec.name: item for spec, item in found.items() if spec.metadata != LATER or item != spec.default}
        return {name: plain(item) for name, item in said.items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _cell(task: TaskSpec, recipe: Recipe, profile: HardwareProfile, seed: int) -> RunSpec:
    return RunSpec(
        task=task.name,
        task_version=task.version,
        title=task.title,
        dataset=task.dataset,
        model=task.model,
        teacher=task.teacher,
        preprocess=task.preprocess,
        detection=task.detection,
        quality=task.quality,
        measure=task.measure,
        recipe=recipe,
        profile=profile,
        seed=seed,
    )


def _recipe_content(recipe: Recipe) -> dict[str, Any]:
    # As with the teacher: nothing is said of references and an ablation where there are none.
    content: dict[str, Any] = {"name": recipe.name, "steps": plain(recipe.steps)}
    if recipe.references:
        content["references"] = [{"name": found.name, "steps": plain(found.steps)} for found in recipe.references]
    if recipe.ablation:
        content["ablation"] = plain(recipe.ablation)
    return content


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides the outcome: references by what is in them, whatever they are called elsewhere."""
    content: dict[str, Any] = {"name": recipe.name, "steps": plain(recipe.steps)}
    if recipe.references:
        content["references"] = sorted(digest(plain(found.steps)) for found in recipe.references)
    return content


def _model_content(model: ModelUse) -> dict[str, Any]:
    content: dict[str, Any] = plain(dataclasses.replace(model, file=None, folder=None))
    return {**content, "file": model.file.sha256} if model.file else content


def _dataset_content(dataset: DatasetUse, *, evaluated: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": dataset.name,
        "train": _subset_content(dataset.train),
        "calibration": _subset_content(dataset.calibration) if dataset.calibration else None,
    }
    if dataset.classes is not None:  # every other dataset's follow from its name
        content["classes"] = dataset.classes
    if evaluated:
        content["subset"] = _subset_content(dataset.subset)
    return content


def _subset_content(subset: Subset) -> dict[str, str]:
    return {"name": subset.name, "digest": subset.digest}


def _optional_set(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
