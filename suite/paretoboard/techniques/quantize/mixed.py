"""INT8 where it does no harm: the layers that suffer most from it stay in float."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from annotated_types import Ge, Gt, Le

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques import Applied
from paretoboard.techniques.quantize import graphs
from paretoboard.techniques.quantize.post_training import CalibratedQuantization

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

_NAMED_IN_NOTES: Final = 8  # layers; the notes of a deep network would fill a page
_BATCH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What quantizing one layer alone does to the outputs."""

    node: str  # its name in the graph
    layer: str  # what a person calls it
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedQuantization(CalibratedQuantization):
    """INT8 for all layers but the most sensitive ones, which compute in float.

    A layer's sensitivity is how far the logits of calibration images move when it alone is quantized, and the layers
    that stay in float are the `float_layers` most sensitive ones, a share of all, or as few as keep the error of the
    whole network within `largest_error`. It costs one quantization and one pass over `images` for each layer.
    """

    source = "Wu et al. 2020, arXiv:2004.09602, section 5.1, partial quantization by one-layer-at-a-time sensitivity"

    float_layers: Annotated[int, Ge(1)] | None = None
    float_share: Annotated[float, Gt(0), Le(1)] | None = None  # of the layers with weights, rounded to whole ones
    largest_error: Annotated[float, Gt(0)] | None = None  # of the mixed network against the float one, by `error`
    error: Literal["kl", "mse"] = "kl"  # divergence of the classes in nats, or mean square of the logits' difference
    images: Annotated[int, Ge(1)] = 256  # of the calibration images, those that sensitivities are measured on

    def __post_init__(self) -> None:
        given = [value for value in (self.float_layers, self.float_share, self.largest_error) if value is not None]
        if len(given) != 1:
            raise InputError(
                "needs exactly one of 'float_layers', 'float_share' and 'largest_error' to say how many layers stay "
                f"in float; found {len(given)}"
            )

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Measure every layer's sensitivity, then quantize all but the layers that stay in float.

        Raises: NotApplicableError for a detector where `error` is of classes, for a module that can't be exported, for
            a graph that is quantized already or has no layers with stored weights, and for an error that can't be kept.
        """
        if bench.detection is not None and self.error == "kl":
            raise NotApplicableError(
                "quantize.mixed: error 'kl' is of one class for each image, and a detector gives boxes; 'mse' would be "
                "right"
            )
        bench.progress(0.0, "exporting to ONNX")
        exported = graphs.float_graph(candidate, "quantize.mixed")
        assert exported.graph is not None
        images = preprocess_images(bench.calibration_images().pixels, bench.preprocess)
        with graphs.drafts(bench.scratch) as (prepared, ranges, draft):
            layers = graphs.weighted_layers(graphs.prepare(exported.graph, prepared))
            if not layers:
                raise NotApplicableError("quantize.mixed: the model has no convolution or matrix product with weights")
            bench.progress(0.05, f"calibrating on {len(images)} images")
            self.calibrated(prepared, images, ranges)
            last = graphs.after_last_weights(prepared) if bench.detection is not None else []
            trial = _Trial(self, prepared, ranges, draft, images[: self.images], last)
            ranked = []
            for index, (node, weight) in enumerate(layers):
                bench.progress(0.1 + 0.8 * index / len(layers), f"quantizing only layer {index + 1} of {len(layers)}")
                error = trial.error(trial.graph(only=[node.name]))
                ranked.append(Sensitivity(node=node.name, layer=_layer(node.name, weight.name), error=error))
            ranked.sort(key=lambda found: -found.error)
            bench.progress(0.9, "quantizing")
            kept = self._kept(ranked, trial)
            graph = trial.graph(but=[found.node for found in ranked[:kept]])
            notes = (*self._notes(ranked, kept), f"error of the whole network {trial.error(graph):.3g}")
        options = {**exported.execution.options, "keep_float": True}
        execution = dataclasses.replace(exported.execution, options=options)
        after = dataclasses.replace(exported, graph=graph, execution=execution)
        return Applied(candidate=after, images_seen=len(images), notes=notes)

    def _kept(self, ranked: Sequence[Sensitivity], trial: _Trial) -> int:
        """How many of the `ranked` layers, most sensitive first, stay in float."""
        if self.float_layers is not None:
            return min(self.float_layers, len(ranked))
        if self.float_share is not None:
            return round(self.float_share * len(ranked))
        assert self.largest_error is not None

        def error(kept: int) -> float:
            return trial.error(trial.graph(but=[found.node for found in ranked[:kept]]))

        low, high = -1, len(ranked)  # too few, and enough
        if (least := error(high)) > self.largest_error:
            raise NotApplicableError(
                f"asked for an error of at most {self.largest_error:g}; with all {high} layers in float it is "
                f"{least:.3g}, from what is quantized between them"
            )
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if error(middle) <= self.largest_error else (middle, high)
        return high

    def _notes(self, ranked: Sequence[Sensitivity], kept: int) -> tuple[str, ...]:
        measure = {"kl": "KL divergence of the classes in nats", "mse": "mean squared error of the logits"}[self.error]

        def listed(found: Sequence[Sensitivity]) -> str:
            rest = f" and {len(found) - _NAMED_IN_NOTES} more" if len(found) > _NAMED_IN_NOTES else ""
            return ", ".join(f"{one.layer} ({one.error:.3g})" for one in found[:_NAMED_IN_NOTES]) + rest

        most = f"{kept} of {len(ranked)} layers stay in float: {listed(ranked[:kept])}" if kept else "no layer in float"
        least = f"in INT8: {listed(ranked[kept:])}" if kept < len(ranked) else "no layer in INT8"
        return most, least, f"sensitivities: {measure}, each layer quantized alone, on up to {self.images} images"


class _Trial:
    """Quantizes this and that of one prepared graph, and compares the outputs with those of the float graph."""

    def __init__(
        self,
        made: MixedQuantization,
        prepared: Path,
        ranges: Path,
        draft: Path,
        images: NDArray[np.float32],
        last: Sequence[str],
    ) -> None:
        self._made, self._prepared, self._ranges, self._draft = made, prepared, ranges, draft
        self._images, self._last = images, last
        self._wanted = self._logits(prepared.read_bytes())

    def graph(self, *, only: Sequence[str] | None = None, but: Sequence[str] = ()) -> bytes:
        """The graph with `only` these nodes quantized, or all `but` these and the `last` ones."""
        return self._made.quantized(self._prepared, self._ranges, self._draft, only=only, but=[*but, *self._last])

    def error(self, graph: bytes) -> float:
        """How far the logits of `graph` are from those of the float graph."""
        measure = {"kl": kl_divergence, "mse": mean_squared_error}[self._made.error]
        return measure(self._wanted, self._logits(graph))

    def _logits(self, graph: bytes) -> NDArray[np.float32]:
        import numpy as np

        from paretoboard.runtimes.ort import inference_session, session_options

        session = inference_session(graph, session_options(len(os.sched_getaffinity(0)), keep_float=True))
        (feed,) = session.get_inputs()
        batches = [self._images[start : start + _BATCH] for start in range(0, len(self._images), _BATCH)]
        return np.concatenate([session.run(None, {feed.name: batch})[0] for batch in batches])


def kl_divergence(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Mean over images of KL(wanted || found) of the classes of two (n, classes) logits, in nats."""
    import numpy as np
    from scipy.special import log_softmax

    sure, guessed = log_softmax(wanted.astype("f8"), axis=1), log_softmax(found.astype("f8"), axis=1)
    return float((np.exp(sure) * (sure - guessed)).sum(axis=1).mean())


def mean_squared_error(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Mean of the squared difference of two outputs, (n, classes) logits or what a detector gives."""
    return float(((wanted.astype("f8") - found) ** 2).mean())


def _layer(node: str, weight: str) -> str:
    """`layer1.0.conv1` of the weight `layer1.0.conv1.weight`; the node's name where the weight's tells nothing."""
    return weight.removesuffix(".weight") if weight.endswith(".weight") else node
