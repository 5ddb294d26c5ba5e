"""How networks compute: in which precision, and that losses never notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, TEACHER, execute, new_run, rows, some_methods, tiny_method
from torch.utils._python_dispatch import TorchDispatchMode

from dfkd_core.errors import RequestError
from dfkd_core.losses.bn_statistics import observe
from dfkd_core.networks.execution import Execution, executing
from dfkd_core.runs.request import make_spec
from dfkd_core.store import RunFolder
from dfkd_core.teachers.load import load_teacher

CPU = torch.device("cpu")
INSTALLED_WITH_TORCH = (
    "torch", "torchvision", "functorch", "torchgen", "pydantic", "pydantic_core", "annotated_types", "safetensors",
    "typing_extensions", "typing_inspection", "torchmetrics", "lightning_utilities", "tqdm", "psutil", "PIL", "numpy",
    "scipy", "sklearn", "joblib", "threadpoolctl", "packaging", "sympy", "mpmath", "networkx", "jinja2", "markupsafe",
    "filelock", "fsspec", "triton", "setuptools", "cuda", "nvidia", "narwhals", "hypothesis", "sortedcontainers",
    "cloudpickle",
)  # fmt: skip


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_bf16_is_what_convolutions_compute_in_and_float32_what_comes_out(images: torch.Tensor) -> None:
    teacher = load_teacher("digits-resnet20-plain")[0]
    inside: list[torch.dtype] = []
    teacher.stages["stage1"].register_forward_hook(lambda *given: inside.append(given[2].dtype))
    exact = teacher.features(images)
    with executing(Execution(CPU, "bf16")):
        seen, distance = observe(teacher, images)
        logits = teacher(images)
    assert inside == [torch.float32, torch.bfloat16, torch.bfloat16]
    found = [seen.logits, seen.pooled, *seen.maps.values(), distance, logits]
    assert {one.dtype for one in found} == {torch.float32}
    assert not torch.equal(logits, exact.logits)
    torch.testing.assert_close(logits, exact.logits, rtol=0.05, atol=0.05 * float(exact.logits.abs().max()))


def test_it_ends_with_the_block(images: torch.Tensor) -> None:
    teacher = load_teacher(TEACHER)[0]
    before, switches = teacher(images), (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    with pytest.raises(KeyError), executing(Execution(CPU, "bf16"), deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert torch.equal(teacher(images), before) and not torch.are_deterministic_algorithms_enabled()
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark) == switches


@pytest.mark.parametrize("method", some_methods("ta-dfkd", "hidfd", "ukd"))
@pytest.mark.usefixtures("few_judged")
def test_every_method_runs_in_bf16_and_records_as_ever(method: str, runs: Path) -> None:
    folder = new_run(runs, method=method, precision="bf16")
    status = execute(folder)
    assert status.state == "done", status.message
    exact = new_run(runs, method=method)
    execute(exact)
    assert first_loss(folder) == pytest.approx(first_loss(exact), rel=0.1, abs=0.05)
    assert first_loss(folder) != first_loss(exact)


def first_loss(folder: RunFolder) -> float:
    values: dict[str, float] = rows(folder, "step")[0]["values"]
    return next(iter(values.values()))


@pytest.mark.parametrize(
    ("asked", "resolved"),
    [({}, ("float32", "off")), ({"precision": "bf16", "compile": "off"}, ("bf16", "off"))],
)
def test_what_is_left_to_the_lab_is_decided_before_a_run_begins(asked: Any, resolved: tuple[str, str]) -> None:
    spec = make_spec(**asked)
    assert (spec.precision, spec.compile) == resolved


@pytest.mark.parametrize("asked", [{"precision": "tf32"}, {"compile": "on"}])
def test_what_only_a_gpu_can_do_is_refused_on_a_cpu(asked: Any) -> None:
    with pytest.raises(RequestError, match="GPUs") as caught:
        make_spec(**asked)
    assert caught.value.field == next(iter(asked))


class Asking(TorchDispatchMode):
    """Counts the operations for which a GPU would make its host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.__name__.partition(".")[0]
        if name in ("_local_scalar_dense", "nonzero", "bincount", "equal", "masked_select", "unique"):
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("augmentation", ["none", "crop+flip"])
def test_no_part_of_a_step_asks_the_host_but_the_selection(augmentation: str) -> None:
    method = tiny_method({"augmentation": augmentation}, health_every=0, phases_every=0)  # both may ask
    with Asking() as asking:
        seen = next(method.steps())
        method.student_phase(seen)
        method.generator_step(seen)
    assert not asking.found


@pytest.mark.slow
def test_the_gpus_benchmark_takes_no_package_that_its_machine_lacks(tmp_path: Path) -> None:
    others = {name for name in packages_distributions() if name not in INSTALLED_WITH_TORCH and name[0] != "_"}
    assert {"streamlit", "cyclopts", "pandas", "plotly"} <= others
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({others!r}))
sys.argv = ["gpu", "--device", "cpu", "--quick", "--parts", "resume"]
import benchmarks.report
from pathlib import Path
benchmarks.report.RESULTS = Path({str(tmp_path)!r})
benchmarks.report.ROOT = Path({str(tmp_path)!r})
runpy.run_module("benchmarks.gpu", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (kept,) = tmp_path.glob("gpu-resume-quick.json")
    (row,) = json.loads(kept.read_text())["rows"]
    assert row["met"] and row["measured"] == "same", row
