"""Trends, regressions, their feed and the machines, as pages and in the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from builders import board_records
from paretoboard import regressions, store
from paretoboard.regressions import Ack
from paretoboard_reports import links, pages
from paretoboard_reports.pages import trends
from paretoboard_reports.svg import series_plot, sparkline
from paretoboard_reports.view.nights import shown, told
from planted_nights import nights
from site_kit import files_of, site_of_history
from test_report_page import HOSTILE, Elements

ATOM = "{http://www.w3.org/2005/Atom}"


def files(history, acks=()):
    return {file.path: file.content for file in pages.files(site_of_history(history, acks))}


@pytest.fixture(scope="module")
def planted():
    return nights(["step", "better", "none", "environment", "noisy", "outliers"], count=80, at=40, noise=0.003, seed=4)


def text_of(content):
    return " ".join("".join(Elements(content.decode()).text).split())


def test_every_change_stands_on_the_page_with_its_evidence(planted):
    found = regressions.find(planted)
    html = text_of(files(planted)[links.REGRESSIONS])
    assert {change.state for change in found.changes} >= {"confirmed", "improved"}
    for change in found.changes:
        each = told(change)
        assert f"{each.before} → {each.after}" in html
        assert each.by in html
        assert each.commits in html
        assert each.command in html
    assert "libraries.torch: 2.0 → 2.1" in html


def test_an_acknowledged_change_says_by_whom_and_why(planted):
    (change,) = regressions.find(planted).of("confirmed")
    ack = Ack(series=change.series.key.name, night=change.first.day, reason="a better kernel", by="Ada")
    html = text_of(files(planted, [ack])[links.REGRESSIONS])
    assert "Ada: a better kernel" in html


def test_a_series_that_is_cut_has_a_line_where_it_is_cut(planted):
    found = shown(regressions.find(planted))
    cut = next(each for each in found if each.cuts)
    root = ET.fromstring(series_plot(cut, "plot"))
    lines = [line for line in root.iter("line") if line.get("class") == "cut"]
    assert len(lines) == len(cut.cuts) == 1
    places = sorted(float(mark.get("cx")) for mark in root.iter("circle"))
    assert places[39] < float(lines[0].get("x1")) < places[40]


def test_every_night_is_a_mark_inside_the_drawing(planted):
    for each in shown(regressions.find(planted)):
        root = ET.fromstring(series_plot(each, "plot"))
        _, _, width, height = map(float, root.get("viewBox").split())
        marks = list(root.iter("circle"))
        assert len(marks) == len(each.series.nights)
        assert all(0 <= float(mark.get("cx")) <= width and 0 <= float(mark.get("cy")) <= height for mark in marks)
        assert root.find("title").text == each.sentence


def test_a_series_that_got_worse_comes_before_one_that_did_not(planted):
    order = [each.series.key.recipe for each in shown(regressions.find(planted)) if each.series.key.what == "speed"]
    assert order.index("s0") < order.index("s2")


def test_a_sparkline_of_equal_values_is_a_line_and_not_an_error():
    assert ET.fromstring(sparkline([1.0], [])).find("circle") is not None
    assert ET.fromstring(sparkline([0.0, 0.0], [1])).find("line") is not None


def test_the_feed_is_atom_with_an_entry_for_each_change(planted):
    found = regressions.find(planted)
    root = ET.fromstring(files(planted)[links.FEED])
    entries = root.findall(f"{ATOM}entry")
    assert len(entries) == len(found.changes)
    ids = [entry.find(f"{ATOM}id").text for entry in entries]
    assert len(set(ids)) == len(ids)
    anchors = {attrs.get("id") for _, attrs in Elements(files(planted)[links.REGRESSIONS].decode()).tags}
    for entry in entries:
        page, _, anchor = entry.find(f"{ATOM}link").get("href").partition("#")
        assert page == links.REGRESSIONS
        assert anchor in anchors
        assert entry.find(f"{ATOM}updated").text.endswith("T00:00:00Z")


def test_without_a_night_the_feed_is_empty_and_valid():
    root = ET.fromstring(files_of([])[links.FEED])
    assert root.find(f"{ATOM}updated").text
    assert not root.findall(f"{ATOM}entry")


def test_hostile_names_are_text_on_the_pages_and_in_the_feed():
    history = nights(["step"], count=60, at=40, noise=0.003).assign(
        recipe=HOSTILE, title=HOSTILE, hardware_name=HOSTILE
    )
    made = files(history)
    for path in (links.TRENDS, links.REGRESSIONS):
        assert "<img" not in made[path].decode()
        assert "{{ 7 * 7 }}" in text_of(made[path])
    (entry,) = ET.fromstring(made[links.FEED]).findall(f"{ATOM}entry")
    assert "<img src=x onerror=alert(1)>" in entry.find(f"{ATOM}title").text


def test_the_same_nights_give_the_same_bytes(planted):
    assert files(planted) == files(planted.sample(frac=1, random_state=1).sort_values(["started_at", "run_id"]))


def test_pages_stay_bounded_however_many_series_there_are():
    history = nights(["outliers"] * (trends.MOST_LISTED + 20), count=6)
    html = files(history)[links.TRENDS].decode()
    assert html.count('class="series"') == trends.MOST_DRAWN
    assert html.count('class="spark"') == trends.MOST_LISTED
    assert f"The first {trends.MOST_LISTED} of" in html


def test_results_of_one_night_say_how_many_nights_a_level_needs():
    html = text_of(files_of(board_records())[links.TRENDS])
    assert "A level needs 5 nights of the same software; the longest series here has 1" in html


def test_a_machine_has_a_page_with_its_fingerprint_its_software_and_its_boards():
    records = board_records()
    made = files_of(records)
    hardware_id = records[0].provenance.hardware_id
    html = text_of(made[links.hardware(hardware_id)])
    assert hardware_id in html
    for value in (records[0].provenance.hardware["cpu"], records[0].title):
        assert value in html
    assert links.hardware(hardware_id) in made[links.INDEX].decode()


def call(results, *arguments):
    command = [sys.executable, "-m", "paretoboard", "regressions", "--results", str(results), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120
    )


def test_results_of_one_night_have_no_regressions_in_the_terminal_either(tmp_path):
    for record in board_records():
        store.append(tmp_path, record)
    done = call(tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "")
    assert "of up to 1 nights: 0 confirmed" in done.stderr
    assert json.loads(call(tmp_path, "--format", "json").stdout) == []


def test_a_mistake_in_acks_toml_is_the_user_s(tmp_path):
    store.append(tmp_path, board_records()[0])
    (tmp_path / "acks.toml").write_text('[[ack]]\nseries = "x"\n')
    done = call(tmp_path)
    assert done.returncode == 2
    assert "acks.toml:2" in done.stderr
