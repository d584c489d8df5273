"""What each technique did on all boards that it was measured on."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.registry import TECHNIQUES
from paretoboard_reports.view.model import Board, Contribution, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard_reports.view.model import Effect

# Families in the order in which people ask for them; others follow by name.
FAMILIES: Final = {
    "quantize": "Quantization",
    "prune": "Pruning",
    "distill": "Distillation",
    "factorize": "Low-rank factorization",
    "share": "Weight sharing",
    "run": "Runtimes and precision",
    "export": "Export",
    "train": "Training",
    "tune": "Hyper-parameter search",
    "parallel": "Parallel training",
    "architecture": "Architectures",
    "data": "Input pipelines",
    "detect": "Detection",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One recipe with the technique, on one board."""

    board: Board
    row: Row
    others: tuple[str, ...]  # the recipe's other techniques, in its order
    beside_runtime: Contribution | None  # beside its runtime alone; None where that is the baseline

    @property
    def speed(self) -> Effect | None:
        """Beside the baseline: of a call, or of training where nothing was timed."""
        return self.row.speedup or self.row.train_speedup


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Where the middle half of some recipes lies."""

    middle: float  # median
    low: float  # first quartile
    high: float  # third quartile
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TechniqueView:
    """A technique and everything that was measured with it."""

    name: str
    summary: str
    family: str  # in words
    uses: tuple[Use, ...]  # measured, by board and then by recipe
    fell_out: tuple[Use, ...]  # without numbers, with their reasons
    speeds: Spread | None  # times as fast as the baseline
    losses: Spread | None  # points of quality against the baseline

    @property
    def boards(self) -> int:
        """How many boards a recipe with it was measured on."""
        return len({use.board.anchor for use in self.uses})

    @property
    def boards_on_front(self) -> int:
        """On how many of these one of its recipes is on the front."""
        return len({use.board.anchor for use in self.uses if use.row.standing == "front"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyView:
    """Techniques of one kind."""

    title: str
    techniques: tuple[TechniqueView, ...]


def techniques(boards: Iterable[Board]) -> tuple[TechniqueView, ...]:
    """Every technique that a row of a board has, by name."""
    uses: defaultdict[str, list[Use]] = defaultdict(list)
    for board in boards:
        for row in board.rows:
            names = tuple(step.name for step in row.details.steps)
            for name in dict.fromkeys(names):
                others = tuple(other for other in names if other != name)
                uses[name].append(Use(board=board, row=row, others=others, beside_runtime=row.beside_runtime))
    return tuple(_view(name, found) for name, found in sorted(uses.items()))


def families(found: Iterable[TechniqueView]) -> tuple[FamilyView, ...]:
    """The techniques by family, in the order of FAMILIES."""
    by_family: defaultdict[str, list[TechniqueView]] = defaultdict(list)
    for technique in found:
        by_family[technique.family].append(technique)
    order = {title: place for place, title in enumerate(FAMILIES.values())}
    ordered = sorted(by_family.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    return tuple(FamilyView(title=title, techniques=tuple(members)) for title, members in ordered)


def _view(name: str, found: Sequence[Use]) -> TechniqueView:
    measured = tuple(use for use in found if use.row.status == "ok")
    prefix = name.partition(".")[0]
    return TechniqueView(
        name=name,
        summary=TECHNIQUES.describe(name) if name in TECHNIQUES else "",
        family=FAMILIES.get(prefix, prefix),
        uses=measured,
        fell_out=tuple(use for use in found if use.row.status != "ok"),
        speeds=_spread(use.speed.quantity.value for use in measured if use.speed is not None),
        losses=_spread(
            100 * use.row.quality_effect.quantity.value for use in measured if use.row.quality_effect is not None
        ),
    )


def _spread(values: Iterable[float]) -> Spread | None:
    found = sorted(values)
    if not found:
        return None
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else [found[0]] * 3
    return Spread(middle=middle, low=low, high=high, n=len(found))
