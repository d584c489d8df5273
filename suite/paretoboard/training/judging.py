"""How well a network does on images kept from its training, and which of its weights did best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from paretoboard.training.precision import autocast
from paretoboard.training.stopping import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import TrainedEpoch
    from paretoboard.spec import TrainSettings
    from paretoboard.training.feed import Feed

_AT_ONCE: Final = 256  # images


def score(module: nn.Module, feed: Feed, settings: TrainSettings) -> tuple[float, float]:
    """Share of the feed's held-out images that is right, and their mean cross-entropy; as stored, not augmented.

    The module is left in evaluation mode.
    """
    module.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for places in feed.held_out.split(_AT_ONCE):
            batch = feed.as_stored(places)
            with autocast(settings.precision):
                logits = module(batch.images).float()
            right += int((logits.argmax(1) == batch.labels).sum())
            loss += float(nn.functional.cross_entropy(logits, batch.labels, reduction="sum"))
    return right / len(feed.held_out), loss / len(feed.held_out)


class Best:
    """The weights of the epoch that did best on held-out images, kept where training may stop early."""

    def __init__(self, settings: TrainSettings) -> None:
        self._patience = settings.patience
        self._weights: dict[str, Tensor] | None = None
        self.epoch: int | None = None  # from 1
        self.over = False  # whether it is long enough ago

    def look(self, module: nn.Module, curve: Sequence[TrainedEpoch]) -> None:
        """Take in the last point of `curve`, with the weights that it is about."""
        if self._patience is None:
            return
        found = judge([point.held_out_top1 or 0.0 for point in curve], patience=self._patience)
        self.over = found.stop
        if found.best == len(curve) - 1:
            self.epoch = curve[-1].epoch
            self._weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def settle(self, module: nn.Module) -> None:
        """Give `module` the best weights, where some were kept."""
        if self._weights is not None:
            module.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"weights": self._weights, "epoch": self.epoch, "over": self.over}

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self._weights, self.epoch, self.over = state["weights"], state["epoch"], state["over"]
