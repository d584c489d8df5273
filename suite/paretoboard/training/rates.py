"""Learning rates over a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.spec import TrainSettings


def rates(settings: TrainSettings, places: int) -> Sequence[float]:
    """The learning rate at each of `places` places of a training, as torch's schedulers give it."""
    idle = torch.optim.SGD([torch.zeros(1)], settings.lr)
    schedule: torch.optim.lr_scheduler.LRScheduler
    if settings.schedule == "constant":
        return [settings.lr] * places
    if settings.schedule == "cosine":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(idle, T_max=places)
    else:
        # The momentum stays: cycling it too is a setting of its own.
        schedule = torch.optim.lr_scheduler.OneCycleLR(idle, settings.lr, total_steps=places, cycle_momentum=False)
    found = []
    for _ in range(places):
        found.append(float(idle.param_groups[0]["lr"]))
        idle.step()
        schedule.step()
    return found
