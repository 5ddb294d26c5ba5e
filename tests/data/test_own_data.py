"""Data-free stays true: the teacher's own data are no collected images, unless a person insists, which is said."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import call
from conftest import TEACHER, execute, new_run, write_mnist
from PIL import Image
from streamlit.testing.v1 import AppTest

from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.own import own_data
from dfkd_core.data.sources import find_source
from dfkd_core.data.uploads import unpack, uploads
from dfkd_core.errors import RequestError
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import NOT_DATA_FREE, RunSpec, read_spec
from dfkd_core.store import RunFolder
from dfkd_core.study import find as find_study

FLAGS = ("--method", "collected", "--student", "lenet5-half", "--distill-steps", "1", "--updates", "1")
SIZED = ("--batch-size", "8", "--ratio", "0.02")


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A folder of 60 images that no teacher has seen."""
    random = np.random.default_rng(0)
    return saved(tmp_path / "others", random.integers(0, 256, (60, 8, 8), dtype=np.uint8))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder by class, to be a benchmark."""
    random = np.random.default_rng(1)
    for split in ("train", "test"):
        for digit in range(10):
            saved(tmp_path / "mine" / split / str(digit), random.integers(0, 256, (6, 8, 8), dtype=np.uint8))
    return tmp_path / "mine"


def saved(folder: Path, images: np.ndarray, ending: str = "png", side: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, pixels in enumerate(images):
        Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(folder / f"{index}.{ending}")
    return folder


def digits(train: bool, count: int = 60) -> np.ndarray:
    return find_benchmark("digits").load(train).images[:count, 0].numpy()


def spec(collected: str, **fields: Any) -> RunSpec:
    return make_spec(**{"method": "collected", "teacher": TEACHER, "collected": collected, "ratio": 0.02, **fields})


def refused(collected: str, **fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        spec(collected, **fields)
    assert caught.value.field == "collected" and "\n" not in str(caught.value)
    assert "not be data-free" in str(caught.value) and "--not-data-free true" in str(caught.value)
    marked = spec(collected, **fields, not_data_free=True)
    assert marked.not_data_free and NOT_DATA_FREE in marked.title
    return str(caught.value)


# --- what is refused ---------------------------------------------------------------------------------------------


def test_by_name() -> None:
    assert "the teacher's own data (digits)" in refused("digits")


@pytest.mark.parametrize("inside", ["", "train", "test/3", ".."])
def test_by_folder_inside_folder(mine: Path, inside: str) -> None:
    refused(f"folder:{mine / inside}", benchmark=f"folder:{mine}", ratio=0.04)


def test_by_a_link_to_it(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "innocent").symlink_to(mine / "train")
    refused(f"folder:{tmp_path / 'innocent'}", benchmark=f"folder:{mine}", ratio=0.04)


def test_by_the_folder_of_a_benchmark(tmp_path: Path) -> None:
    raw = write_mnist(tmp_path / "data", 40) / "MNIST" / "raw"
    source = find_source(f"folder:{saved(raw / 'png', digits(True))}")
    assert "lies in the folder of the teacher's own data" in own_data(source, "mnist", find_benchmark("mnist"))


@pytest.mark.parametrize("train", [True, False])
def test_by_what_is_seen_on_them(tmp_path: Path, train: bool) -> None:
    folder = saved(tmp_path / "found", digits(train))
    assert "shows images of the teacher's own data: 60 of 60" in refused(f"folder:{folder}")


@pytest.mark.parametrize(("ending", "side"), [("jpg", 32), ("webp", 48), ("png", 24)])
def test_by_what_is_seen_on_them_in_another_format_and_size(tmp_path: Path, ending: str, side: int) -> None:
    """Pictures as cameras take them, smooth from one pixel to the next."""
    coarse = np.random.default_rng(2).integers(0, 256, (40, 4, 4), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in coarse]
    for digit in range(10):
        saved(tmp_path / "mine" / str(digit), np.stack(smooth[4 * digit : 4 * digit + 4]), side=32)
    folder = tmp_path / "found"
    folder.mkdir()
    for index, pixels in enumerate(smooth):
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index}.{ending}")
    assert "shows images" in refused(f"folder:{folder}", benchmark=f"folder:{tmp_path / 'mine'}", ratio=0.1)


def test_by_what_is_seen_on_a_few_of_them(others: Path) -> None:
    saved(others / "more", digits(True, 5))
    assert "5 of 65" in refused(f"folder:{others}")


def test_by_what_is_seen_on_an_upload(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for path in saved(tmp_path / "found", digits(True)).iterdir():
            made.write(path, f"photos/{path.name}")
    unpack(archive, "photos", uploads())
    assert "shows images of the teacher's own data" in refused("upload:photos")


def test_of_files_that_were_copied(mine: Path, tmp_path: Path) -> None:
    shutil.copytree(mine / "train", tmp_path / "copied")
    assert "shows images" in refused(f"folder:{tmp_path / 'copied'}", benchmark=f"folder:{mine}", ratio=0.04)


# --- what is not -------------------------------------------------------------------------------------------------


def test_other_images_are_no_matter_and_insisting_marks_nothing_then(others: Path) -> None:
    assert spec(f"folder:{others}") == spec(f"folder:{others}", not_data_free=True)
    assert not spec(f"folder:{others}").not_data_free


def test_blank_images_are_alike_and_say_nothing(others: Path) -> None:
    saved(others / "blank", np.zeros((30, 8, 8), np.uint8))
    assert not spec(f"folder:{others}").not_data_free


def test_a_file_that_cannot_be_read_says_nothing(others: Path) -> None:
    (others / "30.png").write_bytes(b"damaged")
    assert not spec(f"folder:{others}").not_data_free


# --- where it is said --------------------------------------------------------------------------------------------


def test_the_command_line_refuses_and_marks(capsys: Any, tmp_path: Path) -> None:
    runs = ("--runs", str(tmp_path / "runs"))
    status, out, err = call(capsys, "train", *FLAGS, *SIZED, "--collected", "digits", *runs)
    assert (status, out) == (2, "") and "not be data-free" in err
    status, out, err = call(capsys, "train", *FLAGS, *SIZED, "--collected", "digits", "--not-data-free", "true", *runs)
    assert status == 0 and NOT_DATA_FREE in out and NOT_DATA_FREE in err
    assert NOT_DATA_FREE in call(capsys, "runs", *runs)[1]
    assert json.loads(call(capsys, "runs", "--json", *runs)[1])["spec"]["not_data_free"]


def test_a_study_of_such_runs_bears_the_mark(runs: Path) -> None:
    run = {"benchmark": "digits", "collected": "digits", "not_data_free": True, "ratio": 0.02}
    study = find_study("experiment").begin(runs, experiment="ablation", seeds=[0], run=run)
    assert study.title.endswith(NOT_DATA_FREE) and all(cell.spec.not_data_free for cell in study.cells)


def test_the_table_of_runs_bears_the_mark(app: AppTest, runs: Path) -> None:
    folder = new_run(runs, {"distill_steps": 1, "updates": 1}, method="collected", collected="digits", ratio=0.02)
    assert execute(folder).state == "done" and read_spec(folder).not_data_free
    app.switch_page("pages/runs.py").run()
    assert not app.exception and app.dataframe[0].value["mark"].tolist() == [NOT_DATA_FREE]


def test_the_page_warns_and_starts_only_what_somebody_insists_on(app: AppTest, tmp_path: Path) -> None:
    folder = saved(tmp_path / "found", digits(True))
    app.query_params.update({"method": "hidfd", "collected": f"folder:{folder}", "ratio": "0.02"})
    app.run()
    assert "60 of 60 that were compared: a run with them is not data-free" in app.warning[0].value.replace("\\", "")
    app.button(key="start").click().run()
    assert "not be data-free" in app.error[0].value and "run" not in app.query_params
    app.checkbox(key=f"form:insists:digits:folder:{folder}").check().run()
    app.button(key="start").click().run()
    assert not app.error and read_spec_of(app, tmp_path).not_data_free


def read_spec_of(app: AppTest, tmp_path: Path) -> RunSpec:
    given = app.query_params["run"]
    return read_spec(RunFolder(tmp_path / "runs" / (given if isinstance(given, str) else given[0])))
