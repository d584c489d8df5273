"""INT8 without training: activation ranges from calibration images, or found at each call."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.quantize import graphs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

# Histogram calibration keeps the activations of all batches at once; min-max keeps two numbers of each.
_CALIBRATION_BATCH: Final = 32
# Migacz 2017, '8-bit Inference with TensorRT': 2,048 bins merged into 128, on either side of zero. An eighth of the
# bins here, since ONNX Runtime's search takes minutes with all of them.
_ENTROPY_OPTIONS: Final = {"num_bins": 512, "num_quantized_bins": 256}
_METHODS: Final = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedQuantization(Technique):
    """The parameters of techniques that take the ranges of activations from calibration images."""

    takes = ("onnx",)
    gives = "onnx"
    needs = ("calibration",)

    per_channel: bool = True
    calibrate: Literal["minmax", "entropy", "percentile"] = "minmax"
    # Unsigned activations with signed weights are the fast kernels on x86; without VNNI they can saturate.
    activations: Literal["uint8", "int8"] = "uint8"
    symmetric: bool = False  # whether 0 is the middle of the range of activations; that wastes half of it after a ReLU

    def calibrated(self, prepared: Path, images: NDArray[np.float32], ranges: Path) -> None:
        """Write the ranges of all activations of `prepared` on preprocessed `images`, as quantize_static reads them."""
        from onnxruntime.quantization import calibrate

        # Left to quantize_static, entropy would get a histogram of as many bins as there are quantized ones: nothing
        # to choose, and the same result as minmax.
        calibrator = calibrate.create_calibrator(
            prepared,
            augmented_model_path=str(ranges.with_suffix(".onnx")),
            calibrate_method=self._method(),
            providers=["CPUExecutionProvider"],
            # Left to itself, percentile takes ranges that are symmetric whatever the activations are.
            extra_options={"symmetric": self.symmetric} | (_ENTROPY_OPTIONS if self.calibrate == "entropy" else {}),
        )
        calibrator.collect_data(graphs.reader(images, _CALIBRATION_BATCH))
        calibrate.save_tensors_data(calibrator.compute_data(), ranges)

    def quantized(
        self,
        prepared: Path,
        ranges: Path,
        draft: Path,
        *,
        only: Sequence[str] | None = None,
        but: Sequence[str] = (),
    ) -> bytes:
        """The graph in `prepared`, quantized with the `ranges` that `calibrated` wrote.

        Args:
            draft: a file that may be written.
            only: names of the nodes to quantize, all that ONNX Runtime has INT8 kernels for if None.
            but: names of nodes to leave in float.
        """
        from onnxruntime import quantization

        types = {"uint8": quantization.QuantType.QUInt8, "int8": quantization.QuantType.QInt8}
        quantization.quantize_static(
            str(prepared),
            str(draft),
            None,
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=self.per_channel,
            activation_type=types[self.activations],
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=list(only) if only is not None else [],
            nodes_to_exclude=[*but, *graphs.float_only(prepared)],
            calibrate_method=self._method(),
            calibration_cache_path=str(ranges),
            extra_options={"ActivationSymmetric": self.symmetric},
        )
        return graphs.serialized(graphs.parsed(draft.read_bytes()))

    def _method(self) -> Any:
        from onnxruntime.quantization import CalibrationMethod

        return getattr(CalibrationMethod, _METHODS[self.calibrate])


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticQuantization(CalibratedQuantization):
    """INT8 weights and activations, with the ranges of activations from calibration images."""

    source = "Jacob et al. 2018, arXiv:1712.05877, section 2; onnxruntime.quantization.quantize_static, QDQ format"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Quantize all operators that ONNX Runtime has INT8 kernels for.

        Raises: NotApplicableError for a module that can't be exported, and for a graph that is quantized already.
        """
        bench.progress(0.0, "exporting to ONNX")
        exported = graphs.float_graph(candidate, "quantize.static")
        assert exported.graph is not None
        images = bench.calibration_images()
        bench.progress(0.3, f"calibrating on {len(images)} images")
        with graphs.drafts(bench.scratch) as (prepared, ranges, draft):
            graphs.prepare(exported.graph, prepared)
            self.calibrated(prepared, preprocess_images(images.pixels, bench.preprocess), ranges)
            last = graphs.after_last_weights(prepared) if bench.detection is not None else []
            graph = self.quantized(prepared, ranges, draft, but=last)
        notes = [f"activation ranges from {len(images)} images"]
        if last:
            notes.append(f"the {len(last)} operators after the last convolutions stay in float")
        return Applied(
            candidate=dataclasses.replace(exported, graph=graph), images_seen=len(images), notes=tuple(notes)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicQuantization(Technique):
    """INT8 weights; the ranges of activations are found anew at each call."""

    source = "onnxruntime.quantization.quantize_dynamic, its documented defaults"
    takes = ("onnx",)
    gives = "onnx"

    per_channel: bool = False

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Quantize convolutions and matrix products.

        Raises: NotApplicableError for a module that can't be exported, and for a graph that is quantized already.
        """
        from onnxruntime import quantization

        bench.progress(0.0, "exporting to ONNX")
        exported = graphs.float_graph(candidate, "quantize.dynamic")
        assert exported.graph is not None
        with graphs.drafts(bench.scratch) as (prepared, _, draft):
            graphs.prepare(exported.graph, prepared)
            # ONNX Runtime has no kernel for signed weights in ConvInteger.
            quantization.quantize_dynamic(
                str(prepared),
                str(draft),
                per_channel=self.per_channel,
                weight_type=quantization.QuantType.QUInt8,
            )
            graph = graphs.serialized(graphs.parsed(draft.read_bytes()))
        return Applied(candidate=dataclasses.replace(exported, graph=graph))
