"""The pages that show all runs, one run, and runs side by side, in a real browser, from a disk, offline."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import itertools
import json
import math

import pytest

from builders import MEASURED_AT, board_records, failed_record, provenance, run_record
from chromium import Chromium
from paretoboard.comparable import conditions, guard
from paretoboard_reports import links, output, pages
from paretoboard_reports.view.history import key, left_out
from site_kit import files_of, site_of

HOSTILE = "<img src=x onerror=alert(1)>\"',\n</script>"
FORMULA = '=cmd("calc")'
READY = "document.documentElement.dataset.ready"
SHOWN_IDS = "[...document.querySelectorAll('#rows tr')].map(row => row.id)"

# What nobody should write behind a "#", and somebody will.
MALFORMED = (
    "#sort=__proto__",
    "#sort=constructor",
    "#max=abc",
    "#max=Infinity",
    "#min=1e999",
    "#page=-1",
    "#page=99999999999999999999",
    "#page=1.5",
    "#n=1e9",
    "#q=" + "x" * 10_000,
    "#q=%",
    "#q=%E0%A4%A",
    "#__proto__=1&constructor=2&toString=3",
    "#task=,,,%00,",
    "#x=hasOwnProperty",
    "#sel=r1,r2,<script>",
    "#sel=" + ",".join(["r" + "0" * 16] * 50),
    "#" + "&" * 500 + "==&=&a",
    "#r0123456789abcdef",
    "#rzz",
    "#sort=-&status=%3Cimg%20src%3Dx%3E&front=maybe&v=2",
)


def later(record, **overrides):
    return dataclasses.replace(record, started_at=MEASURED_AT + datetime.timedelta(days=1), **overrides)


def known_records():
    """A board with hostile names, one more machine, one more environment, and a run that was measured again."""
    records = board_records()
    hostile = dataclasses.replace(run_record("ort-int8", seed=1), recipe=HOSTILE, model=HOSTILE)
    formula = dataclasses.replace(run_record("ort-int8", seed=2), recipe=FORMULA)
    again = later(records[0])
    moved = dataclasses.replace(run_record("ort-fp32"), provenance=provenance(hardware_id="e" * 64))
    other = dataclasses.replace(run_record("ort-fp32"), provenance=provenance(environment_id="d" * 64))
    unnamed = failed_record("broken", reason=HOSTILE)
    return [*records, hostile, formula, again, moved, other, unnamed]


@pytest.fixture(scope="module")
def site():
    return site_of(known_records())


@pytest.fixture(scope="module")
def folder(site, tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    output.write(pages.files(site), target)
    return target


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        tab = found.page()
        tab.offline()
        yield tab


@pytest.fixture(autouse=True)
def _without_trouble(request):
    """Whatever a test does, nothing is asked for from outside and nothing goes wrong in the console."""
    yield
    if "browser" in request.fixturenames:
        found = request.getfixturevalue("browser")
        assert found.complaints() == []
        assert [
            asked for asked in found.asked_for() if not asked.startswith(("file:", "data:", "blob:", "about:"))
        ] == []


def key_of(site, recipe, *, machine="", environment=""):
    """The key of the newest run of a recipe, on the board's machine and in its environment unless others are named."""
    usual = run_record().provenance
    rows = site.runs[site.runs["recipe"] == recipe]
    rows = rows[rows["hardware_id"] == (machine * 64 or usual.hardware_id)]
    return rows[rows["environment_id"] == (environment * 64 or usual.environment_id)]["key"].iloc[-1]


# Explore


def test_all_runs_are_shown_newest_first_and_few_enough_elements_hold_them(browser, folder, site):
    browser.open(folder / "explore.html", ready=READY)
    shown = browser.js(SHOWN_IDS)
    assert sorted(shown) == sorted(site.runs["key"])
    times = dict(zip(site.runs["key"], site.runs["started_at"], strict=True))
    assert [times[each] for each in shown] == sorted(times.values(), reverse=True)
    count = len(site.runs)
    assert browser.js("document.getElementById('shown').textContent") == f"{count} of {count} shown"
    assert browser.js("document.querySelectorAll('*').length") < 5000


@pytest.mark.parametrize(("sort", "column"), [("acc", "quality"), ("lat", "latency"), ("size", "file_size")])
def test_sorting_is_that_of_python_with_missing_numbers_last_both_ways(browser, folder, site, sort, column):
    rows = site.runs.iloc[::-1].reset_index(drop=True)
    assert rows[column].isna().any()
    for sign, state in ((1, sort), (-1, f"-{sort}")):
        order = sorted(
            range(len(rows)), key=lambda i: (math.isnan(rows[column][i]), sign * rows[column].fillna(0)[i], i)
        )
        browser.open(folder / "explore.html", f"#sort={state}", ready=READY)
        assert browser.js(SHOWN_IDS) == [rows["key"][i] for i in order]
        heads = browser.js("[...document.querySelectorAll('[aria-sort]')].map(each => each.dataset.key)")
        assert heads == [sort]


def test_a_heading_sorts_twice_and_then_lets_go(browser, folder):
    browser.open(folder / "explore.html", ready=READY)
    first = browser.js(SHOWN_IDS)
    states = []
    for _ in range(3):
        browser.js("document.querySelector('[data-key=lat] button').click()")
        states.append(browser.js("location.hash"))
    assert states == ["#sort=lat", "#sort=-lat", ""]
    assert browser.js(SHOWN_IDS) == first


def test_a_state_opens_the_same_in_another_browser_and_back_undoes_a_click(browser, folder, tmp_path):
    browser.open(folder / "explore.html", "#mine=kept", ready=READY)
    everything = browser.js(SHOWN_IDS)
    browser.js(
        "(q => { q.value = 'ort'; q.dispatchEvent(new Event('input', {bubbles: true})) })(document.getElementById('q'))"
    )
    browser.wait("location.hash.includes('q=ort')")
    browser.js("document.querySelector('#facets input[value=quantize]').click()")
    browser.js("document.querySelector('[data-key=acc] button').click()")
    state, shown = browser.js("location.hash"), browser.js(SHOWN_IDS)
    assert state == "#q=ort&family=quantize&sort=-acc&mine=kept"
    assert 0 < len(shown) < len(everything)
    fresh = browser.browser.page()
    fresh.open(folder / "explore.html", state, ready=READY)
    assert fresh.js(SHOWN_IDS) == shown
    assert fresh.js("document.getElementById('q').value") == "ort"
    assert fresh.complaints() == []
    browser.js("history.back()")
    browser.wait("location.hash == '#q=ort&family=quantize&mine=kept'")
    browser.js("document.getElementById('reset').click()")
    assert browser.js("location.hash") == "#mine=kept"
    assert browser.js(SHOWN_IDS) == everything


@pytest.mark.parametrize("page", ["explore.html", "run.html", "compare.html"])
def test_what_is_no_state_raises_nothing_and_shows_something(browser, folder, page):
    for state in MALFORMED:
        browser.open(folder / page, state, ready=READY)
        assert browser.js("document.getElementById('main').innerText.length") > 20, state
        assert browser.complaints() == [], state


def test_limits_and_facets_keep_what_python_keeps(browser, folder, site):
    rows = site.runs
    browser.open(folder / "explore.html", "#min=96&max=1&family=quantize,runtime&sort=lat", ready=READY)
    kept = rows[(rows["quality"] >= 0.96) & (rows["latency"] <= 1e-3) & rows["family"].isin(["quantize", "runtime"])]
    assert len(kept) > 0
    assert sorted(browser.js(SHOWN_IDS)) == sorted(kept["key"])


def test_the_count_beside_a_value_is_what_choosing_it_would_show(browser, folder, site):
    browser.open(folder / "explore.html", "#status=ok", ready=READY)
    boxes = "[...document.querySelectorAll('#facets input[name=status]')]"
    shown = browser.js(f"{boxes}.map(box => [box.value, box.parentNode.querySelector('small').textContent.trim()])")
    counts = site.runs["status"].astype(str).value_counts()
    assert dict(shown) == {status: str(count) for status, count in counts.items()}


def test_hostile_names_are_text_and_a_csv_holds_the_rows_with_formulas_disarmed(browser, folder, site):
    browser.open(folder / "explore.html", ready=READY)
    assert browser.js("document.querySelectorAll('main img, main script').length") == 0
    assert HOSTILE in browser.js("document.getElementById('rows').textContent")
    table = list(csv.DictReader(io.StringIO(browser.js("window.paretoboard.csv()"), newline="")))
    assert len(table) == len(site.runs)
    recipes = [row["recipe"] for row in table]
    assert HOSTILE in recipes
    assert "'" + FORMULA in recipes
    by_key = {f"r{row['run']}-{row['measurement']}": row for row in table}
    for row in site.runs.to_dict("records"):
        said = by_key[row["key"]]["latency [s]"]
        assert (float(said) if said else math.nan) == pytest.approx(row["latency"], rel=0, abs=0, nan_ok=True)


def test_chosen_rows_go_to_the_comparison(browser, folder):
    browser.open(folder / "explore.html", ready=READY)
    browser.js("[...document.querySelectorAll('#rows input')].slice(0, 2).forEach(box => box.click())")
    target = browser.js("document.getElementById('compare').href")
    assert target.endswith(browser.js("location.hash"))
    browser.open(folder / "compare.html", f"#{target.partition('#')[2]}", ready=READY)
    assert browser.js("document.querySelectorAll('table.sides').length") == 3


# Run


def test_every_run_has_its_page_and_those_on_a_board_are_full(browser, folder, site):
    full = {key(cell.latest) for group in site.groups for cell in group.cells}
    for name, status in zip(site.runs["key"], site.runs["status"], strict=True):
        browser.open(folder / "run.html", f"#{name}", ready=READY)
        assert browser.js("document.querySelectorAll('.details').length") == (name in full)
        assert browser.js("document.querySelectorAll('main img, main script').length") == 0
        text = browser.js("document.getElementById('run').textContent")
        assert "paretoboard run" in text
        if status == "ok":
            assert "%" in text


def test_a_run_without_its_measurement_is_the_newest_and_names_the_others(browser, folder, site):
    again = [name for name, place in zip(site.runs["key"], site.runs["place"], strict=True) if "again" in place]
    assert len(again) == 1
    browser.open(folder / "run.html", f"#{again[0].partition('-')[0]}", ready=READY)
    others = browser.js("[...document.querySelectorAll('#run li a[href^=\"#r\"]')].map(each => each.hash.slice(1))")
    assert again[0] in others
    browser.open(folder / "run.html", f"#{again[0]}", ready=READY)
    assert "measured again since" in browser.js("document.getElementById('run').textContent")


def test_a_hostile_recipe_can_be_measured_again_from_the_line_that_is_shown(browser, folder, site):
    browser.open(folder / "run.html", f"#{key_of(site, HOSTILE)}", ready=READY)
    assert "--only '<img src=x" in browser.js("document.querySelector('#run pre').textContent")


# Compare


def test_the_pages_apply_the_same_rule_as_python(browser, folder, site):
    records = list({key(record): record for record in site.records}.values())
    browser.open(folder / "compare.html", ready=READY)
    for one, two in itertools.combinations(records[::3], 2):
        expected = guard(conditions(one), conditions(two))
        rows = [conditions(record) for record in (one, two)]
        found = browser.js(f"window.paretoboard.guard({json.dumps(rows[0])}, {json.dumps(rows[1])})")
        assert found["level"] == expected.level
        assert found["differences"] == [dataclasses.asdict(each) for each in expected.differences]


def test_two_machines_get_a_banner_with_the_reason_and_no_difference(browser, folder, site):
    pair = [key_of(site, "ort-int8"), key_of(site, "ort-fp32", machine="e")]
    browser.open(folder / "compare.html", f"#sel={','.join(pair)}", ready=READY)
    assert browser.js("document.querySelector('.banner').dataset.level") == "different"
    assert "machine (hardware fingerprint)" in browser.js("document.querySelector('.banner').textContent")
    assert browser.js("document.querySelectorAll('.delta').length") == 0


def test_another_environment_is_compared_and_said(browser, folder, site):
    pair = [key_of(site, "ort-fp32"), key_of(site, "ort-fp32", environment="d")]
    browser.open(folder / "compare.html", f"#sel={','.join(pair)}", ready=READY)
    assert browser.js("document.querySelector('.banner').dataset.level") == "compatible"
    assert browser.js("document.querySelectorAll('.delta').length") > 0


def test_two_of_a_board_are_compared_on_the_same_images(browser, folder, site):
    pair = [key_of(site, "ort-fp32"), key_of(site, "ort-int8")]
    browser.open(folder / "compare.html", f"#sel={','.join(pair)}", ready=READY)
    text = browser.js("document.querySelector('.sides').textContent")
    assert "McNemar" in text
    assert "as of independent numbers" in text


# What is left out


def test_what_a_board_leaves_out_is_counted_explained_and_listed(browser, folder, site):
    record = site.records[0]
    found = left_out(site.runs, record.task, record.profile, record.provenance.hardware_id)
    assert found.count == 1
    assert found.sentence.startswith("1 stored result is not on this page: 1 measured again since")
    browser.open(folder / links.EXPLORE, found.link.removeprefix(links.EXPLORE), ready=READY)
    assert len(browser.js(SHOWN_IDS)) == found.count


def test_runs_from_before_a_task_changed_are_left_out_for_that(site):
    old = [dataclasses.replace(record, board_id="0" * 64) for record in board_records()]
    new = later(run_record())
    found = site_of([*old, new]).runs
    assert (found["place"] == "task changed since").sum() == len(old)
    said = left_out(found, new.task, new.profile, new.provenance.hardware_id)
    assert said.count == len(old)
    assert "from before the task changed" in said.sentence


def test_the_data_are_the_same_bytes_in_any_order_of_the_records():
    records = known_records()
    assert files_of(records) == files_of(list(reversed(records)))


def test_there_is_no_page_for_each_run_and_every_run_is_in_its_shard(site):
    files = files_of(known_records())
    shards = [path for path in files if path.startswith("data/runs/")]
    assert set(shards) == {links.shard(run_id) for run_id in site.runs["run_id"]}


def test_a_site_without_runs_has_the_pages(browser, tmp_path):
    output.write(pages.files(site_of([])), tmp_path)
    for page in ("explore.html", "run.html", "compare.html"):
        browser.open(tmp_path / page, ready=READY)
        assert browser.complaints() == []
