"""The logged numbers of runs as tables and files for other programs. Does not import torch."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dfkd_core.analysis.export import csv_text
from dfkd_core.analysis.timeline import Curve, Timeline
from dfkd_core.errors import RequestError
from dfkd_core.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run", "metric", "step", "value")
NO_TENSORBOARD = "needs the package tensorboard: pip install 'dfkd-lab[export]', or pip install tensorboard."


def table(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """Long: a row for each run, metric and step."""
    import pandas as pd

    parts = []
    for folder in folders:
        for name, curve in _curves(folder).items():
            parts.append(pd.DataFrame({"run": folder.id, "metric": name, "step": curve.steps, "value": curve.values}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def csv(folders: Sequence[RunFolder]) -> bytes:
    return csv_text(table(folders)).encode()


def parquet(folders: Sequence[RunFolder]) -> bytes:
    """Metrics of step 64-bit integers and values of 64-bit floats, as they were logged."""
    buffer = io.BytesIO()
    table(folders).astype({"run": str, "metric": str, "step": "int64", "value": "float64"}).to_parquet(buffer)
    return buffer.getvalue()


def tensorboard(folders: Sequence[RunFolder]) -> bytes:
    """A ZIP of event files, a folder for each run: unpack it, then ``tensorboard --logdir``. Raises ``RequestError``
    where tensorboard is not installed."""
    if find_spec("tensorboard") is None:
        raise RequestError("as", "tensorboard", NO_TENSORBOARD)
    from torch.utils.tensorboard import SummaryWriter

    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in folders:
            with SummaryWriter(str(Path(place) / folder.id)) as writer:
                for name, curve in _curves(folder).items():
                    for step, value in zip(curve.steps, curve.values, strict=True):
                        writer.add_scalar(name, value, step)
        for path in sorted(Path(place).rglob("events*")):
            archive.write(path, path.relative_to(place))
    return buffer.getvalue()


def _curves(folder: RunFolder) -> dict[str, Curve]:
    timeline = Timeline(folder)
    timeline.update()
    return timeline.curves
