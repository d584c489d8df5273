"""Easy images first: which images a network may see at each step of its training.

Images are ranked by how hard they are for another network, and a growing part of that ranking is open to be drawn
from. Everything here is a function of losses, step and seed, so that a training can be taken up anywhere in between.

Source: Hacohen and Weinshall 2019, On the Power of Curriculum Learning, arXiv:1904.03626, section 2; their published
code for the balance of classes and for the default pace.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import DivergedError, InputError
from paretoboard.plan import digest, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess

Order = Literal["easy-first", "hard-first", "random"]
Growth = Literal["exponential", "single-step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How many images are open at each step: a staircase that never goes down.

    "exponential" with one length is the paper's fixed exponential pacing, with several its varied one; "single-step"
    opens all images at once after the first length. Lengths are shares of the training, so that a pace keeps its
    meaning where a training is longer. The defaults open all images after 18 % of the steps, as the authors' code does
    after 17 %.
    """

    growth: Growth = "exponential"
    start: float = 0.04  # share of the images that is open at first, 0 < start <= 1
    increase: float = 1.9  # each stair is so many times the one before, > 1; not of "single-step"
    lengths: tuple[float, ...] = (0.03,)  # of each stair, as shares of all steps; the last is that of all that follow

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1:
            raise InputError(f"start = {self.start}: a share of the images above 0 and up to 1 would be right")
        if not self.increase > 1:
            raise InputError(f"increase = {self.increase}: more than 1 would be right")
        if not self.lengths or not all(0 < length <= 1 for length in self.lengths):
            raise InputError(f"lengths = {list(self.lengths)}: shares of the steps above 0 and up to 1 would be right")

    def open_images(self, step: int, *, steps: int, images: int) -> int:
        """How many of `images` may be seen in `step`, from 0, of `steps`; a part of an image is a whole one."""
        stair = self._stair(step, steps)
        if self.growth == "single-step":
            share = self.start if stair == 0 else 1.0
        else:
            share = self.start
            for _ in range(stair):  # not a power: that of many stairs has no float
                share = min(share * self.increase, 1.0)
                if share == 1.0:
                    break
        return min(images, math.ceil(share * images))

    def _stair(self, step: int, steps: int) -> int:
        """The number of the stair, from 0, that `step` is on; each is a whole number of steps, at least one."""
        whole = [max(1, round(length * steps)) for length in self.lengths]
        for number, length in enumerate(whole[:-1]):
            if step < length:
                return number
            step -= length
        return len(whole) - 1 + step // whole[-1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curriculum:
    """Which images are open when, and in which order they are shown."""

    ranking: Tensor  # (n,), int64: places of the images; the first are open first
    pacing: Pacing

    @property
    def identity(self) -> str:
        """Digest of everything that decides which images are seen."""
        return digest([hashlib.sha256(self.ranking.numpy().data).hexdigest(), plain(self.pacing)])

    def epoch(self, whole: Tensor, *, epoch: int, epochs: int, batch: int, seed: int) -> Tensor:
        """The places of an epoch's images, batch after batch, (n // batch * batch,).

        Every epoch shows equally many images, whatever is open: while few are, each is shown several times. None is
        shown twice in a batch, so at least as many are open as fill one. Where all are open all the time, an epoch is
        `whole`.

        Args:
            whole: (n,), the epoch's order without a curriculum.
            epoch: from 0, of `epochs`.
            batch: images of a batch, at most n.
            seed: of the order in which few images are repeated.
        """
        images = len(self.ranking)
        steps = images // batch
        opened = [
            max(batch, self.pacing.open_images(epoch * steps + step, steps=epochs * steps, images=images))
            for step in range(steps)
        ]
        rank = torch.empty_like(self.ranking)
        rank[self.ranking] = torch.arange(images)
        parts = []
        for count, stair in itertools.groupby(opened):
            wanted = len(list(stair)) * batch
            shown = itertools.chain([whole[rank[whole] < count]], self._shuffled(count, seed, epoch))
            cycles = (cycle[: count // batch * batch] for cycle in shown)
            parts.append(_first(cycles, wanted))
        return torch.cat(parts)

    def _shuffled(self, count: int, seed: int, epoch: int) -> Iterator[Tensor]:
        """The first `count` images of the ranking, in a new order each time, without end."""
        for cycle in itertools.count(1):
            content = {"seed": seed, "epoch": epoch, "open": count, "cycle": cycle}
            generator = torch.Generator().manual_seed(int(digest(content)[:15], 16))
            yield self.ranking[:count][torch.randperm(count, generator=generator)]


def ranked(losses: Tensor, labels: Tensor, order: Order, *, seed: int) -> Tensor:
    """Places of images in the order that a curriculum opens them in, (n,).

    Classes take turns, the easiest image of each before the second of any, so that what is open first is not all of
    one class; larger classes have more turns.

    Args:
        losses: (n,), finite: how hard each image is.
        labels: (n,), the class of each.
        order: "hard-first" is the control that the paper calls anti-curriculum; "random" is the one with the same pace
            and no order, drawn once.
        seed: of "random".
    Returns: n different places; of equally hard images, the one at the lower place comes first.
    """
    if order == "random":
        places = torch.randperm(len(losses), generator=torch.Generator().manual_seed(seed))
    else:
        places = torch.argsort(losses, descending=order == "hard-first", stable=True)
    turn = torch.empty(len(places), dtype=torch.float64)
    own = labels[places]
    for label in own.unique():
        members = (own == label).nonzero().flatten()
        turn[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    return places[torch.argsort(turn, stable=True)]


def image_losses(
    module: nn.Module,
    images: Images,
    preprocess: Preprocess,
    *,
    batch: int = 256,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> Tensor:
    """The cross-entropy of each image as it is stored, not augmented, (n,): how hard `module` finds it.

    Args:
        module: a teacher, or the same network after a first training; in evaluation mode, and left as it is.
        batch: images at once.
        progress: told (0, what is going on).
    Raises: DivergedError for a loss that is not finite.
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            progress(0.0, f"finding how hard image {start:,} of {len(images):,} is")
            chosen = slice(start, start + batch)
            logits = module(torch.from_numpy(preprocess_images(images.pixels[chosen], preprocess)))
            labels = torch.from_numpy(images.labels[chosen].copy())
            parts.append(nn.functional.cross_entropy(logits.float(), labels, reduction="none"))
    losses = torch.cat(parts).clone()  # a clone outside of inference mode is a tensor like any other
    if not bool(losses.isfinite().all()):
        worst = images.ids[int((~losses.isfinite()).nonzero()[0])]
        raise DivergedError(f"the loss of image {worst} is not finite, so that images can't be ranked by it")
    return losses


def _first(cycles: Iterator[Tensor], wanted: int) -> Tensor:
    """The first `wanted` of what `cycles` give one after the other."""
    parts: list[Tensor] = []
    while sum(map(len, parts)) < wanted:
        parts.append(next(cycles))
    return torch.cat(parts)[:wanted]
