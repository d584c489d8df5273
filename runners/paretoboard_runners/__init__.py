"""Controlled execution: a run is built, scored and timed in fresh, pinned processes, and becomes a record."""
