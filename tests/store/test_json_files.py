"""Each JSON file of a run folder: as it was written, or damaged by name."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from tampering import flip

from dfkd_core.errors import DamagedError
from dfkd_core.store import Place

ANYTHING = TypeAdapter(dict[str, float])


def test_a_json_file_refuses_nan_and_comes_back_as_it_was(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(ValueError):
        place.write_json("file.json", {"x": math.nan})
    assert list(tmp_path.iterdir()) == [] and place.read_json("file.json", ANYTHING) is None
    for value in ({}, {"x": 1.5, "crc32 ": 2.0}):
        place.write_json("file.json", value)
        assert place.read_json("file.json", ANYTHING) == value


def test_every_flipped_bit_of_a_json_file_is_seen(tmp_path: Path) -> None:
    place, path = Place(tmp_path, "run 7"), tmp_path / "file.json"
    place.write_json("file.json", {"steps": 12, "rate": 0.5})
    for bit in range(8 * path.stat().st_size):
        flip(path, bit)
        with pytest.raises(DamagedError, match="run 7: file.json is damaged: its checksum does not fit"):
            place.read_json("file.json", ANYTHING)
        flip(path, bit)


def test_a_field_that_cannot_be_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path, "run 7")
    place.write_json("file.json", {"steps": [12]})
    with pytest.raises(DamagedError, match="file.json is damaged.*: steps"):
        place.read_json("file.json", ANYTHING)
