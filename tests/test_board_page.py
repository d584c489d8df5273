"""The board's page without a browser: ranks, tags, plots, downloads, and how many bytes it takes."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import math
import re
from datetime import timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_fixture import FORMULA, HOSTILE, fixture_records, write_site
from builders import MEASURED_AT, board_records, run_record
from paretoboard.pareto import dominates
from paretoboard.store import light
from paretoboard_reports import downloads
from paretoboard_reports.site import nights_of
from paretoboard_reports.svg import pareto_plot
from paretoboard_reports.svg.axes import cost_axis, tick_text
from paretoboard_reports.svg.canvas import FRAMES
from paretoboard_reports.view import Point, page
from site_kit import board_html, files_of

AXES = ("latency", "throughput", "size", "memory")


@pytest.fixture(scope="module")
def board():
    return page(fixture_records()).boards[0]


def row_of(board, recipe):
    return next(row for row in board.rows if row.recipe == recipe)


def links_of(figure, size="wide"):
    root = ET.fromstring(pareto_plot(figure, "plot", size))
    return root, list(root.iter("a"))


@pytest.mark.parametrize("axis", AXES)
def test_the_front_of_each_drawing_is_what_comparing_every_pair_gives(board, axis):
    costs = {row.anchor: row.costs.get(axis) for row in board.ranked}
    points = {row.anchor: (row.quality.value, costs[row.anchor].value) for row in board.ranked if costs[row.anchor]}
    if axis == "throughput":
        points = {anchor: (quality, -cost) for anchor, (quality, cost) in points.items()}
    front = {a for a, one in points.items() if not any(dominates(*other, *one) for other in points.values())}
    figure = next(figure for figure in board.figures if figure.axis == axis)
    for size in ("wide", "narrow"):
        _, links = links_of(figure, size)
        assert {link.get("data-row") for link in links if "s-front" in link.get("class")} == front
        assert sorted(link.get("data-row") for link in links) == sorted(points)
    html = board_html(fixture_records())
    for row in board.ranked:
        said = re.search(rf'id="{row.anchor}"[^>]*data-front="([^"]*)"', html)[1].split()
        assert (axis in said) == (row.anchor in front)


def test_exact_ties_stay_on_the_front_together_and_share_their_ranks(board):
    one, other = row_of(board, "ort-fp32"), row_of(board, "twin")
    assert one.place.layer == other.place.layer == 1
    assert one.ranks == other.ranks
    assert one.ranks["latency"].low < one.ranks["latency"].high


def test_a_rank_interval_is_as_wide_as_the_measured_differences_leave_open(board):
    # Ratios to the baseline of 7.1, 4.1, 3.5, 3.5 and so on, each known to 0.6 %.
    latency = {row.recipe: (row.ranks["latency"].low, row.ranks["latency"].high) for row in board.ranked}
    assert latency["ort-int8"] == (1, 1)
    assert latency["structured-30"] == (2, 2)
    assert latency["ort-fp32"] == latency["twin"] == (3, 4)
    assert latency["seeded"] == (5, 5)
    quality = {row.recipe: (row.ranks["quality"].low, row.ranks["quality"].high) for row in board.ranked}
    assert quality["structured-30"] == (9, 9)
    assert quality["ort-fp32"][0] == 1


def test_what_failed_or_was_not_measured_has_no_rank(board):
    assert row_of(board, "compile").ranks == {}
    assert "memory" not in row_of(board, "bf16").ranks
    assert row_of(board, "bf16").ranks["size"]


def test_ranks_of_counted_costs_are_exact_and_those_without_an_interval_are_not_given(board):
    sizes = sorted(row.file_size.value for row in board.ranked)
    for row in board.ranked:
        low, high = row.ranks["size"].low, row.ranks["size"].high
        assert sizes[low - 1] == sizes[high - 1] == row.file_size.value
        assert high - low + 1 == sizes.count(row.file_size.value)
        assert "memory" not in row.ranks


def test_a_row_of_one_seed_or_one_night_is_tagged_and_drawn_hollow(board):
    assert row_of(board, "ort-int8").single == "one seed, one night"
    assert row_of(board, "seeded").single == ""
    assert row_of(board, "compile").single == ""
    _, links = links_of(board.figures[0])
    hollow = {link.get("data-row") for link in links if "single" in link.get("class").split()}
    assert hollow == {row.anchor for row in board.ranked if row.recipe != "seeded"}
    html = board_html(fixture_records())
    assert html.count(">single</span>") == len(hollow)


def test_earlier_nights_of_a_row_count_although_only_its_newest_numbers_are_shown():
    newest = run_record("ort-int8", started_at=MEASURED_AT + timedelta(days=2))
    earlier = run_record("ort-int8")
    nights = nights_of(light.of((run_record(), earlier, newest)))
    found = page([run_record(), newest], nights=nights).boards[0]
    assert row_of(found, "ort-int8").single == "one seed"
    assert row_of(found, "baseline").single == "one seed, one night"


def test_a_recipe_on_the_front_that_would_rather_not_be_there_again_says_so():
    # The second is 0.3 % faster than the first and no better, with intervals of 6 %: a coin decides.
    first = run_record("ort-fp32", accuracy=0.95, speedup=2.0)
    pairs = [
        dataclasses.replace(c, low=c.ratio * 0.94, high=c.ratio * 1.06)
        for c in run_record("twin", speedup=2.006).comparisons
    ]
    rivals = [
        run_record(
            f"twin-{n}",
            steps=[("run.onnxruntime", {"threads": n})],
            accuracy=0.95,
            speedup=2.0 + n / 1000,
            comparisons=tuple(pairs)
            if n == 6
            else tuple(dataclasses.replace(c, low=c.ratio * 0.94, high=c.ratio * 1.06) for c in first.comparisons),
        )
        for n in range(7)
    ]
    found = page([run_record(accuracy=0.95), *rivals]).boards[0]
    (front,) = (row for row in found.rows if row.standing == "front")
    assert front.place.probability < 0.5
    assert front.place.fragile
    assert f"front {front.place.probability * 100:.0f} %" in re.sub(
        r"<[^>]*>", "", board_html([run_record(accuracy=0.95), *rivals])
    )


def test_only_the_front_loses_something_without_a_row_and_twins_lose_nothing(board):
    for row in board.ranked:
        assert (row.hypervolume > 0) == (row.recipe == "ort-int8"), row.recipe
    assert "baseline" in board.hypervolume_note
    assert "chance" in board.hypervolume_note


def test_far_outliers_are_clipped_and_counted(board):
    root, _ = links_of(board.figures[0])
    assert [text.text for text in root.iter("text") if text.get("class") == "below"] == ["1 below the plot ↓"]
    inside = page(board_records()[:4]).boards[0]
    assert not [text for text in links_of(inside.figures[0])[0].iter("text") if text.get("class") == "below"]


def test_a_plot_is_one_tab_stop_and_what_is_dominated_is_not_spoken(board):
    for figure in board.figures:
        root, links = links_of(figure)
        stops = [link for link in links if link.get("tabindex") != "-1"]
        front = [link for link in links if "s-front" in link.get("class")]
        assert stops == front[:1]
        spoken = [link for link in links if "s-dominated" not in link.get("class")]
        names = {point.anchor: point.recipe for point in figure.points}
        assert all(link.get("aria-label").startswith(names[link.get("data-row")]) for link in spoken)
        hidden = [group for group in root.iter("g") if group.get("class") == "points dominated"]
        assert [group.get("aria-hidden") for group in hidden] == ["true"]


def test_whiskers_are_drawn_for_the_front_and_what_can_not_be_told_from_it(board):
    for figure in board.figures:
        for link in links_of(figure)[1]:
            assert ("s-dominated" in link.get("class")) != any(
                line.get("class") == "whisker" for line in link.iter("line")
            )


def test_the_staircase_ends_at_the_right_edge(board):
    for size in ("wide", "narrow"):
        root, _ = links_of(board.figures[0], size)
        (stairs,) = (path for path in root.iter("path") if path.get("class") == "staircase")
        assert stairs.get("d").endswith(f"H{FRAMES[size].right:.1f}")


FIGURE = page(board_records()[:2]).boards[0].figures[0]


@given(st.floats(1e-2, 1e4), st.floats(1.001, 5e3), st.sampled_from(["wide", "narrow"]), st.booleans())
def test_ticks_of_a_logarithmic_axis_are_at_least_two_and_never_touch(low, factor, size, higher):
    frame = FRAMES[size]
    ends = (low, low * factor)
    points = tuple(
        Point(
            anchor=f"r-{x}",
            recipe="a",
            family="prune",
            standing="front",
            fragile=False,
            single=False,
            x=x,
            x_low=x,
            x_high=x,
            y=1.0,
            y_low=1.0,
            y_high=1.0,
            text="a",
        )
        for x in ends
    )
    figure = dataclasses.replace(FIGURE, points=points, x_higher_is_better=higher)
    axis = cost_axis(figure, frame)
    half = 0.58 * frame.font / 2
    boxes = sorted(
        (axis.place(v) - half * len(tick_text(v)), axis.place(v) + half * len(tick_text(v))) for v in axis.ticks
    )
    assert len(boxes) >= 2
    assert all(before[1] <= after[0] for before, after in pairwise(boxes))


def test_labels_overlap_neither_each_other_nor_the_edge(board):
    for figure in board.figures:
        for size in ("wide", "narrow"):
            root, _ = links_of(figure, size)
            width, height = FRAMES[size].width, FRAMES[size].height
            boxes = []
            for text in root.iter("text"):
                if text.get("class").startswith("label"):
                    x, y, long = float(text.get("x")), float(text.get("y")), 0.55 * 13 * len(text.text)
                    left = {"start": x, "middle": x - long / 2, "end": x - long}[text.get("text-anchor")]
                    boxes.append((left, y - 10, left + long, y + 3))
            assert boxes
            assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height for box in boxes)
            for index, one in enumerate(boxes):
                for other in boxes[index + 1 :]:
                    assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_the_csv_of_a_board_has_every_row_unrounded_and_no_formula(board):
    found = list(csv.DictReader(io.StringIO(downloads.csv_of(board).decode(), newline="")))
    assert [line["status"] for line in found] == [row.status for row in board.rows]
    by_recipe = {line["recipe"]: line for line in found}
    assert by_recipe[HOSTILE]["family"] == "prune"
    assert f"'{FORMULA}" in by_recipe
    line = by_recipe["ort-int8"]
    assert float(line["top1 (1)"]) == row_of(board, "ort-int8").quality.value
    assert float(line["latency (s, batch 1), high"]) == row_of(board, "ort-int8").latency.high
    assert (line["rank_latency_best"], line["rank_latency_worst"]) == ("1", "1")
    assert by_recipe["bf16"]["peak_memory (B)"] == ""
    assert pd.read_csv(io.BytesIO(downloads.csv_of(board))).shape[0] == len(board.rows)


def test_the_json_of_a_board_says_the_same(board):
    found = json.loads(downloads.json_of(board))
    assert found["board"]["task"] == board.task
    assert [row["recipe"] for row in found["rows"]] == [row.recipe for row in board.rows]
    assert found["rows"][-1]["top1 (1)"] is None
    assert not math.isnan(found["rows"][0]["top1 (1)"])


def test_a_citation_has_no_open_brace_however_a_task_is_called():
    hostile = [dataclasses.replace(record, title="A {brace\\ & 100 % _x_") for record in board_records()]
    text = downloads.bibtex(page(hostile).boards[0])
    assert text.count("{") == text.count("}")
    assert r"\& 100 \% \_x\_" in text


def test_every_board_has_its_page_and_its_downloads_in_the_site():
    files = files_of(fixture_records())
    (anchor,) = {path.partition(".")[0] for path in files if path.startswith("boards/")}
    assert {f"{anchor}.html", f"{anchor}.csv", f"{anchor}.json", "assets/board.js", "assets/board.css"} <= set(files)
    assert files == files_of(list(reversed(fixture_records())))


def test_a_board_of_26_rows_is_small_enough_to_load_on_a_phone(tmp_path):
    records = [run_record(accuracy=0.95)]
    for n in range(25):
        steps = [("prune.structured", {"parameters": n / 100}), ("train.finetune", {"epochs": 2, "lr": 0.01})]
        records.append(
            run_record(
                f"structured-{n:02}-tuned",
                steps=steps,
                accuracy=0.7 + n / 100,
                speedup=3 - n / 20,
                latency_s=1e-3 / (3 - n / 20),
                file_bytes=100_000 + 5_000 * n,
                memory_bytes=5_000_000 + 10_000 * n,
            )
        )
    content = write_site(tmp_path, records).read_bytes()
    assert len(content) < 500_000
    assert len(gzip.compress(content)) < 70_000
