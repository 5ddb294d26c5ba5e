"""Data sets with their image specification. Only ``run``, ``teachers`` and ``analysis`` may look inside."""

from dfkd_core.benchmarks.registry import BENCHMARKS, Benchmark, LabelledImages, data_folder, find_benchmark

__all__ = ["BENCHMARKS", "Benchmark", "LabelledImages", "data_folder", "find_benchmark"]
