"""Sessions of pytest-benchmark: read, kept, written back, and judged night by night like everything else."""

from __future__ import annotations

from paretoboard.benchmarks.document import Document, read
from paretoboard.benchmarks.exporting import of_records
from paretoboard.benchmarks.judging import Judged, judged
from paretoboard.benchmarks.sessions import Session, keep, sessions

__all__ = ["Document", "Judged", "Session", "judged", "keep", "of_records", "read", "sessions"]
