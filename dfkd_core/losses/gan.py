"""The terms of GANs that learn from collected images, as pure functions: HiDFD (Tang, Chen & Gong, AAAI 2025, arXiv
2412.13525) and DeGAN (Addepalli et al., AAAI 2020).

Shapes: ``real`` and ``fake`` (B,), the discriminator's logits of "real"; ``class_logits`` (B, 2K), class c real at c
and class c fake at K + c; ``labels`` (B,). What is a loss is a 0-d tensor to be minimised.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dfkd_core.losses.generator import p_log_p
from dfkd_core.losses.student import feature_distance


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 − D(x))] + E[max(0, 1 + D(x̂))], the form of BigGAN and of the released code."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """−E[D(x̂)]."""
    return -fake.mean()


def log_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """−L_d of eq. 1: −E[log σ(D(x))] − E[log(1 − σ(D(x̂)))]."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def log_generator(fake: Tensor) -> Tensor:
    """L_g of eq. 1: E[log(1 − σ(D(x̂)))]. Saturates where the discriminator is sure, which eq. 6 is about."""
    return -F.softplus(fake).mean()


DISCRIMINATOR = {"hinge": hinge_discriminator, "log": log_discriminator}
GENERATOR = {"hinge": hinge_generator, "log": log_generator}


def class_real(class_logits: Tensor, labels: Tensor) -> Tensor:
    """−E[log Ψ(y⁺ | x)]. The paper's eq. 1 prints a plus sign, which would teach the classifier to be wrong."""
    return F.cross_entropy(class_logits, labels)


def class_fake(class_logits: Tensor, labels: Tensor) -> Tensor:
    """−E[log Ψ(y⁻ | x̂)]."""
    return F.cross_entropy(class_logits, labels + class_logits.shape[1] // 2)


def class_generator(class_logits: Tensor, labels: Tensor) -> Tensor:
    """−E[log Ψ(y⁺ | x̂)] + E[log Ψ(y⁻ | x̂)] (eq. 1): towards the class as it is in real images."""
    return class_real(class_logits, labels) - class_fake(class_logits, labels)


def blend(teacher_real: Tensor, teacher_fake: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """L_blend without its gate (eq. 8): E[‖Φ_T(x) − Φ_D(x̂)‖₂ + ‖Φ_T(x̂) − Φ_D(x)‖₂], all (B, D)."""
    return feature_distance(teacher_real, fake) + feature_distance(teacher_fake, real)


def transfer(teacher_real: Tensor, teacher_fake: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """L_trans (eq. 9): E[‖Φ_T(x) − Φ_D(x)‖₂ + ‖Φ_T(x̂) − Φ_D(x̂)‖₂], all (B, D)."""
    return feature_distance(teacher_real, real) + feature_distance(teacher_fake, fake)


def smoothed(counts: Tensor, drawn: Tensor, rate: float) -> Tensor:
    """n_c ← (1 − γ) n_c + γ n̄_c (eq. 10); ``drawn`` (K,) are the last batch's samples by class. Returns (K,)."""
    return (1 - rate) * counts + rate * drawn


def class_frequencies(counts: Tensor) -> Tensor:
    """n̂_c = n_c / Σ n (eq. 11), (K,), not below 1/(100 K): a class that died out would weigh infinitely in eq. 12."""
    return (counts / counts.sum()).clamp(min=1 / (100 * len(counts)))


def frequency_regulariser(teacher_logits: Tensor, frequencies: Tensor) -> Tensor:
    """L_reg = Σ_c p^c log p^c / n̂_c (eq. 12), p the batch mean of softmax T(x̂); ``frequencies`` (K,) are n̂."""
    mean = F.softmax(teacher_logits, dim=1).mean(dim=0)
    return (p_log_p(mean) / frequencies).sum()


def non_saturating(fake: Tensor) -> Tensor:
    """Loss −E[log σ(D(x̂))]: binary cross-entropy of generated images with the label "real" (DeGAN's L_adv)."""
    return F.softplus(-fake).mean()
