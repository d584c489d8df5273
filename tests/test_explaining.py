"""What a model looks at: Grad-CAM beside its definition, the sample, the pictures, and models that can't be asked."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from torch import nn

import small_models
from paretoboard import artifact, stats
from paretoboard.artifact import Candidate, Execution
from paretoboard.errors import NotApplicableError
from paretoboard.runtimes import gradcam
from paretoboard.spec import DatasetUse, MeasureSpec, Subset
from paretoboard_runners import explaining
from paretoboard_runners.pictures import MOST_BYTES, compared_maps

DIGITS = DatasetUse(name="digits", subset=Subset(name="all"), train=Subset(name="all"))


@pytest.fixture(scope="session")
def captum() -> None:
    pytest.importorskip("captum", reason="the extra 'explain' is not installed")


needs_captum = pytest.mark.usefixtures("captum")


# Maps


def by_definition(candidate: Candidate, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Selvaraju et al. 2017, equations 1 and 2, one image at a time."""
    module = candidate.module
    assert module is not None
    _, layer = gradcam.last_feature_map(module, torch.from_numpy(images[:1]))
    kept: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    maps = []
    for image, wanted in zip(images, classes, strict=True):
        kept.clear()
        logits = module(torch.from_numpy(image[None]))
        (gradient,) = torch.autograd.grad(logits[0, wanted], kept)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        maps.append(torch.relu((weights * kept[0]).sum(dim=1))[0].detach().numpy())
    handle.remove()
    return np.stack(maps)


@needs_captum
def test_maps_are_what_the_definition_says_whatever_the_batch() -> None:
    candidate, images = small_models.candidate(), small_models.inputs(20)
    classes = gradcam.answers(candidate, images)
    found = gradcam.grad_cam(candidate, images, classes)
    assert found.values.shape == (20, 8, 8)
    np.testing.assert_allclose(found.values, by_definition(candidate, images, classes), rtol=1e-4, atol=1e-6)
    module = candidate.module
    assert module is not None
    assert all(parameter.grad is None for parameter in module.parameters())
    with torch.inference_mode():
        assert np.array_equal(classes, module(torch.from_numpy(images)).argmax(dim=1).numpy())


@needs_captum
def test_a_model_in_bfloat16_and_one_without_gradients_of_its_weights_are_explained_too() -> None:
    images = small_models.inputs(4)
    plain = small_models.candidate()
    assert plain.module is not None
    classes = gradcam.answers(plain, images)
    expected = gradcam.grad_cam(plain, images, classes).values
    frozen = dataclasses.replace(plain, module=small_models.module().requires_grad_(False))
    np.testing.assert_allclose(gradcam.grad_cam(frozen, images, classes).values, expected, rtol=1e-5, atol=1e-7)
    half = dataclasses.replace(
        plain, module=small_models.module().to(torch.bfloat16), execution=Execution(dtype="bfloat16")
    )
    found = gradcam.grad_cam(half, images, classes).values
    assert stats.map_correlation(expected, found).min() > 0.8


class Named(nn.Module):
    """Two convolutions in an order that their names don't tell."""

    def __init__(self) -> None:
        super().__init__()
        self.a_last = nn.Conv2d(4, 6, 3)
        self.b_first = nn.Conv2d(3, 4, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Conv2d(6, 10, 1)  # one place left

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.a_last(self.b_first(images)))).flatten(1)


def test_the_last_feature_map_is_of_what_is_called_last_with_places_to_tell_apart() -> None:
    name, layer = gradcam.last_feature_map(Named(), torch.zeros(1, 3, 12, 12))
    assert (name, layer.weight.shape[0]) == ("a_last", 6)
    with pytest.raises(NotApplicableError, match="no convolution"):
        gradcam.last_feature_map(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(1, 3, 2, 2))


def test_of_a_residual_network_it_is_the_stage_with_its_shortcut_and_activation() -> None:
    name, layer = gradcam.last_feature_map(small_models.module(), torch.from_numpy(small_models.inputs(1)))
    assert (name, type(layer)) == ("layer3", nn.Sequential)


def test_maps_of_another_size_are_interpolated() -> None:
    maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert gradcam.resized(maps, 2, 2) is maps
    assert gradcam.resized(maps, 4, 4).shape == (2, 4, 4)


# How alike two maps are

MAPS = hnp.arrays(np.float64, (3, 4, 5), elements=st.floats(0, 100).map(lambda value: round(value, 3)))


@given(MAPS, MAPS)
def test_similarity_is_numpys_correlation_where_both_maps_point_somewhere(a: np.ndarray, b: np.ndarray) -> None:
    found = stats.map_correlation(a, b)
    for one, other, value in zip(a, b, found, strict=True):
        even = (one.min() == one.max(), other.min() == other.max())
        if any(even):
            assert value == float(all(even))
        else:
            assert value == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1], abs=1e-6)
    assert np.allclose(found, stats.map_correlation(b, a))
    assert np.allclose(stats.map_correlation(a, 3 * a + 1), 1.0)


def test_maps_of_unlike_sizes_can_not_be_compared() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) and \(2, 4, 4\)"):
        stats.map_correlation(np.ones((2, 3, 3)), np.ones((2, 4, 4)))


# The sample and its pictures


def test_the_sample_is_the_same_in_any_order_and_keeps_its_images_when_more_are_asked_for() -> None:
    ids = [f"test/{number:05d}" for number in range(500)]
    chosen = {ids[place] for place in explaining.sample(ids, 32)}
    backwards = ids[::-1]
    assert {backwards[place] for place in explaining.sample(backwards, 32)} == chosen
    assert chosen < {ids[place] for place in explaining.sample(ids, 64)}
    assert explaining.sample(ids[:5], 32) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (224, 3), (8, 1)])
def test_a_picture_has_three_panels_and_few_bytes(side: int, channels: int) -> None:
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (channels, side, side), dtype=np.uint8)  # what compresses worst
    maps = (rng.random((7, 7)), np.zeros((8, 8)))
    content = compared_maps(noise, maps)
    assert len(content) <= MOST_BYTES
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.width) == ("PNG", 3 * picture.height + 8)
    assert compared_maps(noise, maps) == content


def test_a_map_that_points_nowhere_leaves_the_image_as_it_is_and_one_that_does_brightens_its_place() -> None:
    dark = np.full((3, 96, 96), 20, np.uint8)
    left = np.zeros((2, 2))
    left[:, 0] = 1.0
    picture = np.asarray(Image.open(io.BytesIO(compared_maps(dark, (np.zeros((2, 2)), left)))).convert("RGB"))
    plain, nothing, pointing = picture[:, :96], picture[:, 100:196], picture[:, 200:]
    assert np.array_equal(plain, nothing)
    assert pointing[:, :20].mean() > 100 > pointing[:, -20:].mean()


# The job


def explained(tmp_path: Path, baseline: Candidate, ours: Candidate, **overrides: Any) -> explaining.ExplainResult:
    for name, candidate in (("baseline", baseline), ("ours", ours)):
        artifact.save(candidate, tmp_path / name)
    given: dict[str, Any] = {
        "artifact": tmp_path / "ours",
        "baseline": tmp_path / "baseline",
        "dataset": DIGITS,
        "preprocess": small_models.PREPROCESS,
        "data_root": tmp_path,
        "images": 12,
        "threads": 1,
    }
    job = explaining.ExplainJob(**{**given, **overrides})
    return explaining.explain(job, tmp_path, lambda event: None)


@needs_captum
def test_a_model_is_like_itself_and_another_one_is_less_so(tmp_path: Path) -> None:
    same = explained(tmp_path / "same", small_models.candidate(), small_models.candidate())
    assert [found.similarity for found in same.images] == pytest.approx([1.0] * 12)
    other = explained(tmp_path / "other", small_models.candidate(), small_models.candidate(seed=4))
    similarities = [found.similarity for found in other.images]
    assert similarities == sorted(similarities)
    assert similarities[0] < 0.9
    assert other.method.endswith("read at layer3, the baseline at layer3")
    assert [bool(found.picture) for found in other.images] == [True] * 3 + [False] * 9
    (metric,) = other.metrics()
    assert (metric.name, metric.n) == ("explanation_similarity", 12)
    assert metric.value == pytest.approx(np.mean(similarities))
    shift = other.shift(tmp_path / "other")
    assert [image.picture[:4] for image in shift.images[:3]] == [b"\x89PNG"] * 3
    assert all(image.picture == b"" for image in shift.images[3:])


def test_a_graph_can_not_be_asked_and_the_result_says_so(tmp_path: Path) -> None:
    torch_model, graph = small_models.candidate(), small_models.exported()
    result = explained(tmp_path / "graph", torch_model, graph)
    assert result.reason.startswith("not possible: the artifact is an ONNX graph")
    assert (result.images, result.metrics()) == ((), ())
    assert result.shift(tmp_path).reason == result.reason
    assert explained(tmp_path / "own", graph, torch_model).reason.startswith("not possible: the baseline is an ONNX")


@needs_captum
def test_a_model_without_convolutions_says_so(tmp_path: Path) -> None:
    recurrent = small_models.candidate("cifar-gru-270k")
    result = explained(tmp_path, recurrent, recurrent)
    assert result.reason == "not possible: the model calls no convolution whose output has more than one place"


def test_explanations_are_asked_for_by_the_task_alone_and_need_captum() -> None:
    explaining.require(MeasureSpec(), lambda name: None)
    explaining.require(MeasureSpec(explain=8), lambda name: name)
    with pytest.raises(NotApplicableError, match=r"pip install 'paretoboard\[explain\]'"):
        explaining.require(MeasureSpec(explain=8), lambda name: None)


def test_a_single_image_has_a_value_and_no_interval() -> None:
    result = explaining.ExplainResult(method="m", images=(explaining.Explained(image="a", similarity=0.5),))
    (metric,) = result.metrics()
    assert (metric.value, metric.low, metric.high) == (0.5, None, None)
