"""Two sets of results side by side, and `paretoboard compare`."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import MEASURED_AT, board_records, comparison, failed_record, provenance, run_record
from paretoboard import store
from paretoboard.side_by_side import SAME_TIME_WITHIN, side_by_side, time_change

NIGHT = datetime.timedelta(days=1)


def next_night(records, **overrides):
    return [dataclasses.replace(record, started_at=record.started_at + NIGHT, **overrides) for record in records]


def with_speed(record, speedup, spread=0.006):
    return dataclasses.replace(record, comparisons=(comparison(speedup, spread),))


def the_one(first, second, **options):
    (pairing,) = side_by_side([first], [second], **options).pairings
    return pairing


def test_the_same_results_are_the_same_and_no_regression():
    records = board_records()
    found = side_by_side(records, next_night(records))
    assert len(found.pairings) == len(records)
    assert not found.only_first
    assert not found.only_second
    assert not any(pairing.regressed for pairing in found.pairings)
    assert {pairing.quality.verdict for pairing in found.pairings if pairing.quality} <= {"same", "undecided"}


def test_a_recipe_that_answers_worse_is_a_regression():
    before, after = (
        run_record("ort-int8", accuracy=0.97, images=2000),
        run_record("ort-int8", accuracy=0.90, images=2000),
    )
    pairing = the_one(before, after)
    assert pairing.quality.verdict == "worse"
    assert pairing.regressed
    assert not the_one(after, before).regressed


def test_a_recipe_that_lost_its_speed_against_the_baseline_is_a_regression():
    before, after = (with_speed(run_record("ort-int8"), speedup) for speedup in (4.0, 3.0))
    pairing = the_one(before, after)
    assert pairing.time.basis == "each against its own baseline"
    assert pairing.time.ratio == pytest.approx(4 / 3)
    assert pairing.time.verdict == "worse"
    assert pairing.regressed


def test_an_open_interval_decides_nothing():
    wide = dataclasses.replace(comparison(4.0), low=0.0, high=math.inf)
    record = dataclasses.replace(run_record("ort-int8"), comparisons=(wide,))
    pairing = the_one(record, with_speed(record, 1.0))
    assert pairing.time.verdict == "undecided"
    assert not pairing.regressed


def test_what_had_numbers_and_has_none_is_a_regression():
    assert the_one(run_record("compile"), failed_record("compile")).regressed
    assert not the_one(failed_record("compile"), run_record("compile")).regressed
    assert not the_one(run_record("compile"), failed_record("compile", status="skipped")).regressed


@pytest.mark.parametrize("field", ["hardware_id", "environment_id"])
def test_across_machines_and_software_nothing_is_called_a_regression(field):
    before, after = (
        run_record("ort-int8", accuracy=0.97, images=2000),
        run_record("ort-int8", accuracy=0.5, images=2000),
    )
    pairing = the_one(before, dataclasses.replace(after, provenance=provenance(**{field: "f" * 64})))
    assert not pairing.regressed
    assert [difference.field for difference in pairing.guard.differences] == [field]
    assert (pairing.quality is None) == (field == "hardware_id")


def test_two_recipes_timed_side_by_side_are_judged_by_that():
    before = run_record("ort-fp32")
    direct = dataclasses.replace(comparison(2.0), against="ort-fp32")
    after = dataclasses.replace(run_record("ort-int8"), comparisons=(comparison(8.0), direct))
    pairing = the_one(before, after, by_recipe=False)
    assert pairing.time.basis == "timed side by side"
    assert pairing.time.ratio == pytest.approx(0.5)
    assert pairing.time.verdict == "better"


def test_of_several_results_the_newest_counts_and_of_several_machines_the_same():
    old = run_record("ort-int8")
    (new,) = next_night([old])
    (moved,) = next_night([new], provenance=provenance(hardware_id="f" * 64))
    (pairing,) = side_by_side([old, new], [old, moved]).pairings
    assert pairing.first is new
    assert pairing.second is old


@given(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0.001, 0.2))
def test_swapping_two_turns_the_ratio_and_its_interval_around(one, two, spread):
    first, second = (with_speed(run_record("ort-int8"), speedup, spread) for speedup in (one, two))
    there, back = time_change(first, second), time_change(second, first)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.low == pytest.approx(1 / back.high)
    turned = {"better": "worse", "worse": "better"}
    assert there.verdict == turned.get(back.verdict, back.verdict)
    assert there.low <= there.ratio <= there.high
    assert there.tolerance >= SAME_TIME_WITHIN


# The command


def compare(*arguments, cwd=None):
    command = [sys.executable, "-m", "paretoboard", "compare", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=cwd, env={**os.environ, "COLUMNS": "118"}
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    before, after = tmp_path_factory.mktemp("before"), tmp_path_factory.mktemp("after")
    for record in board_records()[:4]:
        store.append(before, record)
    store.append(after, with_speed(board_records()[3], 1.0))
    store.append(after, dataclasses.replace(board_records()[1], provenance=provenance(hardware_id="f" * 64)))
    return before, after


def test_two_folders_are_compared_with_the_exit_code_of_a_regression(folders):
    done = compare(*folders)
    assert done.returncode == 1, done.stderr
    assert "% slower" in done.stdout
    assert "not comparable" in done.stdout
    assert "machine (hardware fingerprint): " in done.stdout
    assert "Exit code 1" in done.stdout
    assert "Only in" in done.stdout


def test_a_folder_against_itself_is_fine_and_programs_get_every_number(folders):
    done = compare(folders[0], folders[0], "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 4
    assert {pair["comparable"] for pair in found} == {"same"}
    assert not any(pair["regressed"] for pair in found)


def test_two_recipes_of_one_folder_are_alternatives(folders):
    done = compare("ort-fp32", "baseline", "--results", folders[0], "--json")
    assert done.returncode == 0, done.stderr
    (pair,) = json.loads(done.stdout)
    assert (pair["first"]["recipe"], pair["second"]["recipe"]) == ("ort-fp32", "baseline")
    assert pair["time"]["verdict"] == "worse"


def test_a_day_is_a_session(folders):
    day = f"{MEASURED_AT:%Y-%m-%d}"
    assert compare(day, day, "--results", folders[0]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ort-fp3", "baseline"), "Did you mean 'ort-fp32'"),
        (("ort-fp32", "2026-01-01"), "two folders, two days or two recipes would be right"),
        (("2001-01-01", "2001-01-01"), "no results from 2001-01-01"),
        (("no/folder", "no/folder"), "no such folder"),
    ],
)
def test_what_cannot_be_compared_is_said(folders, arguments, said):
    done = compare(*arguments, "--results", folders[0])
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
