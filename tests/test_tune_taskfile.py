"""How a task file says what is searched, and what is said where it is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conftest import REPOSITORY
from paretoboard import plan, taskfile
from paretoboard.errors import TaskFileError
from paretoboard.registry import TECHNIQUES
from paretoboard.spec import TechniqueUse
from paretoboard.taskfile.model import TrainTable
from paretoboard.taskfile.schema import task_schema
from paretoboard.taskfile.steps import describe_parameters
from paretoboard.techniques.tune import Search

TASK = """version = 1
title = "A search"
quality = { metric = "top1" }
profiles = ["cpu-1"]
[dataset]
name = "digits"
subset = "test"
[model]
name = "cifar-resnet8"
train = { epochs = 2, lr = 0.1 }
[[recipes.found.steps]]
technique = "tune.search"
"""
FIRST = TASK.count("\n") + 1  # the line that follows
RIGHT = """sampler = "tpe"
trials = 4
ranges.lr = { low = 0.01, high = 1, log = true }
ranges.batch = { low = 16, high = 128 }
ranges.augment = { choices = [[], ["flip"]] }
"""


def written(folder: Path, text: str) -> Path:
    for name in ("train", "test"):
        shutil.copy(REPOSITORY / "tasks" / "quick" / f"{name}.txt", folder)
    path = folder / "task.toml"
    path.write_text(TASK + text)
    return path


def use_of(path: Path) -> TechniqueUse:
    return taskfile.load(path).recipes[1].steps[0]


def test_ranges_are_tables_and_numbers_have_the_type_of_their_setting(tmp_path: Path) -> None:
    parameters = use_of(written(tmp_path, RIGHT)).parameters
    assert parameters["ranges"] == {
        "lr": {"low": 0.01, "high": 1.0, "log": True},
        "batch": {"low": 16, "high": 128},
        "augment": {"choices": [[], ["flip"]]},
    }
    assert type(parameters["ranges"]["lr"]["high"]) is float
    assert type(parameters["ranges"]["batch"]["high"]) is int


def test_ranges_may_be_written_in_one_line_or_each_in_its_own(tmp_path: Path) -> None:
    one = 'sampler = "random"\ntrials = 2\nranges = { lr = { low = 0.1, high = 1.0 } }\n'
    other = 'sampler = "random"\ntrials = 2\n[recipes.found.steps.ranges.lr]\nlow = 0.1\nhigh = 1.0\n'
    assert use_of(written(tmp_path, one)) == use_of(written(tmp_path, other))


def test_a_step_travels_as_json_and_makes_the_same_technique(tmp_path: Path) -> None:
    use = use_of(written(tmp_path, RIGHT))
    travelled = json.loads(json.dumps(plan.plain(use.parameters)))
    assert TECHNIQUES.load(use.name)(**travelled) == TECHNIQUES.load(use.name)(**use.parameters)


def test_another_range_is_another_run(tmp_path: Path) -> None:
    def run_id(text: str) -> str:
        return list(plan.expand([taskfile.load(written(tmp_path, text))]))[1].run_id

    assert run_id(RIGHT) != run_id(RIGHT.replace("high = 128", "high = 64"))
    assert run_id(RIGHT) == run_id(RIGHT)


MISTAKES = [
    ("ranges.lrr = { low = 0.1, high = 1.0 }", "ranges.lrr: no such key. Did you mean 'lr'?"),
    ("ranges.lr = { low = 0.1, hihg = 1.0 }", "ranges.lr.hihg: no such key. Did you mean 'high'?"),
    ("ranges.lr = { low = 0.1 }", "ranges.lr: needs 'low' and 'high', or 'choices'"),
    ("ranges.lr = { low = 0, high = 1 }", "ranges.lr.low: found 0 (a whole number); more than 0"),
    ("ranges.lr = { low = 1, high = 0.1 }", "ranges.lr: found low = 1 and high = 0.1; a lower 'low' would be right"),
    ("ranges.l9 = 3", "ranges.l9: no such key."),
    ("ranges.lr = 0.1", "ranges.lr: found 0.1 (a number); a table would be right."),
    ("ranges.lr = [0.1, 0.2]", "ranges.lr: found an array; a table would be right."),
    ("ranges = [3]", "ranges: found an array; a table would be right."),
    ("ranges.momentum = { low = 0.5, high = 1 }", "ranges.momentum.high: found 1 (a whole number); less than 1"),
    (
        "ranges.weight_decay = { low = 0, high = 1, log = true }",
        "ranges.weight_decay: found log = true and low = 0; more than 0 would be right",
    ),
    ("ranges.batch = { low = 16, high = 32.5 }", "ranges.batch.high: found 32.5 (a number); a whole number would"),
    ("ranges.lr = { choices = [0.1] }", "ranges.lr.choices: needs at least 2 items"),
    ("ranges.lr = { choices = [0.1, 0.1] }", "ranges.lr: found a choice twice"),
    ("ranges.lr = { choices = [0.1, -1.0] }", "ranges.lr.choices[1]: found -1.0 (a number); more than 0"),
    (
        "ranges.lr = { choices = [0.1, 0.2], low = 0.1, high = 1.0 }",
        "ranges.lr: found 'choices' and 'low'; either 'choices', or 'low' and 'high', would be right",
    ),
    ('ranges.optimizer = { choices = ["sgd", "adamm"] }', "choices[1]: found 'adamm' (a string); 'sgd' or 'adamw'"),
    ("ranges.optimizer = { low = 1, high = 2 }", "ranges.optimizer.low: no such key."),
    ('ranges.augment = { choices = [[], ["flop"]] }', "choices[1][0]: unknown augmentation 'flop'"),
    ("ranges.epochs = { low = 1, high = 4 }", "ranges.epochs: no such key."),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES)
def test_a_mistake_in_a_range_is_named_with_its_line(line: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, f'sampler = "random"\ntrials = 4\n{line}\n')
    with pytest.raises(TaskFileError) as caught:
        taskfile.load(path)
    first = caught.value.problems[0]
    assert message in str(first)
    assert first.line == FIRST + 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sampler = "random"\ntrials = 4\nranges = {}\n', "ranges is empty: it names what is searched, some of lr"),
        ('sampler = "random"\ntrials = 4\n', "ranges: is missing"),
        ('sampler = "radnom"\ntrials = 4\n' + RIGHT[27:], "Did you mean 'random'?"),
        ('sampler = "tpe"\ntrials = 0\n' + RIGHT[27:], "trials: found 0 (a whole number); at least 1"),
        (
            'sampler = "grid"\ntrials = 4\nranges.lr = { low = 0.1, high = 1 }\n',
            "a grid needs 'points' or 'choices' in each range, and ranges.lr has neither",
        ),
        (
            'sampler = "gp"\ntrials = 4\nranges.lr = { low = 0.1, high = 1, points = 3 }\n',
            "ranges.lr has 'points', which say how a grid divides it: leave them out",
        ),
        (
            'sampler = "grid"\ntrials = 5\nranges.lr = { low = 0.1, high = 1, points = 3 }\n'
            "ranges.batch = { choices = [32, 64] }\n",
            "found trials = 5 and a grid of 3 x 2; trials = 6 would be right",
        ),
        (
            'sampler = "grid"\ntrials = 3\nstartup = 1\nranges.lr = { low = 0.1, high = 1, points = 3 }\n',
            "a grid has no trials that are drawn at random: leave 'startup' out",
        ),
    ],
)
def test_what_does_not_go_together_is_said_of_the_step(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskFileError) as caught:
        taskfile.load(written(tmp_path, text))
    assert message in str(caught.value)


def test_what_a_search_may_vary_is_what_a_task_trains_with_but_for_its_budget_and_its_judge() -> None:
    with pytest.raises(Exception, match="some of lr, batch, optimizer"):
        Search(sampler="random", trials=1, ranges={})
    schema = task_schema()
    searched = set(schema["$defs"]["Ranges"]["properties"])
    assert searched < set(TrainTable.model_fields)
    assert {"lr", "weight_decay", "momentum", "label_smoothing", "batch", "augment"} <= searched
    assert "epochs" not in searched


@pytest.mark.parametrize(("changes", "right"), [({}, True), ({"low": 0}, False), ({"hihg": 1}, False)])
def test_editors_are_told_the_same_of_ranges(changes: dict[str, Any], right: bool) -> None:
    schema = task_schema()
    step = {"technique": "tune.search", "sampler": "tpe", "trials": 4}
    step["ranges"] = {"lr": {"low": 0.01, "high": 1.0, "log": True, **changes}}
    checked = jsonschema.Draft202012Validator({"$ref": "#/$defs/StepTable", "$defs": schema["$defs"]})
    assert checked.is_valid(step) == right


def test_the_list_of_techniques_calls_nested_parameters_tables() -> None:
    described = describe_parameters(Search)
    assert "ranges: table" in described
    assert "trials: integer >= 1" in described


def test_a_grid_s_points_are_both_ends_and_what_lies_evenly_between() -> None:
    def points(name: str, **given: Any) -> list[float]:
        from paretoboard.techniques.tune import _nodes

        return list(_nodes(name, given))

    assert points("lr", low=0.001, high=1.0, log=True, points=4) == pytest.approx([0.001, 0.01, 0.1, 1.0])
    assert points("lr", low=0.0, high=1.0, points=3) == [0.0, 0.5, 1.0]
    assert points("batch", low=16, high=128, log=True, points=4) == [16, 32, 64, 128]
    assert points("batch", low=1, high=3, points=9) == [1, 2, 3]
    assert points("optimizer", choices=["sgd", "adamw"]) == ["sgd", "adamw"]
