"""Training a network to live with INT8."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.techniques.distill import LogitsDistillation
from paretoboard.techniques.export import as_graph
from paretoboard.techniques.forms import own_float32_module
from paretoboard.techniques.quantize import graphs
from paretoboard.techniques.train import TrainingTechnique, trained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from torch import nn

    from paretoboard.artifact import Candidate
    from paretoboard.spec import TrainSettings
    from paretoboard.techniques import Applied, Need, Workbench
    from paretoboard.training import Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationAwareTraining(TrainingTechnique):
    """Train with weights and activations rounded as INT8 will round them, then export the quantized graph.

    Batch norm is folded before, and stays as it is. Weights are rounded to signed codes per output channel, by their
    own range at each step; activations to unsigned ones, by moving averages of their smallest and largest values.
    Weights that pruning set to zero stay zero. With `distill`, the task's teacher is learned from beside the labels, as
    in distill.logits. A step of training takes 1.6 times as long as without rounding (ResNet-20, one thread).
    """

    source = (
        "Jacob et al. 2018, arXiv:1712.05877, section 3, with batch norm folded before as in Nagel et al. 2021, "
        "arXiv:2106.08295, section 4.2; torchao.quantization.pt2e"
    )
    gives = "onnx"

    epochs: Annotated[int, Ge(1)] = 2
    lr: Annotated[float, Gt(0)] = 0.001
    weight_decay: Annotated[float, Ge(0)] = 1e-4
    distill: bool = False
    temperature: Annotated[float, Gt(0)] = 4.0  # of `distill`
    alpha: Annotated[float, Ge(0), Le(1)] = 0.9  # of `distill`: share of the teacher in the loss

    def needs_now(self) -> tuple[Need, ...]:
        """Training images, and a teacher where one is learned from."""
        return ("train", "teacher") if self.distill else ("train",)

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Train; an interrupted training is taken up where its last epoch ended.

        Raises:
            NotApplicableError: for an ONNX graph, for weights of fewer than 32 bits, where torchao is missing, and for
                a module that can't be traced or exported.
            DivergedError: for a loss that is not finite.
        """
        import torch

        from paretoboard.training import train

        fake = _fake_quantization()
        module = own_float32_module(candidate, "quantize.qat").requires_grad_(True)
        settings = self.settings(self.epochs, bench.train_settings)
        bench.progress(0.0, "tracing the model")
        images = bench.train_images()
        first = torch.from_numpy(preprocess_images(images.pixels[: settings.batch], bench.preprocess))
        rounded = fake.FakeQuantized(module, first)
        with self._loss(rounded, candidate, settings, bench) as loss:
            result = train(
                rounded,
                images,
                settings,
                preprocess=bench.preprocess,
                seed=bench.seed,
                checkpoint=bench.scratch / "qat.pt",
                checkpoint_every_s=bench.checkpoint_every_s,
                loss=loss,
                progress=bench.progress,
            )
        bench.progress(1.0, "exporting to ONNX")
        rounded.settle(first[:1])
        after = as_graph(dataclasses.replace(candidate, module=rounded.converted()))
        applied = trained(candidate, rounded, result)
        layers = f"{rounded.layers} layers rounded to INT8 while training"
        return dataclasses.replace(applied, candidate=after, notes=(layers, *applied.notes))

    @contextlib.contextmanager
    def _loss(
        self, rounded: nn.Module, candidate: Candidate, settings: TrainSettings, bench: Workbench
    ) -> Iterator[Loss | None]:
        """Cross-entropy if None."""
        if not self.distill:
            yield None
            return
        teaching = LogitsDistillation(epochs=self.epochs, temperature=self.temperature, alpha=self.alpha)
        with teaching.taught(rounded, candidate, settings, bench) as lesson:
            yield lesson


def _fake_quantization() -> ModuleType:
    """The module that needs torchao, whose import takes seconds.

    Raises: NotApplicableError where torchao is not installed.
    """
    try:
        with graphs.quiet():
            from paretoboard.techniques.quantize import fake_quantization
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "torchao":
            raise
        raise NotApplicableError("quantize.qat needs torchao: pip install 'paretoboard[quantize]'") from error
    return fake_quantization
