"""A run holds on to what it depends on: it is moved without harm, and does not go on with something else unsaid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bringing import own_copy
from command import call
from conftest import TEACHER, execute, metric_rows, new_run, rows, student_hash, tiny_spec, write_mnist
from PIL import Image
from running import commanding

from dfkd_core.data.catalogue import data_folder, data_in, find_benchmark
from dfkd_core.engine import LocalEngine
from dfkd_core.networks.classifiers import build_classifier
from dfkd_core.runs.loop import run
from dfkd_core.runs.spec import read_spec
from dfkd_core.store import RunFolder
from dfkd_core.teachers.bring import import_weights


def stopped(folder: RunFolder) -> RunFolder:
    assert execute(folder, commanding(folder, 2, "stop")).state == "stopped"
    return folder


def bring(tmp_path: Path, seed: int) -> Path:
    """An untrained teacher of digits called ``mine``; the path of its card."""
    torch.manual_seed(seed)
    torch.save(build_classifier("resnet8", find_benchmark("digits").image).state_dict(), tmp_path / "weights.pt")
    for path in (tmp_path / "teachers").glob("mine.*"):
        path.unlink()
    import_weights(tmp_path / "weights.pt", "resnet8", "digits", "mine", tmp_path / "teachers")
    return tmp_path / "teachers" / "mine.json"


def classes(root: Path, level: int = 0) -> Path:
    for digit in range(10):
        (root / str(digit)).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * digit + level).save(root / str(digit) / "0.png")
    return root


# --- it goes on --------------------------------------------------------------------------------------------------


def test_what_a_specification_names_by_a_path_is_absolute(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, images = bring(tmp_path, 0), classes(tmp_path / "images")
    monkeypatch.setenv("DFKD_DATA", "sets")
    monkeypatch.chdir(tmp_path)
    spec = tiny_spec(teacher="teachers/mine.json", benchmark="folder:images")
    assert (spec.teacher, spec.benchmark) == (str(card), f"folder:{images}") and spec.data == str(tmp_path / "sets")
    folder = stopped(RunFolder.create(runs, spec.model_dump()))
    monkeypatch.chdir(runs)
    monkeypatch.setenv("DFKD_DATA", "")
    assert execute(folder).state == "done"


def test_a_run_reads_the_data_that_it_was_given_whatever_the_environment_says(
    tmp_path: Path, runs: Path, mnist_sized_teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "theirs")
    spec = tiny_spec({"iterations": 2}, benchmark="mnist", teacher=mnist_sized_teacher, data=str(tmp_path / "theirs"))
    folder = RunFolder.create(runs, spec.model_dump())
    assert execute(folder).result["measure"] == "accuracy" and data_folder() == tmp_path / "data"
    with data_in(tmp_path / "elsewhere"):
        assert data_folder() == tmp_path / "elsewhere" and not find_benchmark("mnist").is_there()


def test_data_that_were_moved_with_the_usual_folder_are_found_again(
    tmp_path: Path, runs: Path, mnist_sized_teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "data")
    folder = stopped(new_run(runs, benchmark="mnist", teacher=mnist_sized_teacher))
    (tmp_path / "data").rename(tmp_path / "moved")
    status = execute(folder)
    assert status.state == "failed" and "the test images of mnist are no longer there" in status.message
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "moved"))
    assert execute(folder).state == "done"


# --- it is refused, or it is said --------------------------------------------------------------------------------

CHANGED = (
    ("another teacher of that name", "its teacher mine is not the one that it began with"),
    ("its images taken otherwise", "its teacher mine is not the one that it began with"),
    ("other test images", "are not those that it began with"),
    ("an edited seed", "spec.json was edited (seed 0 → 7)"),
    ("edited threads and knobs", "spec.json was edited (threads 1 → 2, student_lr"),
    ("an edit that is sealed", "its specification was edited (seed 0 → 7)"),
)


def begun(kind: str, tmp_path: Path, runs: Path) -> RunFolder:
    """A run that was stopped and has found something changed since."""
    bring(tmp_path, 0)
    images = classes(tmp_path / "images")
    folder = stopped(new_run(runs, teacher="mine", benchmark=f"folder:{images}"))
    spec = read_spec(folder).model_dump(mode="json")
    if kind == "another teacher of that name":
        bring(tmp_path, 1)
    elif kind == "its images taken otherwise":
        path = tmp_path / "teachers" / "mine.json"
        card = json.loads(path.read_text())
        path.write_text(json.dumps(card | {"image": card["image"] | {"mean": [0.9]}}))
    elif kind == "other test images":
        classes(images, level=1)
    elif kind == "an edit that is sealed":
        folder.write_spec({**spec, "seed": 7})
    else:
        knobs = {**spec["config"], "student_lr": 0.05}
        edit = {"seed": 7} if kind == "an edited seed" else {"threads": 2, "config": knobs}
        text = json.loads((folder.path / "spec.json").read_text())
        (folder.path / "spec.json").write_text(json.dumps({**text, **edit}))
    return folder


@pytest.mark.parametrize(("kind", "says"), CHANGED)
def test_a_resume_with_something_else_is_refused_or_written_down(
    tmp_path: Path, runs: Path, kind: str, says: str
) -> None:
    folder = begun(kind, tmp_path, runs)
    before = metric_rows(folder)
    status = execute(folder)
    assert status.state == "failed" and says in status.message and f"resume {folder.id} --insist" in status.message
    assert metric_rows(folder) == before and folder.environment()["accepted"] == []
    status = run(folder, folder.begin_attempt(), insist=True)
    assert status.state == "done", status.message
    (accepted,) = folder.environment()["accepted"]
    said = [row["message"] for row in rows(folder, "status")]
    assert any(f"Goes on although {accepted}" in message for message in said)


def test_what_was_insisted_on_is_what_it_trains_with(tmp_path: Path, runs: Path) -> None:
    folder = begun("edited threads and knobs", tmp_path, runs)
    threads: list[int] = []
    run(folder, folder.begin_attempt(), lambda _: threads.append(torch.get_num_threads()), insist=True)
    assert read_spec(folder).threads == 2 and set(threads) == {2}


def test_what_was_insisted_on_takes_back_the_steps_that_are_trained_otherwise(tmp_path: Path, runs: Path) -> None:
    folder = begun("another teacher of that name", tmp_path, runs)
    for path in (folder.path / "checkpoints").iterdir():
        path.unlink()
    other = RunFolder.create(runs, folder.spec())
    assert run(folder, folder.begin_attempt(), insist=True).state == execute(other).state == "done"
    ours, theirs = ([row["values"] for row in rows(one, "step")] for one in (folder, other))
    assert ours == theirs


def features(folder: RunFolder) -> set[str]:
    return {row["label"] for row in rows(folder, "quality")}


def test_a_better_classifier_that_came_since_does_not_judge_a_run_that_goes_on(runs: Path, few_judged: None) -> None:
    folder = stopped(new_run(runs, method="ukd"))
    before = features(folder)
    own_copy("digits-resnet8-adam", accuracy=1.0)
    assert execute(folder).state == "done" and features(folder) == before
    other = new_run(runs, method="ukd")
    assert execute(other).state == "done" and "mine" in features(other).pop()


def test_a_run_without_a_classifier_to_judge_it_goes_on_without(
    runs: Path, few_judged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dfkd_core.quality.measures.available_teachers", lambda benchmark: {})
        folder = stopped(new_run(runs, method="ukd"))
    assert execute(folder).result["measure"] == "mismatch" and features(folder) == {""}


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_resume_without_what_judged_it_is_refused_or_written_down(
    tmp_path: Path, runs: Path, few_judged: None, change: str
) -> None:
    own_copy("digits-resnet8-adam", accuracy=1.0)
    folder = stopped(new_run(runs, method="ukd"))
    own_copy("digits-resnet8-adam", accuracy=1.0, other=True)
    if change == "gone":
        (tmp_path / "teachers" / "mine.json").unlink()
    status = execute(folder)
    assert status.state == "failed" and "teacher:mine, in whose features" in status.message
    assert "--insist" in status.message
    assert run(folder, folder.begin_attempt(), insist=True).state == "done"
    assert len(features(folder)) == (2 if change == "gone" else 1)
    (accepted,) = folder.environment()["accepted"]
    assert "teacher:mine" in accepted


def test_a_resume_with_another_diffusion_model_of_that_name_is_refused(runs: Path, few_judged: None) -> None:
    own_copy("mnist-unet-32-8px")
    folder = stopped(new_run(runs, {"source": "diffusion"}, method="ukd", diffusion="mine"))
    own_copy("mnist-unet-32-8px", other=True)
    status = execute(folder)
    assert status.state == "failed" and "its diffusion model mine is not the one" in status.message


def test_what_was_insisted_on_is_what_it_holds_on_to(tmp_path: Path, runs: Path) -> None:
    folder = begun("another teacher of that name", tmp_path, runs)
    lease = folder.begin_attempt()
    folder.command("stop")
    assert run(folder, lease, insist=True).state == "stopped"
    assert execute(folder).state == "done"


def test_the_command_line_refuses_in_one_line_and_can_insist(capsys: Any, tmp_path: Path, runs: Path) -> None:
    folder = begun("an edited seed", tmp_path, runs)
    status, out, err = call(capsys, "resume", folder.id, "--runs", str(runs), "--json")
    assert status == 1 and "was edited (seed 0 → 7)" in json.loads(out)["message"]
    status, out, err = call(capsys, "resume", folder.id, "--runs", str(runs), "--insist")
    assert status == 0 and out.startswith("done") and read_spec(folder).seed == 7


def test_a_damaged_specification_is_no_edited_one(runs: Path) -> None:
    folder, whole = stopped(new_run(runs)), new_run(runs)
    (folder.path / "spec.json").write_text("{")
    assert execute(folder).state == execute(whole).state == "done" and student_hash(folder) == student_hash(whole)


def test_a_run_of_another_machine_is_shown_as_such_and_left_alone(runs: Path) -> None:
    folder = new_run(runs, teacher=TEACHER)
    with folder.begin_attempt() as lease:
        folder.set_status(folder.status().__class__("running", step=3))
        owner = {"pid": 1, "host": "gpu-7", "boot": "another", "started": "today", "evidence": "lock", "oom_kills": 0}
        folder.files.write_json(folder.attempt_file(lease.number, "owner.json"), owner)
    before = (folder.path / "status.json").read_bytes()
    engine = LocalEngine(runs, keep_warm=False)
    seen = folder.status_seen()
    engine.close()
    assert seen.state == "running" and "process 1 on gpu-7" in seen.message and "machine" in seen.message
    assert (folder.path / "status.json").read_bytes() == before
