"""The roofline: no operator is faster than its arithmetic at the machine's peak, nor than its bytes at its bandwidth.

Source: Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model", CACM 52(4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paretoboard.records import Roofline
    from paretoboard.runtimes.profiling import OperatorTime


def attainable_s(operator: OperatorTime, roofline: Roofline) -> float | None:
    """The least time that all calls of an operator can take; None for arithmetic whose peak was not measured.

    Of the calls only the sums are known, and the bound of a sum is never above the sum of the bounds. Which cache
    their data fits is judged by the mean call.
    """
    arithmetic_s = arithmetic(operator, roofline)
    if arithmetic_s is None:
        return None
    return max(arithmetic_s, operator.bytes / bandwidth(operator.bytes / max(operator.calls, 1), roofline))


def arithmetic(operator: OperatorTime, roofline: Roofline) -> float | None:
    """Seconds of an operator's MACs at the peak; None where there are some, and no peak for their data type."""
    if not operator.macs:
        return 0.0
    peaks = {peak.dtype: peak.macs_per_s for peak in roofline.peaks}
    return operator.macs / peaks[operator.dtype] if operator.dtype in peaks else None


def bandwidth(moved_bytes: float, roofline: Roofline) -> float:
    """Bytes per second for an operator that moves so many: of the largest working set that is not larger.

    Small data may lie in a cache, so the bandwidth of memory would call an operator faster than possible.
    """
    fitting = [found for found in roofline.bandwidths if found.working_set_bytes <= moved_bytes]
    chosen = fitting or roofline.bandwidths[:1]
    return max(found.bytes_per_s for found in chosen[-1:])
