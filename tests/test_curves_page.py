"""Searches and trainings on the page: every trial and how good the best was by then, every epoch and its loss."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree as ET

from builders import run_record
from paretoboard.records import RunRecord, SearchTrial, TrainedEpoch, Training
from paretoboard_reports.render import render
from paretoboard_reports.view import page


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
    html = render(page(records))
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
    assert "{lr = {low = 0.01, high = 1.0, log = true}}" in render(page([run_record(), record]))


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
