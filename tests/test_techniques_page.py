"""What each technique did: its page, and its line on the first page."""

from __future__ import annotations

import dataclasses
import statistics
from xml.etree import ElementTree as ET

from builders import board_records, failed_record, run_record
from paretoboard_reports import links
from paretoboard_reports.svg import ForestLine, forest_plot
from paretoboard_reports.view import page
from paretoboard_reports.view.techniques import families, techniques
from site_kit import files_of
from test_report_page import HOSTILE, Elements, hostile_records


def found(records):
    return {technique.name: technique for technique in techniques(page(records).boards)}


def test_every_technique_of_a_measured_recipe_has_a_page():
    steps = {step["name"] for record in board_records() for step in record.steps}
    files = files_of(board_records())
    assert steps == set(found(board_records()))
    assert all(links.technique(name) in files for name in steps)


def test_medians_are_those_of_the_recipes_speed_ups_beside_the_baseline():
    for technique in found(board_records()).values():
        speeds = [use.row.speedup.quantity.value for use in technique.uses if use.row.speedup]
        if not speeds:
            assert technique.speeds is None
            continue
        assert technique.speeds.n == len(speeds)
        assert technique.speeds.middle == statistics.median(speeds)
        assert technique.speeds.low <= technique.speeds.middle <= technique.speeds.high


def test_a_board_counts_once_however_many_recipes_of_it_have_the_technique():
    measured = [technique for technique in found(board_records()).values() if technique.uses]
    assert any(len(technique.uses) > 1 for technique in measured)
    for technique in measured:
        assert technique.boards == 1
        on_front = any(use.row.standing == "front" for use in technique.uses)
        assert technique.boards_on_front == int(on_front)


def test_a_recipe_that_failed_is_named_with_its_reason_and_counts_for_no_median():
    record = run_record("ort-int8")
    failed = dataclasses.replace(failed_record("broken", reason="out of memory"), steps=record.steps)
    name = record.steps[0]["name"]
    technique = found([run_record(), record, failed])[name]
    assert [use.row.recipe for use in technique.uses] == ["ort-int8"]
    assert [use.row.recipe for use in technique.fell_out] == ["broken"]
    html = files_of([run_record(), record, failed])[links.technique(name)].decode()
    assert "failed, out of memory" in html


def test_families_hold_every_technique_once():
    views = techniques(page(board_records()).boards)
    assert sorted(view.name for family in families(views) for view in family.techniques) == [v.name for v in views]


def test_a_forest_has_a_dot_for_each_known_effect_inside_the_drawing():
    rows = [row for row in page(board_records()).boards[0].ranked if not row.is_baseline]
    lines = [
        ForestLine(name=row.recipe, speed=row.speedup, quality=row.quality_effect if index else None)
        for index, row in enumerate(rows)
    ]
    root = ET.fromstring(forest_plot(lines, "all", "forest"))
    _, _, width, height = map(float, root.get("viewBox").split())
    dots = list(root.iter("circle"))
    assert len(dots) == sum(line.speed is not None for line in lines) + sum(line.quality is not None for line in lines)
    assert all(0 <= float(dot.get("cx")) <= width and 0 <= float(dot.get("cy")) <= height for dot in dots)
    speeds = {line.name: line.speed.quantity.value for line in lines if line.speed}
    places = [(speeds[dot_name(mark)], float(mark.find("circle").get("cx"))) for mark in marks(root)[: len(speeds)]]
    assert [x for _, x in sorted(places)] == sorted(x for _, x in places)


def marks(root):
    return [group for group in root.iter("g") if group.get("class", "").startswith("effect")]


def dot_name(mark):
    return mark.find("title").text.partition(":")[0]


def test_a_technique_with_a_hostile_name_is_text_on_a_page_whose_path_is_plain():
    files = files_of(hostile_records())
    path = links.technique(HOSTILE)
    assert set(path) <= set("abcdefghijklmnopqrstuvwxyz0123456789-/.")
    text = "".join(Elements(files[path].decode()).text)
    assert HOSTILE.splitlines()[0] in text
