"""A board as CSV, as JSON and as a citation: everything its table shows, unrounded and in SI units."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any, Final, Literal

from paretoboard.store.spreadsheets import disarmed
from paretoboard_reports import links

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard_reports.view import Board, Effect, Quantity, Row
    from paretoboard_reports.view.model import AxisName

# Of a BibTeX value: what ends it or means something in LaTeX.
_LATEX: Final = dict.fromkeys("{}\\~^", "") | {c: f"\\{c}" for c in "&%$#_"}


def csv_of(board: Board) -> bytes:
    """One line for each row in the board's order, with each number's interval; the heads name the units."""
    lines = [dict(_cells(board, row)) for row in board.rows]
    heads = list(dict.fromkeys(head for line in lines for head in line))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows([_csv_cell(line.get(head)) for head in heads] for line in lines)
    return text.getvalue().encode()


def json_of(board: Board) -> bytes:
    """The same, with what the board is about."""
    content = {
        "board": {
            "anchor": board.anchor,
            "task": board.task,
            "title": board.title,
            "profile": board.profile,
            "hardware": board.hardware,
            "quality": board.quality_metric,
            "measured_at": board.measured_at.isoformat(),
            "warnings": list(board.warnings),
        },
        "rows": [dict(_cells(board, row)) for row in board.rows],
    }
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def bibtex(board: Board) -> str:
    """How to cite a board."""
    title = f"{board.title}, {board.profile}, {board.hardware}"
    return "\n".join(
        [
            f"@misc{{paretoboard-{board.anchor},",
            f"  title = {{{{{_latex(title)}}}}},",
            "  author = {{paretoboard}},",
            f"  year = {{{board.measured_at:%Y}}},",
            f"  note = {{Task {_latex(board.task)}, newest measurement {board.measured_at:%Y-%m-%d}}},",
            "}",
        ]
    )


def _cells(board: Board, row: Row) -> Iterator[tuple[str, Any]]:
    yield "recipe", row.recipe
    yield "steps", row.recipe_steps
    yield "family", row.family
    yield "model", row.model
    yield "runtime", row.backend
    yield "status", row.status
    yield "reason", row.reason
    yield "tags", "; ".join([*row.tags, *["single"] * bool(row.single)])
    yield "run", row.run_id
    yield "run_page", links.run(row.run_id)
    for figure in board.figures:
        place = row.places.get(figure.axis)
        yield f"layer_{figure.axis}", place.layer if place is not None and place.layer else None
        yield f"front_probability_{figure.axis}", place.probability if place is not None and place.layer else None
    ranked: tuple[Literal["quality"] | AxisName, ...] = ("quality", *(figure.axis for figure in board.figures))
    for over in ranked:
        rank = row.ranks.get(over)
        yield f"rank_{over}_best", None if rank is None else rank.low
        yield f"rank_{over}_worst", None if rank is None else rank.high
    yield "hypervolume_share", row.hypervolume
    for name, shown in _quantities(board, row):
        yield name, _finite(shown.value if shown is not None else None)
        yield f"{name}, low", _finite(shown.low if shown is not None else None)
        yield f"{name}, high", _finite(shown.high if shown is not None else None)


def _quantities(board: Board, row: Row) -> Iterator[tuple[str, Quantity | None]]:
    small, large = f", batch {board.small_batch}", f", batch {board.large_batch}"
    yield f"{board.quality_metric} (1)", row.quality
    yield f"{board.quality_metric} minus the baseline's (1)", _of(row.quality_effect)
    if board.timed:
        yield f"latency (s{small})", row.latency
        yield f"latency_p99 (s{small})", row.latency_p99
        yield f"speed (x baseline{small})", _of(row.speedup)
        yield f"throughput (1/s{large})", row.throughput
        yield f"speed (x baseline{large})", _of(row.throughput_speedup)
    yield "train_time (s)", row.train_time
    yield "file_size (B)", row.file_size
    yield "peak_memory (B)", row.memory
    yield "parameters (count)", row.parameters
    yield "macs (count)", row.macs
    yield "build_time (s)", row.build_time


def _of(effect: Effect | None) -> Quantity | None:
    return None if effect is None else effect.quantity


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return disarmed(value)
    return repr(value)


def _latex(text: str) -> str:
    return " ".join("".join(_LATEX.get(character, character) for character in text).split())
