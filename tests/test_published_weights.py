"""Published weights on the real test images: the figures of their origin, and what the runtimes keep of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
import torch

from paretoboard import runtimes
from paretoboard.artifact import Candidate, save
from paretoboard.datasets import Images
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.models import build
from paretoboard.spec import Preprocess
from paretoboard.techniques.quantize import StaticQuantization
from paretoboard.techniques.run import OnnxRuntime
from small_models import workbench

if TYPE_CHECKING:
    from pathlib import Path

    from paretoboard.techniques import Technique

pytestmark = pytest.mark.slow
IMAGENET: Final = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class Published:
    architecture: str
    file: str
    preprocess: Preprocess
    top1: float  # on the 10,000 test images, as measured with these very weights where they come from


PUBLISHED: Final = {
    "resnet20": Published(
        architecture="cifar-resnet20", file="resnet20_cifar10_akamaster.pth", preprocess=IMAGENET, top1=0.9173
    ),
    "resnet8": Published(
        architecture="mlperf-tiny-resnet8",
        file="resnet8_cifar10_mlperf_tiny.pth",
        preprocess=Preprocess(range="byte"),
        top1=0.8719,
    ),
}


@pytest.fixture(scope="module")
def cifar_images(cifar10_root: Path) -> Images:
    return read(cifar10_root / "cifar-10-batches-bin" / "test_batch.bin")


@dataclass(frozen=True, kw_only=True)
class Baseline:
    published: Published
    candidate: Candidate
    images: np.ndarray
    guesses: np.ndarray


@pytest.fixture(scope="module", params=list(PUBLISHED))
def baseline(
    request: pytest.FixtureRequest,
    cifar_images: Images,
    data_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Baseline:
    published = PUBLISHED[request.param]
    module = build(published.architecture, 10)
    module.load_state_dict(torch.load(data_root / "weights" / published.file, weights_only=True))
    held = Candidate(architecture=published.architecture, classes=10, input_shape=(3, 32, 32), module=module)
    images = preprocess_images(cifar_images.pixels, published.preprocess)
    guesses = guess(held, images, tmp_path_factory.mktemp("baseline"))
    return Baseline(published=published, candidate=held, images=images, guesses=guesses)


def test_eager_gives_the_published_top1(baseline: Baseline, cifar_images: Images) -> None:
    assert len(cifar_images) == 10_000
    assert abs((baseline.guesses == cifar_images.labels).mean() - baseline.published.top1) <= 0.0015


def test_onnxruntime_agrees_on_999_of_1000_images(baseline: Baseline, tmp_path: Path) -> None:
    guesses = guess(applied(OnnxRuntime(), baseline, None, tmp_path), baseline.images, tmp_path)
    assert (guesses == baseline.guesses).mean() >= 0.999


@pytest.mark.usefixtures("exact_int8")
def test_static_int8_loses_at_most_half_a_point(
    baseline: Baseline, cifar_images: Images, cifar10_root: Path, tmp_path: Path
) -> None:
    train = read(cifar10_root / "cifar-10-batches-bin" / "data_batch_1.bin")
    held = applied(StaticQuantization(), baseline, train.select(train.ids[:256]), tmp_path)
    guesses = guess(held, baseline.images, tmp_path)
    lost = (baseline.guesses == cifar_images.labels).mean() - (guesses == cifar_images.labels).mean()
    assert lost <= 0.005
    assert (guesses != baseline.guesses).any()  # it really computes in eight bits


def applied(made: Technique, baseline: Baseline, calibration: Images | None, folder: Path) -> Candidate:
    bench = dataclasses.replace(workbench(folder / "scratch"), preprocess=baseline.published.preprocess)
    if calibration is not None:
        bench = dataclasses.replace(bench, calibration_images=lambda: calibration)
    return made.apply(baseline.candidate, bench).candidate


def guess(held: Candidate, images: np.ndarray, folder: Path) -> np.ndarray:
    save(held, folder / "artifact")
    session = runtimes.open(folder / "artifact", threads=1, batches=(250,))
    return runtimes.predict(session, images, 250).argmax(1)


def read(path: Path) -> Images:
    """CIFAR-10's binary layout, read here on its own: a record is a label and three planes of 32x32."""
    raw = np.fromfile(path, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return Images(
        ids=tuple(f"{path.stem}/{index:05d}" for index in range(len(raw))),
        pixels=raw[:, 1:].reshape(-1, 3, 32, 32),
        labels=raw[:, 0].astype(np.int64),
        classes=tuple("0123456789"),
    )
