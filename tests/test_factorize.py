"""Factorizing: nothing is lost at full rank, and what is lost below is what the closed form says."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorly
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import parafac
from torch import nn

from paretoboard.artifact import load, save
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.runtimes.statistics import statistics
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.factorize import CanonicalPolyadic, Factorization, Layer, SingularValues, Tucker2
from small_models import candidate, workbench

KINDS: list[tuple[type[Factorization], dict[str, Any]]] = [
    (SingularValues, {"convolutions": "all"}),
    (Tucker2, {}),
    (CanonicalPolyadic, {}),
]


def convolution(seed: int = 0, **changed: Any) -> nn.Conv2d:
    torch.manual_seed(seed)
    given: dict[str, Any] = {"kernel_size": 3, "padding": 1, "stride": 2, **changed}
    return nn.Conv2d(6, 8, **given)


def put_together(layers: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*layers).eval()


def difference(made: list[nn.Module], layer: nn.Module, shape: tuple[int, ...]) -> float:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, wanted = put_together(made)(images), layer(images)
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


GEOMETRIES = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(2, 4)),
        "padding": st.one_of(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.just("valid")),
        "stride": st.tuples(st.integers(1, 2), st.integers(1, 3)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "bias": st.booleans(),
    }
)


@given(geometry=GEOMETRIES)
@settings(max_examples=20)
def test_tucker_and_svd_at_full_rank_give_the_same_outputs(geometry: dict[str, Any]) -> None:
    with torch.random.fork_rng(devices=[]):
        layer = convolution(**geometry)
    assert difference(Tucker2(energy=1.0).factors(layer, (8, 6), 0), layer, (6, 11, 12)) < 1e-5
    full = min(layer.weight.flatten(1).shape)
    assert difference(SingularValues(energy=1.0).factors(layer, (full,), 0), layer, (6, 11, 12)) < 1e-5


@given(geometry=GEOMETRIES)
@settings(max_examples=10)
def test_a_convolution_of_rank_two_is_found_by_cp(geometry: dict[str, Any]) -> None:
    with torch.random.fork_rng(devices=[]):
        layer = convolution(**geometry)
        parts = [torch.rand(extent, 2) + 0.1 for extent in layer.weight.shape]
    layer.weight.data = torch.einsum("or,ir,hr,wr->oihw", *parts)
    assert difference(CanonicalPolyadic(energy=1.0).factors(layer, (2,), 0), layer, (6, 11, 12)) < 2e-2


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_what_svd_loses_is_the_singular_values_it_leaves_out(rank: int) -> None:
    """Eckart and Young 1936: no matrix of that rank is nearer."""
    torch.manual_seed(0)
    layer = nn.Linear(20, 12)
    first, second = SingularValues(energy=0.9).factors(layer, (rank,), 0)
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    with torch.no_grad():
        lost = torch.linalg.matrix_norm(layer.weight - second.weight @ first.weight)
    values = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)
    assert float(lost) == pytest.approx(float(np.sqrt((values[rank:] ** 2).sum())), rel=1e-4)
    assert torch.equal(second.bias, layer.bias)
    assert first.bias is None


def test_cp_loses_what_tensorlys_own_decomposition_loses() -> None:
    layer = convolution()
    made = CanonicalPolyadic(energy=0.9).factors(layer, (5,), 3)
    first, vertical, horizontal, last = (part.weight.detach() for part in made)  # type: ignore[union-attr]
    ours = torch.einsum(
        "or,ri,rh,rw->oihw", last[:, :, 0, 0], first[:, :, 0, 0], vertical[:, 0, :, 0], horizontal[:, 0, 0]
    )
    tensorly.set_backend("pytorch")
    with warnings.catch_warnings(action="ignore"):
        theirs = tensorly.cp_to_tensor(parafac(layer.weight.detach().double(), 5, init="svd", random_state=3))
    assert float((ours - theirs).norm()) < 1e-4 * float(theirs.norm())


@given(energy=st.floats(0.05, 0.99))
@settings(max_examples=15)
def test_the_rank_is_the_smallest_that_keeps_the_energy(energy: float) -> None:
    made = SingularValues(energy=energy)
    torch.manual_seed(0)
    layer = nn.Linear(20, 12)
    with torch.no_grad():
        (rank,) = made.chooser(_used(layer), 0)(energy)
        squares = np.linalg.svd(layer.weight.numpy(), compute_uv=False) ** 2
    kept = squares.cumsum() / squares.sum()
    assert kept[rank - 1] >= energy - 1e-6
    assert rank == 1 or kept[rank - 2] < energy + 1e-6


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_budget_of_macs_is_reached_and_said(kind: Any, options: dict[str, Any], tmp_path: Path) -> None:
    start = candidate()
    applied = kind(macs=0.75, **options).apply(start, workbench(tmp_path))
    whole, left = statistics(start), statistics(applied.candidate)
    removed = 1 - left.macs / whole.macs
    assert abs(removed - 0.75) < 0.05
    assert f"{removed:.1%} of the MACs" in applied.notes[0]
    assert left.parameters < whole.parameters


def test_what_was_factorized_comes_back_from_its_file_and_can_be_exported(tmp_path: Path) -> None:
    after = Tucker2(energy=0.5).apply(candidate(), workbench(tmp_path / "s")).candidate
    save(after, tmp_path / "a")
    again = load(tmp_path / "a")
    images = torch.rand(2, 3, 32, 32)
    assert after.module is not None
    assert again.module is not None
    with torch.inference_mode():
        assert torch.equal(again.module(images), after.module(images))
    assert statistics(as_graph(after)).macs == statistics(after).macs


def test_a_layer_that_would_gain_nothing_is_left_alone(tmp_path: Path) -> None:
    start = candidate()
    after = Tucker2(energy=0.5).apply(start, workbench(tmp_path)).candidate
    assert after.module is not None
    assert isinstance(after.module.get_submodule("linear"), nn.Linear)
    assert isinstance(after.module.get_submodule("layer3.0.conv2"), nn.Sequential)
    for kind, options in KINDS[:2]:
        with pytest.raises(NotApplicableError, match=r"no layer of the .* that could be factorized would have fewer"):
            kind(energy=1.0, **options).apply(start, workbench(tmp_path))


def test_svd_takes_linear_layers_and_1x1_convolutions_unless_told(tmp_path: Path) -> None:
    after = SingularValues(energy=0.5).apply(candidate("mlperf-tiny-resnet8"), workbench(tmp_path)).candidate
    assert after.module is not None
    replaced = [path for path, layer in after.module.named_modules() if type(layer) is nn.Sequential]
    assert sorted(replaced) == ["fc", "s2.skip", "s3.skip"]


def test_cp_by_energy_keeps_it(tmp_path: Path) -> None:
    layer = convolution()
    made = CanonicalPolyadic(energy=0.6)
    (rank,) = made.chooser(_used(layer), 0)(0.6)
    parts = [part.weight.detach() for part in made.factors(layer, (rank,), 0)]  # type: ignore[union-attr]
    found = torch.einsum(
        "or,ri,rh,rw->oihw", parts[3][:, :, 0, 0], parts[0][:, :, 0, 0], parts[1][:, 0, :, 0], parts[2][:, 0, 0]
    )
    assert float((found - layer.weight).square().sum()) <= 0.4001 * float(layer.weight.square().sum())


@pytest.mark.parametrize(("given", "found"), [({}, "neither"), ({"energy": 0.9, "macs": 0.5}, "both")])
def test_exactly_one_of_energy_and_macs_is_wanted(given: dict[str, float], found: str) -> None:
    with pytest.raises(InputError, match=f"exactly one of 'energy' and 'macs', found {found}"):
        Tucker2(**given)


def test_a_budget_out_of_reach_is_refused_with_what_can_be_reached(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match=r"asked to remove 50\.0% of the MACs; the nearest .* is 0\.0%"):
        SingularValues(macs=0.5).apply(candidate(), workbench(tmp_path))


def test_a_network_without_a_layer_of_the_kind_is_refused(tmp_path: Path) -> None:
    flat = dataclasses.replace(candidate(), module=nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)).eval())
    with pytest.raises(NotApplicableError, match="no layer of the 0 that could be factorized"):
        Tucker2(energy=0.5).apply(flat, workbench(tmp_path))


def _used(layer: nn.Module) -> Layer:
    return Layer(path="x", module=layer, places=1, input_places=1)
