"""`python -m bench.evaluation`: an evaluation beside its model alone; `make bench-evaluation` calls it.

An evaluation reads the images of a subset from the cache of decoded ones, prepares them, asks the model and scores what
it answers. The model alone is asked the same batches, prepared in memory beforehand.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL import Image

from paretoboard import artifact, datasets, runtimes
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.models import build
from paretoboard.spec import DatasetUse, Preprocess, Subset
from paretoboard.techniques.export import as_graph
from paretoboard_runners import jobs, quality

if TYPE_CHECKING:
    from collections.abc import Callable

PREPROCESS: Final = Preprocess(mean=(0.5,), std=(0.5,), resize=256, interpolation="bicubic", crop=224)
SIZE: Final = (500, 375)  # as most of ImageNet's photographs
BATCH: Final = 8
PAIRS: Final = {"full": 12, "quick": 4}
IMAGES: Final = 128
BAR: Final = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.evaluation", description=__doc__)
    parser.add_argument("--extent", choices=sorted(PAIRS), default="full", help="how many pairs of each network")
    pairs = PAIRS[parser.parse_args().extent]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        _draw_pictures(folder / "pictures")
        candidate = artifact.Candidate(
            architecture="mobilenetv2", classes=1000, input_shape=(3, 224, 224), module=build("mobilenetv2", 1000)
        )
        artifact.save(candidate, folder / "eager")
        artifact.save(as_graph(candidate), folder / "ONNX Runtime")
        print(f"MobileNetV2, {IMAGES} images of {SIZE[0]} x {SIZE[1]}, {BATCH} at a time, one thread, {pairs} pairs")
        print(f"bar: at least {BAR:.0%} of the model's own rate once images are in the cache\n")
        print(
            f"{'':14}{'model alone':>14}{'evaluation':>14}{'first':>10}{'of its rate':>13}{'lowest':>9}{'highest':>9}"
        )
        for runtime in ("eager", "ONNX Runtime"):
            _compare(runtime, folder, pairs)
    return 0


def _compare(runtime: str, folder: Path, pairs: int) -> None:
    dataset = DatasetUse(
        name="folder", subset=Subset(name="all"), train=Subset(name="all"), path=str(folder / "pictures")
    )
    job = jobs.QualityJob(
        artifact=folder / runtime,
        dataset=dataset,
        preprocess=PREPROCESS,
        data_root=folder,
        batches=(BATCH,),
        threads=1,
    )
    torch.set_num_threads(1)

    def evaluation() -> None:
        quality.score(job, folder, lambda event: None)

    first = _seconds(evaluation)
    pixels = datasets.read_subset(dataset, dataset.subset, folder, PREPROCESS).pixels
    prepared = [preprocess_images(pixels[at : at + BATCH], PREPROCESS) for at in range(0, IMAGES, BATCH)]

    def model_alone() -> None:
        session = runtimes.open(job.artifact, threads=1, batches=job.batches)
        for images in prepared:
            runtimes.predict(session, images, BATCH)

    model_alone()
    alone: list[float] = []
    whole: list[float] = []
    for pair in range(pairs):
        # By turns the one and the other first: the machine gets neither faster nor slower for one of them.
        for call, seconds in [(model_alone, alone), (evaluation, whole)][:: 1 if pair % 2 else -1]:
            seconds.append(_seconds(call))
    shares = np.array(alone) / np.array(whole)
    print(
        f"{runtime:14}{_rate(alone):>14}{_rate(whole):>14}{_rate([first]):>10}{np.median(shares):>13.1%}"
        f"{shares.min():>9.1%}{shares.max():>9.1%}",
        flush=True,
    )


def _rate(seconds: list[float]) -> str:
    return f"{IMAGES / float(np.median(seconds)):.1f} /s"


def _seconds(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _draw_pictures(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        # Rough noise made large compresses about as photographs do.
        rough = rng.integers(0, 256, (SIZE[1] // 5, SIZE[0] // 5, 3), dtype=np.uint8)
        path = folder / f"class{index % 2}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rough).resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=90)


if __name__ == "__main__":
    sys.exit(main())
