"""OpenVINO's CPU plugin, in a precision that is set and verified."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.run.options import noted

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVino(Technique):
    """Export to ONNX and run in OpenVINO's CPU plugin.

    `precision` is that of the layers that are not quantized. OpenVINO itself would choose BF16 wherever the processor
    has it, for a float32 graph too; here it computes in what it is told, and that is looked at twice: in what the
    compiled model says, each time it is opened, and in its answers when it is built.
    """

    source = "OpenVINO documentation 'Precision Control' and 'CPU Device', hint INFERENCE_PRECISION_HINT"
    takes = ("torch", "onnx")
    gives = "onnx"
    runtime = "openvino"

    precision: Literal["f32", "bf16", "f16"] = "f32"
    threads: Annotated[int, Ge(1)] | None = None

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Export where that was not done yet, and compare answers with ONNX Runtime's in float32.

        Raises: NotApplicableError where OpenVINO is not installed, can't run the graph or does not compute in
            `precision` here, and for a module that can't be exported.
        """
        bench.progress(0.0, "exporting to ONNX")
        exported = as_graph(candidate)
        bench.progress(0.5, f"verifying that OpenVINO computes in {self.precision}")
        note = self._verified(exported, bench.seed)
        # What was noted for ONNX Runtime means nothing here.
        kept = {name: value for name, value in exported.execution.options.items() if name == "threads"}
        execution = dataclasses.replace(
            exported.execution, runtime="openvino", options={**kept, "precision": self.precision}
        )
        told = noted(dataclasses.replace(exported, execution=execution), threads=self.threads, options={})
        return Applied(candidate=told, notes=(note,))

    def _verified(self, candidate: Candidate, seed: int) -> str:
        from paretoboard.runtimes.openvino import OpenVinoSession, library, properties_of
        from paretoboard.techniques.run import precision

        version = library().__version__
        graph = candidate.graph
        assert graph is not None
        images = precision.noise_images(candidate, seed)
        properties = properties_of(1, self.precision)
        session = OpenVinoSession(graph, candidate.input_shape, properties, (len(images),))
        found = session.logits(session.run(session.prepare(images)))
        layers = session.layer_precisions()
        session.close()
        measured_db = precision.signal_to_noise_db(precision.reference_logits(graph, images), found)
        quantized = precision.is_quantized(graph)
        precision.check_precision(measured_db, self.precision, quantized=quantized, runtime="OpenVINO")
        parts = ", ".join(f"{count} in {name}" for name, count in sorted(layers.items()))
        return (
            f"OpenVINO {version.partition('-')[0]} computes in {self.precision}: {measured_db:.1f} dB from ONNX "
            f"Runtime's answers to the same graph; of its convolutions and matrix products {parts}"
        )
