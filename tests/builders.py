"""Valid objects to test with: a test overrides only what it is about.

The numbers are synthetic but hang together: ids come from a real plan, metrics from the arrays they rest
on, two recipes find the same images hard, and a change of runtime alone changes no prediction.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from paretoboard.metrics import METRICS
from paretoboard.plan import RunSpec, digest
from paretoboard.records import (
    ArtifactInfo,
    Bandwidth,
    Calls,
    Comparison,
    ControlState,
    Diagnosis,
    MetricValue,
    OperatorCost,
    Peak,
    Predictions,
    Provenance,
    RunRecord,
    WindowState,
)
from paretoboard.spec import (
    BASELINE,
    DatasetUse,
    HardwareProfile,
    MeasureSpec,
    ModelUse,
    Preprocess,
    QualityTarget,
    Recipe,
    Subset,
    TechniqueUse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEASURED_AT = datetime(2026, 11, 21, 3, 14, 15, tzinfo=UTC)
CLASSES = 10

# recipe -> (technique, parameters) of its steps
RECIPES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    BASELINE: (),
    "channels-last": (("run.channels_last", {}),),
    "bf16": (("quantize.cast", {"dtype": "bfloat16"}),),
    "compile": (("run.compile", {"mode": "default"}),),
    "ort-fp32": (("run.onnxruntime", {}),),
    "ort-int8": (
        ("quantize.static", {"per_channel": True, "calibrate": "minmax"}),
        ("run.onnxruntime", {}),
    ),
    "ort-int8-dynamic": (("quantize.dynamic", {}), ("run.onnxruntime", {})),
    "magnitude-50": (("prune.magnitude", {"sparsity": 0.5}),),
    "structured-30": (("prune.structured", {"parameters": 0.3}), ("run.onnxruntime", {})),
    "structured-30-tuned": (
        ("prune.structured", {"parameters": 0.3}),
        ("train.finetune", {"epochs": 2, "lr": 0.01}),
        ("run.onnxruntime", {}),
    ),
}


def profile(**overrides: Any) -> HardwareProfile:
    """A profile of one CPU core."""
    return HardwareProfile(**{"name": "cpu-1", "title": "One CPU core", "cores": 1, **overrides})


def recipe(name: str = BASELINE, steps: Iterable[tuple[str, Mapping[str, Any]]] | None = None) -> Recipe:
    """A recipe; the steps of a known name are filled in."""
    chosen = RECIPES.get(name, ()) if steps is None else steps
    return Recipe(
        name=name,
        steps=tuple(TechniqueUse(name=step, version=1, parameters=dict(given)) for step, given in chosen),
    )


def run_spec(**overrides: Any) -> RunSpec:
    """One cell of a plan over the digits."""
    given: dict[str, Any] = {
        "task": "quick/digits",
        "title": "ResNet-8 on handwritten digits",
        "task_version": 1,
        "dataset": DatasetUse(name="digits", subset=Subset(name="test"), train=Subset(name="train")),
        "model": ModelUse(name="cifar-resnet8"),
        "preprocess": Preprocess(),
        "quality": QualityTarget(metric="top1"),
        "measure": MeasureSpec(batches=(1, 32), budget="quick"),
        "recipe": recipe(),
        "profile": profile(),
        "seed": 0,
    }
    return RunSpec(**{**given, **overrides})


def predictions(accuracy: float = 0.95, images: int = 360, seed: int = 0) -> Predictions:
    """Five guesses per image, the best right on `accuracy` of them; all seeds find the same images easy."""
    shared, own = np.random.default_rng(17), np.random.default_rng(seed)
    labels = shared.integers(0, CLASSES, images)
    difficulty = shared.random(images) + 0.02 * own.standard_normal(images)
    right = difficulty <= np.sort(difficulty)[max(round(accuracy * images) - 1, 0)]
    guesses = np.argsort(own.random((images, CLASSES)), axis=1)
    # The right class changes places with the first guess, or with the second where the model is wrong.
    place = np.where(right, 0, 1)
    at_label = np.argmax(guesses == labels[:, None], axis=1)
    rows = np.arange(images)
    guesses[rows, at_label] = guesses[rows, place]
    guesses[rows, place] = labels
    scores = -np.sort(-own.dirichlet(np.full(CLASSES, 0.2), images), axis=1)
    return Predictions(
        labels=labels.astype(np.int16),
        top_classes=guesses[:, :5].astype(np.int16),
        top_scores=scores[:, :5].astype(np.float32),
    )


def calls(latency_s: float = 1e-3, batches: tuple[int, ...] = (1, 32), count: int = 40, seed: int = 0) -> Calls:
    """Timed calls of both arms, two launches of two windows for each batch."""
    rng = np.random.default_rng(seed)
    batch = np.repeat(batches, count)
    position = np.tile(np.arange(count), len(batches))
    wall = latency_s * 1e9 * np.where(batch == 1, 1.0, 0.45 * batch) * rng.lognormal(0.0, 0.03, len(batch))
    return Calls(
        batch=batch.astype(np.int32),
        launch=(position // (count // 2)).astype(np.int16),
        window=(position // (count // 4) % 2).astype(np.int16),
        block=(position // 4).astype(np.int32),
        arm=(position % 2).astype(np.int8),
        start_ns=np.cumsum(wall).astype(np.int64),
        wall_ns=wall.astype(np.int64),
        cpu_ns=(wall * 0.99).astype(np.int64),
        switches=np.zeros(len(batch), dtype=np.int32),
        reference=np.zeros(len(batch), dtype=np.int8),
    )


def metric(name: str, value: float, scope: str = "", spread: float | None = None, n: int = 1) -> MetricValue:
    """One value, with an interval of +-`spread` of it where that is given."""
    return MetricValue(
        name=name,
        scope=scope,
        value=value,
        low=None if spread is None else value * (1 - spread),
        high=None if spread is None else value * (1 + spread),
        n=n,
        unit=METRICS[name].unit,
    )


def quality_metrics(found: Predictions) -> tuple[MetricValue, ...]:
    """What follows from the predictions: top-1, top-5, per-class and mean precision, recall and F1."""
    labels, best = found.labels, found.top_classes[:, 0]
    right = (best == labels).mean()
    near = (found.top_classes == labels[:, None]).any(axis=1).mean()
    values = [metric("top1", float(right), n=len(labels)), metric("top5", float(near), n=len(labels))]
    per_class: dict[str, list[float]] = {"precision": [], "recall": [], "f1": []}
    for index in range(CLASSES):
        hit = float(((best == index) & (labels == index)).sum())
        precision = hit / max(float((best == index).sum()), 1.0)
        recall = hit / max(float((labels == index).sum()), 1.0)
        f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
        for name, value in (("precision", precision), ("recall", recall), ("f1", f1)):
            per_class[name].append(value)
            values.append(metric(name, value, f"class={index}", n=int((labels == index).sum())))
    values += [metric(name, float(np.mean(of_class)), n=len(labels)) for name, of_class in per_class.items()]
    return tuple(values)


def cost_metrics(
    latency_s: float = 1e-3, file_bytes: int = 330_000, memory_bytes: int = 9_000_000
) -> tuple[MetricValue, ...]:
    """What running costs, in the proportions of a small network."""
    return (
        metric("latency", latency_s, "batch=1", 0.012, 640),
        metric("latency_p90", latency_s * 1.06, "batch=1", n=640),
        metric("latency_p99", latency_s * 1.31, "batch=1", n=640),
        metric("latency", latency_s * 14.4, "batch=32", 0.009, 320),
        metric("throughput", 32 / (latency_s * 14.4), "batch=32", 0.009, 320),
        metric("throughput", 1 / latency_s, "batch=1", 0.012, 640),
        metric("load", 0.021),
        metric("first_inference", latency_s * 9),
        metric("peak_memory", memory_bytes),
        metric("process_memory", memory_bytes + 61_000_000),
        metric("idle_memory", 61_000_000),
        metric("file_size", file_bytes),
        metric("compressed_size", round(file_bytes * 0.91)),
        metric("parameters", 78_042),
        metric("nonzero_parameters", 77_000),
        metric("macs", 12_501_632),
        metric("build_time", 3.4),
        metric("images_seen", 512),
    )


def comparison(speedup: float = 1.0, spread: float = 0.006, **overrides: Any) -> Comparison:
    """Timed against the baseline; the verdict follows from the interval unless it is given."""
    ratio = 1 / speedup
    low, high = ratio * (1 - spread), ratio * (1 + spread)
    if high < 1 / 1.015:
        verdict = "better"
    elif low > 1.015:
        verdict = "worse"
    else:
        verdict = "same" if low > 1 / 1.03 and high < 1.03 else "undecided"
    given: dict[str, Any] = {
        "batch": 1,
        "against": BASELINE,
        "ratio": ratio,
        "low": low,
        "high": high,
        "confidence": 0.95,
        "launches": 8,
        "windows": 64,
        "clock": "cpu",
        "tolerance": 0.015,
        "p_value": 0.4 if verdict in ("same", "undecided") else 1e-6,
        "verdict": verdict,
        "reason": "interval reaches past the tolerance" if verdict == "undecided" else "",
    }
    return Comparison(**{**given, **overrides})


def provenance(**overrides: Any) -> Provenance:
    """A machine of two cores with its software."""
    hardware: dict[str, Any] = {
        "cpu": "AMD EPYC 9R14 (25/17/1)",
        "logical_cpus": 2,
        "numa_nodes": 1,
        "memory_bytes": 8 * 2**30,
        "accelerators": [],
    }
    environment: dict[str, Any] = {
        "python": "3.11.2",
        "implementation": "cpython",
        "kernel": "6.1.0-18-amd64",
        "libc": "glibc 2.36",
        "microcode": "0xa101148",
        "gpu_driver": "",
        "libraries": {"numpy": "2.4.0", "onnx": "1.23.2", "onnxruntime": "1.31.1", "torch": "2.14.1"},
    }
    hardware.update(overrides.pop("hardware", {}))
    environment.update(overrides.pop("environment", {}))
    given: dict[str, Any] = {
        "hardware_id": digest(hardware),
        "hardware": hardware,
        "environment_id": digest(environment),
        "environment": environment,
        "commit": "4192506c0ffee4192506c0ffee4192506c0ffee4",
    }
    return Provenance(**{**given, **overrides})


def controls() -> tuple[ControlState, ...]:
    """Three controls, one of which could not be held."""
    return (
        ControlState(name="affinity", requested="1 core", applied="core 1", observed="core 1", held=True),
        ControlState(name="threads", requested="1", applied="1", observed="1", held=True),
        ControlState(name="priority", requested="-10", applied="not permitted", observed="0", held=False),
    )


def operator_cost(**overrides: Any) -> OperatorCost:
    """All convolutions of an INT8 network."""
    given: dict[str, Any] = {
        "type": "QLinearConv",
        "kind": "convolution",
        "dtype": "int8",
        "calls": 9,
        "share": 0.75,
        "macs": 12_500_992,
        "bytes": 215_000,
        "attainable_s": 6.2e-5,
    }
    return OperatorCost(**{**given, **overrides})


def diagnosis(**overrides: Any) -> Diagnosis:
    """Why an INT8 network is as fast as it is."""
    rest = {"type": "QuantizeLinear", "kind": "quantizing", "calls": 4, "share": 0.25, "macs": 0, "bytes": 77_000}
    given: dict[str, Any] = {
        "batch": 1,
        "source": "ONNX Runtime's profiler",
        "call_s": 2e-4,
        "operator_s": 1.6e-4,
        "operators": (operator_cost(), operator_cost(**rest)),
        "attainable_s": 1.24e-4,
        "peaks": (Peak(dtype="float32", macs_per_s=5.4e10), Peak(dtype="int8", macs_per_s=2e11)),
        "bandwidths": (Bandwidth(working_set_bytes=262_144, bytes_per_s=9e10),),
        "int8_exact": True,
        "instruction_sets": ("AVX512-VNNI",),
        "fallbacks": (),
        "sentence": "Same MACs, 7.2 times as fast as baseline: 25 % of the time is in quantizing and dequantizing.",
    }
    return Diagnosis(**{**given, **overrides})


def window_state(**overrides: Any) -> WindowState:
    """A quiet window."""
    given: dict[str, Any] = {
        "batch": 1,
        "launch": 0,
        "window": 0,
        "steal": 0.0,
        "load1": 1.1,
        "pressure": 0.01,
        "clock_mhz": None,
        "temperature_c": None,
    }
    return WindowState(**{**given, **overrides})


def run_record(
    name: str = BASELINE,
    *,
    accuracy: float = 0.95,
    images: int = 360,
    latency_s: float = 1e-3,
    speedup: float = 1.0,
    file_bytes: int = 330_000,
    memory_bytes: int = 9_000_000,
    steps: Iterable[tuple[str, Mapping[str, Any]]] | None = None,
    seed: int = 0,
    spec: RunSpec | None = None,
    **overrides: Any,
) -> RunRecord:
    """A measured run; `overrides` replace fields of the finished record."""
    cell = spec or run_spec(recipe=recipe(name, steps), seed=seed)
    content = cell.content()
    changes_numbers = any(not step.name.startswith("run.") for step in cell.recipe.steps)
    rng_seed = int(digest([name if changes_numbers else BASELINE, seed])[:8], 16)
    found = predictions(accuracy, images, rng_seed)
    fast, slow = (
        comparison(speedup),
        comparison(max(speedup * 0.8, 0.05) if speedup != 1.0 else 1.0, batch=32),
    )
    given: dict[str, Any] = {
        "run_id": cell.run_id,
        "board_id": cell.board_id,
        "task": cell.task,
        "task_version": cell.task_version,
        "title": cell.title,
        "dataset": cell.dataset.name,
        "subset": cell.dataset.subset.name,
        "model": cell.model.name,
        "recipe": cell.recipe.name,
        "steps": tuple(content["recipe"]["steps"]),
        "profile": cell.profile.name,
        "seed": cell.seed,
        "spec": content,
        "status": "ok",
        "reason": "",
        "started_at": MEASURED_AT,
        "duration_s": 21.5,
        "provenance": provenance(),
        "artifact": ArtifactInfo(
            build_id=cell.build_ids[-1],
            digest=digest([name, "file"]),
            file="model.onnx",
            runtime="onnxruntime",
            form="onnx",
        ),
        "metrics": quality_metrics(found) + cost_metrics(latency_s, file_bytes, memory_bytes),
        "comparisons": (fast, slow),
        "controls": controls(),
        "windows": (window_state(),),
        "calls": calls(latency_s, seed=rng_seed),
        "predictions": found,
        "diagnosis": diagnosis(),
    }
    return dataclasses.replace(RunRecord(**given), **overrides)


def failed_record(
    name: str = "compile", status: str = "failed", reason: str = "out of memory", **overrides: Any
) -> RunRecord:
    """A run that ended without numbers."""
    empty: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "artifact": None,
        "metrics": (),
        "comparisons": (),
        "windows": (),
        "calls": None,
        "predictions": None,
        "diagnosis": None,
        "log_tail": "building step 1 of 1\nkilled by signal 9",
    }
    return run_record(name, **{**empty, **overrides})


def board_records(**overrides: Any) -> list[RunRecord]:
    """One board: the baseline, eight measured recipes and one that failed."""
    measured = {
        # recipe: (accuracy, latency in ms, bytes of the file, bytes of memory)
        BASELINE: (0.972, 1.42, 331_000, 11_200_000),
        "channels-last": (0.972, 1.31, 331_000, 11_900_000),
        "bf16": (0.969, 1.36, 172_000, 10_100_000),
        "ort-fp32": (0.972, 0.42, 318_000, 8_300_000),
        "ort-int8": (0.967, 0.197, 104_000, 6_900_000),
        "ort-int8-dynamic": (0.969, 0.71, 103_000, 7_400_000),
        "magnitude-50": (0.953, 1.42, 331_000, 11_200_000),
        "structured-30": (0.731, 0.35, 224_000, 7_900_000),
        "structured-30-tuned": (0.961, 0.351, 224_000, 7_900_000),
    }
    records = [
        run_record(
            name,
            accuracy=accuracy,
            latency_s=latency_ms / 1e3,
            speedup=measured[BASELINE][1] / latency_ms,
            file_bytes=file_bytes,
            memory_bytes=memory_bytes,
            started_at=MEASURED_AT + timedelta(seconds=25 * place),
            **overrides,
        )
        for place, (name, (accuracy, latency_ms, file_bytes, memory_bytes)) in enumerate(measured.items())
    ]
    return [*records, failed_record("compile", started_at=MEASURED_AT + timedelta(minutes=5), **overrides)]
