"""Published numbers, and what our own measurements say about them.

    tasks/claims/<set>.toml --reading.load--> ClaimSet --table.lines(records)--> Line...

A claim is a change against its own baseline. It is compared with a measured change under the conditions of the
measurement; a verdict is about the number in those conditions, and about nobody's work.
"""

from __future__ import annotations

from paretoboard.claims.model import (
    CLAIM_METRICS,
    Claim,
    ClaimedNumber,
    ClaimSet,
    Conditions,
    Difference,
    Link,
    Measured,
    Verdict,
)
from paretoboard.claims.reading import load, load_all
from paretoboard.claims.table import Line, counts, lines
from paretoboard.claims.verdicts import MARGIN_POINTS, MARGIN_TIMES, VERDICTS, judge, ratio_of

__all__ = [
    "CLAIM_METRICS",
    "MARGIN_POINTS",
    "MARGIN_TIMES",
    "VERDICTS",
    "Claim",
    "ClaimSet",
    "ClaimedNumber",
    "Conditions",
    "Difference",
    "Line",
    "Link",
    "Measured",
    "Verdict",
    "counts",
    "judge",
    "lines",
    "load",
    "load_all",
    "ratio_of",
]
