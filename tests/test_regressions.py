"""Changes between nights: planted ones are found, and nights without any raise no alarm."""

from __future__ import annotations

import dataclasses
import datetime
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import board_records, run_record
from paretoboard import regressions, store
from paretoboard.errors import TaskFileError
from paretoboard.regressions import Ack, read_acks
from paretoboard.regressions.shifts import BANDS, LEAST_NIGHTS, differences, stretches
from paretoboard.store import calibrations, light
from planted_nights import FIRST, nights
from test_calibration import stored


def day(number: int) -> datetime.date:
    return (FIRST + datetime.timedelta(days=number)).date()


def speed(found):
    """Changes of speed by series; the planted histories leave quality alone."""
    assert all(change.series.key.what == "speed" for change in found.changes)
    return {change.series.key.recipe: change for change in reversed(found.changes)}


def test_a_step_is_found_on_its_night_with_its_size_in_the_interval_and_confirmed():
    found = regressions.find(nights(["step"] * 20))
    changes = speed(found)
    assert len(changes) == 20
    inside = 0
    for change in changes.values():
        assert (change.kind, change.state, change.worse) == ("step", "confirmed", True)
        assert change.first.day == day(60)
        assert change.last_good.day == day(59)
        assert (change.confirmed, change.asked) >= (2, 3)
        inside += change.low <= 0.05 <= change.high
    assert inside >= 17


def test_nights_without_a_change_raise_no_alarm():
    found = regressions.find(nights(["none"] * 60, seed=1))
    assert not found.of("new", "confirmed")


def test_an_improvement_is_shown_as_one():
    (change,) = regressions.find(nights(["better"])).changes
    assert (change.state, change.worse) == ("improved", False)


def test_single_nights_that_stand_out_are_never_a_regression():
    found = regressions.find(nights(["outliers"] * 30, seed=3))
    assert not found.of("confirmed")


def test_nights_in_a_row_that_stand_out_by_different_amounts_make_no_level():
    frame = nights(["none"], noise=0.002)
    for night, factor in ((60, 1.2), (61, 1.1), (62, 1.3)):
        frame.loc[frame["started_at"] == FIRST + datetime.timedelta(days=night), "ratio"] *= factor
    assert not regressions.find(frame).of("confirmed")


def test_an_outlier_within_the_first_nights_of_a_step_does_not_hide_it():
    for night in (60, 61, 62):
        frame = nights(["step"], noise=0.002)
        frame.loc[frame["started_at"] == FIRST + datetime.timedelta(days=night), "ratio"] *= 1.2
        (change,) = regressions.find(frame).of("confirmed")
        assert day(60) <= change.first.day <= day(61)


def test_a_number_that_is_zero_every_night_has_no_change_and_one_that_falls_to_zero_has():
    frame = nights(["none"], count=60, noise=0.002)
    assert not regressions.find(frame.assign(ratio=0.0)).changes
    frame.loc[frame["started_at"] >= FIRST + datetime.timedelta(days=40), "ratio"] = 0.0
    (change,) = regressions.find(frame).changes
    assert (change.first.day, change.share, change.state) == (day(40), -1.0, "improved")


def test_a_drift_is_found_and_left_to_a_longer_measurement():
    found = regressions.find(nights(["drift"] * 10, at=105, size=0.018, noise=0.001))
    assert not found.of("confirmed")
    assert {change.series.key.recipe for change in found.of("new") if change.kind == "drift"} == {
        f"s{number}" for number in range(10)
    }


def test_across_a_change_of_software_nothing_is_claimed_but_the_change_is_shown():
    found = regressions.find(nights(["environment"]))
    assert not found.changes
    cut = next(cut for cut in found.cuts if cut.series.key.what == "speed")
    assert cut.differs == (("libraries.torch", "2.0", "2.1"),)
    assert cut.share == pytest.approx(0.05, abs=0.01)
    assert cut.after.day == day(60)


def test_a_series_that_scatters_is_listed_as_noisy_and_raises_no_alarm():
    found = regressions.find(nights(["noisy", "step"], seed=5))
    assert [each.series.key.recipe for each in found.noisy] == ["s0"]
    assert found.noisy[0].scatter == pytest.approx(0.1, rel=0.4)
    assert set(speed(found)) == {"s1"}


@pytest.mark.parametrize(("after", "state"), [(0, None), (1, "new"), (2, "confirmed"), (3, "confirmed")])
def test_a_step_is_new_until_two_later_nights_confirm_it(after, state):
    found = regressions.find(nights(["step"], count=61 + after, noise=0.002))
    expected = [state] if state else ["new"]
    assert [change.state for change in found.changes] == expected


def test_one_night_alone_makes_no_level():
    assert not regressions.find(nights(["step"], count=1)).changes
    assert not regressions.find(light.of(board_records())).changes


def test_a_regression_that_is_taken_back_is_fixed():
    frame = nights(["step"], noise=0.002)
    late = frame["started_at"] >= frame["started_at"].iloc[0] + datetime.timedelta(days=90)
    frame.loc[late, "ratio"] /= 1.05
    found = regressions.find(frame)
    assert [change.state for change in found.changes] == ["improved", "fixed"]
    assert not found.of("confirmed")


def test_one_good_night_takes_no_regression_back():
    frame = nights(["step"], count=90, noise=0.002)
    frame.loc[frame["started_at"] == FIRST + datetime.timedelta(days=89), "ratio"] /= 1.05
    found = regressions.find(frame)
    assert [change.state for change in found.changes] == ["improved", "confirmed"]


def test_an_acknowledged_change_says_why_and_by_whom_until_it_expires():
    frame = nights(["step"], noise=0.002)
    (change,) = regressions.find(frame).changes
    ack = Ack(series=change.series.key.name, night=change.first.day, reason="wanted", by="Ada")
    (known,) = regressions.find(frame, [ack]).changes
    assert (known.state, known.ack) == ("acknowledged", ack)
    (asked,) = regressions.find(frame, [dataclasses.replace(ack, expires=day(80))]).changes
    assert asked.state == "confirmed"
    (other,) = regressions.find(frame, [dataclasses.replace(ack, night=day(10))]).changes
    assert other.state == "confirmed"


def test_an_acknowledged_drift_stays_so_while_its_first_night_moves_on_until_a_level_later():
    frame = nights(["drift"], at=105, size=0.018, noise=0.001)
    asked = []
    for last in (117, 118, 119):
        (change,) = regressions.find(frame[frame["started_at"].dt.date <= day(last)]).of("new")
        asked.append(change)
    assert [change.first.day for change in asked] == [day(115), day(116), day(117)]
    ack = Ack(series=asked[0].series.key.name, night=asked[0].first.day, reason="wanted", by="Ada")
    (known,) = regressions.find(frame, [ack]).changes
    assert (known.state, known.ack) == ("acknowledged", ack)
    for night in (day(117 - 31), day(118)):
        (other,) = regressions.find(frame, [dataclasses.replace(ack, night=night)]).changes
        assert other.state == "new"


def test_many_regressions_and_no_improvement_are_suspicious():
    assert regressions.find(nights(["step"] * 5)).suspicious
    assert not regressions.find(nights(["step"] * 5 + ["better"])).suspicious
    assert not regressions.find(nights(["step"] * 4)).suspicious


def test_regressions_are_counted_by_board():
    found = regressions.find(nights(["step", "step", "better", "none"]))
    assert list(found.open_by_board().values()) == [2]


@settings(max_examples=30)
@given(size=st.floats(0.03, 0.5), at=st.integers(10, 50), seed=st.integers(0, 1000))
def test_a_step_well_above_the_noise_is_found_wherever_it_is(size, at, seed):
    found = regressions.find(nights(["step"], count=60, at=at, size=size, noise=0.001, seed=seed))
    steps = [change for change in found.changes if change.first.day == day(at)]
    assert len(steps) == 1
    assert steps[0].after / steps[0].before == pytest.approx(1 + size, rel=0.01)


@settings(max_examples=20)
@given(factor=st.floats(1e-6, 1e6), seed=st.integers(0, 1000))
def test_the_unit_of_a_series_changes_nothing(factor, seed):
    frame = nights(["step", "outliers", "none"], count=40, at=20, seed=seed)
    scaled = frame.assign(ratio=frame["ratio"] * factor)
    said = [[(c.state, c.first.day, c.kind) for c in regressions.find(each).changes] for each in (frame, scaled)]
    assert said[0] == said[1]


def test_environments_are_compared_field_by_field():
    before = '{"kernel": "6.1", "libraries": {"torch": "2.1", "numpy": "2.0"}}'
    after = '{"kernel": "6.1", "libraries": {"torch": "2.2"}, "driver": "555"}'
    assert differences(before, after) == (
        ("driver", "–", "555"),
        ("libraries.numpy", "2.0", "–"),
        ("libraries.torch", "2.1", "2.2"),
    )


def test_the_baseline_s_own_series_is_its_latency_and_a_recipe_s_its_time_beside_it():
    series = {
        found.key.recipe: found
        for found in regressions.series_of(light.of(board_records()))
        if found.key.what == "speed"
    }
    assert series["baseline"].metric == "latency"
    assert {found.metric for name, found in series.items() if name != "baseline"} == {"ratio"}
    assert all(math.isfinite(night.value) for found in series.values() for night in found.nights)


MISTAKES = {
    'series = "a:b"': "series",
    'series = "t:r:p:h:speed"\nnight = "yesterday"\nreason = "x"\nby = "A"': "night",
    'series = "t:r:p:h:speed"\nnight = 2026-01-02\nreason = ""\nby = "A"': "reason",
    'series = "t:r:p:h:speed"\nnight = 2026-01-02\nreason = "x"': "by",
    'series = "t:r:p:h:speed"\nnight = 2026-01-02\nreason = "x"\nby = "A"\nexpires = 2026-01-01': "later day",
    'serie = "t:r:p:h:speed"\nnight = 2026-01-02\nreason = "x"\nby = "A"': "serie",
}


@pytest.mark.parametrize("text", MISTAKES, ids=MISTAKES.values())
def test_a_mistake_in_an_acknowledgement_is_named_with_its_line(tmp_path, text):
    (tmp_path / "acks.toml").write_text(f"[[ack]]\n{text}\n")
    with pytest.raises(TaskFileError) as raised:
        read_acks(tmp_path)
    assert MISTAKES[text] in str(raised.value)
    assert "acks.toml:" in str(raised.value)


def test_acknowledgements_are_read_and_none_are_none(tmp_path):
    assert read_acks(tmp_path) == ()
    (tmp_path / "acks.toml").write_text(
        '[[ack]]\nseries = "a/b:int8:cpu-1:0123abcd:speed"\nnight = 2026-01-02\nreason = "wanted"\nby = "Ada"\n'
    )
    expected = Ack(series="a/b:int8:cpu-1:0123abcd:speed", night=datetime.date(2026, 1, 2), reason="wanted", by="Ada")
    assert read_acks(tmp_path) == (expected,)


def floors_for(frame, floor):
    return {(str(frame["hardware_id"].iloc[0]), str(frame["profile"].iloc[0])): floor}


@pytest.mark.parametrize(
    ("floor", "noise", "limit"), [(0.0, 0.002, "least"), (0.035, 0.002, "floor"), (0.001, 0.012, "scatter")]
)
def test_a_change_says_which_of_three_thresholds_it_had_to_exceed(floor, noise, limit):
    frame = nights(["step"], size=0.08, noise=noise, seed=2)
    (change,) = regressions.find(frame, floors=floors_for(frame, floor)).changes
    assert change.limit == limit
    if limit == "floor":
        assert change.band == floor
    elif limit == "scatter":
        assert change.band > max(floor, 0.02)
    else:
        assert change.band == 0.02


def test_a_step_within_the_noise_floor_of_its_machine_is_no_change_of_speed():
    frame = nights(["step", "drift"], size=0.04, noise=0.002, at=60)
    assert len(regressions.find(frame).changes) >= 1
    assert not regressions.find(frame, floors=floors_for(frame, 0.06)).changes
    other = {("f" * 64, "cpu-1"): 0.06}
    assert regressions.find(frame, floors=other).changes == regressions.find(frame).changes


def test_the_noise_floor_of_times_says_nothing_of_quality():
    frame = nights(["none"], noise=0.002)
    late = frame["started_at"] >= frame["started_at"].iloc[0] + datetime.timedelta(days=60)
    frame.loc[late, "quality"] *= 0.95
    (change,) = regressions.find(frame, floors=floors_for(frame, 0.2)).changes
    assert (change.series.key.what, change.limit, change.state) == ("quality", "least", "confirmed")


def test_a_folder_is_judged_by_its_own_newest_calibrations_and_acknowledgements(tmp_path):
    for number in range(14):
        slower = 1.04 if number >= 8 else 1 + 0.001 * (number % 2)
        started_at = FIRST + datetime.timedelta(days=number)
        record = run_record("ort-int8", speedup=2 / slower, started_at=started_at)
        store.append(tmp_path, record)
    (change,) = regressions.of_folder(tmp_path).of("confirmed")
    (tmp_path / "acks.toml").write_text(
        f'[[ack]]\nseries = "{change.series.key.name}"\nnight = {change.first.day}\nreason = "wanted"\nby = "Ada"\n'
    )
    assert regressions.of_folder(tmp_path).of("acknowledged")
    machine = {"hardware_id": change.series.key.hardware_id, "profile": change.series.key.profile}
    early, late = (datetime.datetime(2026, 4, day, tzinfo=datetime.UTC) for day in (1, 2))
    calibrations.keep(tmp_path, stored(**machine, noise_floor=0.01, measured_at=late))
    calibrations.keep(tmp_path, stored(**machine, noise_floor=0.06, measured_at=early))
    assert regressions.of_folder(tmp_path).changes
    calibrations.keep(
        tmp_path, stored(**machine, noise_floor=0.06, measured_at=late + datetime.timedelta(microseconds=1))
    )
    assert not regressions.of_folder(tmp_path).changes


def test_a_damaged_calibration_is_named_and_the_rest_is_judged(tmp_path):
    (tmp_path / "calibrations").mkdir()
    (tmp_path / "calibrations" / "20260401T000000.000000Z-x-cpu-1.json").write_text("{")
    store.append(tmp_path, run_record())
    found = regressions.of_folder(tmp_path)
    assert found.series
    assert "not a calibration" in found.damaged[0]


def test_a_level_begins_anew_after_a_step():
    found = regressions.find(nights(["step"], size=0.05, noise=0.002, count=90, at=60))
    (change,) = found.changes
    parts = list(stretches(change.series, found.changes))
    assert [part.nights[0].day for part in parts] == [day(0), day(60)]
    assert parts[1].level == pytest.approx(1.05 * parts[0].level, rel=0.005)
    assert all(BANDS * part.scatter < 0.02 for part in parts)
    young = regressions.find(nights(["step"], noise=0.002, count=60 + LEAST_NIGHTS - 1, at=60))
    assert [part.level is None for part in stretches(young.series[-1], young.changes)] == [False, True]
