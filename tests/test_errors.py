"""What is wrong with somebody's file is said by place and reason: a path given by mistake shows no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import refused

from dfkd_core.errors import RequestError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "content",
    [
        f'{{"password": "{SECRET}"}}',
        f'{{"name": "a", "recipe": "{SECRET * 40}", "password": "{SECRET}"}}',
        f'["{SECRET}"]',
        f"password = {SECRET}",
        f'{{"name": ["{SECRET}"]}}',
        "",
    ],
)
def test_a_file_that_is_no_card_is_not_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(content)
    said = refused(capsys, "train", "--teacher", str(path))
    assert SECRET not in said and str(path) in said and "is no card of a teacher" in said


def test_a_value_is_quoted_as_far_as_it_can_be_read_at_a_glance() -> None:
    assert str(RequestError("seed", -1, "should be 0 or more.")) == "seed = -1: should be 0 or more."
    assert len(str(RequestError("seed", "9" * 10_000, "should be a number."))) < 300
