"""Questions that the table answers when it is filtered and ordered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard_reports.view.answers import ALLOWED_LOSS
from paretoboard_reports.view.model import Preset
from paretoboard_reports.view.numbers import significant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard_reports.view.model import Figure, Row
    from paretoboard_reports.view.rows import Columns

# Points of quality that the presets give away, as the answers do.
POINTS_LOST: Final = 100 * ALLOWED_LOSS
# The budget of the third question, as a share of the baseline's cost.
_BUDGET: Final = 0.5


def presets(found: Sequence[Row], figures: Sequence[Figure], columns: Columns) -> tuple[Preset, ...]:
    """The fastest and the smallest that lose at most one point, and the best under half of the baseline's latency.

    Empty without a measured baseline, whose quality and cost they start from.
    """
    baseline = next((row for row in found if row.is_baseline and row.quality is not None), None)
    return () if baseline is None or not figures else tuple(_presets(baseline, figures, columns))


def _presets(baseline: Row, figures: Sequence[Figure], columns: Columns) -> Iterable[Preset]:
    assert baseline.quality is not None
    axes = {figure.axis for figure in figures}
    least = f"{baseline.quality.value * baseline.quality.factor - POINTS_LOST:.6g}"
    lost = f"with at most {POINTS_LOST:g} point lost"
    # The first axis is the default, which an address leaves out.
    chosen = {figure.axis: "" if figure is figures[0] else f"x={figure.axis}&" for figure in figures}
    if "latency" in axes:
        yield Preset(question=f"Fastest {lost}", state=f"{chosen['latency']}min={least}&sort=-speedup")
    elif "training" in axes:
        yield Preset(question=f"Quickest to train {lost}", state=f"{chosen['training']}min={least}&sort=training")
    if "size" in axes:
        yield Preset(question=f"Smallest {lost}", state=f"{chosen['size']}min={least}&sort=size")
    cost = baseline.costs.get("latency")
    if "latency" in axes and cost is not None:
        budget = significant(_BUDGET * cost.value * cost.factor, 2).replace(",", "")
        question = f"Best {columns.quality_name} under {budget} {cost.unit}"
        yield Preset(question=question, state=f"{chosen['latency']}max={budget}&sort=-acc")
