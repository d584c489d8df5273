"""What holds for every page of the site, in a real browser without a network."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from builders import board_records, run_record
from chromium import Chromium
from conftest import REPOSITORY
from paretoboard import claims, regressions
from paretoboard.store import light
from paretoboard_reports import output, pages
from paretoboard_reports.view.claims import tables
from planted_nights import nights
from site_kit import site_of, site_of_history
from test_report_page import hostile_records

AXE = REPOSITORY / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (320, 390, 800, 1280)
# Of the text itself, and of what it is really drawn on: the nearest background that is not see-through.
CONTRAST = """(() => {
  const linear = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = rgb(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.getClientRects().length) continue;
    if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(node.tagName)) continue;
    const style = getComputedStyle(node);
    const ink = light(rgb(node.closest("svg") ? style.fill : style.color)), paper = light(behind(node));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const kind = node.className.baseVal ?? node.className;
    if (ratio < 4.5) poor.push([text.data.trim().slice(0, 30), kind, ratio.toFixed(2)]);
  }
  return poor.slice(0, 8);
})()"""
SMALL = """[...document.querySelectorAll('a, button, summary, input:not([type=radio]), select')].filter((node) => {
  const box = node.getBoundingClientRect(), style = getComputedStyle(node);
  if (!box.width || node.closest("svg, p, li, td, th, dd, figcaption, small, label, .skip")) return false;
  return style.display !== "inline" && (box.height < 24 || box.width < 24);
}).map((node) => node.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three sites: usual records, hostile ones, and many nights."""
    usual = site_of(board_records())
    published = tables(claims.load_all(), usual.records, usual.page.boards)
    made = {"usual": dataclasses.replace(usual, claims=published), "hostile": site_of(hostile_records())}
    made["nights"] = site_of_history(nights(["step", "better", "environment", "noisy"], count=60, at=30, noise=0.003))
    found = {}
    for name, site in made.items():
        found[name] = tmp_path_factory.mktemp(name)
        output.write(pages.files(site), found[name])
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def tab(browser):
    found = browser.page()
    found.offline()
    return found


def pages_of(folder: Path) -> list[tuple[Path, str]]:
    """One page of each kind, with what its address holds after the #."""
    kinds: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.html")):
        below = path.relative_to(folder)
        kinds.setdefault(below.parts[0] if len(below.parts) > 1 else below.name, path)
    runs = re.findall(r"run\.html#(r[0-9a-f]+)", "".join(p.read_text() for p in folder.glob("boards/*.html")))
    marks = {"run.html": f"#{runs[0]}", "compare.html": f"#sel={','.join(dict.fromkeys(runs[:3]))}"} if runs else {}
    return [(path, marks.get(name, "")) for name, path in sorted(kinds.items())]


def each_page(folders):
    return [(path, mark) for folder in folders.values() for path, mark in pages_of(folder)]


def settle(tab):
    tab.js("new Promise(done => requestAnimationFrame(() => setTimeout(done, 60)))")


def test_every_kind_of_page_is_among_those_that_are_looked_at(folders):
    found = {path.relative_to(folders["usual"]).parts[0] for path, _ in pages_of(folders["usual"])}
    assert found >= {
        "boards",
        "techniques",
        "hardware",
        "claims",
        "index.html",
        "run.html",
        "compare.html",
        "explore.html",
    }
    assert found >= {"trends.html", "regressions.html", "methods.html", "data.html", "claims.html"}


def test_the_page_of_a_change_is_among_those_of_many_nights(folders):
    assert "changes" in {path.relative_to(folders["nights"]).parts[0] for path, _ in pages_of(folders["nights"])}


def test_no_page_asks_for_anything_but_its_own_files_or_complains(folders, tab):
    for path, mark in each_page(folders):
        tab.open(path, mark)
        settle(tab)
        assert tab.complaints() == [], path
        assert all(re.match(r"file:|data:|about:|blob:", address) for address in tab.asked_for()), path


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways(folders, tab, width):
    tab.width(width)
    for path, mark in each_page(folders):
        tab.open(path, mark)
        settle(tab)
        assert tab.js("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_page(folders, tab, theme):
    tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    for path, mark in pages_of(folders["usual"]) + pages_of(folders["nights"]):
        tab.open(path, mark)
        settle(tab)
        assert tab.js(CONTRAST) == [], path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(folders, tab, theme):
    if not AXE.is_file():
        pytest.skip("no axe-core: `make axe` brings it with npm")
    tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    script = AXE.read_text(encoding="utf-8")
    for path, mark in each_page(folders):
        tab.open(path, mark)
        settle(tab)
        tab.js(f"{script};1")
        found = tab.js(
            "axe.run().then(seen => seen.violations.map(rule => [rule.id, rule.nodes[0].html.slice(0, 120)]))"
        )
        assert found == [], path


def test_what_is_pressed_is_large_enough_for_a_finger(folders, tab):
    tab.width(390)
    for path, mark in pages_of(folders["usual"]):
        tab.open(path, mark)
        settle(tab)
        assert tab.js(SMALL) == [], path


def test_the_theme_follows_the_system_until_one_is_chosen_and_survives_a_new_page(folders, tab):
    folder = folders["usual"]
    paper = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for theme in ("light", "dark"):
        tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        tab.open(folder / "index.html")
        seen[theme] = tab.js(paper)
    assert seen["light"] != seen["dark"]
    tab.click("#theme")  # light, whatever the system says
    tab.open(folder / "methods.html")
    assert tab.js(paper) == seen["light"]
    assert tab.js("document.getElementById('theme').innerText") == "Theme: light"


def test_the_keyboard_alone_reaches_every_link_and_control(folders, tab):
    folder = folders["usual"]
    for path in (folder / "index.html", next(folder.glob("boards/*.html"))):
        tab.open(path)
        tab.js("document.querySelectorAll('details').forEach(fold => fold.open = true)")
        wanted = tab.js(
            "[...document.querySelectorAll('a[href], button, input, select, summary')].filter(node =>"
            " node.checkVisibility() && !node.closest('svg') && node.type !== 'radio' && !node.disabled"
            " && node.tabIndex >= 0).length"
        )
        tab.js("window.seen = new Set(); document.addEventListener('focusin', found => seen.add(found.target))")
        for _ in range(wanted + 120):
            tab.press("Tab")
        reached = tab.js(
            "[...seen].filter(node => node.matches('a[href], button, input, select, summary')"
            " && !node.closest('svg') && node.type !== 'radio').length"
        )
        assert reached >= wanted, path


def test_a_printed_board_has_every_row_every_column_and_no_controls(folders, tab, tmp_path):
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed: printed pages can't be read back")
    many = [run_record(f"recipe-{number}", accuracy=0.9 + number / 1000) for number in range(30)]
    output.write(pages.files(site_of([run_record(), *many])), tmp_path)
    tab.open(next(tmp_path.glob("boards/*.html")))
    # Printed, each row is a card that names its numbers, so that no page needs a heading.
    heads = tab.js(
        "[...new Set([...document.querySelectorAll('.ranking [data-l]')]"
        ".filter(cell => !cell.hidden).map(cell => cell.dataset.l))]"
    )
    names = tab.js("[...document.querySelectorAll('tbody.row .name')].map(name => name.textContent)")
    assert len(names) == 31
    (tmp_path / "board.pdf").write_bytes(base64.b64decode(tab.send("Page.printToPDF", preferCSSPageSize=True)["data"]))
    sheets = [re.sub(r"\s+", "", page.extract_text()) for page in pypdf.PdfReader(tmp_path / "board.pdf").pages]
    text = "".join(sheets)
    of_rows = [sheet for sheet in sheets if re.search(r"recipe-\d+single", sheet)]
    assert len(of_rows) > 1
    for sheet in of_rows:
        assert [head for head in heads if re.sub(r"\s+", "", head) not in sheet] == []
    assert [name for name in names if re.sub(r"\s+", "", name) not in text] == []
    assert "Reset" not in text


def test_with_forced_colours_a_board_is_not_blank(folders, tab):
    tab.send("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    tab.open(next(folders["usual"].glob("boards/*.html")))
    assert tab.js("matchMedia('(forced-colors: active)').matches")
    clip = tab.js(
        "(() => { const b = document.querySelector('.plot.wide').getBoundingClientRect();"
        " return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height, scale: 1}; })()"
    )
    shot = tab.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as image:
        counts = sorted((count for count, _ in image.convert("L").getcolors(256)), reverse=True)
    # The paper, and marks, lines and labels that are not of its colour.
    assert sum(counts[1:]) > 0.01 * sum(counts)


def test_results_that_answer_different_questions_are_on_no_common_page(tmp_path):
    usual = board_records()
    elsewhere = [
        dataclasses.replace(
            record,
            recipe=f"{record.recipe}-elsewhere" if record.recipe != "baseline" else record.recipe,
            provenance=dataclasses.replace(record.provenance, hardware_id="f" * 64),
        )
        for record in usual
    ]
    output.write(pages.files(site_of([*usual, *elsewhere])), tmp_path)
    boards = [path.read_text(encoding="utf-8") for path in sorted(tmp_path.glob("boards/*.html"))]
    assert len(boards) == 2
    # Each names only its own rows, in the table, the drawings and the downloads.
    assert sorted("-elsewhere" in html for html in boards) == [False, True]
    assert regressions.find(light.of([*usual, *elsewhere])).changes == ()


def test_no_file_names_another_host(folders):
    for path in folders["usual"].rglob("*"):
        if path.suffix in (".html", ".css", ".js"):
            text = path.read_text(encoding="utf-8")
            asked = re.findall(r"""(?:src|href|@import|url)\s*[=(]?\s*["']?(https?:[^"' )>]*)""", text)
            assert not [found for found in asked if path.suffix != ".html"], path
            assert not re.findall(r"""<(?:script|link|img)[^>]*https?:""", text), path


def test_the_same_records_give_the_same_site(tmp_path):
    for name in ("first", "second"):
        output.write(pages.files(site_of(board_records())), tmp_path / name)
    first, second = (
        {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("first", "second")
    )
    assert json.dumps(sorted(first)) == json.dumps(sorted(second))
    assert first == second
