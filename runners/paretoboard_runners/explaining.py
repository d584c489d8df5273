"""How far what a recipe's model looks at moved from what the baseline looks at, on a fixed sample of images."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paretoboard.errors import NotApplicableError
from paretoboard.records import ExplainedImage, ExplanationShift, MetricValue
from paretoboard.spec import DatasetUse, MeasureSpec, Preprocess
from paretoboard_runners.measured import measured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Candidate
    from paretoboard.datasets import Images
    from paretoboard.runtimes.gradcam import Maps
    from paretoboard_runners.supervise import Emitter

PICTURES: Final = 3  # of the images whose explanation moved most
_METHOD: Final = "Grad-CAM, linear correlation of the maps for the class that the baseline names"
_GRAPH: Final = "not possible: {} is an ONNX graph, and Grad-CAM needs the gradients of a torch model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainJob:
    """Compare an artifact's explanations with the baseline's."""

    artifact: Path
    baseline: Path
    dataset: DatasetUse
    preprocess: Preprocess
    data_root: Path
    images: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One image; its picture, if it has one, is a file of the job's folder."""

    image: str
    similarity: float
    picture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainResult:
    """The sample, the images whose explanation moved most first; or why there is nothing to compare."""

    method: str
    images: tuple[Explained, ...] = ()
    reason: str = ""

    def shift(self, folder: Path) -> ExplanationShift:
        """The same with its pictures, for the record."""
        return ExplanationShift(
            method=self.method,
            images=tuple(
                ExplainedImage(
                    image=found.image,
                    similarity=found.similarity,
                    picture=(folder / found.picture).read_bytes() if found.picture else b"",
                )
                for found in self.images
            ),
            reason=self.reason,
        )

    def metrics(self) -> tuple[MetricValue, ...]:
        """The mean similarity, with Student's interval over images; none where nothing was compared."""
        if not self.images:
            return ()
        from paretoboard import stats

        similarities = [found.similarity for found in self.images]
        mean = stats.mean_interval(similarities) if len(similarities) > 1 else None
        ends = stats.Interval(low=max(-1.0, mean.low), high=min(1.0, mean.high)) if mean else None
        value = mean.value if mean else similarities[0]
        return (measured("explanation_similarity", value, len(similarities), interval=ends),)


def require(measure: MeasureSpec, find: Callable[[str], object] = importlib.util.find_spec) -> None:
    """Check that the explanations that a task asks for can be computed, before anything else is done for it.

    Raises: NotApplicableError with the command that installs Captum.
    """
    if measure.explain and find("captum") is None:
        raise NotApplicableError("explanations need Captum, which is not installed: pip install 'paretoboard[explain]'")


def sample(ids: Sequence[str], count: int) -> list[int]:
    """Places of `count` images: those whose ids have the smallest SHA-256, whatever their order and what is added."""
    order = sorted(range(len(ids)), key=lambda place: hashlib.sha256(ids[place].encode()).digest())
    return sorted(order[:count])


def explain(job: ExplainJob, folder: Path, emit: Emitter) -> ExplainResult:
    """Both models' maps of the sample and how alike they are; a PNG each of the PICTURES that are least alike."""
    import torch

    from paretoboard import artifact, datasets

    for which, path in (("the artifact", job.artifact), ("the baseline", job.baseline)):
        if artifact.read_manifest(path).form != "torch":
            return ExplainResult(method=_METHOD, reason=_GRAPH.format(which))
    torch.set_num_threads(job.threads)
    images = datasets.read_subset(job.dataset, job.dataset.subset, job.data_root, job.preprocess)
    chosen = images.select(tuple(images.ids[place] for place in sample(images.ids, job.images)))
    emit({"stage": "quality", "done": 0.0, "text": f"explanations of {len(chosen)} images"})
    try:
        baseline, ours = _maps(artifact.load(job.baseline), artifact.load(job.artifact), chosen, job.preprocess)
    except (NotApplicableError, RuntimeError) as error:  # RuntimeError: torch's, for an operator without a gradient
        return ExplainResult(method=_METHOD, reason=f"not possible: {error}")
    return ExplainResult(
        method=f"{_METHOD}; read at {ours.layer}, the baseline at {baseline.layer}",
        images=_compared(chosen, baseline, ours, folder),
    )


def _maps(baseline: Candidate, ours: Candidate, images: Images, preprocess: Preprocess) -> tuple[Maps, Maps]:
    from paretoboard.datasets.preprocess import preprocess_images
    from paretoboard.runtimes import gradcam

    def inputs(candidate: Candidate) -> NDArray[np.float32]:
        return preprocess_images(images.pixels, candidate.preprocess_of(preprocess))

    # Both are asked about the same class, the baseline's answer: a recipe that answers otherwise is asked why not.
    classes = gradcam.answers(baseline, inputs(baseline))
    first, second = (gradcam.grad_cam(candidate, inputs(candidate), classes) for candidate in (baseline, ours))
    height, width = first.values.shape[1:]
    return first, gradcam.Maps(layer=second.layer, values=gradcam.resized(second.values, height, width))


def _compared(images: Images, baseline: Maps, ours: Maps, folder: Path) -> tuple[Explained, ...]:
    from paretoboard import stats
    from paretoboard_runners.pictures import compared_maps

    similarities = stats.map_correlation(baseline.values, ours.values)
    found = []
    for rank, place in enumerate(similarities.argsort(kind="stable").tolist()):
        name = f"explanation-{rank}.png" if rank < PICTURES else ""
        if name:
            maps = (baseline.values[place], ours.values[place])
            (folder / name).write_bytes(compared_maps(images.pixels[place], maps))
        found.append(Explained(image=images.ids[place], similarity=float(similarities[place]), picture=name))
    return tuple(found)
