"""What a student can match of its teacher, one pure function per published term.

They are HiDFD's (Tang, Chen & Gong, AAAI 2025) and those of its rivals in its Table 2.

Shapes: ``logits`` (B, K); ``labels`` (B,), the teacher's argmax where there are no others; ``pooled`` (B, D), student
and teacher may differ in D; maps (B, C, H, W). Every function returns a 0-d tensor to be minimised, without the weight
that it gets in its paper. Notation of the comments: p^S and p^T are the softmax of student and teacher, ŷ the label.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_core.losses.generator import kl_discrepancy

# --- the last feature maps ---


def feature_distance(projected: Tensor, teacher_map: Tensor) -> Tensor:
    """L_align: mean over samples of ‖Φ_S(x) − Φ_T(x)‖₂, the norm over the whole map (HiDFD, eq. 14), or over (B, D)
    features."""
    return (projected - teacher_map).flatten(1).norm(dim=1).mean()


def feature_mse(projected: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared error of the maps (SimKD, Chen et al. 2022, eq. 2)."""
    return F.mse_loss(projected, teacher_map)


# --- logits, split into the label's class and the others ---


def _split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits (B, 2) of "ŷ" against "another class", and those of the other classes alone, (B, K − 1)."""
    log_probabilities = F.log_softmax(logits, dim=1)
    others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, labels[:, None], value=False)
    rest = log_probabilities[others].view(len(logits), -1)
    target = log_probabilities.gather(1, labels[:, None])
    return torch.cat([target, rest.logsumexp(dim=1, keepdim=True)], dim=1), rest


def target_class_divergence(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """TCKD: T²·KL(b^T ‖ b^S), b = (p_ŷ, 1 − p_ŷ) at the temperature T (DKD, Zhao et al. 2022, eq. 7)."""
    student, _ = _split(student_logits / temperature, labels)
    teacher, _ = _split(teacher_logits / temperature, labels)
    return temperature**2 * kl_discrepancy(student, teacher)


def non_target_divergence(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """NCKD: T²·KL of the distributions over the classes other than ŷ, at the temperature T (DKD, eq. 7)."""
    _, student = _split(student_logits / temperature, labels)
    _, teacher = _split(teacher_logits / temperature, labels)
    return temperature**2 * kl_discrepancy(student, teacher)


def soft_target(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """−p^T_ŷ log p^S_ŷ: how sure the teacher is weighs the student's cross-entropy (NKD, Yang et al. 2023, eq. 8)."""
    certainty = teacher_logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    return (certainty * F.cross_entropy(student_logits, labels, reduction="none")).mean()


def normalised_non_target(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """−T²·Σ_{c≠ŷ} q^T_c log q^S_c, q being normalised over the classes other than ŷ (NKD, eq. 8).

    ``non_target_divergence`` plus T² times the entropy of q^T, which no student changes.
    """
    _, student = _split(student_logits / temperature, labels)
    _, teacher = _split(teacher_logits / temperature, labels)
    return temperature**2 * F.cross_entropy(student, teacher.softmax(dim=1))


def enhanced_target(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """−(1 + p^T_ŷ)^γ log p^S_ŷ − Σ_{c≠ŷ} p^T_c log p^S_c (OFA-KD, Hao et al. 2023, adaptive target enhancement).

    With γ = 1 it is the cross-entropy with ŷ plus that with the teacher; the more γ exceeds 1, the more does the
    target weigh where the teacher is sure. The released code raises the other p^T_c to the power of γ, too.
    """
    teacher = teacher_logits.softmax(dim=1)
    target = F.one_hot(labels, teacher.shape[1]).bool()
    weights = torch.where(target, (1 + teacher) ** gamma, teacher)
    return -(weights * F.log_softmax(student_logits, dim=1)).sum(dim=1).mean()


# --- relations between the samples of a batch ---


def relational_distance(student_pooled: Tensor, teacher_pooled: Tensor) -> Tensor:
    """RKD-D: Huber's loss between the distances ‖f_i − f_j‖₂ of all B² pairs, those of each network divided by their
    mean over the pairs that are apart (RKD, Park et al. 2019, eqs. 5 to 8)."""

    def relative(pooled: Tensor) -> Tensor:
        distances = torch.cdist(pooled, pooled, compute_mode="donot_use_mm_for_euclid_dist")
        mean = distances.sum() / (distances > 0).sum().clamp(min=1)
        return distances / mean.clamp(min=1e-12)

    return F.smooth_l1_loss(relative(student_pooled), relative(teacher_pooled))


def relational_angle(student_pooled: Tensor, teacher_pooled: Tensor) -> Tensor:
    """RKD-A: Huber's loss between the cosines of the angles i–j–k of all B³ triples (RKD, eqs. 9 to 11)."""

    def cosines(pooled: Tensor) -> Tensor:
        differences = pooled[None] - pooled[:, None]
        lengths = differences.norm(dim=2, keepdim=True)
        apart = lengths > 0  # two equal samples have no direction, nor a gradient
        directions = torch.where(apart, differences / lengths.clamp(min=1e-12), 0.0)
        return directions @ directions.transpose(1, 2)

    return F.smooth_l1_loss(cosines(student_pooled), cosines(teacher_pooled))


def correlation_congruence(
    student_pooled: Tensor, teacher_pooled: Tensor, gamma: float = 0.4, order: int = 2
) -> Tensor:
    """1/B² ‖Ψ_S − Ψ_T‖², Ψ_ij = exp(−γ‖f_i − f_j‖²) of unit vectors f as its Taylor series up to the power ``order``,
    e^(−2γ) Σ_p (2γ)^p/p! (f_i·f_j)^p (CC, Peng et al. 2019, eqs. 5, 6 and 9)."""

    def kernel(pooled: Tensor) -> Tensor:
        unit = F.normalize(pooled, dim=1)
        cosines = unit @ unit.t()
        powers = [(2 * gamma) ** p / math.factorial(p) * cosines**p for p in range(order + 1)]
        return math.exp(-2 * gamma) * torch.stack(powers).sum(dim=0)

    return F.mse_loss(kernel(student_pooled), kernel(teacher_pooled))


# --- intermediate feature maps ---


def attended_layers(student_maps: list[list[Tensor]], teacher_maps: list[list[Tensor]], attention: Tensor) -> Tensor:
    """1/L Σ_ij α_ij mean (f^S_ij − f^T_ij)², mean over samples (SemCKD, Chen et al. 2021, eq. 8).

    ``student_maps[i][j]``: the map of student layer i, of L, brought to the shape of teacher layer j;
    ``teacher_maps[i][j]``: that layer. ``attention``: (B, L, L'), the α, which sum to 1 over the teacher's layers.
    """
    errors = [
        torch.stack([(ours - theirs).square().flatten(1).mean(dim=1) for ours, theirs in zip(*row, strict=True)], dim=1)
        for row in zip(student_maps, teacher_maps, strict=True)
    ]
    return (attention * torch.stack(errors, dim=1)).sum(dim=2).mean()


def class_attention(student_maps: Tensor, teacher_maps: Tensor, side: int = 2) -> Tensor:
    """Mean squared difference of the class activation maps (B, K, H, W), averaged to ``side`` pixels a side and scaled
    to length 1 each (CAT-KD, Guo et al. 2023, eq. 3)."""

    def directions(maps: Tensor) -> Tensor:
        return F.normalize(F.adaptive_avg_pool2d(maps, side).flatten(2), dim=2)

    return F.mse_loss(directions(student_maps), directions(teacher_maps))


def grad_cams(logits: Tensor, maps: list[Tensor], labels: Tensor) -> list[Tensor]:
    """Grad-CAM, Σ_d w_d A_d (B, H, W) of each of ``maps`` A (B, D, H, W) that (B, K) ``logits`` were computed from: w
    is the mean over pixels of the gradient of the logit of ``labels`` (Selvaraju et al. 2017, without its ReLU). The
    weights w are constants: gradients flow through A alone."""
    if not maps:
        return []
    chosen = logits.gather(1, labels[:, None]).sum()
    gradients = torch.autograd.grad(chosen, maps, retain_graph=True)
    return [
        (gradient.mean(dim=(2, 3), keepdim=True) * at).sum(dim=1) for gradient, at in zip(gradients, maps, strict=True)
    ]


def region_mse(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared difference of two maps (…, H, W), averaged to the smaller of their sides (SpaceshipNet, mSARC)."""
    side = min(ours.shape[-1], theirs.shape[-1])
    return F.mse_loss(F.adaptive_avg_pool2d(ours, side), F.adaptive_avg_pool2d(theirs, side))


# --- DFND (Chen et al., CVPR 2021) and KD3 (Tang et al., ICCV 2023) ---


def noisy_label_loss(student_logits: Tensor, log_noise: Tensor, labels: Tensor) -> Tensor:
    """Loss −E[log Σ_k softmax(S(x))_k Q_ky]: the labels' likelihood after Q turned the student's true classes into
    noisy ones. ``log_noise`` (K, K) is log Q, Q_kj the probability that the label is j where the class is k."""
    joint = F.log_softmax(student_logits, dim=1) + log_noise[:, labels].t()
    return -joint.logsumexp(dim=1).mean()


def distance_weights(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """σ(‖S(x) − T(x)‖₂) of each sample, (B,), between ½ and 1: the further the student is off, the more it counts."""
    return (student_logits - teacher_logits).norm(dim=1).sigmoid()


def weighted_mse(ours: Tensor, theirs: Tensor, weights: Tensor) -> Tensor:
    """Loss E[w_i · mean (a_i − b_i)²] over feature maps (B, C, H, W), ``weights`` (B,)."""
    return (weights * (ours - theirs).square().flatten(1).mean(dim=1)).mean()


def mix_distribution(images: Tensor, concentration: float) -> Tensor:
    """Images (B, C, H, W) with the channel means and deviations of each mixed with those of another of the batch, in
    shares λ and 1 − λ, λ ~ Beta(a, a), a the ``concentration``.

    MixDistribution of KD3, which is MixStyle (Zhou et al., ICLR 2021) on the images themselves. Draws from torch's
    global generators.
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    deviation = (images.var(dim=(2, 3), keepdim=True) + 1e-6).sqrt()
    share = torch.distributions.Beta(concentration, concentration).sample((len(images), 1, 1, 1)).to(images.device)
    other = torch.randperm(len(images)).to(images.device)
    mixed_mean = torch.lerp(mean[other], mean, share)
    mixed_deviation = torch.lerp(deviation[other], deviation, share)
    return (images - mean) / deviation * mixed_deviation + mixed_mean


def instance_contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Loss of two views (B, D) of the same images: each has to find its partner among the 2B − 1 others, by cosine
    similarity over ``temperature`` (NT-Xent, Chen et al., ICML 2020, eq. 1)."""
    count = len(one)
    views = F.normalize(torch.cat([one, other]), dim=1)
    similarity = views @ views.t() / temperature
    alone = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * count, device=views.device).roll(count)
    return F.cross_entropy(similarity.masked_fill(alone, float("-inf")), partner)
