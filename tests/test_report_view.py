"""From records to what a page says."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    MEASURED_AT,
    board_records,
    comparison,
    cost_metrics,
    diagnosis,
    failed_record,
    metric,
    predictions,
    profile,
    provenance,
    recipe,
    run_record,
    run_spec,
    window_state,
)
from paretoboard.spec import MeasureSpec, ModelUse, Recipe, Weights
from paretoboard_reports.view import page
from paretoboard_reports.view.numbers import rounded, scale_for
from site_kit import board_html

AXES = ("latency", "throughput", "size", "memory")


def board_of(records):
    (board,) = page(records).boards
    return board


def row_of(records, recipe):
    (row,) = [row for row in board_of(records).rows if row.recipe == recipe]
    return row


def replace_metric(record, name, value, scope=""):
    """The record with one metric changed, or without it where `value` is None."""
    kept = tuple(m for m in record.metrics if (m.name, m.scope) != (name, scope))
    added = () if value is None else (metric(name, value, scope),)
    return dataclasses.replace(record, metrics=kept + added)


def awkward_records():
    """A board with exact ties, a missing cost, a cost that is not a number, and a failure."""
    records = {record.recipe: record for record in board_records()}
    baseline = records["baseline"]
    same = {"metrics": baseline.metrics, "comparisons": baseline.comparisons}
    records["channels-last"] = dataclasses.replace(records["channels-last"], **same)
    records["bf16"] = replace_metric(records["bf16"], "peak_memory", None)
    records["magnitude-50"] = replace_metric(records["magnitude-50"], "latency", math.nan, "batch=1")
    return list(records.values())


def cost_of(record, baseline, axis):
    """What a recipe is placed by, lower is better; NaN where it was not measured."""
    name, scope = {
        "latency": ("latency", "batch=1"),
        "throughput": ("throughput", "batch=32"),
        "size": ("file_size", ""),
        "memory": ("peak_memory", ""),
    }[axis]
    own = record.metric(name, scope)
    if own is None or axis in ("size", "memory"):
        return math.nan if own is None else own.value
    # Times are those of the baseline, multiplied by the ratio that was measured side by side.
    (ratio,) = [c.ratio for c in record.comparisons if f"batch={c.batch}" == scope]
    base = baseline.metric(name, scope).value
    return math.nan if math.isnan(own.value) else base * ratio if axis == "latency" else -base / ratio


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("records", [board_records(), awkward_records()], ids=["plain", "awkward"])
def test_the_front_is_what_comparing_every_pair_of_records_gives(records, axis):
    points = {}
    for record in records:
        quality, cost = record.metric("top1"), cost_of(record, records[0], axis)
        if quality is not None and not math.isnan(cost):
            points[record.recipe] = (quality.value, cost)
    front = {
        ours
        for ours, (quality, cost) in points.items()
        if not any(q >= quality and c <= cost and (q > quality or c < cost) for q, c in points.values())
    }
    board = board_of(records)
    assert {row.recipe for row in board.rows if row.status == "ok" and row.places[axis].layer == 1} == front
    (figure,) = [figure for figure in board.figures if figure.axis == axis]
    assert {point.recipe for point in figure.points if point.standing == "front"} == front
    assert {point.recipe for point in figure.points} == set(points)
    measured = {row.recipe for row in board.ranked}
    assert set(figure.missing) == measured - set(points)


def test_rows_are_ordered_by_layer_then_quality_and_failures_come_last():
    rows = board_of(awkward_records()).rows
    keys = [(row.places["latency"].layer or math.inf, -row.quality.value) for row in rows if row.status == "ok"]
    assert keys == sorted(keys)
    assert [row.status for row in rows][-1] == "failed"


@pytest.mark.parametrize("status", ["failed", "timeout", "refused", "skipped", "unstable"])
def test_a_run_without_numbers_keeps_its_row_and_its_reason(status):
    row = row_of([run_record(), failed_record("compile", status, "because")], "compile")
    assert (row.status, row.reason, row.quality, row.latency) == (status, "because", None, None)
    assert row.details.log_tail.startswith("building")


def test_the_latest_run_of_a_recipe_replaces_earlier_ones():
    old = run_record("ort-int8", latency_s=9e-4)
    new = run_record("ort-int8", latency_s=2e-4, started_at=MEASURED_AT + timedelta(days=1))
    for records in ([old, new], [new, old]):
        assert row_of([run_record(), *records], "ort-int8").latency.value == pytest.approx(2e-4)


def test_machines_and_profiles_have_boards_of_their_own():
    elsewhere = run_record(provenance=provenance(hardware={"cpu": "Another CPU"}))
    two_cores = run_record(spec=run_spec(profile=profile(name="cpu-2", cores=2)))
    boards = page([run_record(), elsewhere, two_cores]).boards
    assert [len(board.rows) for board in boards] == [1, 1, 1]
    assert len({board.anchor for board in boards}) == 3


def test_results_from_before_a_task_changed_are_counted_and_not_ranked():
    old = run_record("ort-int8", spec=run_spec(recipe=Recipe(name="ort-int8"), measure=MeasureSpec(batches=(1, 8))))
    board = board_of([old, run_record(started_at=MEASURED_AT + timedelta(days=1))])
    assert [row.recipe for row in board.rows] == ["baseline"]
    assert board.superseded.startswith("1 earlier results")


def test_an_older_environment_keeps_its_row_with_a_tag_and_is_judged_against_its_own_baseline():
    older = provenance(environment={"python": "3.11.0"})
    records = [
        run_record(accuracy=0.5, provenance=older),
        run_record("bf16", accuracy=0.5, provenance=older),
        run_record(accuracy=0.97, started_at=MEASURED_AT + timedelta(days=1)),
    ]
    row = row_of(records, "bf16")
    assert row.tags == ("other environment: python 3.11.0",)
    assert row.quality_effect.quantity.value == pytest.approx(0, abs=0.02)
    assert "2 software environments" in " ".join(board_of(records).warnings)


def test_without_a_baseline_of_the_same_environment_there_is_no_verdict_on_quality():
    records = [run_record(provenance=provenance(environment={"python": "3.12.0"})), run_record("bf16")]
    assert row_of(records, "bf16").quality_effect is None


def test_over_seeds_the_mean_is_shown_and_the_interval_covers_every_seed():
    records = [run_record(seed=seed) for seed in (0, 1)]
    records += [run_record("bf16", seed=seed, accuracy=accuracy) for seed, accuracy in ((0, 0.90), (1, 0.94))]
    row = row_of(records, "bf16")
    lone = [row_of([run_record(seed=seed), record], "bf16") for seed, record in enumerate(records[2:])]
    assert row.quality.value == pytest.approx((lone[0].quality.value + lone[1].quality.value) / 2)
    assert row.quality.low == min(one.quality.low for one in lone)
    assert row.quality.high == max(one.quality.high for one in lone)
    assert row.tags == ("2 seeds",)
    assert [seed for seed, _ in row.details.seeds] == [0, 1]


def test_seeds_that_disagree_leave_the_verdict_undecided():
    records = [run_record(seed=0), run_record(seed=1)]
    records += [run_record("bf16", seed=0, speedup=1.5), run_record("bf16", seed=1, speedup=0.6)]
    row = row_of(records, "bf16")
    assert (row.speedup.verdict, row.speedup.reason) == ("undecided", "the seeds do not agree")


def test_a_recipe_that_answers_alike_but_slower_is_not_tied_with_the_front():
    same = predictions(0.95)
    records = [run_record(predictions=same), run_record("ort-fp32", predictions=same, speedup=2.5)]
    place = row_of(records, "baseline").places["latency"]
    # Redrawn without pairing, it would be on the front in half of the draws.
    assert (place.standing, place.probability) == ("dominated", 0.0)


def test_a_recipe_that_is_hardly_worse_on_few_images_is_tied():
    front = run_record("ort-fp32", accuracy=0.95, speedup=2.5)
    place = row_of([run_record(accuracy=0.9), front, run_record("bf16", accuracy=0.947, speedup=2)], "bf16").places[
        "latency"
    ]
    assert place.standing == "tied"
    assert 0.05 <= place.probability < 0.6


def test_a_busy_minute_does_not_put_a_faster_recipe_behind_the_baseline():
    # Its own run was disturbed: the medians say slower, the timing side by side says faster.
    disturbed = run_record("channels-last", latency_s=1.2e-3, speedup=1.1)
    board = board_of([run_record(latency_s=1e-3), disturbed])
    places = {row.recipe: row.places["latency"].layer for row in board.rows}
    assert places == {"channels-last": 1, "baseline": 2}
    x = {point.recipe: point.x for point in board.figures[0].points}
    assert x["channels-last"] == pytest.approx(x["baseline"] / 1.1)
    assert row_of([run_record(), disturbed], "channels-last").latency.value == pytest.approx(1.2e-3)


def test_quality_has_wilson_s_interval_where_the_record_has_none():
    quality = row_of([run_record(accuracy=0.95, images=360)], "baseline").quality
    assert (quality.low, quality.high) == pytest.approx((0.9224, 0.9682), abs=2e-4)


def test_a_speed_without_an_interval_is_shown_without_one():
    open_ended = comparison(1.2, low=0.0, high=math.inf, verdict="undecided", reason="machine overloaded")
    row = row_of([run_record(), run_record("bf16", comparisons=(open_ended,))], "bf16")
    assert (row.speedup.quantity.text, row.speedup.quantity.half) == ("1.20", "")
    assert (row.speedup.words, row.speedup.reason) == ("undecided", "machine overloaded")


def test_a_baseline_that_differs_from_itself_is_said_first():
    board = board_of([run_record(comparisons=(comparison(1.4),))])
    assert board.self_check.verdict == "better"
    assert board.warnings[0].startswith("Self-check failed")


def test_controls_not_held_and_stolen_time_are_warned_of():
    warnings = " ".join(board_of([run_record(windows=(window_state(steal=0.07),))]).warnings)
    assert "Controls not held in 1 of 1 runs: priority (asked for -10, observed 0)." in warnings
    assert "The hypervisor took up to 7.0 %" in warnings


def test_recommendations_leave_out_what_loses_more_than_a_point():
    records = [run_record(), run_record("structured-30", accuracy=0.7, latency_s=1e-5, file_bytes=10, speedup=9.0)]
    within = {answer.row.recipe for answer in board_of(records).answers if answer.purpose != "best in time"}
    assert within == {"baseline"}


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (93.132, 0.234, ("93.1", "0.2")),
        (0.7412, 0.0096, ("0.741", "0.010")),
        (97.22, 1.71, ("97.2", "1.7")),
        (97.22, 1.96, ("97", "2")),
        (1234.0, 34.2, ("1,230", "30")),
        (-0.04, 0.3, ("0.0", "0.3")),
        (5.0, 0.0, ("5.00", "0")),
    ],
)
def test_numbers_are_shown_to_the_digit_of_their_half_width(value, half, shown):
    assert rounded(value, half) == shown


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_rounding_moves_a_number_by_less_than_half_its_uncertainty(value, half):
    text, _ = rounded(value, half)
    assert abs(float(text.replace(",", "").replace("−", "-")) - value) <= half / 2 * 1.03


def test_a_column_has_the_unit_of_its_middle_value():
    assert scale_for("s", [2e-4, 4e-4, 1.4e-3]).unit == "ms"
    assert scale_for("s", [2e-5]).unit == "µs"
    assert scale_for("B", [331_000.0]).unit == "kB"
    assert scale_for("count", [math.nan]).unit == ""


def test_a_speed_that_does_not_stand_among_all_comparisons_of_the_board_is_undecided() -> None:
    weak = comparison(1.03, verdict="better", p_value=0.02)
    alone = [run_record(), run_record("bf16", comparisons=(weak,))]
    crowd = [
        run_record(name, comparisons=(comparison(1.0, verdict="same", p_value=0.6),))
        for name in ("channels-last", "compile", "ort-fp32")
    ]
    assert row_of(alone, "bf16").speedup.words == "faster"
    assert row_of(alone + crowd, "bf16").speedup.words == "undecided"


def test_a_row_explains_itself_with_operators_limits_and_what_is_still_in_float():
    why = diagnosis(fallbacks=tuple(f"conv_{index}" for index in range(15)))
    found = row_of([run_record(), run_record("ort-int8", diagnosis=why)], "ort-int8").details.explanation
    assert found.sentence == why.sentence
    first, second = found.operators
    assert (first.type, first.percent, first.time, first.macs, first.bytes) == (
        "QLinearConv",
        "75",
        "0.120 ms",
        "12.5 M",
        "215 kB",
    )
    assert (second.macs, second.attainable) == ("–", "62.0 µs")
    assert found.fallbacks[0] == "conv_0"
    assert (len(found.fallbacks), found.more_fallbacks) == (12, 3)
    facts = dict(found.facts)
    assert facts["A call that nobody watches"] == "0.200 ms"
    assert facts["Inside operators"] == "0.160 ms, 80 % of it"
    assert facts["Peak, int8"] == "200 GMAC/s"
    assert facts["Bandwidth, 262 kB of data"] == "90.0 GB/s"
    assert facts["Sums of extreme INT8 products"] == "exact"


def test_a_row_that_nobody_diagnosed_explains_nothing():
    assert row_of([run_record(diagnosis=None)], "baseline").details.explanation is None


def test_recipes_without_quality_are_ranked_by_speed_and_the_board_says_why() -> None:
    model = ModelUse(name="cifar-resnet8", weights=Weights(file="a.pth", sha256="0" * 64, missing=True))
    latencies = {"baseline": 3e-3, "ort-fp32": 1e-3, "bf16": 2e-3}
    records = [
        run_record(
            name,
            spec=run_spec(recipe=recipe(name), model=model),
            latency_s=latency_s,
            speedup=3e-3 / latency_s,
            metrics=cost_metrics(latency_s, 330_000, 9_000_000),
            predictions=None,
        )
        for name, latency_s in latencies.items()
    ]
    board = board_of([*records, failed_record("compile", spec=run_spec(recipe=recipe("compile"), model=model))])
    assert [row.recipe for row in board.rows] == ["ort-fp32", "bf16", "baseline", "compile"]
    assert board.unscored == "quality not measured: weights missing"
    assert board.warnings[0].startswith("Quality not measured: weights missing.")
    for row in board.ranked:
        assert row.quality is None
        assert row.standing == "none"
        assert "quality not measured: weights missing" in row.tags
        assert row.latency is not None
    assert board.answers == ()
    assert "uality not measured: weights missing" in board_html(records)
