"""Another size of input for the same network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le

from paretoboard.errors import NotApplicableError
from paretoboard.techniques import Applied, Technique
from paretoboard.techniques.forms import require_module

if TYPE_CHECKING:
    from torch import nn

    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSize(Technique):
    """Give the network images of another size, resized from the stored ones as the task does; nothing is trained.

    Fewer pixels are fewer MACs, by the square of the side, and small objects that are no longer seen.
    """

    source = "Huang et al. 2017, Speed/accuracy trade-offs for modern convolutional object detectors, arXiv:1611.10012"
    takes = ("torch",)

    side: Annotated[int, Ge(16), Le(4096)]

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Note the size, after the network gave numbers for it.

        Raises: NotApplicableError for an ONNX graph, for images that the task does not resize to a square, and for a
            size that the network can't take, or that is no whole number of a detector's cells.
        """
        module = require_module(candidate, "detect.input_size")
        if not bench.preprocess.makes_squares:
            raise NotApplicableError(
                "detect.input_size: the task makes no squares of its images by resizing: it resizes none, or crops them"
            )
        channels, before, _ = candidate.input_shape
        try:
            grid_before, grid = (_grid(module, channels, side) for side in (before, self.side))
        except RuntimeError as error:
            raise NotApplicableError(
                f"detect.input_size: the network takes no {self.side}x{self.side}: {error}"
            ) from error
        # Where a cell lies is told from its share of the grid, which an image of half a cell more would shift.
        if bench.detection is not None and grid[0] * before != grid_before[0] * self.side:
            raise NotApplicableError(
                f"detect.input_size: {self.side} pixels are no whole number of cells of {before // grid_before[0]}; a "
                "multiple of that would be right"
            )
        cells = f", a grid of {'x'.join(map(str, grid))} cells" if grid else ""
        note = f"images of {self.side}x{self.side} pixels instead of {before}x{before}{cells}"
        after = dataclasses.replace(candidate, input_shape=(channels, self.side, self.side))
        return Applied(candidate=after, notes=(note,))


def _grid(module: nn.Module, channels: int, side: int) -> tuple[int, ...]:
    """Rows and columns of what the network gives for an image; () where that is a number for each class."""
    import torch

    images = torch.zeros((1, channels, side, side), dtype=next(module.parameters()).dtype)
    with torch.inference_mode():
        return tuple(module(images).shape[2:])
