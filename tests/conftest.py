"""What tests share: where real data lies, and results that were really measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pynvml
import pytest

from fakes.nvml import FakeNvml
from paretoboard_runners import controls, nvml

pytest_plugins = ["pytester"]
REPOSITORY = Path(__file__).resolve().parent.parent
CHANGE = "PARETOBOARD_CHANGE_MACHINE"
NOT_CHANGED = f"set {CHANGE}=1 to let tests change settings of this machine for a moment"

# Networks of photographs run three times as fast in here: page faults took more than half of the time.
controls.keep_freed_memory()

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile(
    "any machine",
    parent=hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")

# Files of more than a minute, the longest first: one that began last would keep the other cores waiting in the end.
LONGEST = (
    "test_run.py",
    "test_bisect.py",
    "test_nightly_faults.py",
    "test_parallel.py",
    "test_site_checks.py",
    "test_nights_pages.py",
    "test_board_browser.py",
    "test_explore_pages.py",
    "test_regressions.py",
    "test_pytest_plugin.py",
    "test_compacting.py",
    "test_new.py",
    "test_imagenet_networks.py",
    "test_techniques_contract.py",
    "test_architecture.py",
    "test_detection_run.py",
    "test_train_techniques.py",
    "test_local.py",
    "test_contributions.py",
    "test_input_pipeline.py",
    "test_breaks_run.py",
    "test_fastestdet.py",
    "test_run_folder.py",
    "test_published_weights.py",
    "test_tune.py",
    "test_verify.py",
    "test_prune.py",
    "test_quantize.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin; the order within a file, and of all others, stays."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(params=["fake", "real"])
def nvml_library(request: pytest.FixtureRequest) -> Any:
    """NVML's functions: those of devices that exist nowhere and, where there is one, of a real device."""
    if request.param == "fake":
        return FakeNvml()
    try:
        with nvml.opened():
            return pynvml
    except nvml.NvmlError as error:
        pytest.skip(f"no NVIDIA device here: {error}")


@pytest.fixture
def changeable_nvml(nvml_library: Any) -> Any:
    """The same, where tests may change the device for a moment and nobody else is on it."""
    if isinstance(nvml_library, FakeNvml):
        return nvml_library
    if os.environ.get(CHANGE) != "1":
        pytest.skip(NOT_CHANGED)
    with nvml.opened(nvml_library) as library:
        gpu = nvml.visible_gpu(library)
        others = gpu.processes
        if others:
            pytest.skip(f"others use this device: {', '.join(map(str, others))}")
        limit_w = gpu.power_limit_w
        try:
            if limit_w is not None:
                gpu.set_power_limit(limit_w)
        except nvml.NotPermittedError:
            pytest.skip("only root may change this device")
    return nvml_library


@pytest.fixture(scope="session")
def exact_int8() -> None:
    """A processor whose INT8 kernels add in enough bits: what others answer is further from float than rounding is."""
    from paretoboard.runtimes.saturation import machine_saturates

    if machine_saturates():
        pytest.skip("this processor adds INT8 products in 16 bits, which saturate: it has no VNNI")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """A data root with real files: PARETOBOARD_DATA, or shared/data beside the repository."""
    given = os.environ.get("PARETOBOARD_DATA")
    root = Path(given).absolute() if given else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is not there, set PARETOBOARD_DATA to a data root")
    return root


@pytest.fixture(scope="session")
def cifar10_root(data_root: Path) -> Path:
    """A data root with at least the first training batch and the test batch of CIFAR-10's binary version."""
    for batch in ("data_batch_1.bin", "test_batch.bin"):
        if not (data_root / "cifar-10-batches-bin" / batch).exists():
            pytest.skip(f"no {batch} of CIFAR-10 in {data_root}")
    return data_root


@pytest.fixture(scope="session")
def imagenet_root(data_root: Path) -> Path:
    """A data root with the ImageNet images that tasks/imagenet names."""
    if not (data_root / "imagenet" / "val").is_dir():
        pytest.skip(f"no ImageNet in {data_root}")
    return data_root


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A per-user cache folder that begins empty."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "paretoboard"


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task that is measured in seconds: the embedded digits, one epoch, one recipe that works and one that can't."""
    folder = tmp_path_factory.mktemp("tasks")
    for name in ("train", "test", "calibration"):
        shutil.copy(REPOSITORY / "tasks" / "quick" / f"{name}.txt", folder)
    path = folder / "tiny.toml"
    path.write_text(
        """
        version = 1
        title = "A tiny task"
        quality = { metric = "top1" }
        seeds = [0]
        profiles = ["cpu-1"]
        [dataset]
        name = "digits"
        subset = "test"
        train = "train"
        calibration = "calibration"
        [model]
        name = "cifar-resnet8"
        train = { epochs = 1, lr = 0.1, batch = 64 }
        [measure]
        batches = [1]
        budget = "quick"
        [recipes.ort-fp32]
        steps = [{ technique = "run.onnxruntime" }]
        [recipes.diverging]
        steps = [{ technique = "train.finetune", epochs = 1, lr = 1e30 }]
        """
    )
    return path


@pytest.fixture(scope="session")
def tiny_results(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the tiny task, measured by the command line."""
    results = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "paretoboard", "run", str(tiny_task), "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr  # one run fails, as it should
    return results
