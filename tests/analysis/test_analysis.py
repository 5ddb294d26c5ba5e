"""Timelines and alarms, on logs written by the real writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording import MIXTURE, column, picture

from dfkd_core.analysis.alarms import alarms
from dfkd_core.analysis.timeline import Curve, Timeline
from dfkd_core.events import Applied, Evaluated, Samples, Step
from dfkd_core.kit.contract import facts_of
from dfkd_core.methods.ta_dfkd import TADFKD
from dfkd_core.store import EventWriter, RunFolder

TERMS = facts_of(TADFKD.terms)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, {"benchmark": "digits"})


def write(folder: RunFolder, *events) -> Timeline:
    """The events as one attempt's log, read back."""
    writer = EventWriter(folder, folder.begin_attempt().number)
    for index, event in enumerate(events):
        writer.add(event, elapsed=float(index))
    writer.flush()
    timeline = Timeline(folder)
    timeline.update()
    return timeline


def steps(count: int, **values: float) -> list[Step]:
    return [Step(step, values) for step in range(1, count + 1)]


def test_a_timeline_collects_curves_marks_and_the_teachers_line(folder: RunFolder) -> None:
    timeline = write(folder, Step(1, {"kept": 0.5}), Evaluated(1, 0.8, 0.7, 0.99), Applied(1, "pause"))
    assert timeline.curves["kept"].values == [0.5]
    assert (timeline.score, timeline.teacher, timeline.recent("accuracy", 1)) == ("accuracy", 0.99, [0.7])
    assert timeline.marks == [{"step": 1, "command": "pause", "text": "pause"}]
    assert timeline.update() == 3, "reading again must not read rows twice"


def test_without_evaluation_data_agreement_is_the_score(folder: RunFolder) -> None:
    timeline = write(folder, Evaluated(1, 0.8))
    assert timeline.score == "agreement" and timeline.teacher is None


def test_thinned_curves_keep_their_points_while_they_grow_and_always_the_last() -> None:
    short, long = (Curve(list(range(n)), [float(i) for i in range(n)]) for n in (1000, 1100))
    first, second = short.thinned(100), long.thinned(100)
    assert len(second["x"]) <= 101 and second["x"][-1] == 1099
    assert set(first["x"][:-1]) <= set(second["x"])


def test_a_frame_carries_the_sheet_and_its_columns(folder: RunFolder) -> None:
    images = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4, 1)
    columns = {"loss": np.array([0.12345678, 1.0, 2.0], np.float32), "clean": np.array([True, False, True])}
    frame = write(folder, Samples(5, images, columns, MIXTURE)).frame(5)
    assert frame is not None
    assert column(frame, "loss") == columns["loss"].tolist() and column(frame, "clean") == [1, 0, 1]
    assert (frame["count"], frame["width"], frame["height"], frame["mixture"]) == (3, 4, 4, MIXTURE)
    assert (picture(frame)[:, 4:8] == images[1, :, :, 0]).all()


def test_a_frame_whose_file_is_gone_is_none_not_an_error(folder: RunFolder) -> None:
    timeline = write(folder, Samples(1, np.zeros((1, 4, 4, 1), np.uint8), {"loss": np.zeros(1)}))
    (folder.path / "samples" / "00000001.png").unlink()
    assert timeline.frame(1) is None and timeline.frame(2) is None


def test_a_torn_sheet_is_none_not_an_error(folder: RunFolder) -> None:
    timeline = write(folder, Samples(1, np.zeros((1, 4, 4, 1), np.uint8), {"loss": np.zeros(1)}))
    path = folder.path / "samples" / "00000001.npz"
    path.write_bytes(path.read_bytes()[:60])
    assert timeline.frame(1) is None


KNOBS = ("class_balance_weight", "adversarial_weight", "bn_weight", "posterior_cut", "student_lr")
HEALTHY = {"kept": 0.8, "coverage": 0.9, "diversity": 0.5, "share/adversarial": 0.4, "share/bn_statistics": 0.6}


@pytest.mark.parametrize(
    ("changed", "seen", "knob"),
    [
        ({"coverage": 0.2}, "2.0 of 10 classes", "class_balance_weight"),
        ({"diversity": 0.01}, "look alike", "adversarial_weight"),
        ({"kept": 0.05}, "only 5%", "posterior_cut"),
        ({"share/adversarial": 0.001}, "“adversarial” hardly pulls", "adversarial_weight"),
        ({"share/bn_statistics": 0.99}, "“BN statistics” drowns", "bn_weight"),
    ],
)
def test_what_is_wrong_is_said_in_words_with_the_knobs(folder: RunFolder, changed: dict, seen: str, knob: str) -> None:
    timeline = write(folder, *steps(10, **{**HEALTHY, **changed}))
    found = alarms(timeline, total_steps=10, classes=10, terms=TERMS, knobs=KNOBS)
    assert len(found) == 1 and seen in found[0].text and knob in found[0].knobs


def test_no_knob_is_advised_that_a_run_does_not_have(folder: RunFolder) -> None:
    timeline = write(folder, *steps(10, **{**HEALTHY, "coverage": 0.2, "kept": 0.05}))
    (alarm,) = alarms(timeline, 10, 10, TERMS, ["bn_weight", "student_lr"])
    assert "2.0 of 10 classes" in alarm.text and alarm.knobs == ("bn_weight",)


def test_a_healthy_run_raises_no_alarm(folder: RunFolder) -> None:
    assert alarms(write(folder, *steps(10, **HEALTHY)), 10, 10, TERMS, KNOBS) == []


def test_a_young_generator_is_left_in_peace(folder: RunFolder) -> None:
    assert alarms(write(folder, *steps(10, **{**HEALTHY, "coverage": 0.1})), 1000, 10, TERMS, KNOBS) == []


def test_a_student_that_falls_is_noticed_at_once(folder: RunFolder) -> None:
    timeline = write(folder, Evaluated(1, 0.9, 0.9, 0.99), Evaluated(2, 0.3, 0.3, 0.99))
    assert "fell from 90% to 30%" in alarms(timeline, 1000, 10, TERMS, KNOBS)[0].text
