"""The terms of the methods that collect, DeGAN, DFND and KD3, as pure functions.

Shapes: ``student_logits`` and ``teacher_logits`` (B, K); ``labels`` (B,); ``fake`` (B,), a discriminator's logits of
"real". What is called a loss returns a 0-d tensor to be minimised.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# --- DeGAN (Addepalli et al., AAAI 2020) ---


def non_saturating(fake: Tensor) -> Tensor:
    """Loss −E[log σ(D(x̂))]: binary cross-entropy of generated images with the label "real" (DeGAN's L_adv)."""
    return F.softplus(-fake).mean()


def prediction_entropy(teacher_logits: Tensor) -> Tensor:
    """Loss E[−Σ_c p_c log p_c], p = softmax T(x̂), in nats: low where each image is clearly of one class (L_e)."""
    log_probabilities = F.log_softmax(teacher_logits, dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1).mean()


# --- DFND (Chen et al., CVPR 2021) ---


def noisy_label_loss(student_logits: Tensor, log_noise: Tensor, labels: Tensor) -> Tensor:
    """Loss −E[log Σ_k softmax(S(x))_k Q_ky]: the labels' likelihood after Q turned the student's true classes into
    noisy ones. ``log_noise`` (K, K) is log Q, Q_kj the probability that the label is j where the class is k."""
    joint = F.log_softmax(student_logits, dim=1) + log_noise[:, labels].t()
    return -joint.logsumexp(dim=1).mean()


# --- KD3 (Tang et al., ICCV 2023) ---


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
