"""What `tests/test_new_method.py` asks for in a copy of the lab that holds the method ``pull``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import call
from conftest import execute, new_run, tiny_spec
from streamlit.testing.v1 import AppTest

from dfkd_core.analysis.timeline import Timeline
from dfkd_core.methods.index import listed
from dfkd_core.runs.request import make_spec
from dfkd_core.store import RunFolder
from dfkd_core.study.estimate import estimated_seconds
from pages.ui.run import stage
from pages.ui.words import glossary

LOOK = {"want": [], "view": None, "slow": [4, 0]}


def pulled(runs: Path, **knobs: float) -> tuple[RunFolder, dict[str, Any]]:
    """A run of it, and what the stage is told."""
    folder = new_run(runs, knobs, method="pull", health_every=1)
    assert execute(folder).state == "done", folder.status().message
    timeline = Timeline(folder)
    return folder, stage.data_of("stage", folder, folder.status(), timeline, LOOK)


def test_the_form_has_its_knobs_and_offers_no_preset(app: AppTest) -> None:
    app.query_params["method"] = "pull"
    app.query_params["k.pull_weight"] = "0.25"
    app.run()
    assert not app.exception and not app.error
    knob = app.number_input(key="knob:pull::pull_weight")
    assert (knob.label, knob.value, knob.max) == ("pull weight (π)", 0.25, 10)
    assert "How hard images are pulled towards grey." in knob.help and "term=pull-weight" in knob.help
    assert app.number_input(key="knob:pull::warm_up").label == "warm up, steps"


def test_a_request_for_it_has_its_stages() -> None:
    spec = make_spec({"epochs": 1}, method="pull")
    assert (spec.preset, [one.name for one in spec.stages]) == ("", ["warm-up", "student"])


def test_the_page_of_methods_shows_it(app: AppTest) -> None:
    app.query_params["method"] = "pull"
    app.switch_page("pages/methods.py").run()
    assert not app.exception
    assert "Pull to grey" in [heading.value for heading in app.subheader]
    shown = " ".join(box.proto.body for box in app.get("html"))
    assert "train</span>" in shown and "pull_weight" in shown


def test_flags_show_its_knobs(capsys: Any) -> None:
    status, out, _ = call(capsys, "train", "--method", "pull", "--help")
    said = " ".join(out.replace("│", " ").split())
    assert status == 0
    assert "--pull-weight π How hard images are pulled towards grey. A number from 0 to 10. [default: 0.5]" in said


def test_lists_name_it(capsys: Any) -> None:
    assert "pull" in [method.name for method in listed()]
    status, out, _ = call(capsys, "methods")
    assert status == 0 and "Pull to grey" in out


def curves_of(folder: RunFolder) -> list[str]:
    timeline = Timeline(folder)
    timeline.update()
    return list(timeline.curves)


def test_stages_terms_and_phases_come_to_the_stage(runs: Path) -> None:
    folder, told = pulled(runs)
    assert [(one["name"], one["title"]) for one in told["stages"]] == [
        ("warm-up", "The generator warms up"),
        ("student", "The student learns"),
    ]
    assert told["terms"] == ["student_loss", "sure", "pull"]
    assert (told["titles"]["pull"], told["moved"]["pull"]) == ("pull to grey", "generator")
    assert set(curves_of(folder)) > {"pull", "share/pull", "share/sure", "accuracy"}
    assert [phase["title"] for phase in told["phases"]][1:] == ["Generate", "Pulled", "The student learns"]
    shown = told["slow_frames"]["4"]
    pulled_phase = next(phase for phase in shown["phases"] if phase["name"] == "pulled")
    assert pulled_phase["values"]["gradient/pull"] > 0 and pulled_phase["values"]["pull"] > 0


@pytest.mark.parametrize(("weight", "words"), [(1e-9, "“pull to grey” hardly pulls"), (0.5, "")])
def test_an_alarm_tells_of_its_term_when_it_is_dead(runs: Path, weight: float, words: str) -> None:
    _, told = pulled(runs, pull_weight=weight)
    said = [(alarm["text"], alarm["knobs"]) for alarm in told["alarms"] if "pull" in alarm["text"]]
    assert bool(said) == bool(words) and all(words in text and knobs == ("pull_weight",) for text, knobs in said)


def test_the_glossary_explains_its_words() -> None:
    for name in ("pull_weight", "warm up", "Pulling", "pull to grey", "pull"):
        assert glossary.find(name) is not None, name
    term = glossary.find("pull")
    assert term is not None and "weighed by pull weight" in term.meaning and term in glossary.matching("pull to grey")


def test_an_estimate_knows_its_pace(runs: Path) -> None:
    folder, _ = pulled(runs)
    folder.set_status(
        folder.status().__class__(
            "done",
            step=100,
            total_steps=100,
            result={"measure": "accuracy", **dict.fromkeys(("final", "best", "teacher")), "seconds": 50.0},
        )
    )
    spec = tiny_spec(method="pull")
    assert estimated_seconds([spec], [folder]) == pytest.approx(0.5 * spec.total_steps)
