"""Sheets of images: as pictures, and as pages take them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording import column, columns, picture, pictures

from dfkd_core.store import RunFolder, read_sheet, store_samples
from dfkd_core.store.sheets import in_rows, packed, png


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_picture_comes_back_as_it_was(channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as opened:
        assert opened.mode == mode and np.array_equal(np.atleast_3d(np.asarray(opened)), pixels)


def test_images_lie_in_rows_and_the_last_row_is_filled() -> None:
    laid = in_rows(pictures(5, size=2) + 1, across=3)
    assert laid.shape == (4, 6, 1)
    assert laid[::2, ::2, 0].tolist() == [[1, 2, 3], [4, 5, 0]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0.1, np.nan], "float32"), ([1, -1], "int16"), ([True, False], "uint8"), (np.uint8([7, 255]), "uint8")],
)
def test_a_column_has_a_type_that_browsers_know(values: list, kind: str) -> None:
    made = packed(np.asarray(values))
    assert made["type"] == kind
    found = np.array(column({"columns": {"values": made}}, "values"))
    assert np.array_equal(found, np.asarray(values, kind), equal_nan=True)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, {"benchmark": "digits"})


def test_a_stored_sheet_is_sent_without_decoding_it(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    store_samples(folder, "samples/1", pictures(20), columns(20))
    monkeypatch.setattr(Image.Image, "load", None)
    sheet = read_sheet(folder, "samples/1", step=1)
    monkeypatch.undo()
    assert sheet is not None
    assert (sheet["count"], sheet["height"], sheet["width"], sheet["step"]) == (20, 4, 4, 1)
    assert "features" not in sheet["columns"] and len(column(sheet, "label")) == 20
    assert picture(sheet)[::4, ::4].ravel()[:20].tolist() == list(range(20))


def test_a_sheet_that_is_missing_damaged_or_at_odds_with_itself_is_none(folder: RunFolder) -> None:
    assert read_sheet(folder, "samples/1") is None
    store_samples(folder, "samples/1", pictures(4), {"label": np.zeros(3, np.int16)})
    assert read_sheet(folder, "samples/1") is None
    store_samples(folder, "samples/1", pictures(4), {"label": np.zeros(4, np.int16)})
    path = folder.path / "samples" / "1.npz"
    path.write_bytes(path.read_bytes()[:80])
    assert read_sheet(folder, "samples/1") is None
