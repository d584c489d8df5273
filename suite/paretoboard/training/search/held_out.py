"""Training images that are kept from training, to judge it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.plan import digest

if TYPE_CHECKING:
    from torch import nn

    from paretoboard.datasets import Images
    from paretoboard.spec import Preprocess

_BATCH = 256


def divide(images: Images, share: float, seed: int) -> tuple[Images, Images]:
    """The images to train on and those to judge by, both in the order they come in.

    Args:
        share: of each class that is held out, 0 < share < 1; rounded half to even, but at least one image, and one
            stays to train on. An only image of its class stays.
        seed: decides which.
    Raises: NotApplicableError where no class has two images.
    """
    generator = np.random.default_rng(int(digest({"held out": seed})[:15], 16))
    held = np.zeros(len(images), dtype=bool)
    for label in np.unique(images.labels):
        own = np.flatnonzero(images.labels == label)
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        held[generator.permutation(own)[:count]] = True
    if not held.any():
        raise NotApplicableError("no class has two training images: none can be held out")
    return _chosen(images, ~held), _chosen(images, held)


def accuracy(module: nn.Module, images: Images, preprocess: Preprocess) -> float:
    """The share of `images` whose best guess is right; `module` is left in the mode it came in."""
    training = module.training
    module.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            logits = module(torch.from_numpy(preprocess_images(images.pixels[part], preprocess)))
            right += int((logits.argmax(1).numpy() == images.labels[part]).sum())
    module.train(training)
    return right / len(images)


def _chosen(images: Images, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Images:
    return images.select(tuple(name for name, wanted in zip(images.ids, mask, strict=True) if wanted))
