"""What every registered technique must keep to; a new one is tested by being registered."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paretoboard import runtimes
from paretoboard.artifact import ArtifactFile, Candidate, Execution, save
from paretoboard.datasets.preprocess import preprocess_images
from paretoboard.errors import NotApplicableError
from paretoboard.registry import TECHNIQUES
from paretoboard.runtimes.statistics import statistics
from paretoboard.spec import DetectionUse, TrainSettings
from paretoboard.techniques import Applied, Technique, Workbench
from small_models import PREPROCESS, candidate, exported, fingerprint, images, inputs, module, workbench

# Parameters that a technique has no default for, or that spare measurements which its own tests look at.
REQUIRED: dict[str, dict[str, Any]] = {
    "architecture.replace": {"model": "mlperf-tiny-resnet8", "lr": 0.001},
    "data.workers": {"count": 2},
    "detect.input_size": {"side": 32},  # as it is: its own tests look further
    "distill.attention": {"epochs": 1},
    "distill.decoupled": {"epochs": 1},
    "distill.logits": {"epochs": 1},
    "factorize.cp": {"macs": 0.8},
    "factorize.svd": {"macs": 0.3, "convolutions": "all"},
    "factorize.tucker2": {"macs": 0.3},
    "parallel.data": {"rounds": 0},
    "parallel.pipeline": {"rounds": 0},
    "parallel.sharded": {"rounds": 0},
    "parallel.tensor": {"rounds": 0},
    "prune.gradual": {"epochs": 1},
    "prune.structured": {"parameters": 0.3},
    "quantize.mixed": {"float_layers": 1},
    "quantize.qat": {"epochs": 1},
    "train.finetune": {"epochs": 1},
    "train.transfer": {"weights": "elsewhere.pth", "sha256": "0" * 64},
    "tune.search": {"sampler": "random", "trials": 1, "ranges": {"lr": {"low": 0.01, "high": 0.1, "log": True}}},
}
# Techniques that see training images more than once, and how many they see.
SEEN = {"tune.search": 64 + 52}  # of 64 images 12 are held out from the one trial
# Networks of techniques that the smallest one has nothing for: it has one block in each stage, is smaller than others
# that may come in its place, and pads its images, so that normalization inside of it takes more weights.
ARCHITECTURES = {
    "architecture.replace": "cifar-resnet20",
    "data.normalize": "cifar-vit-270k",
    "detect.boxes": "scene-detector",
    "detect.input_size": "scene-detector",
    "share.layers": "cifar-resnet20",
}
# What those networks give for an image where it is not ten logits.
OUTPUTS = {"scene-detector": (14, 4, 4)}
# What some machines have not; there, the techniques say so and are tested no further.
DEVICES = {"run.cuda", "run.tensorrt", "run.xla"}
OPTIONAL = DEVICES | ({"quantize.nncf", "run.openvino"} if importlib.util.find_spec("nncf") is None else set())
OPTIONAL |= {"tune.search"} if importlib.util.find_spec("optuna") is None else set()
BATCH = 8
NAMES = list(TECHNIQUES)
PIXELS = images(BATCH, seed=5).pixels
PREPARED = preprocess_images(PIXELS, PREPROCESS)  # made of pixels: an input pipeline finds them again


def technique(name: str) -> Technique:
    made: Technique = TECHNIQUES.load(name)(**REQUIRED.get(name, {}))
    return made


def bench(scratch: Path, *, detects: bool = False) -> Workbench:
    """A workbench of a task that trained its model, and with weights of the smallest network."""
    made = workbench(scratch)
    return dataclasses.replace(
        made,
        preprocess=dataclasses.replace(made.preprocess, resize=32, squash=True) if detects else made.preprocess,
        detection=DetectionUse(head="anchor-free") if detects else None,
        train_settings=TrainSettings(epochs=1, lr=0.01),
        weights=lambda weights: module(seed=4).state_dict(),
    )


def outputs(name: str) -> tuple[int, ...]:
    """The shape of what a technique's network gives for one image."""
    return OUTPUTS.get(ARCHITECTURES.get(name, ""), (10,))


def exports(made: Technique) -> bool:
    """Whether it takes graphs, and makes one of what is none."""
    return "onnx" in made.takes and made.gives == "onnx"


def suited(name: str) -> Candidate:
    """A network that the technique can be applied to."""
    return candidate(ARCHITECTURES.get(name, "cifar-resnet8"))


@dataclass(frozen=True, kw_only=True)
class Built:
    applied: Applied
    folder: Path
    files: tuple[ArtifactFile, ArtifactFile]  # of two builds that share nothing
    input_kept: bool  # the candidate it was applied to is as it was
    random_kept: bool  # torch's global generator is as it was


@dataclass(frozen=True, kw_only=True)
class Reloading:
    """A fresh process that opens every artifact it is told of, and keeps its logits."""

    process: subprocess.Popen[str]
    logits: Path
    errors: Path

    def tell(self, artifact: Path) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what ended it is told in the end
            self.process.stdin.write(f"{artifact}\n")
            self.process.stdin.flush()

    def done(self) -> dict[str, np.ndarray]:
        self.process.communicate(timeout=300)
        assert self.process.returncode == 0, self.errors.read_text()
        return dict(np.load(self.logits))


@pytest.fixture(scope="module")
def reloading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloading]:
    """Opens artifacts while others are still built: what is compiled, is compiled there only, and takes its time."""
    program = """
import pathlib, sys, numpy
from paretoboard import runtimes
images, out = numpy.load(sys.argv[1]), {}
for folder in map(pathlib.Path, map(str.strip, sys.stdin)):
    session = runtimes.open(folder, threads=2, batches=(len(images),))  # one for workers beside the caller
    out[folder.parent.name] = runtimes.predict(session, images, len(images))
    session.close()
numpy.savez(sys.argv[2], **out)
"""
    folder = tmp_path_factory.mktemp("logits")
    np.save(folder / "in.npy", PREPARED)
    command = [sys.executable, "-c", program, str(folder / "in.npy"), str(folder / "out.npz")]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, text=True)
    yield Reloading(process=process, logits=folder / "out.npz", errors=folder / "errors")
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def built(reloading: Reloading, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Every technique applied to the smallest network, twice, and saved; of OPTIONAL those that this machine has."""
    folder = tmp_path_factory.mktemp("artifacts")
    made = AsFarAsHere()
    for name in sorted(NAMES, key=lambda name: name != "run.compile"):  # compiling takes longest, so it begins first
        try:
            made[name] = build(name, folder / name)
        except NotApplicableError:
            if name not in OPTIONAL:
                raise
        else:
            reloading.tell(made[name].folder)
    return made


class AsFarAsHere(dict[str, "Built"]):
    """Skips a test that asks for what this machine can't build."""

    def __missing__(self, name: str) -> Built:
        pytest.skip(f"{name} can't be built here; its reason is tested beside it")


def build(name: str, folder: Path) -> Built:
    start = suited(name)
    assert start.module is not None
    before, random = fingerprint(start.module), torch.get_rng_state()
    applied = technique(name).apply(start, bench(folder / "scratch", detects=name.startswith("detect.")))
    random_kept = torch.equal(torch.get_rng_state(), random)
    torch.manual_seed(torch.initial_seed() + 1)  # the second build begins elsewhere
    # What takes graphs has exported the network. Now it is given a graph that was exported apart from that one.
    second = exported(start.architecture) if exports(technique(name)) else suited(name)
    again = technique(name).apply(second, bench(folder / "scratch-again", detects=name.startswith("detect.")))
    return Built(
        applied=applied,
        folder=folder / "one",
        files=(save(applied.candidate, folder / "one"), save(again.candidate, folder / "two")),
        input_kept=fingerprint(start.module) == before and start.execution == Execution(),
        random_kept=random_kept,
    )


@pytest.fixture(scope="module")
def reloaded(built: dict[str, Built], reloading: Reloading) -> dict[str, np.ndarray]:
    """Logits of every artifact from one fresh process."""
    return reloading.done()


@pytest.mark.parametrize("name", NAMES)
def test_a_technique_is_a_frozen_dataclass_that_names_its_source(name: str) -> None:
    made = technique(name)
    assert len(made.source) > 20
    assert set(made.takes) <= {"torch", "onnx"}
    assert made.takes
    assert made.version >= 1
    assert made == technique(name)
    assert type(made).__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.kw_only for field in dataclasses.fields(made))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def imports() -> dict[str, list[str]]:
    """By technique, the heavy libraries that are there once it was loaded after those before it, in a fresh process."""
    program = """
import json, sys
from paretoboard.registry import TECHNIQUES
heavy, found = {"torch", "numpy", "onnx", "onnxruntime"}, {}
for name in sys.argv[1:]:
    TECHNIQUES.load(name)
    found[name] = sorted(heavy & set(sys.modules))
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", program, *NAMES], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_technique_is_imported_without_torch(name: str, imports: dict[str, list[str]]) -> None:
    assert imports[name] == []


@pytest.mark.parametrize("name", NAMES)
def test_input_and_output_keep_their_shapes(name: str, built: dict[str, Built]) -> None:
    after, before = built[name].applied.candidate, suited(name)
    assert (after.input_shape, after.classes, after.architecture) == (
        before.input_shape,
        before.classes,
        REQUIRED.get(name, {}).get("model", before.architecture),
    )
    assert after.form == (technique(name).gives or "torch")
    if after.module is not None:
        assert not after.module.training
        images = torch.from_numpy(inputs(3)).to(getattr(torch, after.execution.dtype))
        with torch.inference_mode():
            assert after.module(images).shape == (3, *outputs(name))


@pytest.mark.parametrize("name", NAMES)
def test_what_it_is_applied_to_is_not_changed_and_no_random_number_is_drawn(name: str, built: dict[str, Built]) -> None:
    assert built[name].input_kept
    assert built[name].random_kept


@pytest.mark.parametrize("name", NAMES)
def test_two_builds_give_the_same_bytes(name: str, built: dict[str, Built]) -> None:
    # With the parameters above none may say that it can't; where a measurement decides, its own tests look further.
    assert technique(name).unrepeatable() == ""
    assert built[name].files[0] == built[name].files[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_is_stated(name: str, built: dict[str, Built]) -> None:
    images = {"train": 64, "calibration": 32, "teacher": 0}
    once = sum(images[need] for need in technique(name).needs_now())
    assert built[name].applied.images_seen == SEEN.get(name, once)


@pytest.mark.parametrize("name", NAMES)
def test_the_runtime_it_chooses_is_the_one_the_artifact_names(name: str, built: dict[str, Built]) -> None:
    after = built[name].applied.candidate
    default = "onnxruntime" if after.form == "onnx" else "eager"
    assert after.execution.runtime == (technique(name).runtime or default)


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_process_gives_the_outputs_of_this_one(
    name: str, built: dict[str, Built], reloaded: dict[str, np.ndarray]
) -> None:
    after = built[name].applied.candidate
    logits = reloaded[name]
    assert logits.shape == (BATCH, *outputs(name))
    assert np.isfinite(logits).all()
    if after.module is None:
        here = runtimes.predict(runtimes.open(built[name].folder, threads=1, batches=()), PREPARED, BATCH)
    else:
        # The module as it was applied, before it went through a file: the file must hold all that matters.
        own = preprocess_images(PIXELS, after.preprocess_of(PREPROCESS))
        with torch.inference_mode():
            here = after.module(torch.from_numpy(own).to(getattr(torch, after.execution.dtype)))
        here = here.float().numpy()
    scale = np.abs(here).max()
    exact = after.execution.dtype == "float32" and "autocast" not in after.execution.options
    tolerance = 1e-4 if exact else 2e-2
    np.testing.assert_allclose(logits, here, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", NAMES)
def test_the_scratch_folder_holds_no_drafts_afterwards(name: str, built: dict[str, Built]) -> None:
    # What a step goes on from after a kill is kept: the runner empties the folder once the artifact is stored.
    kept = re.compile(
        r"(finetune|distill|gradual|qat|replace|scratch|transfer|search)\.pt|search\.db|teacher-[0-9a-f]{32}\.npy"
    )
    left = [path.name for path in (built[name].folder.parent / "scratch").iterdir()]
    assert [each for each in left if not kept.fullmatch(each)] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_was_built_can_be_counted(name: str, built: dict[str, Built]) -> None:
    counts = statistics(built[name].applied.candidate)
    whole = statistics(suited(name))
    assert 0 < counts.nonzero_parameters <= counts.parameters <= whole.parameters
    assert 0 < counts.macs <= whole.macs


@pytest.mark.parametrize("name", NAMES)
def test_what_it_can_t_be_applied_to_is_refused_with_a_reason(name: str, graph: Candidate, tmp_path: Path) -> None:
    made = technique(name)
    refused = [] if "onnx" in made.takes else [graph]
    if exports(made):
        half = technique("quantize.cast").apply(candidate(), bench(tmp_path / "cast")).candidate
        compiled = dataclasses.replace(candidate(), execution=Execution(runtime="compile"))
        refused += [half, compiled]
    for start in refused:
        with pytest.raises(NotApplicableError, match=r"ONNX|can't be imported"):
            made.apply(start, bench(tmp_path / "scratch"))


@pytest.fixture(scope="module")
def graph() -> Candidate:
    return exported()
