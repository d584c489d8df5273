"""The board's page in a real browser: order, filters, links, keyboard, and what works without its script."""

from __future__ import annotations

import csv
import io
import json
import re
from urllib.parse import quote

import pytest

from board_fixture import FORMULA, HOSTILE, fixture_records, write_site
from chromium import Chromium
from paretoboard_reports.view import page

VISIBLE = "[...document.querySelectorAll('tbody.row')].filter(r => r.getClientRects().length).map(r => r.id)"
POINTS = (
    "[...new Set([...document.querySelectorAll('.plot.wide a.point')].filter(p => p.getClientRects().length)"
    ".map(p => p.dataset.row))].sort()"
)
SORTED = "[...document.querySelectorAll('[aria-sort]')].map(h => [h.dataset.k, h.getAttribute('aria-sort')])"
HEARD = "document.querySelector('.heard').textContent"
HASH = "location.hash"


@pytest.fixture(scope="module")
def board():
    return page(fixture_records()).boards[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def tab(browser, site):
    found = browser.page()
    found.width(1400)
    found.open(site)
    yield found
    assert found.complaints() == []
    assert all(re.match(r"(file|data|blob|about):", address) for address in found.asked_for())


def anchors(rows):
    return [row.anchor for row in rows]


def button(key):
    return f"thead th[data-k='{key}'] button"


def value_of(row, key):
    """What a column sorts by, computed apart from the page."""
    shown = {
        "acc": row.quality,
        "latency": row.latency,
        "speedup": row.speedup.quantity if row.speedup else None,
        "size": row.file_size,
        "memory": row.memory,
        "throughput": row.throughput,
    }[key]
    if key == "speedup" and row.is_baseline:
        return 1.0
    return None if shown is None else shown.value * shown.factor


def expected(board, key, *, descending):
    """Python's order: missing last both ways, equals as the board has them."""
    known = [row for row in board.rows if value_of(row, key) is not None]
    missing = [row for row in board.rows if value_of(row, key) is None]
    rounded = {row.anchor: float(f"{value_of(row, key):.12g}") for row in known}
    known.sort(key=lambda row: -rounded[row.anchor] if descending else rounded[row.anchor])
    return anchors([*known, *missing])


@pytest.mark.parametrize("key", ["acc", "latency", "speedup", "size", "memory"])
def test_a_column_is_ordered_by_mouse_best_first_then_worst_first_then_as_before(tab, board, key):
    best_is_high = key in ("acc", "speedup")
    for descending in (best_is_high, not best_is_high):
        tab.click(button(key))
        assert tab.js(VISIBLE) == expected(board, key, descending=descending)
        assert tab.js(SORTED) == [[key, "descending" if descending else "ascending"]]
        assert ("descending" if descending else "ascending") in tab.js(HEARD)
    tab.click(button(key))
    assert tab.js(VISIBLE) == anchors(board.rows)
    assert tab.js(SORTED) == [["front", "ascending"]]
    assert tab.js(HASH) == ""


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_column_is_ordered_by_keyboard(tab, board, key):
    tab.js(f"document.querySelector({json.dumps(button('acc'))}).focus()")
    tab.press("Tab")
    tab.press("Tab")  # past the rank, to the latency
    tab.press(key)
    assert tab.js(SORTED) == [["latency", "ascending"]]
    assert tab.js(VISIBLE) == expected(board, "latency", descending=False)
    assert tab.js("document.activeElement.closest('th').dataset.k") == "latency"


def test_a_link_shows_the_same_rows_and_points_to_someone_else(tab, browser, site):
    tab.click(".choose input[value=size]")
    tab.js("document.querySelector('[data-key=q]').focus()")
    tab.write("run")
    tab.click("fieldset[data-key=family] input[value=runtime]")
    tab.click("fieldset[data-key=family] input[value=quantize]")
    tab.js("document.querySelector('[data-key=max]').focus()")
    tab.write("300")
    tab.click(button("acc"))
    tab.wait(f"{HASH}.includes('max=300') && {HASH}.includes('sort=-acc')")
    seen = [tab.js(question) for question in (HASH, VISIBLE, POINTS, SORTED)]
    assert seen[0] == "#q=run&family=runtime,quantize&max=300&x=size&sort=-acc" or "quantize" in seen[0]
    assert len(seen[1]) == 1
    assert sorted(seen[1]) == seen[2]
    other = browser.page()
    other.width(1400)
    other.open(site, seen[0])
    assert [other.js(question) for question in (HASH, VISIBLE, POINTS, SORTED)] == seen
    assert other.js("document.querySelector('.choose input[value=size]').checked")
    assert other.js("document.querySelector('[data-key=q]').value") == "run"
    assert other.complaints() == []


def test_back_undoes_a_click_and_reset_clears_all(tab, board):
    tab.click("[data-key=front]")
    front = tab.js(VISIBLE)
    assert front == [row.anchor for row in board.rows if row.standing == "front"]
    tab.click(button("size"))
    assert tab.js(HASH) == "#front=1&sort=size"
    tab.js("new Promise(done => { addEventListener('popstate', () => setTimeout(done)); history.back(); })")
    assert tab.js(HASH) == "#front=1"
    assert tab.js(VISIBLE) == front
    tab.click(".reset")
    assert tab.js(HASH) == ""
    assert tab.js(VISIBLE) == anchors(board.rows)
    assert (
        tab.js("document.querySelector('.shown span').textContent") == f"{len(board.rows)} of {len(board.rows)} shown"
    )


def test_typing_replaces_the_address_and_a_click_adds_to_the_history(tab):
    before = tab.js("history.length")
    tab.js("document.querySelector('[data-key=q]').focus()")
    for letter in "ort":
        tab.write(letter)
    tab.wait(f"{HASH} === '#q=ort'")
    assert tab.js("history.length") == before
    tab.click("[data-key=front]")
    assert tab.js("history.length") == before + 1


MALFORMED = [
    "sort=__proto__",
    "sort=constructor",
    "sort=-",
    "sort=acc,acc",
    "max=abc",
    "max=-1",
    "max=1e999",
    "max=",
    "min=NaN",
    "min=1.2.3",
    "front=2",
    "x=__proto__",
    "x=latency%00",
    "family=nobody",
    "family=,,,",
    "status=%E0%A4%A",
    "sel=../..",
    "sel=" + ",".join(f"r{n:016x}" for n in range(300)),
    "%",
    "&&&===",
    "=1",
    "__proto__=1",
    "q=%F0%9F",
    "q=%D8%00",
    "q=" + "x" * 10_000,
]


def test_malformed_addresses_are_ignored(browser, site, board):
    tab = browser.page()
    tab.width(1400)
    for text in MALFORMED:
        tab.open(site, f"#{text}")
        shown = tab.js(VISIBLE)
        assert shown == ([] if text.startswith("q=x") else anchors(board.rows)), (text, tab.js(HASH))
        # What is written next holds the new choice and nothing of what was ignored.
        tab.js("document.querySelector('[data-key=front]').click(); document.querySelector('.reset').click()")
    assert tab.complaints() == []


def test_every_column_can_be_chosen_by_its_name(tab):
    names = tab.js("[...document.querySelectorAll('.columns label')].map(label => label.textContent.trim())")
    heads = tab.js("[...document.querySelector('.ranking').tHead.rows[0].cells].map(head => head.dataset.c)")
    assert names == heads[2:]


def test_keys_of_later_versions_are_kept(tab, site):
    tab.open(site, "#later=a%2Cb&sort=size")
    tab.click("[data-key=front]")
    assert tab.js(HASH) == "#front=1&sort=size&later=a%2Cb"


def test_the_axis_changes_the_front_the_order_and_the_state_of_each_row(tab, board):
    for figure in board.figures:
        tab.click(f".choose input[value={figure.axis}]")
        assert tab.js(VISIBLE) == list(board.orders[figure.axis])
        tab.js("document.querySelector('[data-key=front]').click()")
        assert sorted(tab.js(VISIBLE)) == sorted(p.anchor for p in figure.points if p.standing == "front")
        states = tab.js(
            "[...document.querySelectorAll('tbody.row:not([hidden]) .standing')].map(s => s.innerText.trim())"
        )
        assert all("front" in state and "\n" not in state for state in states)
        tab.js("document.querySelector('[data-key=front]').click()")


def test_every_visible_row_has_one_point_where_its_values_are(tab, board):
    tab.js("location.hash = '#min=95'; new Promise(done => setTimeout(done, 100))")
    shown = tab.js(VISIBLE)
    assert 0 < len(shown) < len(board.rows)
    for figure in board.figures:
        tab.click(f".choose input[value={figure.axis}]")
        found = tab.js(
            "[...document.querySelectorAll('.plot.wide a.point')].filter(p => p.getClientRects().length).map(p => {"
            " const at = p.querySelector('.mark').transform.baseVal[0].matrix;"
            " return [p.dataset.row, Number(p.dataset.x), Number(p.dataset.y), at.e, at.f]; })"
        )
        assert sorted(point[0] for point in found) == sorted(
            row.anchor for row in board.rows if row.anchor in shown and row.costs.get(figure.axis)
        )
        ticks = tab.js(
            f"[...document.querySelectorAll('.figure.{figure.axis} .plot.wide .axes text.tick')].map(t =>"
            " [t.textContent.replaceAll(',', ''), Number(t.getAttribute('x')), Number(t.getAttribute('y')) - 4])"
        )
        heights = {float(text): y for text, x, y in ticks if x < 60}
        (low, low_y), (high, high_y) = min(heights.items()), max(heights.items())
        for _, _, value, _, y in found:
            assert y == pytest.approx(low_y + (value - low) / (high - low) * (high_y - low_y), abs=1)


def test_a_row_and_its_point_light_up_together_and_a_point_leads_to_its_row(tab, board):
    anchor = board.rows[0].anchor
    tab.js(f"document.querySelector('#{anchor} summary').focus()")
    assert tab.js(
        "[...document.querySelectorAll('.plot .lit')].every(p => p.dataset.row === " + json.dumps(anchor) + ")"
    )
    assert tab.js("document.querySelectorAll('.plot a.lit').length") == 2 * len(board.figures)
    tab.click(f".plot.wide a[data-row='{board.rows[1].anchor}'] .mark")
    assert tab.js("document.activeElement.closest('tbody').id") == board.rows[1].anchor
    assert tab.js(HASH) == ""


def test_arrow_keys_walk_along_the_front_and_a_plot_is_one_tab_stop(tab, board):
    figure = board.figures[0]
    front = [p.anchor for p in sorted(figure.points, key=lambda p: (p.x, p.y)) if p.standing == "front"]
    tab.js("document.querySelector('.choose input').focus()")
    tab.press("Tab")
    at = "document.activeElement.dataset.row"
    walked = [tab.js(at)]
    for _ in front[1:]:
        tab.press("ArrowRight")
        walked.append(tab.js(at))
    assert sorted(walked) == sorted(front)
    tab.press("Home")
    assert tab.js(at) == walked[0]
    tab.press("Tab")
    assert tab.js("document.activeElement.closest('.plot')") is None


def test_filtering_never_renumbers(tab):
    ranks = (
        "Object.fromEntries([...document.querySelectorAll('tbody.row')]"
        ".map(r => [r.id, r.querySelector('[data-k=rank]')?.textContent]))"
    )
    before = tab.js(ranks)
    for address in ("#front=1", "#q=ort", "#min=96&sort=rank"):
        tab.js(f"location.hash = '{address}'; new Promise(done => setTimeout(done, 100))")
        assert tab.js(ranks) == before


def test_presets_are_filters_and_an_order(tab, board):
    tab.click(".presets button")
    least = next(row for row in board.rows if row.is_baseline).quality.value - 0.01
    good = [row for row in board.ranked if row.quality.value >= least - 1e-9]
    assert tab.js(VISIBLE) == [a for a in expected(board, "speedup", descending=True) if a in anchors(good)]
    assert "min=" in tab.js(HASH)


def test_chosen_rows_are_linked_to_the_comparison(tab, board):
    for row in board.rows[:2]:
        tab.click(f"#{row.anchor} .choice input")
    runs = ",".join(f"r{row.run_id[:16]}" for row in board.rows[:2])
    assert tab.js(HASH) == f"#sel={runs}"
    assert tab.js("document.querySelector('.compare').getAttribute('href')").endswith(f"compare.html#sel={runs}")


def test_columns_are_remembered_on_this_machine_and_not_in_the_link(tab, site):
    shown = "getComputedStyle(document.querySelector('th[data-k=macs]')).display !== 'none'"
    assert tab.js(shown)
    tab.js("[...document.querySelectorAll('.columns label')].find(l => l.textContent.includes('MACs')).click()")
    assert not tab.js(shown)
    assert tab.js(HASH) == ""
    tab.open(site)
    assert not tab.js(shown)


def downloaded(tab, kind):
    """What a button of the downloads gives, as text."""
    tab.js(
        "window.given = new Promise(done => { const make = URL.createObjectURL;"
        " URL.createObjectURL = blob => { done(blob); return make.call(URL, blob); }; }); 0"
    )
    tab.js(f"document.querySelector('.downloads button[data-get={kind}]').click()")
    return tab.js("window.given.then(blob => blob.text())")


def test_the_csv_of_what_is_seen_holds_the_visible_rows_unrounded_and_runs_no_formula(tab, board):
    tab.js("location.hash = '#family=prune&sort=size'; new Promise(done => setTimeout(done, 100))")
    found = list(csv.DictReader(io.StringIO(downloaded(tab, "csv").lstrip("\ufeff"), newline="")))
    names = {row.anchor: row.recipe for row in board.rows}
    shown = [names[anchor] for anchor in tab.js(VISIBLE)]
    assert [line["Recipe"].removeprefix("'") for line in found] == shown
    assert {HOSTILE, FORMULA} <= set(shown)
    assert f"'{FORMULA}" in [line["Recipe"] for line in found]
    row = next(row for row in board.rows if row.recipe == HOSTILE)
    line = next(line for line in found if line["Recipe"] == HOSTILE)
    assert float(line["Top-1 (%)"]) == pytest.approx(100 * row.quality.value, rel=1e-11)
    assert float(line["Top-1 (%), high"]) == pytest.approx(100 * row.quality.high, rel=1e-11)
    assert line["Rank in Top-1"] == f"{row.ranks['quality'].low}–{row.ranks['quality'].high}"


def test_markdown_and_drawings_of_what_is_seen(tab, board):
    lines = downloaded(tab, "md").splitlines()
    assert len(lines) == 2 + len(board.rows)
    assert "ort-int8" in "".join(lines)
    assert len({re.sub(r"\\\|", "", line).count("|") for line in lines}) == 1
    svg = downloaded(tab, "svg")
    assert svg.startswith("<svg")
    assert "fill: rgb(" in svg
    assert downloaded(tab, "png").startswith("�PNG")


def test_hostile_names_are_text_in_the_table_the_plot_and_the_address(tab, site):
    assert tab.js("document.querySelectorAll('main img').length") == 0
    assert HOSTILE in tab.js("[...document.querySelectorAll('.name')].map(n => n.textContent)")
    tab.open(site, f"#q={quote('<img src=x')}")
    assert len(tab.js(VISIBLE)) == 2  # by its name and by the reason of the one that failed
    assert tab.js("document.querySelectorAll('main img').length") == 0


def test_without_script_all_rows_are_there_and_the_costs_can_be_chosen(browser, site, board):
    tab = browser.page()
    tab.width(1400)
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(site)
    plots = "[...document.querySelectorAll('.plot')].filter(p => p.getClientRects().length)"
    assert tab.js(VISIBLE) == anchors(board.rows)
    controls = "[...document.querySelectorAll('.filters, .shown, .choice, thead button')]"
    assert tab.js(f"{controls}.every(e => !e.getClientRects().length)")
    for figure in board.figures:
        tab.click(f".choose input[value={figure.axis}]")
        assert tab.js(f"{plots}.map(p => p.querySelector('title').textContent)") == [figure.title]
        assert tab.js(
            "[...document.querySelectorAll('.s-front .state, .s-dominated .state')]"
            ".filter(s => s.getClientRects().length)"
            f".every(s => s.classList.contains('on-{figure.axis}'))"
        )


@pytest.mark.parametrize("width", [320, 390, 800, 1100, 1280])
def test_nothing_scrolls_sideways_and_what_is_pressed_is_large_enough(tab, site, width):
    tab.width(width)
    tab.open(site)
    tab.js("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    assert tab.js("document.documentElement.scrollWidth") <= width
    small = tab.js(
        "[...document.querySelectorAll('main button, main label.check, .choice, main summary, .choose label')]"
        ".filter(e => e.getClientRects().length && e.getBoundingClientRect().height < 23.9).map(e => e.textContent)"
    )
    assert small == []
