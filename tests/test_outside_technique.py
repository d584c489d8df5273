"""A technique that another distribution brings: one module and one entry point, and task files can name it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = '''
"""Rounds weights to a grid."""

import dataclasses
from typing import Annotated

from annotated_types import Gt

from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import own_float32_module


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rounding(Technique):
    source = "made up for a test, section 1"
    takes = ("torch",)

    step: Annotated[float, Gt(0)] = 0.125

    def apply(self, candidate, bench):
        module = own_float32_module(candidate, "toy.round")
        for parameter in module.parameters():
            parameter.data = (parameter.data / self.step).round() * self.step
        return Applied(candidate=dataclasses.replace(candidate, module=module), notes=(f"rounded to {self.step}",))
'''
TASK = """
version = 1
title = "A toy"
quality = {{ metric = "top1" }}
profiles = ["cpu-1"]
[dataset]
name = "digits"
subset = "test"
[model]
name = "cifar-resnet8"
train = {{ epochs = 1, lr = 0.1 }}
[recipes.rounded]
steps = [{{ technique = "toy.round", step = {step} }}]
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the distribution as an installer leaves it."""
    folder = tmp_path / "site"
    metadata = folder / "toy_rounding-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "toy_rounding.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-rounding\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[paretoboard.techniques]\ntoy.round = toy_rounding:Rounding\n")
    return folder


def write(folder: Path, step: float) -> Path:
    """A task on 64 of the digits that uses the technique."""
    for name, first in (("train", 0), ("test", 64)):
        (folder / f"{name}.txt").write_text("".join(f"digits/{first + index:04d}\n" for index in range(64)))
    path = folder / "toy.toml"
    path.write_text(TASK.format(step=step))
    return path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_it_is_listed_with_where_it_comes_from_and_a_task_may_name_it(installed: Path, tmp_path: Path) -> None:
    task = write(tmp_path, step=0.5)
    listed = run(installed, "-m", "paretoboard", "list", "techniques")
    planned = run(installed, "-m", "paretoboard", "plan", str(task))
    assert "from toy-rounding" in listed.stdout
    assert planned.returncode == 0, planned.stderr
    assert "rounded" in planned.stdout


def test_its_parameters_are_checked_as_any_others(installed: Path, tmp_path: Path) -> None:
    task = write(tmp_path, step=-1)
    refused = run(installed, "-m", "paretoboard", "plan", str(task))
    assert refused.returncode == 2
    assert "step" in refused.stderr
    without = run(tmp_path, "-m", "paretoboard", "plan", str(task))
    assert without.returncode == 2
    assert "unknown technique 'toy.round'" in without.stderr


def test_it_builds_an_artifact_of_its_recipe(installed: Path, tmp_path: Path) -> None:
    task = write(tmp_path, step=0.5)
    program = f"""
import gc
from pathlib import Path
from paretoboard import artifact, plan, taskfile
from paretoboard_runners import build, jobs
*_, run = plan.expand(taskfile.load_all([{str(task)!r}]))
cores = tuple(sorted(__import__("os").sched_getaffinity(0)))
folder = Path({str(tmp_path / "artifacts")!r})
job = jobs.BuildJob(run=run, data_root=folder, artifacts=folder, environment_id="0" * 64, cores=cores)
gc.disable()  # as it is in the worker that builds are forked from; training would fill the memory with cycles
result = build.build(job, folder, lambda event: None)
weight = artifact.load(result.folder).module.linear.weight
print(result.cost.notes, bool((weight / 0.5 == (weight / 0.5).round()).all()), gc.isenabled())
"""
    done = run(installed, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "('rounded to 0.5',) True True"
