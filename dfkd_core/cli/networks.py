"""``networks``: what a student may be."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from dfkd_core.cli.flags import Json, tell


def networks(
    *,
    benchmark: Annotated[str, Parameter(help="Whose images they should suit.")] = "digits",
    as_json: Json = False,
) -> int:
    """List the networks that suit a benchmark as students, with their parameters."""
    import torch

    from dfkd_core.data.catalogue import find_benchmark
    from dfkd_core.networks.classifiers import build_classifier, parameter_count, students
    from dfkd_core.runs.request import usual_student

    image = find_benchmark(benchmark).image
    usual = usual_student(benchmark, size=image.size)
    titles = students(image.size)
    width = max(map(len, titles))
    for name, title in titles.items():
        with torch.device("meta"):  # nothing is drawn, and no memory taken
            count = parameter_count(build_classifier(name, image))
        line = f"{name:<{width}} {count:>12,} parameters; {title}{'; the usual one' * (name == usual)}"
        tell(line, as_json, name=name, title=title, parameters=count, usual=name == usual)
    return 0
