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
7. SemCKD's published weight of 400 diverges at rates of 0.05 and above from few images; 0.02 is safe, and what the
   student learns at where no rate is given. ``paper`` stays as published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from dfkd_core.errors import RequestError
from dfkd_core.kit import layer_objectives, plain_objectives, region_objectives, shared_classifier
from dfkd_core.kit.contract import Problem
from dfkd_core.kit.objective import Objective
from dfkd_core.networks.known import OF_PROGRAM, Known

ObjectiveName = Literal[
    "classifier-sharing", "simkd", "kd", "dkd", "rkd", "cc", "semckd", "cat-kd", "nkd", "ofa-kd"
]  # fmt: skip


_OBJECTIVES: dict[str, Callable[[Problem, int], Objective]] = {
    "classifier-sharing": shared_classifier.ClassifierSharing,
    "simkd": shared_classifier.SimKD,
    "kd": plain_objectives.KnowledgeDistillation,
    "dkd": plain_objectives.DecoupledDistillation,
    "rkd": plain_objectives.RelationalDistillation,
    "cc": plain_objectives.CorrelationCongruence,
    "semckd": layer_objectives.CrossLayer,
    "cat-kd": region_objectives.ClassAttention,
    "nkd": plain_objectives.NormalisedDistillation,
    "ofa-kd": layer_objectives.OneForAll,
}


SAFE_RATES = {"semckd": 0.02}
"""The student's learning rate at which objectives of large weights converge from few images."""

OF_ANSWERS = ("kd", "dkd", "nkd")
"""Those that read nothing of a teacher but its logits."""


def build_objective(name: str, problem: Problem, batch_size: int) -> Objective:
    """The objective ``name`` for the problem's networks and batches of ``batch_size``, on the problem's device.

    Draws from torch's global generators. Raises ``RequestError`` for an unknown name, for networks that do not fit, and
    for a teacher of which too little is known.
    """
    check_objective(name, problem.teacher.known)
    return _OBJECTIVES[name](problem, batch_size)


def check_objective(name: str, known: Known) -> None:
    """Raises ``RequestError`` for an unknown name, and where it asks for more than is ``known`` of the teacher."""
    if name not in _OBJECTIVES:
        raise RequestError("objective", name, f"should be one of {', '.join(get_args(ObjectiveName))}.")
    if known != "inside" and name not in OF_ANSWERS:
        expected = (
            f"reads the teacher's features, and {OF_PROGRAM[known]}; it should be one of {', '.join(OF_ANSWERS)}."
        )
        raise RequestError("objective", name, expected)
