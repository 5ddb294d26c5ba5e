"""What a student matches of its teacher, as modules: a loss together with whatever has to be trained for it.

``classifier-sharing`` is HiDFD's (eq. 14); the others are its rivals in the paper's Table 2, with the weights that
their papers publish. Where a rival asks for labels they are the teacher's argmax.

Readings, where the papers leave something open or their settings do not carry over:

1. DKD grows its terms over 20 epochs of warm-up; a fixed set has steps, not epochs, so there is no warm-up here.
2. CC is added to the cross-entropy and the KL divergence as its paper has it, with the weights of ``kd``; its own
   weight is 100, as in public re-implementations. It compares pooled features without the paper's embedding layer:
   the kernel has one row per sample, so the networks' widths may differ.
3. CAT-KD tunes its weight to each pair of networks, so that the term begins between 1 and 50. Here it is 50 with the
   normalised 2×2 maps of its eq. 3, which do so for any pair. Maps of one pixel have no direction: refused.
4. NKD has two published settings; (T, weight) are those of CIFAR-100, ResNet-34 → ResNet-18.
5. OFA-KD's γ is 1.5, that of its ResNet-18 on ImageNet; 1, that on CIFAR-100, would enhance nothing.
6. SemCKD and OFA-KD use every stage behind the stem, as their authors do on residual networks.
7. SemCKD's published weight of 400 diverges at rates of 0.05 and above from few images; 0.02 is safe.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_core.errors import RequestError
from dfkd_core.kit.contract import Problem, Term
from dfkd_core.losses import generator as losses
from dfkd_core.losses import student as student_losses
from dfkd_core.networks.classifiers import Classifier, Features, evaluating
from dfkd_core.networks.execution import computed

ObjectiveName = Literal[
    "classifier-sharing", "simkd", "kd", "dkd", "rkd", "cc", "semckd", "cat-kd", "nkd", "ofa-kd"
]  # fmt: skip


def of_student(**titles: str) -> tuple[Term, ...]:
    """Terms of a student by their names; its weights are part of what each objective is."""
    return tuple(Term(name, title, of="student") for name, title in titles.items())


CROSS_ENTROPY, KL = of_student(cross_entropy="cross-entropy", kl="KL")


class Objective(nn.Module):
    """``student`` maps images to logits and is what is evaluated. Everything that requires gradients is trained.

    ``terms`` are those that ``forward`` names.
    """

    student: nn.Module
    terms: tuple[Term, ...] = ()

    def ask(self, teacher: Classifier, images: Tensor) -> Features:
        """What the terms need of the teacher on normalised ``images``, without gradients."""
        with torch.no_grad():
            return teacher.features(images)

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        """Weighted terms by name, and the student's logits (B, K).

        ``images``: (B, C, H, W), normalised; ``seen``: what ``ask`` found.
        """
        raise NotImplementedError


class SoftTargets(Objective):
    """T²·KL(T ‖ S) at a temperature, and nothing else."""

    terms: tuple[Term, ...] = (KL,)

    def __init__(self, problem: Problem, temperature: float) -> None:
        super().__init__()
        self.student, self.temperature = problem.student, temperature

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        logits = self.student(images)
        return {"kl": losses.kl_discrepancy(logits, seen.logits, temperature=self.temperature)}, logits


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
        averaging = all(_averages(network, _last(_maps(network, problem))) for network in networks)
        shared = [set(_behind_stem_names(network)) for network in networks]
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
        return Features(seen.logits, seen.pooled, {**maps, "class": class_maps(_last(seen.maps), network.head)})


def class_maps(last_map: Tensor, head: nn.Linear) -> Tensor:
    """(B, D, H, W) -> (B, K, H, W): the linear layer at every pixel, without its bias (CAM, Zhou et al. 2016)."""
    if last_map.shape[1] != head.in_features:  # a hidden layer stands in between
        return last_map.new_zeros(len(last_map), head.out_features, 1, 1)
    return torch.einsum("bdhw,kd->bkhw", last_map, head.weight)


def _behind_stem_names(network: Classifier) -> list[str]:
    return [name for name in network.stages if name != "stem"]


# --- classifier sharing ---


class SharedClassifier(nn.Module):
    """The student's stages, a projector (SimKD, Chen et al. 2022) and the teacher's frozen classifier."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        student, teacher = problem.student, problem.teacher
        ours, theirs = (list(_maps(network, problem).values())[-1] for network in (student, teacher))
        self.side = min(ours.shape[-1], theirs.shape[-1])
        self.network = student
        for parameter in set(student.parameters()) - set(student.stages.parameters()):
            parameter.requires_grad_(False)  # the student's own classifier is not used
        self.project = _projector(ours.shape[1], theirs.shape[1]).to(problem.device)
        self.classifier = copy.deepcopy(teacher)
        self.classifier.stages = nn.ModuleDict()  # what is left: pooling and the linear layer

    @computed
    def project_map(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images -> (B, C', side, side) in the teacher's channels."""
        last_map = _last(self.network.features(images).maps)
        return self.project(F.adaptive_avg_pool2d(last_map, self.side))

    def classify(self, last_map: Tensor) -> Tensor:
        return self.classifier.head(self.classifier.pool(last_map))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.project_map(images))


def _block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _projector(inputs: int, outputs: int) -> nn.Sequential:
    middle = max(1, outputs // 2)
    return nn.Sequential(*_block(inputs, middle, 1), *_block(middle, middle, 3), *_block(middle, outputs, 1))


class ClassifierSharing(Objective):
    """L_align on the last feature maps (HiDFD, eq. 14). No labels."""

    terms: tuple[Term, ...] = of_student(align="feature alignment")

    student: SharedClassifier
    distance = staticmethod(student_losses.feature_distance)

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__()
        self.student = SharedClassifier(problem)

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        target = F.adaptive_avg_pool2d(_last(seen.maps), self.student.side)
        projected = self.student.project_map(images)
        with torch.no_grad():
            logits = self.student.classify(projected)
        return {"align": self.distance(projected, target)}, logits


class SimKD(ClassifierSharing):
    """The same with the mean squared error: SimKD's, and that of HiDFD's released code."""

    distance = staticmethod(student_losses.feature_mse)


# --- the student as it is ---


class _Plain(Objective):
    """An objective whose student is the network itself."""

    student: Classifier

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__()
        self.student = problem.student

    def forward(self, images: Tensor, seen: Features) -> tuple[dict[str, Tensor], Tensor]:
        ours = self.student.features(images)
        return self.weighed(ours, seen, seen.logits.argmax(dim=1)), ours.logits

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        """Weighted terms by name, of what the student and the teacher see."""
        raise NotImplementedError


class KnowledgeDistillation(_Plain):
    """0.1·CE + 0.9·T²·KL, T = 4 (Hinton et al. 2015)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, KL)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        return {
            "cross_entropy": 0.1 * F.cross_entropy(ours.logits, labels),
            "kl": 0.9 * losses.kl_discrepancy(ours.logits, seen.logits, temperature=4.0),
        }


class DecoupledDistillation(_Plain):
    """CE + TCKD + 8·NCKD, T = 4 (DKD, Zhao et al. 2022)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(target_class="target class", other_classes="other classes"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        target = student_losses.target_class_divergence(ours.logits, seen.logits, labels, temperature=4.0)
        others = student_losses.non_target_divergence(ours.logits, seen.logits, labels, temperature=4.0)
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "target_class": target,
            "other_classes": 8 * others,
        }


class NormalisedDistillation(_Plain):
    """CE − p^T log p^S at the label + 3.5·T²·CE of the other classes, T = 3 (NKD, Yang et al. 2023)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(target_class="target class", other_classes="other classes"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        others = student_losses.normalised_non_target(ours.logits, seen.logits, labels, temperature=3.0)
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "target_class": student_losses.soft_target(ours.logits, seen.logits, labels),
            "other_classes": 3.5 * others,
        }


class RelationalDistillation(_Plain):
    """CE + 25·distance + 50·angle, on pooled features (RKD, Park et al. 2019)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(pair_distances="distances of pairs", angles="angles"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "pair_distances": 25 * student_losses.relational_distance(ours.pooled, seen.pooled),
            "angles": 50 * student_losses.relational_angle(ours.pooled, seen.pooled),
        }


class CorrelationCongruence(KnowledgeDistillation):
    """0.1·CE + 0.9·T²·KL + 100·CC, on pooled features (CC, Peng et al. 2019)."""

    terms: tuple[Term, ...] = (CROSS_ENTROPY, KL, *of_student(correlation="correlation"))

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        correlation = student_losses.correlation_congruence(ours.pooled, seen.pooled)
        return {**super().weighed(ours, seen, labels), "correlation": 100 * correlation}


# --- with trained parts beside the student ---


class CrossLayer(_Plain):
    """CE + T²·KL + 400·attended layers, T = 4 (SemCKD, Chen et al. 2021).

    Each sample attends from every layer of the student to every layer of the teacher. Queries and keys come from the
    layers' B × B similarities of the batch, hence the networks that make them are built for batches of B images.
    """

    terms: tuple[Term, ...] = (CROSS_ENTROPY, KL, *of_student(attended_layers="attended layers"))

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__(problem, batch_size)
        ours, theirs = (_behind_stem(_maps(network, problem)) for network in (problem.student, problem.teacher))
        self.queries = nn.ModuleList(_embedding(batch_size) for _ in ours)
        self.keys = nn.ModuleList(_embedding(batch_size) for _ in theirs)
        self.regress = nn.ModuleList(
            nn.ModuleList(_regressor(source.shape[1], target.shape[1]) for target in theirs) for source in ours
        )
        self.to(problem.device)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        sources, targets = _behind_stem(ours.maps), _behind_stem(seen.maps)
        projected, pooled = self._values(sources, targets)
        layers = student_losses.attended_layers(projected, pooled, self.attention(sources, targets))
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "kl": losses.kl_discrepancy(ours.logits, seen.logits, temperature=4.0),
            "attended_layers": 400 * layers,
        }

    def attention(self, sources: list[Tensor], targets: list[Tensor]) -> Tensor:
        """(B, L, L'): of each sample, how much each of L student layers attends to each of L' teacher layers."""
        queries, keys = _embedded(self.queries, sources), _embedded(self.keys, targets)
        return (queries @ keys.transpose(1, 2)).softmax(dim=2)

    def _values(self, sources: list[Tensor], targets: list[Tensor]) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Of each pair of layers the student's map in the teacher's channels, and the teacher's; the smaller side."""
        projected, pooled = [], []
        for regressors, source in zip(self.regress, sources, strict=True):
            sides = [min(source.shape[-1], target.shape[-1]) for target in targets]
            pairs = zip(regressors, sides, strict=True)  # type: ignore[call-overload]
            projected.append([regress(F.adaptive_avg_pool2d(source, side)) for regress, side in pairs])
            pooled.append([F.adaptive_avg_pool2d(target, side) for target, side in zip(targets, sides, strict=True)])
        return projected, pooled


def _embedded(embeddings: nn.ModuleList, layers: list[Tensor]) -> Tensor:
    """L maps (B, C, H, W) -> unit vectors (B, L, B/4), from the products of all pairs of samples in each layer."""
    flat = [maps.flatten(1) for maps in layers]
    vectors = [embed(one @ one.t()) for embed, one in zip(embeddings, flat, strict=True)]
    return F.normalize(torch.stack(vectors, dim=1), dim=2)


def _embedding(batch_size: int) -> nn.Sequential:
    """(B, B) similarities -> (B, B/4) of SemCKD's queries and keys."""
    width = max(1, batch_size // 4)
    return nn.Sequential(nn.Linear(batch_size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


def _regressor(inputs: int, outputs: int) -> nn.Sequential:
    middle = 2 * outputs
    blocks = [*_block(inputs, middle, 1), *_block(middle, middle, 3)]
    return nn.Sequential(*blocks, nn.Conv2d(middle, outputs, 1, bias=False))


class ClassAttention(_Plain):
    """CE + 50·class attention (CAT-KD, Guo et al. 2023).

    A class activation map weighs the last feature maps with the linear layer's row of that class. That explains the
    logits only where they are a linear function of the maps' means: LeNet's hidden layer stands in between.
    """

    terms: tuple[Term, ...] = (CROSS_ENTROPY, *of_student(class_attention="class attention"))

    head: Tensor

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__(problem, batch_size)
        for name, network in (("student", problem.student), ("teacher", problem.teacher)):
            last_map = _last(_maps(network, problem))
            if not _averages(network, last_map):
                expected = f"needs networks that average their last feature maps, as ResNets do; the {name} does not."
                raise RequestError("objective", "cat-kd", expected)
            if last_map.shape[-1] < 2:
                expected = f"needs last feature maps of 2 pixels a side or more; the {name} has 1. Take fewer stages."
                raise RequestError("objective", "cat-kd", expected)
        self.register_buffer("head", problem.teacher.head.weight.detach().clone(), persistent=False)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        student = class_maps(_last(ours.maps), self.student.head)
        teacher = torch.einsum("bdhw,kd->bkhw", _last(seen.maps), self.head)
        return {
            "cross_entropy": F.cross_entropy(ours.logits, labels),
            "class_attention": 50 * student_losses.class_attention(student, teacher),
        }


@torch.no_grad()
def _averages(network: Classifier, last_map: Tensor) -> bool:
    """Whether the network's pooling is the plain mean over the map."""
    ramp = torch.arange(last_map.numel(), device=last_map.device).view_as(last_map) / last_map.numel()
    pooled, mean = network.pool(ramp), ramp.mean(dim=(2, 3))
    return pooled.shape == mean.shape and torch.allclose(pooled, mean)


class OneForAll(_Plain):
    """The enhanced target at the student's output and at an exit of each of its stages, γ = 1.5 (OFA-KD, Hao et al.
    2023). The target's class holds the cross-entropy with the label, too."""

    terms: tuple[Term, ...] = of_student(enhanced_target="enhanced target", early_exits="early exits")

    def __init__(self, problem: Problem, batch_size: int) -> None:
        super().__init__(problem, batch_size)
        width = max(problem.student.head.in_features, problem.teacher.head.in_features)
        maps = _behind_stem(_maps(problem.student, problem))
        classes, halvings = len(problem.image.classes), reversed(range(len(maps)))
        exits = (_exit(one.shape[1], width, left, classes) for one, left in zip(maps, halvings, strict=True))
        self.exits = nn.ModuleList(exits).to(problem.device)

    def weighed(self, ours: Features, seen: Features, labels: Tensor) -> dict[str, Tensor]:
        answers = [leave(one) for leave, one in zip(self.exits, _behind_stem(ours.maps), strict=True)]
        early = [student_losses.enhanced_target(answer, seen.logits, labels, gamma=1.5) for answer in answers]
        return {
            "enhanced_target": student_losses.enhanced_target(ours.logits, seen.logits, labels, gamma=1.5),
            "early_exits": torch.stack(early).sum(),
        }


def _exit(channels: int, width: int, halvings: int, classes: int) -> nn.Sequential:
    """A stage's map to logits (B, K): as many halving blocks as stages follow (at the last a 1×1 convolution), the
    mean, a linear layer. Channels double with each block; the last has ``width``."""
    widths = [*(channels * 2**times for times in range(halvings)), width]
    layers: list[nn.Module] = [_separable(before, after) for before, after in pairwise(widths)]
    layers = layers or [nn.Conv2d(channels, width, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """Two depthwise separable convolutions, the first of which halves the side."""

    def half(after: int, stride: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False)
        return [depthwise, *_block(inputs, after, 1)]

    return nn.Sequential(*half(inputs, 2), *half(outputs, 1))


# --- feature maps ---


def _last(maps: dict[str, Tensor]) -> Tensor:
    return list(maps.values())[-1]


def _behind_stem(maps: dict[str, Tensor]) -> list[Tensor]:
    return [one for name, one in maps.items() if name != "stem"]


@torch.no_grad()
def _maps(network: Classifier, problem: Problem) -> dict[str, Tensor]:
    """The maps of one blank image, for their shapes; the network stays as it is."""
    image = problem.image
    blank = torch.zeros(1, image.channels, image.size, image.size, device=problem.device)
    with evaluating(network):
        return network.features(blank).maps


_OBJECTIVES: dict[str, Callable[[Problem, int], Objective]] = {
    "classifier-sharing": ClassifierSharing,
    "simkd": SimKD,
    "kd": KnowledgeDistillation,
    "dkd": DecoupledDistillation,
    "rkd": RelationalDistillation,
    "cc": CorrelationCongruence,
    "semckd": CrossLayer,
    "cat-kd": ClassAttention,
    "nkd": NormalisedDistillation,
    "ofa-kd": OneForAll,
}


def build_objective(name: str, problem: Problem, batch_size: int) -> Objective:
    """The objective ``name`` for the problem's networks and batches of ``batch_size``, on the problem's device.

    Draws from torch's global generators. Raises ``RequestError`` for an unknown name, and for networks that do not fit.
    """
    if name not in _OBJECTIVES:
        raise RequestError("objective", name, f"should be one of {', '.join(get_args(ObjectiveName))}.")
    return _OBJECTIVES[name](problem, batch_size)
