"""Runs in the formats of other programs, opened by these programs."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from command import call, refused
from conftest import ROOT, execute, new_run, rows
from documents import Page
from safetensors.torch import save
from torch import Tensor

from dfkd_core.analysis import about, student
from dfkd_core.analysis.formats import FORMATS, make
from dfkd_core.errors import RequestError
from dfkd_core.networks.latent import build_latent_model
from dfkd_core.store import RunFolder, RunStatus
from dfkd_core.teachers.cards import find_card

PIXELS = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = new_run(tmp_path_factory.mktemp("runs"))
    assert execute(folder).state == "done"
    return folder


def expected(folder: RunFolder) -> Tensor:
    """The logits of ``PIXELS``, by the lab's own network."""
    network, image = student.load_student(folder)
    with torch.no_grad():
        return network(image.normalise(PIXELS))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_hold_every_logged_number(done: RunFolder, kind: str) -> None:
    read: Any = {"csv": pd.read_csv, "parquet": pd.read_parquet}[kind]
    table = read(io.BytesIO(make(kind, [done, done])))
    logged = {(row["step"], name): value for row in rows(done, "step") for name, value in row["values"].items()}
    found = {(row.step, row.metric): row.value for row in table.itertuples()}
    assert all(found[key] == pytest.approx(value, rel=1e-6) for key, value in logged.items())
    assert {"accuracy", "agreement"} <= set(table["metric"]) and set(table["run"]) == {done.id}


def test_the_torch_program_gives_the_same_logits(done: RunFolder) -> None:
    program = torch.export.load(io.BytesIO(make("torch", [done]))).module()
    assert torch.allclose(program(PIXELS), expected(done), atol=1e-5)


def test_a_student_is_exported_as_it_was_trained_whatever_is_called_like_its_teacher_now(
    done: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make("safetensors", [done]), student.snippet(done, "torch")
    other = find_card("mnist-lenet5-plain")
    monkeypatch.setattr(student, "find_card", lambda name: other)
    assert (make("safetensors", [done]), student.snippet(done, "torch")) == before


def test_onnxruntime_gives_the_same_logits(done: RunFolder) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `export`: pip install -e '.[export]'")
    pytest.importorskip("onnxscript", reason="needs the extra `export`: pip install -e '.[export]'")
    session = onnxruntime.InferenceSession(make("onnx", [done]))
    (logits,) = session.run(None, {"pixels": PIXELS.numpy()})
    assert torch.allclose(torch.from_numpy(logits), expected(done), atol=1e-4)


@pytest.mark.parametrize("kind", ["safetensors", "torch", "onnx"])
def test_the_lines_that_load_a_student_load_it(
    done: RunFolder, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra `export`: pip install -e '.[export]'")
        pytest.importorskip("onnxscript", reason="needs the extra `export`: pip install -e '.[export]'")
    monkeypatch.chdir(tmp_path)
    file = "student" + Path(FORMATS[kind].ending).suffix
    status, _, said = call(capsys, "export", done.id, file, "--as", kind, "--runs", str(done.path.parent))
    assert status == 0 and student.snippet(done, FORMATS[kind].loads) in said
    names: dict[str, Any] = {}
    exec(student.snippet(done, FORMATS[kind].loads), names)
    network, image = student.load_student(done)
    with torch.no_grad():
        black = network(image.normalise(torch.zeros(1, 1, 8, 8)))
    assert torch.allclose(torch.as_tensor(names["logits"]).detach(), black, atol=1e-4)


def test_a_generative_student_is_loaded_by_its_lines(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_run(runs, method="ukd")
    drawn = build_latent_model("lvae-4", student.image_of(folder)).state_dict()
    folder.files.write(student.WEIGHTS, save(drawn))
    folder.write_manifest()
    monkeypatch.chdir(tmp_path)
    Path("student.safetensors").write_bytes(make("safetensors", [folder]))
    names: dict[str, Any] = {}
    exec(student.snippet(folder, "safetensors"), names)
    assert all(torch.equal(tensor, drawn[name]) for name, tensor in names["student"].state_dict().items())
    with pytest.raises(RequestError, match="safetensors only"):
        make("onnx", [folder])


def test_tensorboard_reads_its_files(done: RunFolder, tmp_path: Path) -> None:
    reason = "needs the extra `export`: pip install -e '.[export]'"
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=reason)
    zipfile.ZipFile(io.BytesIO(make("tensorboard", [done]))).extractall(tmp_path)
    found = events.EventAccumulator(str(tmp_path / done.id)).Reload()
    (last,) = [row["accuracy"] for row in rows(done, "evaluated")][-1:]
    assert found.Scalars("accuracy")[-1].value == pytest.approx(last)


def test_the_report_stands_alone_and_says_what_the_run_says(done: RunFolder) -> None:
    text = make("html", [done]).decode()
    page, result = Page(text), done.status().result
    assert all(one.startswith("data:image/png;base64,") for one in page.asked) and page.asked
    assert "script" not in page.tags and "url(" not in text and "svg" in page.tags
    for words in (f"{result['final']:.2%}", "TA-DFKD", "posterior_cut", done.id, "--iterations 6"):
        assert words in page.said


def test_the_reports_command_starts_the_same_run(done: RunFolder, capsys: Any, tmp_path: Path) -> None:
    command = re.search(r"python -m dfkd_core (train .*)", Page(make("html", [done]).decode()).said)
    assert command is not None
    words = command[1].split("Written by")[0].split()
    status, out, _ = call(capsys, *words, "--json", "--runs", str(tmp_path))
    assert status == 0
    recorded = {"samples_every", "probes_every", "probes", "phases_every", "evaluate_every", "health_every", "data"}
    was, now = ({k: v for k, v in spec.items() if k not in recorded} for spec in (done.spec(), json.loads(out)["spec"]))
    assert now == {key: value for key, value in was.items() if key in now}


def test_a_report_of_a_hostile_run_is_text(runs: Path) -> None:
    evil = "<img src=http://evil.example onerror=alert(1)>\u202e"
    folder = new_run(runs)
    folder.begin_attempt().close()
    term = {"name": evil, "title": evil, "knob": evil, "of": "generator"}
    folder.write_environment(
        1, {"classes": [evil], "phases": [], "terms": [term], "device": evil, "packages": {evil: evil}}
    )
    folder.set_status(RunStatus("failed", evil, 3, 6, 1))
    about.say(folder, name=evil[:-1], note=evil)
    page = Page(make("html", [folder]).decode())
    assert page.asked == [] and "img" not in page.tags and page.said.count("onerror") >= 4
    assert "\u202e" not in page.said


@pytest.mark.parametrize("recorded", ["ta-dfkd", "hidfd", "ukd", "fig-1a-0-both"])
def test_every_recorded_run_has_a_report(recorded: str) -> None:
    assert "<svg" in make("html", [RunFolder(ROOT / "assets" / "recorded" / recorded)]).decode()


def test_what_cannot_be_had_is_a_sentence(capsys: Any, done: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    new = new_run(done.path.parent)
    where = ("--runs", str(done.path.parent))
    assert "has no student's weights" in refused(capsys, "export", new.id, "--as", "onnx", *where)
    with pytest.raises(RequestError, match="of one run"):
        make("html", [done, new])
    for module, kind in (("student", "onnx"), ("metrics", "tensorboard")):
        monkeypatch.setattr(f"dfkd_core.analysis.{module}.find_spec", lambda _: None)
        assert "pip install" in refused(capsys, "export", done.id, "--as", kind, *where)
