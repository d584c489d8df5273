"""A page as HTML: one file that needs no network, no script and no other file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from paretoboard import durable
from paretoboard_reports import svg
from paretoboard_reports.view import signed

if TYPE_CHECKING:
    from paretoboard_reports.view import Curves, Figure, Page, Roof

INDEX: Final = "index.html"
_STYLE: Final = Path(__file__).parent / "static" / "board.css"

FAMILIES: Final = {
    "baseline": "baseline",
    "runtime": "another runtime",
    "quantize": "quantization",
    "prune": "pruning",
    "train": "training",
    "combined": "combined",
}
GLYPHS: Final = {"front": "●", "tied": "○", "dominated": "·", "none": "–"}
CONTRIBUTION_TITLES: Final = {
    "runtime alone": "Beside its runtime alone",
    "step by step": "Step by step",
    "left out": "Each technique left out",
}
CONTRIBUTION_NOTES: Final = {
    "runtime alone": "all its techniques together",
    "step by step": "each technique added to those above it",
    "left out": "the recipe beside itself without one technique",
}
VERDICT_GLYPHS: Final = {"better": "▲", "worse": "▼", "same": "=", "undecided": "?"}


def render(page: Page) -> str:
    """The page as HTML; the same page gives the same bytes."""
    return _environment().get_template("index.html.j2").render(page=page)


def write(page: Page, folder: Path) -> Path:
    """Render into `folder`, which is made where it is missing.

    A reader never sees half a page: it is written beside and moved into place.
    Returns: the page's file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / INDEX
    durable.write(target, render(page).encode())
    return target


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("paretoboard_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["signed"] = signed
    environment.globals.update(
        families=FAMILIES,
        glyphs=GLYPHS,
        verdict_glyphs=VERDICT_GLYPHS,
        contribution_titles=CONTRIBUTION_TITLES,
        contribution_notes=CONTRIBUTION_NOTES,
        marker=_marker,
        plot=_plot,
        roofline=_roofline,
        curves=_curves,
        # Our own file, without a value from outside.
        style=Markup(_STYLE.read_text(encoding="utf-8")),  # noqa: S704
    )
    return environment


def _marker(family: str, standing: str) -> Markup:
    # Built as a tree, which escapes every text and attribute.
    return Markup(svg.marker(family, standing))  # noqa: S704


def _plot(figure: Figure, name: str, size: svg.Size) -> Markup:
    return Markup(svg.pareto_plot(figure, name, size))  # noqa: S704


def _roofline(roof: Roof, name: str) -> Markup:
    return Markup(svg.roofline_plot(roof, name))  # noqa: S704


def _curves(curves: Curves, name: str) -> Markup:
    return Markup(svg.curves_plot(curves, name))  # noqa: S704
