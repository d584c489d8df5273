"""Normalization as a part of the model, which then takes stored pixels as they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from paretoboard.artifact import PIXELS
from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.data.pipeline import with_input
from paretoboard.techniques.forms import own_float32_module

if TYPE_CHECKING:
    from torch import nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

_IMAGES: Final = 4  # that both networks are compared on
_SAME: Final = 1e-4  # of the largest logit: only the order of sums is another


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization(Technique):
    """Let the model normalize: its input is cast from uint8 when it is handed over, and nothing else is done to it."""

    source = (
        "Jacob et al. 2018, arXiv:1712.05877, section 3.2, on folding an affine layer into a convolution; exact at "
        "padded borders too"
    )
    takes = ("torch",)

    into: Literal["convolution", "layer"] = "convolution"  # the first convolution's weights, or a layer before it

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Change the layer that takes the images, and compare the answers of both networks.

        Raises: NotApplicableError for an ONNX graph, for weights of fewer than 32 bits, for a model that normalizes
            already, and for one whose images don't go into one convolution alone.
        """
        from paretoboard.techniques.data import folding

        module = own_float32_module(candidate, "data.normalize")
        after = with_input(candidate, bench, inside=True)
        if bench.preprocess.order == "bgr":
            raise NotApplicableError("data.normalize: the model takes blue before red, and stored pixels are red first")
        if candidate.preprocess_of(bench.preprocess) == PIXELS:
            raise NotApplicableError(
                "data.normalize: the model takes pixels as they are, there is nothing to normalize"
            )
        path, first = folding.first_convolution(module, candidate.input_shape)
        build = folding.folded if self.into == "convolution" else folding.preceded
        module.set_submodule(path, build(first, bench.preprocess))
        module.eval()
        self._compare(candidate, module, bench)
        note = f"normalization is a part of layer '{path}'; pixels are cast from uint8 and not touched else"
        return Applied(candidate=dataclasses.replace(after, module=module), notes=(note,))

    def _compare(self, candidate: Candidate, module: nn.Module, bench: Workbench) -> None:
        import numpy as np
        import torch

        from paretoboard.datasets.preprocess import preprocess_images

        assert candidate.module is not None
        shape = (_IMAGES, *candidate.input_shape)
        pixels = np.random.default_rng(bench.seed).integers(0, 256, shape, dtype=np.uint8)
        with torch.inference_mode():
            wanted = candidate.module(torch.from_numpy(preprocess_images(pixels, bench.preprocess)))
            found = module(torch.from_numpy(pixels).float())
        if not torch.allclose(found, wanted, rtol=0, atol=_SAME * float(wanted.abs().max())):
            raise NotApplicableError("data.normalize: the images go elsewhere in the model than into one convolution")
