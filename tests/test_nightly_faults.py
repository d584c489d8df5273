"""Nights as they really go: killed, started twice, without room on the disk, with damage, with other clocks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from paretoboard import store
from paretoboard.store import nightlies

# The tiny task with recipes that are scored and not timed: a night of seconds that goes through everything else.
MEASURED = """[measure]
    batches = [1]
    budget = "none"
    [recipes.sparse]
    steps = [{ technique = "prune.magnitude", sparsity = 0.5 }]
"""
# What a C library is asked for the time of day; the clock that only goes forward stays as it is.
SHIFTED_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { const char *text = getenv("SHIFT_CLOCK_S"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    typedef int (*function)(clockid_t, struct timespec *);
    function real = (function)dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += shift();
    return done;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec found;
    int done = clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec; now->tv_usec = found.tv_nsec / 1000;
    return done;
}
time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""


@pytest.fixture(scope="module")
def task(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nightly")
    for name in ("train", "test", "calibration"):
        shutil.copy(tiny_task.with_name(f"{name}.txt"), folder)
    path = folder / "short.toml"
    path.write_text(tiny_task.read_text().partition("[measure]")[0] + MEASURED)
    return path


@pytest.fixture(scope="module")
def first_night(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one night that reached its end; artifacts are built."""
    results = tmp_path_factory.mktemp("first") / "results"
    done = nightly(task, results)
    assert done.returncode == 0, done.stderr
    return results


@pytest.fixture
def results(first_night: Path, tmp_path: Path) -> Path:
    shutil.copytree(first_night, tmp_path / "results")
    return tmp_path / "results"


def command(task: Path, results: Path, *options: str) -> list[str]:
    given = [str(task), "--results", str(results), "--no-self-check"]
    given += [] if "--site" in options else ["--no-site"]
    return [sys.executable, "-m", "paretoboard", "nightly", *given, *options]


def nightly(task: Path, results: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(task, results, *options),
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def latest(results: Path) -> dict:
    return json.loads((results / "nightly" / "latest.json").read_text())


def records(results: Path) -> list[str]:
    return sorted(path.name for path in store.record_files(results))


def test_a_night_leaves_its_summary_three_ways_and_the_site_and_as_many_nights_as_it_should_keep(
    task: Path, results: Path
) -> None:
    before = records(results)
    done = nightly(task, results, "--site", str(results / "pages"), "--keep", "1")
    assert done.returncode == 0, done.stderr
    assert len(before) == len(records(results)) == 2
    assert not set(before) & set(records(results))
    assert latest(results)["removed"] == 2
    assert len(nightlies.read_all(results)[0]) == 1
    text = (results / "nightly" / "latest.md").read_text()
    assert "no confirmed regression" in text
    assert "2 of 2 runs measured" in text
    suite = ET.parse(results / "nightly" / "latest.xml").getroot().find("testsuite")
    assert [case.get("name") for case in suite] == ["baseline[cpu-1-0]", "sparse[cpu-1-0]"]
    assert latest(results)["exit_code"] == 0
    assert done.stdout.split() == [
        *(str(results / "nightly" / f"latest.{ending}") for ending in ("md", "xml", "json")),
        str((results / "pages" / "index.html").resolve()),
    ]
    assert (results / "pages" / "index.html").is_file()
    log = max((results / "nightly").glob("*.log")).read_text()
    assert "[2/2] short / sparse (cpu-1, seed 0): top-1" in log


def test_a_night_killed_at_any_moment_loses_nothing_and_the_next_call_goes_on_in_any_time_zone(
    task: Path, results: Path
) -> None:
    begun = set(records(results))
    notes = []
    # As soon as it is noted as begun, and as soon as a record is there.
    for patience, zone in ((0, "Pacific/Auckland"), (1, "Asia/Kathmandu")):
        environment = {**os.environ, "TZ": zone}
        started = subprocess.Popen(command(task, results), stderr=subprocess.PIPE, text=True, env=environment)
        _wait_until(lambda wanted=patience: _noted(results, wanted), started)
        os.kill(started.pid, signal.SIGKILL)
        started.communicate()
        assert store.verify(results) == ()
        assert begun <= set(records(results))
        notes.append(len(records(results)))
    assert notes == [2, 3]
    done = nightly(task, results, TZ="America/Los_Angeles")
    assert done.returncode == 0, done.stderr
    assert "Interrupted after 1 runs, and continued at" in done.stderr
    assert len(records(results)) == 4
    (first, second), damaged = nightlies.read_all(results)
    assert damaged == ()
    assert [run.recipe for run in second.runs] == ["baseline", "sparse"]
    assert first.ended_at < second.started_at
    assert f"begun {second.started_at:%H:%M} UTC" in (results / "nightly" / "latest.md").read_text()


def _noted(results: Path, runs: int) -> bool:
    found, _ = nightlies.read_all(results)
    return found[-1].ended_at is None and len(found[-1].runs) >= runs


def _wait_until(true, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing happened for two minutes"
        time.sleep(0.01)


def test_a_second_night_at_once_says_who_is_at_it_and_disturbs_nothing(task: Path, results: Path) -> None:
    started = subprocess.Popen(command(task, results), stderr=subprocess.PIPE, text=True)
    try:
        _wait_until(lambda: _noted(results, 0), started)
        second = nightly(task, results)
    finally:
        told = started.communicate(timeout=120)[1]
    assert second.returncode == 2
    assert f"another session is measuring here, process {started.pid} since " in second.stderr
    assert "Traceback" not in second.stderr
    assert started.returncode == 0, told
    assert len(records(results)) == 4


def test_a_full_disk_is_told_and_the_night_goes_on_when_there_is_room(task: Path, results: Path, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        small = disk / "results"
        shutil.copytree(results, small)
        before = records(small)
        used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
        _resize(disk, f"{used // 1024 + 24}k")
        full = nightly(task, small)
        assert full.returncode == 3, full.stderr
        assert "can't be stored: No space left on device" in full.stderr
        assert "Traceback" not in full.stderr
        assert store.verify(small) == ()
        assert set(before) <= set(records(small))
        _resize(disk, "64m")
        roomy = nightly(task, small)
        assert roomy.returncode == 0, roomy.stderr
        assert set(before) < set(records(small))
        assert latest(small)["nightly"]["planned"] == 2
        assert latest(small)["left"] == 0
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_a_damaged_record_is_named_and_costs_nothing_of_the_night(task: Path, results: Path) -> None:
    damaged = store.record_files(results)[0]
    damaged.write_bytes(damaged.read_bytes()[:-200])
    done = nightly(task, results)
    assert done.returncode == 0, done.stderr
    text = (results / "nightly" / "latest.md").read_text()
    assert f"left out: {damaged}" in text
    assert len(records(results)) == 4
    assert damaged.exists()
    assert [found.path for found in store.verify(results)] == [damaged]


@pytest.fixture(scope="session")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shifts the time of day of the processes that it is loaded into."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C compiler to build a clock that can be set back: `make debian` brings one")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(SHIFTED_CLOCK)
    library = folder / "clock.so"
    language = ["-x", "c"] if compiler.endswith("gcc") else ["-x", "c++"]
    subprocess.run(
        [compiler, *language, "-shared", "-fPIC", "-o", str(library), str(folder / "clock.c"), "-ldl"], check=True
    )
    return library


def test_a_clock_that_is_set_back_is_told_and_loses_nothing(task: Path, results: Path, shifted_clock: Path) -> None:
    done = nightly(task, results, LD_PRELOAD=str(shifted_clock), SHIFT_CLOCK_S="-10800")
    assert done.returncode == 0, done.stderr
    assert "The clock says " in done.stderr
    assert len(records(results)) == 4
    early = [entry for entry in store.history(results)["started_at"] if entry < datetime.now(UTC) - timedelta(hours=2)]
    assert len(early) == 2
    assert latest(results)["headline"] == "nothing can be concluded: the clock was set back"
    right = nightly(task, results)
    assert right.returncode == 0, right.stderr
    assert "The clock says " not in right.stderr
    assert len(records(results)) == 6
    assert store.verify(results) == ()


def test_pages_that_can_t_be_written_are_told_and_the_night_is_stored(task: Path, results: Path, tmp_path) -> None:
    (tmp_path / "site").write_text("a file where a folder should be")
    done = nightly(task, results, "--budget", "0.01s", "--site", str(tmp_path / "site"))
    assert done.returncode == 3
    assert f"{tmp_path / 'site'}: can't be written: File exists" in done.stderr
    assert "Traceback" not in done.stderr
    last = nightlies.read_all(results)[0][-1]
    assert (last.planned, last.measured, last.ended_at is None) == (2, 0, False)


def test_a_night_that_is_young_enough_is_not_repeated(task: Path, results: Path) -> None:
    done = nightly(task, results, "--if-older", "20h")
    assert done.returncode == 0
    assert "Nothing to do: the last nightly began at" in done.stderr
    assert len(records(results)) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--budget", "soon"], "a time such as '90s', '15m' or '2h' would be right"),
        (["--if-older", "-3h"], "a time such as"),
        (["--keep", "0"], "greater than or equal to 1"),
        (["--only", "spares"], "Did you mean 'sparse'?"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(task: Path, tmp_path: Path, options, says) -> None:
    done = nightly(task, tmp_path / "results", *options)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "results").exists()
