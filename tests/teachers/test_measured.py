"""What is measured of a teacher beside its accuracy, and a teacher in the making."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bringing import shipped
from command import call, refused
from repositories import saved
from test_teachers import tiny_card

from dfkd_core.errors import RequestError
from dfkd_core.teachers import calibration, making
from dfkd_core.teachers.bring import import_weights, register
from dfkd_core.teachers.cards import SHIPPED, available_teachers, find_card, user_folder
from dfkd_core.teachers.load import load_teacher
from dfkd_core.teachers.measured import measured


def test_calibration_is_the_gap_between_how_sure_and_how_right() -> None:
    """Worked out by hand: two images at 0.9, one right; two at 0.6, both right."""
    shares = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    found = calibration.described(shares.log(), torch.tensor([0, 1, 1, 1]))
    assert found.ece == pytest.approx((2 * 0.4 + 2 * 0.4) / 4) and found.accuracy == 0.75
    assert found.confidence == pytest.approx(0.75) and found.confusion == [[1, 0], [1, 2]]
    assert found.per_class() == [1.0, pytest.approx(2 / 3)]
    assert [one.count for one in found.bins if one.count] == [2, 2]


def test_one_that_is_always_sure_and_right_is_calibrated() -> None:
    found = calibration.described(torch.tensor([[50.0, 0.0], [0.0, 50.0]]), torch.tensor([0, 1]))
    assert found.ece == pytest.approx(0, abs=1e-9) and found.bins[-1].count == 2


def test_every_classifier_that_ships_is_measured() -> None:
    cards = [card for card in available_teachers().values() if find_card(card.name)[1].parent == SHIPPED]
    assert len(cards) > 5
    for card in cards:
        found = measured(card)
        assert found is not None and found.accuracy == pytest.approx(card.accuracy, abs=1e-3), card.name


def test_what_the_command_measures_is_kept_for_these_weights(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfkd_core.teachers.measured.SHIPPED", tmp_path)  # those that ship are known
    card = available_teachers()["digits-lenet5-long"]
    assert measured(card) is None
    status, out, _ = call(capsys, "teacher", "measure", card.name, "--json")
    found = measured(card)
    assert status == 0 and found is not None and found.accuracy == pytest.approx(card.accuracy)
    assert json.loads(out)["ece"] == found.ece and sum(map(sum, found.confusion)) == found.images
    assert measured(card.model_copy(update={"sha256": "0" * 64})) is None
    assert "a classifier" in refused(capsys, "teacher", "measure", "digits-lvae-32")


def test_a_training_says_how_far_it_is_and_measures_in_the_end(capsys: Any) -> None:
    folder, card = user_folder(), tiny_card("mine")
    path = making.begin(card, folder)
    assert making.in_the_making(folder) == ["mine"] and making.trained("mine", folder) is None
    status, _, _ = call(capsys, "teacher", "train", str(path))
    so_far = making.trained("mine", folder)
    assert status == 0 and so_far is not None and len(so_far.loss) == so_far.epochs == 2
    made = available_teachers()["mine"]
    found = measured(made)
    assert found is not None and found.accuracy == made.accuracy == so_far.accuracy[-1]  # digits has few test images
    with pytest.raises(RequestError, match="is taken"):
        making.begin(card, folder)
    making.put_away("mine", folder)
    assert making.in_the_making(folder) == [] and "mine" in available_teachers()


def test_a_file_that_was_looked_at_is_registered_under_its_name(tmp_path: Path) -> None:
    file, aside = tmp_path / "weights.pt", tmp_path / "aside"
    file.write_bytes(saved(shipped()))
    import_weights(file, "", "digits", "looked-at", aside)
    card = register(aside / "looked-at.json", "mine", user_folder())
    assert find_card("mine")[0] == card and card.accuracy == pytest.approx(0.9866, abs=1e-4)
    assert load_teacher("mine")[1].network == "resnet8"
    for wrong, said in (("mine", "is taken"), ("no name/at all", "should")):
        with pytest.raises(RequestError, match=said):
            register(aside / "looked-at.json", wrong, user_folder())
