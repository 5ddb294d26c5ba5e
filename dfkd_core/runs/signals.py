"""What a signal means to a run. Who presses Ctrl-C stops it, as by a command; SIGTERM is for the whole process, as when
a machine is shut down: nobody has stopped the run, and a study goes on with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

TOLD_TO_END = "Its process was told to end, as when a machine is shut down. Resume goes on from there."


@contextmanager
def terminated_softly() -> Iterator[list[int]]:
    """SIGTERM and Ctrl-C, as they are heard, end a run at the next step's end. Only the main thread can hear them."""
    heard: list[int] = []
    try:
        before = {
            number: signal.signal(number, lambda received, _: heard.append(received))
            for number in (signal.SIGTERM, signal.SIGINT)
        }
    except ValueError:
        before = {}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def left_by(heard: list[int]) -> str:
    """The state of a run that ends early."""
    return "interrupted" if signal.SIGTERM in heard else "stopped"
