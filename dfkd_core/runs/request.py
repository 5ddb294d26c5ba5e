"""The checks that a request has to pass before anything is started; what passes is a ``RunSpec``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from dfkd_core import methods
from dfkd_core.data.catalogue import BENCHMARKS, Benchmark, data_folder, data_in, find_benchmark, usual_of
from dfkd_core.data.own import own_data, saw_data_of
from dfkd_core.data.sources import Folder, check_collected, find_source, usual_ratio, usual_source, wanted
from dfkd_core.errors import RequestError, in_words, validated
from dfkd_core.kit.config import MethodConfig
from dfkd_core.networks.classifiers import check_network, fitted, title_of
from dfkd_core.networks.known import of_network
from dfkd_core.networks.latent import MOST_WIDTH, latent_network
from dfkd_core.networks.weights import WeightsError
from dfkd_core.runs.spec import CLUSTER_DEVICES, NOT_DATA_FREE, RunSpec
from dfkd_core.synthesis.stable_diffusion import INSTALL, MODEL
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card
from dfkd_core.teachers.load import has_batch_norm

OF_COLLECTED = ("collected", "ratio", "collecting", "not_data_free")
INSIST = "--not-data-free true"
WORTH_COMPILING = 10_000_000  # images that networks see in a run: torch.compile takes about 40 s, and saves a fifth


def make_spec(changes: dict[str, Any] | None = None, **fields: Any) -> RunSpec:
    """A checked, fully resolved specification: ``changes`` are the method's knobs on top of the preset. Paths in it are
    absolute, so that it says the same wherever it is read.

    Raises ``RequestError`` with the first thing that is wrong.
    """
    asked = validated(RunSpec, fields)
    with data_in(asked.data):
        return _resolved(asked, changes, fields)


def _resolved(asked: RunSpec, changes: dict[str, Any] | None, fields: dict[str, Any]) -> RunSpec:
    method = methods.find(asked.method)
    preset = asked.preset if asked.preset in method.Config.presets or "preset" in fields else ""
    config = method.Config.build(preset, changes if changes is not None else asked.config)
    task = method.requires.task
    card, _ = find_card(asked.teacher or usual_teacher(asked.benchmark, task))
    if card.task != task:
        raise RequestError("teacher", card.name, f"is a {card.task} network; {method.title} takes a {task} one.")
    method.take(config, of_network(card.network))
    benchmark = find_benchmark(asked.benchmark, card.image.spec())
    student = asked.student or usual_student(asked.benchmark, task, card.image.size)
    _check_student(student, card)
    ours, theirs = benchmark.image, card.image.spec()
    same_shape = (ours.channels, ours.size, len(ours.classes)) == (theirs.channels, theirs.size, len(theirs.classes))
    foreign = card.benchmark in BENCHMARKS and asked.benchmark in BENCHMARKS and card.benchmark != asked.benchmark
    if foreign or not same_shape:  # a folder may well hold the classes of a benchmark
        raise RequestError(
            "teacher", card.name, f"takes other images than {benchmark.title}; choose a teacher made for it."
        )
    if ours.classes != theirs.classes and set(ours.classes) == set(theirs.classes):
        right = ", ".join(ours.classes)
        raise RequestError("teacher", card.name, f"has the classes in another order than {benchmark.title}: {right}.")
    device = check_device(asked.device)
    resolved: dict[str, Any] = {"config": config.model_dump(), "task": task}
    resolved |= {"student": student, "preset": preset, "device": device}
    resolved |= {"benchmark": benchmark.name, "data": str(data_folder().absolute())}
    resolved |= _resolved_execution(asked, device, config)
    collected = 0
    if method.requires.collected:
        source = find_source(asked.collected or usual_source(benchmark.name), benchmark)
        resolved["ratio"] = ratio = asked.ratio or usual_ratio(source, benchmark)
        resolved["collected"] = name = check_collected(source.name, benchmark, ratio)
        resolved["not_data_free"] = _insisted(name, card, benchmark, asked.not_data_free)
        collected = wanted(benchmark, ratio)
    else:  # nothing that such a run depends on
        resolved |= {name: RunSpec.model_fields[name].default for name in OF_COLLECTED}
    resolved["stages"] = config.stages_with(collected)
    resolved["teacher"] = absolute_card(asked.teacher) if asked.teacher else card.name
    resolved["diffusion"] = absolute_card(find_diffusion(asked.diffusion, card, config.source_kind))
    return asked.model_copy(update=resolved)


def absolute_card(name: str) -> str:
    """A teacher's name as it is; the path of a card as it stands from anywhere."""
    return str(Path(name).expanduser().absolute()) if name.endswith(".json") else name


def why_not_data_free(collected: str, teacher: TeacherCard, benchmark: Benchmark, looked: int | None = None) -> str:
    """Why a run that collects there is not data-free: what the source has of the teacher's own data; empty where
    nothing says so. Raises ``RequestError``, also after ``looked`` files and folders."""
    return own_data(find_source(collected, benchmark), teacher.benchmark, benchmark, looked)


def _insisted(collected: str, teacher: TeacherCard, benchmark: Benchmark, insisted: bool) -> bool:
    """Whether the run is not data-free. Raises ``RequestError`` where nobody asked for that."""
    why = why_not_data_free(collected, teacher, benchmark)
    if why and not insisted:
        says = f"{why}, so the run would not be data-free. Take other images; or insist ({INSIST}), and it is marked."
        raise RequestError("collected", collected, says)
    return bool(why)


def remarks(spec: RunSpec) -> list[str]:
    """What is to be said of a run's method with its knobs and its teacher before it starts. Raises ``RequestError``
    where the teacher's weights cannot be read."""
    method, (card, path) = methods.find(spec.method), find_card(spec.teacher)
    try:
        return method.remarks(validated(method.Config, spec.config), has_batch_norm(card, path))
    except (OSError, WeightsError) as error:
        raise RequestError("teacher", card.name, f"cannot be read: {in_words(error)}.") from None


def notes(spec: RunSpec) -> list[str]:
    """What is to be said of a run before it starts: ``remarks``, and of its images how many of each class, how folders
    were matched with classes, what was passed over. Reads no image. Raises ``RequestError`` where they cannot be read
    at all."""
    with data_in(spec.data):
        return [*remarks(spec), *_notes(spec)]


def _notes(spec: RunSpec) -> list[str]:
    card, _ = find_card(spec.teacher)
    benchmark = find_benchmark(spec.benchmark, card.image.spec())
    listing = benchmark.listing(train=False) if benchmark.is_there() else None
    said = listing.words(f"{benchmark.title}, test", benchmark.image.classes) if listing is not None else []
    if spec.collected:
        source = find_source(spec.collected, benchmark)
        skipped = source.skipped() if isinstance(source, Folder) else ""
        said += [f"{source.title}: passed over {skipped}"] if skipped else []
    return said + ([f"This run is {NOT_DATA_FREE}: it collects the teacher's own data."] if spec.not_data_free else [])


def check_change(spec: RunSpec, changes: dict[str, Any]) -> dict[str, Any]:
    """``changes`` of live knobs, as numbers even where they came as text. Raises ``RequestError``."""
    config = validated(methods.find(spec.method).Config, spec.config).change(changes)
    return {name: getattr(config, name) for name in changes}


def usual_teacher(benchmark: str, task: str = "classifier") -> str:
    """The benchmark's first teacher of that task. Raises ``RequestError`` if it has none yet."""
    names = list(available_teachers(benchmark, task))
    fitting = next(filter(None, [usual_of(benchmark).teacher if task == "classifier" else None, *names]), None)
    if fitting is None:
        find_benchmark(benchmark)  # a misspelt name is the nearer cause
        papers = title_of(usual_of(benchmark).teacher_network)
        how = f"import one, of papers mostly a {papers}: python -m dfkd_core teacher import"
        how = how if task == "classifier" else "train one from a card"
        raise RequestError("teacher", "", f"there is no {task} one for {benchmark}; {how}.")
    return fitting


def usual_student(benchmark: str, task: str = "classifier", size: int = 0) -> str:
    """The network that a form begins with, as it is for images of ``size`` pixels."""
    usual = usual_of(benchmark).student_of(task)
    return fitted(usual, size) if task == "classifier" else usual


def _check_student(student: str, teacher: TeacherCard) -> None:
    """Raises ``RequestError`` for a network of another task, or with other latents than the teacher's."""
    if teacher.task == "classifier":
        check_network(student, "student")
        return
    kind = teacher.network.rpartition("-")[0]
    if not latent_network(student) or student.rpartition("-")[0] != kind:
        raise RequestError(
            "student",
            student,
            f"should be {kind}-H, with a width H of 1 to {MOST_WIDTH}, to have its teacher's latents.",
        )


def find_diffusion(name: str, teacher: TeacherCard, source: str = "diffusion") -> str:
    """``name``, or if it is empty the usual diffusion model to make images for ``teacher``; nothing for a ``source``
    that takes none. Of Stable Diffusion it is a local folder, or an id of the hub, which is only looked at by the run.

    Raises ``RequestError`` for one that saw the teacher's data, makes other images or in another range, or does not
    exist.
    """
    if source == "stable-diffusion":
        if find_spec("diffusers") is None:
            raise RequestError("source", source, f"{INSTALL}.")
        return name or MODEL
    if source != "diffusion":
        return ""
    if not name:
        cards = available_teachers(None, "diffusion").items()
        others = [(known, card) for known, card in cards if not saw_data_of(card.benchmark, teacher.benchmark)]
        fitting = [known for known, card in others if _same_shape(card, teacher) and _from_minus_one_to_one(card)]
        if not fitting:
            raise RequestError("diffusion", "", f"there is none for {teacher.benchmark}; take another source.")
        return fitting[0]
    card, _ = find_card(name)
    if card.task != "diffusion":
        raise RequestError("diffusion", name, f"is a {card.task} network; take a diffusion model.")
    if saw_data_of(card.benchmark, teacher.benchmark):
        raise RequestError("diffusion", name, f"was trained on {card.benchmark}, which has the teacher's own data.")
    if not _same_shape(card, teacher):
        raise RequestError("diffusion", name, f"makes other images than {teacher.name} takes.")
    if not _from_minus_one_to_one(card):
        raise RequestError("diffusion", name, "should make images from −1 to 1: mean and std 0.5 on its card.")
    return name


def _from_minus_one_to_one(card: TeacherCard) -> bool:
    """Whether what it learned to make is within the bounds of guided sampling."""
    return {*card.image.mean, *card.image.std} == {0.5}


def _same_shape(one: TeacherCard, other: TeacherCard) -> bool:
    return (one.image.channels, one.image.size) == (other.image.channels, other.image.size)


def _resolved_execution(asked: RunSpec, device: str, config: MethodConfig) -> dict[str, str]:
    """``precision`` and ``compile`` with ``auto`` decided. Raises ``RequestError`` for what the device cannot do."""
    on_gpu, precision, compiled = device != "cpu", asked.precision, asked.compile
    if precision == "auto":
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "float32"
    if precision == "tf32" and not on_gpu:
        raise RequestError("precision", precision, "is for GPUs; on a CPU take float32, or bf16.")
    if compiled == "on" and not on_gpu:
        raise RequestError("compile", compiled, "is for GPUs; on a CPU leave it at auto.")
    if compiled == "auto":
        compiled = ("on" if config.images_of_a_run >= WORTH_COMPILING else "auto") if on_gpu else "off"
    return {"precision": precision, "compile": compiled}


def devices() -> list[str]:
    """What a run can be asked to train on, the usual one last: those of the cluster where there is one."""
    here = (f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return ["cpu", *(sorted(CLUSTER_DEVICES) or here)]


def check_device(name: str) -> str:
    """The device's one name, since engines queue by it: ``cuda`` is ``cuda:0``."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RequestError("device", name, "should be cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise RequestError("device", name, "should be cpu, cuda or cuda:N.")
    if device.type == "cuda" and CLUSTER_DEVICES:
        return min(CLUSTER_DEVICES)  # which of a machine's GPUs it is, the cluster decides
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise RequestError("device", name, f"is not here; this machine has {found} CUDA devices. Use cpu.")
    return f"cuda:{device.index or 0}" if device.type == "cuda" else "cpu"
