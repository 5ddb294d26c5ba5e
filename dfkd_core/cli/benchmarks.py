"""``benchmarks``: what students are evaluated on."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from dfkd_core.cli.flags import Json, group, tell
from dfkd_core.errors import RequestError

benchmarks = group("benchmarks", "List the benchmarks, or download one.")
Name = Annotated[str, Parameter(help="A benchmark's name.")]


@benchmarks.default
@benchmarks.command(name="list")
def shown(*, as_json: Json = False) -> int:
    """List the benchmarks (the default)."""
    from dfkd_core.data.catalogue import BENCHMARKS, data_folder

    for name, benchmark in BENCHMARKS.items():
        image, here = benchmark.image, benchmark.is_there()
        state = "here" if here else f"not in {data_folder() / benchmark.where}"
        line = f"{name:<14} {image.channels}×{image.size}×{image.size}, {len(image.classes)} classes; {state}"
        size = {"channels": image.channels, "size": image.size, "classes": len(image.classes)}
        tell(line, as_json, name=name, title=benchmark.title, **size, here=here)
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


@benchmarks.command
def look(
    name: Annotated[str, Parameter(help="A benchmark's name, or folder:PATH.")],
    /,
    *,
    teacher: Annotated[str, Parameter(help="Whose classes a folder's are matched with; empty: they are its own.")] = "",
    train: Annotated[bool, Parameter(help="The training images instead of the test images.")] = False,
) -> int:
    """Count the images of each class, and say how folders were read."""
    from dfkd_core.data.catalogue import find_benchmark
    from dfkd_core.teachers.cards import find_card

    benchmark = find_benchmark(name, find_card(teacher)[0].image.spec() if teacher else None)
    classes, listing = benchmark.image.classes, benchmark.listing(train)
    if listing is None:
        labels = benchmark.load(train).labels.tolist()
        counts = {one: labels.count(label) for label, one in enumerate(classes)}
    else:
        counts = listing.counts(classes)
    folder_of = {label: folder for folder, label in listing.labels.items()} if listing is not None else {}
    width = max(map(len, classes))
    for label, (one, count) in enumerate(counts.items()):
        folder = folder_of.get(label, one)
        print(f"{one:<{width}} {count:>9,}" + (f"  from {folder}/" if folder != one else ""))
    split = "training" if train else "test"
    print(f"{benchmark.title}: {sum(counts.values()):,} {split} images of {len(classes):,} classes")
    for said in filter(None, [listing.warning, *listing.notes] if listing is not None else []):
        print(said, file=sys.stderr)
    return 0
