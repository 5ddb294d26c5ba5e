"""The formats in which runs leave the lab, declared once: the page and the command line offer these. Without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dfkd_core.analysis import metrics, student
from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder


class Format(NamedTuple):
    """``make`` gives the file of one run, or of several where ``many``. ``quick``: a page may make it while it waits.
    ``loads``: the kind of ``student.snippet`` that opens it."""

    title: str
    ending: str
    what: str
    make: Callable[[Sequence[RunFolder]], bytes]
    many: bool = False
    quick: bool = False
    loads: str = ""

    def name(self, folders: Sequence[RunFolder]) -> str:
        """What its file is called."""
        stem = folders[0].id if len(folders) == 1 else f"{len(folders)}-runs"
        return f"{stem}{self.ending}"


def _report(folders: Sequence[RunFolder]) -> bytes:
    from dfkd_core.analysis.report import report

    return report(folders[0]).encode()


FORMATS = {
    "html": Format("Report", ".html", "One page with curves, images and settings, to be read anywhere.", _report),
    "csv": Format("CSV", ".csv", "Every logged number: run, metric, step, value.", metrics.csv, True, True),
    "parquet": Format("Parquet", ".parquet", "The same table, typed.", metrics.parquet, True, True),
    "safetensors": Format(
        "Student's weights", "-student.safetensors", "For PyTorch, with the lab's networks.",
        lambda folders: student.weights(folders[0]), False, True, "safetensors",
    ),
    "torch": Format(
        "Student as a torch.export program", "-student.pt2", "For PyTorch alone; takes pixels from 0 to 1.",
        lambda folders: student.program(folders[0]), loads="torch",
    ),
    "onnx": Format(
        "Student as ONNX", "-student.onnx", "For onnxruntime and others; takes pixels from 0 to 1.",
        lambda folders: student.onnx(folders[0]), loads="onnx",
    ),
    "tensorboard": Format("TensorBoard", "-tensorboard.zip", "Event files of every logged number.",
                          metrics.tensorboard, True),
}  # fmt: skip


def make(kind: str, folders: Sequence[RunFolder]) -> bytes:
    """The file of these runs. Raises ``RequestError`` for what cannot be had of them, and ``StoreError`` for a damaged
    run."""
    if len(folders) != 1 and not FORMATS[kind].many:
        raise RequestError("as", kind, "is made of one run.")
    return FORMATS[kind].make(folders)
