"""Objectives about where networks look: maps of a class, and Grad-CAMs (SpaceshipNet, CAT-KD)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.errors import RequestError
from dfkd_core.kit.contract import Problem, Term
from dfkd_core.kit.objective import CROSS_ENTROPY, KL, Objective, blank_maps, last_of, of_student, stages_behind_stem
from dfkd_core.kit.plain_objectives import Plain
from dfkd_core.losses import generator as losses
from dfkd_core.losses import student as student_losses
from dfkd_core.networks.classifiers import Classifier, Features


class ActivationRegions(Objective):
    """KL, and where the networks look: class activation maps of the last stage, Grad-CAMs of every stage behind the
    stem (mSARC of SpaceshipNet, Yu et al. 2023). Class activation maps take networks that average their last maps; of
    others Grad-CAMs are matched alone.

    ``seen.maps`` are these maps here, "class" (B, K, H, W) and by the stages' names (B, H, W).
    """

    def __init__(self, problem: Problem, temperature: float, cam_weight: float, grad_cam_weight: float) -> None:
        super().__init__()
        self.student, self.temperature = problem.student, temperature
        self.weights = {"cam": cam_weight, "grad_cam": grad_cam_weight}
        networks = problem.student, problem.teacher
        averaging = all(averages(network, last_of(blank_maps(network, problem))) for network in networks)
        shared = [set(stages_behind_stem(network)) for network in networks]
        self.stages = sorted(shared[0] & shared[1])
        on = {"cam": averaging and cam_weight > 0, "grad_cam": bool(self.stages) and grad_cam_weight > 0}
        titles = {"cam": "class activation maps", "grad_cam": "Grad-CAM"}
        self.terms = (KL, *of_student(**{name: title for name, title in titles.items() if on[name]}))

    def ask(self, teacher: Classifier, images: Tensor) -> Features:
        seen = self.regions(teacher, images.detach().requires_grad_(), None)
        return Features(
            seen.logits.detach(), seen.pooled.detach(), {name: at.detach() for name, at in seen.maps.items()}
        )

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        ours = self.regions(self.student, images, seen.logits.argmax(dim=1))
        terms = {"kl": losses.kl_discrepancy(ours.logits, seen.logits, temperature=self.temperature)}
        for name in (term.name for term in self.terms[1:]):
            stages = ["class"] if name == "cam" else self.stages
            gaps = [student_losses.region_mse(ours.maps[stage], seen.maps[stage]) for stage in stages]
            terms[name] = self.weights[name] * torch.stack(gaps).sum()
        return terms, ours.logits

    def regions(self, network: Any, images: Tensor, labels: Tensor | None) -> Features:
        """What ``network`` sees, and where, of the classes ``labels``, its own argmax unless they are given.

        As written, whatever else the device does with networks: Grad-CAM needs the graph between logits and maps.
        """
        with torch.enable_grad():
            seen: Features = type(network).features.__wrapped__(network, images)
        wanted = seen.logits.argmax(dim=1) if labels is None else labels
        stages = {name: seen.maps[name] for name in self.stages}
        maps = dict(zip(stages, student_losses.grad_cams(seen.logits, list(stages.values()), wanted), strict=True))
        maps["class"] = class_maps(last_of(seen.maps), network.head.weight.detach())
        return Features(seen.logits, seen.pooled, maps)


def class_maps(last_map: Tensor, weight: Tensor) -> Tensor:
    """(B, D, H, W) -> (B, K, H, W): the linear layer's (K, D) ``weight`` at every pixel, without its bias (CAM, Zhou et
    al. 2016)."""
    if last_map.shape[1] != weight.shape[1]:  # a hidden layer stands in between
        return last_map.new_zeros(len(last_map), len(weight), 1, 1)
    return torch.einsum("bdhw,kd->bkhw", last_map, weight)


class ClassAttention(Plain):
    """CE + 50·class attention (CAT-KD, Guo et al. 2023).

    A class activation map weighs the last feature maps with the linear layer's row of that class. That explains the
    logits only where they are a linear function of the maps' means: LeNet's hidden layer stands in between.
    """

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(class_attention="class attention"))

    head: Tensor

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__(problem, batch_size)
        for name, network in (("student", problem.student), ("teacher", problem.teacher)):
            last_map = last_of(blank_maps(network, problem))
            if not averages(network, last_map):
                expected = f"needs networks that average their last feature maps, as ResNets do; the {name} does not."
                raise RequestError("objective", "cat-kd", expected)
            if last_map.shape[-1] < 2:
                expected = f"needs last feature maps of 2 pixels a side or more; the {name} has 1. Take fewer stages."
                raise RequestError("objective", "cat-kd", expected)
        self.register_buffer("head", problem.teacher.head.weight.detach().clone(), persistent=False)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        student = class_maps(last_of(ours.maps), self.student.head.weight)
        teacher = class_maps(last_of(seen.maps), self.head)
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "class_attention": 50 * student_losses.class_attention(student, teacher),
        }


@torch.no_grad()
def averages(network: Classifier, last_map: Tensor) -> bool:
    """Whether the network's pooling is the plain mean over the map."""
    ramp = torch.arange(last_map.numel(), device=last_map.device).view_as(last_map) / last_map.numel()
    pooled, mean = network.pool(ramp), ramp.mean(dim=(2, 3))
    return pooled.shape == mean.shape and torch.allclose(pooled, mean)
