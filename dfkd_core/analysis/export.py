"""A selection of samples as files for other programs: a PNG sheet, a table, arrays. No torch."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dfkd_core.analysis.layout import Layout
from dfkd_core.analysis.recorded import Recorded, Sheet
from dfkd_core.analysis.tags import Tags
from dfkd_core.errors import RequestError
from dfkd_core.store.sheets import in_rows, png

if TYPE_CHECKING:
    import pandas

GAP = 2  # white pixels between images
TILE, WIDEST = 64, 4096  # pixels: images are enlarged to about TILE while the sheet stays below WIDEST
NUMBERS = ("loss", "posterior", "clean", "label", "confidence", "student_label")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # beginnings that spreadsheets take for more than text


def sheet_png(sheet: Sheet, indices: Sequence[int], scale: int | None = None) -> bytes:
    """The images ``indices`` as one PNG, row by row in the order given, nearly square.

    ``scale`` enlarges each pixel to scale × scale; by default small images are made large enough to look at.
    Raises ``RequestError`` for samples that the sheet does not have, and for none.
    """
    images = sheet.images[_checked(sheet, indices)]
    count, height, width, _ = images.shape
    across = math.ceil(math.sqrt(count))
    scale = scale or max(1, min(TILE // max(height, width), WIDEST // (across * width)))
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    spaced = np.pad(images, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=255)
    canvas = 255 - in_rows(255 - spaced, across)  # white where the last row is not full, too
    return png(np.pad(canvas, ((0, GAP), (0, GAP), (0, 0)), constant_values=255))


def table_csv(
    recorded: Recorded, sheet: Sheet, indices: Sequence[int], layout: Layout | None = None, tags: Tags | None = None
) -> bytes:
    """One row per sample in the order given, UTF-8; cells are empty where something is unknown.

    Columns: kind, step, index, loss (nats), posterior, clean, label, confidence, student_label, class and
    student_class (names), inside (the boundary of the real class), x and y (in ``layout``), tags. Text that a
    spreadsheet would take for a formula gets an apostrophe before it. Raises ``RequestError`` as ``sheet_png`` does.
    """
    import pandas

    chosen = _checked(sheet, indices)
    table = pandas.DataFrame({"kind": sheet.kind, "step": sheet.step, "index": chosen})
    for name in NUMBERS:
        table[name] = sheet.columns[name][chosen] if name in sheet.columns else None
    names = {"class": "label", "student_class": "student_label"}
    for name, column in names.items():
        table[name] = _named(recorded.classes, sheet.columns[column][chosen]) if column in sheet.columns else None
    inside = recorded.inside(sheet) if sheet.kind != "real" else None
    table["inside"] = None if inside is None else inside[chosen]
    positions = layout.positions(sheet.kind, sheet.step) if layout is not None else None
    table[["x", "y"]] = np.full((len(chosen), 2), np.nan) if positions is None else positions[chosen]
    tagged = tags.of(sheet.kind, sheet.step) if tags is not None else {}
    table["tags"] = ["; ".join(tagged.get(index, [])) for index in chosen.tolist()]
    return csv_text(table).encode()


def arrays_npz(sheet: Sheet, indices: Sequence[int]) -> bytes:
    """``images`` (N, H, W, C) uint8 and every column of the samples, with their ``index``, as a compressed NPZ.

    Raises ``RequestError`` as ``sheet_png`` does.
    """
    chosen = _checked(sheet, indices)
    arrays: dict[str, Any] = {name: values[chosen] for name, values in sheet.columns.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=sheet.images[chosen], index=chosen, step=np.array(sheet.step), **arrays)
    return buffer.getvalue()


def _checked(sheet: Sheet, indices: Sequence[int]) -> np.ndarray:
    chosen = np.asarray(indices, dtype=np.int64)
    wrong = chosen[(chosen < 0) | (chosen >= len(sheet))]
    if len(wrong) or not len(chosen):
        expected = f"should name samples of the sheet, 0 to {len(sheet) - 1}, and at least one."
        raise RequestError("indices", wrong.tolist(), expected)
    return chosen


def _named(classes: list[str], labels: np.ndarray) -> list[str]:
    return [classes[label] if 0 <= label < len(classes) else "" for label in labels.tolist()]


def csv_text(table: pandas.DataFrame, digits: int = 7) -> str:
    """The one way in which tables leave the lab: text that a spreadsheet would take for a formula, which somebody may
    have put into a name, gets an apostrophe before it."""
    safe = table.map(_plain).rename(columns=_plain)
    return str(safe.to_csv(index=False, float_format=f"%.{digits}g"))


def _plain(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
