"""The selection audit, on samples whose place one can see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording import Recording
from sklearn.metrics import roc_auc_score

from dfkd_core.analysis.audit import Audit, audited, auroc

WORKED = {
    "features": np.array([[0], [1], [1.5], [8], [30]], np.float16),
    "label": np.array([0, 0, 0, 1, 1], np.int16),
    "student_label": np.array([0, 1, 0, 1, 0], np.int16),
    "clean": np.array([True, True, False, True, False]),
    "posterior": np.array([0.9, 0.7, 0.4, 0.6, 0.1], np.float32),
}


@pytest.fixture
def recording(runs: Path) -> Recording:
    """Real images of class 0 at 0 and 1 (boundary: -1 to 2), of class 1 at 20 and 31 (9 to 42): so that of the worked
    samples only the fourth, at 8, lies outside."""
    made = Recording(runs)
    made.add_real([[0.0], [1.0], [20.0], [31.0]], [0, 0, 1, 1])
    made.add("samples", 10, count=5, **WORKED)
    return made


def test_verdict_against_boundary_worked_by_hand(recording: Recording) -> None:
    audit = Audit(recording.recorded)
    assert audit.rows == {}, "not done yet"
    assert audit.update(1.0) is True and list(audit.rows) == [10]
    assert audit.rows[10] == {
        "step": 10,
        "clean": 3,
        "rejected": 2,
        "clean_inside": 2,
        "clean_outside": 1,
        "rejected_inside": 2,
        "rejected_outside": 0,
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 4),
        "disagreement_clean": pytest.approx(1 / 3),
        "disagreement_rejected": pytest.approx(1 / 2),
        "auroc_inside": pytest.approx(2 / 4),  # 0.6 lies below two of the four inside
        "auroc_agrees": pytest.approx(4 / 6),
    }


def test_another_threshold_gives_other_counts_and_the_same_ranking(recording: Recording) -> None:
    boundary = recording.recorded.boundary()
    row = audited({**WORKED, "clean": WORKED["posterior"] > 0.65}, boundary)
    counts = ("clean_inside", "clean_outside", "rejected_inside", "rejected_outside")
    assert [row[name] for name in counts] == [2, 0, 2, 1]
    assert (row["precision"], row["recall"], row["auroc_inside"]) == (1.0, 0.5, 0.5)
    nothing = audited({**WORKED, "clean": WORKED["posterior"] > 1.0}, boundary)
    assert nothing["precision"] is None and nothing["disagreement_clean"] is None


def test_it_goes_on_where_it_stopped_and_follows_a_live_run(recording: Recording) -> None:
    for step in (20, 30):
        recording.add("samples", step, count=5, dimension=1)
    audit = Audit(recording.recorded)
    assert [(audit.update(0.0), sorted(audit.rows)) for _ in range(3)] == [
        (False, [10]),
        (False, [10, 20]),
        (True, [10, 20, 30]),
    ]
    recording.add("samples", 40, count=5, dimension=1)
    assert audit.update(0.0) is True and 40 in audit.rows


def test_without_real_images_only_the_students_disagreement_is_known(runs: Path) -> None:
    recording = Recording(runs)
    recording.add("samples", 10, count=5, **WORKED)
    audit = Audit(recording.recorded)
    audit.update(1.0)
    row = audit.rows[10]
    unknown = [name for name, value in row.items() if value is None]
    names = ["clean_inside", "clean_outside", "rejected_inside", "rejected_outside", "precision", "recall"]
    assert unknown == [*names, "auroc_inside"]
    assert (row["disagreement_clean"], row["auroc_agrees"]) == (pytest.approx(1 / 3), pytest.approx(4 / 6))


def test_without_selection_the_verdict_is_as_recorded(recording: Recording) -> None:
    recording.add("samples", 20, count=5, **{**WORKED, "posterior": None, "clean": np.ones(5, bool)})
    audit = Audit(recording.recorded)
    audit.update(1.0)
    row = audit.rows[20]
    assert (row["clean"], row["auroc_inside"], row["disagreement_rejected"]) == (5, None, None)
    assert row["precision"] == pytest.approx(4 / 5)


def test_a_damaged_sheet_is_passed_over(recording: Recording) -> None:
    recording.add("samples", 20, count=5, dimension=1)
    (recording.folder.path / "samples" / "00000010.npz").write_bytes(b"torn")
    audit = Audit(recording.recorded)
    assert audit.update(1.0) is True
    assert list(audit.rows) == [20]


def test_a_sheet_that_does_not_fit_the_real_images_is_done_with(recording: Recording) -> None:
    recording.add("samples", 20, count=5, dimension=7)
    audit = Audit(recording.recorded)
    assert audit.update(1.0) is True, "else Inspect would ask for ever"
    assert audit.rows[20]["clean_inside"] == 0 and audit.rows[10]["clean_inside"] > 0


def test_auroc_is_that_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        score, positive = random.integers(0, 6, 40) / 5, random.random(40) < 0.3
        assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))
    assert auroc(np.ones(3), np.ones(3, bool)) is None and auroc(np.ones(3), np.zeros(3, bool)) is None
    assert auroc(None, np.ones(3, bool)) is None and auroc(np.ones(3), None) is None
