"""Exports, opened by the programs they are for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from recording import Recording

from dfkd_core.analysis.export import arrays_npz, sheet_png, table_csv
from dfkd_core.analysis.layout import pca
from dfkd_core.analysis.recorded import Sheet
from dfkd_core.analysis.tags import Tags
from dfkd_core.errors import RequestError


@pytest.fixture
def recording(runs: Path) -> Recording:
    """20 samples of three classes; 1 and 4 lie far outside all boundaries, 0 and 2 inside."""
    made = Recording(runs)
    features = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float16)
    features[[0, 2]], features[[1, 4]] = 0, 99
    made.add("samples", 10, label=np.arange(20, dtype=np.int16) % 3, features=features)
    made.add_real(np.random.default_rng(0).normal(size=(9, 4)), [0, 1, 2] * 3)
    return made


@pytest.fixture
def sheet(recording: Recording) -> Sheet:
    found = recording.recorded.sheet("samples", 10)
    assert found is not None
    return found


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_the_sheet_shows_the_images_in_the_order_asked_for(runs: Path, channels: int, mode: str) -> None:
    recording = Recording(runs)
    recording.add("samples", 1, channels=channels)
    sheet = recording.recorded.sheet("samples", 1)
    assert sheet is not None
    data = sheet_png(sheet, [7, 3, 12, 5, 9], scale=2)
    assert Image.open(io.BytesIO(data)).mode == mode
    pixels = opened(data).reshape(22, 32, channels)  # 2 rows of 3; 8 pixels each and 2 of white around
    assert [pixels[6, 6 + 10 * place, 0] for place in range(3)] == [7, 3, 12]
    assert [pixels[16, 6 + 10 * place, 0] for place in range(3)] == [5, 9, 255]
    assert (pixels[2:10, 2:10] == 7).all() and (pixels[:, 10:12] == 255).all() and (pixels[-2:] == 255).all()


def test_small_images_are_made_large_enough_to_look_at(sheet: Sheet) -> None:
    assert opened(sheet_png(sheet, [0])).shape == (68, 68)
    assert opened(sheet_png(sheet, range(20))).shape == (4 * 66 + 2, 5 * 66 + 2)


def test_the_table_has_one_row_a_sample(recording: Recording, sheet: Sheet) -> None:
    layout, tags = pca(recording.recorded), Tags(recording.folder)
    assert layout is not None
    tags.add("samples", 10, [4], "=cmd()")
    tags.add("samples", 10, [4], "blurred")
    data = table_csv(recording.recorded, sheet, [4, 0, 2], layout, tags)
    table = pandas.read_csv(io.BytesIO(data))
    assert table["index"].tolist() == [4, 0, 2] and set(table["kind"]) == {"samples"} and set(table["step"]) == {10}
    for name in ("loss", "posterior", "confidence"):
        assert table[name].to_numpy() == pytest.approx(sheet.columns[name][[4, 0, 2]], rel=1e-6)
    for name in ("clean", "label", "student_label"):
        assert table[name].tolist() == sheet.columns[name][[4, 0, 2]].tolist()
    positions = layout.positions("samples", 10)
    assert positions is not None
    assert table[["x", "y"]].to_numpy() == pytest.approx(positions[[4, 0, 2]], rel=1e-5)
    assert table["inside"].tolist() == [False, True, True]
    assert table["class"].tolist() == ["'=dog", "cat", "ship"], "no spreadsheet takes a name for a formula"
    assert table["tags"].fillna("").tolist() == ["'=cmd(); blurred", "", ""]


@pytest.mark.parametrize("tag", ["=1+1", "+1", "-1", "@x"])
def test_no_tag_becomes_a_formula(recording: Recording, sheet: Sheet, tag: str) -> None:
    tags = Tags(recording.folder)
    tags.add("samples", 10, [0], tag)
    table = pandas.read_csv(io.BytesIO(table_csv(recording.recorded, sheet, [0], None, tags)))
    assert table["tags"].tolist() == [f"'{tag}"]


def test_what_is_unknown_is_an_empty_cell(runs: Path) -> None:
    recording = Recording(runs)
    nothing = dict.fromkeys(("features", "posterior", "teacher_logits", "student_logits"))
    recording.add("samples", 1, label=np.full(20, 9, np.int16), **nothing)
    sheet = recording.recorded.sheet("samples", 1)
    assert sheet is not None
    table = pandas.read_csv(io.BytesIO(table_csv(recording.recorded, sheet, [0, 1])))
    assert table[["posterior", "class", "inside", "x", "y", "tags"]].isna().all(axis=None)
    assert table["loss"].notna().all()


def test_real_images_have_a_table_too(recording: Recording) -> None:
    real = recording.recorded.real
    assert real is not None
    table = pandas.read_csv(io.BytesIO(table_csv(recording.recorded, real, [1], pca(recording.recorded))))
    assert table["class"].tolist() == ["'=dog"] and table["x"].notna().all()
    assert table[["loss", "inside", "student_label", "student_class"]].isna().all(axis=None)


def test_the_arrays_hold_images_and_every_column(sheet: Sheet) -> None:
    stored = np.load(io.BytesIO(arrays_npz(sheet, [9, 4])))
    assert set(stored.files) == {"images", "index", "step", *sheet.columns}
    assert stored["index"].tolist() == [9, 4] and stored["step"] == 10
    assert np.array_equal(stored["images"], sheet.images[[9, 4]])
    for name, values in sheet.columns.items():
        assert np.array_equal(stored[name], values[[9, 4]]) and stored[name].dtype == values.dtype


@pytest.mark.parametrize("indices", [[], [20], [0, -1]])
def test_samples_that_are_not_there_are_refused(recording: Recording, sheet: Sheet, indices: list[int]) -> None:
    for export in (sheet_png, arrays_npz, lambda sheet, chosen: table_csv(recording.recorded, sheet, chosen)):
        with pytest.raises(RequestError, match="0 to 19, and at least one"):
            export(sheet, indices)
