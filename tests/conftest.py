"""Helpers of all tests. Runs are tiny: digits, batches of 16, a handful of steps, one thread."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
import streamlit.logger
import torch
from _pytest.mark import ParameterSet
from browser import (  # noqa: F401 - fixtures of the tests that drive a browser
    FOLDERS,
    browser,
    lab,
    mortal_lab,
    page,
    server,
    window,
)
from forked import spawn
from PIL import Image
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from dfkd_core import engine as engines
from dfkd_core import methods
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.engine import LocalEngine, local
from dfkd_core.errors import StoreError
from dfkd_core.events import REPLAYED, Event
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.recording import Recording
from dfkd_core.networks.classifiers import build_classifier
from dfkd_core.runs import latent_evaluation as generative_evaluation
from dfkd_core.runs.assemble import assemble
from dfkd_core.runs.loop import run
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.selection.collected import Predictor
from dfkd_core.store import EventReader, Place, RunFolder, RunStatus
from dfkd_core.teachers.bring import import_weights
from dfkd_core.teachers.load import load_teacher
from pages.ui import boot

ROOT = Path(__file__).resolve().parent.parent
TEACHER = "digits-lenet5-bn-mixup"  # a third as many layers as the benchmark's usual one
STUDENT = "lenet5-half-bn"  # small, and with BatchNorm
TINY = {"epochs": 1, "iterations": 6, "student_steps": 2, "batch_size": 16, "latent": 8, "width": 4}
TINY_STAGES = {"gan_steps": 3, "distill_steps": 3, "updates": 1, "gan_batch_size": 16, "synthetic": 40, "warm_up": 2}
TINY_SYNTHESIS = {"synthesis_batches": 3, "synthesis_size": 8, "latent_steps": 2, "denoising_steps": 2}
TINY_POOL = {"synthesis_steps": 2, "warm_steps": 1}
NETWORKS = {"classifier": (TEACHER, STUDENT), "generative": ("digits-lvae-32", "lvae-4")}
"""Teacher and student of tiny runs, by what a method distils."""
REPLAYED_TYPES = {event.__name__.lower() for event in REPLAYED}


def _told_to_pytest(logger: logging.Logger) -> None:
    """Not to standard error as it is now, which Streamlit would keep: that of one test is closed when the next logs."""
    logger.propagate = True


streamlit.logger.setup_formatter = _told_to_pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def packages_scanned_once() -> Iterator[None]:
    """Streamlit looks for components in the metadata of all that is installed, whenever an app is tested: a third of
    the time of such tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's runs, data or teachers."""
    for name in FOLDERS:
        monkeypatch.setenv(f"DFKD_{name.upper()}", str(tmp_path / name))


@pytest.fixture(autouse=True)
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines in this process need not wait until each of their workers has imported torch."""
    monkeypatch.setattr(local, "_spawn", spawn)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The lab without a browser, its engine ready, without the idle worker that would import torch in each of hundreds
    of tests; at the end nothing that it started is left."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(engines, "LocalEngine", partial(LocalEngine, keep_warm=False))
    boot.start.cache_clear()
    assert boot.start().begin().ready.wait(120) and not boot.start().error
    yield AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    engine = boot.start().engine
    assert engine is not None
    for run_id in engine.poll():
        with suppress(StoreError):  # it was never started
            engine.stop(run_id)
    engine.close()
    st.cache_resource.clear()
    boot.start.cache_clear()


def visit(app: AppTest, page: str, **address: str) -> AppTest:
    """``app`` on ``page``, come to by a link, which does not fail."""
    app.query_params.update(address)
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception, app.exception
    return app


# --- runs ------------------------------------------------------------------------------------------------------


def tiny_knobs(method: str) -> dict[str, Any]:
    """What makes a run of ``method`` take a fraction of a second: six steps, at most."""
    found = methods.find(method)
    source = {"source": "latents"} if found.requires.task == "generative" else {}
    tiny = TINY | TINY_STAGES | TINY_SYNTHESIS | TINY_POOL | source
    return {name: value for name, value in tiny.items() if name in found.Config.model_fields}


def tiny_spec(knobs: dict[str, Any] | None = None, **fields: Any) -> RunSpec:
    """A checked specification of a run that takes a fraction of a second."""
    teacher, student = NETWORKS[methods.find(fields.get("method", "ta-dfkd")).requires.task]
    given = {
        "teacher": teacher,
        "student": student,
        "collected": "digits",  # for methods that collect: the only images that every machine has,
        "not_data_free": True,  # though they are the teacher's own
        "samples_every": 3,
        "evaluate_every": 2,
        "health_every": 3,
        "probes_every": 2,
        "probes": 8,
        "phases_every": 4,
    }
    return make_spec({**tiny_knobs(fields.get("method", "ta-dfkd")), **(knobs or {})}, **{**given, **fields})


def new_run(runs: Path, knobs: dict[str, Any] | None = None, **fields: Any) -> RunFolder:
    """The folder of a tiny run that has not been started."""
    return RunFolder.create(runs, tiny_spec(knobs, **fields).model_dump())


def execute(folder: RunFolder, progress: Callable[[Event], None] | None = None) -> RunStatus:
    """One more attempt, in this process."""
    return run(folder, folder.begin_attempt(), progress)


def result_after(seconds: float) -> dict[str, Any]:
    """What a run says at its end, without scores."""
    return {"measure": "accuracy", "final": None, "best": None, "teacher": None, "seconds": seconds}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def tiny(runs: Path) -> RunFolder:
    return new_run(runs)


def rows(folder: RunFolder, *types: str) -> list[dict[str, Any]]:
    """The rows of a run's log, all or those of the given types."""
    return [row for row in EventReader(folder).read() if not types or row["type"] in types]


def metric_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """What has to be the same after a resume: every row that repeats, without its number and its time."""
    return [
        {key: value for key, value in row.items() if key not in ("seq", "elapsed")}
        for row in rows(folder, *REPLAYED_TYPES)
    ]


def student_hash(folder: RunFolder) -> str:
    return hashlib.sha256((folder.path / "student.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def few_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of generative models are evaluated on a few images: what comes out is not looked at."""
    monkeypatch.setattr(generative_evaluation, "SAMPLES", 24)
    monkeypatch.setattr(generative_evaluation, "RECONSTRUCTED", 12)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no run may touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "thesis.tex").write_text("the only copy")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What drives a browser can be left out, or chosen."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can write into a run's folder; permissions alone would not stop root."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Place, "write", refuse)


# --- methods ---------------------------------------------------------------------------------------------------


ALIKE = (
    "dafl", "dfad", "ddad", "dfq", "zskt", "deepinversion", "fast", "spaceshipnet", "nayer", "degan", "dfnd",
    "collected",
)  # fmt: skip
"""Methods of which each stands on the same parts of the kit as one that is not here."""


def some_methods(*differ: str) -> list[ParameterSet]:
    """Every method, for a test that takes a second or more for each; slow but for those that ``differ`` in what is
    tested, or for those that are not ``ALIKE``."""
    quick = differ or [name for name in methods.available() if name not in ALIKE]
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in quick)) for name in methods.available()]


def tiny_method(knobs: dict[str, Any] | None = None, seed: int = 0, **recording: int) -> Any:
    """TA-DFKD on digits without a run around it."""
    network, card = load_teacher(TEACHER)
    torch.manual_seed(seed)
    student = build_classifier(STUDENT, card.image.spec())
    problem = Problem(network, student, card.image.spec(), torch.device("cpu"), recording=Recording(**recording))
    found = methods.find("ta-dfkd")
    return found(problem, found.Config.build("demo", {**TINY, **(knobs or {})}))


# --- data and teachers -----------------------------------------------------------------------------------------


@pytest.fixture
def mnist_sized_teacher(tmp_path: Path) -> str:
    """The name of an untrained teacher of MNIST, among the user's own."""
    torch.manual_seed(0)
    weights = tmp_path / "weights.pt"
    torch.save(build_classifier("lenet5", find_benchmark("mnist").image).state_dict(), weights)
    return import_weights(weights, "lenet5", "mnist", "untrained", tmp_path / "teachers").name


def write_mnist(folder: Path, count: int = 12, dataset: str = "MNIST") -> Path:
    """A few random digits in the files that torchvision reads; the labels are 0, 1, 2 …"""
    raw = folder / dataset / "raw"
    raw.mkdir(parents=True)
    for part, images in (("train", count), ("t10k", count // 2)):
        pixels = np.random.default_rng(images).integers(0, 256, (images, 28, 28), dtype=np.uint8)
        header = np.array([0x803, images, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = np.array([0x801, images], ">i4").tobytes()
        labels = np.arange(images, dtype=np.uint8) % 10
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return folder


# --- collected images ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher() -> Predictor:
    network, card = load_teacher(TEACHER)
    return Predictor(network, card.image.spec(), torch.device("cpu"))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """400 different images in three folders, at different depths; all file names differ."""
    root = tmp_path / "pets"
    random = np.random.default_rng(0)
    for index in range(400):
        folder = root / ("cat", "dog/small", "emu")[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image-{index}.png")
    return root


def keys(images: torch.Tensor | None) -> list[bytes]:
    """Images as what they are told apart by."""
    return [] if images is None else [image.numpy().tobytes() for image in images]


def collected_by(spec: RunSpec) -> torch.Tensor:
    """The images that a run of ``spec`` collects."""
    _, problem, _ = assemble(spec)
    assert isinstance(problem, Problem) and problem.collected is not None
    return problem.collected


# --- processes -------------------------------------------------------------------------------------------------


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until ``condition`` gives something true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"still not so after {seconds} s")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``python ARGUMENTS`` in the background; whatever still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was never stopped: the oracle."""
    folder = new_run(tmp_path_factory.mktemp("whole"))
    assert execute(folder).state == "done"
    return folder


@pytest.fixture
def steered(runs: Path) -> RunFolder:
    """A run that is paused after its first step, in another thread; it is stopped at the end of the test."""
    folder = new_run(runs, {"iterations": 500})
    lease = folder.begin_attempt()
    folder.command("pause")
    threading.Thread(target=run, args=(folder, lease), daemon=True).start()
    eventually(lambda: folder.status().state == "paused" and (folder.path / "checkpoints/step-00000001.json").exists())
    yield folder
    folder.command("stop")
    eventually(lambda: folder.status().state == "stopped")
