"""What runs came to on their way: at an equal budget, as bands, and what signals without data pick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import execute, new_run, rows

from dfkd_core.study.traces import (
    COLUMNS,
    FILE,
    Growing,
    Trace,
    at_budget,
    band,
    common_budget,
    in_last,
    picked,
    points_of,
    reached,
    score_at,
    stability,
    trace_of,
)


def trace(scores: list[float], pace: float = 1.0, measure: str = "accuracy", **columns: Any) -> Trace:
    """Evaluated every ten steps; a step takes ``pace`` seconds."""
    steps = [10.0 * index for index in range(len(scores))]
    known: dict[str, Any] = {"step": steps, "seconds": [pace * step for step in steps], "score": scores}
    nothing = dict.fromkeys(COLUMNS, [None] * len(scores))
    return {"measure": measure, "columns": {**nothing, "images": steps, "queries": steps, **known, **columns}}


def test_a_trace_is_what_the_log_says(runs: Path) -> None:
    folder = new_run(runs)
    execute(folder)
    made = trace_of(folder, keep=True)
    columns = made["columns"]
    evaluated = rows(folder, "evaluated")
    assert columns["score"] == [row["accuracy"] for row in evaluated] and columns["step"] == [0, 2, 4, 6]
    assert columns["seconds"] == [row["elapsed"] for row in evaluated]
    assert columns["images"] == [0, 2 * 2 * 16, 4 * 2 * 16, 6 * 2 * 16], "two updates with a batch of 16 in each step"
    logged = {row["step"]: row["values"] for row in rows(folder, "step")}
    for name in ("queries", "coverage", "student_loss"):
        assert columns[name] == [None, *(logged[step][name] for step in (2, 4, 6))]
    assert columns["sampled_agreement"][0] is None and 0 <= (columns["sampled_agreement"][-1] or 0) <= 1
    assert trace_of(folder) == made
    (folder.path / FILE).write_text("{")
    assert trace_of(folder) == made, "one that is damaged is made again"


def test_a_run_that_goes_on_has_a_trace_that_grows(runs: Path) -> None:
    folder = new_run(runs)
    execute(folder)
    (log,) = folder.path.glob("attempts/*/events.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    half = [index for index, line in enumerate(lines) if b'"type": "evaluated"' in line][2]
    log.write_bytes(b"".join(lines[: half + 1]))
    growing = Growing(folder)
    assert growing.update()["columns"]["step"] == [0, 2, 4]
    assert [place for place, _ in points_of(growing.update(), "step")] == [0, 2, 4], "nothing is read twice"
    with log.open("ab") as file:
        file.write(b"".join(lines[half + 1 :]))
    assert growing.update() == trace_of(folder)


def test_scores_at_an_equal_budget() -> None:
    quick, slow = trace([0.1, 0.5, 0.9], pace=1), trace([0.1, 0.6, 0.7, 0.8], pace=2)
    assert (reached(quick, "seconds"), reached(slow, "seconds")) == (20, 60)
    assert common_budget([quick, slow], "seconds") == 20 and common_budget([quick, slow], "step") == 20
    assert (score_at(quick, "seconds", 20), score_at(slow, "seconds", 20)) == (0.9, 0.6)
    assert score_at(quick, "seconds", 40) is None, "it did not come so far"
    usual = {"final": 1.0, "best": 1.0, "state": "done"}
    table = [{"run": name, **usual} for name in ("quick", "slow", "damaged")]
    table.append({"run": "", "final": None, "state": "failed"})
    one, other, unread, failed = at_budget(table, {"quick": quick, "slow": slow}, "seconds", 30)
    assert (unread["final"], unread["best"], unread["state"]) == (None, None, "short"), "not the end of its whole run"
    assert (one["final"], one["state"]) == (None, "short") and (other["final"], other["best"]) == (0.6, 0.6)
    assert failed["state"] == "failed"


def test_a_band_is_mean_and_deviation_where_all_curves_are() -> None:
    found = band([trace([0.0, 0.2, 0.4]), trace([0.2, 0.4, 0.6, 0.8])], "step")
    assert found is not None and found.n == 2 and (found.x[0], found.x[-1]) == (0, 20)
    assert (found.mean[0], found.mean[-1]) == pytest.approx((0.1, 0.5))
    assert found.high[0] - found.mean[0] == pytest.approx(0.1414, abs=1e-3)
    alone = band([trace([0.0, 0.2])], "step")
    assert alone is not None and alone.low == alone.mean == alone.high
    assert band([], "step") is None and band([trace([0.3])], "step") is None
    assert band([trace([0.1, 0.2])], "step", "kept") is None, "nothing of it was logged"


def test_signals_pick_without_scores_and_the_regret_is_what_that_costs() -> None:
    scores, agreement = [0.1, 0.5, 0.9, 0.95, 0.6, 0.5], [0.1, 0.8, 0.9, 0.9, 0.7, 0.6]
    run = trace(scores, sampled_agreement=agreement)
    found = picked(run, "sampled_agreement")
    assert found is not None and (found.step, found.score, found.best, found.regret) == (30, 0.95, 0.95, 0)
    last = picked(run, "last")
    assert last is not None and (last.step, last.regret) == (50, pytest.approx(0.45))
    assert picked(run, "coverage") is None, "it was not logged"
    steady = trace([0.2] * 6, sampled_agreement=[0.9, 0.3, 0.9, 0.8, 0.8, 0.8])
    assert (stable := picked(steady, "stability")) is not None and stable.step == 50
    far = trace([9.0, 3.0, 5.0], measure="fid")
    assert (end := picked(far, "last")) is not None and (end.best, end.regret) == (3.0, 2.0)


def test_the_last_epochs_are_counted_in_evaluations(runs: Path) -> None:
    from conftest import tiny_spec

    run = trace([0.0] * 10)  # to step 90
    assert in_last(run, tiny_spec({"iterations": 15}), 2) == 3
    assert in_last(trace([]), tiny_spec(), 3) == 0


def test_what_a_student_was_before_its_first_step_is_no_instability() -> None:
    run = trace([0.1, 0.9, 0.8])  # of a method without epochs, and with fewer evaluations than are looked at
    assert stability(run, None, 3) == pytest.approx(0.05) and stability(trace([0.1]), None, 3) is None
