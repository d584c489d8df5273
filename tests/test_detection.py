"""From numbers to boxes, and from boxes to average precision: by hand, and beside the field's own libraries."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detections import CLASSES, detections, objects
from paretoboard.datasets import select_objects
from paretoboard.datasets.decoding import GREY, fit, planes
from paretoboard.detection import coco_format
from paretoboard.detection.average_precision import drawn_weights, precisions
from paretoboard.detection.boxes import coco_overlaps, corners, extents, overlaps
from paretoboard.detection.found import Postprocessing
from paretoboard.detection.heads import decode, numbers_of
from paretoboard.detection.nms import suppress
from paretoboard.detection.placement import place, placements
from paretoboard.records import Detections, Objects
from paretoboard.spec import DetectionUse, Preprocess

# Boxes


def test_overlaps_by_hand() -> None:
    first = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    second = np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [10, 0, 20, 10]])
    np.testing.assert_allclose(overlaps(first, second), [[50 / 150, 1, 0], [0, 0, 0]])


def test_a_crowd_is_covered_by_whoever_lies_in_it() -> None:
    found = np.array([[10.0, 10, 10, 10]])
    wanted = np.array([[0.0, 0, 100, 100], [0.0, 0, 100, 100]])
    np.testing.assert_allclose(coco_overlaps(found, wanted, np.array([False, True])), [[0.01, 1.0]])


def test_corners_and_extents_are_each_others_inverse() -> None:
    boxes = np.random.default_rng(0).uniform(0, 100, (7, 4))
    np.testing.assert_allclose(extents(corners(boxes)), boxes)


# Suppression


@settings(max_examples=60)
@given(count=st.integers(0, 120), classes=st.integers(1, 5), most=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_suppression_keeps_what_torchvision_keeps(count: int, classes: int, most: float, seed: int) -> None:
    from torchvision.ops import batched_nms

    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)
    scores = rng.permutation(count).astype(np.float32) / max(count, 1)
    names = rng.integers(0, classes, count)
    reference = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(names), most).numpy()
    for library in ("numpy", "torchvision"):
        kept = suppress(boxes, scores, names, most_overlap=most, library=library)
        assert kept.tolist() == reference.tolist()


def test_of_equal_scores_the_first_is_kept_and_other_classes_are_left_alone() -> None:
    box = np.array([[0, 0, 10, 10]] * 3, dtype=np.float32)
    scores = np.full(3, 0.5, np.float32)
    assert suppress(box, scores, np.array([4, 4, 5]), most_overlap=0.5).tolist() == [0, 2]


# Heads


def test_fastestdets_head_by_hand() -> None:
    output = np.zeros((1, 5 + 2, 2, 4), dtype=np.float32)
    # Row 1, column 2: objectness 0.5; centre a quarter of a cell right of its corner, on its upper edge; half as wide
    # as the image and three quarters as high; the second class with 0.8.
    output[0, :, 1, 2] = [0.5, math.atanh(0.25), 0.0, 0.0, math.log(3.0), 0.2, 0.8]
    cells = decode(output, "fastestdet")
    place = 1 * 4 + 2
    x, y = 2.25 / 4, 1 / 2
    np.testing.assert_allclose(cells.boxes[0, place], [x - 0.25, y - 0.375, x + 0.25, y + 0.375], rtol=1e-6)
    assert cells.scores[0, place] == pytest.approx(0.5**0.6 * 0.8**0.4)
    assert cells.classes[0, place] == 1
    assert numbers_of("fastestdet", 80) == 85


def test_the_head_without_anchors_by_hand() -> None:
    output = np.zeros((1, 4 + 3, 3, 3), dtype=np.float32)
    output[0, :, 0, 1] = [math.log(0.5), math.log(0.25), math.log(1.5), math.log(2.0), -1.0, 2.0, 0.0]
    cells = decode(output, "anchor-free")
    x, y = 1.5, 0.5
    np.testing.assert_allclose(cells.boxes[0, 1], np.array([x - 0.5, y - 0.25, x + 1.5, y + 2.0]) / 3, rtol=1e-6)
    assert cells.scores[0, 1] == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert cells.classes[0, 1] == 1
    assert numbers_of("anchor-free", 10) == 14


def test_an_output_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="images, numbers of a cell, rows, columns"):
        decode(np.zeros((2, 10), np.float32), "anchor-free")
    one_class = np.zeros((1, 5, 2, 2), np.float32)
    assert decode(one_class, "anchor-free").classes.tolist() == [[0, 0, 0, 0]]
    with pytest.raises(ValueError, match="numbers of a cell"):
        decode(one_class, "fastestdet")


def test_boxes_are_those_above_the_threshold_best_first_and_not_more_than_asked_for() -> None:
    output = np.full((1, 4 + 2, 4, 4), -6.0, dtype=np.float32)  # tiny boxes that nobody is likely to be in
    for number, (row, column) in enumerate([(0, 0), (1, 3), (3, 2)]):
        output[0, 4, row, column] = number  # 0.5, 0.73, 0.88
    use = DetectionUse(head="anchor-free", score_threshold=0.4)
    (found,) = Postprocessing(use=use)(output)
    np.testing.assert_allclose(found.scores, [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1)), 0.5], rtol=1e-6)
    (best,) = Postprocessing(use=dataclasses.replace(use, most=1))(output)
    assert best.scores.tolist() == found.scores[:1].tolist()
    assert Postprocessing(use=use).answers(output).tolist() == [0]


# Placement


@settings(max_examples=50)
@given(height=st.integers(1, 700), width=st.integers(1, 700), side=st.integers(8, 500), letterbox=st.booleans())
def test_boxes_go_into_the_input_and_back(height: int, width: int, side: int, letterbox: bool) -> None:
    where = place(height, width, Preprocess(resize=side, squash=not letterbox, letterbox=letterbox))
    boxes = np.array([[0.0, 0, width, height], [width / 4, height / 3, width / 2, height / 2]])
    inside = where.to_input(boxes)
    assert (inside >= -1e-9).all()
    assert (inside <= 1 + 1e-9).all()
    np.testing.assert_allclose(where.to_stored(inside.astype(np.float32)), boxes, atol=1e-3 * max(height, width))


def test_a_letterboxed_image_lies_in_the_middle_of_grey_and_keeps_its_proportions() -> None:
    picture = Image.new("RGB", (40, 20))
    boxed = planes(fit(picture, Preprocess(resize=80, letterbox=True)))
    assert boxed.shape == (3, 80, 80)
    assert (boxed[:, :20] == GREY).all()
    assert (boxed[:, 60:] == GREY).all()
    assert (boxed[:, 20:60] == 0).all()
    squashed = planes(fit(picture, Preprocess(resize=80, squash=True)))
    assert squashed.shape == (3, 80, 80)
    assert (squashed == 0).all()
    (where,) = placements(np.array([[20, 40]], np.int32), Preprocess(resize=80, letterbox=True))
    np.testing.assert_allclose(where.to_input(np.array([[0.0, 0, 40, 20]])), [[0, 0.25, 1, 0.75]])


def test_a_crop_would_cut_objects_off() -> None:
    with pytest.raises(ValueError, match="squashed or letterboxed"):
        place(10, 10, Preprocess(resize=8, crop=4))


# Average precision


def one_class(scores: list[float], hits: list[bool], wanted: int) -> Detections:
    """Boxes of one image, the hits exactly on objects of their own; `wanted` objects of 50x50."""
    boxes = np.array([[60.0 * place, 0, 50, 50] for place in range(wanted)])
    misses = iter(range(1000, 100_000, 100))
    right = iter(boxes.tolist())
    found = [next(right) if hit else [next(misses), 0, 50, 50] for hit in hits]
    return Detections(
        objects=Objects(
            sizes=np.array([[60, 60 * wanted]], np.int32),
            image=np.zeros(wanted, np.int32),
            boxes=boxes,
            classes=np.zeros(wanted, np.int16),
            areas=np.full(wanted, 2500.0),
            crowd=np.zeros(wanted, dtype=bool),
        ),
        image=np.zeros(len(scores), np.int32),
        boxes=np.array(found, np.float32).reshape(-1, 4),
        classes=np.zeros(len(scores), np.int16),
        scores=np.array(scores, np.float32),
        drawn=np.zeros((0, 3), np.float32),
    )


def test_average_precision_by_hand() -> None:
    # Right, wrong, right, of two objects: precision 1 up to recall 0.5 (51 of 101 recalls), then 2/3.
    found = precisions(one_class([0.9, 0.8, 0.7], [True, False, True], wanted=2))
    assert found.mean("mAP")[0] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert found.mean("mAP", "medium")[0] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert math.isnan(found.mean("mAP", "small")[0])


def test_all_found_exactly_is_1_and_nothing_found_is_0() -> None:
    assert precisions(one_class([0.9, 0.8], [True, True], wanted=2)).mean("AP75")[0] == pytest.approx(1.0)
    assert precisions(one_class([], [], wanted=2)).mean("mAP")[0] == 0.0
    assert precisions(one_class([0.5], [False], wanted=2)).mean("mAP")[0] == 0.0


def repeated(found: Detections, times: list[int]) -> Detections:
    """The images so many times each."""
    chosen = [image for image, count in enumerate(times) for _ in range(count)]
    places = [np.flatnonzero(found.image == image) for image in chosen]
    every = np.concatenate(places)
    return Detections(
        objects=select_objects(found.objects, chosen),
        image=np.repeat(np.arange(len(chosen), dtype=np.int32), [len(each) for each in places]),
        boxes=found.boxes[every],
        classes=found.classes[every],
        scores=found.scores[every],
        drawn=found.drawn,
    )


@pytest.mark.parametrize("seed", range(3))
def test_an_image_of_weight_two_counts_as_the_image_twice(seed: int) -> None:
    found = detections(objects(6, seed=seed), seed=seed)
    times = [2, 0, 1, 3, 0, 1]
    weighted, copied = precisions(found, np.array([times], float)), precisions(repeated(found, times))
    for metric in ("mAP", "AP50", "AP75"):
        np.testing.assert_allclose(weighted.mean(metric), copied.mean(metric), atol=1e-12)


def test_fewer_draws_are_the_first_ones() -> None:
    np.testing.assert_array_equal(drawn_weights(20, 5), drawn_weights(20, 50)[:5])
    assert (drawn_weights(20, 5).sum(axis=1) == 20).all()


@pytest.mark.parametrize("library", ["pycocotools", "faster_coco_eval"])
@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_the_librarys_to_a_millionth(library: str, seed: int) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed: {coco_format.INSTALL}")
    found = detections(objects(12, seed=seed, crowd=0.15), seed=seed + 10, ties=seed % 2 == 1)
    result = library_stats(library, found)
    ours = precisions(found)
    wanted = {"mAP": 0, "AP50": 1, "AP75": 2}
    for metric, number in wanted.items():
        assert ours.mean(metric)[0] == pytest.approx(result[number], abs=1e-6)
    for number, area in enumerate(("small", "medium", "large"), 3):
        assert ours.mean("mAP", area)[0] == pytest.approx(result[number], abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_the_average_precision_of_each_class_is_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools", reason=f"pycocotools is not installed: {coco_format.INSTALL}")
    found = detections(objects(12, seed=seed), seed=seed + 10)
    evaluation = library_evaluation("pycocotools", found)
    ours = precisions(found)
    for name in ours.classes:
        values = evaluation.eval["precision"][:, :, name, 0, 2]
        assert ours.of_class(name)[0] == pytest.approx(values[values > -1].mean(), abs=1e-6)


def library_evaluation(library: str, found: Detections) -> object:
    names = [str(label) for label in range(CLASSES)]
    truth = coco_format.instances(found.objects, names)
    if library == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval as Evaluation

        known = COCO()
        known.dataset = truth
        known.createIndex()
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as Evaluation

        known = COCO(truth)
    evaluation = Evaluation(known, known.loadRes(coco_format.results(found)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def library_stats(library: str, found: Detections) -> np.ndarray:
    evaluation = library_evaluation(library, found)
    evaluation.summarize()  # type: ignore[attr-defined]
    return np.asarray(evaluation.stats)  # type: ignore[attr-defined]


def test_without_a_library_nothing_is_claimed_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(found: Detections) -> None:
        raise ImportError

    monkeypatch.setattr(coco_format, "_pycocotools", missing)
    monkeypatch.setattr(coco_format, "_faster_coco_eval", missing)
    assert coco_format.by_library(detections(objects(3))) is None


def test_boxes_are_cut_off_at_the_edges_where_that_is_asked_for() -> None:
    output = np.full((1, 4 + 2, 2, 2), -9.0, dtype=np.float32)
    output[0, :, 0, 0] = [0.0, 0.0, 3.0, 0.0, 5.0, -9.0]  # from half a cell before the image to far behind it
    where = placements(np.array([[100, 200]], np.int32), Preprocess(resize=64, squash=True))
    for clip, left, right in ((False, -50.0, 50 + 100 * math.exp(3)), (True, 0.0, 200.0)):
        use = DetectionUse(head="anchor-free", score_threshold=0.5, clip=clip)
        (found,) = Postprocessing(use=use).stored(output, where)
        np.testing.assert_allclose(found.boxes[0, [0, 2]], [left, right], rtol=1e-5)
