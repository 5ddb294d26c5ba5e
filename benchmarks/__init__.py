"""Measurements behind the figures of the README: ``python -m benchmarks.NAME``. See README.md here."""
