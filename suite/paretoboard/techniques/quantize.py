"""Fewer bits for weights and activations."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.forms import require_module

if TYPE_CHECKING:
    from collections.abc import Iterator
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
class Cast(Technique):
    """Store weights and compute in a 16-bit float."""

    source = "Kalamkar et al. 2019, arXiv:1905.12322 (bfloat16); Micikevicius et al. 2018, arXiv:1710.03740 (float16)"
    takes = ("torch",)

    dtype: Literal["bfloat16", "float16"] = "bfloat16"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:  # noqa: ARG002
        """Cast all weights and running statistics; inputs are cast before the timed call.

        Raises: NotApplicableError for an ONNX graph.
        """
        import torch

        module = copy.deepcopy(require_module(candidate, "quantize.cast")).to(getattr(torch, self.dtype))
        execution = dataclasses.replace(candidate.execution, dtype=self.dtype)
        return Applied(candidate=dataclasses.replace(candidate, module=module, execution=execution))


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticQuantization(Technique):
    """INT8 weights and activations, with the ranges of activations from calibration images."""

    source = "Jacob et al. 2018, arXiv:1712.05877, section 2; onnxruntime.quantization.quantize_static, QDQ format"
    takes = ("onnx",)
    gives = "onnx"
    needs = ("calibration",)

    per_channel: bool = True
    calibrate: Literal["minmax", "entropy", "percentile"] = "minmax"
    # Unsigned activations with signed weights are the fast kernels on x86; without VNNI they can saturate.
    activations: Literal["uint8", "int8"] = "uint8"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Quantize all operators that ONNX Runtime has INT8 kernels for.

        Raises: NotApplicableError for a module that can't be exported.
        """
        bench.progress(0.0, "exporting to ONNX")
        exported = _float_graph(candidate, "quantize.static")
        images = bench.calibration_images()
        bench.progress(0.3, f"calibrating on {len(images)} images")
        graph = self._quantized(exported, preprocess_images(images.pixels, bench.preprocess), bench.scratch)
        note = f"activation ranges from {len(images)} images"
        return Applied(candidate=dataclasses.replace(exported, graph=graph), images_seen=len(images), notes=(note,))

    def _quantized(self, candidate: Candidate, images: NDArray[np.float32], scratch: Path) -> bytes:
        from onnxruntime import quantization

        activations = quantization.QuantType.QUInt8 if self.activations == "uint8" else quantization.QuantType.QInt8
        method = getattr(quantization.CalibrationMethod, _METHODS[self.calibrate])
        assert candidate.graph is not None
        with _drafts(scratch) as (prepared, ranges, quantized):
            quantization.quant_pre_process(_model(candidate.graph), str(prepared))
            _calibrate(prepared, images, method, ranges)
            quantization.quantize_static(
                str(prepared),
                str(quantized),
                None,
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=self.per_channel,
                activation_type=activations,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=method,
                calibration_cache_path=str(ranges),
            )
            return _serialized(quantized)


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicQuantization(Technique):
    """INT8 weights; the ranges of activations are found anew at each call."""

    source = "onnxruntime.quantization.quantize_dynamic, its documented defaults"
    takes = ("onnx",)
    gives = "onnx"

    per_channel: bool = False

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Quantize convolutions and matrix products.

        Raises: NotApplicableError for a module that can't be exported.
        """
        from onnxruntime import quantization

        bench.progress(0.0, "exporting to ONNX")
        exported = _float_graph(candidate, "quantize.dynamic")
        assert exported.graph is not None
        with _drafts(bench.scratch) as (prepared, _, quantized):
            quantization.quant_pre_process(_model(exported.graph), str(prepared))
            # ONNX Runtime has no kernel for signed weights in ConvInteger.
            quantization.quantize_dynamic(
                str(prepared),
                str(quantized),
                per_channel=self.per_channel,
                weight_type=quantization.QuantType.QUInt8,
            )
            graph = _serialized(quantized)
        return Applied(candidate=dataclasses.replace(exported, graph=graph))


def _float_graph(candidate: Candidate, technique: str) -> Candidate:
    """`candidate` as a graph without a quantized operator.

    Raises: NotApplicableError where it is quantized already.
    """
    exported = as_graph(candidate)
    assert exported.graph is not None
    if any("Quantize" in node.op_type for node in _model(exported.graph).graph.node):
        raise NotApplicableError(f"{technique}: the model is quantized already")
    return exported


def _model(graph: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(graph)


def _serialized(path: Path) -> bytes:
    model = _model(path.read_bytes())
    # Shapes are inferred again when the graph is loaded; what is kept is what is run.
    del model.graph.value_info[:]
    del model.metadata_props[:]
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _reader(images: NDArray[np.float32]) -> Any:
    """The images, batch after batch, as ONNX Runtime's calibration wants them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            starts = range(0, len(images), _CALIBRATION_BATCH)
            self._feeds = iter([{"images": images[start : start + _CALIBRATION_BATCH]} for start in starts])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._feeds, None)

    return Reader()


def _calibrate(model: Path, images: NDArray[np.float32], method: Any, ranges: Path) -> None:
    """Write the ranges of all activations of `model` on `images`, as quantize_static reads them."""
    from onnxruntime.quantization import CalibrationMethod, calibrate

    # Left to quantize_static, entropy would get a histogram of as many bins as there are quantized ones: nothing to
    # choose, and the same result as minmax.
    calibrator = calibrate.create_calibrator(
        model,
        augmented_model_path=str(ranges.with_suffix(".onnx")),
        calibrate_method=method,
        providers=["CPUExecutionProvider"],
        extra_options=_ENTROPY_OPTIONS if method is CalibrationMethod.Entropy else {},
    )
    calibrator.collect_data(_reader(images))
    calibrate.save_tensors_data(calibrator.compute_data(), ranges)


@contextlib.contextmanager
def _drafts(scratch: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Three files in `scratch` that are gone afterwards, and the library's chatter kept from the user."""
    files = scratch / "prepared.onnx", scratch / "ranges.json", scratch / "quantized.onnx"
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield files
    finally:
        logging.disable(before)
        for file in (*files, scratch / "ranges.onnx"):
            file.unlink(missing_ok=True)
