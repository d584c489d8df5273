"""Searches and trainings on the page: every trial and how good the best was by then, every epoch and its loss."""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from xml.etree import ElementTree as ET

import pytest

from builders import run_record
from paretoboard.records import RunRecord, SearchTrial, TrainedEpoch, Training
from paretoboard_reports.view import Effect, page
from site_kit import full_html


def trial(number: int, value: float, best: float | None, ending: str = "whole") -> SearchTrial:
    return SearchTrial(
        number=number,
        settings='{"augment":["flip"],"lr":0.123456}',
        value=value,
        ending=ending,  # type: ignore[arg-type]
        images_seen=1000 * number,
        seconds=2.0 * number,
        best=best,
    )


TRIALS = (
    trial(1, 0.5, 0.5),
    trial(2, 0.3, 0.5, "pruned"),
    trial(3, 0.8, 0.8),
    trial(4, 0.0, 0.8, "diverged"),
)


def drawn(records: list[RunRecord]) -> list[ET.Element]:
    html = full_html(records)
    return [ET.fromstring(text) for text in re.findall(r'<svg class="curves".*?</svg>', html, re.DOTALL)]


def test_a_search_is_drawn_with_a_mark_for_each_trial_and_a_line_for_each_seed() -> None:
    searched = [run_record("tuned", steps=[], seed=seed, trials=TRIALS) for seed in (0, 1)]
    (root,) = drawn([run_record(), *searched])
    marks = root.findall("circle")
    assert len(marks) == 8
    assert [mark.get("class") for mark in marks[:4]] == ["mark", "mark hollow", "mark", "mark"]
    assert marks[1].findtext("title") == 'seed 0, trial 2: augment = ["flip"], lr = 0.123; 30.00 %, pruned'
    assert len(root.findall("path")) == 2
    width, height = map(float, (root.get("viewBox") or "").split()[2:])
    assert all(0 <= float(mark.get("cx") or -1) <= width for mark in marks)
    assert all(0 <= float(mark.get("cy") or -1) <= height for mark in marks)


def test_the_line_is_the_best_so_far_and_never_goes_down() -> None:
    (root,) = drawn([run_record(), run_record("tuned", steps=[], trials=TRIALS)])
    (line,) = root.findall("path")
    path = line.get("d") or ""
    heights = [float(text) for text in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    marks = root.findall("circle")
    assert heights[0] == heights[1] == heights[2] == heights[3] == float(marks[0].get("cy") or -1)
    assert heights[4] == heights[5] == heights[6] == float(marks[2].get("cy") or -1)
    assert heights[4] < heights[0]  # up is less


def test_one_trial_and_none_that_reached_its_end_can_be_drawn() -> None:
    (root,) = drawn([run_record(), run_record("tuned", steps=[], trials=(trial(1, 0.0, None, "pruned"),))])
    assert len(root.findall("circle")) == 1


def test_without_a_search_or_a_training_nothing_is_drawn() -> None:
    assert drawn([run_record(), dataclasses.replace(run_record("ort-fp32"), trials=())]) == []


def test_nested_parameters_read_as_they_are_written() -> None:
    ranges = {"lr": {"low": 0.01, "high": 1.0, "log": True}}
    step = {"name": "tune.search", "version": 1, "parameters": {"ranges": ranges}}
    record = dataclasses.replace(run_record("tuned", steps=[]), steps=(step,))
    assert "{lr = {low = 0.01, high = 1.0, log = true}}" in full_html([run_record(), record])


def training(*losses: float, held_out: float | None = None) -> Training:
    points = tuple(
        TrainedEpoch(epoch=epoch, images_seen=100 * epoch, seconds=0.5 * epoch, loss=loss, held_out_top1=held_out)
        for epoch, loss in enumerate(losses, 1)
    )
    return Training(step="model", seconds=1.0, images_seen=100, fair="images", weights="0" * 64, curve=points)


def test_the_last_training_of_each_seed_is_drawn_with_a_mark_for_each_epoch() -> None:
    first, last = training(9.0, 8.0), training(2.0, 1.0, 0.5, held_out=0.75)
    records = [run_record("tuned", steps=[], seed=seed, trainings=(first, last)) for seed in (0, 1)]
    (root,) = drawn([run_record(), *records])
    marks = root.findall("circle")
    assert len(marks) == 6
    assert marks[0].findtext("title") == "seed 0, epoch 1: loss 2, 75.00 % held out right, after 0.5 s"
    assert len(root.findall("path")) == 2
    heights = [float(mark.get("cy") or -1) for mark in marks[:3]]
    assert heights == sorted(heights)  # down is more


def test_a_training_of_one_epoch_can_be_drawn() -> None:
    (root,) = drawn([run_record(), run_record("tuned", steps=[], trainings=(training(0.0),))])
    assert len(root.findall("circle")) == 1


def seconds(spent: float) -> tuple[Training, ...]:
    return (dataclasses.replace(training(2.0, 1.0), seconds=spent),)


def time_of_training(records: list[RunRecord]) -> Effect | None:
    (board,) = page(records).boards
    row = next(row for row in board.rows if row.recipe == "ort-fp32")
    return dict(row.details.effects).get("time of training against the baseline")


def test_time_of_training_is_the_ratio_over_seeds_with_an_interval_from_them() -> None:
    pairs = [(10.0, 5.0), (12.0, 6.1), (11.0, 5.4)]
    records = [run_record(seed=seed, trainings=seconds(base)) for seed, (base, _) in enumerate(pairs)]
    records += [run_record("ort-fp32", seed=seed, trainings=seconds(own)) for seed, (_, own) in enumerate(pairs)]
    found = time_of_training(records)
    assert found is not None
    ratios = [base / own for base, own in pairs]
    assert (found.words, found.verdict, found.quantity.n) == ("faster", "better", 3)
    assert found.quantity.value == pytest.approx(statistics.geometric_mean(ratios))
    assert found.quantity.low is not None
    assert found.quantity.high is not None
    assert 1 < found.quantity.low < min(ratios) < max(ratios) < found.quantity.high


def test_a_search_counts_as_time_of_training() -> None:
    # 10 s each; the trials took 8 s before.
    records = [run_record(seed=seed, trainings=seconds(10.0)) for seed in (0, 1)]
    records += [run_record("ort-fp32", seed=seed, trainings=seconds(10.0), trials=TRIALS) for seed in (0, 1)]
    found = time_of_training(records)
    assert found is not None
    assert (found.words, found.quantity.value) == ("slower", pytest.approx(10 / 18))


def test_one_seed_and_seeds_that_disagree_leave_the_time_of_training_undecided() -> None:
    one = [run_record(trainings=seconds(10.0)), run_record("ort-fp32", trainings=seconds(5.0))]
    found = time_of_training(one)
    assert found is not None
    assert (found.verdict, found.reason) == ("undecided", "one seed has no interval")
    other = [run_record(seed=1, trainings=seconds(5.0)), run_record("ort-fp32", seed=1, trainings=seconds(10.0))]
    both = time_of_training(one + other)
    assert both is not None
    assert both.verdict == "undecided"
    assert time_of_training([run_record(), run_record("ort-fp32", trainings=seconds(5.0))]) is None


def test_the_page_says_how_many_settings_were_tried_for_each_seed() -> None:
    records = [run_record(trainings=seconds(10.0)), run_record("ort-fp32", trainings=seconds(5.0), trials=TRIALS)]
    html = full_html(records)
    assert "seed 0: 100 images in 10.0 s; settings as declared, none searched" in html
    assert (
        "seed 0: 100 images in 5.00 s; settings found by 4 trials (1 pruned, 1 diverged) with 4,000 images in 8.00 s"
    ) in html


def test_a_board_of_trainings_weighs_quality_against_the_time_of_training_too() -> None:
    trained = [run_record(seed=seed, trainings=seconds(spent)) for seed, spent in enumerate((10.0, 12.0))]
    trained += [run_record("ort-fp32", seed=seed, trainings=seconds(5.0), trials=TRIALS) for seed in (0, 1)]
    (board,) = page(trained).boards
    (figure,) = [figure for figure in board.figures if figure.axis == "training"]
    assert {point.recipe: round(point.x, 3) for point in figure.points} == {"baseline": 10.954, "ort-fp32": 13.0}
    (baseline,) = [point for point in figure.points if point.recipe == "baseline"]
    assert baseline.x_low < 10.0 < 12.0 < baseline.x_high
    assert "not side by side" in full_html(trained)
    assert "Training" not in ranking_of(trained)
    (untrained,) = page([run_record(), run_record("ort-fp32")]).boards
    assert "training" not in {figure.axis for figure in untrained.figures}


def ranking_of(records: list[RunRecord]) -> str:
    """The heads of the ranking's columns."""
    return " ".join(re.findall(r'<th role="columnheader"[^>]*>([^&<]*)', full_html(records)))


def untimed(record: RunRecord) -> RunRecord:
    spec = json.loads(json.dumps(dict(record.spec)))
    spec["measure"]["budget"] = "none"
    kept = tuple(value for value in record.metrics if value.name in ("top1", "file_size", "parameters"))
    return dataclasses.replace(record, spec=spec, metrics=kept, comparisons=(), calls=None, windows=())


def test_where_nothing_was_timed_the_time_of_training_ranks() -> None:
    fast = [run_record("ort-fp32", seed=seed, trainings=seconds(5.0 + seed / 9)) for seed in (0, 1, 2)]
    slow = [run_record(seed=seed, trainings=seconds(10.0 + seed / 9)) for seed in (0, 1, 2)]
    records = [untimed(record) for record in fast + slow]
    (board,) = page(records).boards
    assert not board.timed
    assert [figure.axis for figure in board.figures] == ["training", "size"]
    best, other = board.rows
    assert (best.recipe, best.standing, other.standing) == ("ort-fp32", "front", "dominated")
    assert best.train_speedup is not None
    assert best.train_speedup.words == "faster"
    heads = ranking_of(records)
    assert "Training" in heads
    assert "Latency" not in heads
    assert "Memory" not in heads
    assert "Quickest to train" in full_html(records)


def test_a_step_names_what_it_was_given_and_not_what_it_left_to_the_task() -> None:
    step = {"name": "train.scratch", "version": 1, "parameters": {"lr": None, "precision": "bfloat16"}}
    (board,) = page([run_record(), dataclasses.replace(run_record("bf16", steps=[]), steps=(step,))]).boards
    assert "train.scratch(precision=bfloat16)" in {row.recipe_steps for row in board.rows}
