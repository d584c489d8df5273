"""Other layers in a fresh network: that they compute what they should, learn, are stored, and can be compressed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paretoboard import runtimes
from paretoboard.artifact import Candidate, load, read_manifest, save
from paretoboard.datasets import Images
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.models import build
from paretoboard.models.surgery import with_dropout, with_normalization
from paretoboard.registry import MODELS, TECHNIQUES
from paretoboard.spec import TrainSettings
from paretoboard.training import train
from small_models import PREPROCESS, SHAPE, fingerprint, images, inputs, module, workbench

SURGERIES: Final[dict[str, Callable[[nn.Module], nn.Module]]] = {
    "group": partial(with_normalization, kind="group"),
    "none": partial(with_normalization, kind="none"),
    "dropout": partial(with_dropout, rate=0.3),
}
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fresh(name: str = "cifar-resnet8") -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(name, 10)


def layers(network: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def patterned(count: int, *, seed: int) -> Images:
    """Images with a pattern of their class, repeated, under noise.

    Not the brightness that small_models.images tell classes by: group normalization takes that away from each image.
    """
    patterns = np.random.default_rng(0).integers(0, 196, (10, 3, 4, 4))
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count)
    pixels = np.tile(patterns, (1, 1, 8, 8))[labels] + generator.integers(0, 60, (count, *SHAPE))
    return dataclasses.replace(images(count), pixels=pixels.astype(np.uint8), labels=labels.astype(np.int64))


NORMALIZED: Final = [name for name in MODELS if layers(build(name, 10), *BATCH_NORMS)]


# What is put in


@pytest.mark.parametrize("name", NORMALIZED)
def test_group_normalization_stands_where_batch_normalization_stood(name: str) -> None:
    before, after = fresh(name), with_normalization(fresh(name), "group")
    assert not layers(after, *BATCH_NORMS)
    assert len(layers(after, nn.GroupNorm)) == len(layers(before, *BATCH_NORMS))
    for path, layer in before.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            group = after.get_submodule(path)
            assert isinstance(group, nn.GroupNorm)
            assert (group.num_channels, group.eps) == (layer.num_features, layer.eps)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            assert torch.equal(after.get_parameter(f"{path}.weight"), layer.weight)


def test_groups_of_8_channels_are_normalized_by_hand() -> None:
    network = nn.Sequential(nn.BatchNorm2d(16, eps=0.1))
    nn.init.uniform_(network[0].weight)  # type: ignore[arg-type]
    nn.init.uniform_(network[0].bias)  # type: ignore[arg-type]
    pixels = 3 + torch.randn(4, 16, 5, 5)
    found = with_normalization(network, "group")(pixels)
    parts = pixels.view(4, 2, 8, 5, 5)
    mean = parts.mean((2, 3, 4), keepdim=True)
    std = (parts.var((2, 3, 4), correction=0, keepdim=True) + 0.1).sqrt()
    normal = ((parts - mean) / std).view_as(pixels)
    weight, bias = (getattr(network[0], name).view(1, 16, 1, 1) for name in ("weight", "bias"))
    torch.testing.assert_close(found, normal * weight + bias, rtol=1e-4, atol=1e-5)


@given(channels=st.integers(1, 200))
def test_groups_are_equal_and_no_larger_than_8_where_that_is_possible(channels: int) -> None:
    (group,) = layers(with_normalization(nn.Sequential(nn.BatchNorm2d(channels)), "group"), nn.GroupNorm)
    assert channels % group.num_groups == 0
    size = channels // group.num_groups
    if any(channels % divisor == 0 for divisor in range(2, 9)):
        assert 2 <= size <= 8
        assert not any(channels % divisor == 0 for divisor in range(size + 1, 9))
    else:
        assert group.num_groups == 1


def test_an_image_is_the_same_alone_and_among_others_without_batch_normalization() -> None:
    pixels = torch.from_numpy(inputs(6))
    for kind, alike in (("group", True), ("none", True), ("batch", False)):
        network = fresh() if kind == "batch" else SURGERIES[kind](fresh())
        nn.init.normal_(network.get_parameter("linear.weight"))
        network.train()
        with torch.no_grad():
            together, alone = network(pixels)[:2], network(pixels[:2])
        assert torch.allclose(together, alone, atol=1e-4) == alike


@pytest.mark.parametrize("name", NORMALIZED)
def test_without_normalization_every_layer_has_a_bias_and_signals_keep_their_size(name: str) -> None:
    """The inputs of the last layer, whose size would double with each residual block without the initialization."""
    network = with_normalization(fresh(name), "none")
    assert not layers(network, *BATCH_NORMS, nn.GroupNorm)
    assert all(layer.bias is not None for layer in layers(network, nn.Conv2d, nn.Linear))
    seen: list[Tensor] = []
    last = (layers(network, nn.Linear) or layers(network, nn.Conv2d))[-1]  # a detector has no linear layer
    last.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    with torch.no_grad():
        logits = network.train()(torch.from_numpy(inputs(4)))
    assert logits.isfinite().all()
    assert 0.05 < float(seen[0].square().mean().sqrt()) < 20


def test_residual_branches_begin_as_fixup_has_them() -> None:
    before, after = fresh("cifar-resnet20"), with_normalization(fresh("cifar-resnet20"), "none")
    for stage in ("layer1", "layer2", "layer3"):
        for block in "012":
            first, last = (f"{stage}.{block}.conv{number}.weight" for number in (1, 2))
            old, new = before.get_parameter(first), after.get_parameter(first)
            alike = nn.functional.cosine_similarity(old.detach().flatten(), new.detach().flatten(), 0)
            assert float(alike) == pytest.approx(1, abs=1e-5)
            he = (2 / (9 * old.shape[1])) ** 0.5
            assert float(new.detach().square().mean().sqrt()) == pytest.approx(
                he / 3, rel=1e-4
            )  # of 9 branches, with 2 layers each
            assert not after.get_parameter(last).any()
    assert not after.get_parameter("linear.weight").any()
    assert not after.get_parameter("linear.bias").any()
    assert after.get_parameter("conv1.weight").any()
    assert not after.get_parameter("conv1.bias").any()


def test_a_plain_network_keeps_its_signal_without_normalization() -> None:
    """Ten layers as torch initializes them: without a scaling the signal is gone after them."""
    parts: list[nn.Module] = []
    for _ in range(10):
        parts += [nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(*parts)
        for layer in layers(network, nn.Conv2d):
            layer.reset_parameters()
        pixels = torch.randn(2, 16, 16, 16)
    gone = nn.Sequential(*(layer for layer in parts if not isinstance(layer, nn.BatchNorm2d)))
    with torch.no_grad():
        assert float(gone(pixels).std()) < 0.01
        assert 0.1 < float(with_normalization(network, "none")(pixels).std()) < 10


def test_dropout_is_before_the_last_linear_layer_and_only_while_training() -> None:
    plain, network = module(), with_dropout(module(), 0.5)
    pixels = torch.from_numpy(inputs(4))
    with torch.no_grad():
        assert torch.equal(network(pixels), plain(pixels))
    head = network.get_submodule("linear")
    assert [type(part) for part in head.children()] == [nn.Dropout, nn.Linear]
    given: list[Tensor] = []
    layers(head, nn.Linear)[0].register_forward_pre_hook(lambda layer, got: given.append(got[0]))
    head.train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        head(torch.ones(100, 64))
    assert sorted(given[0].unique().tolist()) == [0, 2]  # what is kept is doubled, so that the mean stays
    assert float((given[0] == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert fingerprint(with_dropout(module(), 0.0)) == fingerprint(module())


@pytest.mark.parametrize("kind", list(SURGERIES))
def test_the_network_is_copied_and_no_random_number_is_drawn(kind: str) -> None:
    network = fresh()
    before, random = fingerprint(network), torch.get_rng_state()
    first, again = SURGERIES[kind](network), SURGERIES[kind](network)
    assert fingerprint(network) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert fingerprint(first) == fingerprint(again)
    assert not any(layer.training for layer in first.modules())
    assert all(layer.training for layer in SURGERIES[kind](network.train()).modules())


def test_a_normalization_that_stands_at_two_places_is_still_one() -> None:
    shared = nn.BatchNorm2d(3)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), shared, nn.Conv2d(3, 3, 1), shared)
    after = with_normalization(network, "group")
    assert after[1] is after[3]  # type: ignore[index]


def test_what_can_t_be_changed_is_refused_with_a_reason() -> None:
    with pytest.raises(NotApplicableError, match="TinyResNet8 has no batch normalization"):
        with_normalization(build("mlperf-tiny-resnet8", 10), "group")
    with pytest.raises(NotApplicableError, match="no linear layer"):
        with_dropout(nn.Sequential(nn.Conv2d(3, 3, 1)), 0.5)
    with pytest.raises(InputError, match="'group' or 'none'"):
        with_normalization(fresh(), "layer")  # type: ignore[arg-type]
    for wrong in (-0.1, 1.0):
        with pytest.raises(InputError, match="from 0 to below 1"):
            with_dropout(fresh(), wrong)
    factorized = fresh()
    factorized.set_submodule("layer1.0.conv1", nn.Sequential(factorized.get_submodule("layer1.0.conv1")))
    with pytest.raises(NotApplicableError, match=r"'layer1\.0\.conv1' of a residual branch is a Sequential"):
        with_normalization(factorized, "none")


# That it learns, is stored, and can be compressed


@pytest.fixture(scope="module")
def learned() -> dict[str, nn.Module]:
    """Each of SURGERIES, trained until it knows something."""
    made = {}
    for kind, change in SURGERIES.items():
        network = change(fresh())
        settings = TrainSettings(epochs=6, lr=0.05, batch=32)
        train(network, patterned(256, seed=1), settings, preprocess=PREPROCESS, seed=0, threads=1)
        made[kind] = network
    return made


def candidate_of(network: nn.Module) -> Candidate:
    return Candidate(architecture="cifar-resnet8", classes=10, input_shape=SHAPE, module=network)


@pytest.mark.parametrize("kind", list(SURGERIES))
def test_a_changed_network_learns_what_can_be_learned(kind: str, learned: dict[str, nn.Module]) -> None:
    others = patterned(200, seed=9)
    with torch.inference_mode():
        guesses = learned[kind](torch.from_numpy(preprocess_images(others.pixels, PREPROCESS))).argmax(1).numpy()
    assert (guesses == others.labels).mean() > 0.5


def test_both_at_once_come_back_from_an_artifact(tmp_path: Path) -> None:
    network = with_dropout(with_normalization(fresh(), "none"), 0.25)
    with torch.no_grad():
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)
    save(candidate_of(network), tmp_path / "artifact")
    loaded = load(tmp_path / "artifact").module
    assert loaded is not None
    assert fingerprint(loaded) == fingerprint(network)
    assert layers(loaded, nn.Dropout)[0].p == 0.25
    pixels = torch.from_numpy(inputs(3))
    with torch.inference_mode():
        assert torch.equal(loaded(pixels), network(pixels))
    structure = read_manifest(tmp_path / "artifact").structure
    assert {layer["type"] for layer in structure.values()} == {"Conv2d", "Identity", "Sequential"}


# Steps that come after, and the largest difference that they may make to a logit, as a share of the largest one; None
# where what is computed is meant to change.
STEPS: Final[dict[str, tuple[dict[str, Any], float | None]]] = {
    "factorize.svd": ({"macs": 0.3, "convolutions": "all"}, None),
    "prune.magnitude": ({"sparsity": 0.05}, 0.2),
    "prune.structured": ({"parameters": 0.25}, None),
    "quantize.cast": ({}, 0.1),
    "quantize.static": ({}, 0.3),
    "share.kmeans": ({"clusters": 128}, 0.2),
}


@dataclasses.dataclass(frozen=True)
class Compressed:
    candidate: Candidate
    folder: Path


@pytest.fixture(scope="module")
def compressed(
    learned: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Compressed]:
    """Every network, as it is and after each of STEPS, as an artifact."""
    folder = tmp_path_factory.mktemp("surgery")
    made = {}
    for kind, network in learned.items():
        found = {"": candidate_of(network)}
        for name, (parameters, _) in STEPS.items():
            bench = dataclasses.replace(
                workbench(folder / "scratch" / kind / name), calibration_images=lambda: patterned(32, seed=2)
            )
            found[name] = TECHNIQUES.load(name)(**parameters).apply(found[""], bench).candidate
        for name, after in found.items():
            made[kind, name] = Compressed(after, folder / f"{kind}-{name}")
            save(after, folder / f"{kind}-{name}")
    return made


@pytest.fixture(scope="module")
def elsewhere(
    compressed: dict[tuple[str, str], Compressed], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """Logits of every artifact from one fresh process."""
    program = """
import pathlib, sys, numpy
from paretoboard import runtimes
images, out = numpy.load(sys.argv[1]), {}
for folder in map(pathlib.Path, sys.argv[3:]):
    session = runtimes.open(folder, threads=1, batches=(len(images),))
    out[folder.name] = runtimes.predict(session, images, len(images))
    session.close()
numpy.savez(sys.argv[2], **out)
"""
    folder = tmp_path_factory.mktemp("elsewhere")
    np.save(folder / "in.npy", preprocess_images(patterned(32, seed=9).pixels, PREPROCESS))
    command = [sys.executable, "-c", program, str(folder / "in.npy"), str(folder / "out.npz")]
    command += [str(each.folder) for each in compressed.values()]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return dict(np.load(folder / "out.npz"))


@pytest.mark.parametrize("name", ["", *STEPS])
@pytest.mark.parametrize("kind", list(SURGERIES))
def test_an_artifact_gives_the_same_outputs_in_a_fresh_process(
    kind: str, name: str, compressed: dict[tuple[str, str], Compressed], elsewhere: dict[str, np.ndarray]
) -> None:
    after = compressed[kind, name].candidate
    pixels = preprocess_images(patterned(32, seed=9).pixels, PREPROCESS)
    if after.module is None:
        session = runtimes.open(compressed[kind, name].folder, threads=1, batches=())
        here = runtimes.predict(session, pixels, len(pixels))
    else:
        with torch.inference_mode():
            here = after.module(torch.from_numpy(pixels).to(getattr(torch, after.execution.dtype))).float().numpy()
    tolerance = (1e-4 if after.execution.dtype == "float32" else 2e-2) * np.abs(here).max()
    np.testing.assert_allclose(elsewhere[compressed[kind, name].folder.name], here, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [name for name, (_, share) in STEPS.items() if share is not None])
@pytest.mark.parametrize("kind", list(SURGERIES))
def test_a_mild_compression_keeps_the_logits(kind: str, name: str, elsewhere: dict[str, np.ndarray]) -> None:
    whole, after = elsewhere[f"{kind}-"], elsewhere[f"{kind}-{name}"]
    share = STEPS[name][1]
    assert share is not None
    assert 0 < np.abs(after - whole).max() <= share * np.abs(whole).max()


@pytest.mark.parametrize("kind", list(SURGERIES))
def test_cutting_channels_cuts_what_was_put_in_too(
    kind: str, learned: dict[str, nn.Module], compressed: dict[tuple[str, str], Compressed]
) -> None:
    cut = compressed[kind, "prune.structured"].candidate.module
    assert cut is not None
    left = sum(parameter.numel() for parameter in cut.parameters())
    whole = sum(parameter.numel() for parameter in learned[kind].parameters())
    assert left / whole == pytest.approx(0.75, abs=0.05)
    for path, layer in cut.named_modules():
        if isinstance(layer, nn.GroupNorm):
            before = learned[kind].get_submodule(path)
            assert isinstance(before, nn.GroupNorm)
            assert layer.num_groups == before.num_groups
            assert layer.num_channels <= before.num_channels
