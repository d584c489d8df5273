"""Input pipelines: how stored images become a model's input, in calls that begin with files.

Each technique sets one thing, of a pipeline that else reads PNG files of the size that the model takes one after the
other by Pillow, and normalizes the batch in float32. So a recipe with one of them is compared with its runtime alone,
which finds its images in memory, and an ablation tells the parts of a pipeline apart.
"""

from __future__ import annotations

from paretoboard.techniques.data.normalize import Normalization
from paretoboard.techniques.data.pipeline import Cache, Decoding, StoredImages, WorkerPool

__all__ = ["Cache", "Decoding", "Normalization", "StoredImages", "WorkerPool"]
