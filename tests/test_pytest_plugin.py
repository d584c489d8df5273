"""`paretoboard_compare` in projects of other people: what is decided, what is told, and what is refused."""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# After each of its tests pytester forgets the modules that were imported meanwhile, and these can't be imported twice.
import onnxruntime  # noqa: F401
import pandas as pd  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch  # noqa: F401

import builders
from fakes.launches import Planted
from paretoboard import store, taskfile
from paretoboard.plan import expand
from paretoboard.pytest_plugin import comparing, launches, limits, measuring
from paretoboard.pytest_plugin.verdict import ComparisonError, Verdict
from paretoboard.spec import QualityTarget
from paretoboard_runners import machine
from paretoboard_runners.timing import LaunchPlan

TESTS = Path(__file__).parent
VALID = TESTS / "broken_tasks" / "valid.toml"
HEAVY = ("torch", "numpy", "pandas", "scipy", "pyarrow", "onnx", "onnxruntime")


def nothing() -> None:
    """A callable without arguments."""


def judged(launcher: launches.Launcher, tolerance: float = 0.015, budget: str = "test") -> Verdict:
    """What is made of launches."""
    pair = launches.Pair(baseline=nothing, candidate=nothing, fresh=False)
    return comparing.compare(
        pair, test="here", budget=budget, tolerance=tolerance, seed=1, timeout_s=1.0, launcher=launcher
    )


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Somebody else's project."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return pytester


def planted(project: pytest.Pytester, arguments: str) -> None:
    """Let the project's launches be planted ones."""
    project.makeconftest(
        f"""
        from paretoboard.pytest_plugin.fixture import LAUNCHER

        def pytest_configure(config):
            from fakes.launches import Planted
            config.stash[LAUNCHER] = Planted({arguments})
        """
    )


def run(project: pytest.Pytester, *arguments: object) -> pytest.RunResult:
    return project.runpytest_subprocess(*map(str, arguments), timeout=120)


# What is decided


@pytest.mark.parametrize(
    ("ratio", "scatter", "verdict", "looks"),
    [
        (1.05, 0.002, "slower", 1),
        (0.95, 0.002, "faster", 1),
        (1.0, 0.002, "same", 1),
        (1.01, 0.002, "same", 1),  # surely above 1, and too little to count
        (1.03, 0.2, "undecided", 2),
    ],
)
def test_launches_decide_in_one_look_or_ask_for_a_second(
    ratio: float, scatter: float, verdict: str, looks: int
) -> None:
    found = judged(Planted(ratio=ratio, scatter=scatter))
    assert (found.verdict, found.looks, found.launches) == (verdict, looks, limits.TEST_BUDGETS["test"].count * looks)
    assert getattr(found, verdict)
    assert [found.slower, found.faster, found.same, found.undecided].count(True) == 1
    assert found.low <= ratio <= found.high


def test_a_slowdown_within_the_tolerance_is_none() -> None:
    assert judged(Planted(ratio=1.05), tolerance=0.10).same
    assert judged(Planted(ratio=1.05), tolerance=0.03).slower


def test_windows_with_too_few_calls_are_an_overloaded_machine_and_never_a_pass() -> None:
    found = judged(Planted(ratio=1.5, calls=2))
    assert found.undecided
    assert found.reason.startswith("machine overloaded")
    assert found.effect == "not measured"
    assert found.as_dict()["ratio"] is None
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match=r"ask \.slower"):
        assert judged(Planted(ratio=1.0))


@pytest.mark.parametrize(("given", "share"), [("5%", 0.05), ("0.05", 0.05), (0.02, 0.02), ("1.5 %", 0.015)])
def test_tolerances_are_shares_or_percentages(given: Any, share: float) -> None:
    assert limits.tolerance_of(given, "here") == pytest.approx(share)


@pytest.mark.parametrize("given", ["", "5", "0", "-5%", "100%", "five", True, None, float("nan")])
def test_other_tolerances_are_refused_with_where_they_were_found(given: Any) -> None:
    with pytest.raises(pytest.UsageError, match=r"^here: found .* would be right$"):
        limits.tolerance_of(given, "here")


async def coroutine() -> None: ...


def generator() -> Any:
    yield 1


class AsyncCall:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (coroutine, "candidate: found an async function"),
        (generator, "candidate: found a generator"),
        (AsyncCall(), "candidate: found an async function"),
        (3, "candidate: found 3; a callable without arguments would be right"),
        (lambda x: x, "candidate: can't be called without arguments"),
    ],
)
def test_what_does_no_work_when_it_is_called_is_refused(candidate: Any, message: str) -> None:
    with pytest.raises(ComparisonError, match=message):
        launches.check(launches.Pair(baseline=nothing, candidate=candidate, fresh=False))


def test_cuda_in_this_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cuda:
        is_initialized = staticmethod(lambda: True)

    class Torch:
        cuda = Cuda

    monkeypatch.setitem(sys.modules, "torch", Torch)
    with pytest.raises(ComparisonError, match="CUDA is initialised"):
        launches.check(launches.Pair(baseline=nothing, candidate=nothing, fresh=False))


# Launches


def launched(tmp_path: Path, candidate: Any, *, fresh: bool = False, timeout_s: float = 30.0) -> launches.Launched:
    pair = launches.Pair(baseline=(lambda: nothing) if fresh else nothing, candidate=candidate, fresh=fresh)
    plan = LaunchPlan(seconds=0.1, seed=1, threads=1)
    return launches.launch(pair, plan, number=0, folder=tmp_path, timeout_s=timeout_s)


def test_a_launch_is_another_process_on_one_core(tmp_path: Path) -> None:
    seen = tmp_path / "seen.txt"

    def candidate() -> None:
        seen.write_text(f"{os.getpid()} {len(os.sched_getaffinity(0))}")

    found = launched(tmp_path, candidate)
    pid, cores = map(int, seen.read_text().split())
    assert (pid != os.getpid(), cores) == (True, 1)
    assert set(found.calls.arm) == {0, 1}
    assert len(os.sched_getaffinity(0)) == len(os.sched_getaffinity(os.getppid()))


def test_a_factory_makes_a_callable_for_each_window(tmp_path: Path) -> None:
    made = tmp_path / "made.txt"

    def factory() -> Any:
        with made.open("a") as stream:
            stream.write("x")
        return nothing

    found = launched(tmp_path, factory, fresh=True)
    assert len(made.read_text()) == 1 + len(set(found.calls.window))  # and once to try it out


def failing() -> None:
    raise KeyError("no such weight")


def leaving() -> None:
    os._exit(0)


def writing_and_dying() -> None:
    faulthandler.disable()  # pytest's own, which would tell of this death among the results of all tests
    os.write(2, b"segmentation in the night\n")
    os.abort()


def hanging() -> None:
    while True:
        pass


def promising() -> Any:
    return generator()


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (failing, r"(?s)raised KeyError.*in failing.*no such weight"),
        (leaving, "exit code 0 before it was done"),
        (writing_and_dying, r"(?s)killed by SIGABRT.*segmentation in the night"),
        (hanging, r"did not end within 1\.5 s and was killed"),
        (promising, "its work is not done when it returns"),
        (sys.exit, "raised SystemExit"),
    ],
)
def test_a_callable_that_fails_crashes_or_hangs_is_told(tmp_path: Path, candidate: Any, message: str) -> None:
    with pytest.raises(ComparisonError, match=message):
        launched(tmp_path, candidate, timeout_s=1.5)


def test_a_factory_that_makes_no_callable_is_told(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="with fresh=True a factory that returns a callable would be right"):
        launched(tmp_path, nothing, fresh=True)


def test_processes_of_the_test_outlive_its_launches_and_those_of_callables_do_not(tmp_path: Path) -> None:
    theirs = subprocess.Popen(["sleep", "60"])
    pid_file = tmp_path / "pid.txt"

    def candidate() -> None:
        if not pid_file.exists():
            pid_file.write_text(str(subprocess.Popen(["sleep", "60"]).pid))

    try:
        launched(tmp_path, candidate)
        assert theirs.poll() is None
        status = Path(f"/proc/{pid_file.read_text()}/status")
        assert not status.exists() or "\nState:\tZ" in status.read_text()
    finally:
        theirs.kill()
        theirs.wait()


# In projects of other people

PLANTED_TESTS = """
import pytest

def nothing(): ...

def test_plain(paretoboard_compare):
    paretoboard_compare(nothing, nothing)

@pytest.mark.paretoboard(tolerance=0.2)
def test_marked(paretoboard_compare):
    paretoboard_compare(nothing, nothing)

@pytest.mark.paretoboard(tolerance=0.2)
def test_argument_goes_before_marker(paretoboard_compare):
    paretoboard_compare(nothing, nothing, tolerance=0.01)

def test_code_decides(paretoboard_compare):
    verdict = paretoboard_compare(nothing, nothing, check=False)
    assert verdict.slower and not verdict.same

@pytest.mark.paretoboard(tolerence=0.2)
def test_misspelt(paretoboard_compare):
    paretoboard_compare(nothing, nothing)

def test_other():
    pass
"""


def test_argument_marker_and_option_give_the_tolerance_in_this_order(project: pytest.Pytester) -> None:
    planted(project, "ratio=1.05")
    project.makepyfile(PLANTED_TESTS)
    done = run(project, "--paretoboard-json", "out/all.json")
    done.assert_outcomes(passed=3, failed=3)
    done.stdout.fnmatch_lines(
        [
            "*candidate is slower than baseline: +5.* % [[]*",
            "*@pytest.mark.paretoboard knows no 'tolerence'. Did you mean 'tolerance'?*",
            "*paretoboard: candidate against baseline*",
            "*::test_plain *slower *+5.*counts from 1.5%*",
            "*::test_marked *same *counts from 20.0%*",
        ]
    )
    stored = json.loads((project.path / "out" / "all.json").read_text())
    assert [each["verdict"] for each in stored["comparisons"]] == ["slower", "same", "slower", "slower"]
    assert stored["machine"]["hardware"]["cpu"]
    wider = run(project, "--paretoboard-tolerance", "30%", "-k", "plain or goes_before")
    wider.assert_outcomes(passed=1, failed=1, deselected=4)


def test_what_is_inconclusive_is_told_and_fails_only_where_that_is_asked_for(project: pytest.Pytester) -> None:
    planted(project, "ratio=1.03, scatter=0.2")
    project.makepyfile("def test_it(paretoboard_compare):\n    paretoboard_compare(lambda: 1, lambda: 2)\n")
    done = run(project)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["1 of 1 inconclusive, neither passed nor failed:", "*too wide*"])
    strict = run(project, "--paretoboard-strict")
    strict.assert_outcomes(failed=1)
    strict.stdout.fnmatch_lines(["*candidate can't be told from baseline*"])


def test_workers_of_xdist_do_not_measure_and_the_marker_leaves_these_tests_out(project: pytest.Pytester) -> None:
    planted(project, "ratio=1.0")
    project.makepyfile(PLANTED_TESTS)
    done = run(project, "-n2", "-k", "plain or other")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*does not measure in a worker of pytest-xdist*"])
    run(project, "-n2", "-m", "not paretoboard").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--paretoboard-tolerance", "5"], "--paretoboard-tolerance: found '5' (did you mean '5%'?)*"),
        (["--paretoboard-budget", "standart"], "*unknown budget 'standart'. Did you mean 'standard'?"),
        (["--paretoboard", "quick/digis"], "*unknown task 'quick/digis'. Did you mean 'quick/digits'?"),
        (["--paretoboard", "-n2", "quick"], "*runs beside each other would time each other*"),
        (["--paretoboard"], "*name task files or folders of them*"),
        (["--paretoboard", TESTS / "broken_tasks" / "batches_descend.toml"], "*must ascend without repeats*"),
    ],
)
def test_wrong_options_and_tasks_end_the_session_with_a_word_on_what_is_right(
    project: pytest.Pytester, arguments: list[object], message: str
) -> None:
    done = run(project, *arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: {message}" if message[0] == "*" else f"*{message}"])
    done.stderr.no_fnmatch_line("*Traceback*")


def test_collecting_imports_nothing_heavy(project: pytest.Pytester) -> None:
    project.makeconftest(
        f"""
        import sys

        def pytest_unconfigure(config):
            print("IMPORTED", *(name for name in {HEAVY!r} if name in sys.modules), "end")
        """
    )
    project.makepyfile("def test_it(paretoboard_compare):\n    pass\n")
    plain = run(project)
    plain.assert_outcomes(passed=1)
    plain.stdout.fnmatch_lines(["IMPORTED end"])
    tasks = run(project, "--paretoboard", "quick/digits", "--collect-only", "-q")
    tasks.stdout.fnmatch_lines(["*digits.toml::ort-fp32[[]cpu-1-0[]]", "IMPORTED end"])


def test_runs_are_chosen_by_names_of_recipes_and_techniques_and_by_node_id(project: pytest.Pytester) -> None:
    done = run(project, "--paretoboard", "quick/digits", "--collect-only", "-q", "-k", "quantize.static")
    done.stdout.fnmatch_lines(["*digits.toml::ort-int8-static[[]cpu-1-0[]]"])
    assert run(project, "--paretoboard", "quick/digits", "--collect-only", "-q", "-m", "not paretoboard").ret == 5
    one = run(project, "--paretoboard", "quick/digits::bf16[cpu-1-0]", "--collect-only", "-q")
    assert [line for line in one.outlines if "::" in line and "bf16" not in line] == []
    one.stdout.fnmatch_lines(["1 test collected*"])


FOREIGN_TESTS = """
import numpy as np
import pytest
import reports, runners, suite, tasks

SQUARE = np.random.default_rng(0).random((200, 200), dtype=np.float32)

def work(units):
    for _ in range(units):
        SQUARE @ SQUARE

def test_their_own_packages_win():
    assert [each.OURS for each in (reports, runners, suite, tasks)] == [True] * 4

def test_equal(paretoboard_compare):
    verdict = paretoboard_compare(lambda: work(20), lambda: work(20), tolerance="20%", check=False)
    assert not verdict.slower and not verdict.faster

def test_slower(paretoboard_compare):
    paretoboard_compare(lambda: work(20), lambda: work(40))

def test_faster(paretoboard_compare):
    assert not paretoboard_compare(lambda: work(40), lambda: work(20)).slower

def test_beside_the_other_plugin(benchmark):
    benchmark.pedantic(work, args=(1,))
"""


@pytest.mark.alone
def test_real_comparisons_in_a_project_with_packages_named_like_ours(project: pytest.Pytester) -> None:
    for name in ("runners/__init__.py", "reports/__init__.py", "tasks.py", "suite.py"):
        file = project.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("OURS = True\n")
    project.makeconftest("import runners, suite\nassert runners.OURS and suite.OURS\n")
    project.makepyfile(FOREIGN_TESTS)
    done = run(project, "--paretoboard-budget", "quick", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=4, failed=1)
    done.stdout.fnmatch_lines(["*candidate is slower than baseline: +*"])
    assert "launches.py" not in done.stdout.str()  # how it was measured is of no use to whoever reads a failure
    without = run(project, "-p", "no:benchmark", "-k", "own_packages_win")
    without.assert_outcomes(passed=1, deselected=4)


# Tasks


def stored(results: Path, **given: Any) -> tuple[Any, Any]:
    """A run of the valid task with a record of this machine in `results`, and that record."""
    [task] = taskfile.load_all([str(VALID)])
    spec = next(expand([task]))
    record = builders.run_record(spec=spec, provenance=machine.provenance(), **given)
    store.append(results, record)
    return spec, record


@pytest.mark.parametrize(
    ("status", "reason", "outcome", "line"),
    [
        ("ok", "", "passed", "* passed*"),
        ("failed", "a layer is too large", "failed", "failed: a layer is too large"),
        ("timeout", "after 300 s", "failed", "timeout: after 300 s"),
        ("skipped", "no such device", "skipped", "*skipped: no such device*"),
    ],
)
def test_a_known_run_is_not_measured_again_and_its_status_is_the_tests(
    project: pytest.Pytester, status: Any, reason: str, outcome: str, line: str
) -> None:
    results = project.path / "kept"
    stored(results, status=status, reason=reason)
    before = sorted(results.rglob("*.parquet"))
    done = run(project, "--paretoboard", VALID, "--paretoboard-results", results, "-k", "baseline", "-rs")
    done.assert_outcomes(**{outcome: 1}, deselected=1)
    done.stdout.fnmatch_lines([line])
    assert sorted(results.rglob("*.parquet")) == before


def test_a_target_is_missed_only_where_the_whole_interval_lies_below_it(tmp_path: Path) -> None:
    spec, record = stored(tmp_path)
    value = dataclasses.replace(record.metrics[0], name=spec.quality.metric, value=0.95, low=0.92, high=0.97)
    record = dataclasses.replace(record, metrics=(value,))
    for target, missed in ((0.95, False), (0.969, False), (0.971, True)):
        asked = dataclasses.replace(spec, quality=QualityTarget(metric=spec.quality.metric, at_least=target))
        why = measuring.judged(asked, record, tmp_path).why
        assert bool(why) == missed, why
        assert why.startswith("quality: ") == missed


@pytest.mark.alone
def test_a_run_is_measured_stored_and_known_the_next_time(project: pytest.Pytester) -> None:
    arguments = ["--paretoboard", VALID, "--paretoboard-results", "kept", "-k", "baseline"]
    first = project.runpytest_subprocess(*map(str, arguments), timeout=400)
    first.assert_outcomes(failed=1, deselected=1)  # of a task that hardly trains: it misses its target
    first.stdout.fnmatch_lines(["quality: top1 is *; the task asks for at least 0.9"])
    records = sorted((project.path / "kept").rglob("*.parquet"))
    assert len(records) == 1
    run(project, *arguments).assert_outcomes(failed=1, deselected=1)
    assert sorted((project.path / "kept").rglob("*.parquet")) == records
