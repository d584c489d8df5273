"""Benchmarks of the project itself; each is a package with a command: `python -m bench.NAME`."""
