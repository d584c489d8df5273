"""Recurrent networks that read an image of 32x32 row by row and answer after the last one.

Source: Le et al. 2015, arXiv:1504.00941, section 4.3, where an image is a sequence of pixels; a row at a time is a
sequence 32 times as short. Gated recurrent units: Cho et al. 2014, arXiv:1406.1078, section 2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import Tensor, nn

from paretoboard.models.native import IMAGES_OF_32

if TYPE_CHECKING:
    from collections.abc import Callable

NATIVE: Final = IMAGES_OF_32


CHANNELS = 3
SIDE = 32
LAYERS = 2


class RowNetwork(nn.Module):
    """(n, 3, 32, 32) images to (n, classes) logits."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(CHANNELS * SIDE, width, num_layers=LAYERS, batch_first=True)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        rows = x.transpose(1, 2).flatten(2)  # (n, 32, 96): a row of all channels at a time
        states, _ = self.gru(rows)
        logits: Tensor = self.linear(states[:, -1])
        return logits


def _factory(width: int) -> Callable[..., nn.Module]:
    def build(classes: int = 10) -> nn.Module:
        return RowNetwork(width, classes)

    build.__doc__ = f"The network of {LAYERS} layers of {width} units."
    return build


gru_270k = _factory(156)
gru_41m = _factory(360)
