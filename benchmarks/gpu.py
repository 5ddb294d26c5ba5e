"""What a GPU makes of the lab, in order of worth: ``python -m benchmarks.gpu --minutes 8``.

Each part has a share of the minutes, and what it found is printed and written as it comes, so that a run which is
broken off has shown something. It needs torch, torchvision, pydantic, safetensors, torchmetrics, tqdm, psutil, pillow,
numpy, scipy and scikit-learn, and no network. ``--device cpu --quick`` tries it on a machine without a GPU.

1. ``methods``: each takes ten steps in float32 and in bf16.
2. ``paper``: TA-DFKD at the paper's settings, by precision and by part; ``--released PATH`` puts the authors' code
   beside it (benchmarks/paper.py).
3. ``memory``: the peak that is foretold against the one that is measured.
4. ``small``: presets for small networks against two CPU cores, and accuracy on digits in bf16 and float32.
5. ``resume``: a run that was broken off ends with the same bits, with ``deterministic``.
6. ``cifar``: a teacher of CIFAR-10 (class folders in ``DFKD_DATA``/cifar10), then students of it for the rest of the
   time.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_step import Bench, paper
from benchmarks.paper import IMAGE
from benchmarks.report import Report, Row, at_most, keep, say
from dfkd_core import methods
from dfkd_core.data.catalogue import data_folder, find_benchmark
from dfkd_core.errors import RequestError
from dfkd_core.events import Evaluated, Event, Step
from dfkd_core.networks.execution import Execution, executing
from dfkd_core.runs.assemble import assemble, seed_step
from dfkd_core.runs.loop import borrowed, run
from dfkd_core.runs.memory import foretold_peak
from dfkd_core.runs.request import make_spec
from dfkd_core.runs.spec import RunSpec
from dfkd_core.store import EventReader, RunFolder
from dfkd_core.teachers.cards import ImageCard, Recipe, TeacherCard
from dfkd_core.teachers.make import train_teacher

SHARES = {"methods": 0.22, "paper": 0.34, "memory": 0.05, "small": 0.15, "resume": 0.05, "cifar": 1.0}
BRIEF = {
    "epochs": 1, "iterations": 10, "updates": 1, "gan_steps": 5, "distill_steps": 5, "synthetic": 64,
    "synthesis_batches": 2, "synthesis_size": 16, "latent_steps": 2, "denoising_steps": 2,
    "synthesis_steps": 2, "warm_steps": 1,
}  # fmt: skip
SILENT: dict[str, Any] = dict.fromkeys(("samples_every", "probes_every", "health_every", "phases_every", "real"), 0)


# --- 1. every method -------------------------------------------------------------------------------------------------


WAYS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32", "deterministic": True},
    "float32 without graphs": {"precision": "float32", "deterministic": True, "compile": "off"},
    "bf16": {"precision": "bf16"},
}


def all_methods(bench: Bench) -> Iterator[Row]:
    for name in methods.available():
        if bench.late():
            return
        found: dict[str, list[dict[str, float]]] = {}
        for way, fields in WAYS.items():
            try:
                spec = brief_spec(name, bench, **fields)
                values = [event.values for event in trained(spec) if isinstance(event, Step)]
            except Exception as error:  # a row says it, and the others go on
                yield Row(f"{name}, ten steps, {way}", f"{type(error).__name__}: {error}", "no failure", False)
                continue
            if not all(math.isfinite(number) for row in values for number in row.values()):
                yield Row(f"{name}, ten steps, {way}", "not finite", "finite", False)
            found[way] = values
        if len(found) == len(WAYS):
            replayed = max(_gap(*rows) for rows in zip(found["float32"], found["float32 without graphs"], strict=True))
            lowered = _gap(found["float32"][0], found["bf16"][0])
            text = f"{lowered:.2%}; graphs change them by {replayed:.2%} within ten"
            yield at_most(0.05, f"{name}: losses of the first step, bf16 against float32", text, lowered, "≤ 5 %")


def _gap(one: dict[str, float], other: dict[str, float]) -> float:
    """The largest difference of a loss, as a share of it."""
    names = [name for name in one if "loss" in name or name == "output_kl"]
    return max(abs(one[name] - other[name]) / max(abs(one[name]), abs(other[name]), 1e-2) for name in names)


def brief_spec(name: str, bench: Bench, **asked: Any) -> RunSpec:
    found = methods.find(name)
    knobs: dict[str, Any] = {knob: value for knob, value in BRIEF.items() if knob in found.Config.model_fields}
    fields: dict[str, Any] = {"collected": "digits", "not_data_free": True} if found.requires.collected else {}
    if found.requires.task == "generative" and "source" in found.Config.model_fields:
        knobs["source"] = "latents"
    due = {"samples_every": 5, "phases_every": 5, "health_every": 5}
    return make_spec(knobs, method=name, device=str(bench.device), **due, **fields, **asked)


def trained(spec: RunSpec) -> list[Event]:
    """The events of a whole run, without a folder."""
    with borrowed(spec):
        method = assemble(spec)[2]
        events: list[Event] = []
        training = method.train()
        for _ in range(spec.total_steps):
            seed_step(spec.seed, method.step + 1)
            for event in training:
                events.append(event)
                if isinstance(event, Step):
                    break
        return events


# --- 3. memory -------------------------------------------------------------------------------------------------------


def memory(bench: Bench) -> Iterator[Row]:
    if not bench.on_gpu:
        return
    for name, precision, batch in (("ta-dfkd", "bf16", 1024), ("ta-dfkd", "float32", 1024), ("dafl", "bf16", 512)):
        if bench.late():
            return
        card = _blank_teacher(bench)
        changes: dict[str, Any] = (
            {"batch_size": batch, "student_steps": 3} if name == "ta-dfkd" else {"batch_size": batch}
        )
        fields: dict[str, Any] = {
            "benchmark": card.benchmark,
            "teacher": _path(card),
            "student": "resnet18",
            "preset": "paper",
        }
        spec = make_spec(
            changes, method=name, device=str(bench.device), precision=precision, compile="off", **SILENT, **fields
        )
        with borrowed(spec):
            foretold = foretold_peak(spec) or 0
            torch.cuda.empty_cache()
            method = assemble(spec)[2]
            torch.cuda.reset_peak_memory_stats()
            list(islice((event for event in method.train() if isinstance(event, Step)), 2))
            peak = torch.cuda.max_memory_allocated()
            del method
        off = foretold / peak - 1
        text = f"{foretold / 2**30:.2f} GiB against {peak / 2**30:.2f} GiB: {off:+.1%}"
        yield at_most(
            0.15, f"{name}, {precision}, B = {batch}: peak foretold against measured", text, abs(off), "± 15 %"
        )


def _blank_teacher(bench: Bench) -> TeacherCard:
    """A ResNet-34 that was never trained, of images that nobody has."""
    from dfkd_core.networks.classifiers import build_classifier
    from dfkd_core.teachers.make import store_teacher

    folder = Path(os.environ["DFKD_TEACHERS"])
    about = ImageCard(channels=3, size=32, mean=IMAGE.mean, std=IMAGE.std, classes=IMAGE.classes)
    named: dict[str, Any] = {
        "name": "blank",
        "title": "untrained",
        "benchmark": f"folder:{folder}",
        "network": "resnet34",
    }
    torch.manual_seed(0)
    return store_teacher(build_classifier("resnet34", IMAGE), TeacherCard(**named, image=about), folder)


def _path(card: TeacherCard) -> str:
    return str(Path(os.environ["DFKD_TEACHERS"]) / f"{card.name}.json")


# --- 4. small networks -----------------------------------------------------------------------------------------------


def small(bench: Bench) -> Iterator[Row]:
    settings: list[tuple[str, str, str]] = [("digits", "ta-dfkd", "demo"), ("digits", "dafl", "demo")]
    if find_benchmark("mnist").is_there():
        settings += [("mnist", "ta-dfkd", "cpu")]
    for benchmark, method, preset in settings:
        if bench.late():
            return
        asked: dict[str, Any] = {"benchmark": benchmark, "method": method, "preset": preset, **SILENT}
        ours = pace(make_spec(device=str(bench.device), **asked), bench)
        plain = pace(make_spec(device=str(bench.device), compile="off", **asked), bench) if bench.on_gpu else ours
        theirs = pace(make_spec(device="cpu", threads=2, **asked), bench)
        ratio = ours / theirs
        text = f"{ours * 1e3:.1f} ms ({plain * 1e3:.1f} ms without graphs) against {theirs * 1e3:.0f} ms: {ratio:.2f}"
        yield at_most(0.7, f"{benchmark}, {method}, preset {preset}: a step against two CPU cores", text, ratio)
    seeds = 1 if bench.quick else 5
    asks = [(precision, seed) for seed in range(seeds) for precision in ("float32", "bf16")]
    with ProcessPoolExecutor(1 if bench.quick else 5, get_context("spawn")) as pool:
        jobs = [pool.submit(accuracy, str(bench.device), precision, seed, bench.quick) for precision, seed in asks]
        found = [job.result() for job in jobs]
    scores = {
        way: [score for (one, _), score in zip(asks, found, strict=True) if one == way] for way in ("float32", "bf16")
    }
    gaps = [low - full for low, full in zip(scores["bf16"], scores["float32"], strict=True)]
    spread = statistics.stdev(gaps) / len(gaps) ** 0.5 * 2.78 if len(gaps) > 1 else 0.0  # t(4), 95 %
    mean = statistics.mean(gaps)
    listed = "; ".join(f"{way} {', '.join(f'{score:.3f}' for score in of)}" for way, of in scores.items())
    what = f"digits, ta-dfkd demo, final accuracy, {seeds} seeds: bf16 − float32"
    yield Row(what, f"{mean:+.4f} ± {spread:.4f} ({listed})", "0 within", abs(mean) <= max(spread, 1e-9), mean)


def pace(spec: RunSpec, bench: Bench) -> float:
    """Median seconds of a step."""
    with borrowed(spec):
        method = assemble(spec)[2]
        training = (event for event in method.train() if isinstance(event, Step))
        on_gpu = spec.device != "cpu"
        warm, steps = (1, 1) if bench.quick else ((12, 30) if on_gpu else (2, 8))
        taken = []
        for index in range(warm + steps):
            seed_step(spec.seed, index + 1)
            started = time.perf_counter()
            next(training)
            bench.wait()
            taken.append(time.perf_counter() - started)
        return statistics.median(taken[warm:])


def accuracy(device: str, precision: str, seed: int, quick: bool) -> float:
    """Final accuracy of a whole run."""
    torch.set_num_threads(1)
    changes = {"epochs": 1, "iterations": 3} if quick else {}
    spec = make_spec(changes, device=device, precision=precision, seed=seed, evaluate_every=100, **SILENT)
    with tempfile.TemporaryDirectory() as folder:
        return float(finished(Path(folder), spec)[1]["final"])


def finished(runs: Path, spec: RunSpec) -> tuple[RunFolder, dict[str, Any]]:
    """The folder and the result of a run to its end."""
    folder = RunFolder.create(runs, spec.model_dump())
    status = run(folder, folder.begin_attempt())
    if status.state != "done":
        raise RequestError("run", status.state, status.message)
    return folder, status.result


# --- 5. resume -------------------------------------------------------------------------------------------------------


def resume(bench: Bench) -> Iterator[Row]:
    knobs = {"epochs": 2, "iterations": 10}
    asked: dict[str, Any] = {"device": str(bench.device), "deterministic": True, "checkpoint_seconds": 0.0, **SILENT}
    with tempfile.TemporaryDirectory() as runs:
        spec = make_spec(knobs, **asked)
        whole, _ = finished(Path(runs) / "whole", spec)
        broken = RunFolder.create(Path(runs) / "broken", spec.model_dump())

        def stop_at_seven(event: Event) -> None:
            if isinstance(event, Step) and event.step == 7:
                broken.command("stop")

        run(broken, broken.begin_attempt(), stop_at_seven)
        assert EventReader(broken).read()[-1]["type"] == "status" and broken.status().step < spec.total_steps
        run(broken, broken.begin_attempt())
        one, other = ((folder.path / "student.safetensors").read_bytes() for folder in (whole, broken))
        same = one == other
    yield Row(
        "digits, deterministic, stopped and resumed: the student's bits", "same" if same else "differ", "same", same
    )


# --- 6. CIFAR-10 -----------------------------------------------------------------------------------------------------


def cifar(bench: Bench) -> Iterator[Row]:
    data = data_folder() / "cifar10"
    if not data.is_dir() or bench.late():
        return
    started, until = time.monotonic(), bench.until
    teacher = bench.teacher
    if not teacher:
        card = _cifar_teacher(bench, data)
        teacher = _path(card)
        yield Row(
            "CIFAR-10 (JPEG copy): ResNet-34 trained", f"{card.accuracy:.2%} in {time.monotonic() - started:.0f} s"
        )
    for index, method in enumerate(("ta-dfkd", "dafl")):
        share = (until - time.monotonic()) / (2 - index)
        if share < 20:
            return
        yield _student_of(bench, data, teacher, method, share)


def _cifar_teacher(bench: Bench, data: Path) -> TeacherCard:
    classes = tuple(sorted(folder.name for folder in (data / "train").iterdir()))
    about = ImageCard(channels=3, size=32, mean=IMAGE.mean, std=IMAGE.std, classes=classes)
    recipe = Recipe(
        kind="classifier", epochs=1 if bench.quick else 14, batch_size=256, learning_rate=0.2, augment="shift"
    )
    network = "resnet8" if bench.quick else "resnet34"
    named: dict[str, Any] = {
        "name": "cifar",
        "title": "of this benchmark",
        "benchmark": f"folder:{data}",
        "network": network,
    }
    card = TeacherCard(**named, image=about, recipe=recipe)
    with executing(Execution(bench.device, "bf16")):
        return train_teacher(card, Path(os.environ["DFKD_TEACHERS"]), device=str(bench.device))


def _student_of(bench: Bench, data: Path, teacher: str, method: str, seconds: float) -> Row:
    """As many steps as fit; the accuracy on the way."""
    asked: dict[str, Any] = {
        "benchmark": f"folder:{data}",
        "teacher": teacher,
        "student": "resnet18",
        "preset": "paper",
        **SILENT,
    }
    settings: dict[str, dict[str, Any]] = {
        "ta-dfkd": {"adversarial": "l1", "student_lr": 0.1},
        "dafl": {"batch_size": 512, "student_lr": 0.1},
    }
    knobs = {**settings[method], "epochs": 1000, "iterations": 10}
    spec = make_spec(knobs, method=method, device=str(bench.device), compile="off", **asked)
    pace_of = pace(spec, bench)
    steps = max(2, int(0.8 * (seconds - 15) / pace_of)) if not bench.quick else 2
    spec = make_spec({**knobs, "epochs": max(1, steps // 10)}, method=method, device=str(bench.device), compile="off",
                     evaluate_every=max(1, steps // 8), **asked)  # fmt: skip
    with tempfile.TemporaryDirectory() as runs:
        folder, result = finished(Path(runs), spec)
        curve = [
            f"{row['accuracy']:.3f} at {row['elapsed']:.0f} s"
            for row in EventReader(folder).read()
            if row["type"] == Evaluated.__name__.lower()
        ]
    what = f"CIFAR-10, {method}, ResNet-34 → ResNet-18, {spec.total_steps} steps of {pace_of:.2f} s"
    return Row(
        what, f"final {result['final']:.3f}, best {result['best']:.3f} ({'; '.join(curve)})", value=result["final"]
    )


# --- the command -----------------------------------------------------------------------------------------------------


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "methods": all_methods, "paper": paper, "memory": memory, "small": small, "resume": resume, "cifar": cifar,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--released", type=Path, help="a checkout of the authors' repository")
    parser.add_argument("--teacher", default="", help="a card of CIFAR-10, instead of training one")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="only try the command; the figures mean nothing")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    bench = Bench(asked.device, asked.quick, asked.released, asked.teacher)
    end = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory() as teachers:
        os.environ["DFKD_TEACHERS"] = teachers
        for name in asked.parts:
            bench.until = min(end, time.monotonic() + SHARES[name] * 60 * asked.minutes)
            started, rows = time.monotonic(), []
            try:
                for row in PARTS[name](bench):
                    rows.append(row)
                    print(row.markdown(), flush=True)
            except Exception as error:  # the other parts are worth their time
                rows.append(Row(name, f"{type(error).__name__}: {error}", "no failure", False))
                print(rows[-1].markdown(), flush=True)
            say(f"{name}: {time.monotonic() - started:.0f} s")
            keep("gpu", Report(rows, part=name), asked.quick)


if __name__ == "__main__":
    main()
