"""Sharing: clusters are k-means', their file is as small as it can be, and shared weights stay one through a file."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from paretoboard import runtimes
from paretoboard.artifact import Candidate, load, save
from paretoboard.errors import NotApplicableError, StoreError
from paretoboard.models import build
from paretoboard.models.structure import describe, rebuild
from paretoboard.runtimes.statistics import statistics
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.factorize import Tucker2
from paretoboard.techniques.prune import MagnitudePruning
from paretoboard.techniques.share import Clustered, LayerSharing, WeightClustering, cluster
from paretoboard.techniques.train import Finetune
from small_models import candidate, exported, fingerprint, inputs, workbench


def weights_of(held: Candidate) -> dict[str, torch.Tensor]:
    assert held.module is not None
    layers = held.module.named_modules()
    return {name: layer.weight.detach() for name, layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)}


@pytest.mark.parametrize("clusters", [2, 16, 40])
def test_a_layer_has_as_many_values_as_asked_for_and_the_error_is_k_means_own(clusters: int, tmp_path: Path) -> None:
    start = candidate()
    after = WeightClustering(clusters=clusters).apply(start, workbench(tmp_path)).candidate
    for name, before in weights_of(start).items():
        clustered = weights_of(after)[name]
        values = before.numpy().reshape(-1, 1)
        first = np.linspace(values.min(), values.max(), clusters).reshape(-1, 1)
        model = KMeans(n_clusters=clusters, init=first, n_init=1).fit(values)
        assert len(torch.unique(clustered)) == clusters
        assert float((clustered - before).square().sum()) == pytest.approx(model.inertia_, rel=1e-3)


def test_each_value_is_the_mean_of_the_weights_it_stands_for() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 5, 3, 3)).astype(np.float32)
    found = cluster(weight, 7, "k-means++", 1)
    assert found.indices.shape == weight.shape
    for index, value in enumerate(found.codebook):
        assert weight[found.indices == index].mean() == pytest.approx(value, abs=1e-5)


def test_weights_that_pruning_set_to_zero_stay_zero(tmp_path: Path) -> None:
    pruned = MagnitudePruning(sparsity=0.5).apply(candidate(), workbench(tmp_path)).candidate
    after = WeightClustering(clusters=8).apply(pruned, workbench(tmp_path)).candidate
    for name, before in weights_of(pruned).items():
        assert torch.equal(weights_of(after)[name] == 0, before == 0)
        assert len(torch.unique(weights_of(after)[name])) == 8 + 1


@pytest.mark.parametrize(
    ("shares", "bits"), [([1, 1], 1.0), ([1, 1, 1, 1], 2.0), ([4, 2, 1, 1], 1.75), ([1, 3], 2 - 0.75 * np.log2(3))]
)
def test_the_entropy_said_is_shannons(shares: list[int], bits: float) -> None:
    indices = np.repeat(np.arange(len(shares)), [16 * share for share in shares]).astype(np.uint8).reshape(2, -1)
    clustered = Clustered(codebook=np.zeros(len(shares), np.float32), indices=indices)
    assert clustered.entropy_bits == pytest.approx(bits * indices.size)


def test_the_file_that_is_run_is_as_small_as_entropy_coding_makes_it(tmp_path: Path) -> None:
    applied = WeightClustering(clusters=16).apply(candidate(), workbench(tmp_path / "s"))
    whole, file = save(candidate(), tmp_path / "whole"), save(applied.candidate, tmp_path / "clustered")
    kept = dict(applied.candidate.module.state_dict())  # type: ignore[union-attr]
    others = sum(tensor.nbytes for name, tensor in kept.items() if name[:-7] not in weights_of(applied.candidate))
    entropy = int(applied.notes[1].split("entropy is ")[1].split(" bytes")[0].replace(",", ""))
    assert file.file == "weights.xz"
    assert file.size_bytes == (tmp_path / "clustered" / "weights.xz").stat().st_size
    assert entropy < file.size_bytes < 1.03 * entropy + others + 2_000  # codebooks and the header
    assert file.size_bytes < 0.17 * whole.size_bytes
    assert len(lzma.compress((tmp_path / "clustered" / "weights.xz").read_bytes())) > 0.99 * file.size_bytes


def test_the_packed_file_gives_the_very_network_that_was_clustered(tmp_path: Path) -> None:
    clustered = WeightClustering(clusters=16).apply(candidate(), workbench(tmp_path / "s")).candidate
    save(clustered, tmp_path / "one")
    again = load(tmp_path / "one")
    images = inputs(4)
    session = runtimes.open(tmp_path / "one", threads=1, batches=(4,))
    assert clustered.module is not None
    assert again.module is not None
    assert fingerprint(again.module) == fingerprint(clustered.module)
    with torch.inference_mode():
        here = clustered.module(torch.from_numpy(images)).numpy()
    assert np.array_equal(runtimes.predict(session, images, 4), here)
    assert save(again, tmp_path / "again").sha256 == save(clustered, tmp_path / "one").sha256


def test_what_was_clustered_and_trained_again_is_stored_without_loss(tmp_path: Path) -> None:
    clustered = WeightClustering().apply(candidate(), workbench(tmp_path / "s")).candidate
    tuned = Finetune(epochs=1, batch=64).apply(clustered, workbench(tmp_path / "t")).candidate
    save(tuned, tmp_path / "tuned")
    again = load(tmp_path / "tuned").module
    assert tuned.module is not None
    assert again is not None
    assert fingerprint(again) == fingerprint(tuned.module)


def test_a_graph_of_clustered_weights_is_a_graph_of_floats(tmp_path: Path) -> None:
    clustered = WeightClustering().apply(candidate(), workbench(tmp_path / "s")).candidate
    assert save(as_graph(clustered), tmp_path / "graph").file == "model.onnx"


def test_a_network_with_too_few_weights_is_refused(tmp_path: Path) -> None:
    small = Candidate(architecture="x", classes=3, input_shape=(2, 1, 1), module=nn.Sequential(nn.Linear(2, 3)))
    with pytest.raises(NotApplicableError, match="no layer has more than 16 different weights"):
        WeightClustering().apply(small, workbench(tmp_path))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return LayerSharing().apply(candidate("cifar-resnet20"), workbench(tmp_path_factory.mktemp("s"))).candidate


def test_blocks_of_the_same_shape_use_one_set_of_weights(shared: Candidate) -> None:
    module = shared.module
    assert module is not None
    for stage, firsts in (("layer1", (0, 0, 0)), ("layer2", (0, 1, 1)), ("layer3", (0, 1, 1))):
        for block, first in enumerate(firsts):
            for layer in ("conv1", "conv2"):
                one = module.get_submodule(f"{stage}.{block}.{layer}")
                assert one is module.get_submodule(f"{stage}.{first}.{layer}")
        assert module.get_submodule(f"{stage}.1.bn1") is not module.get_submodule(f"{stage}.2.bn1")
    start = candidate("cifar-resnet20")
    assert torch.equal(weights_of(shared)["layer1.0.conv1"], weights_of(start)["layer1.0.conv1"])
    # two more blocks of stage 1 and one of stages 2 and 3, of two 3x3 convolutions each
    removed = 18 * (2 * 16**2 + 32**2 + 64**2)
    assert statistics(start).parameters - statistics(shared).parameters == removed
    assert statistics(start).macs == statistics(shared).macs


def test_what_is_shared_stays_shared_through_a_file_that_holds_it_once(shared: Candidate, tmp_path: Path) -> None:
    whole, file = save(candidate("cifar-resnet20"), tmp_path / "whole"), save(shared, tmp_path / "shared")
    removed = statistics(candidate("cifar-resnet20")).parameters - statistics(shared).parameters
    assert whole.size_bytes - file.size_bytes >= 4 * removed
    again = load(tmp_path / "shared")
    images = torch.rand(2, 3, 32, 32)
    assert again.module is not None
    assert shared.module is not None
    with torch.inference_mode():
        assert torch.equal(again.module(images), shared.module(images))
    assert again.module.get_submodule("layer1.2.conv1") is again.module.get_submodule("layer1.0.conv1")
    assert save(again, tmp_path / "again").sha256 == file.sha256


def test_training_moves_what_is_shared_together(shared: Candidate, tmp_path: Path) -> None:
    tuned = Finetune(epochs=1, batch=64).apply(shared, workbench(tmp_path)).candidate
    assert tuned.module is not None
    assert tuned.module.get_submodule("layer1.2.conv1") is tuned.module.get_submodule("layer1.0.conv1")
    assert statistics(tuned).parameters == statistics(shared).parameters


def test_an_exported_graph_holds_shared_weights_once(shared: Candidate) -> None:
    # Batch norm is folded in an exported graph only when a runtime optimizes it.
    graph = statistics(as_graph(shared))
    assert graph.macs == statistics(shared).macs
    assert graph.parameters < 0.8 * statistics(exported("cifar-resnet20")).parameters


def test_a_shared_layer_may_be_one_that_was_replaced(tmp_path: Path) -> None:
    made = Tucker2(energy=0.5).apply(candidate("cifar-resnet20"), workbench(tmp_path)).candidate.module
    assert made is not None
    made.set_submodule("layer3.2.conv1", made.get_submodule("layer3.1.conv1"))
    description = json.loads(json.dumps(describe(made, build("cifar-resnet20", 10)), sort_keys=True))
    rebuilt = rebuild(build("cifar-resnet20", 10), description)
    assert description["layer3.2.conv1"] == {"type": "Shared", "with": "layer3.1.conv1"}
    assert isinstance(rebuilt.get_submodule("layer3.1.conv1"), nn.Sequential)
    assert rebuilt.get_submodule("layer3.2.conv1") is rebuilt.get_submodule("layer3.1.conv1")
    rebuilt.load_state_dict(made.state_dict())


@pytest.mark.parametrize("architecture", ["cifar-resnet8", "mlperf-tiny-resnet8"])
def test_a_network_without_two_equal_blocks_is_refused(architecture: str, tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="no stage has two blocks of the same shape"):
        LayerSharing().apply(candidate(architecture), workbench(tmp_path))


@pytest.mark.parametrize("damage", [{"type": "Shared"}, {"type": "Shared", "with": "nowhere"}])
def test_a_damaged_sharing_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="layer 'linear'"):
        rebuild(build("cifar-resnet8", 10), {"linear": damage})
