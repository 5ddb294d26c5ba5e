"""Inspect: one recorded step under the microscope."""
