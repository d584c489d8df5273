"""The steps of a recipe: known techniques, right parameters, and an order in which each can work on what it gets."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from pydantic import ValidationError, create_model

from paretoboard import ablation
from paretoboard.errors import InputError, UnknownNameError
from paretoboard.spec import BASELINE, Recipe, TechniqueUse
from paretoboard.taskfile.model import RECIPE_PATTERN
from paretoboard.taskfile.order import is_runtime, wrong_order
from paretoboard.tomlfile.checking import Table, explain, keys_at, value_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.errors import Problem
    from paretoboard.registry import Registry
    from paretoboard.tomlfile.document import Document, KeyPath

# What to say where a step needs what the task does not name.
_MISSING: Final = {
    "train": "needs train images; name some as 'train' under [dataset]",
    "calibration": "needs calibration images; name some as 'calibration' under [dataset]",
    "teacher": "needs a teacher; name its network and weights under [teacher]",
}
_TOO_FEW: Final = (
    "an ablation tells two techniques or more apart, found {} beside the runtime;"
    " against its runtime alone every recipe is timed anyway"
)
_BOUNDS: Final = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def read_recipes(
    document: Document, techniques: Registry, available: Mapping[str, bool], *, graph: bool = False
) -> tuple[tuple[Recipe, ...], list[Problem]]:
    """The baseline, the recipes of a task file and those that its ablations add, and all that is wrong with them.

    Args:
        available: for each of techniques.Need, whether the task has it.
        graph: whether the model is an ONNX graph from the beginning.
    """
    recipes, problems = [Recipe(name=BASELINE)], []
    rules = _rules(techniques, graph=graph)
    ablated = set()
    tables = document.values.get("recipes")
    for name, table in tables.items() if isinstance(tables, dict) else ():
        path = ("recipes", name)
        if name == BASELINE:
            problems.append(
                document.problem(path, "this is the model as it is and always there; give the recipe another name")
            )
        elif not re.fullmatch(RECIPE_PATTERN, name):
            message = "a recipe's name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit"
            problems.append(document.problem(path, message))
        rows = value_at(table, ("steps",))
        if not isinstance(rows, list):
            continue
        reader = _StepReader(document, (*path, "steps"), techniques, available, graph=graph)
        recipe = Recipe(name=name, steps=reader.read(rows))
        recipes.append(recipe)
        problems += reader.problems
        if value_at(table, ("ablate",)) is True and not reader.problems:
            ablated.add(name)
            count = len(ablation.techniques(recipe.steps, rules))
            if count < ablation.LEAST_TECHNIQUES:
                problems.append(document.problem((*path, "ablate"), _TOO_FEW.format(count or "no")))
    if problems:
        return tuple(recipes), problems
    return ablation.complete(recipes, ablated=ablated, rules=rules), []


def _rules(techniques: Registry, *, graph: bool) -> ablation.Rules:
    """What is known of steps here, for their ablation."""

    def refusal(steps: tuple[TechniqueUse, ...]) -> str:
        named = [(step.name, techniques.load(step.name)) for step in steps]
        wrong = wrong_order(named, techniques, graph=graph)
        return "; ".join(f"{steps[index].name} {message}" for index, message in wrong)

    return ablation.Rules(is_runtime=lambda step: is_runtime(step.name, techniques.load(step.name)), refusal=refusal)


def parameters_schema(technique: Any) -> dict[str, Any]:
    """The JSON Schema of a technique's parameters."""
    return _parameters(technique).model_json_schema()


def describe_parameters(technique: Any) -> list[str]:
    """`epochs: integer > 0`, `lr: number > 0 = 0.01`: a technique's parameters with their ranges and defaults."""
    schema = parameters_schema(technique)
    return [f"{name}: {_describe(field)}" for name, field in schema.get("properties", {}).items()]


def _describe(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        text = "|".join(_describe(choice) for choice in field["anyOf"])
    elif "$ref" in field:
        text = "table"
    elif "enum" in field:
        text = "|".join(map(str, field["enum"]))
    else:
        text = str(field.get("const", field.get("type", "any")))
    text += "".join(f" {sign} {field[bound]:g}" for bound, sign in _BOUNDS.items() if bound in field)
    return f"{text} = {json.dumps(field['default'])}" if "default" in field else text


@functools.cache
def _parameters(technique: Any) -> type[Table]:
    """A strict model with the fields of a technique, which is a plain dataclass."""
    # Resolved here, since a parameter that is inherited is annotated with the names of its own module.
    types = get_type_hints(technique, include_extras=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(technique):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        fields[field.name] = (types[field.name], ... if default is dataclasses.MISSING else default)
    return create_model(technique.__name__, __base__=Table, __module__=technique.__module__, **fields)


class _StepReader:
    """Goes through one recipe's steps."""

    def __init__(
        self,
        document: Document,
        at: KeyPath,
        techniques: Registry,
        available: Mapping[str, bool],
        *,
        graph: bool,
    ) -> None:
        self.document = document
        self.at = at
        self.techniques = techniques
        self.available = available
        self.graph = graph
        self.problems: list[Problem] = []

    def read(self, rows: list[Any]) -> tuple[TechniqueUse, ...]:
        steps = []
        followed: list[tuple[str, Any]] = []  # up to the first that is not known
        for index, row in enumerate(rows):
            name = value_at(row, ("technique",))
            technique = self.technique(name, index) if isinstance(name, str) else None
            if technique is None:
                continue
            steps.append(self.use(name, technique, index, row))
            if len(followed) == index:
                followed.append((name, technique))
        for index, message in wrong_order(
            followed, self.techniques, whole=len(followed) == len(rows), graph=self.graph
        ):
            self.complain((*self.at, index), message)
        return tuple(step for step in steps if step is not None)

    def technique(self, name: str, index: int) -> Any:
        try:
            return self.techniques.load(name)
        except UnknownNameError as error:
            self.complain((*self.at, index, "technique"), str(error))
        except InputError as error:
            self.complain((*self.at, index, "technique"), f"can't be loaded: {error}")
        return None

    def use(self, name: str, technique: Any, index: int, row: dict[str, Any]) -> TechniqueUse | None:
        given = {key: value for key, value in row.items() if key != "technique"}
        # JSON is the form in which a strict check takes arrays for tuples; dates, which it has not, become tables,
        # which no parameter takes.
        text = json.dumps(given, default=lambda date: {"date": str(date)})
        model = _parameters(technique)
        try:
            checked = model.model_validate_json(text)
        except ValidationError as error:
            self.problems += explain(error, self.document, (*self.at, index), lambda path: keys_at(model, path))
            return None
        parameters = checked.model_dump()
        try:
            needs = technique(**parameters).needs_now()
        except InputError as error:
            self.complain((*self.at, index), str(error))
            return None
        for need in needs:
            if not self.available.get(need, False):
                self.complain((*self.at, index), _MISSING[need])
        return TechniqueUse(name=name, version=technique.version, parameters=parameters)

    def complain(self, path: KeyPath, message: str) -> None:
        self.problems.append(self.document.problem(path, message))
