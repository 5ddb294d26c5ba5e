"""A new study is one file: put into the package, it is found by command line and page."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import FLAGS, call, refused
from conftest import STUDENT, TEACHER, tiny_spec, write_mnist
from streamlit.testing.v1 import AppTest

from dfkd_core import study
from dfkd_core.cli import main
from dfkd_core.errors import RequestError
from dfkd_core.study import Cell, CellState, Record, Study
from dfkd_core.study.hidfd_experiments import EXPERIMENTS

OWN = """
from dfkd_core.study.contract import Kind, Seeded, asked
from dfkd_core.study.tables import aligned


class RateRequest(Seeded):
    momentum: int = asked(9, "Tenths of the momentum.", title="Tenths", ge=1, le=9)


class Rate(Kind[RateRequest]):
    name, title = "rate", "Does the momentum matter?"
    varies = {**Kind.varies, "momentum": "momentum"}
    Request = RateRequest

    def labelled(self, request):
        from dfkd_core.runs.request import make_spec

        knobs = {**request.knobs, "momentum": request.momentum / 10}
        return [({"seed": seed}, make_spec(knobs, seed=seed, **request.run)) for seed in request.seeds]

    def settings(self, request, labelled):
        return {"momentum": request.momentum, "samples": 0}

    def headline(self, request, labelled):
        return f"Momentum {request.momentum / 10}"

    def key(self, request, labels):
        return f"seed-{labels['seed']}"

    def table(self, settings, cells):
        return [{**cell.cell.labels, "final": cell.record.figures.get("final")} for cell in cells]

    def reading(self, settings, rows):
        return f"Of {len(rows)} it cannot be told."

    def lines(self, settings, cells):
        return aligned([["seed"], *([str(row["seed"])] for row in self.table(settings, cells))])
"""

REQUIRED = {"experiment": [{"experiment": name} for name in EXPERIMENTS], "fig1a": [{"teachers": TEACHER}]}
"""What has to be said of a study before it can be begun, by kind: every way to say it."""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more file in the package."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "rate.py").write_text(OWN)
    monkeypatch.setattr(study, "__path__", [*study.__path__, str(folder)])
    start_anew()
    yield
    sys.modules.pop("dfkd_core.study.rate", None)
    start_anew()


def start_anew() -> None:
    """As a new process would: kinds are looked for, and the commands made from them."""
    study.available.cache_clear()
    sys.modules.pop("dfkd_core.cli.study", None)
    importlib.reload(main)


@pytest.mark.usefixtures("own")
def test_a_study_of_ones_own_is_a_command_with_its_flags_and_its_table(capsys: Any, runs: Path) -> None:
    assert "Does the momentum matter?" in call(capsys, "study", "--help")[1]
    flags = call(capsys, "study", "rate", "--help")[1]
    assert "--momentum" in flags and "--width" in flags and "--seeds" in flags and "--seed " not in flags
    assert "momentum = '0': should be greater than or equal to 1" in refused(capsys, "study", "rate", "--momentum", "0")
    asked = ["--momentum", "5", "--seeds", "3,4", "--student", STUDENT, "--slots", "1"]
    status, out, err = call(capsys, "study", "rate", *asked, *FLAGS)
    assert status == 0 and out.splitlines()[:4] == ["seed", "3", "4", "Of 2 it cannot be told."] and "seed 4: " in err
    (made,) = study.studies_in(runs, "rate")
    assert made.title == "Momentum 0.5" and made.cells[0].spec.config["momentum"] == 0.5
    shown = json.loads(call(capsys, "study", "show", made.id, "--json")[1])
    assert shown["reading"] == "Of 2 it cannot be told." and [row["seed"] for row in shown["table"]] == [3, 4]


@pytest.mark.parametrize("name", study.available())
def test_no_kind_gives_a_verdict_before_all_that_it_compares_has_ended(name: str) -> None:
    kind, cell = study.find(name), Cell("one", {}, tiny_spec())
    ends = [CellState(cell, Record(), state) for state in ("done", "failed", "done", "running")]
    assert kind.verdict({}, ends, [{"odd": 1}]) == "3 of 4 runs have ended; the verdict waits for all."


@pytest.mark.usefixtures("own")
def test_it_has_inputs_and_its_table_on_a_page(app: AppTest, runs: Path) -> None:
    app.run().switch_page("pages/studies.py").run()
    app.selectbox(key="studies:kind").set_value("rate").run()
    assert not app.exception and app.number_input(key="rate:momentum").value == 9
    app.number_input(key="rate:seeds").set_value(2).run()
    assert any(text.value.startswith("**2 runs**") for text in app.markdown), [text.value for text in app.markdown]
    made = study.find("rate").begin(runs, seeds=[0], run={"student": STUDENT})
    app.query_params["study"] = made.id
    app.run()
    early = "0 of 1 run has ended; the verdict waits for all."
    assert not app.exception and any(early in text.value for text in app.markdown)
    assert app.dataframe[0].value["seed"].tolist() == [0]


@pytest.mark.parametrize("name", study.available())
def test_every_kind_can_be_begun_on_the_page_of_all(app: AppTest, tmp_path: Path, name: str) -> None:
    """Whatever is chosen there, the form beside it hands on nothing that the study varies itself."""
    write_mnist(tmp_path / "data", 1800)
    app.run()
    app.query_params["new"] = "1"
    app.switch_page("pages/studies.py").run()
    app.selectbox(key="studies:kind").set_value(name).run()
    for asked in REQUIRED.get(name, [{}]):
        for field, value in asked.items():
            (box,) = [box for box in (*app.selectbox, *app.text_input) if box.key == f"{name}:{field}"]
            box.set_value(value).run()
        assert not app.exception and not app.button(key="start").disabled
        said = [text.value for text in app.markdown if "runs**" in text.value or ":material/error:" in text.value]
        assert len(said) == 1 and "runs**" in said[0], (asked, said)


def test_studies_are_known_before_torch_is_imported() -> None:
    look = "import sys\nfrom dfkd_core import study\nstudy.available()\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_kind_is_refused_in_one_sentence(runs: Path) -> None:
    with pytest.raises(RequestError, match="should be one of experiment, fig1a, generative, grid, prior"):
        study.find("weather")
    assert Study.create(runs, "weather", "", {}, [Cell("one", {}, tiny_spec())]).kind == "weather"
