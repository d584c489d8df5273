"""https://github.com/VainF/Torch-Pruning, README, 'A Minimal Example of Pruning' and 'High-level Pruners'."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from bench.parity.libraries import Emit, Made, MakeJob, baseline, use_cores
from paretoboard import artifact, datasets
from paretoboard.artifact import Candidate
from paretoboard.spec import TrainSettings
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.train import Finetune
from paretoboard.training import train

STEPS = 400  # as in the library's own CIFAR benchmark, which stops at the speed-up it wants
CUT = "prune.structured"
TUNED = "train.finetune"


def magnitude_pruner(job: MakeJob, folder: Path, emit: Emit) -> Made:
    """Prune in small steps until no more parameters are left than our recipe leaves, then train as it does."""
    use_cores(job)
    start = baseline(job)
    model = start.module
    assert model is not None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    left, budget = prune(model, start, _share(job)), round(parameters * (1 - _share(job)))
    settings = finetune_settings(job)
    result = train(
        model.requires_grad_(True),
        datasets.read_subset(job.run.dataset, job.run.dataset.train, job.data_root, job.run.preprocess),
        settings,
        preprocess=job.run.preprocess,
        seed=job.seed,
        keep_zeros=True,
        progress=lambda done, text: emit({"stage": "library", "done": done, "text": text}),
    )
    artifact.save(as_graph(dataclasses.replace(start, module=model)), job.out)
    return Made(
        notes=(
            f"{1 - left / parameters:.1%} of the parameters removed, {1 - budget / parameters:.1%} asked for",
            f"training loss {result.losses[0]:.3f} in the first epoch, {result.losses[-1]:.3f} in the last",
        )
    )


def prune(model: nn.Module, start: Candidate, share: float) -> int:
    """Remove at least `share` of the parameters, as few more as steps allow; how many are left."""
    example_inputs = torch.randn(1, *start.input_shape)
    # The classifier is kept as in the README; the other layers since the shortcuts without weights fix their widths.
    kept: list[Any] = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    kept += [model.get_submodule(name) for name in model.keep_channels]  # type: ignore[union-attr]
    pruner = tp.pruner.MagnitudePruner(
        model,
        example_inputs,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        iterative_steps=STEPS,
        pruning_ratio=1.0,
        ignored_layers=kept,
    )
    _, whole = tp.utils.count_ops_and_params(model, example_inputs)
    left = whole
    for _ in range(STEPS):
        if left <= whole * (1 - share):
            break
        pruner.step()
        _, left = tp.utils.count_ops_and_params(model, example_inputs)
    return int(left)


def finetune_settings(job: MakeJob) -> TrainSettings:
    """Those of our recipe's step."""
    made = Finetune(**_parameters(job, TUNED))
    return made.settings(made.epochs, job.run.model.train)


def _share(job: MakeJob) -> float:
    share: float = _parameters(job, CUT)["parameters"]
    return share


def _parameters(job: MakeJob, technique: str) -> dict[str, Any]:
    (step,) = [step for step in job.run.recipe.steps if step.name == technique]
    return dict(step.parameters)
