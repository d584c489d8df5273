"""Searching for the settings to train with: Optuna proposes and prunes, images that are held out judge."""

from paretoboard.training.search.library import optuna
from paretoboard.training.search.spaces import Space
from paretoboard.training.search.training import HeldOutTraining
from paretoboard.training.search.trials import (
    Attempt,
    Ending,
    Outcome,
    Plan,
    Pruner,
    Sampler,
    Trial,
    best,
    propose,
    search,
)

__all__ = [
    "Attempt",
    "Ending",
    "HeldOutTraining",
    "Outcome",
    "Plan",
    "Pruner",
    "Sampler",
    "Space",
    "Trial",
    "best",
    "optuna",
    "propose",
    "search",
]
