"""Every metric a record can carry: its unit, which way is better, and what it means.

A metric's `scope` says what one value of it is about: "" for the run as a whole, "batch=32" for a batch size,
"class=3" for a class index, "size=small" for objects of a size, "corruption=noise:3" for corrupted images,
"scenario=server" for a scenario of MLPerf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Better = Literal["higher", "lower", "neither"]
Kind = Literal["quality", "behaviour", "speed", "memory", "size", "compute", "cost"]
Task = Literal["classification", "detection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a number means."""

    name: str
    unit: str  # SI symbol, "1" for a share, "count"
    better: Better
    kind: Kind
    summary: str  # one line, in the reader's words


def _metric(name: str, unit: str, better: Better, kind: Kind, summary: str) -> tuple[str, Metric]:
    return name, Metric(name=name, unit=unit, better=better, kind=kind, summary=summary)


# What a task may be judged by, by what its dataset asks for.
QUALITIES: Final[dict[Task, tuple[str, ...]]] = {
    "classification": ("top1", "top5", "precision", "recall", "f1"),
    "detection": ("mAP", "AP50", "AP75"),
}

# Those that ask of each image alone whether it was right: shares of images, and the guesses that may be.
GUESSES: Final = {"top1": 1, "top5": 5}

METRICS: Final[dict[str, Metric]] = dict(
    (
        _metric("top1", "1", "higher", "quality", "share of images whose best guess is right"),
        _metric("top5", "1", "higher", "quality", "share of images whose five best guesses hold the right one"),
        _metric(
            "precision", "1", "higher", "quality", "of what was called a class, the share that is; mean over classes"
        ),
        _metric("recall", "1", "higher", "quality", "of what is a class, the share that was found; mean over classes"),
        _metric("f1", "1", "higher", "quality", "harmonic mean of precision and recall; mean over classes"),
        _metric(
            "calibration_error",
            "1",
            "lower",
            "behaviour",
            "expected calibration error, 15 bins: mean gap between confidence and share of right answers",
        ),
        _metric(
            "explanation_similarity",
            "1",
            "higher",
            "behaviour",
            "linear correlation of Grad-CAM maps with the baseline's, mean over a fixed sample of images",
        ),
        _metric(
            "mAP",
            "1",
            "higher",
            "quality",
            "average precision of boxes, mean over classes and over overlaps of 0.5 to 0.95 (COCO)",
        ),
        _metric("AP50", "1", "higher", "quality", "the same where an overlap of 0.5 is enough"),
        _metric("AP75", "1", "higher", "quality", "the same where an overlap of 0.75 is enough"),
        _metric("latency", "s", "lower", "speed", "median time of one call"),
        _metric("latency_p90", "s", "lower", "speed", "time that nine calls in ten stay under"),
        _metric("latency_p99", "s", "lower", "speed", "time that 99 calls in 100 stay under"),
        _metric(
            "input_time",
            "s",
            "lower",
            "speed",
            "median time per image from stored file to the model's input, without the model",
        ),
        _metric(
            "preprocess_time",
            "s",
            "lower",
            "speed",
            "median time per image from decoded pixels to a detector's input, without the model",
        ),
        _metric(
            "postprocess_time",
            "s",
            "lower",
            "speed",
            "median time per image from what a detector's network gives to its boxes, decoding and suppression",
        ),
        _metric(
            "throughput", "1/s", "higher", "speed", "images per second at the declared batch, from the median call"
        ),
        _metric(
            "latency_bound",
            "s",
            "lower",
            "speed",
            "what LoadGen's early stopping vouches the scenario's latency stays under",
        ),
        _metric(
            "server_qps", "1/s", "higher", "speed", "highest load at which 99 queries in 100 keep the declared latency"
        ),
        _metric(
            "scenario_valid", "1", "neither", "speed", "1 where LoadGen calls the result of a scenario valid, else 0"
        ),
        _metric(
            "load", "s", "lower", "speed", "time from the file on disk to a model ready to run, in a fresh process"
        ),
        _metric("first_inference", "s", "lower", "speed", "time of the first call in a fresh process"),
        _metric("peak_memory", "B", "lower", "memory", "peak resident memory that the model adds to its idle runtime"),
        _metric("process_memory", "B", "lower", "memory", "peak resident memory of the whole measuring process"),
        _metric("idle_memory", "B", "lower", "memory", "peak resident memory of the same process with no model loaded"),
        _metric("file_size", "B", "lower", "size", "bytes of the file that is run"),
        _metric("compressed_size", "B", "lower", "size", "bytes of that file under LZMA"),
        _metric("parameters", "count", "lower", "size", "numbers that the model stores"),
        _metric("nonzero_parameters", "count", "lower", "size", "numbers that the model stores and that are not zero"),
        _metric(
            "macs",
            "count",
            "lower",
            "compute",
            "multiply-accumulates of one image, counted by torch's FlopCounterMode / 2",
        ),
        _metric(
            "build_time",
            "s",
            "lower",
            "cost",
            "seconds that building took, all steps, cached ones counted as when they ran",
        ),
        _metric(
            "energy", "J", "lower", "cost", "energy of one image in a steady loop, from the computing device's counters"
        ),
        _metric(
            "energy_above_idle",
            "J",
            "lower",
            "cost",
            "of that, what the idle machine would not have used in the same time",
        ),
        _metric(
            "idle_power",
            "W",
            "neither",
            "cost",
            "power of the computing device with nothing to do, between those loops",
        ),
        _metric(
            "build_energy",
            "J",
            "lower",
            "cost",
            "energy that building took, all steps, cached ones counted as when they ran",
        ),
        _metric(
            "train_time",
            "s",
            "lower",
            "cost",
            "seconds of training that went into the model, judging left out; a training anew begins the count again",
        ),
        _metric(
            "time_to_target",
            "s",
            "lower",
            "cost",
            "seconds of training until the declared share of held-out images was right, read after each epoch",
        ),
        _metric(
            "train_memory",
            "B",
            "lower",
            "memory",
            "peak resident memory of the processes that trained, together, beyond what they had before",
        ),
        _metric(
            "train_energy",
            "J",
            "lower",
            "cost",
            "energy of the steps that trained the model, from the computing device's counters",
        ),
        _metric(
            "supervision",
            "1",
            "neither",
            "cost",
            "CPU time of the supervising processes as a share of the time that timing took",
        ),
        _metric(
            "images_seen", "count", "lower", "cost", "images that building trained or calibrated on, repeats counted"
        ),
        _metric(
            "train_speedup", "1", "higher", "speed", "steps of ranks in the time of one by one process, all threads"
        ),
        _metric(
            "scaling_efficiency", "1", "higher", "speed", "speed-up over one process like one rank, over the ranks"
        ),
        _metric(
            "communication_share", "1", "lower", "cost", "of a step's time, that with a collective under way on a rank"
        ),
        _metric(
            "rank_memory", "B", "lower", "memory", "peak resident memory that training adds to a rank, the largest"
        ),
    )
)


def task_of(dataset: Any) -> Task:
    """What there is to say about the images of a dataset; one that does not tell has a class for each."""
    found: Task = getattr(dataset, "task", "classification")
    return found
