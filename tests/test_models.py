"""Every registered network, and the description that an altered one is rebuilt from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paretoboard.errors import InputError, NotApplicableError, StoreError, UnknownNameError
from paretoboard.models import build, native_of
from paretoboard.models.structure import describe, rebuild
from paretoboard.registry import MODELS
from small_models import fingerprint

# trainable parameters of the 6n+2 networks as He et al. 2015, table 6, rounds them (0.27M, 0.46M, 0.85M, 1.7M), exact;
# those of networks of 32x32 images that nobody published, and of airbench, as counted by hand: 3x3 convolutions without
# biases, batch norms of two numbers a channel, the first layer of airbench with its 24 biases and the last without;
# LeNet-5's for three input channels, from LeCun et al. 1998, section II.B, with a second layer that sees every map
PARAMETERS = {
    "cifar-depthwise": 274_746,
    "cifar-gru-270k": 267_394,
    "cifar-gru-41m": 1_278_010,
    "cifar-plain": 269_722,
    "cifar-vit-270k": 270_410,
    "cifar-vit-41m": 530_810,
    "cifar-airbench": 12 * 24 + 24 + 9 * (24 * 64 + 64**2 + 64 * 128 + 128**2 + 128 * 256 + 256**2) + 4 * 448 + 2560,
    "cifar-airbench-small": 12 * 24 + 24 + 9 * (24 * 32 + 32**2 + 32 * 64 + 64**2 + 64 * 128 + 128**2) + 4 * 224 + 1280,
    # With 1,000 classes torchvision counts 3,504,872, and efficientnet-lite-pytorch 4,652,008.
    "efficientnet-lite0": 4_652_008 - 990 * 1281,
    "mobilenetv2": 3_504_872 - 990 * 1281,
    "cifar-resnet8": 75_290,
    "cifar-resnet20": 269_722,
    "cifar-resnet32": 464_154,
    "cifar-resnet56": 853_018,
    "cifar-resnet110": 1_727_962,
    # 24 channels in the stem; blocks of 48, 96 and 192; the neck and three branches of 96, all with biases
    "fastestdet": 672 + 6_600 + 44_304 + 88_608 + 75_072 + 9_312 + 7_488 + 97 + 388 + 97 * 10,
    "lenet5": 75 * 6 + 6 + 150 * 16 + 16 + 400 * 120 + 120 + 120 * 84 + 84 + 840 + 10,
    "mlperf-tiny-resnet8": 77_706,
    "scene-detector": 27 * 16 + 9 * (16 * 32 + 32 * 64 + 2 * 64**2) + 2 * 240 + 64 * 14 + 14,
}
# Networks that say more than a class: numbers of each cell, for 7 classes.
GRIDS = {"fastestdet": (5 + 7, 22, 22), "scene-detector": (4 + 7, 12, 12)}


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_gives_logits_for_the_classes_asked_for(name: str) -> None:
    module, made_for = build(name, 7), native_of(name)
    assert not module.training
    assert made_for is not None
    with torch.inference_mode():
        assert module(torch.rand(2, *made_for.input_shape)).shape == (2, *GRIDS.get(name, (7,)))


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_has_the_published_number_of_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name, 10).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", list(MODELS))
def test_an_altered_model_is_rebuilt_from_json_and_its_state(name: str) -> None:
    altered = build(name, 10)
    first, old = next(
        (path, layer)
        for path, layer in altered.named_modules()
        if (isinstance(layer, nn.Conv2d) and layer.padding == (1, 1)) or isinstance(layer, nn.Linear)
    )
    altered.set_submodule(first, nn.Sequential(*_factors(old)))

    description = json.loads(json.dumps(describe(altered, build(name, 10)), sort_keys=True))
    rebuilt = rebuild(build(name, 10), description).eval()
    rebuilt.load_state_dict(altered.state_dict(), strict=True)

    assert list(description) == [first]
    assert fingerprint(rebuilt) == fingerprint(altered)
    made_for = native_of(name)
    assert made_for is not None
    image = torch.rand(2, *made_for.input_shape)
    with torch.inference_mode():
        assert torch.equal(rebuilt(image), altered(image))


def _factors(old: nn.Conv2d | nn.Linear) -> list[nn.Module]:
    """Twelve layers that fit where `old` is: past nine, names no longer sort as numbers do."""
    if isinstance(old, nn.Linear):
        middle: list[nn.Module] = [nn.Linear(5, 5) for _ in range(10)]
        return [nn.Linear(old.in_features, 5), *middle, nn.Linear(5, old.out_features)]
    first = nn.Conv2d(old.in_channels, 5, 3, padding=1, stride=old.stride, bias=False)  # type: ignore[arg-type]
    return [first, *(nn.Conv2d(5, 5, 1) for _ in range(10)), nn.Conv2d(5, old.out_channels, 1)]


@pytest.mark.parametrize("name", list(MODELS))
def test_an_untouched_model_needs_no_description(name: str) -> None:
    assert describe(build(name, 10), build(name, 10)) == {}


@given(
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from([(0, 0), (1, 2), "same"]),
    bias=st.booleans(),
    mode=st.sampled_from(["zeros", "reflect"]),
)
@settings(max_examples=30)
def test_a_convolution_of_any_arguments_comes_back(
    channels: tuple[int, int], kernel: tuple[int, int], padding: object, bias: bool, mode: str
) -> None:
    layer = nn.Conv2d(*channels, kernel, padding=padding, bias=bias, padding_mode=mode)  # type: ignore[arg-type]
    description = json.loads(json.dumps(describe(nn.ModuleDict({"x": layer}), nn.ModuleDict({"x": nn.Identity()}))))
    rebuilt = rebuild(nn.ModuleDict({"x": nn.Identity()}), description)
    assert repr(rebuilt.get_submodule("x")) == repr(layer)


def test_a_layer_that_no_description_can_hold_is_refused() -> None:
    altered = build("cifar-resnet8", 10)
    altered.linear = nn.Bilinear(64, 64, 10)
    with pytest.raises(NotApplicableError, match=r"layer 'linear' is now a Bilinear.*Conv2d"):
        describe(altered, build("cifar-resnet8", 10))


@pytest.mark.parametrize(
    "layer",
    [{"type": "Popen"}, {"type": "Linear"}, {}, {"type": "Linear", "in_features": 2, "out_features": 3, "x": 1}],
)
def test_a_damaged_description_is_refused(layer: dict[str, object]) -> None:
    with pytest.raises(StoreError, match="layer 'linear'"):
        rebuild(build("cifar-resnet8", 10), {"linear": layer})


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'cifar-resnet110'"):
        build("cifar-resnet-110", 10)
    with pytest.raises(InputError, match="no 'nothing'"):
        build("paretoboard.models.cifar_resnet:nothing", 10)


def test_a_models_own_function_may_stand_for_a_name() -> None:
    assert fingerprint(_seeded("paretoboard.models.cifar_resnet:resnet8")) == fingerprint(_seeded("cifar-resnet8"))


def test_the_published_weights_fit_key_by_key(data_root: Path) -> None:
    for name, file in (
        ("cifar-resnet20", "resnet20_cifar10_akamaster.pth"),
        ("cifar-resnet56", "resnet56_cifar10_akamaster.pth"),
        ("mlperf-tiny-resnet8", "resnet8_cifar10_mlperf_tiny.pth"),
        ("mobilenetv2", "mobilenet_v2_imagenet_fp16.pth"),
    ):
        state = torch.load(data_root / "weights" / file, weights_only=True)
        module = build(name, 1000 if "imagenet" in file else 10)
        counters = {key for key in module.state_dict() if key.endswith("num_batches_tracked")}
        assert module.state_dict().keys() - counters == state.keys() - counters
        module.load_state_dict(state, strict=True)


def _seeded(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(name, 10)
