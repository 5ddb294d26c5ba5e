"""Bringing weights of one's own as a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch

from dfkd_core.data.catalogue import BENCHMARKS, Benchmark, find_benchmark
from dfkd_core.data.files import folder_of
from dfkd_core.data.layouts import class_names
from dfkd_core.errors import RequestError, validated
from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import Classifier, build_classifier, check_network
from dfkd_core.networks.program import Program
from dfkd_core.networks.weights import WeightsError
from dfkd_core.teachers.cards import ImageCard, TeacherCard, file_of, is_taken
from dfkd_core.teachers.containers import opened
from dfkd_core.teachers.examine import Examined, examine, of_weights
from dfkd_core.teachers.load import load_teacher
from dfkd_core.teachers.make import store, store_teacher
from dfkd_core.teachers.programs import Shape, opened_program, origin_of, program_kind, tried
from dfkd_core.teachers.recognise import Found, recognise
from dfkd_core.teachers.taken import Taken, located, numbered, spread, usual

USUAL_SIZE, OF_IMAGENET = 32, 224  # in pixels; networks for ImageNet have a stem of 7×7


def import_weights(
    weights: Path,
    network: str,
    benchmark: str,
    name: str,
    folder: Path,
    title: str = "",
    taken: Taken | None = None,
    part: str = "",
    trusted: bool = False,
) -> TeacherCard:
    """Bring weights as the teacher ``name`` of ``benchmark``: a file, however it was saved, or a folder of a model; or
    a program, ONNX or one of ``torch.export``.

    ``network``: empty to have it told from the weights; ``taken``: what images they are for, where these are not the
    benchmark's; ``part``: where in the file the network lies, if there are several; ``trusted``: a program may be
    opened that could do anything. The accuracy is None where the evaluation data are missing; the card's ``doubts`` say
    what seems wrong. Raises ``RequestError``.
    """
    benchmark = find_benchmark(benchmark).name
    if is_taken(name, folder):
        raise RequestError("name", name, "is taken by another teacher; choose a new one.")
    called = {"name": name, "title": title or name}
    asked, (file, beside) = taken or Taken(), located(weights)
    usual_image = BENCHMARKS[benchmark].image if benchmark in BENCHMARKS else None
    size = asked.size or beside.size or (usual_image.size if usual_image else USUAL_SIZE)
    try:
        if kind := program_kind(file):
            program, data = opened_program(file, kind, trusted)
            return _import_program(program, data, asked, benchmark, called, folder)
        with opened(file) as parts:
            found, others = recognise(parts, size, network, part)
            if beside.classes is not None and len(beside.classes) != found.classes:
                beside = replace(beside, classes=None)
            said = asked.otherwise(_inside(found)).otherwise(beside)
            if guessed := not (found.size or said.size or usual_image):
                size = OF_IMAGENET if found.stem == 7 else USUAL_SIZE
            image = _image(found, said, size, benchmark, usual_image)
            task = find_benchmark(benchmark, image)
            variants = found.networks if task.is_there() else found.networks[:1]
            networks = {variant: _filled(variant, image, found) for variant in variants}
    except WeightsError as error:
        if network:
            check_network(network, said=str(error))
        raise RequestError("weights", str(weights), f"{error}.") from None
    origin = ", ".join(filter(None, (weights.name, found.part, f"names as {found.style.name}")))
    free = said.mean is None and said.std is None and usual_image is None
    if task.is_there():
        seen = examine(networks, task.load(train=False), image, bool(network), free)
    else:
        seen = _unmeasured(found, networks[variants[0]], image)
    beyond = [f"the file holds another network, too; take it with --part {one}" for one in others]
    card = _card(called, task, seen, origin, [*_of_size(guessed, image), *seen.doubts, *beyond])
    return store_teacher(networks[seen.network], card, folder)


def _import_program(
    program: Program, data: bytes, asked: Taken, benchmark: str, called: dict[str, str], folder: Path
) -> TeacherCard:
    """The same of a program. How its images are normalised is tried where it is not said; raises ``WeightsError``."""
    usual_image = BENCHMARKS[benchmark].image if benchmark in BENCHMARKS else None
    size = usual_image.size if usual_image else USUAL_SIZE
    shape = tried(program, asked, usual_image, size)
    image = _image(shape, asked, asked.size or size, benchmark, usual_image)
    task, free = find_benchmark(benchmark, image), asked.mean is None and asked.std is None
    if task.is_there():
        seen = examine({program.kind: program}, task.load(train=False), image, True, free)
    else:
        unsaid = ("no test images are there to tell how its images are normalised: --mean, --std",) if free else ()
        seen = Examined(program.kind, image, None, unsaid)
    doubts = [*_of_size(not (shape.size or asked.size or usual_image), image), *seen.doubts]
    return store(data, _card(called, task, seen, origin_of(program, data), doubts), folder)


def _card(called: dict[str, str], task: Benchmark, seen: Examined, origin: str, doubts: list[str]) -> TeacherCard:
    about = {"benchmark": task.name, "network": seen.network, "image": validated(ImageCard, asdict(seen.image))}
    doubts = [*doubts, *(task.doubts() if task.is_there() else [])]
    about |= {"accuracy": seen.accuracy, "origin": origin[:1000], "doubts": tuple(one[:1000] for one in doubts[:16])}
    return validated(TeacherCard, called | about)


def register(card: Path, name: str, folder: Path) -> TeacherCard:
    """Take a teacher that ``import_weights`` wrote elsewhere, the card at ``card``, into ``folder`` as ``name``. Raises
    ``RequestError`` for a name that is none, or taken."""
    _, looked_at = load_teacher(card)
    if is_taken(name, folder):
        raise RequestError("name", name, "is taken by another teacher; choose a new one.")
    about = looked_at.model_dump() | {"name": name, "title": name[:80]}
    try:
        return store(file_of(looked_at, card).read_bytes(), validated(TeacherCard, about), folder)
    except OSError as error:
        raise RequestError("DFKD_TEACHERS", str(folder), f"cannot be written to ({error.strerror}).") from None


def _inside(found: Found) -> Taken:
    """How the network itself normalises, if it does; in bytes where its mean is above 1."""
    if found.mean is None or found.std is None:
        return Taken()
    mean, std = (held.read().double().flatten().tolist() for held in (found.mean, found.std))
    scale = 255 if max(mean) > 1 else 1
    return Taken(tuple(round(value / scale, 6) for value in mean), tuple(round(value / scale, 6) for value in std))


def _image(found: Found | Shape, said: Taken, size: int, benchmark: str, usual_image: ImageSpec | None) -> ImageSpec:
    """What the network takes: what is ``said``, else what its shapes tell, else what the benchmark has."""
    if said.channels not in (None, found.channels):
        raise RequestError("channels", said.channels, f"should be {found.channels}, which the weights take.")
    if found.size is not None and said.size not in (None, found.size):
        raise RequestError("size", said.size, f"should be {found.size}, which the weights take.")
    channels = found.channels
    mean, std = usual(channels, found.size or size)[0]
    if usual_image is not None and usual_image.channels in (1, channels):
        mean, std = usual_image.mean, usual_image.std
    image = ImageSpec(
        channels,
        found.size or size,
        spread(said.mean or mean, channels),
        spread(said.std or std, channels),
        _classes(found.classes, said.classes, benchmark, usual_image),
    )
    validated(ImageCard, asdict(image))
    return image


def _of_size(guessed: bool, image: ImageSpec) -> Iterator[str]:
    if guessed:
        yield f"the size of its images is not said: {image.size} pixels are taken; --size if they are others"


def _classes(
    count: int, said: tuple[str, ...] | None, benchmark: str, usual_image: ImageSpec | None
) -> tuple[str, ...]:
    if said is not None and len(said) != count:
        raise RequestError("classes", ",".join(said), f"should be {count}, which the weights tell apart.")
    if usual_image is None:
        names = said or class_names(folder_of(benchmark))
        return names if len(names) == count else numbered(count)
    if len(usual_image.classes) != count:
        there = len(usual_image.classes)
        raise RequestError("benchmark", benchmark, f"has {there} classes, and the weights tell {count} apart.")
    if said is not None and said != usual_image.classes and sorted(said) == sorted(usual_image.classes):
        raise RequestError("classes", ",".join(said), f"should be in the order {', '.join(usual_image.classes)}.")
    return usual_image.classes


def _filled(network: str, image: ImageSpec, found: Found) -> Classifier:
    """The network with the weights found, read one by one. Raises ``WeightsError``."""
    with torch.random.fork_rng(devices=[]):
        classifier = build_classifier(network, image)
    for name, own in classifier.state_dict().items():
        if name in found.tensors:
            own.copy_(found.tensors[name].read())
            if own.is_floating_point() and not own.isfinite().all():
                raise WeightsError(f"{name} holds values that are not finite")
    return classifier.eval()


def _unmeasured(found: Found, network: Classifier, image: ImageSpec) -> Examined:
    """What one sees of it without test images."""
    first, *more = found.networks
    doubts = list(of_weights(network))
    if more and "+7x7" not in first:  # those are pooled everywhere
        others = " or ".join(f"--network {name}" for name in more)
        doubts.append(f"its weights fit {first} and {others} alike, and no test images are there to tell which it is")
    return Examined(first, image, None, tuple(doubts))
