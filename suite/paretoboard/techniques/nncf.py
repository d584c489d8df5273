"""INT8 by NNCF, OpenVINO's own tool for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.quantize import graphs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class NncfQuantization(Technique):
    """INT8 weights and activations, with ranges and biases corrected by what NNCF sees on calibration images.

    It leaves one ONNX graph in QDQ format, which OpenVINO and ONNX Runtime run. NNCF on a model of OpenVINO's own
    format was no faster (450 us a call against 421 us) and as far from the float network (8.8 and 8.9 dB, random
    weights), in two files (ResNet-20 at batch 1, one Zen 4 core, 2026-11).
    """

    source = "NNCF documentation 'Post-Training Quantization', nncf.quantize on an ONNX model, target CPU"
    takes = ("onnx",)
    gives = "onnx"
    needs = ("calibration",)

    # Performance: symmetric ranges everywhere; mixed: asymmetric ones for activations.
    preset: Literal["performance", "mixed"] = "performance"
    # Fast: biases are corrected by statistics of one pass; else layer by layer, which takes many.
    bias_correction: Literal["fast", "accurate"] = "fast"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Quantize all operators that NNCF knows to be INT8 in OpenVINO's CPU plugin.

        Raises: NotApplicableError where NNCF is not installed, and for a module that can't be exported or a graph that
            is quantized already.
        """
        _library()
        bench.progress(0.0, "exporting to ONNX")
        exported = graphs.float_graph(candidate, "quantize.nncf")
        images = bench.calibration_images()
        bench.progress(0.3, f"calibrating on {len(images)} images")
        assert exported.graph is not None
        graph = self._quantized(exported.graph, preprocess_images(images.pixels, bench.preprocess))
        note = f"NNCF corrected ranges and biases on {len(images)} images"
        return Applied(candidate=dataclasses.replace(exported, graph=graph), images_seen=len(images), notes=(note,))

    def _quantized(self, graph: bytes, images: NDArray[np.float32]) -> bytes:
        nncf = _library()
        model = graphs.parsed(graph)
        name = model.graph.input[0].name
        # One image at a time, as documented: statistics are taken over calls.
        feeds = nncf.Dataset([{name: images[index : index + 1]} for index in range(len(images))])
        with graphs.quiet():
            quantized = nncf.quantize(
                model,
                feeds,
                preset=nncf.QuantizationPreset(self.preset),
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(images),
                fast_bias_correction=self.bias_correction == "fast",
            )
        return graphs.serialized(quantized)


def _library() -> Any:
    """NNCF, imported so that it reports to nobody and says only what went wrong.

    Raises: NotApplicableError where it is not installed.
    """
    from paretoboard.runtimes.openvino import INSTALL, without_telemetry

    try:
        with without_telemetry(), graphs.quiet():
            import nncf
    except ImportError as error:
        raise NotApplicableError(f"NNCF can't be imported ({error}): {INSTALL}") from error
    return nncf
