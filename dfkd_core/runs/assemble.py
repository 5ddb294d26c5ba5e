"""A specification becomes networks, data and a method: all that there is before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_core import methods
from dfkd_core.data.catalogue import find_benchmark
from dfkd_core.data.collecting import collect
from dfkd_core.errors import RequestError, validated
from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import MethodConfig
from dfkd_core.kit.contract import GenerativeProblem, ImageModel, Problem
from dfkd_core.kit.method import Method, placed
from dfkd_core.networks.classifiers import build_classifier
from dfkd_core.networks.execution import Execution, Precision
from dfkd_core.networks.latent import build_latent_model
from dfkd_core.runs.evaluation import ClassifierEvaluator, Evaluator
from dfkd_core.runs.latent_evaluation import LatentEvaluator
from dfkd_core.runs.spec import RunSpec
from dfkd_core.selection.collected import Predictor
from dfkd_core.synthesis.guided import DiffusionSource
from dfkd_core.synthesis.stable_diffusion import load_stable_diffusion
from dfkd_core.teachers.cards import TeacherCard, find_card
from dfkd_core.teachers.load import load_diffusion, load_latent_model, load_teacher


def seed_step(seed: int, step: int) -> None:
    """Seed the global CPU and CUDA generators for one step (0 is the set-up)."""
    torch.manual_seed((seed * 1_000_003 + step * 7_919 + 17) % 2**63)


def execution_of(spec: RunSpec) -> Execution:
    """How the run's networks compute."""
    precision: Precision = "float32" if spec.precision == "auto" else spec.precision
    return Execution(torch.device(spec.device), precision, spec.compile == "on", spec.compile != "off")


def config_of(spec: RunSpec) -> MethodConfig:
    """The method's knobs as the object that knows what follows from them. Raises ``RequestError`` where they are those
    of another method."""
    return validated(methods.find(spec.method).Config, spec.config)


def assemble(spec: RunSpec) -> tuple[TeacherCard, Problem | GenerativeProblem, Method[Any, Any]]:
    """The teacher's card, the networks and the method of ``spec``, as they are before the first step.

    Seeds torch's global generators. Raises ``RequestError`` where the teacher cannot be loaded.
    """
    return assemble_generative(spec) if spec.task == "generative" else assemble_classifier(spec)


def assemble_generative(spec: RunSpec) -> tuple[TeacherCard, GenerativeProblem, Method[Any, Any]]:
    """The same of a run whose teacher and student are latent-variable models."""
    device, method = torch.device(spec.device), methods.find(spec.method)
    teacher, card = load_latent_model(spec.teacher)
    image, config = card.image.spec(), config_of(spec)
    seed_step(spec.seed, 0)
    student = build_latent_model(spec.student, image).to(device)
    original = find_benchmark(spec.benchmark, image).load(train=True).images if method.requires.original else None
    source = _source(spec, config, image, device)
    problem = GenerativeProblem(
        teacher.to(device), student, image, device, original, source, spec.recording(), card.beta
    )
    return card, problem, method(problem, config)


def assemble_classifier(
    spec: RunSpec, collected: Tensor | None = None
) -> tuple[TeacherCard, Problem, Method[Any, Any]]:
    """The same of a run whose teacher and student are classifiers. ``collected``: images as they stand in a
    ``Problem``, where none are to be collected."""
    device, method = torch.device(spec.device), methods.find(spec.method)
    network, card = load_teacher(spec.teacher)
    teacher = placed(network, device)
    image, config = card.image.spec(), config_of(spec)
    seed_step(spec.seed, 0)
    student = placed(build_classifier(spec.student, image), device)
    images, unseen = collected, None
    if method.requires.collected and images is None:
        benchmark, predictor = find_benchmark(spec.benchmark, image), Predictor(teacher, image, device)
        found = collect(spec.collected, benchmark, spec.ratio, spec.seed, spec.collecting, predictor)
        images, unseen = found.images, found.unseen
    source = _source(spec, config, image, device)
    problem = Problem(teacher, student, image, device, images, unseen, source, spec.recording())
    return card, problem, method(problem, config)


def _source(spec: RunSpec, config: MethodConfig, image: ImageSpec, device: torch.device) -> ImageModel | None:
    if config.source_kind == "stable-diffusion":
        return load_stable_diffusion(spec.diffusion, image.classes, device)
    return DiffusionSource(load_diffusion(spec.diffusion)[0].to(device)) if spec.diffusion else None


def evaluator(
    spec: RunSpec,
    card: TeacherCard,
    problem: Problem | GenerativeProblem,
    student: nn.Module,
    cache: Path,
    extractor: str | None = None,
) -> Evaluator[Any]:
    """What tells how good ``student`` is; ``cache`` is the folder for what is known of real images, ``extractor`` that
    of features which a run goes on with (see ``LatentEvaluator``)."""
    if isinstance(problem, GenerativeProblem):
        return LatentEvaluator(spec.benchmark, card, problem, cache, extractor)
    return ClassifierEvaluator(spec.benchmark, problem.image, problem.teacher, student, problem.device)


def refusal(spec: RunSpec) -> str:
    """Why the method does not take these networks and knobs, in its own sentence; empty where it does. Nothing is
    collected for it. Seeds torch's global generators."""
    image = find_card(spec.teacher)[0].image
    try:
        if spec.is_generative:
            assemble_generative(spec)
        else:
            assemble_classifier(spec, torch.zeros(2, image.channels, image.size, image.size, dtype=torch.uint8))
    except RequestError as error:
        return str(error)
    return ""
