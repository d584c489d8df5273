"""Input pipelines: what they make of stored images, when that is timed, and what it does to answers."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from paretoboard import runtimes, store
from paretoboard.artifact import PIXELS, Candidate, InputPipeline, load, read_manifest, save
from paretoboard.datasets.cifar10 import RECORD_BYTES
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.models.structure import describe, rebuild
from paretoboard.registry import TECHNIQUES
from paretoboard.runtimes.input.reading import ImageReader, read_records
from paretoboard.runtimes.input.session import InputSession
from paretoboard.runtimes.input.stored import encode, pixels_of
from paretoboard.runtimes.input.stored import store as store_images
from paretoboard.runtimes.input.workers import Workers
from paretoboard.runtimes.profiling import Question
from paretoboard.runtimes.statistics import statistics
from paretoboard.spec import Preprocess
from paretoboard.techniques.data import Cache, Decoding, Normalization, StoredImages, WorkerPool
from paretoboard.techniques.data.folding import CONSTANT, folded, preceded
from paretoboard_runners import feeding
from paretoboard_runners.comparing import input_metrics
from paretoboard_runners.launch import SessionArm
from small_models import PREPROCESS, SHAPE, candidate, images, workbench

COUNT = 6
STORED = images(COUNT, seed=8).pixels
needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")


def pipeline(**settings: Any) -> InputPipeline:
    return InputPipeline(preprocess=PREPROCESS, **settings)


def pictures(side: int = 32, *, count: int = COUNT) -> np.ndarray:
    """(count, 3, side, side) smooth pixels: resizing is tested on what has something to keep."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(6 * rows * (1 + n)) + np.cos(5 * columns + channel) for n in range(count) for channel in range(3)]
    return (np.stack(waves).reshape(count, 3, side, side) * 60 + 120).astype(np.uint8)


def made(tmp_path: Path, *steps: Any, start: Candidate | None = None) -> Candidate:
    held = start or candidate()
    for number, step in enumerate(steps):
        bench = dataclasses.replace(workbench(tmp_path / f"s{number}"), preprocess=held.preprocess_of(PREPROCESS))
        held = step.apply(held, bench).candidate
    return held


def opened(held: Candidate, folder: Path, *, threads: int = 1) -> InputSession:
    save(held, folder)
    session = runtimes.open(folder, threads=threads, batches=(COUNT,))
    assert isinstance(session, InputSession)
    return session


def answers(session: Any, pixels: np.ndarray = STORED) -> np.ndarray:
    found: np.ndarray = runtimes.predict(session, preprocess_images(pixels, PREPROCESS), COUNT)
    return found


def plain_answers(folder: Path) -> np.ndarray:
    save(candidate(), folder)
    return answers(runtimes.open(folder, threads=1, batches=(COUNT,)))


# From images back to pixels, and to files


@given(
    mean=st.floats(-0.5, 0.9),
    std=st.floats(0.05, 2.0),
    unit=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(max_examples=50)
def test_preprocessing_is_undone_to_the_pixel(mean: float, std: float, unit: bool, seed: int) -> None:
    scale = 1.0 if unit else 255.0
    preprocess = Preprocess(range="unit" if unit else "byte", mean=(mean * scale,), std=(std * scale,))
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    np.testing.assert_array_equal(pixels_of(preprocess_images(pixels, preprocess), preprocess), pixels)


@pytest.mark.parametrize("value", [0.4, -1.0, 300.0, float("nan")])
def test_what_was_made_of_no_pixel_is_refused(value: float) -> None:
    wrong = np.full((1, 3, 2, 2), value, np.float32)
    with pytest.raises(InputError, match="begins with stored pixels"):
        pixels_of(wrong, PIXELS)


def test_png_and_records_keep_every_pixel_and_jpeg_nearly() -> None:
    for form in ("png", "records"):
        given_form = pipeline(stored=form)
        batch = store_images(STORED, given_form)
        if form == "records":
            found = read_records(batch.files[0], SHAPE)
            assert batch.size_bytes == COUNT * RECORD_BYTES
        else:
            found = np.stack([ImageReader(given_form, SHAPE)(file) for file in batch.files])
        np.testing.assert_array_equal(found, STORED)
    reader = ImageReader(pipeline(stored="jpeg"), SHAPE)
    smooth = pictures()
    batch = store_images(smooth, pipeline(stored="jpeg"))
    lossy = np.stack([reader(file) for file in batch.files]).astype(int)
    assert 0 < np.abs(lossy - smooth).mean() < 8


def test_official_records_are_read_as_the_dataset_reads_them(cifar10_root: Path) -> None:
    from paretoboard.datasets.cifar10 import Cifar10

    [found] = [read_records(str(cifar10_root / "cifar-10-batches-bin" / "test_batch.bin"), SHAPE)]
    np.testing.assert_array_equal(found, Cifar10(cifar10_root).read("test").pixels)


def test_files_are_gone_with_the_batch() -> None:
    batch = store_images(STORED, pipeline())
    [first, *_] = batch.files
    assert Path(first).exists()
    del batch
    assert not Path(first).exists()


def test_grey_images_are_stored_with_one_channel() -> None:
    grey = STORED[:, :1]
    for decoder in ("pillow", "torchvision"):
        given_pipeline = pipeline(decoder=decoder)
        reader, batch = ImageReader(given_pipeline, (1, 32, 32)), store_images(grey, given_pipeline)
        np.testing.assert_array_equal(np.stack([reader(file) for file in batch.files]), grey)
    with Image.open(io.BytesIO(encode(grey[0], pipeline()))) as picture:
        assert picture.mode == "L"


# Decoding and resizing


@pytest.mark.parametrize("stored", ["png", "jpeg"])
def test_both_decoders_give_the_same_pixels(stored: Any) -> None:
    batch = store_images(pictures(), pipeline(stored=stored))
    found = {
        decoder: np.stack([ImageReader(pipeline(stored=stored, decoder=decoder), SHAPE)(file) for file in batch.files])
        for decoder in ("pillow", "torchvision")
    }
    # Two builds of libjpeg may round another way.
    assert np.abs(found["pillow"].astype(int) - found["torchvision"]).max() <= (0 if stored == "png" else 3)


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("side", [16, 48, 100])
def test_both_libraries_resize_alike(name: Any, side: int) -> None:
    batch = store_images(pictures(), pipeline(side=side, filter=name))
    found = [
        ImageReader(pipeline(side=side, filter=name, decoder=decoder), SHAPE)(batch.files[0]).astype(int)
        for decoder in ("pillow", "torchvision")
    ]
    assert found[0].shape == SHAPE
    assert np.abs(found[0] - found[1]).max() <= 1


def test_each_filter_is_pillows_own() -> None:
    batch = store_images(pictures(), pipeline(side=80))
    file = batch.files[0]
    for name in ("bilinear", "bicubic", "nearest"):
        with Image.open(file) as picture:
            wanted = np.asarray(picture.resize((32, 32), getattr(Image.Resampling, name.upper())))
        found = ImageReader(pipeline(side=80, filter=name), SHAPE)(file)
        np.testing.assert_array_equal(found, wanted.transpose(2, 0, 1))


def test_draft_mode_decodes_an_eighth_and_stays_near() -> None:
    batch = store_images(pictures(), pipeline(stored="jpeg", side=256))
    file = batch.files[0]
    readers = [ImageReader(pipeline(stored="jpeg", side=256, draft=draft), SHAPE) for draft in (False, True)]
    whole, drafted = (reader(file).astype(int) for reader in readers)
    assert np.abs(whole - drafted).mean() < 6
    times: list[list[float]] = [[], []]
    for turn in range(40):
        start = time.thread_time()
        readers[turn % 2](file)
        times[turn % 2].append(time.thread_time() - start)
    assert min(times[1]) < min(times[0])


# Caching


def test_a_cache_goes_by_content_and_not_by_name(tmp_path: Path) -> None:
    reader = ImageReader(pipeline(cached=True), SHAPE)
    path = tmp_path / "image.png"
    path.write_bytes(encode(STORED[0], pipeline()))
    first = reader(str(path))
    (tmp_path / "copy.png").write_bytes(path.read_bytes())
    assert reader(str(tmp_path / "copy.png")) is first
    path.write_bytes(encode(STORED[1], pipeline()))
    np.testing.assert_array_equal(reader(str(path)), STORED[1])


def test_what_is_prepared_is_in_the_cache_by_the_time_of_a_call(tmp_path: Path) -> None:
    cached = opened(made(tmp_path, StoredImages(side=256), Cache()), tmp_path / "cached")
    uncached = opened(made(tmp_path, StoredImages(side=256)), tmp_path / "uncached")
    times = []
    for session in (uncached, cached):
        native = session.prepare(preprocess_images(STORED, PREPROCESS))
        start = time.thread_time()
        session.feed(native)
        times.append(time.thread_time() - start)
    assert times[1] < 0.5 * times[0]
    np.testing.assert_array_equal(answers(cached), answers(uncached))


# Workers


@pytest.fixture(params=[("threads", 1), ("threads", 2), ("processes", 1), ("processes", 2)])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    kind, count = request.param
    made_of = Workers(ImageReader(pipeline(), SHAPE), count, kind)
    yield made_of
    made_of.close()


def test_workers_give_the_images_in_their_order(workers: Workers) -> None:
    batch = store_images(STORED, pipeline())
    np.testing.assert_array_equal(np.stack(workers.read(batch.files)), STORED)
    np.testing.assert_array_equal(np.stack(workers.read(batch.files[::-1])), STORED[::-1])


def test_no_worker_process_outlives_the_session(tmp_path: Path) -> None:
    import psutil

    before = set(psutil.Process().children())
    session = opened(made(tmp_path, WorkerPool(count=2, kind="processes")), tmp_path / "a", threads=2)
    started = set(psutil.Process().children()) - before
    assert len(started) == 2
    np.testing.assert_allclose(answers(session), plain_answers(tmp_path / "plain"), rtol=0, atol=1e-4)
    session.close()
    assert not set(psutil.Process().children()) & started


def test_workers_are_refused_where_only_the_callers_thread_is_timed(tmp_path: Path) -> None:
    save(made(tmp_path, WorkerPool(count=1)), tmp_path / "a")
    with pytest.raises(NotApplicableError, match="holds one core, where the clock of the caller's thread decides"):
        runtimes.open(tmp_path / "a", threads=1, batches=(1,))


# Normalization inside the model

CONVOLUTIONS = st.fixed_dictionaries(
    {
        "out_channels": st.integers(1, 6),
        "kernel_size": st.sampled_from([1, 2, 3, (3, 5)]),
        "stride": st.integers(1, 2),
        "padding": st.sampled_from([0, 1, 2, (2, 1)]),
        "dilation": st.integers(1, 2),
        "bias": st.booleans(),
        "padding_mode": st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    }
)
NORMALIZED = st.sampled_from(
    [
        PREPROCESS,
        Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        Preprocess(mean=(0.5,), std=(0.5,)),
        Preprocess(std=(0.3,)),
        Preprocess(range="byte", mean=(120.0, 110.0, 100.0), std=(60.0,)),
    ]
)


@given(
    arguments=CONVOLUTIONS, preprocess=NORMALIZED, seed=st.integers(0, 1000), build=st.sampled_from([folded, preceded])
)
@settings(max_examples=150)
def test_a_convolution_of_pixels_is_that_of_normalized_images_up_to_its_border(
    arguments: dict[str, Any], preprocess: Preprocess, seed: int, build: Any
) -> None:
    torch.manual_seed(seed)
    convolution = nn.Conv2d(3, **arguments)
    before = {name: value.clone() for name, value in convolution.state_dict().items()}
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 3, 9, 11), dtype=np.uint8)
    with torch.no_grad():
        wanted = convolution(torch.from_numpy(preprocess_images(pixels, preprocess)))
        found = build(convolution, preprocess)(torch.from_numpy(pixels).float())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-5 * float(wanted.abs().max()) + 1e-5)
    assert all(torch.equal(value, before[name]) for name, value in convolution.state_dict().items())


def test_a_channel_is_added_only_where_zeros_are_padded_and_a_mean_is_taken_away() -> None:
    padded, bare = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3)
    assert isinstance(folded(padded, PREPROCESS), nn.Sequential)
    assert isinstance(folded(bare, PREPROCESS), nn.Conv2d)
    assert isinstance(folded(padded, Preprocess(std=(0.5,))), nn.Conv2d)
    assert folded(bare, PREPROCESS).in_channels == 3  # type: ignore[union-attr]


def test_the_bias_alone_would_be_wrong_at_the_border() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    inner: Any = folded(nn.Conv2d(3, 4, 3), PREPROCESS)
    inner.weight.data = folded(convolution, PREPROCESS)[1].weight.data[:, :3]  # type: ignore[index]
    pixels = torch.from_numpy(STORED).float()
    with torch.no_grad():
        wanted = convolution(torch.from_numpy(preprocess_images(STORED, PREPROCESS)))
        shift = (wanted - nn.functional.conv2d(pixels, inner.weight, padding=1)).mean((0,), keepdim=True)
    assert float((shift[..., 1:-1, 1:-1].amax((2, 3)) - shift[..., 1:-1, 1:-1].amin((2, 3))).max()) < 1e-3
    assert float((shift[..., 0, 0] - shift[..., 5, 5]).abs().max()) > 0.05


def test_a_grouped_convolution_is_folded_into_where_one_bias_will_do() -> None:
    torch.manual_seed(1)
    convolution = nn.Conv2d(3, 6, 3, groups=3)
    with torch.no_grad():
        wanted = convolution(torch.from_numpy(preprocess_images(STORED, PREPROCESS)))
        found = folded(convolution, PREPROCESS)(torch.from_numpy(STORED).float())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(NotApplicableError, match="grouped, pads zeros"):
        folded(nn.Conv2d(3, 6, 3, groups=3, padding=1), PREPROCESS)


@pytest.mark.parametrize("into", ["convolution", "layer"])
@pytest.mark.parametrize(
    "name", ["cifar-resnet8", "cifar-plain", "cifar-depthwise", "cifar-vit-270k", "mlperf-tiny-resnet8"]
)
def test_a_network_that_normalizes_answers_the_same_after_its_file_too(name: str, into: Any, tmp_path: Path) -> None:
    start = candidate(name)
    save(start, tmp_path / "plain")
    wanted = answers(runtimes.open(tmp_path / "plain", threads=1, batches=(COUNT,)))
    session = opened(made(tmp_path, Normalization(into=into), start=start), tmp_path / "a")
    np.testing.assert_allclose(answers(session), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_the_added_channel_survives_json() -> None:
    layer = folded(nn.Conv2d(3, 4, 3, padding=1), PREPROCESS)
    base = nn.ModuleDict({"x": nn.Identity()})
    again: Any = rebuild(base, describe(nn.ModuleDict({"x": layer}), nn.ModuleDict({"x": nn.Identity()})))["x"]  # type: ignore[index]
    assert (again[0].padding, again[0].value) == ((0, 0, 0, 0, 0, 1), CONSTANT)


def test_a_recurrent_network_has_no_convolution_to_fold_into(tmp_path: Path) -> None:
    with pytest.raises(
        NotApplicableError, match="into one convolution and nowhere else, here it is none of its layers"
    ):
        made(tmp_path, Normalization(), start=candidate("cifar-gru-270k"))


def test_images_that_go_to_two_places_are_noticed(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 10, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).mean((2, 3)) + x.mean((1, 2, 3)).view(-1, 1)

    start = dataclasses.replace(candidate(), module=Twice().eval())
    with pytest.raises(NotApplicableError, match="go elsewhere in the model"):
        made(tmp_path, Normalization(), start=start)


def test_normalizing_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="nothing to normalize"):
        made(tmp_path, Normalization(), Normalization(into="layer"))


def test_steps_after_it_see_pixels(tmp_path: Path) -> None:
    held = made(tmp_path, Normalization())
    assert held.preprocess_of(PREPROCESS) == PIXELS
    assert candidate().preprocess_of(PREPROCESS) == PREPROCESS


@pytest.mark.parametrize("into", ["convolution", "layer"])
def test_int8_after_it_answers_as_int8_before_it(into: Any, tmp_path: Path) -> None:
    static, run = TECHNIQUES.load("quantize.static")(), TECHNIQUES.load("run.onnxruntime")()
    session = opened(made(tmp_path, Normalization(into=into), static, run), tmp_path / "a")
    save(candidate(), tmp_path / "plain")
    wanted = answers(runtimes.open(tmp_path / "plain", threads=1, batches=(COUNT,)))
    # As near as INT8 is: a scale that fits neither pixels nor the constant would leave nothing of the answers.
    assert np.abs(answers(session) - wanted).max() < 0.15 * np.abs(wanted).max()


# As a part of what is measured


def test_the_manifest_brings_the_pipeline_back(tmp_path: Path) -> None:
    held = made(tmp_path, StoredImages(form="jpeg", side=128, quality=80), Decoding(draft=True), Cache())
    save(held, tmp_path / "a")
    assert read_manifest(tmp_path / "a").execution == held.execution == load(tmp_path / "a").execution
    assert held.execution.input == pipeline(stored="jpeg", side=128, quality=80, draft=True, cached=True)


def test_a_pipeline_stays_through_export_and_quantization(tmp_path: Path) -> None:
    steps = [StoredImages(form="records"), TECHNIQUES.load("quantize.static")(), TECHNIQUES.load("run.onnxruntime")()]
    held = made(tmp_path, *steps)
    assert held.execution.input == pipeline(stored="records")
    assert held.execution.runtime == "onnxruntime"


@pytest.mark.parametrize(
    "steps",
    [
        (StoredImages(),),
        (StoredImages(form="records"),),
        (Decoding(decoder="torchvision"),),
        (Cache(),),
        (StoredImages(form="records"), TECHNIQUES.load("run.onnxruntime")()),
    ],
    ids=["png", "records", "torchvision", "cache", "onnx"],
)
def test_a_pipeline_that_loses_nothing_changes_no_answer(steps: tuple[Any, ...], tmp_path: Path) -> None:
    session = opened(made(tmp_path, *steps), tmp_path / "a")
    plain = plain_answers(tmp_path / "plain")
    np.testing.assert_allclose(answers(session), plain, rtol=0, atol=1e-4 * np.abs(plain).max())


@pytest.mark.parametrize("steps", [(), (TECHNIQUES.load("run.onnxruntime")(),)], ids=["torch", "onnx"])
def test_a_call_reads_its_files_and_asks_the_model(steps: tuple[Any, ...], tmp_path: Path) -> None:
    session = opened(made(tmp_path, StoredImages(), *steps), tmp_path / "a")
    native = session.prepare(preprocess_images(STORED, PREPROCESS))
    before = session.logits(session.run(native))
    files = [Path(file) for file in native.files]
    for file, other in zip(files, [file.read_bytes() for file in reversed(files)], strict=True):
        file.write_bytes(other)
    after = session.logits(session.run(native))
    np.testing.assert_allclose(after, before[::-1], rtol=0, atol=1e-4 * np.abs(before).max())
    files[0].unlink()
    with pytest.raises(FileNotFoundError):
        session.run(native)


def test_timed_inputs_are_files_and_unseen_ones_are_others(tmp_path: Path) -> None:
    session = opened(made(tmp_path, StoredImages()), tmp_path / "a")
    arm = SessionArm(session, preprocess_images(STORED, PREPROCESS)[:, None])
    first, *_ = arm.inputs()
    [other] = arm.unseen(1)
    assert Path(first.files[0]).read_bytes() != Path(other.files[0]).read_bytes()
    assert len(arm.classes_of(arm.call(first))) == 1


def test_the_pipeline_alone_is_timed_per_image_with_an_interval_over_launches() -> None:
    ticks = iter(np.arange(0, 1000, 0.5))
    calls = feeding.measure(lambda native: None, ["a", "b"], clock=lambda: float(next(ticks)))
    assert calls == (0.5,) * 4
    [value] = input_metrics([(0.5, 0.5), (0.5, 0.7)], batch=10)
    assert (value.name, value.scope, value.unit, value.n) == ("input_time", "batch=10", "s", 4)
    assert value.value == pytest.approx(0.05)
    assert value.low is not None
    assert value.high is not None
    assert value.low < 0.05 < value.high
    assert input_metrics([(), ()], batch=10) == ()


def test_a_profile_shows_the_pipeline_as_one_operator_beside_the_models(tmp_path: Path) -> None:
    held = made(tmp_path, StoredImages(side=128), TECHNIQUES.load("run.onnxruntime")())
    save(held, tmp_path / "a")
    question = Question(
        images=preprocess_images(STORED, PREPROCESS),
        threads=1,
        cache=tmp_path / "cache",
        scratch=tmp_path,
        seconds=0.05,
    )
    found = runtimes.profile(tmp_path / "a", question)
    [reading] = [each for each in found.operators if each.kind == "input"]
    assert 0 < reading.seconds < found.call_s * 1.5
    assert any(each.kind == "convolution" for each in found.operators)
    assert sum(each.macs for each in found.operators) == COUNT * statistics(candidate()).macs


# What does not go together


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((StoredImages(form="records"), Decoding(decoder="torchvision")), "not decoded: decoder does nothing"),
        ((StoredImages(form="records"), Cache()), "cache does nothing"),
        ((StoredImages(form="records"), WorkerPool(count=1)), "workers does nothing"),
        ((StoredImages(form="png", side=128), Decoding(draft=True)), "large JPEGs"),
        ((StoredImages(form="jpeg", side=40), Decoding(draft=True)), "'side' of 64 or more"),
        ((Decoding(filter="nearest"),), "as large as the model takes them"),
        ((Cache(), WorkerPool(count=1, kind="processes")), "memory of one process"),
    ],
)
def test_what_does_not_go_together_is_refused(steps: tuple[Any, ...], reason: str, tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match=reason):
        made(tmp_path, *steps)


def test_parameters_that_contradict_each_other_are_a_persons_mistake() -> None:
    with pytest.raises(InputError, match="records hold images as the model takes them"):
        StoredImages(form="records", side=64)
    with pytest.raises(InputError, match="draft is Pillow's"):
        Decoding(decoder="torchvision", draft=True)


def test_a_model_of_no_images_has_no_input_pipeline(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="grey or coloured images"):
        made(tmp_path, StoredImages(), start=dataclasses.replace(candidate(), input_shape=(64,)))
    with pytest.raises(NotApplicableError, match="equal sides"):
        made(tmp_path, StoredImages(side=64), start=dataclasses.replace(candidate(), input_shape=(3, 32, 48)))


@pytest.mark.slow
def test_a_recipe_with_a_pipeline_goes_through_every_phase_and_leaves_no_file(tiny_task: Path, tmp_path: Path) -> None:
    task = tiny_task.with_name("pipeline.toml")
    task.write_text(
        f'extends = "{tiny_task.name}"\n[measure]\nbatches = [8]\n'
        "[recipes.png-folded]\nsteps = [\n"
        '{ technique = "data.stored", side = 64 },\n{ technique = "data.normalize" },\n'
        '{ technique = "run.onnxruntime" }]\n'
    )
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = [sys.executable, "-m", "paretoboard", "run", str(task), "--only", "png-folded", "--results", "results"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ, "TMPDIR": str(folder)}
    )
    assert done.returncode == 0, done.stderr
    records = {record.recipe: record for record in store.read(tmp_path / "results").records}
    record = records["png-folded"]
    assert record.status == "ok"
    found, latency = record.metric("input_time", "batch=8"), record.metric("latency", "batch=8")
    assert found is not None
    assert latency is not None
    assert 0 < 8 * found.value < latency.value
    [beside] = [each for each in record.comparisons if each.against == "ort-fp32"]
    assert beside.ratio > 1.1
    assert record.diagnosis is not None
    assert "input" in {each.kind for each in record.diagnosis.operators}
    quality = [records[name].metric("top1") for name in ("baseline", "png-folded")]
    assert abs(quality[0].value - quality[1].value) < 0.05  # type: ignore[union-attr]
    assert list(folder.glob("**/paretoboard-images-*")) == []
