"""The published loss terms as pure functions, one each.

Shapes: ``logits`` (B, K); ``images`` (B, C, H, W), normalised; ``mask`` (B,) of 0 and 1, the samples that count.
Notation of the comments: x̂ generated images, T teacher, S student, p̄ the batch mean of softmax T(x̂).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_mean(per_sample: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of (B,) over the samples of ``mask``; 0, with zero gradient, where none is left."""
    if mask is None:
        return per_sample.mean()
    mask = mask.to(per_sample.dtype)
    return (per_sample * mask).sum() / mask.sum().clamp(min=1)


def l1_discrepancy(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """mean |S(x̂) − T(x̂)| over samples and classes (DFAD, Fang et al. 2019, eq. 3)."""
    return masked_mean((student_logits - teacher_logits).abs().mean(dim=1), mask)


def kl_discrepancy(
    student_logits: Tensor, teacher_logits: Tensor, mask: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """T²·KL(softmax(T/T) ‖ softmax(S/T)), mean over samples (Hinton et al. 2015)."""
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    log_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * masked_mean(divergence, mask)


def decision_adversarial(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """−1/B Σ_i 1[argmax S(x̂_i) = argmax T(x̂_i)]·KL(T ‖ S): images on which the student is unsure, but not wrong
    (CMI, Fang et al. 2021, "decision adversarial"; Fast and NAYER have it, too)."""
    agree = (student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)).to(student_logits.dtype)
    return -kl_discrepancy(student_logits, teacher_logits, agree) * agree.mean()


def js_discrepancy(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """JS(T, S) = ½KL(T‖M) + ½KL(S‖M), M = (T + S)/2, in nats (at most log 2), mean over samples."""
    log_student, log_teacher = F.log_softmax(student_logits, dim=1), F.log_softmax(teacher_logits, dim=1)
    log_middle = torch.logaddexp(log_student, log_teacher) - math.log(2.0)
    to_teacher = F.kl_div(log_middle, log_teacher, reduction="none", log_target=True).sum(dim=1)
    to_student = F.kl_div(log_middle, log_student, reduction="none", log_target=True).sum(dim=1)
    return masked_mean(0.5 * (to_teacher + to_student), mask)


def js_released(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """The divergence of TA-DFKD's released code: temperature 3, probabilities clamped to [0.01, 0.99],
    ½KL(M‖T) + ½KL(M‖S), and a mean over classes as well as samples, clamped to [0, 1].

    The mean over classes makes it nearly inert: two networks that are sure of different classes by 12 logits are
    worth 0.116 with 10 classes and 0.004 with 100; without bound, 0.161 and 0.016.
    """
    student = F.softmax(student_logits / 3.0, dim=1)
    teacher = F.softmax(teacher_logits / 3.0, dim=1)
    middle = (0.5 * (student + teacher)).clamp(0.01, 0.99)
    student, teacher = student.clamp(0.01, 0.99), teacher.clamp(0.01, 0.99)
    from_middle = 0.5 * middle * (2 * middle.log() - student.log() - teacher.log())
    return masked_mean(from_middle.mean(dim=1), mask).clamp(0.0, 1.0)


DISCREPANCIES = {
    "l1": l1_discrepancy,
    "kl": kl_discrepancy,
    "js": js_discrepancy,
    "js-released": js_released,
}


def class_prior(teacher_logits: Tensor) -> Tensor:
    """Cross-entropy of T(x̂) with its own argmax, "one-hot" (DAFL, Chen et al. 2019, eq. 3)."""
    return F.cross_entropy(teacher_logits, teacher_logits.argmax(dim=1))


def class_balance(teacher_logits: Tensor) -> Tensor:
    """Σ_c p̄_c log p̄_c: the negative entropy of the batch's mean prediction (DAFL, eq. 5)."""
    return p_log_p(F.softmax(teacher_logits, dim=1).mean(dim=0)).sum()


def prediction_entropy(teacher_logits: Tensor) -> Tensor:
    """E[−Σ_c p_c log p_c], p = softmax T(x̂), in nats: low where each image is clearly of one class (DeGAN's L_e)."""
    log_probabilities = F.log_softmax(teacher_logits, dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1).mean()


def p_log_p(p: Tensor) -> Tensor:
    """p·log p of probabilities, any shape; 0 at p = 0, and its gradient finite there."""
    return p * p.clamp_min(torch.finfo(p.dtype).tiny).log()


def activation(teacher_features: Tensor) -> Tensor:
    """− mean |f|, f the teacher's pooled features (B, D) (DAFL, eq. 4)."""
    return -teacher_features.abs().mean()


def total_variation(images: Tensor) -> Tensor:
    """Sum of the 2-norms, over the whole batch, of the differences to four neighbours
    (DeepInversion, Yin et al. 2020). Grows with √B."""
    right = images[:, :, :, :-1] - images[:, :, :, 1:]
    down = images[:, :, :-1, :] - images[:, :, 1:, :]
    rising = images[:, :, 1:, :-1] - images[:, :, :-1, 1:]
    falling = images[:, :, :-1, :-1] - images[:, :, 1:, 1:]
    return right.norm() + down.norm() + rising.norm() + falling.norm()


def image_norm(images: Tensor) -> Tensor:
    """‖x̂‖₂ over the whole batch. Grows with √B."""
    return images.norm()


def instance_discrimination(local: Tensor, whole: Tensor, temperature: float, earlier: int = 0) -> Tensor:
    """InfoNCE: each local view (B, D) has to find the whole view (B, D) of its own image among all of them, by cosine
    similarity over ``temperature`` (CMI, eq. 6). Of the images the last ``earlier`` were made before: their mean is
    added to that of the others. No gradient goes to the whole views."""
    similarity = F.normalize(local, dim=1) @ F.normalize(whole, dim=1).detach().t() / temperature
    own = torch.arange(len(local), device=local.device)
    losses = F.cross_entropy(similarity, own, reduction="none")
    new = len(local) - earlier
    return losses[:new].mean() + (losses[new:].mean() if earlier else 0.0)


def coverage(teacher_logits: Tensor) -> float:
    """How many classes a batch shows, as a share: exp(H(p̄)) / K, H the entropy of its mean prediction; 1 is all."""
    return math.exp(-float(class_balance(teacher_logits))) / teacher_logits.shape[1]


def diversity(teacher_features: Tensor) -> Tensor:
    """1 − the mean pairwise cosine similarity of (B, D) features: 0 when all samples look alike to the teacher.
    Features that are all zero have no direction; they count as alike.

    Uses mean_ij cos(f_i, f_j) = ‖mean_i f_i/‖f_i‖‖², so it costs B·D.
    """
    dead = (teacher_features == 0).all(dim=1).to(teacher_features.dtype).mean()
    return 1.0 - F.normalize(teacher_features, dim=1).mean(dim=0).square().sum() - dead.square()
