"""Corrupted images: the same for the same image, as severe as asked, and what their sources say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.ndimage import gaussian_filter

from paretoboard.corruptions import CORRUPTIONS, SEVERITIES, constant, parse
from paretoboard.datasets.corrupting import corrupt
from paretoboard.errors import InputError, UnknownNameError

ALL = [f"{name}:{severity}" for name in CORRUPTIONS for severity in range(1, SEVERITIES + 1)]


def images(count: int = 4, side: int = 32, channels: int = 3) -> np.ndarray:
    """Pictures with ramps, an edge and some texture."""
    y, x = np.mgrid[0:side, 0:side] / side
    texture = np.arange(side)[:, None] * 7 % 5 + np.arange(side)[None] * 13 % 3
    base = 255 * np.stack([(x + y) / 2, np.where(x > 0.5, 0.9, 0.2), 1 - y])[:channels] + 5 * texture
    shifts = np.arange(count)[:, None, None, None] * 7
    return np.clip(base[None] * 0.8 + shifts, 0, 255).astype(np.uint8)


def names(count: int = 4) -> tuple[str, ...]:
    return tuple(f"test/{number:05d}" for number in range(count))


@pytest.mark.parametrize("corruption", ALL)
@pytest.mark.parametrize(("side", "channels"), [(32, 3), (96, 3), (32, 1)])
def test_each_keeps_the_shape_and_gives_an_image_the_same_pixels_in_any_company(
    corruption: str, side: int, channels: int
) -> None:
    pixels = images(4, side, channels)
    before = pixels.copy()
    found = corrupt(pixels, names(), corruption)
    assert (found.shape, found.dtype) == (pixels.shape, np.uint8)
    assert np.array_equal(pixels, before)
    assert not np.array_equal(found, pixels)
    alone = corrupt(pixels[2:3], names()[2:3], corruption)
    assert np.array_equal(alone[0], found[2])
    turned = corrupt(pixels[::-1], names()[::-1], corruption)
    assert np.array_equal(turned[::-1], found)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
@pytest.mark.parametrize("side", [32, 128])
def test_each_severity_moves_images_further_than_the_one_before(name: str, side: int) -> None:
    rng = np.random.default_rng(0)
    # Detail and edges both: what JPEG and blur take away.
    pixels = np.clip(images(4, side) + rng.normal(0, 12, (4, 3, side, side)), 0, 255).astype(np.uint8)
    moved = [
        float(np.abs(corrupt(pixels, names(), f"{name}:{severity}").astype(float) - pixels).mean())
        for severity in range(1, SEVERITIES + 1)
    ]
    assert moved == sorted(moved)
    assert moved[0] > 0


def test_noise_has_the_deviation_that_it_names_and_differs_between_images_and_severities() -> None:
    grey = np.full((2, 3, 64, 64), 128, np.uint8)
    found = corrupt(grey, names(2), "noise:3").astype(float) - 128
    assert found.std() == pytest.approx(255 * constant("noise", 3, 64), rel=0.03)
    assert abs(found.mean()) < 0.6
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.05
    other = corrupt(grey, names(2), "noise:2").astype(float) - 128
    assert abs(np.corrcoef(found[0].ravel(), other[0].ravel())[0, 1]) < 0.05


def test_blur_is_scipys_gaussian_of_each_channel_alone() -> None:
    pixels = images(2, 96)
    found = corrupt(pixels, names(2), "blur:2")
    for image, blurred in zip(pixels, found, strict=True):
        for plane, expected in zip(image, blurred, strict=True):
            by_hand = gaussian_filter(plane.astype(np.float64), constant("blur", 2, 96), mode="nearest")
            assert np.abs(by_hand - expected).max() <= 0.51


def test_contrast_keeps_the_mean_and_shrinks_the_deviation_by_its_share() -> None:
    pixels = images(3, 32)
    found = corrupt(pixels, names(3), "contrast:4").astype(float)
    assert found.mean(axis=(2, 3)) == pytest.approx(pixels.mean(axis=(2, 3)), abs=0.5)
    share = found.std(axis=(2, 3)) / pixels.std(axis=(2, 3))
    assert share == pytest.approx(constant("contrast", 4, 32), abs=0.03)


def test_jpeg_is_pillows_at_that_quality() -> None:
    pixels = images(1, 32)
    stored = io.BytesIO()
    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(stored, "JPEG", quality=58)
    expected = np.asarray(Image.open(stored)).transpose(2, 0, 1)
    assert np.array_equal(corrupt(pixels, names(1), "jpeg:3")[0], expected)


@settings(max_examples=25)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(8, 40), st.integers(8, 40))),
    st.sampled_from(ALL),
)
def test_any_pixels_can_be_corrupted(pixels: np.ndarray, corruption: str) -> None:
    assert corrupt(pixels, names(len(pixels)), corruption).shape == pixels.shape


def test_the_constants_are_the_published_ones() -> None:
    # make_imagenet_c.py and make_cifar_c.py of github.com/hendrycks/robustness
    assert [constant("noise", severity, 224) for severity in range(1, 6)] == [0.08, 0.12, 0.18, 0.26, 0.38]
    assert [constant("noise", severity, 32) for severity in range(1, 6)] == [0.04, 0.06, 0.08, 0.09, 0.1]
    assert [constant("jpeg", severity, 224) for severity in range(1, 6)] == [25, 18, 15, 10, 7]
    assert [constant("jpeg", severity, 64) for severity in range(1, 6)] == [80, 65, 58, 50, 40]
    assert [constant("blur", severity, 224) for severity in range(1, 6)] == [1, 2, 3, 4, 6]
    assert [constant("contrast", severity, 32) for severity in range(1, 6)] == [0.75, 0.5, 0.4, 0.3, 0.15]


def test_a_corruption_is_a_name_and_a_severity() -> None:
    assert parse("noise:3") == ("noise", 3)
    with pytest.raises(UnknownNameError, match="Did you mean 'noise'"):
        parse("nois:3")
    for text in ("noise", "noise:0", "noise:6", "noise:2.5", "noise:3:1", "noise:"):
        with pytest.raises(InputError, match="'noise:1' to 'noise:5' would be right"):
            parse(text)
