"""What goes wrong around a run: outputs that are no numbers, and a disk without room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import killing
from paretoboard import artifact, models, store, taskfile
from paretoboard.plan import expand
from paretoboard_runners import jobs, phases
from paretoboard_runners.supervise import Emitter


def test_outputs_that_are_not_numbers_fail_the_run_and_say_for_how_many_images(tiny_task: Path, tmp_path: Path) -> None:
    module = models.build("cifar-resnet8", 10)
    for parameter in module.parameters():
        parameter.data.fill_(float("nan"))
    candidate = artifact.Candidate(
        architecture="cifar-resnet8", classes=10, input_shape=(3, 32, 32), module=module.eval()
    )
    artifact.save(candidate, tmp_path / "artifact")
    [run, *_] = expand([taskfile.load(tiny_task)])
    job = jobs.QualityJob(
        artifact=tmp_path / "artifact",
        dataset=run.dataset,
        preprocess=run.preprocess,
        data_root=tmp_path,
        batches=(32,),
        threads=1,
    )
    (tmp_path / jobs.JOB).write_text(jobs.to_json(job))
    with Path(os.devnull).open("wb") as nowhere:
        code = phases.perform(
            "paretoboard_runners.quality:score",
            "paretoboard_runners.jobs:QualityJob",
            tmp_path,
            Emitter(nowhere.fileno()),
        )
    assert code == 1
    failure = jobs.from_json(jobs.Failure, (tmp_path / jobs.FAILURE).read_text())
    assert failure.kind == "DivergedError"
    assert failure.message == "outputs are not finite numbers for 597 of 597 images"


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_same_command_goes_on_when_there_is_room(
    tiny_task: Path, tiny_results: Path, small_disk: Path
) -> None:
    """A baseline is stored; then there is room neither for an artifact nor for the record that it could not be kept."""
    stored, kept = killing.begin_with_baseline(tiny_results, small_disk)
    command = [sys.executable, "-m", "paretoboard", "run", str(tiny_task), "--results", str(small_disk)]
    command += ["--only", "diverging"]
    resize(small_disk, f"{stored.stat().st_size // 1024 + 16}k")
    full = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert full.returncode == 3, full.stderr
    assert "Traceback" not in full.stderr
    assert "can't be stored: No space left on device" in full.stderr
    assert store.verify(small_disk) == ()
    resize(small_disk, "64m")
    roomy = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = {record.recipe: record for record in store.read(small_disk).records}
    assert {name: record.status for name, record in found.items()} == {"baseline": "ok", "diverging": "failed"}
    assert found["diverging"].reason.startswith("DivergedError"), roomy.stderr
    assert kept.read_bytes() == stored.read_bytes()


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
