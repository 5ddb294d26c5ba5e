"""``benchmarks``: what students are evaluated on."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from dfkd_core.cli.flags import group
from dfkd_core.errors import RequestError

benchmarks = group("benchmarks", "List the benchmarks, or download one.")
Name = Annotated[str, Parameter(help="A benchmark's name.")]


@benchmarks.default
@benchmarks.command(name="list")
def shown() -> int:
    """List the benchmarks (the default)."""
    from dfkd_core.data.catalogue import BENCHMARKS, data_folder

    for name, benchmark in BENCHMARKS.items():
        image = benchmark.image
        state = "here" if benchmark.is_there() else f"not in {data_folder() / benchmark.where}"
        print(f"{name:<14} {image.channels}×{image.size}×{image.size}, {len(image.classes)} classes; {state}")
    return 0


@benchmarks.command
def download(name: Name, /) -> int:
    """Download one, if it can be had."""
    from dfkd_core.data.catalogue import data_folder, find_benchmark

    benchmark = find_benchmark(name)
    if benchmark.download is None:
        raise RequestError("name", name, f"cannot be fetched; put it below {data_folder()} yourself.")
    try:
        benchmark.download(data_folder())
    except Exception as error:
        raise RequestError("name", name, f"could not be fetched: {error}") from None
    return 0
