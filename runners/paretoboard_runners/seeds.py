"""Seeds, one per purpose, all drawn from the run's."""

from __future__ import annotations

import random

from paretoboard.plan import digest


def derive(seed: int, purpose: str) -> int:
    """A 32-bit seed for one purpose; two recipes that do the same thing with the same seed draw the same."""
    return int(digest({"seed": seed, "purpose": purpose})[:8], 16)


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
