"""Nights: what comes first, what is measured again at once, what is written down, and what is let go."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import builders
from paretoboard import regressions, store
from paretoboard.cli import logfile, nightly_summary
from paretoboard.errors import StoreError
from paretoboard.plan import RunSpec
from paretoboard.records import RunRecord
from paretoboard.store import light, nightlies, pruning
from paretoboard.store.nightlies import Nightly, SelfCheck
from paretoboard_reports import pages, site
from paretoboard_reports.view.nights import told
from paretoboard_runners import machine
from paretoboard_runners import nightly as night
from paretoboard_runners.runner import Progress

PROVENANCE = builders.provenance()
PRINTS = machine.Fingerprints(hardware_id=PROVENANCE.hardware_id, environment_id=PROVENANCE.environment_id)
FIRST = datetime(2026, 11, 1, 2, 17, tzinfo=UTC)
TASKS = ("quick/digits",)
RUNS = tuple(builders.run_spec(recipe=builders.recipe(name)) for name in ("baseline", "ort-fp32", "ort-int8"))


class Machine:
    """A runner and its observer: measures nothing, takes a minute each, and is as fast as `times` says."""

    def __init__(self, now: datetime, times: Callable[[str, int], float], broken: Sequence[str] = ()) -> None:
        self.now, self.times, self.broken = now, times, broken
        self.measured: list[str] = []

    def measure(self, run: RunSpec, watch: Callable[[Progress], None]) -> RunRecord:
        name = run.recipe.name
        time = self.times(name, self.measured.count(name))
        self.measured.append(name)
        self.now += timedelta(minutes=1)
        if name in self.broken:
            return builders.failed_record(name, spec=run, started_at=self.now)
        return builders.run_record(name, spec=run, speedup=1 / time, latency_s=1e-3 * time, started_at=self.now)

    def close(self) -> None:
        return

    def run_started(self, run: RunSpec, number: int, total: int) -> None:
        return

    def run_progressed(self, progress: Progress) -> None:
        return

    def run_finished(self, record: RunRecord, path: Path) -> None:
        return

    def minutes(self) -> float:
        return self.now.timestamp()


def known_in(results: Path):
    return store.known(results, tasks={"quick/digits"})


def begin(results: Path, now: datetime, **overrides) -> Nightly:
    before, _ = nightlies.read_all(results)
    given = {"tasks": TASKS, "before": before, "known": known_in(results), "prints": PRINTS, "commit": "c0ffee"}
    return night.begin(RUNS, now=now, **{**given, **overrides})


def spend(
    results: Path,
    now: datetime,
    times: Callable[[str, int], float] = lambda name, again: 1.0,
    *,
    minutes: float = 60,
    broken: Sequence[str] = (),
    ends: bool = True,
    distrust: str = "",
) -> tuple[Nightly, Machine]:
    """One night, as the verb goes about it."""
    here = Machine(now, times, broken)
    begun = begin(results, now)
    begun = dataclasses.replace(begun, distrust=begun.distrust or distrust)
    before, _ = nightlies.read_all(results)
    judge = regressions.judge_of(results)
    goes_on = any(each.file_name == begun.file_name for each in before)
    nightlies.write(results, begun)
    known = known_in(results)
    history = store.history(results)
    found = judge(history)
    first = night.awaited(found, PRINTS.hardware_id)
    held = night.Night(
        results=results,
        runner=here,
        observer=here,
        nightly=begun,
        history=history,
        judge=judge,
        known=known,
        clock=here.minutes,
    )
    if goes_on:
        held.resume()
    if not begun.distrust:
        held.decide(night.drifting(found, RUNS, PRINTS.hardware_id), deadline=None)
    todo = night.ordered(RUNS, known, PRINTS, first=first, since=begun.started_at if goes_on else None)
    done = held.measure(todo, deadline=now.timestamp() + 60 * minutes)
    if ends:
        done = dataclasses.replace(done, ended_at=here.now)
        nightlies.write(results, done)
    return done, here


def level(results: Path, count: int) -> datetime:
    """Some nights on which every recipe is as fast as ever, within a fraction of a percent; the next night."""
    for number in range(count):
        here = Machine(FIRST + timedelta(days=number), lambda name, again, n=number: 1 + 0.001 * (-1) ** n)
        begun = begin(results, here.now, known={})
        for run in RUNS:
            store.append(results, here.measure(run, lambda progress: None))
        nightlies.write(results, dataclasses.replace(begun, ended_at=here.now))
    return FIRST + timedelta(days=count)


# what comes first


def test_what_was_never_measured_comes_before_what_was_measured_longest_ago(tmp_path):
    for recipe, hours in (("ort-int8", 1), ("baseline", 5)):
        store.append(tmp_path, builders.run_record(recipe, started_at=FIRST - timedelta(hours=hours)))
    order = night.ordered(RUNS, known_in(tmp_path), PRINTS, first=set())
    assert [run.recipe.name for run in order] == ["ort-fp32", "baseline", "ort-int8"]


def test_records_of_another_machine_say_nothing_of_when_something_was_measured_here(tmp_path):
    store.append(tmp_path, builders.run_record("ort-fp32", started_at=FIRST))
    store.append(
        tmp_path,
        builders.run_record("baseline", started_at=FIRST, provenance=builders.provenance(hardware_id="f" * 64)),
    )
    order = night.ordered(RUNS, known_in(tmp_path), PRINTS, first=set())
    assert [run.recipe.name for run in order] == ["baseline", "ort-int8", "ort-fp32"]


def test_what_got_slower_last_night_is_measured_before_anything_else(tmp_path):
    tonight = level(tmp_path, 6)
    spend(tmp_path, tonight, lambda name, again: 1.06 if name == "ort-int8" else 1.0)
    _, here = spend(tmp_path, tonight + timedelta(days=1), minutes=0.5)
    assert here.measured == ["ort-int8"]


def test_what_the_budget_did_not_reach_comes_first_the_next_night(tmp_path):
    tonight = level(tmp_path, 1)
    _, here = spend(tmp_path, tonight, minutes=1.5)
    _, next_time = spend(tmp_path, tonight + timedelta(days=1), minutes=0.5)
    assert here.measured == ["baseline", "ort-fp32"]
    assert next_time.measured == ["ort-int8"]


# measured again at once


def test_a_slower_run_is_measured_again_at_once_and_a_mishap_decides_nothing(tmp_path):
    tonight = level(tmp_path, 6)
    done, here = spend(tmp_path, tonight, lambda name, again: 1.2 if (name, again) == ("ort-int8", 0) else 1.0)
    assert here.measured == ["baseline", "ort-fp32", "ort-int8", "ort-int8", "ort-int8"]
    assert [run.repeat for run in done.runs] == [0, 0, 0, 1, 2]
    assert not regressions.find(store.history(tmp_path)).of("new", "confirmed")


def test_a_real_slowdown_is_confirmed_on_its_third_night_and_stops_being_measured_thrice(tmp_path):
    tonight = level(tmp_path, 6)
    states, counts = [], []
    for number in range(7):
        _, here = spend(
            tmp_path, tonight + timedelta(days=number), lambda name, again: 1.06 if name == "ort-int8" else 1.0
        )
        found = regressions.find(store.history(tmp_path))
        states.append([change.state for change in found.changes if change.series.key.what == "speed"])
        counts.append(here.measured.count("ort-int8"))
    assert states[:3] == [["new"], ["new"], ["confirmed"]]
    assert states[-1] == ["confirmed"]
    assert counts[0] == 3
    assert counts[-1] == 1


def test_a_run_that_fails_and_was_fine_before_is_tried_again_and_called_broken(tmp_path):
    tonight = level(tmp_path, 1)
    done, here = spend(tmp_path, tonight, broken=["ort-fp32"])
    assert here.measured.count("ort-fp32") == 3
    assert [run.broke for run in done.runs if run.recipe == "ort-fp32"] == [False, False, True]
    again, here = spend(tmp_path, tonight + timedelta(days=1), broken=["ort-fp32"])
    assert here.measured.count("ort-fp32") == 1
    assert not any(run.broke for run in again.runs)


def test_a_drift_is_decided_by_one_long_run_that_is_kept_apart(tmp_path):
    frame = drifting_history()
    here = Machine(LAST_OF_DRIFT, lambda name, again: 1.03)
    found = regressions.find(frame)
    [(series, run)] = night.drifting(found, RUNS, PRINTS.hardware_id)
    assert (run.recipe.name, run.measure.budget) == ("ort-int8", "release")
    held = night.Night(
        results=tmp_path,
        runner=here,
        observer=here,
        nightly=begin(tmp_path, LAST_OF_DRIFT),
        history=frame,
        judge=regressions.find,
        known={},
    )
    (long_run,) = held.decide([(series, run)], deadline=None).long_runs
    assert long_run.ratio == pytest.approx(1.03)
    assert store.known(tmp_path) == {}
    assert len(store.known(tmp_path / "nightly" / "long")) == 1
    (decided,) = regressions.find(frame, long_runs=[long_run]).changes
    assert (decided.kind, decided.state) == ("drift", "confirmed")
    assert decided.low > 0.02
    assert "launches on 2026-12-10 confirm it" in told(decided).says_so
    small = dataclasses.replace(long_run, ratio=1.005, low=1.0, high=1.01)
    (open_still,) = regressions.find(frame, long_runs=[small]).changes
    assert open_still.state == "new"
    assert "do not confirm it" in told(open_still).says_so
    assert night.drifting(regressions.find(frame, long_runs=[small]), RUNS, PRINTS.hardware_id) == []


LAST_OF_DRIFT = FIRST + timedelta(days=39, minutes=1)


def drifting_history():
    """Forty nights of one recipe that gets slower by a twentieth of a percent each, and in the end by more."""
    times = [1 + 0.0005 * number * (number > 33) for number in range(40)]
    return light.of(
        builders.run_record("ort-int8", speedup=1 / time, started_at=FIRST + timedelta(days=number))
        for number, time in enumerate(times)
    )


# interruptions


def test_an_interrupted_night_goes_on_where_it_was_and_measures_nothing_twice(tmp_path):
    tonight = level(tmp_path, 1)
    spend(tmp_path, tonight, minutes=1.5, ends=False)
    done, here = spend(tmp_path, tonight + timedelta(hours=1))
    assert here.measured == ["ort-int8"]
    assert [run.recipe for run in done.runs] == ["baseline", "ort-fp32", "ort-int8"]
    assert done.started_at == tonight
    assert done.notes[-1].startswith("Interrupted after 2 runs, and continued at 2026-11-02 03:17 UTC")


def test_a_record_that_was_stored_and_not_yet_noted_is_noted_when_the_night_goes_on(tmp_path):
    spend(tmp_path, FIRST, minutes=1.5, ends=False)
    (begun,), _ = nightlies.read_all(tmp_path)
    nightlies.write(tmp_path, dataclasses.replace(begun, runs=begun.runs[:1]))
    done, here = spend(tmp_path, FIRST + timedelta(hours=1))
    assert here.measured == ["ort-int8"]
    assert sorted(run.recipe for run in done.runs) == ["baseline", "ort-fp32", "ort-int8"]


@pytest.mark.parametrize("change", ["a day later", "other tasks", "other software", "the end was reached"])
def test_only_the_same_night_is_continued(tmp_path, change):
    spend(tmp_path, FIRST, minutes=1.5, ends=change == "the end was reached")
    later = FIRST + (timedelta(hours=21) if change == "a day later" else timedelta(hours=1))
    other = {
        "other tasks": {"tasks": ("cifar10",)},
        "other software": {"prints": dataclasses.replace(PRINTS, environment_id="e" * 64)},
    }
    begun = begin(tmp_path, later, **other.get(change, {}))
    assert begun.started_at == later
    assert begun.runs == ()


def test_missed_nights_are_told(tmp_path):
    tonight = level(tmp_path, 2)
    assert begin(tmp_path, tonight).notes == ()
    (note,) = begin(tmp_path, tonight + timedelta(days=3)).notes
    assert "began at 2026-11-02 02:17 UTC: 3 missed since" in note


def test_a_night_on_another_machine_is_no_night_here(tmp_path):
    level(tmp_path, 1)
    here = dataclasses.replace(PRINTS, hardware_id="d" * 64)
    assert begin(tmp_path, FIRST + timedelta(days=9), prints=here, known={}).notes == ()


# nights that decide nothing


def test_a_clock_that_was_set_back_is_told_and_its_night_decides_nothing(tmp_path):
    level(tmp_path, 2)
    begun = begin(tmp_path, FIRST - timedelta(hours=3))
    assert begun.distrust == "the clock was set back"
    assert begun.notes[0].startswith("The clock says 2026-10-31 23:17 UTC, and something here began at 2026-11-02")


def test_clocks_that_differ_by_a_minute_are_the_same(tmp_path):
    level(tmp_path, 1)
    assert begin(tmp_path, FIRST + timedelta(minutes=2)).distrust == ""


def test_nights_that_are_not_trusted_are_kept_and_left_out_of_the_comparison(tmp_path):
    tonight = level(tmp_path, 6)
    for number in range(4):
        _, here = spend(
            tmp_path, tonight + timedelta(days=number), lambda name, again: 1.2, distrust="the self-check failed"
        )
        assert len(here.measured) == 3
    history = store.history(tmp_path)
    assert regressions.find(history).of("confirmed")
    kept = nightlies.trusted(history, nightlies.read_all(tmp_path)[0])
    assert len(history) - len(kept) == 12
    assert not regressions.find(kept).changes


@pytest.mark.parametrize(
    ("false_alarms", "found", "wrong_way", "passed"),
    [(0, 2, 0, True), (1, 1, 0, True), (2, 2, 0, False), (0, 0, 0, False), (0, 2, 1, False)],
)
def test_a_self_check_fails_on_what_a_fit_machine_hardly_ever_shows(false_alarms, found, wrong_way, passed):
    check = SelfCheck(
        identical=4,
        false_alarms=false_alarms,
        planted=2,
        planted_extra=0.03,
        found=found,
        wrong_way=wrong_way,
    )
    assert check.passed is passed


# what is kept


def test_a_nightly_is_read_back_as_it_was_written_and_damage_costs_nothing_of_the_others(tmp_path):
    done, _ = spend(tmp_path, FIRST)
    (tmp_path / "nightly" / "20261102T021700Z-00000000.json").write_text('{"version": 1')
    (tmp_path / "nightly" / "20261103T021700Z-00000000.json").write_text(
        json.dumps({**nightlies.as_plain(done), "version": 99})
    )
    found, damaged = nightlies.read_all(tmp_path)
    assert found == (done,)
    assert ["not a nightly" in damaged[0], "of version 99" in damaged[1]] == [True, True]


def test_pruning_lets_old_nights_go_and_keeps_the_newest_record_of_every_run(tmp_path):
    level(tmp_path, 5)
    odd = builders.run_record("bf16", started_at=FIRST)
    other = builders.run_record("bf16", started_at=FIRST, provenance=builders.provenance(hardware_id="f" * 64))
    failed = builders.failed_record("bf16", started_at=FIRST + timedelta(hours=1))
    for record in (odd, other, failed):
        store.append(tmp_path, record)
    removed = pruning.prune(
        tmp_path, before=FIRST + timedelta(days=3), hardware_id=PRINTS.hardware_id, tasks=["quick/digits"]
    )
    assert removed == 9
    left = store.history(tmp_path)
    assert sorted(left["recipe"].astype(str)) == sorted(["baseline", "ort-fp32", "ort-int8"] * 2 + ["bf16"] * 3)
    assert store.verify(tmp_path) == ()


def test_a_pack_goes_when_none_of_its_records_is_to_stay(tmp_path):
    level(tmp_path, 2)
    store.compact(tmp_path)
    for number in (2, 3):
        spend(tmp_path, FIRST + timedelta(days=number))
    arguments = {"hardware_id": PRINTS.hardware_id, "tasks": ["quick/digits"]}
    assert pruning.prune(tmp_path, before=FIRST + timedelta(days=1), **arguments) == 0
    assert pruning.prune(tmp_path, before=FIRST + timedelta(days=2), **arguments) == 6
    assert store.pack_files(tmp_path) == []
    assert len(store.history(tmp_path)) == 6
    assert [path.name for path in (tmp_path / "records" / "quick" / "digits").glob("pack-*")] == []


def test_a_disk_that_refuses_is_told_and_keeps_what_was_there(tmp_path, monkeypatch):
    done, _ = spend(tmp_path, FIRST)
    (tmp_path / "nightly").chmod(0o500)
    monkeypatch.setattr("paretoboard.durable.write", _refuse)
    with pytest.raises(StoreError, match=r"can't be stored: No space left on device"):
        nightlies.write(tmp_path, dataclasses.replace(done, notes=("more",)))
    (tmp_path / "nightly").chmod(0o700)
    assert nightlies.read_all(tmp_path)[0] == (done,)


def _refuse(path: Path, content: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_a_log_is_bounded_and_old_ones_go(tmp_path, monkeypatch):
    for number in range(5):
        (tmp_path / f"2026110{number}T000000Z-aa.log").write_text("old\n")
    monkeypatch.setattr(logfile, "MOST_BYTES", 200)
    monkeypatch.setattr(sys, "stderr", told_here := io.StringIO())
    newest = tmp_path / "20261109T000000Z-aa.log"
    with logfile.logged(newest, keep=2):
        for number in range(100):
            print(f"line {number}", file=sys.stderr)
    assert told_here.getvalue().count("\n") == 100
    assert newest.read_text().startswith("line 0\nline 1\n")
    assert newest.read_text().endswith("[the rest is left out: this file has reached its limit]\n")
    assert len(newest.read_text()) < 300
    assert len(list(tmp_path.glob("*.log"))) == 3  # two old ones, and this


# the summary


def summary_of(results: Path, done: Nightly, **overrides) -> nightly_summary.Summary:
    found = regressions.find(store.history(results))
    given = {
        "nightly": done,
        "confirmed": tuple(told(change) for change in found.of("confirmed")),
        "new": tuple(told(change) for change in found.of("new")),
        "improved": (),
        "cuts": found.cuts,
        "left": 0,
        "removed": 0,
        "damaged": (),
        "site": "",
    }
    return nightly_summary.Summary(**{**given, **overrides})


def test_the_summary_names_a_regression_with_its_interval_nights_and_command(tmp_path):
    tonight = level(tmp_path, 6)
    for number in range(3):
        done, _ = spend(
            tmp_path, tonight + timedelta(days=number), lambda name, again: 1.06 if name == "ort-int8" else 1.0
        )
    summary = summary_of(tmp_path, done)
    text = nightly_summary.markdown(summary)
    assert text.startswith("# Nightly 2026-11-09: 1 confirmed regression\n")
    assert "| quick/digits:ort-int8:cpu-1:" in text
    assert "+6." in text
    assert "| confirmed by 2 of 2 nights |" in text
    assert "`paretoboard run quick/digits --only ort-int8 --profile cpu-1 --fresh`" in text
    assert summary.exit_code == 1
    suite = ET.fromstring(nightly_summary.junit(summary)).find("testsuite")
    assert suite.get("tests") == "4"
    assert suite.get("failures") == "1"
    assert suite.find("testcase/failure").get("message").startswith("+6.")
    plain = json.loads(json.dumps(nightly_summary.plain(summary)))
    assert plain["confirmed"][0]["share"] == pytest.approx(0.06, abs=0.005)


def test_a_quiet_night_exits_with_zero_and_says_so(tmp_path):
    level(tmp_path, 3)
    done, _ = spend(tmp_path, FIRST + timedelta(days=3), minutes=1.5)
    summary = summary_of(tmp_path, done, left=1)
    assert summary.exit_code == 0
    text = nightly_summary.markdown(summary)
    assert "no confirmed regression" in text
    assert "2 of 3 runs measured, 1 left for the next night, which begins with them" in text


def test_a_broken_run_makes_the_night_fail_and_markup_in_reasons_stays_text(tmp_path):
    tonight = level(tmp_path, 1)
    done, _ = spend(tmp_path, tonight, broken=["ort-fp32"])
    reason = "<script>|\x00 bad\nnews"
    done = dataclasses.replace(
        done, runs=tuple(dataclasses.replace(run, reason=reason if run.broke else "") for run in done.runs)
    )
    summary = summary_of(tmp_path, done)
    assert summary.exit_code == 1
    text = nightly_summary.markdown(summary)
    assert "1 run broke" in text
    assert "| quick/digits / ort-fp32 | failed (was ok before) | &lt;script>\\|� bad news |" in text
    failure = ET.fromstring(nightly_summary.junit(summary)).find("testsuite/testcase/failure")
    assert failure.get("message").startswith("failed: <script>|")


def test_the_site_tells_of_the_last_night_and_of_those_that_decide_nothing(tmp_path):
    level(tmp_path, 1)
    spend(tmp_path, FIRST + timedelta(days=1), distrust="the self-check failed")
    written = {file.path: file.content.decode() for file in pages.files(site.read(tmp_path)) if "html" in file.path}
    assert "Last night, 2026-11-02 02:17 UTC: 3 of 3 runs measured; it decides nothing" in written["index.html"]
    assert "2026-11-02 02:17 UTC, machine" in written["regressions.html"]
    spend(tmp_path, FIRST + timedelta(days=2), minutes=1.5)
    written = {file.path: file.content.decode() for file in pages.files(site.read(tmp_path)) if "html" in file.path}
    assert "2 of 3 runs measured; <a" in written["index.html"]
    assert "0 confirmed regressions</a>, 0 new" in written["index.html"]


def test_a_night_that_is_not_trusted_concludes_nothing(tmp_path):
    done, _ = spend(tmp_path, FIRST, distrust="the self-check failed")
    summary = summary_of(tmp_path, done)
    assert summary.headline == "nothing can be concluded: the self-check failed"
    assert summary.exit_code == 0
