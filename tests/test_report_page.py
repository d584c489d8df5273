"""The page itself: one file, nothing from outside, every text escaped."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import re
import shutil
import subprocess
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from builders import board_records, diagnosis, failed_record, operator_cost, run_record
from paretoboard_reports import output, pages
from paretoboard_reports.svg import pareto_plot
from paretoboard_reports.view import page
from site_kit import board_html, files_of, full_html, index_html, site_of
from test_report_view import awkward_records

HOSTILE = """<img src=x onerror=alert(1)> "quoted" 'single' & =cmd(),\n{{ 7 * 7 }}"""


class Elements(HTMLParser):
    """All start tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.text.append(data)


def hostile_records():
    """Every text that a record holds is hostile."""
    record, failed = run_record("ort-int8"), failed_record("compile", reason=HOSTILE, log_tail=HOSTILE)
    control = dataclasses.replace(record.controls[2], name=HOSTILE, observed=HOSTILE)
    step = {"name": HOSTILE, "version": 1, "parameters": {HOSTILE: HOSTILE}}
    changes = {"title": HOSTILE, "task": HOSTILE, "model": HOSTILE, "recipe": HOSTILE, "notes": (HOSTILE,)}
    why = diagnosis(
        operators=(operator_cost(type=HOSTILE, kind=HOSTILE, dtype=HOSTILE),),
        instruction_sets=(HOSTILE,),
        fallbacks=(HOSTILE,),
        sentence=HOSTILE,
        source=HOSTILE,
    )
    hostile = dataclasses.replace(record, controls=(control,), steps=(step,), diagnosis=why, **changes)
    return [
        dataclasses.replace(run_record(), title=HOSTILE, task=HOSTILE),
        hostile,
        dataclasses.replace(failed, task=HOSTILE),
    ]


def test_the_same_records_give_the_same_bytes_in_any_order():
    records = board_records()
    assert board_html(records) == board_html(list(reversed(records)))


@pytest.mark.parametrize("records", [board_records(), hostile_records(), []], ids=["board", "hostile", "empty"])
def test_the_pages_ask_for_nothing_from_outside_and_run_nothing_but_their_own_scripts(records):
    files = files_of(records)
    for path, content in files.items():
        if not path.endswith(".html"):
            continue
        tags = Elements(content.decode()).tags
        assert not [tag for tag, _ in tags if tag in ("iframe", "object", "embed", "base")]
        assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
        assert all(attrs.get("src") for tag, attrs in tags if tag == "script"), "no script stands in a page"
        policy = [attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy"]
        assert policy[0].startswith("default-src 'none'")
        for tag, attrs in tags:
            for name in ("href", "src"):
                target = attrs.get(name, "#")
                if not re.match(r"#|data:", target):
                    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target.partition("#")[0]))
                    assert there in files, f"{path}: <{tag} {name}={target}>"
    styles = "".join(content.decode() for path, content in files.items() if path.endswith(".css"))
    assert "@import" not in styles
    assert "url(" not in styles


def test_hostile_texts_are_shown_as_text():
    for path, content in files_of(hostile_records(), [HOSTILE]).items():
        if path.endswith(".html"):
            assert "<img" not in content.decode(), path
    for html in (board_html(hostile_records()), index_html(hostile_records(), [HOSTILE])):
        text = "".join(Elements(html).text)
        assert HOSTILE.splitlines()[0] in text
        assert "{{ 7 * 7 }}" in text


def test_every_measured_row_has_exactly_one_point_in_every_drawing_and_links_to_its_row():
    board = page(board_records()).boards[0]
    html = board_html(board_records())
    drawings = re.findall(r'<svg class="plot .*?</svg>', html, flags=re.DOTALL)
    assert len(drawings) == 2 * len(board.figures)
    expected = sorted(row.anchor for row in board.ranked)
    ids = [attrs["id"] for _, attrs in Elements(html).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for drawing in drawings:
        links = list(ET.fromstring(drawing).iter("a"))
        assert sorted(link.get("data-row") for link in links) == expected
        assert {link.get("href") for link in links} <= {f"#{anchor}" for anchor in ids}
        assert all(link.find("title").text for link in links)


@pytest.mark.parametrize("size", ["wide", "narrow"])
@pytest.mark.parametrize("records", [board_records(), awkward_records(), hostile_records(), [run_record()]])
def test_points_and_labels_stay_inside_the_drawing(records, size):
    for figure in page(records).boards[0].figures:
        root = ET.fromstring(pareto_plot(figure, "plot", size))
        _, _, width, height = map(float, root.get("viewBox").split())
        assert root.find("title").text == figure.title
        places = [re.findall(r"-?[\d.]+", mark.get("transform")) for mark in root.iter("path") if mark.get("transform")]
        places += [(text.get("x"), text.get("y")) for text in root.iter("text")]
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places)


def test_the_cheaper_point_is_further_left_and_the_better_one_higher():
    for figure in page(board_records()).boards[0].figures:
        root = ET.fromstring(pareto_plot(figure, "plot"))
        where = {}
        for link in root.iter("a"):
            where[link.get("data-row")] = [
                float(n) for n in re.findall(r"-?[\d.]+", link.find("path").get("transform"))
            ]
        by_x = sorted(figure.points, key=lambda point: -point.x if figure.x_higher_is_better else point.x)
        xs = [where[point.anchor][0] for point in by_x]
        assert xs == sorted(xs)
        by_y = sorted(figure.points, key=lambda point: point.y)
        ys = [where[point.anchor][1] for point in by_y]
        assert ys == sorted(ys, reverse=True)


def test_a_page_without_results_says_what_to_run():
    text = "".join(Elements(index_html([])).text)
    assert "paretoboard run tasks/quick" in text


def test_what_is_missing_or_not_a_number_is_a_dash():
    text = "".join(Elements(board_html(awkward_records())).text)
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_damaged_results_are_named_on_the_page():
    assert "a.parquet: cut short" in index_html(board_records(), ["a.parquet: cut short"])


PROBE = """<!doctype html><body><pre id="out"></pre><script>
const address = %s, widths = [320, 390, 800, 1280], found = {};
function ready(width, frame) {
  const page = frame.contentDocument, shown = node => node.getClientRects().length > 0;
  page.querySelector('input[value=size]').click();
  page.querySelectorAll('details').forEach(fold => fold.open = true);
  const text = [...page.querySelectorAll('.plot text')].filter(shown);
  const plots = [...page.querySelectorAll('.plot')].filter(shown);
  found[width] = {
    overflow: page.documentElement.scrollWidth - width,
    plots: plots.map(plot => plot.parentNode.className),
    smallest: Math.min(...text.map(node => parseFloat(getComputedStyle(node).fontSize)
      * node.ownerSVGElement.getBoundingClientRect().width / node.ownerSVGElement.viewBox.baseVal.width)),
    rows: [...page.querySelectorAll('tbody.row')].filter(shown).length,
  };
  if (Object.keys(found).length == widths.length) document.getElementById('out').textContent = JSON.stringify(found);
}
for (const width of widths) {
  const frame = document.createElement('iframe');
  frame.style.cssText = `border:0;height:900px;width:${width}px`;
  frame.onload = () => ready(width, frame);
  frame.src = address;
  document.body.append(frame);
}
</script>"""


def test_in_a_browser_nothing_scrolls_sideways_and_the_cost_can_be_chosen_without_script(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on this machine")
    output.write(pages.files(site_of(board_records())), tmp_path)
    (target,) = (tmp_path / "boards").glob("*.html")
    probe = tmp_path / "probe.html"
    # A script that looks at the page from outside, in frames of a phone's and a desk's width.
    probe.write_text(PROBE % json.dumps(target.as_uri()), encoding="utf-8")
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    flags += " allow-file-access-from-files disable-component-update disable-sync hide-scrollbars dump-dom"
    flags += " virtual-time-budget=5000"
    command = [
        browser,
        *(f"--{flag}" for flag in flags.split()),
        f"--user-data-dir={tmp_path / 'profile'}",
        probe.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = json.loads(re.search(r'<pre id="out">(.*?)</pre>', done.stdout)[1])
    for width, seen in found.items():
        assert seen["overflow"] <= 0, f"{width} px: {seen}"
        assert seen["plots"] == ["figure size"]
        assert seen["smallest"] >= 10
        assert seen["rows"] == len(page(board_records()).boards[0].rows)
    assert set(found) == {"320", "390", "800", "1280"}


def test_a_roofline_has_a_mark_for_each_operator_with_macs_below_the_limit_it_is_under():
    record = run_record("ort-int8")
    html = full_html([run_record(), record])
    svg = re.findall(r'<svg class="roofline".*?</svg>', html, re.DOTALL)
    assert len(svg) == 2
    root = ET.fromstring(svg[0])
    marks = root.findall("circle")
    assert len(marks) == sum(operator.macs > 0 for operator in record.diagnosis.operators)
    roofs = [line for line in root.iter("line") if line.get("class") == "roof" and line.get("y1") == line.get("y2")]
    assert len(roofs) == len(record.diagnosis.peaks)
    # 12.5 M MACs in 0.12 ms are 1.04e11 a second: below the INT8 peak of 2e11, above the float peak of 5.4e10.
    float_y, int8_y = (float(line.get("y1")) for line in roofs)
    assert int8_y < float(marks[0].get("cy")) < float_y
    width, height = map(float, root.get("viewBox").split()[2:])
    for line in root.iter("line"):
        assert 0 <= float(line.get("x2")) <= width
        assert 0 <= float(line.get("y2")) <= height
