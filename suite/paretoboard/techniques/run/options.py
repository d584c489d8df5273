"""What the techniques of this family note in a model's execution."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate


def noted(candidate: Candidate, *, threads: int | None, options: dict[str, Any], **fields: Any) -> Candidate:
    """`candidate` with other `fields` of its execution, and with `options` beside those it has.

    Args:
        threads: of the recipe's own; None leaves what was chosen before, or as many as the profile has cores.
    """
    own = {} if threads is None else {"threads": threads}
    merged = {**candidate.execution.options, **options, **own}
    return dataclasses.replace(candidate, execution=dataclasses.replace(candidate.execution, options=merged, **fields))
