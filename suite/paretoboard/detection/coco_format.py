"""Objects and detections as COCO writes them, and the same numbers from the field's own libraries."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from paretoboard.detection.average_precision import DRAWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import Detections, Objects

# What a person is told whose machine has neither.
INSTALL: Final = "pip install 'paretoboard[detection]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryResult:
    """What a library says of the same detections."""

    library: str  # name and version
    values: dict[str, float]  # "mAP", "AP50", "AP75"


def instances(objects: Objects, classes: Sequence[str]) -> dict[str, Any]:
    """A COCO "instances" file as a dict; images and objects are numbered from 1, classes from 1 in their order."""
    rows = zip(objects.image, objects.boxes, objects.classes, objects.areas, objects.crowd, strict=True)
    return {
        "info": {},
        "images": [
            {"id": number, "height": int(height), "width": int(width)}
            for number, (height, width) in enumerate(objects.sizes, 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": int(image) + 1,
                "category_id": int(label) + 1,
                "bbox": [float(value) for value in box],
                "area": float(area),
                "iscrowd": int(crowd),
            }
            for number, (image, box, label, area, crowd) in enumerate(rows, 1)
        ],
    }


def results(detections: Detections) -> list[dict[str, Any]]:
    """The boxes as COCO's results file has them, with the numbers of `annotations`."""
    rows = zip(detections.image, detections.boxes, detections.classes, detections.scores, strict=True)
    return [
        {
            "image_id": int(image) + 1,
            "category_id": int(label) + 1,
            "bbox": [float(value) for value in box],
            "score": float(score),
        }
        for image, box, label, score in rows
    ]


def by_library(detections: Detections) -> LibraryResult | None:
    """The same numbers from pycocotools or faster-coco-eval, whichever is installed; None where neither is.

    Neither can weigh images, which intervals need, so that ours are the numbers of the record; this is their check.
    """
    if not len(detections.scores):
        return None  # both libraries stop at a results file without a result
    for evaluate in (_pycocotools, _faster_coco_eval):
        with contextlib.suppress(ImportError), contextlib.redirect_stdout(io.StringIO()):
            return evaluate(detections)
    return None


def _pycocotools(detections: Detections) -> LibraryResult:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = _annotations_of(detections)
    truth.createIndex()
    return _summary("pycocotools", COCOeval(truth, truth.loadRes(results(detections)), "bbox"))


def _faster_coco_eval(detections: Detections) -> LibraryResult:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(_annotations_of(detections))
    return _summary("faster-coco-eval", COCOeval_faster(truth, truth.loadRes(results(detections)), "bbox"))


def _annotations_of(detections: Detections) -> dict[str, Any]:
    labels = [*detections.objects.classes.tolist(), *detections.classes.tolist()]
    return instances(detections.objects, [str(label) for label in range(max(labels, default=-1) + 1)])


def _summary(library: str, evaluation: Any) -> LibraryResult:
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    values = {name: float(value) for name, value in zip(DRAWN, evaluation.stats[: len(DRAWN)], strict=True)}
    return LibraryResult(library=f"{library} {version(library)}", values=values)
