"""Page values -> HTML below the frame that all pages share."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from paretoboard_reports import links, svg
from paretoboard_reports.view import plain, share_of_draws, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard_reports.view import Curves, Figure, Roof
    from paretoboard_reports.view.claims import Diagonal
    from paretoboard_reports.view.nights import Shown
    from paretoboard_reports.view.run import SeedDot
    from paretoboard_reports.view.timings import Histogram

# What the header of every page links to.
NAVIGATION: Final = (
    (links.INDEX, "Overview"),
    (links.CLAIMS, "Claims"),
    (links.EXPLORE, "Explore"),
    (links.TRENDS, "Trends"),
    (links.REGRESSIONS, "Regressions"),
    (links.METHODS, "Methods"),
    (links.DATA, "Data"),
)
# Pages lie beside their files, on a disk as well as on a server; nothing else is ever asked for, and no text of a
# record could become a script.
_POLICY: Final = (
    "default-src 'none'; img-src 'self' file: data:; style-src 'self' file: 'unsafe-inline'; "
    "script-src 'self' file:; base-uri 'none'; form-action 'none'"
)

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


def html(template: str, *, path: str, **values: Any) -> bytes:
    """A page below the frame; the same values give the same bytes.

    Args:
        template: its file in `templates`.
        path: where the page will lie below the site's root; links are made relative to it.
        values: what the template shows.
    """
    root = "../" * path.count("/")
    return _environment().get_template(template).render(path=path, root=root, **values).encode()


def fragment(template: str, *, path: str, **values: Any) -> str:
    """A part of a page as HTML, to be put into the page at `path`."""
    return _environment().get_template(template).render(path=path, root="../" * path.count("/"), **values)


@functools.cache
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
    environment.filters["plain"] = plain
    environment.filters["percent"] = share_of_draws
    environment.globals.update(
        links=links,
        navigation=NAVIGATION,
        policy=_POLICY,
        families=FAMILIES,
        glyphs=GLYPHS,
        verdict_glyphs=VERDICT_GLYPHS,
        contribution_titles=CONTRIBUTION_TITLES,
        contribution_notes=CONTRIBUTION_NOTES,
        marker=_marker,
        plot=_plot,
        roofline=_roofline,
        curves=_curves,
        histogram=_histogram,
        seed_strip=_seed_strip,
        diagonal=_diagonal,
        verdict_class=svg.verdict_class,
        verdict_marker=_verdict_marker,
        verdict_shapes=svg.VERDICT_SHAPES,
        forest=_forest,
        series_plot=_series_plot,
        spark=_spark,
    )
    return environment


def _marker(family: str, standing: str, *, single: bool = False) -> Markup:
    # Built as a tree, which escapes every text and attribute.
    return Markup(svg.marker(family, standing, single=single))  # noqa: S704


def _plot(figure: Figure, name: str, size: svg.Size) -> Markup:
    return Markup(svg.pareto_plot(figure, name, size))  # noqa: S704


def _roofline(roof: Roof, name: str) -> Markup:
    return Markup(svg.roofline_plot(roof, name))  # noqa: S704


def _curves(curves: Curves, name: str) -> Markup:
    return Markup(svg.curves_plot(curves, name))  # noqa: S704


def _histogram(found: Histogram, name: str) -> Markup:
    return Markup(svg.histogram_plot(found, name))  # noqa: S704


def _seed_strip(dots: Sequence[SeedDot], unit: str, name: str) -> Markup:
    return Markup(svg.seed_strip(dots, unit, name))  # noqa: S704


def _diagonal(found: Diagonal, name: str) -> Markup:
    return Markup(svg.diagonal_plot(found, name))  # noqa: S704


def _verdict_marker(verdict: str) -> Markup:
    return Markup(svg.verdict_marker(verdict))  # noqa: S704


def _series_plot(shown: Shown, name: str, size: svg.SeriesSize = "usual") -> Markup:
    return Markup(svg.series_plot(shown, name, size))  # noqa: S704


def _spark(shown: Shown) -> Markup:
    return Markup(svg.sparkline(shown.values, shown.cut_indexes))  # noqa: S704


def _forest(lines: Sequence[svg.ForestLine], title: str, name: str) -> Markup:
    return Markup(svg.forest_plot(lines, title, name))  # noqa: S704
