"""Published numbers: what a verdict says, what can be compared, and that committed claims are the published ones."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import board_records, comparison, metric, provenance, run_record, run_spec
from claim_builders import claim, claim_set, measured, number
from paretoboard import claims, plan, taskfile
from paretoboard.claims.comparability import differences
from paretoboard.claims.measuring import measured as measure
from paretoboard.errors import TaskFileError, UnknownNameError
from paretoboard.spec import BASELINE

REPOSITORY = Path(__file__).resolve().parent.parent
POINTS = {"metric": "top1", "baseline": 90.0, "claimed": 89.0}

positive = st.floats(0.01, 100.0)
points = st.floats(-50.0, 50.0)


@pytest.mark.parametrize(
    ("claimed", "found", "verdict"),
    [
        ({"metric": "latency", "times": 2.0}, (2.01, 1.98, 2.04), "confirmed"),  # inside a narrow interval
        ({"metric": "latency", "times": 2.0}, (2.09, 2.08, 2.10), "confirmed"),  # outside, within 5 %
        ({"metric": "latency", "times": 2.0}, (1.80, 1.78, 1.82), "falls short"),
        ({"metric": "latency", "times": 2.0}, (2.40, 2.38, 2.42), "better"),
        ({"metric": "latency", "times": 2.0}, (2.0, 1.5, 2.7), "undecided"),  # inside an interval that tells nothing
        ({"metric": "latency", "times": 2.0}, (2.0, None, None), "undecided"),  # measured once
        (POINTS, (-1.1, -1.2, -1.0), "confirmed"),
        (POINTS, (-1.25, -1.3, -1.2), "confirmed"),  # within 0.3 points
        (POINTS, (-2.0, -2.2, -1.8), "falls short"),
        (POINTS, (-0.2, -0.3, -0.1), "better"),
        (POINTS, (-1.5, -2.5, -0.5), "undecided"),
    ],
)
def test_a_verdict_follows_from_the_claim_the_interval_and_the_margin(
    claimed: dict[str, Any], found: tuple[float, float | None, float | None], verdict: str
) -> None:
    assert claims.judge(number(**claimed), measured(*found)).verdict == verdict


def test_a_bound_is_confirmed_by_all_that_keeps_it() -> None:
    bound = number(metric="top1", points=-1.0, at_least=True)
    assert claims.judge(bound, measured(0.5, 0.1, 0.9)).verdict == "confirmed"
    assert claims.judge(bound, measured(0.5, -0.9, 1.9)).verdict == "confirmed"  # wide, and all of it above
    assert claims.judge(bound, measured(-0.5, -1.5, 0.5)).verdict == "undecided"
    assert claims.judge(bound, measured(-3.5, -4.0, -3.0)).verdict == "falls short"


def test_a_counted_number_needs_no_interval() -> None:
    fewer = number(metric="macs", times=2.0)
    assert claims.judge(fewer, measured(2.05, exact=True)).verdict == "confirmed"
    assert claims.judge(fewer, measured(2.2, exact=True)).verdict == "better"


@given(claimed=positive, value=positive, spread=st.floats(1.0, 2.0))
def test_what_is_inverted_is_judged_the_other_way_round(claimed: float, value: float, spread: float) -> None:
    mirrored = {"falls short": "better", "better": "falls short"}
    there = claims.judge(number(metric="latency", times=claimed), measured(value, value / spread, value * spread))
    back = claims.judge(
        number(metric="latency", times=1 / claimed), measured(1 / value, 1 / value / spread, spread / value)
    )
    assert back.verdict == mirrored.get(there.verdict, there.verdict)


@given(claimed=points, value=points, arm=st.floats(0.0, 5.0), wider=st.floats(0.0, 5.0))
def test_a_wider_interval_turns_no_verdict_into_its_opposite(
    claimed: float, value: float, arm: float, wider: float
) -> None:
    said = number(metric="top1", points=claimed)
    narrow = claims.judge(said, measured(value, value - arm, value + arm)).verdict
    wide = claims.judge(said, measured(value, value - arm - wider, value + arm + wider)).verdict
    assert {narrow, wide} != {"better", "falls short"}
    if narrow == "undecided":
        assert wide == "undecided"


@given(claimed=points, value=points, arm=st.floats(0.0, 0.29))
def test_with_a_narrow_interval_nothing_is_undecided(claimed: float, value: float, arm: float) -> None:
    said = number(metric="top1", points=claimed)
    found = claims.judge(said, measured(value, value - arm, value + arm)).verdict
    assert found != "undecided"
    if found == "falls short":
        assert value < claimed
    if found == "better":
        assert value > claimed


@given(claimed=positive)
def test_a_claim_is_confirmed_by_itself(claimed: float) -> None:
    assert (
        claims.judge(number(metric="latency", times=claimed), measured(claimed, claimed, claimed)).verdict
        == "confirmed"
    )
    assert claims.ratio_of(number(metric="latency", times=claimed), measured(claimed)) == 1.0


@pytest.mark.parametrize(
    ("given", "change"),
    [
        ({"metric": "top1", "baseline": 90.0, "claimed": 89.5}, -0.5),
        ({"metric": "error", "baseline": 5.0, "claimed": 4.0}, 1.0),  # less error is better
        ({"metric": "latency", "baseline": 40.0, "claimed": 20.0}, 2.0),
        ({"metric": "throughput", "baseline": 100.0, "claimed": 80.0}, 0.8),
        ({"metric": "file_size", "baseline": 12.0, "claimed": 3.0}, 4.0),
        ({"metric": "top1", "claimed": 91.7}, 91.7),
    ],
)
def test_better_is_more_in_every_change(given: dict[str, Any], change: float) -> None:
    assert number(**given).change == pytest.approx(change)


def one_line(found: claims.Claim, records: list[Any]) -> claims.Line:
    [line] = claims.lines(claim_set(found), records)
    return line


def test_a_speed_up_is_measured_from_calls_timed_side_by_side() -> None:
    records = [run_record(), run_record("ort-int8", comparisons=(comparison(7.0), comparison(5.0, batch=32)))]
    line = one_line(claim(number(metric="latency", times=7.1)), records)
    assert line.measured is not None
    assert line.measured.value == pytest.approx(7.0)
    assert line.verdict == "confirmed"
    assert line.measured.run_id == records[1].run_id


def test_throughput_is_measured_at_the_largest_batch() -> None:
    records = [run_record(), run_record("ort-int8", comparisons=(comparison(7.0), comparison(5.0, batch=32)))]
    line = one_line(claim(number(metric="throughput", times=5.0), conditions={"batch": "32"}), records)
    assert line.measured is not None
    assert line.measured.value == pytest.approx(5.0)
    assert line.verdict == "confirmed"


def test_a_change_in_quality_is_measured_on_the_same_images_and_in_points() -> None:
    records = [run_record(accuracy=0.95), run_record("ort-int8", accuracy=0.90)]
    line = one_line(claim(number(metric="top1", baseline=95.0, claimed=95.0)), records)
    assert line.measured is not None
    assert line.measured.value == pytest.approx(-5.0)
    assert line.measured.baseline == pytest.approx(95.0)
    assert line.verdict == "falls short"


def test_a_saving_is_counted_from_both_records() -> None:
    def with_macs(record: Any, macs: float) -> Any:
        kept = tuple(value for value in record.metrics if value.name != "macs")
        return dataclasses.replace(record, metrics=(*kept, metric("macs", macs)))

    records = [with_macs(run_record(), 4e6), with_macs(run_record("structured-30"), 3e6)]
    found = claim(
        number(metric="macs", times=4 / 3), recipe="structured-30", conditions={"technique": "prune.structured"}
    )
    line = one_line(found, records)
    assert line.verdict == "confirmed"
    assert line.measured is not None
    assert line.measured.exact


def test_the_newest_measurement_counts_with_its_own_baseline() -> None:
    elsewhere = provenance(hardware={"logical_cpus": 64})
    newer = {"started_at": run_record().started_at.replace(year=2027)}
    records = [
        run_record(accuracy=0.95),
        run_record("ort-int8", accuracy=0.95),
        run_record(accuracy=0.80, provenance=elsewhere, **newer),
        run_record("ort-int8", accuracy=0.70, provenance=elsewhere, **newer),
    ]
    found = measure(number(**POINTS), claim().measured_by[0], records)
    assert found is not None
    assert found.value == pytest.approx(-10.0)
    assert found.hardware_id == elsewhere.hardware_id


def test_without_its_baseline_a_run_measures_no_claim() -> None:
    line = one_line(claim(number(**POINTS)), [run_record("ort-int8")])
    assert line.verdict == "not measured"
    assert "has no Top-1 to compare" in line.reason


def test_a_claim_that_was_not_measured_says_what_would_measure_it() -> None:
    line = one_line(claim(), [])
    assert line.verdict == "not measured"
    assert line.next_step == "paretoboard run quick/digits --only ort-int8"
    assert one_line(claim(measured_by=(), unmeasured="no such network"), []).reason == "no such network"


def test_a_level_on_the_same_images_is_a_count_and_no_sample() -> None:
    record = run_record(accuracy=0.95, images=360)
    level = number(metric="top1", claimed=95.0, images=360)
    found = claim(level, recipe=BASELINE, conditions={"technique": None})
    assert one_line(found, [record]).verdict == "confirmed"
    sampled = claim(number(metric="top1", claimed=95.0), recipe=BASELINE, conditions={"technique": None})
    assert one_line(sampled, [record]).verdict == "undecided"


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"model": "cifar-resnet20"}, "model"),
        ({"technique": "prune.structured"}, "technique"),
        ({"technique": None}, "technique"),
        ({"parameters": {"per_channel": False}}, "quantize.static per_channel"),
        ({"hardware": "NVIDIA A100"}, "hardware"),
        ({"hardware": None}, "hardware"),  # what was not published is not the same
        ({"cores": "16"}, "cores"),
        ({"batch": "64"}, "batch"),
        ({"runtime": "eager"}, "runtime"),
    ],
)
def test_a_speed_up_in_other_conditions_is_not_comparable_and_says_which(
    conditions: dict[str, Any], field: str
) -> None:
    line = one_line(claim(conditions=conditions), board_records())
    assert line.verdict == "not comparable"
    assert [difference.field for difference in line.differences] == [field]


def test_of_a_change_in_quality_the_machine_does_not_matter_but_data_and_baseline_do() -> None:
    def fields(number: claims.ClaimedNumber, **conditions: Any) -> list[str]:
        line = one_line(claim(number, conditions=conditions), board_records())
        return [difference.field for difference in line.differences]

    near = number(metric="top1", baseline=97.2, claimed=96.9)
    assert fields(near, hardware="NVIDIA A100", batch="64", runtime="TensorRT") == []
    assert fields(near, dataset="cifar10") == ["dataset"]
    assert fields(number(metric="top1", baseline=94.0, claimed=93.7)) == ["baseline"]
    assert fields(number(metric="error", baseline=2.8, claimed=3.1)) == []
    assert fields(number(metric="error", baseline=6.0, claimed=6.3)) == ["baseline"]


def test_a_claim_for_any_machine_is_compared_on_this_one() -> None:
    stated = dict.fromkeys(("hardware", "cores", "batch", "runtime"), "any")
    assert one_line(claim(conditions=stated), board_records()).differences == ()


def test_what_records_do_not_tell_can_be_declared() -> None:
    link = dataclasses.replace(claim().measured_by[0], differs={"weights": ("theirs", "ours")})
    line = one_line(claim(measured_by=(link,)), board_records())
    assert [difference.field for difference in line.differences] == ["weights"]
    assert differences(line.claim, line.number, line.measured) == line.differences  # type: ignore[arg-type]


def five_verdicts() -> claims.ClaimSet:
    """One number for each verdict, and one that nothing measures, beside `board_records`."""
    fast = 1.42 / 0.197
    return claim_set(
        claim(number(metric="latency", times=fast), id="same"),
        claim(number(metric="latency", times=2 * fast), id="more"),
        claim(number(metric="latency", times=fast / 2), id="less"),
        claim(number(metric="top1", points=-0.5), id="unsure"),
        claim(number(metric="latency", times=fast), id="elsewhere", conditions={"batch": "64"}),
        claim(id="nowhere", measured_by=(), unmeasured="nobody did"),
    )


def test_each_verdict_is_counted_and_those_that_count_come_first_by_measured_over_claimed() -> None:
    found = claims.lines(five_verdicts(), board_records())
    assert claims.counts(found) == dict.fromkeys([*claims.VERDICTS, "not measured"], 1)
    assert [line.key for line in found][-2:] == ["elsewhere", "nowhere"]
    ratios = [line.ratio for line in found[:4]]
    assert ratios == sorted(ratios, key=lambda ratio: ratio or 0)
    assert {line.key: line.verdict for line in found[:4]} == {
        "same": "confirmed",
        "more": "falls short",
        "less": "better",
        "unsure": "undecided",
    }


def test_the_order_of_records_does_not_matter() -> None:
    records = board_records()
    assert claims.lines(five_verdicts(), records) == claims.lines(five_verdicts(), records[::-1])


# --- claims files

VALID = """\
title = "Numbers"
about = "Some."
[claims.K1]
says = "INT8 is fast."
technique = "quantize.static"
method = "INT8"
model = "cifar-resnet8"
dataset = "digits"
numbers = [{ metric = "latency", times = 2.0 }]
source = "a paper"
measured_by = [{ task = "quick/digits", recipe = "ort-int8" }]
"""


def read(tmp_path: Path, text: str) -> claims.ClaimSet:
    file = tmp_path / "set.toml"
    file.write_text(text, encoding="utf-8")
    return claims.load(file)


def test_a_claims_file_is_read_with_its_conditions(tmp_path: Path) -> None:
    found = read(tmp_path, VALID)
    assert (found.name, found.title) == ("set", "Numbers")
    [only] = found.claims
    assert only.numbers == (claims.ClaimedNumber(metric="latency", times=2.0),)
    assert only.conditions.hardware is None


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("source", "sourse", 10, "claims.K1.sourse: no such key. Did you mean 'source'?"),
        ('"quantize.static"', '"quantize.statik"', 5, "unknown technique 'quantize.statik'. Did you mean"),
        ('"latency"', '"latencies"', 9, "unknown metric 'latencies'. Did you mean 'latency'?"),
        ("times = 2.0", "times = -2.0", 9, "found -2.0 (a number); more than 0.0 would be right."),
        ("times = 2.0", "baseline = 2.0", 9, "found neither claimed nor times"),
        ("times = 2.0", "times = 2.0, claimed = 3.0", 9, "found times beside claimed"),
        ("times = 2.0", "points = 2.0", 9, "found points of latency; times, or baseline and claimed, would be right"),
        ('measured_by = [{ task = "quick/digits", recipe = "ort-int8" }]', "", 3, "found neither of measured_by"),
        ("[{ metric", "[[{ metric", 10, "not TOML at column 1: unclosed array"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    with pytest.raises(TaskFileError) as caught:
        read(tmp_path, VALID.replace(old, new, 1))
    assert f"set.toml:{line}:" in str(caught.value)
    assert said in str(caught.value)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = VALID.replace('"latency"', '"latencies"').replace('"quantize.static"', '"statik"')
    with pytest.raises(TaskFileError) as caught:
        read(tmp_path, text)
    assert len(caught.value.problems) == 2


def test_an_unknown_set_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50-case-study'"):
        claims.load_all("resnet-50-case-study")


# --- the committed claims


def committed() -> claims.ClaimSet:
    return claims.load(REPOSITORY / "tasks" / "claims" / "claims.toml")


def published() -> dict[str, dict[str, str]]:
    near = Path(os.environ["PARETOBOARD_DATA"]).parent if "PARETOBOARD_DATA" in os.environ else None
    for folder in filter(None, (REPOSITORY.parent / "shared", near)):
        if (folder / "claims.csv").is_file():
            with (folder / "claims.csv").open(encoding="utf-8", newline="") as stream:
                return {row["id"]: row for row in csv.DictReader(stream)}
    pytest.skip("the list of published numbers, shared/claims.csv, is not here")


def numbers_in(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)]


def test_every_published_number_is_a_claim() -> None:
    rows = published()
    assert [found.id for found in committed().claims] == list(rows)


def test_the_committed_numbers_are_the_published_ones() -> None:
    rows = published()
    for found in committed().claims:
        row = rows[found.id]
        told = [value for column in ("baseline", "claimed", "speed_claim") for value in numbers_in(row[column])]
        # Shares are published once as such; what goes may be told as a percentage of what there was.
        told += [100 * value for value in told] + [1.0]
        told += [round(1 / (1 - value / 100), 2) for value in numbers_in(row["technique"]) if value < 100]
        ours = [value for one in found.numbers for value in (one.baseline, one.claimed, one.times) if value is not None]
        for value in ours:
            assert any(math.isclose(value, known, rel_tol=1e-9) for known in told), (found.id, value, told)
        for column in ("baseline", "claimed"):
            said = numbers_in(row[column])[:1]
            # "1" is the machine that eight are compared with, and minutes to another target are no baseline of seconds.
            if said and (found.id, column) not in (("C57", "baseline"), ("C63", "baseline")):
                assert any(math.isclose(value, said[0] * f, rel_tol=1e-9) for value in ours for f in (1, 100)), found.id


def test_a_change_that_is_published_as_a_factor_follows_from_the_two_values() -> None:
    rows = published()
    for found in committed().claims:
        one = found.numbers[0]
        factor = re.fullmatch(r"(?:latency )?([\d.]+)x(?: \(slower\))?", rows[found.id]["speed_claim"])
        if one.baseline is not None and one.about.scale == "times" and factor:
            assert one.change == pytest.approx(float(factor[1]), abs=0.006), found.id


@pytest.mark.parametrize("name", ["claims", "resnet50-case-study"])
def test_every_link_of_a_committed_claim_leads_to_a_recipe(name: str) -> None:
    [found] = claims.load_all(name)
    recipes: dict[str, set[str]] = {}
    for link in (link for one in found.claims for link in one.measured_by):
        if link.task not in recipes:
            [task] = taskfile.load_all([link.task])
            recipes[link.task] = {run.recipe.name for run in plan.expand([task])}
        assert link.recipe in recipes[link.task], link
        assert link.against in recipes[link.task], link


def test_claims_files_are_no_tasks() -> None:
    assert not [name for name in taskfile.known_names() if name.startswith("claims")]
    files = taskfile.find([str(REPOSITORY / "tasks")])
    assert files
    assert not [file for file in files if file.parent.name == "claims"]


def test_the_case_study_is_told_as_it_is() -> None:
    [found] = claims.load_all("resnet50-case-study")
    told = {(one.id, number.metric): number.change for one in found.claims for number in one.numbers}
    assert told == {
        ("pruning", "macs"): pytest.approx(1 / (1 - 0.25)),
        ("distillation", "macs"): pytest.approx(1 / (1 - 0.40)),
        ("distillation", "top1"): -1.0,
        ("quantization", "peak_memory"): pytest.approx(1 / (1 - 0.50)),
        ("quantization", "latency"): pytest.approx(1 / (1 - 0.20)),
        ("acceleration", "throughput"): 5.0,
    }


def test_the_builders_board_is_what_these_tests_take_it_for() -> None:
    assert run_spec().model.name == claim().conditions.model
