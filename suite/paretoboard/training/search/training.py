"""Trying settings: a fresh network trained on most of the training images and judged by the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from paretoboard.datasets import Images
from paretoboard.errors import DivergedError
from paretoboard.plan import digest, plain
from paretoboard.spec import Preprocess, TrainSettings
from paretoboard.training import train, weights_digest
from paretoboard.training.feed import Feed
from paretoboard.training.search.held_out import accuracy
from paretoboard.training.search.trials import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.training.search.trials import Ending


class _PrunedError(Exception):
    """Ends a training from within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutTraining:
    """Trains and judges; every trial from the same weights, on the same images in the same order."""

    fresh: Callable[[], nn.Module]
    images: Images
    held_out: Images
    settings: TrainSettings  # what a trial does not choose
    preprocess: Preprocess
    seed: int
    progress: Callable[[float, str], None]  # of one trial

    @property
    def identity(self) -> str:
        """All that decides what settings come to."""
        feed = Feed(self.images, self.settings, self.preprocess)
        judged_by = list(self.held_out.ids)
        rest = [weights_digest(self.fresh()), self.seed, torch.get_num_threads(), torch.__version__]
        return digest([feed.identity, judged_by, plain(self.settings), *rest])

    def __call__(self, settings: Mapping[str, Any], report: Callable[[int, float], bool]) -> Outcome:
        """Train for the epochs of `self.settings`, unless pruned; what diverges is worth nothing."""
        module, wanted = self.fresh(), dataclasses.replace(self.settings, **settings)
        feed = Feed(self.images, wanted, self.preprocess)  # for its sizes
        done, value = 0, 0.0  # steps; share of the held-out images

        def watch(share: float, text: str) -> None:
            nonlocal done, value
            done += 1
            self.progress(share, text)
            if done % feed.steps == 0:
                value = accuracy(module, self.held_out, self.preprocess)
                if report(done // feed.steps, value):
                    raise _PrunedError

        ending: Ending = "whole"
        try:
            train(module, self.images, wanted, preprocess=self.preprocess, seed=self.seed, progress=watch)
        except _PrunedError:
            ending = "pruned"
        except DivergedError:
            ending, value = "diverged", 0.0
            done += 1  # the step that gave no number
        return Outcome(value=value, epochs=-(-done // feed.steps), images_seen=done * feed.batch, ending=ending)
