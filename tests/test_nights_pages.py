"""Trends, regressions, their feed and the machines, as pages and in the terminal."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from builders import board_records, run_record
from paretoboard import regressions, store
from paretoboard.regressions import Ack
from paretoboard.store import calibrations, light
from paretoboard_reports import links, pages
from paretoboard_reports.pages import trends
from paretoboard_reports.site import read
from paretoboard_reports.svg import series_plot, sparkline
from paretoboard_reports.view import evidence
from paretoboard_reports.view.nights import shown, told
from planted_nights import FIRST, nights
from site_kit import files_of, site_of_history
from test_calibration import stored
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
    made = files(planted)
    anchors = {attrs.get("id") for _, attrs in Elements(files(planted)[links.REGRESSIONS].decode()).tags}
    for entry in entries:
        assert entry.find(f"{ATOM}link").get("href") in made
        assert entry.find(f"{ATOM}id").text.rpartition(":")[2] in anchors
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
    (page,) = (path for path in made if path.startswith("changes/"))
    for path in (links.TRENDS, links.REGRESSIONS, page):
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


def change_pages(made):
    return {path: content for path, content in made.items() if path.startswith("changes/")}


def test_every_change_has_a_page_of_its_own_with_all_that_speaks_for_it(planted):
    found = regressions.find(planted)
    made = files(planted)
    assert set(change_pages(made)) == {evidence.page_of(change) for change in found.changes}
    listed = made[links.REGRESSIONS].decode()
    for change in found.changes:
        path = evidence.page_of(change)
        each, html = told(change), text_of(made[path])
        assert f'href="{path}"' in listed
        for text in (f"{each.before} → {each.after}", each.by, each.rule, change.state, each.command):
            assert text in html
        assert html.count("✓ confirms") == change.confirmed
        assert html.count("✗ does not") == change.asked - change.confirmed
        assert f"git log --oneline {change.last_good.commit}..{change.first.commit}" in html
        assert f"--good {change.last_good.commit} --bad {change.first.commit}" in html
        assert "The same software before and after" in html
        drawing = re.search(r"<svg class=\"series.*?</svg>", made[path].decode(), re.DOTALL)
        assert len(list(ET.fromstring(drawing[0]).iter("circle"))) == len(change.series.nights)


def test_the_nights_of_a_page_are_ten_before_and_those_that_were_asked(planted):
    found = regressions.find(planted)
    (change,) = found.of("confirmed")
    lines = evidence.evidence(change, found).nights
    place = change.series.nights.index(change.first)
    shown_nights = change.series.nights[place - evidence.NIGHTS_BEFORE : place + 1 + change.asked]
    assert [line.day for line in lines] == [night.day.isoformat() for night in shown_nights]
    assert [line.says for line in lines].index("first") == evidence.NIGHTS_BEFORE
    assert lines[0].interval == "[0.99, 1.01]" or lines[0].interval.startswith("[")


def test_the_text_to_acknowledge_a_change_acknowledges_it(planted, tmp_path):
    found = regressions.find(planted)
    (change,) = found.of("confirmed")
    (tmp_path / "acks.toml").write_text(evidence.evidence(change, found).acknowledge)
    (known,) = regressions.find(planted, regressions.read_acks(tmp_path)).of("acknowledged")
    assert known.first == change.first
    html = text_of(files(planted, regressions.read_acks(tmp_path))[evidence.page_of(known)])
    assert "your name: why this is accepted" in html
    assert "[[ack]]" not in html


def test_the_page_of_a_change_in_a_series_that_was_cut_says_where_and_by_what():
    history = nights(["step"], count=80, at=60, noise=0.003)
    early = history["started_at"] < history["started_at"].iloc[0] + datetime.timedelta(days=30)
    older = json.dumps({"libraries": {"torch": "2.0"}, "microcode": "0x1", "gpu_driver": "550.1"})
    newer = json.dumps({"libraries": {"torch": "2.1"}, "microcode": "0x2", "gpu_driver": "560.2"})
    history["environment"] = [older if each else newer for each in early]
    history["environment_id"] = [("a" if each else "b") * 64 for each in early]
    (page,) = change_pages(files(history)).values()
    html = text_of(page)
    for text in ("libraries.torch: 2.0 → 2.1", "microcode: 0x1 → 0x2", "gpu_driver: 550.1 → 560.2"):
        assert text in html


def test_nights_of_another_version_of_the_task_are_named_and_never_compared():
    history = nights(["step"], count=80, at=60, noise=0.003)
    early = history["started_at"] < history["started_at"].iloc[0] + datetime.timedelta(days=30)
    history["board_id"] = [("a" if each else "b") * 64 for each in early]
    history.loc[early, "ratio"] *= 3
    made = files(history)
    (page,) = change_pages(made).values()
    assert "The task changed (its version, images or settings): 30 nights" in text_of(page)
    assert "The task changed" in text_of(made[links.TRENDS])


def test_a_row_of_a_board_shows_its_open_regressions():
    records = [
        run_record(name, speedup=(2 if name == "ort-int8" else 1) / (1.05 if night >= 10 else 1), started_at=started_at)
        for night in range(14)
        for name in ("baseline", "ort-int8")
        for started_at in (FIRST + datetime.timedelta(days=night),)
    ]
    made = files_of(records)
    found = regressions.find(light.of(records))
    (change,) = [each for each in found.of("confirmed") if each.series.key.recipe == "ort-int8"]
    (board,) = (content.decode() for path, content in made.items() if re.match(r"boards/.*html", path))
    tags = [attrs for tag, attrs in Elements(board).tags if tag == "a" and "alarm" in attrs.get("class", "")]
    assert f"../{evidence.page_of(change)}" in {attrs["href"] for attrs in tags}
    assert all(attrs["href"].removeprefix("../") in made for attrs in tags)
    page = made[evidence.page_of(change)].decode()
    assert f"{links.run(change.first.run_id)}" in page


def test_pages_of_past_changes_are_bounded_and_open_ones_never(planted, monkeypatch):
    monkeypatch.setattr(evidence, "MOST_PAST", 0)
    found = regressions.find(planted)
    kept = evidence.with_pages(found)
    assert {change.state for change in kept} == {"confirmed"}
    assert len(found.changes) > len(kept)
    made = files(planted)
    assert len(change_pages(made)) == len(kept)
    targets = [link.get("href") for link in ET.fromstring(made[links.FEED]).iter(f"{ATOM}link")]
    assert all(target.partition("#")[0] in made for target in targets)


def test_a_drift_has_a_page_with_its_three_nights_and_no_bisection_into_nothing():
    history = nights(["drift"], at=105, size=0.018, noise=0.001)
    (change,) = regressions.find(history).of("new")
    assert change.kind == "drift"
    (page,) = change_pages(files(history)).values()
    html = text_of(page)
    assert html.count("of the drift") == 2
    assert "a longer measurement decides" in html
    assert "✓ confirms" not in html


@pytest.mark.parametrize(
    ("commits", "note", "log"),
    [
        (("", ""), "was not recorded", False),
        (("a" * 40, "a" * 40), "Both sides are the same commit", False),
        (("a" * 40, "b" * 40 + "+dirty"), "Files differed from the commit", True),
    ],
)
def test_the_commits_of_both_sides_are_named_only_where_they_say_something(commits, note, log):
    history = nights(["step"], count=60, at=40, noise=0.003)
    late = history["started_at"] >= history["started_at"].iloc[0] + datetime.timedelta(days=40)
    history["commit"] = [commits[1] if each else commits[0] for each in late]
    (page,) = change_pages(files(history)).values()
    html = text_of(page)
    assert note in html
    assert (f"git log --oneline {'a' * 40}..{'b' * 40}Files" in html) is log
    assert ("paretoboard bisect" in html) is log


def test_a_loss_of_quality_has_a_page_as_well():
    history = nights(["none"], noise=0.002)
    late = history["started_at"] >= history["started_at"].iloc[0] + datetime.timedelta(days=60)
    history.loc[late, "quality"] *= 0.95
    ((path, page),) = change_pages(files(history)).items()
    assert "-quality-" in path
    assert "▼ worse" in text_of(page)
    assert "−5.0 %" in text_of(page)


def test_names_that_look_alike_have_pages_of_their_own():
    history = nights(["step", "step"], count=60, at=40, noise=0.003)
    names = {"s0": "a b", "s1": "a-b"}
    history["recipe"] = [names[name] for name in history["recipe"]]
    assert len(change_pages(files(history))) == 2


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


def test_the_methods_page_shows_rates_that_were_measured_with_their_intervals(tmp_path):
    for record in board_records():
        store.append(tmp_path, record)
    calibrations.keep(tmp_path, stored(false_alarms=1, identical=40, found=38, planted=40))
    for name in ("rigor", "regressions", "fixture"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.txt").write_text(f"what {name} counted <b>\n")
    made = {file.path: file.content for file in pages.files(read(tmp_path))}
    html = text_of(made[links.METHODS])
    # Wilson's intervals of 1 and of 38 in 40.
    assert "1 of 40 [0.4, 12.9] %" in html
    assert "38 of 40 of 3 % [83.5, 98.6] %" in html
    for name in ("rigor", "regressions", "fixture"):
        assert f"what {name} counted <b>" in html


def test_a_site_is_judged_by_the_calibrations_beside_its_records(tmp_path):
    for night in range(14):
        started_at = FIRST + datetime.timedelta(days=night)
        store.append(tmp_path, run_record("ort-int8", speedup=2 / (1.04 if night >= 8 else 1), started_at=started_at))
    (change,) = read(tmp_path).regressions.of("confirmed")
    key = change.series.key
    plain = json.loads(call(tmp_path, "--format", "json").stdout)
    assert [(each["limit"], each["page"]) for each in plain] == [("least", evidence.page_of(change))]
    assert "beyond 2.0 %, the least that counts" in call(tmp_path).stdout
    calibrations.keep(tmp_path, stored(hardware_id=key.hardware_id, profile=key.profile, noise_floor=0.03))
    (plain,) = json.loads(call(tmp_path, "--format", "json").stdout)
    assert (plain["limit"], plain["band"]) == ("floor", 0.03)
    made = {file.path: file.content for file in pages.files(read(tmp_path))}
    assert "3.0 %, the noise floor of this machine" in text_of(made[plain["page"]])
    calibrations.keep(
        tmp_path, stored(hardware_id=key.hardware_id, profile=key.profile, noise_floor=0.06, measured_at=FIRST)
    )
    assert len(json.loads(call(tmp_path, "--format", "json").stdout)) == 1
