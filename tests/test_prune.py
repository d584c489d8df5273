"""Pruning: exact counts of zeros, the schedule they grow by, and budgets that are reached."""

from __future__ import annotations

import dataclasses
import lzma
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paretoboard.artifact import Candidate, save
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.runtimes import Session
from paretoboard.runtimes.statistics import statistics
from paretoboard.techniques.prune import GradualPruning, MagnitudePruning, NMPruning, StructuredPruning
from paretoboard.techniques.prune.budgets import GRID, least_cut
from paretoboard.techniques.prune.latency import MAX_WINDOWS, MIN_WINDOWS, TimeShare, share_of
from paretoboard.techniques.prune.unstructured import CubicSparsity
from small_models import PREPROCESS, candidate, fingerprint, images, workbench


def layers_of(held: Candidate) -> list[nn.Conv2d | nn.Linear]:
    assert held.module is not None
    return [layer for layer in held.module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2)])
def test_n_m_keeps_exactly_the_n_largest_of_every_m_along_the_inputs(n: int, m: int, tmp_path: Path) -> None:
    start = candidate()
    pruned = NMPruning(n=n, m=m).apply(start, workbench(tmp_path)).candidate
    for before, after in zip(layers_of(start), layers_of(pruned), strict=True):
        if before.weight.shape[1] % m:
            assert torch.equal(before.weight, after.weight)  # the first convolution has three input channels
            continue
        whole = before.weight.movedim(1, -1).reshape(-1, m)
        left = after.weight.movedim(1, -1).reshape(-1, m)
        assert bool(((left != 0).sum(1) == n).all())
        kept = left != 0
        assert torch.equal(left[kept], whole[kept])
        torch.testing.assert_close(left.abs().sum(1), whole.abs().topk(n, dim=1).values.sum(1))


@pytest.mark.parametrize("technique", [NMPruning(), MagnitudePruning(sparsity=0.6)])
def test_zeros_are_said_to_save_bytes_and_no_time(technique: Any, tmp_path: Path) -> None:
    start = candidate()
    applied = technique.apply(start, workbench(tmp_path / "s"))
    sizes = {}
    for name, held in (("whole", start), ("zeros", applied.candidate)):
        path = tmp_path / name / save(held, tmp_path / name).file
        sizes[name] = (path.stat().st_size, len(lzma.compress(path.read_bytes(), preset=1)))
    assert sizes["zeros"][0] == sizes["whole"][0]
    assert sizes["zeros"][1] < 0.7 * sizes["whole"][1]
    assert applied.notes[-1].startswith("not faster")
    assert statistics(applied.candidate).macs == statistics(start).macs


@pytest.mark.parametrize("given", [{"n": 4, "m": 4}, {"n": 5, "m": 4}])
def test_n_must_be_less_than_m(given: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"n = \d must be less than m = 4"):
        NMPruning(**given)


def test_n_m_of_a_network_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="no layer has a multiple of 7 inputs"):
        NMPruning(n=2, m=7).apply(candidate(), workbench(tmp_path))


@given(
    initial=st.floats(0, 0.4), final=st.floats(0.5, 0.95), until=st.floats(0.3, 1), every=st.integers(1, 9),
    steps=st.integers(1, 60),
)  # fmt: skip
@settings(max_examples=50)
def test_the_cubic_schedule_rises_from_initial_to_final(
    initial: float, final: float, until: float, every: int, steps: int
) -> None:
    schedule = CubicSparsity(initial=initial, final=final, until=until, every=every)
    said = [schedule(step, steps) for step in range(1, steps + 1)]
    cuts = [share for share in said if share is not None]
    assert cuts == sorted(cuts)
    assert cuts[-1] == pytest.approx(final)
    assert all(initial <= share <= final for share in cuts)


def test_the_cubic_schedule_is_the_papers_equation() -> None:
    schedule = CubicSparsity(initial=0.1, final=0.9, until=0.5, every=5)
    said = {step: share for step in range(1, 41) if (share := schedule(step, 40)) is not None}
    wanted = {step: 0.9 + (0.1 - 0.9) * (1 - step / 20) ** 3 for step in (5, 10, 15, 20)}
    assert said == pytest.approx(wanted)


def test_gradual_pruning_ends_at_exactly_the_sparsity_asked_for_in_each_layer(tmp_path: Path) -> None:
    pruned = GradualPruning(epochs=2, sparsity=0.7, every=1, batch=16, lr=0.05).apply(candidate(), workbench(tmp_path))
    for before, after in zip(layers_of(candidate()), layers_of(pruned.candidate), strict=True):
        zeros = after.weight == 0
        assert int(zeros.sum()) == round(0.7 * after.weight.numel())
        assert not torch.equal(after.weight[~zeros], before.weight[~zeros])  # what is left was trained
    assert pruned.images_seen == 2 * 64
    assert "70.0% of the weights of 8 layers are zero" in pruned.notes
    assert pruned.notes[-1].startswith("not faster")


def test_interrupted_gradual_pruning_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(done: float, text: str) -> None:
        if done > 0.7:
            raise KilledError

    made = GradualPruning(epochs=2, sparsity=0.7, every=1, until=1.0, batch=16)
    straight = made.apply(candidate(), workbench(tmp_path / "straight")).candidate.module
    bench = workbench(tmp_path / "broken")
    with pytest.raises(KilledError):
        made.apply(candidate(), _with_progress(bench, kill))
    shares: list[float] = []
    resumed = made.apply(candidate(), _with_progress(bench, lambda done, text: shares.append(done))).candidate.module
    assert straight is not None
    assert resumed is not None
    assert fingerprint(resumed) == fingerprint(straight)
    assert min(shares) > 0.5


def test_gradual_pruning_goes_on_from_what_is_zero_already(tmp_path: Path) -> None:
    start = MagnitudePruning(sparsity=0.4).apply(candidate(), workbench(tmp_path)).candidate
    made = GradualPruning(epochs=1, sparsity=0.6, initial=0.4, every=1, batch=16)
    pruned = made.apply(start, workbench(tmp_path / "s")).candidate
    for before, after in zip(layers_of(start), layers_of(pruned), strict=True):
        assert bool((after.weight[before.weight == 0] == 0).all())
        assert int((after.weight == 0).sum()) == round(0.6 * after.weight.numel())


def test_a_gradual_schedule_that_falls_is_refused() -> None:
    with pytest.raises(InputError, match=r"initial = 0.8 must be less than the sparsity in the end, 0.5"):
        GradualPruning(epochs=1, sparsity=0.5, initial=0.8)


@pytest.mark.parametrize(
    ("importance", "budget", "scope"),
    [
        ("l2", "macs", "layer"),
        ("taylor", "parameters", "layer"),
        ("taylor", "macs", "global"),
        ("geometric_median", "parameters", "global"),
    ],
)
def test_structured_pruning_reaches_its_budget(importance: Any, budget: str, scope: Any, tmp_path: Path) -> None:
    start = candidate()
    made = StructuredPruning(**{budget: 0.3}, importance=importance, scope=scope)
    applied = made.apply(start, workbench(tmp_path))
    whole, left = (getattr(statistics(held), budget) for held in (start, applied.candidate))
    assert abs(1 - left / whole - 0.3) < 0.05
    assert applied.notes[0].startswith(
        f"{1 - left / whole:.1%} of the {'MACs' if budget == 'macs' else budget} removed"
    )
    assert applied.images_seen == (64 if importance == "taylor" else 0)


def test_taylor_importance_takes_the_filters_that_the_librarys_own_procedure_takes(tmp_path: Path) -> None:
    ours = StructuredPruning(parameters=0.3, importance="taylor").apply(candidate(), workbench(tmp_path)).candidate
    theirs = candidate().module
    assert theirs is not None
    data = images(64, seed=1)
    logits = theirs(torch.from_numpy(preprocess_images(data.pixels, PREPROCESS)))
    nn.functional.cross_entropy(logits, torch.from_numpy(data.labels)).backward()
    kept = layers_of(ours)[1].weight.shape[0]
    pruner = torch_pruning.pruner.BasePruner(
        theirs,
        torch.rand(1, 3, 32, 32),
        torch_pruning.importance.GroupTaylorImportance(),
        pruning_ratio=1 - kept / 16,
        ignored_layers=[theirs.get_submodule(name) for name in (*theirs.keep_channels, "linear")],  # type: ignore[union-attr]
    )
    pruner.step()
    rows = theirs.get_parameter("layer1.0.conv1.weight")
    assert torch.equal(rows, layers_of(ours)[1].weight)
    assert 0 < kept < 16


def test_a_global_ranking_takes_most_from_the_layer_that_can_spare_it(tmp_path: Path) -> None:
    start = candidate()
    assert start.module is not None
    for name in ("conv1.weight", "bn1.weight", "bn1.bias"):
        start.module.get_parameter(f"layer3.0.{name}").data[:40] *= 1e-3
    start.module.get_parameter("layer3.0.conv2.weight").data[:, :40] *= 1e-3
    left = {}
    for scope in ("layer", "global"):
        pruned = StructuredPruning(parameters=0.4, scope=scope).apply(start, workbench(tmp_path)).candidate.module  # type: ignore[arg-type]
        assert pruned is not None
        left[scope] = [len(pruned.get_parameter(f"{stage}.0.conv1.weight")) for stage in ("layer1", "layer3")]
    assert left["global"][0] > left["layer"][0]
    assert left["global"][1] < left["layer"][1]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "none"),
        ({"parameters": 0.3, "macs": 0.3}, "'parameters' and 'macs'"),
        ({"macs": 0.3, "latency": 0.3}, "'macs' and 'latency'"),
    ],
)
def test_exactly_one_budget_is_wanted(given: dict[str, float], found: str) -> None:
    with pytest.raises(InputError, match=f"exactly one budget of 'parameters', 'macs' and 'latency', found {found}"):
        StructuredPruning(**given)


def test_a_runtime_to_time_in_without_a_budget_of_latency_is_refused() -> None:
    with pytest.raises(InputError, match="timed_in = 'onnxruntime' goes with a budget of 'latency' only"):
        StructuredPruning(macs=0.3, timed_in="onnxruntime")


@pytest.mark.parametrize(("multiple", "wanted"), [(8, {8, 24, 48}), (16, {16, 48})])
def test_layers_keep_multiples_of_the_channels_asked_for(multiple: int, wanted: set[int], tmp_path: Path) -> None:
    made = StructuredPruning(parameters=0.27, multiple=multiple)
    pruned = made.apply(candidate(), workbench(tmp_path)).candidate
    left = [len(layer.weight) for layer in layers_of(pruned)]
    assert {left[1], left[3], left[5]} <= wanted | {16}
    assert all(channels % multiple == 0 for channels in left[:-1])
    assert left[5] < 64


def test_multiples_are_of_each_layer_and_not_of_a_global_ranking() -> None:
    with pytest.raises(InputError, match="multiple = 8 goes with scope = 'layer' only"):
        StructuredPruning(macs=0.3, multiple=8, scope="global")


def test_only_a_budget_of_latency_makes_a_build_unrepeatable() -> None:
    assert StructuredPruning(macs=0.3).unrepeatable() == ""
    assert "times measured on the machine" in StructuredPruning(latency=0.3).unrepeatable()


def share(value: float) -> TimeShare:
    return TimeShare(share=value, low=value, high=value, windows=12)


@given(wanted=st.floats(0.05, 0.95), curve=st.lists(st.floats(0.02, 1), min_size=31, max_size=31))
@settings(max_examples=50)
def test_the_least_cut_that_is_fast_enough_is_found(wanted: float, curve: list[float]) -> None:
    times = dict(enumerate(sorted(curve, reverse=True), 1))  # of the grid's steps; cutting more takes no longer
    enough = [step for step, time in times.items() if time <= wanted]
    least, fastest = least_cut(lambda ratio: round(ratio * GRID), lambda step: share(times[step]), wanted)
    assert (least.step if least else None) == (enough[0] if enough else None)
    assert fastest is not None
    assert fastest.time.share <= (times[enough[0]] if enough else times[31])


def test_cuts_that_do_not_run_are_passed_over() -> None:
    least, _ = least_cut(lambda ratio: ratio if ratio < 0.4 else None, lambda ratio: share(1 - ratio), 0.7)
    assert least is not None
    assert least.step == 10
    assert least_cut(lambda ratio: None, share, 0.7) == (None, None)


class ClockedSession(Session):
    """A network whose calls take what a script says, on a clock that only it moves."""

    now = 0

    def __init__(self, call_ns: int, rng: random.Random) -> None:
        self.call_ns, self.rng = call_ns, rng
        self.refreshed = 0

    def prepare(self, images: Any) -> Any:
        return images

    def run(self, native: Any) -> Any:
        disturbed = self.rng.random() < 0.2
        ClockedSession.now += int(self.call_ns * self.rng.uniform(1, 1.02) * (10 if disturbed else 1))

    def logits(self, native: Any) -> Any:
        raise NotImplementedError

    def refresh(self) -> None:
        self.refreshed += 1


def clocked(share: float, decide: float) -> tuple[TimeShare, ClockedSession]:
    rng = random.Random(7)
    whole, cut = ClockedSession(4_000_000, rng), ClockedSession(round(share * 4_000_000), rng)
    found = share_of([whole, cut], (3, 8, 8), decide=decide, seed=1, clock=lambda: ClockedSession.now)
    return found, cut


@pytest.mark.parametrize("wanted", [0.3, 0.72, 1.1])
def test_a_share_of_time_is_found_among_disturbed_calls(wanted: float) -> None:
    found, cut = clocked(wanted, decide=0.5)
    assert found.low <= wanted <= found.high
    assert found.share == pytest.approx(wanted, rel=0.01)
    assert found.windows == MIN_WINDOWS == cut.refreshed  # far from 0.5: decided as soon as there is an interval


def test_what_is_near_the_budget_is_looked_at_longer() -> None:
    found, _ = clocked(0.5, decide=0.5)
    assert MIN_WINDOWS < found.windows <= MAX_WINDOWS


def test_a_budget_of_latency_is_reached_and_what_was_measured_is_said(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    made = StructuredPruning(latency=0.15, timed_in="onnxruntime")
    applied = made.apply(candidate(), workbench(tmp_path))
    (note,) = applied.notes
    said = re.match(r"(\d+)/32 of the channels cut: ([\d.]+)% of the time \(.* windows\)", note)
    assert said, note
    assert float(said[2]) <= 85
    assert "at batch 1 on one thread in onnxruntime, measured on this machine, 85.0% asked for" in note
    cut = StructuredPruning(parameters=0.5)._cut(_owned(candidate()), candidate(), int(said[1]) / 32, 3)
    assert cut is not None
    assert applied.candidate.module is not None
    assert fingerprint(cut.module) == fingerprint(
        applied.candidate.module
    )  # the ratio that is said is the one that was cut
    assert list(tmp_path.iterdir()) == []
    assert torch.get_num_threads() == threads


def test_a_latency_that_no_cut_reaches_is_refused_with_the_fastest(tmp_path: Path) -> None:
    with pytest.raises(
        NotApplicableError, match=r"asked to leave 1.0% of the time; the fastest cut takes \d+.\d% of the time"
    ):
        StructuredPruning(latency=0.99).apply(candidate(), workbench(tmp_path))


def test_only_taylor_importance_and_refitting_need_images() -> None:
    assert StructuredPruning(macs=0.3, importance="taylor").needs_now() == ("train",)
    assert StructuredPruning(macs=0.3, refit=True).needs_now() == ("train",)
    assert StructuredPruning(macs=0.3).needs_now() == ()


def _owned(held: Candidate) -> nn.Module:
    assert held.module is not None
    return held.module.requires_grad_(True)


def _with_progress(bench: Any, progress: Any) -> Any:
    return dataclasses.replace(bench, progress=progress)
