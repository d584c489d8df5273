"""What a record keeps of detections, what two of them are compared by, and what a page shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from builders import run_spec
from detections import detections, objects, record, spec
from paretoboard import store
from paretoboard.compare import quality_change, under_holm
from paretoboard.detection.coco_format import INSTALL
from paretoboard.errors import StoreError
from paretoboard.records import Detections
from paretoboard.stats import paired_difference
from paretoboard_reports import view
from paretoboard_runners.scoring.boxes import check_by_library
from paretoboard_runners.verify import compare_with_stored
from test_store import assert_same

# The store


@pytest.mark.parametrize("images", [0, 1, 20])
def test_every_detection_comes_back(images: int, tmp_path: Path) -> None:
    found = detections(objects(max(images, 1)), strays=0 if images == 0 else 4)
    if images == 0:
        nothing = {name: getattr(found, name)[:0] for name in ("image", "boxes", "classes", "scores")}
        found = dataclasses.replace(found, **nothing)
    stored = record(found=found)
    path = store.append(tmp_path, stored)
    assert_same(store.read_one(path).detections, found)
    (light,) = store.read(tmp_path).records
    assert light.detections is None
    (whole,) = store.read(tmp_path, with_predictions=True).records
    assert whole.detections is not None
    assert store.table(tmp_path, ["detections.scores"]).num_rows == 1


def test_columns_that_are_not_about_the_same_boxes_are_refused(tmp_path: Path) -> None:
    found = detections(objects(4))
    broken = dataclasses.replace(found, scores=found.scores[:-1])
    with pytest.raises(StoreError, match=r"detections: columns of unlike length: scores"):
        store.append(tmp_path, dataclasses.replace(record(), detections=broken))


# Comparing


@pytest.fixture(scope="module")
def good() -> Detections:
    return detections(objects(60, seed=3), seed=4, blur=0.05, strays=2)


@pytest.fixture(scope="module")
def bad(good: Detections) -> Detections:
    return detections(good.objects, seed=5, blur=0.35, strays=6)


def test_a_detector_that_finds_less_is_worse_and_the_other_way_round(good: Detections, bad: Detections) -> None:
    for metric in ("mAP", "AP50", "AP75"):
        loss = quality_change(record("ort-int8", bad), record(found=good), metric)
        gain = quality_change(record("ort-int8", good), record(found=bad), metric)
        assert loss is not None
        assert gain is not None
        assert (loss.verdict, gain.verdict) == ("worse", "better")
        assert loss.low < loss.difference < loss.high < 0
        assert loss.p_value == gain.p_value < 0.01
        assert loss.gained is None


def test_the_same_boxes_are_the_same_quality(good: Detections) -> None:
    change = quality_change(record("ort-fp32", good), record(found=good), "mAP")
    assert change is not None
    assert (change.difference, change.low, change.high, change.p_value, change.verdict) == (0.0, 0.0, 0.0, 1.0, "same")


def test_a_small_difference_is_undecided_and_says_how_many_images_it_takes(good: Detections) -> None:
    other = detections(good.objects, seed=6, blur=0.05, strays=2)
    change = quality_change(record("ort-int8", other), record(found=good), "mAP")
    assert change is not None
    assert change.verdict == "undecided"
    assert "images; there are 60" in change.reason


def test_a_verdict_must_stand_among_all_of_a_board(good: Detections, bad: Detections) -> None:
    real = quality_change(record("ort-int8", bad), record(found=good), "mAP")
    assert real is not None
    chance = dataclasses.replace(real, p_value=0.03)
    corrected = under_holm([chance, *(dataclasses.replace(real, p_value=0.5, verdict="undecided") for _ in range(5))])
    assert corrected[0].verdict == "undecided"
    assert under_holm([real])[0].verdict == "worse"


def test_other_objects_or_no_draws_are_not_compared(good: Detections) -> None:
    elsewhere = detections(objects(60, seed=9))
    assert quality_change(record("ort-int8", elsewhere), record(found=good), "mAP") is None
    undrawn = dataclasses.replace(good, drawn=good.drawn[:0])
    assert quality_change(dataclasses.replace(record(), detections=undrawn), record(found=good), "mAP") is None
    assert quality_change(record("ort-int8", good), record(found=good), "top1") is None


def test_the_paired_difference_by_hand() -> None:
    ours, theirs = np.array([3.0, 4.0, 5.0, np.nan]), np.array([1.0, 5.0, 2.0, 0.0])
    found = paired_difference(ours, theirs)
    assert found.p_value == pytest.approx(2 * (1 + 1) / (3 + 1))
    assert -1 <= found.interval.low <= found.interval.high <= 3
    with pytest.raises(ValueError, match="no draws"):
        paired_difference(ours[:0], theirs)


def test_an_interval_of_draws_holds_a_known_difference_as_often_as_it_says() -> None:
    """Two shares right of 80 images, whose true difference is 0.1, each drawn again 400 times."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        ours, theirs = rng.uniform(size=80) < 0.7, rng.uniform(size=80) < 0.6
        weights = rng.multinomial(80, np.full(80, 1 / 80), size=400)
        found = paired_difference(weights @ ours / 80, weights @ theirs / 80)
        held += 0.1 in found.interval
    assert 0.89 <= held / 200 <= 0.99


# The field's libraries


def test_a_number_that_a_library_says_otherwise_stops_the_run(good: Detections) -> None:
    pytest.importorskip("pycocotools", reason=f"pycocotools is not installed: {INSTALL}")
    assert "mAP, AP50 and AP75 are those of pycocotools" in check_by_library(good, {})
    with pytest.raises(AssertionError, match=r"mAP is 0\.99000000 here and"):
        check_by_library(good, {"mAP": 0.99})


# Repeating


def test_verify_asks_for_the_same_boxes(good: Detections, bad: Detections) -> None:
    stored = record(found=good)
    assert all(finding.holds for finding in compare_with_stored(stored, stored))
    findings = compare_with_stored(stored, dataclasses.replace(stored, detections=bad))
    (wrong,) = (finding for finding in findings if not finding.holds)
    assert wrong.what == "detections"
    assert "in 60 images" in wrong.stored


# Pages


def test_a_board_of_detectors_shows_map_with_paired_verdicts(good: Detections, bad: Detections) -> None:
    page = view.page([record(found=good), record("ort-fp32", good), record("ort-int8", bad)])
    (board,) = page.boards
    assert board.quality_metric == "mAP"
    assert board.quality_name == "mAP"
    rows = {row.recipe: row for row in board.rows}
    assert rows["ort-fp32"].quality_effect is not None
    assert rows["ort-fp32"].quality_effect.verdict == "same"
    effect = rows["ort-int8"].quality_effect
    assert effect is not None
    assert effect.verdict == "worse"
    assert "the same images drawn again" in effect.note
    assert rows["ort-int8"].quality is not None
    assert rows["ort-int8"].quality.span
    details = rows["baseline"].details
    assert [line.index for line in details.objects] == [0, 1, 2]
    assert details.classes == ()
    assert details.confusion is None


def test_ids_of_tasks_without_boxes_say_nothing_of_boxes() -> None:
    assert "detection" not in run_spec().content()
    assert "detection" in spec().content()
