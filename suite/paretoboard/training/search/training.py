"""Trying settings: a fresh network trained on most of the training images and judged by the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from paretoboard.datasets import Images
from paretoboard.errors import DivergedError, NotApplicableError
from paretoboard.plan import digest, plain
from paretoboard.spec import Preprocess, TrainSettings
from paretoboard.training import train, weights_digest
from paretoboard.training.feed import Feed
from paretoboard.training.search.trials import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.records import TrainedEpoch
    from paretoboard.training.search.trials import Ending


class _PrunedError(Exception):
    """Ends a training from within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutTraining:
    """Trains and judges; every trial from the same weights, on the same images in the same order."""

    fresh: Callable[[], nn.Module]
    images: Images  # those that are held out among them
    settings: TrainSettings  # what a trial does not choose; it holds images out, and no clock or rule ends it early
    preprocess: Preprocess
    seed: int
    checkpoint: Path  # of the trial in hand
    checkpoint_every_s: float
    progress: Callable[[float, str], None]  # of one trial

    @property
    def identity(self) -> str:
        """All that decides what settings come to."""
        rest = [weights_digest(self.fresh()), self.seed, torch.get_num_threads(), torch.__version__]
        return digest([self.feed().identity, plain(self.settings), *rest])

    @property
    def trained_on(self) -> int:
        """Images that are not held out."""
        return len(self.images) - len(self.feed().held_out)

    def feed(self, settings: TrainSettings | None = None) -> Feed:
        """What trials with these settings are trained on.

        Raises: NotApplicableError where nothing can be held out.
        """
        feed = Feed(self.images, settings or self.settings, self.preprocess, seed=self.seed)
        if not len(feed.held_out):
            raise NotApplicableError("no class has two training images: none can be held out")
        return feed

    def __call__(self, settings: Mapping[str, Any], report: Callable[[int, float], bool]) -> Outcome:
        """Train for the epochs of `self.settings`, unless pruned.

        What diverges is worth nothing, and the epoch in which it did counts whole.
        """
        module, wanted = self.fresh(), dataclasses.replace(self.settings, **settings)
        feed = self.feed(wanted)
        value, epochs = 0.0, 0

        def judged(point: TrainedEpoch) -> None:
            nonlocal value, epochs
            assert point.held_out_top1 is not None
            value, epochs = point.held_out_top1, point.epoch
            if report(epochs, value):
                raise _PrunedError

        ending: Ending = "whole"
        try:
            train(
                module,
                self.images,
                wanted,
                preprocess=self.preprocess,
                seed=self.seed,
                checkpoint=self.checkpoint,
                checkpoint_every_s=self.checkpoint_every_s,
                judged=judged,
                progress=self.progress,
            )
        except _PrunedError:
            ending = "pruned"
        except DivergedError:
            ending, value, epochs = "diverged", 0.0, epochs + 1
        self.checkpoint.unlink(missing_ok=True)
        return Outcome(value=value, epochs=epochs, images_seen=epochs * feed.steps * feed.batch, ending=ending)
