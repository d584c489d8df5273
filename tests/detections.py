"""Objects, detections and detectors to test with."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from builders import metric, profile, recipe, run_record, run_spec
from paretoboard.detection.average_precision import drawn_weights, precisions
from paretoboard.plan import RunSpec
from paretoboard.records import Detections, MetricValue, Objects, RunRecord
from paretoboard.spec import DatasetUse, DetectionUse, ModelUse, QualityTarget, Subset

CLASSES = 3
SIDES = (240, 320)  # height and width of every image


def objects(images: int = 8, *, seed: int = 0, crowd: float = 0.1) -> Objects:
    """Up to six objects in each image, of all three sizes that COCO tells apart; some are crowds."""
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(0, images, 4 * images)).astype(np.int32)
    count = len(image)
    extent = np.exp(rng.uniform(np.log(8), np.log(200), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array(SIDES[::-1]) - extent)
    boxes = np.round(np.concatenate([corner, extent], axis=1), 2)
    return Objects(
        sizes=np.tile(np.array(SIDES, np.int32), (images, 1)),
        image=image,
        boxes=boxes,
        classes=rng.integers(0, CLASSES, count).astype(np.int16),
        areas=boxes[:, 2] * boxes[:, 3] * rng.uniform(0.6, 1.0, count),
        crowd=rng.uniform(size=count) < crowd,
    )


def detections(
    wanted: Objects, *, seed: int = 1, blur: float = 0.15, strays: int = 4, ties: bool = False
) -> Detections:
    """Most objects found, some twice, none exactly; and `strays` boxes in each image where nothing is."""
    rng = np.random.default_rng(seed)
    images = len(wanted.sizes)
    twice = np.repeat(np.arange(len(wanted.image)), rng.integers(0, 3, len(wanted.image)))
    near = wanted.boxes[twice] * np.exp(blur * rng.standard_normal((len(twice), 4)))
    stray = np.concatenate(
        [rng.uniform(0, 200, (strays * images, 2)), rng.uniform(5, 120, (strays * images, 2))], axis=1
    )
    image = np.concatenate([wanted.image[twice], np.repeat(np.arange(images, dtype=np.int32), strays)])
    wrong = rng.uniform(size=len(twice)) < 0.1
    guessed = np.where(wrong, rng.integers(0, CLASSES, len(twice)), wanted.classes[twice])
    classes = np.concatenate([guessed, rng.integers(0, CLASSES, strays * images)])
    scores = rng.uniform(0, 1, len(image))
    if ties:
        scores = np.round(scores, 1)
    order = np.lexsort((-scores, image))
    found = Detections(
        objects=wanted,
        image=image[order].astype(np.int32),
        boxes=np.concatenate([near, stray])[order].astype(np.float32),
        classes=classes[order].astype(np.int16),
        scores=scores[order].astype(np.float32),
        drawn=np.zeros((0, 3), np.float32),
    )
    return with_draws(found)


def with_draws(found: Detections, draws: int = 400) -> Detections:
    """With what a record keeps of images drawn again."""
    drawn = precisions(found, drawn_weights(len(found.objects.sizes), draws))
    kept = np.stack([drawn.mean(name) for name in ("mAP", "AP50", "AP75")], axis=1)
    return dataclasses.replace(found, drawn=kept.astype(np.float32))


def metrics(found: Detections) -> tuple[MetricValue, ...]:
    """mAP, AP50 and AP75 with the intervals of the draws, and mAP per class."""
    seen = precisions(found)
    values = []
    for place, name in enumerate(("mAP", "AP50", "AP75")):
        low, high = np.nanquantile(found.drawn[:, place], (0.025, 0.975))
        value = metric(name, float(seen.mean(name)[0]), n=len(found.objects.sizes))
        values.append(dataclasses.replace(value, low=float(low), high=float(high)))
    of_class = [metric("mAP", float(seen.of_class(name)[0]), f"class={name}", n=7) for name in seen.classes]
    return (*values, *of_class)


def spec(name: str = "baseline", **overrides: Any) -> RunSpec:
    """A cell of a plan over scenes of digits."""
    given: dict[str, Any] = {
        "task": "scenes/digits",
        "title": "A small detector on scenes of digits",
        "dataset": DatasetUse(name="digit-scenes", subset=Subset(name="test"), train=Subset(name="train")),
        "model": ModelUse(name="scene-detector"),
        "detection": DetectionUse(head="anchor-free"),
        "quality": QualityTarget(metric="mAP"),
        "recipe": recipe(name),
        "profile": profile(),
    }
    return run_spec(**{**given, **overrides})


def record(name: str = "baseline", found: Detections | None = None, **overrides: Any) -> RunRecord:
    """A measured run of a detector."""
    found = found if found is not None else detections(objects(30))
    made = run_record(name, spec=spec(name), **overrides)
    costs = [value for value in made.metrics if value.name not in {"top1", "top5", "precision", "recall", "f1"}]
    return dataclasses.replace(made, predictions=None, detections=found, metrics=(*metrics(found), *costs))
