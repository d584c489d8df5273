"""Solving what a cut left for the outputs that its layers had: against scipy, and for cuts that lose nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.runtimes.statistics import statistics
from paretoboard.techniques.prune import StructuredPruning
from paretoboard.techniques.prune.refit import solve_for_outputs
from small_models import PREPROCESS, candidate, fingerprint, images, module, workbench

ALL = list(range(4))


def batches(*shape: int, seed: int = 0, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) for _ in range(count)]


def two_layers(first: nn.Module, second: nn.Module) -> nn.Sequential:
    return nn.Sequential(first, nn.ReLU(), second).eval()


def without(whole: nn.Sequential, gone: set[int]) -> nn.Sequential:
    """`whole` without those outputs of its first layer."""
    cut = copy.deepcopy(whole)
    first, second = cut[0], cut[2]
    kept = [channel for channel in range(len(first.weight)) if channel not in gone]
    first.weight = nn.Parameter(first.weight[kept])
    first.bias = nn.Parameter(first.bias[kept])
    second.weight = nn.Parameter(second.weight[:, kept])
    if isinstance(first, nn.Conv2d):
        first.out_channels = second.in_channels = len(kept)
    else:
        first.out_features = second.in_features = len(kept)
    return cut


def test_a_linear_layer_gets_the_weights_that_scipy_finds() -> None:
    torch.manual_seed(1)
    whole = two_layers(nn.Linear(6, 8), nn.Linear(8, 4))
    cut = without(whole, {1, 5, 6})
    data = batches(32, 6)
    with torch.no_grad():
        inputs = torch.cat([cut[1](cut[0](part)) for part in data])
        wanted = torch.cat([whole(part) for part in data])
    solution, *_ = scipy.linalg.lstsq(np.column_stack([inputs, np.ones(len(inputs))]), wanted.numpy())
    assert solve_for_outputs(cut, whole, {"0": [0, 2, 3, 4, 7], "2": ALL}, lambda: iter(data)) == 1
    np.testing.assert_allclose(cut[2].weight.detach(), solution[:-1].T, atol=2e-3)
    np.testing.assert_allclose(cut[2].bias.detach(), solution[-1], atol=2e-3)


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 2, "padding": 1}, {"padding": 2, "dilation": 2}, {"padding": 1, "bias": False}]
)
def test_a_cut_that_loses_nothing_is_made_good_entirely(settings: dict[str, Any]) -> None:
    torch.manual_seed(2)
    whole = two_layers(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3, **settings))
    with torch.no_grad():  # twice channel 0, and the same again: 0 can stand for both
        for copied, times in ((3, 2.0), (5, 1.0)):
            whole[0].weight[copied] = times * whole[0].weight[0]
            whole[0].bias[copied] = times * whole[0].bias[0]
    cut = without(whole, {3, 5})
    data = batches(4, 3, 12, 12)
    fresh = batches(2, 3, 12, 12, seed=9, count=1)[0]
    with torch.no_grad():
        before = (cut(fresh) - whole(fresh)).abs().max()
        solve_for_outputs(cut, whole, {"0": [0, 1, 2, 4], "2": ALL}, lambda: iter(data))
        after = (cut(fresh) - whole(fresh)).abs().max()
    assert after < 0.01 * before


def test_outputs_that_were_cut_too_are_not_solved_for() -> None:
    torch.manual_seed(3)
    whole = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    cut = without(nn.Sequential(*whole[:3]), {0})
    cut[2].weight, cut[2].bias = nn.Parameter(cut[2].weight[[1, 4]]), nn.Parameter(cut[2].bias[[1, 4]])
    last = nn.Linear(2, 2)
    cut = nn.Sequential(*cut, nn.ReLU(), last).eval()
    last.weight.data, last.bias.data = whole[4].weight[:, [1, 4]].detach(), whole[4].bias.detach().clone()
    data = batches(64, 5)

    def gap() -> float:
        with torch.no_grad():
            return sum(float((cut[:3](part) - whole[:3](part)[:, [1, 4]]).square().mean()) for part in data)

    before = gap()
    assert solve_for_outputs(cut, whole, {"0": [1, 2, 3, 4, 5], "2": [1, 4], "4": [0, 1]}, lambda: iter(data)) == 2
    assert gap() < before


def _gap(pruned: nn.Module | None, whole: nn.Module) -> float:
    """Mean square between the logits of two networks for images that neither was solved with."""
    assert pruned is not None
    inputs = torch.from_numpy(preprocess_images(images(64, seed=8).pixels, PREPROCESS))
    with torch.inference_mode():
        return float((pruned(inputs) - whole(inputs)).square().mean())


@pytest.mark.parametrize("importance", ["l2", "taylor"])
def test_a_refitted_network_is_nearer_to_the_whole_one_and_no_larger(importance: Any, tmp_path: Path) -> None:
    made = [StructuredPruning(parameters=0.3, importance=importance, refit=refit) for refit in (False, True)]
    plain, refitted = (technique.apply(candidate(), workbench(tmp_path)) for technique in made)
    assert _gap(refitted.candidate.module, module()) < 0.5 * _gap(plain.candidate.module, module())
    assert statistics(refitted.candidate) == statistics(plain.candidate)
    assert refitted.notes[1] == "3 layers solved again for the outputs they had"
    assert refitted.images_seen == 64


def test_refitting_twice_gives_the_same_bits_and_needs_images(tmp_path: Path) -> None:
    made = StructuredPruning(parameters=0.3, refit=True, images=32)
    assert made.needs_now() == ("train",)
    first, second = (made.apply(candidate(), workbench(tmp_path)).candidate.module for _ in range(2))
    assert first is not None
    assert second is not None
    assert fingerprint(first) == fingerprint(second)


def test_a_network_that_lost_nothing_is_left_as_it_is() -> None:
    whole = module()
    same = copy.deepcopy(whole)
    assert solve_for_outputs(same, whole, {}, lambda: iter(batches(2, 3, 32, 32))) == 0
    assert fingerprint(same) == fingerprint(whole)
