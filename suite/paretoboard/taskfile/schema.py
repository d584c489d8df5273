"""The JSON Schema of task files, for editors: types, ranges, names and each technique's parameters.

`python -m paretoboard.taskfile.schema FILE` writes it.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any, Final

from paretoboard.metrics import METRICS
from paretoboard.registry import DATASETS, MODELS, TECHNIQUES, Registry
from paretoboard.spec import BASELINE
from paretoboard.taskfile.model import RECIPE_PATTERN, TaskFile
from paretoboard.taskfile.steps import parameters_schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def task_schema(
    *, techniques: Registry = TECHNIQUES, models: Registry = MODELS, datasets: Registry = DATASETS
) -> dict[str, Any]:
    """JSON Schema, draft 2020-12. A file that extends another may leave out what is required elsewhere."""
    schema = TaskFile.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    definitions["StepTable"] = _steps(techniques, definitions)
    # Networks of libraries and of one's own have a colon in their names, and are known to nobody here.
    definitions["ModelTable"]["properties"]["name"] = {"anyOf": [{"enum": list(models)}, {"pattern": ":"}]}
    definitions["DatasetTable"]["properties"]["name"]["enum"] = list(datasets)
    quality = [metric.name for metric in METRICS.values() if metric.kind == "quality"]
    definitions["QualityTable"]["properties"]["metric"]["enum"] = quality
    schema["properties"]["recipes"]["propertyNames"] = {"pattern": RECIPE_PATTERN, "not": {"const": BASELINE}}
    definitions["Task"] = schema
    definitions["Change"] = _without_required(schema, definitions)
    return {
        "$schema": _DIALECT,
        "title": "paretoboard task",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/Change"},
        "else": {"$ref": "#/$defs/Task"},
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(task_schema(), indent=2, ensure_ascii=False) + "\n"


def _steps(techniques: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    variants = []
    for name in techniques:
        parameters = parameters_schema(techniques.load(name))
        definitions.update(parameters.get("$defs", {}))
        variants.append(
            {
                "title": name,
                "description": techniques.describe(name),
                "type": "object",
                "properties": {"technique": {"const": name}, **parameters.get("properties", {})},
                "required": ["technique", *parameters.get("required", [])],
                "additionalProperties": False,
            }
        )
    return {"oneOf": variants}


def _without_required(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A copy of `schema` that demands nothing at the top and in its tables; recipes are given whole or not at all."""
    change = copy.deepcopy(schema)
    change.pop("required", None)
    for table in change["properties"].values():
        if "$ref" in table:
            name = table["$ref"].rpartition("/")[2]
            loose = copy.deepcopy(definitions[name])
            loose.pop("required", None)
            loose.pop("oneOf", None)
            definitions[f"{name}Change"] = loose
            table["$ref"] += "Change"
    return change


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
