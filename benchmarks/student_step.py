"""A student step of TA-DFKD, ResNet-34 → ResNet-18, 32×32, against the authors' released implementation of the same.

``--released PATH`` is a checkout of the authors' repository (TA-DFKD-main-CIFAR.py, Sample_Selection.py, networks/).
What is compared, and how: benchmarks/paper.py.

The teacher is not trained, so the share of samples kept is an accident; since the work depends on it, it is reported
for both, and everything is measured twice: with the published cut, and with a cut of 0 that keeps (almost) all
samples, as late in a training. Ours keeps clean samples beyond B for the next student step, so k steps are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from benchmarks.command import Quick, Rounds, command
from benchmarks.paper import MAIN, Ours, Released, check_same_networks
from benchmarks.report import Report, at_most, say
from benchmarks.timing import Times, bootstrap, interleave, ratios, repeated

TARGET = 0.4


def compared(checkout: Path, batch: int, steps: int, cut: float, rounds: int) -> tuple[Times, dict[str, float]]:
    """CPU seconds of a student step of both, in turn, ``steps`` at a time, and the shares of samples kept."""
    ours = Ours(batch, cut)
    released = Released(checkout, ours.method)
    check_same_networks(ours.method, released.names)
    sides: dict[str, Ours | Released] = {"ours": ours, "released": released}

    def timed(side: Ours | Released) -> Callable[[int], float]:
        side(1)  # warm up
        side.kept = side.drawn = 0
        return lambda _: repeated(lambda: side(steps), 1)[0].cpu / steps

    seconds = interleave({name: timed(side) for name, side in sides.items()}, rounds)
    return seconds, {name: side.kept / side.drawn for name, side in sides.items()}


def measure(
    *,
    released: Annotated[Path, Parameter(help="A checkout of the authors' repository.")],
    batch: Annotated[int, Parameter(help="Images a batch.")] = 64,
    steps: Annotated[int, Parameter(help="Student steps, k, a round.")] = 10,
    rounds: Rounds = 5,
    quick: Quick = False,
) -> Iterator[Report]:
    if not (released / MAIN).is_file():
        raise SystemExit(f"--released: there is no {MAIN} in that folder")
    batch, steps, rounds = (16, 2, 2) if quick else (batch, steps, rounds)
    rows, details = [], {}
    for setting, cut in (("published cut", 0.5), ("all samples kept", 0.0)):
        say(setting)
        times, kept = compared(released, batch, steps, cut, rounds)
        ratio = ratios(times["ours"], times["released"])
        seconds = " against ".join(f"{bootstrap(values).median:.2f} s" for values in times.values())
        text = f"{ratio}; {seconds}; kept: {', '.join(f'{name} {share:.0%}' for name, share in kept.items())}"
        what = f"Student step, ours against the released, ResNet-34 → ResNet-18, B = {batch}, one thread, {setting}"
        rows.append(at_most(TARGET, what, text, ratio.median))
        details[setting] = {"cpu_seconds_per_step": times, "kept": kept}
    yield Report(rows, details)


if __name__ == "__main__":
    command(measure)
