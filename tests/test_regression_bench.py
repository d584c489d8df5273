"""Rules for nights side by side: what is planted, what each rule says of it, and how it is counted."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bench.regression import histories, rules, table, walking
from bench.regression.__main__ import RECORDED, REPOSITORY, main
from bench.regression.histories import KINDS, NIGHTS, History, Kind, planted
from bench.regression.rules import NOTICES, OURS, Claim
from bench.regression.table import Rate
from bench.regression.walking import Alarm, Walk, alarms
from paretoboard import regressions
from planted_nights import FIRST, nights

EFFECTS = np.array([-0.004, 0.0, 0.004])
INSTALLED = {tool.name for tool in rules.tools()[0]}


def kind(name: str) -> Kind:
    return next(known for known in KINDS if known.name == name)


def history(values, *, at: int | None = None, of: Kind | None = None) -> History:
    found = np.asarray(values, dtype=float)
    return History(
        kind=of or Kind(name="hand-made"),
        noise="none",
        at=len(found) if at is None else at,
        values=found,
        environments=np.zeros(len(found), dtype=int),
    )


def wavering(count: int, level: float = 1.0) -> list[float]:
    """A level with a little noise, the same each time."""
    return [level * (1 + 0.001 * math.sin(7 * number)) for number in range(count)]


def needs(name: str) -> None:
    if name not in INSTALLED:
        pytest.skip(f"{name} comes with `make bench-regression`")


def said(name: str, values) -> dict[str, list[Claim]]:
    """What a tool says on the last night."""
    needs(name)
    return rules.tool(name).claims(history(values))(len(values))


def test_the_same_histories_are_planted_again_however_many_are_asked_for():
    few, many = (list(planted(kind("outliers"), count, EFFECTS)) for count in (2, 5))
    assert [each.values.tolist() for each in few] == [each.values.tolist() for each in many[:2]]
    assert len({tuple(each.values) for each in many}) == 5


def test_a_planted_step_has_its_size_and_its_night():
    for each in planted(kind("+5 %"), 30, EFFECTS):
        assert histories.FIRST_STEP <= each.at <= histories.LAST_STEP
        before, after = (np.median(part) for part in np.split(each.values, [each.at]))
        assert after / before == pytest.approx(1.05, abs=0.01)


def test_one_night_in_twenty_is_an_outlier_and_some_come_in_pairs():
    slow = np.array([each.values > 1.05 for each in planted(kind("outliers"), 100, EFFECTS)])
    assert 0.04 < slow.mean() < 0.06
    assert 60 < (slow[:, 1:] & slow[:, :-1]).sum() < 240


def test_a_change_of_software_comes_with_its_step_and_is_no_step_to_find():
    (each,) = planted(kind("environment"), 1, EFFECTS)
    assert np.flatnonzero(each.environments).tolist() == list(range(each.at, NIGHTS))
    assert each.kind.is_quiet
    assert not each.kind.has_step


def test_recorded_noise_is_drawn_from_comparisons_of_identical_programs():
    effects = histories.recorded_effects(RECORDED)
    assert len(effects) > 100
    assert np.abs(effects).max() < 0.03
    drawn = [each for each in planted(kind("none"), 3, effects) if each.noise == "recorded"]
    assert np.isin(np.round(np.log(drawn[0].values), 12), np.round(effects, 12)).all()


def test_our_row_is_what_the_project_says_of_the_same_nights():
    frame = nights(["step", "outliers", "drift"], seed=4)
    found = regressions.find(frame)
    for recipe, rows in frame.groupby("recipe"):
        claims = rules.tool("paretoboard").claims(history(rows["ratio"]))(len(rows))
        changes = [change for change in found.changes if change.series.key.recipe == recipe]
        expected = {(change.first.day - FIRST.date()).days for change in changes}
        assert {claim.onset for claim in claims[NOTICES]} == expected
        confirmed = {(change.first.day - FIRST.date()).days for change in changes if change.confirmed >= 2}
        assert {claim.onset for claim in claims[OURS]} == confirmed


def test_ours_is_silent_where_the_software_changed():
    (each,) = planted(kind("environment"), 1, EFFECTS)
    same = dataclasses.replace(each, environments=np.zeros(NIGHTS, dtype=int))
    claims = [rules.tool("paretoboard").claims(version)(NIGHTS)[OURS] for version in (each, same)]
    assert [bool(found) for found in claims] == [False, True]


@pytest.mark.parametrize(("tonight", "fails"), [(1.049, [False, True]), (1.051, [True, True]), (0.9, [False, False])])
def test_pytest_benchmark_holds_tonight_against_last_night_only(tonight, fails):
    claims = said("pytest-benchmark", [*wavering(20, 2.0), 1.0, tonight])
    assert [bool(found) for found in claims.values()] == fails


def test_asv_dates_a_step_and_forgets_one_that_was_taken_back():
    claims = said("asv", wavering(30) + wavering(20, 1.1))
    assert claims["asv, threshold 5 %"] == [Claim(onset=30, worse=True)]
    back = said("asv", wavering(30) + wavering(20, 1.1) + wavering(20))
    assert back["asv, threshold 5 %"] == []
    assert said("asv", wavering(30) + wavering(20, 0.9))["asv, threshold 5 %"] == []


def test_asv_holds_a_step_against_its_threshold():
    claims = said("asv", wavering(30) + wavering(20, 1.04))
    assert [bool(found) for found in claims.values()] == [False, True]


@pytest.mark.parametrize(("level", "worse"), [(1.05, True), (0.95, False)])
def test_otava_dates_a_step_and_says_in_which_direction(level, worse):
    claims = said("Otava", wavering(40) + wavering(20, level))
    assert claims["Otava"] == claims["Otava, magnitude 2 %"] == [Claim(onset=40, worse=worse)]


def test_otava_with_a_least_magnitude_leaves_small_steps_out():
    claims = said("Otava", wavering(40) + wavering(20, 1.01))
    assert [bool(found) for found in claims.values()] == [True, False]


def test_our_way_of_asking_otava_twice_gives_what_its_own_function_gives():
    analysis = pytest.importorskip("otava.analysis", reason="Otava comes with `make bench-regression`")
    for each in planted(kind("outliers"), 3, EFFECTS):
        claims = said("Otava", each.values)
        for row, least in (("Otava", 0.0), ("Otava, magnitude 2 %", 0.02)):
            points, _ = analysis.compute_change_points(each.values.tolist(), min_magnitude=least)
            assert [claim.onset for claim in claims[row]] == [point.index for point in points]


@pytest.mark.parametrize("name", ["paretoboard", "pytest-benchmark", "asv", "Otava"])
def test_no_rule_sees_what_comes_later(name):
    (each,) = planted(kind("+10 %"), 1, EFFECTS)
    cut = each.at + 3
    other = dataclasses.replace(each, values=np.append(each.values[:cut], 9 * each.values[cut:]))
    needs(name)
    first, second = (rules.tool(name).claims(version) for version in (each, other))
    assert [first(known) for known in range(1, cut + 1)] == [second(known) for known in range(1, cut + 1)]


def test_an_alarm_counts_once_while_its_date_moves_and_again_for_another_date():
    worse = [[Claim(onset=onset, worse=True)] for onset in (10, 11, 13, 10)]
    assert alarms([[], *worse], 3) == [Alarm(night=1, onset=10)]
    assert alarms([*worse, [], [Claim(onset=30, worse=True)]], 3)[1:] == [Alarm(night=5, onset=30)]
    assert len(alarms([[Claim(onset=night, worse=True)] for night in range(20)], 3)) == 1
    assert alarms([[Claim(onset=10, worse=False)]], 3) == []


def test_each_failing_night_of_a_rule_without_dates_is_an_alarm():
    assert len(alarms([[Claim(onset=night, worse=True)] for night in range(4)], 0)) == 4


def test_a_step_that_ours_finds_takes_three_nights_and_a_single_slow_night_none():
    step = history(wavering(40) + wavering(20, 1.05), at=40, of=kind("+5 %"))
    confirmed, notices = walking.walk(rules.tool("paretoboard"), step)
    assert (confirmed.found, notices.found) == (42, 40)
    assert confirmed.alarms == (Alarm(night=42, onset=40),)
    spike = wavering(60)
    spike[40] *= 1.2
    confirmed, notices = walking.walk(rules.tool("paretoboard"), history(spike))
    assert confirmed.alarms == ()
    assert notices.alarms == (Alarm(night=40, onset=40),)


def test_an_improvement_that_is_called_a_regression_is_the_wrong_way():
    def claims(given):
        return lambda known: {"upside down": [Claim(onset=40, worse=True)] if known > 40 else []}

    tool = rules.Tool(name="upside down", rows=("upside down",), claims=claims, same_within=3)
    better = history(wavering(40) + wavering(20, 0.95), at=40, of=kind("-5 %"))
    (walk,) = walking.walk(tool, better)
    assert (walk.found, walk.wrong_way) == (None, True)
    (walk,) = walking.walk(tool, history(wavering(40) + wavering(20, 1.05), at=40, of=kind("+5 %")))
    assert (walk.found, walk.wrong_way) == (40, False)


def walk_of(name: str, *, at: int = NIGHTS, at_night: tuple[int, ...] = (), found: int | None = None) -> Walk:
    found_alarms = tuple(Alarm(night=night, onset=night) for night in at_night)
    return Walk(row=OURS, kind=name, noise="normal", at=at, alarms=found_alarms, found=found, wrong_way=False)


def counted() -> table.Figures:
    walks = [walk_of(each.name) for each in KINDS if not each.has_step]
    walks += [walk_of("none", at_night=(3, 50)), walk_of("drift 0.1 %", at_night=(70,))]
    walks += [walk_of("+5 %", at=60, found=night) for night in (62, 63, None)]
    walks += [walk_of("+5 %", at=60, found=60, at_night=(20, 60, 90))]
    (found,) = table.figures(walks)
    return found


def test_alarms_before_a_step_are_false_and_those_after_it_are_not_counted():
    found = counted()
    assert found.false_alarms["none"] == Rate(alarms=2, nights=2 * NIGHTS)
    assert found.before == Rate(alarms=1, nights=4 * 60)
    assert found.quiet == Rate(alarms=2, nights=5 * NIGHTS)
    assert found.all == Rate(alarms=3, nights=5 * NIGHTS + 240)


def test_steps_are_counted_by_the_nights_they_took():
    found = counted()
    assert (found.soon["+5 %"], found.later["+5 %"]) == (0.5, 0.75)
    assert found.delay["+5 %"] == 3.5
    assert (found.drifts["drift 0.02 %"], found.drifts["drift 0.1 %"]) == (0.0, 0.5)


def test_the_interval_of_a_rate_is_the_exact_one_of_poisson():
    assert Rate(alarms=0, nights=1000).interval == pytest.approx((0.0, 3.689), abs=0.001)
    assert Rate(alarms=10, nights=1000).interval == pytest.approx((4.795, 18.39), abs=0.005)


def test_a_table_says_whether_the_bars_are_reached_and_fits_a_terminal():
    walks = [
        walk
        for tool in map(rules.tool, ("paretoboard", "pytest-benchmark"))
        for each in KINDS
        for made in planted(each, 2, EFFECTS)
        for walk in walking.walk(tool, made)
    ]
    text = table.render(table.figures(walks), {"pytest-benchmark": "5"}, ["asv is not installed"])
    assert max(map(len, text.splitlines())) <= 118
    assert "asv is not installed" in text
    assert "MISSED" in table.render([counted()], {}, [])
    assert text.count(": reached") + text.count("MISSED") == 2


def test_the_stored_table_is_of_these_rows_and_bars():
    text = (REPOSITORY / "results" / "reference" / "regressions" / "table.txt").read_text(encoding="utf-8")
    rows = [row for name in ("paretoboard", "pytest-benchmark", "asv", "Otava") for row in rules.tool(name).rows]
    assert all(text.count(f"\n{row} ") == 2 for row in rows)
    assert text.endswith(table.NOTES + "\n")
    assert text.count(": reached") == 2


def test_the_program_says_what_it_can_do(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench.regression", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "--only-ours" in capsys.readouterr().out
