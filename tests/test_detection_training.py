"""Training a small detector: its targets by hand, and that it learns."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from paretoboard import training
from paretoboard.datasets import Images
from paretoboard.datasets.digit_scenes import DigitScenes
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.models import build
from paretoboard.records import Objects
from paretoboard.spec import DetectionUse, Preprocess, TrainSettings
from paretoboard.training.detection import DetectionLoss
from paretoboard.training.loss import Batch

USE = DetectionUse(head="anchor-free")
PREPROCESS = Preprocess(mean=(0.5,), std=(0.5,))
SETTINGS = TrainSettings(epochs=4, lr=0.002, batch=16, optimizer="adamw", schedule="constant")


def scene(*boxes: tuple[float, float, float, float], crowd: bool = False) -> Images:
    """One image of 32x32 with boxes of classes 0, 1, and so on."""
    count = len(boxes)
    stored = np.array(boxes, np.float64)
    return Images(
        ids=("made/0",),
        pixels=np.zeros((1, 3, 32, 32), np.uint8),
        labels=np.zeros(1, np.int64),
        classes=("a", "b"),
        objects=Objects(
            sizes=np.array([[32, 32]], np.int32),
            image=np.zeros(count, np.int32),
            boxes=stored,
            classes=np.arange(count, dtype=np.int16),
            areas=stored[:, 2] * stored[:, 3],
            crowd=np.full(count, crowd),
        ),
    )


def batch() -> Batch:
    return Batch(
        images=torch.zeros(1, 3, 32, 32),
        labels=torch.zeros(1, dtype=torch.int64),
        indices=torch.zeros(1, dtype=torch.int64),
        variants=torch.zeros(1, dtype=torch.int64),
    )


def test_the_targets_of_two_objects_by_hand() -> None:
    # A grid of 4x4 cells of 8 pixels: a box over all of it, and one in the cell at row 2, column 1.
    loss = DetectionLoss(scene((0, 0, 32, 32), (9, 17, 6, 6)), PREPROCESS, USE)
    targets = loss._made(4, 4)
    wanted = np.full((4, 4), -1)
    wanted[1:3, 1:3] = 0  # within 1.5 cells of the middle, which lies between cells
    wanted[2, 1] = 1  # the smaller one comes first
    np.testing.assert_array_equal(targets.labels[0].numpy(), wanted)
    np.testing.assert_allclose(targets.sides[0, :, 1, 1].numpy(), [1.5, 1.5, 2.5, 2.5])
    np.testing.assert_allclose(targets.sides[0, :, 2, 1].numpy(), np.array([3, 3, 3, 3]) / 8, rtol=1e-6)


def test_a_network_that_says_the_targets_has_almost_no_loss() -> None:
    loss = DetectionLoss(scene((9, 17, 6, 6)), PREPROCESS, USE)
    said = torch.full((1, 4 + 2, 4, 4), -20.0)
    said[0, :4, 2, 1] = math.log(3 / 8)
    said[0, 4, 2, 1] = 20.0
    assert float(loss(said, batch())) == pytest.approx(0.0, abs=1e-6)
    said[0, :4, 2, 1] = math.log(6 / 8)  # four times the area around the same middle: IoU 1/4, and no frame beyond
    assert float(loss(said, batch())) == pytest.approx(0.75, abs=1e-6)


def test_a_crowd_is_no_object_to_learn() -> None:
    loss = DetectionLoss(scene((9, 17, 6, 6), crowd=True), PREPROCESS, USE)
    assert (loss._made(4, 4).labels == -1).all()
    assert math.isfinite(float(loss(torch.zeros(1, 6, 4, 4), batch())))


def test_other_objects_are_another_loss() -> None:
    one, other = (DetectionLoss(scene((9, 17, 6, side)), PREPROCESS, USE).identity for side in (6, 7))
    assert one != other
    with pytest.raises(NotApplicableError, match="no training is known"):
        DetectionLoss(scene((9, 17, 6, 6)), PREPROCESS, DetectionUse(head="fastestdet"))


@pytest.fixture(scope="module")
def scenes() -> Images:
    return DigitScenes(Path()).read_ids(tuple(f"train/{index:04d}" for index in range(64)))


def test_training_lowers_the_loss_and_repeats_to_the_bit(scenes: Images) -> None:
    results = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = build("scene-detector", 10)
        loss = DetectionLoss(scenes, PREPROCESS, USE)
        results.append(training.train(module, scenes, SETTINGS, preprocess=PREPROCESS, seed=0, threads=1, loss=loss))
    assert results[0].losses[-1] < 0.7 * results[0].losses[0]
    assert results[0].weights == results[1].weights


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"held_out": 0.1}, "'held_out' needs a class for each image"),
        ({"mix": "mixup"}, "'mix' needs a class"),
        ({"augment": ("flip",)}, "augmentation 'flip' would move objects"),
        ({"augment": ("noise", "rotate:10")}, "augmentation 'rotate:10' would move objects"),
    ],
)
def test_what_needs_labels_or_moves_objects_is_refused(change: dict[str, object], said: str, scenes: Images) -> None:
    settings = dataclasses.replace(SETTINGS, **change)  # type: ignore[arg-type]
    loss = DetectionLoss(scenes, PREPROCESS, USE)
    with pytest.raises(InputError, match=said):
        training.train(build("scene-detector", 10), scenes, settings, preprocess=PREPROCESS, seed=0, loss=loss)


def test_boxes_are_not_trained_on_as_if_they_were_classes(scenes: Images) -> None:
    with pytest.raises(InputError, match="train with a loss of boxes"):
        training.train(build("scene-detector", 10), scenes, SETTINGS, preprocess=PREPROCESS, seed=0)
