"""Training: a model further, anew, or from what another one knows."""

from __future__ import annotations

from paretoboard.techniques.train.finetune import Finetune, TrainingTechnique, trained
from paretoboard.techniques.train.scratch import Scratch
from paretoboard.techniques.train.transfer import Transfer

__all__ = ["Finetune", "Scratch", "TrainingTechnique", "Transfer", "trained"]
