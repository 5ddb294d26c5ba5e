"""The lab's words: every term that its pages show, with its meaning, the paper's symbol, and where it comes from.

The terms are data. Pages link to one with ``link``; the page ``glossary`` shows them all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

import streamlit as st

from dfkd_core.analysis.alarms import DEAD, DROWNING

TA_DFKD = "Shin & Choi, AAAI 2024 (TA-DFKD)"
DAFL = "Chen et al., ICCV 2019 (DAFL)"
DFAD = "Fang et al., 2019 (DFAD)"
DEEP_INVERSION = "Yin et al., CVPR 2020 (DeepInversion)"
DIVIDE_MIX = "Li et al., ICLR 2020 (DivideMix)"
DISTILLATION = "Hinton et al., 2015"
PRECISION_RECALL = "Kynkäänniemi et al., NeurIPS 2019"
DENSITY_COVERAGE = "Naeem et al., ICML 2020"
UKD = "Chen et al., CVPR 2023 (UKD)"
LVAE = "Sønderby et al., NeurIPS 2016 (ladder VAE)"
VAE = "Kingma & Welling, ICLR 2014"
HIDFD = "Tang, Chen & Gong, AAAI 2025 (HiDFD)"
ADC_GAN = "Hou et al., ICML 2022 (ADC-GAN)"
DEGAN = "Addepalli et al., AAAI 2020 (DeGAN)"
DFND = "Chen et al., CVPR 2021 (DFND)"
KD3 = "Tang et al., ICCV 2023 (KD3)"
LAB = "a measure of this lab"


@dataclass(frozen=True)
class Term:
    """One entry. ``also``: other names, those of knobs, metrics and headings among them, that lead here.
    ``related``: names of other terms. ``seen``: the pages and panels that show it."""

    name: str
    meaning: str
    symbol: str = ""
    seen: str = ""
    source: str = ""
    related: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


def slug(text: str) -> str:
    """``BN statistics`` and ``bn_statistics`` -> ``bn-statistics``, as it stands in a link."""
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")


def find(text: str) -> Term | None:
    """The term of that name, or of that other name; ``share/tv`` is found as ``share``."""
    return _BY_SLUG.get(slug(text.split("/")[0]))


def matching(query: str) -> list[Term]:
    """The terms that hold every word of ``query``; those that hold them in one of their names come first."""
    words = query.casefold().split()
    found = [term for term in TERMS if _holds(words, *_everything(term))]
    return sorted(found, key=lambda term: not _holds(words, *_names(term)))


def path(name: str) -> str:
    """The address of a term on this server."""
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"{'/' + base if base else ''}/glossary?term={quote(slug(name))}"


def link(name: str, label: str = "") -> str:
    """Markdown that leads from ``label`` (else ``name``) to the term. Raises ``KeyError`` where there is none."""
    if find(name) is None:
        raise KeyError(name)
    return f"[{label or name}]({path(name)})"


def help_of(name: str, text: str = "") -> str:
    """The help ``text`` of a widget (else what the term means), and a link to the term where there is one."""
    term = find(name)
    if term is None:
        return text
    return f"{text or term.meaning} {link(term.name, f'Glossary: {term.name}')}"


def _names(term: Term) -> tuple[str, ...]:
    return (term.name, *term.also)


def _everything(term: Term) -> tuple[str, ...]:
    return (*_names(term), term.symbol, term.meaning, term.source)


def _holds(words: list[str], *texts: str) -> bool:
    text = " ".join(texts).casefold()
    return all(word in text for word in words)


TERMS: tuple[Term, ...] = (
    Term(
        "accepted region",
        "The judged losses whose posterior is above the threshold, shaded in the histogram. It need not reach down to "
        "zero: where the two components differ in width there can be two boundaries, and then the samples of lowest "
        "loss are rejected as well.",
        seen="Distill and Inspect, judged losses",
        source=TA_DFKD,
        related=("mixture", "posterior", "threshold", "flagged sample"),
        also=("accepted", "region"),
    ),
    Term(
        "accuracy",
        "Share of test images that the student labels correctly. The test images only measure: no method sees them. "
        "The large number on Distill is the student's accuracy at the step shown.",
        seen="Distill, student against teacher; Runs",
        related=("agreement", "final and best", "teacher"),
        also=("student against teacher", "test accuracy", "student accuracy", "score"),
    ),
    Term(
        "activation term",
        "Minus the mean absolute value of the teacher's penultimate features on a batch. Minimising it asks for images "
        "that excite the teacher's features, as real images do.",
        symbol="− mean |f|, weight λ_a",
        seen="Distill, losses by term; the form's class prior",
        source=f"{DAFL}, eq. 4",
        related=("class prior", "class balance", "penultimate features", "loss term"),
        also=("activation", "activation_weight"),
    ),
    Term(
        "adversarial term",
        "Minus the discrepancy between student and teacher on the generated images. Minimising it makes the generator "
        "look for images on which the student is still wrong. In TA-DFKD only the clean samples count.",
        symbol="L_adv = − D(S(x̂), T(x̂)), weight λ_adv",
        seen="Distill, losses by term and term health",
        source=f"{DFAD}; {TA_DFKD}",
        related=("discrepancy", "generator", "clean", "student steps"),
        also=("adversarial", "adversarial_weight"),
    ),
    Term(
        "agreement",
        "Share of test images on which student and teacher say the same, right or wrong. Without test images it is "
        "measured on synthetic ones. The rest is their disagreement.",
        seen="Distill, student against teacher; Runs; Inspect, selection audit",
        related=("accuracy", "selection audit"),
        also=("disagreement",),
    ),
    Term(
        "ancestral sampling",
        "Random numbers become the top level of latents, these say how the next level is distributed, and so on down "
        "to the image. The teacher's own samples made in this way need no data and no other model.",
        symbol="z_L ~ N(0, 1), z_l ~ p(z_l | z_{l+1}), x ~ p(x | z₁)",
        seen="the form, synthesis; Generative",
        source=UKD,
        related=("latent", "level", "prior", "temperature"),
        also=("ancestral",),
    ),
    Term(
        "augmentation",
        "Random crops and flips of the images that the student learns from. The teacher judges the images without "
        "them.",
        seen="the form, networks",
        source=TA_DFKD,
        related=("judged loss", "student loss"),
    ),
    Term(
        "AUROC",
        "Area under the ROC curve: the probability that a score ranks a random sample of one kind above a random "
        "sample of the other. 0.5 is chance, 1 is perfect.",
        seen="Inspect, selection audit",
        source="Hanley & McNeil, 1982",
        related=("selection audit", "posterior"),
    ),
    Term(
        "batch size",
        "The number of images generated at once. Losses are scaled, and the mixture is fitted, within one batch.",
        symbol="B",
        seen="the form, schedule",
        related=("mixture", "draws", "step"),
        also=("batch",),
    ),
    Term(
        "benchmark",
        "A data set with its image size and its classes. Its test images measure the student; no method sees them.",
        seen="the form; Library",
        related=("original data", "accuracy", "teacher"),
    ),
    Term(
        "blend",
        "L_blend: the discriminator's features of a real image come near the teacher's of its synthetic partner, and "
        "the other way round. It makes real and fake harder to tell apart, so that few real images are not learned by "
        "heart. Applied in a share q of the updates.",
        symbol="L_blend, 1(p > q)",
        seen="Hybrid; Distill, losses by term",
        source=f"{HIDFD}, eq. 8",
        related=("feature integration", "transfer", "discriminator"),
        also=("blend_gate", "gate", "q"),
    ),
    Term(
        "BN statistics",
        "Distance between two means and two variances in each BatchNorm layer of the teacher: those of the synthetic "
        "batch, and those stored while the teacher was trained. A teacher without such layers, like LeNet-5, has none, "
        "and then the term is absent.",
        symbol="BNS = Σ_l ‖μ_l(x̂) − μ̂_l‖₂ + ‖σ²_l(x̂) − σ̂²_l‖₂, weight λ_BN",
        seen="Distill, losses by term and term health",
        source=f"{DEEP_INVERSION}; {TA_DFKD}",
        related=("teacher", "generator loss", "loss term"),
        also=("BNS", "bn_weight", "BatchNorm statistics"),
    ),
    Term(
        "boundary of the real class",
        "A synthetic image is inside (★) when it lies near a real image of its class: closer, in the teacher's "
        "features, than that image's k-th nearest real neighbour of the class (k = 3). Otherwise it is outside (×). "
        "The split looks at real data, so it is not the one into clean and rejected.",
        symbol="★ inside, × outside",
        seen="Inspect, projection and selection audit",
        source=f"{TA_DFKD}, Fig. 4; the neighbourhoods: {PRECISION_RECALL}, eq. 1",
        related=("selection audit", "penultimate features", "clean", "original data"),
        also=("inside", "outside", "star", "cross"),
    ),
    Term(
        "checkpoint",
        "The whole state of a run at one step, on disk: networks, optimisers, counters. A run that was stopped resumes "
        "from it and, on the same CPU, ends bit-identical to one that never was.",
        seen="Distill, Resume",
        related=("run", "seed"),
    ),
    Term(
        "choice of images",
        "Learning from some of the collected images only. DFND keeps, once, the share of them on which the teacher's "
        "cross-entropy with its own argmax is lowest. KD3 chooses anew several times in a run, by confidence.",
        seen="the form, choice; slow motion of DFND and KD3",
        source=f"{DFND}; {KD3}",
        related=("collected images", "cross-entropy", "confidence threshold", "kept"),
        also=("choice", "kept_share", "selections"),
    ),
    Term(
        "class attention",
        "Where in the image each class is seen: the last feature maps, weighted with the linear layer's row of the "
        "class. CAT-KD matches the student's maps with the teacher's, whatever their strength. It needs networks "
        "whose linear layer follows the mean of the maps.",
        symbol="A_c = Σ_d w_cd F_d",
        seen="Distill, losses by term; the form, student",
        source="Guo et al., CVPR 2023 (CAT-KD), eq. 3",
        related=("objective", "network"),
        also=("CAT-KD", "class activation map"),
    ),
    Term(
        "class balance",
        "Negative entropy of the teacher's mean prediction over a batch. Minimising it asks for all classes equally "
        "often.",
        symbol="Σ_c p̄_c log p̄_c, weight λ_BAL",
        seen="Distill, losses by term; Class prior",
        source=f"{DAFL}, eq. 5",
        related=("classes covered", "class prior", "collapse"),
        also=("class_balance_weight", "information entropy", "BAL", "diversity_weight"),
    ),
    Term(
        "class frequencies",
        "How often the generator makes each class, as the teacher sees it, smoothed over the batches: "
        "n ← (1 − γ)·n + γ·n̄. Classes that it makes rarely weigh more in L_reg.",
        symbol="n̂_c, γ",
        seen="Hybrid; the form, guidance",
        source=f"{HIDFD}, eqs. 10 to 12",
        related=("class balance", "generator loss"),
        also=(
            "category frequency smoothing",
            "smoothing",
            "frequency_rate",
            "frequency",
            "frequency_weight",
            "L_reg",
            "made",
            "smoothed",
        ),  # fmt: skip
    ),
    Term(
        "class prior",
        "Cross-entropy of the teacher's answer with its own most likely class, as a term of the generator's loss: it "
        "forces images of which the teacher is sure. The TA-DFKD paper argues that it narrows what is generated "
        "without ruling out poor images, and leaves it out.",
        symbol="CE(T(x̂), argmax T(x̂)), weight λ",
        seen="Distill, losses by term; the form; Class prior",
        source=f"{DAFL}, eq. 3; {TA_DFKD}",
        related=("judged loss", "lenient expert", "within-class diversity", "class balance"),
        also=("one-hot", "OH", "class_prior_weight", "intensity"),
    ),
    Term(
        "class term of a GAN",
        "ADC-GAN's classifier knows every class twice, as it is in real and as it is in fake images. The discriminator "
        "learns to name class and kind; the generator wants its class to be taken for the real one.",
        symbol="−log Ψ(y⁺|x), −log Ψ(y⁻|x̂)",
        seen="Hybrid; Distill, losses by term",
        source=f"{ADC_GAN}; {HIDFD}, eq. 1",
        related=("discriminator", "conditional", "pseudo-label"),
        also=("class_real", "class_fake", "class_g", "ADC-GAN"),
    ),
    Term(
        "classes covered",
        "Effective number of classes in a batch, the exponential of the entropy of the teacher's mean prediction, over "
        "the number of classes K. It is 1 where all classes are equally frequent and 1/K where there is only one. The "
        "metrics call it coverage; it is not the coverage of generated images.",
        symbol="exp(− Σ_c p̄_c log p̄_c) / K",
        seen="Distill, course and classes generated; Runs",
        source="Hill, 1973, for the effective number",
        related=("class balance", "diversity", "course", "density and coverage"),
        also=("coverage", "classes", "classes generated"),
    ),
    Term(
        "classifier-free guidance",
        "How strongly a diffusion model is held to the class, or the prompt, that it was asked for: its prediction is "
        "moved away from the one without a class. A weight of 1 takes the prediction for the class as it is.",
        symbol="ε(x_t) + w·(ε(x_t, y) − ε(x_t))",
        seen="the form, guidance",
        source="Ho & Salimans, 2022",
        related=("diffusion model", "guidance"),
        also=("class_guidance",),
    ),
    Term(
        "clean",
        "Said of a sample that the teacher vouches for: its posterior is above the threshold. The student learns from "
        "the clean samples only, and only they count in the adversarial term.",
        seen="Distill, synthetic images (green, solid frame); Inspect",
        source=TA_DFKD,
        related=("rejected", "posterior", "threshold", "kept"),
        also=("clean sample", "what the student learns from"),
    ),
    Term(
        "collapse",
        "The generator shows few kinds of image (mode collapse), or the student loses what it had learned. A warning "
        "says so in words and names the knobs that bear on it.",
        seen="Distill, warnings",
        source="mode collapse: Goodfellow, 2016",
        related=("classes covered", "diversity", "dead term"),
        also=("mode collapse",),
    ),
    Term(
        "collected images",
        "Real images from elsewhere, few, without labels, not those that the teacher was trained on. Methods that "
        "collect learn from them; others never see one.",
        symbol="D_c",
        seen="Hybrid; the form",
        source=HIDFD,
        related=("ratio", "pseudo-label", "hybrid set"),
        also=("collected", "collecting", "collected set", "collected images only"),
    ),
    Term(
        "conditional",
        "A generator that is told which class to make. How its discriminator checks that is what sets ADC-GAN, AC-GAN "
        "and the projection apart; none of them: a GAN that knows no classes.",
        seen="Hybrid; the form, GAN",
        source=f"{ADC_GAN}; Miyato & Koyama, ICLR 2018 (projection)",
        related=("class term of a GAN", "generator", "latent"),
        also=("conditioning", "wanted"),
    ),
    Term(
        "confidence",
        "The largest of the teacher's class probabilities for an image. A teacher can be confident about noise too, so "
        "confidence alone does not make a good image.",
        symbol="max softmax T(x̂)",
        seen="Distill, below each image; Inspect",
        related=("judged loss", "label", "logit"),
    ),
    Term(
        "confidence threshold",
        "How confident the joint prediction has to be for KD3 to keep an image. The class that is predicted most has "
        "to exceed τ itself; the rarer a class is among the predictions, the less it takes.",
        symbol="τ_c = τ σ_c / (2 − σ_c), σ_c = n_c / max n",
        seen="the form, choice",
        source=f"{KD3}; Zhang et al., NeurIPS 2021 (FlexMatch)",
        related=("joint prediction", "confidence", "choice of images"),
        also=("confidence_cut", "class-adaptive confidence"),
    ),
    Term(
        "contrastive loss",
        "Two views of the same image have to be more alike, in cosine similarity of their features, than views of "
        "different images of the batch. In KD3 one view is the image and the other a mixed one.",
        symbol="NT-Xent",
        seen="the form, contrast; losses by term",
        source=f"{KD3}; Chen et al., ICML 2020 (SimCLR)",
        related=("MixDistribution", "temperature", "loss term"),
        also=("contrast", "contrast_weight", "contrast_temperature"),
    ),
    Term(
        "correlation congruence",
        "How alike any two images of a batch are to the student should be how alike they are to the teacher. CC "
        "compares the tables of similarities, a Gaussian kernel of the penultimate features up to its second power.",
        symbol="mean (Ψ_S − Ψ_T)², Ψ_ij = exp(−γ‖f_i − f_j‖²)",
        seen="Distill, losses by term; the form, student",
        source="Peng et al., ICCV 2019 (CC), eqs. 5, 6 and 9",
        related=("objective", "relational distillation", "penultimate features"),
        also=("correlation", "CC"),
    ),
    Term(
        "course",
        "The panel that follows three shares over the training: kept, classes covered, diversity. Together they say "
        "whether the images stay good and varied.",
        seen="Distill",
        related=("kept", "classes covered", "diversity"),
    ),
    Term(
        "cross-entropy",
        "Minus the logarithm of the probability that a network gives to a class. It is 0 when the network is certain "
        "of that class and grows without bound as the probability goes to 0.",
        symbol="CE",
        seen="judged losses, in nats",
        related=("judged loss", "nat", "logit"),
    ),
    Term(
        "data-free distillation",
        "Knowledge distillation without the teacher's training data: with nothing but the teacher to go by, the images "
        "to learn from have to be made. Here a generator makes them.",
        seen="everywhere",
        source=f"Lopes et al., 2017; {DAFL}",
        related=("distillation", "generator", "teacher", "original data"),
        also=("data-free knowledge distillation", "DFKD"),
    ),
    Term(
        "dead term",
        f"A loss term with less than {100 * DEAD:g} % of the generator's gradient: it stands in the sum and moves "
        f"nothing. A term with more than {100 * DROWNING:g} % drowns the others. Both raise a warning.",
        seen="Distill, warnings and term health",
        source=LAB,
        related=("term health", "loss term"),
        also=("drowning",),
    ),
    Term(
        "denoising step",
        "One of the steps in which a diffusion model turns noise into an image. At each it predicts the clean image; "
        "the film shows these predictions, and the loss that guides them.",
        symbol="x̂₀(x_t)",
        seen="Generative; Distill, slow motion; the form, guidance",
        source="Song et al., ICLR 2021 (DDIM)",
        related=("diffusion model", "guidance"),
        also=("denoising_steps", "timestep", "film", "film of the synthesis"),
    ),
    Term(
        "density and coverage",
        "Density counts in how many real neighbourhoods a generated image lies, on average and divided by k; coverage "
        "is the share of real neighbourhoods that hold a generated image. A neighbourhood is the ball around a real "
        "image that reaches to its k-th nearest real neighbour (k = 5).",
        seen="Class prior",
        source=DENSITY_COVERAGE,
        related=("precision and recall", "FID", "within-class diversity"),
        also=("density",),
    ),
    Term(
        "device",
        "Where the computing is done: the processor (cpu) or a graphics card (cuda:0, cuda:1, …).",
        seen="the form",
        related=("threads",),
    ),
    Term(
        "diffusion model",
        "A network that learned to take noise out of images, and so makes images from noise. Here it was trained on "
        "other data than the teacher, and the teacher guides it.",
        seen="Generative; the form, synthesis",
        source="Ho et al., NeurIPS 2020",
        related=("denoising step", "classifier-free guidance", "guidance", "synthesis"),
        also=("diffusion", "stable-diffusion"),
    ),
    Term(
        "discrepancy",
        "How far student and teacher are apart on an image. L1 compares logits, KL and JS compare class probabilities. "
        "js-released is the formula of the paper's released code: it also averages over classes, which leaves hardly "
        "any gradient.",
        symbol="D",
        seen="the form, adversarial",
        source=f"L1: {DFAD}, eq. 3; KL: {DISTILLATION}; JS: {TA_DFKD}, released code",
        related=("adversarial term", "student loss", "logit"),
        also=("L1", "JS", "js-released"),
    ),
    Term(
        "discriminator",
        "The network that tells real images from generated ones while the generator learns to deceive it.",
        symbol="D",
        seen="Hybrid",
        source="Goodfellow et al., 2014; Brock et al., ICLR 2019 (BigGAN)",
        related=("generator", "discriminator confidence", "GAN"),
        also=("discriminator_steps", "discriminator_lr", "discriminator_loss", "adversarial_d"),
    ),
    Term(
        "discriminator confidence",
        "How real the discriminator takes images to be, between 0 and 1: collected ones it learns from, unseen ones of "
        "the same source, and generated ones. Where it is sure of the collected but not of the unseen ones, it has "
        "learned them by heart.",
        symbol="σ(D(x))",
        seen="Hybrid",
        source=f"{HIDFD}, eq. 6; unseen images: {LAB}",
        related=("discriminator", "feature integration", "collected images"),
        also=("confidence_real", "confidence_fake", "confidence_unseen", "unseen images", "unseen"),
    ),
    Term(
        "distillation",
        "Training a small network, the student, to give the answers of a large one, the teacher.",
        seen="everywhere",
        source=DISTILLATION,
        related=("teacher", "student", "data-free distillation"),
        also=("knowledge distillation", "KD", "vanilla KD"),
    ),
    Term(
        "diversity",
        "1 minus the mean pairwise cosine similarity of the teacher's penultimate features in a batch. It is 0 when "
        "all images look alike to the teacher.",
        symbol="1 − mean cos(f_i, f_j)",
        seen="Distill, course; Runs",
        source=LAB,
        related=("penultimate features", "within-class diversity", "collapse"),
    ),
    Term(
        "draws",
        "Batches generated for one student step until there are B clean samples. max draws bounds them, so that a step "
        "ends even when the teacher rejects nearly everything.",
        seen="Runs; the form, selection",
        source=f"{TA_DFKD}; the bound is this lab's",
        related=("clean", "kept", "batch size", "query"),
        also=("max_draws",),
    ),
    Term(
        "early exit",
        "A small network that answers from one stage of the student, during the training only. In OFA-KD every exit, "
        "and the student's own output, learns the teacher's answer with the target enhanced: the class that the "
        "teacher names weighs the more, the surer the teacher is.",
        symbol="−(1 + p_ŷ)^γ log s_ŷ − Σ_{c≠ŷ} p_c log s_c",
        seen="Distill, losses by term; the form, student",
        source="Hao et al., NeurIPS 2023 (OFA-KD)",
        related=("objective", "target class"),
        also=("early_exits", "enhanced_target", "adaptive target enhancement", "OFA-KD"),
    ),
    Term(
        "ELBO",
        "Evidence lower bound: how well a VAE explains an image, in nats. It is the reconstruction's log-likelihood "
        "minus the KL between posterior and prior; higher is better. A student whose encoder was not trained has none.",
        symbol="E_q[log p(x | z₁)] − Σ_l KL(q ‖ p)",
        seen="Generative; Library, teachers; the form, student",
        source=VAE,
        related=("reconstruction", "KL divergence", "posterior of a latent", "latent-variable model"),
        also=("evidence lower bound",),
    ),
    Term(
        "epoch",
        "A fixed number of steps, after which the student's learning rate is lowered. It is no pass over a data set: "
        "there is none.",
        seen="the form, schedule",
        related=("step", "learning rate", "schedule"),
        also=("epochs",),
    ),
    Term(
        "expectation–maximisation",
        "The way the mixture is fitted. It takes turns between the posterior of each loss and the weights, means and "
        "variances of the two components, at most ten times.",
        symbol="EM",
        seen="judged losses",
        source=f"Dempster et al., 1977; settings of {DIVIDE_MIX}",
        related=("mixture", "posterior"),
        also=("EM",),
    ),
    Term(
        "extractor",
        "The network whose features a measure compares: another teacher of the same benchmark, never the one under "
        "test, or Inception-v3 where its weights can be had. Axes name it, since its figures hold for it alone.",
        seen="Class prior",
        related=("FID", "density and coverage", "penultimate features"),
        also=("feature extractor",),
    ),
    Term(
        "feature integration",
        "L_blend and L_trans together: the teacher's features guide the discriminator's, so that it does not overfit "
        "to few collected images.",
        symbol="λ_d (L_blend + L_trans)",
        seen="Hybrid; the form, guidance",
        source=f"{HIDFD}, eqs. 8, 9 and 13",
        related=("blend", "transfer", "discriminator confidence"),
        also=("guidance_weight", "teacher-guided generation"),
    ),
    Term(
        "FID",
        "Fréchet inception distance: the distance between two Gaussians, one fitted to features of real images and one "
        "to features of generated images. Lower is more alike. It depends on the network that gives the features and "
        "on the number of images, so compare only figures in which both are the same.",
        symbol="‖μ_r − μ_g‖² + tr(Σ_r + Σ_g − 2 (Σ_r Σ_g)^½)",
        seen="Class prior; Generative",
        source="Heusel et al., NeurIPS 2017",
        related=("extractor", "density and coverage", "precision and recall", "original data", "mismatch"),
        also=("Fréchet inception distance", "Fréchet distance"),
    ),
    Term(
        "final and best",
        "Final is the accuracy after the last step, best the highest of the run. Choosing the best needs test data, "
        "which a data-free method does not have: so both are kept, and final is the honest one.",
        seen="Runs; Lessons",
        related=("accuracy", "run"),
        also=("final", "best"),
    ),
    Term(
        "fixed latents",
        "Latents that stay the same during the whole run. Image i of every recorded step is made from latent i, so one "
        "can follow what becomes of it.",
        seen="Inspect, fixed latents and film strip",
        source=LAB,
        related=("latent", "generator", "synthetic image"),
        also=("probes", "film strip"),
    ),
    Term(
        "flagged sample",
        "A rejected sample whose loss is lower than that of any clean one: rejected although the teacher is surer of "
        "it. It shows that the accepted region has two boundaries.",
        symbol="⚑",
        seen="Inspect",
        source=LAB,
        related=("accepted region", "rejected", "mixture"),
        also=("flagged",),
    ),
    Term(
        "GAN",
        "A generator and a discriminator that learn from each other. In HiDFD and DeGAN it learns from collected "
        "images, with the teacher's help, before the student does.",
        seen="Hybrid; the form, GAN",
        source="Goodfellow et al., 2014",
        related=("discriminator", "generator", "conditional"),
        also=("gan_steps", "gan_batch_size", "adversarial_g", "generative adversarial network"),
    ),
    Term(
        "generator",
        "The network that turns latents into images. It never sees a real image and learns through the teacher and the "
        "student alone: its images should teach the student something.",
        symbol="G",
        seen="Distill, synthetic images; the form",
        source=f"{DAFL}; {DFAD}",
        related=("latent", "synthetic image", "generator loss", "width"),
    ),
    Term(
        "generator loss",
        "The weighted sum of terms that the generator descends. TA-DFKD has the first four; the terms of the class "
        "prior can be added to see what they do.",
        symbol="L_G = L_adv + λ_BN·BNS + λ_L2·‖x̂‖₂ + λ_TV·TV(x̂)",
        seen="Runs",
        source=TA_DFKD,
        related=("adversarial term", "BN statistics", "image norm", "total variation", "class prior"),
    ),
    Term(
        "generator's average",
        "An exponential moving average of the generator's weights. It makes better images than the generator of any "
        "single step, and so the synthetic part of the hybrid set.",
        symbol="EMA",
        seen="the form, GAN",
        related=("generator", "hybrid set"),
        also=("ema",),
    ),
    Term(
        "gradient",
        "How a loss changes with each parameter of a network. Training moves the parameters against it; its norm tells "
        "how hard the loss pulls.",
        seen="Distill, term health and slow motion",
        related=("term health", "learning rate", "optimiser"),
        also=("gradient norm",),
    ),
    Term(
        "guidance",
        "The teacher steers what is made for it. In synthesis the gradient of a loss, low where the teacher knows what "
        "it sees, moves latents or denoising steps; the metrics show it on the finished images, and on the first "
        "prediction. HiDFD's teacher guides the discriminator's features instead.",
        seen="Generative; Distill, course; the form, guidance",
        source="Bansal et al., 2023 (universal guidance)",
        related=("guidance strength", "denoising step", "synthesis", "feature integration"),
        also=("guidance_first", "guidance loss"),
    ),
    Term(
        "guidance strength",
        "How far a denoising step moves along the gradient of the guidance's loss: a root mean square, of pixels "
        "from −1 to 1, at full noise. At 0 the diffusion model goes its own way.",
        symbol="x̂₀ − s·√(1 − ᾱ_t)·g",
        seen="the form, guidance",
        related=("guidance", "denoising step"),
        also=("strength",),
    ),
    Term(
        "hybrid set",
        "What HiDFD's student learns from: the collected images, each repeated N times, and the synthetic ones of the "
        "trained generator. α is the share of collected images in it.",
        symbol="D = D_c ∪ D_s, α",
        seen="Hybrid; the form, hybrid",
        source=HIDFD,
        related=("inflation", "collected images", "synthetic image"),
        also=("hybrid", "alpha", "hybrid data"),
    ),
    Term(
        "image norm",
        "Euclidean norm of the normalised images of a batch. As a term it keeps pixels from extreme values. The weight "
        "holds for 1,024 images and is scaled to other batch sizes.",
        symbol="‖x̂‖₂, weight λ_L2",
        seen="Distill, losses by term",
        source=f"{DEEP_INVERSION}; {TA_DFKD}",
        related=("total variation", "generator loss"),
        also=("l2", "l2_weight"),
    ),
    Term(
        "inflation",
        "How often each collected image is repeated in the hybrid set. By default as often as makes both parts alike.",
        symbol="N = ⌊|D_s| / |D_c|⌋",
        seen="Hybrid; the form, hybrid",
        source=HIDFD,
        related=("hybrid set",),
        also=("data inflation", "inflation factor"),
    ),
    Term(
        "interpolation",
        "The images between two latents, a step at a time. Where a model has learned its latents well, one image turns "
        "smoothly into the other.",
        seen="Generative",
        related=("latent", "shared noise"),
        also=("interpolations",),
    ),
    Term(
        "joint prediction",
        "Teacher's and student's logits averaged. KD3 judges collected images by it: at first it is nearly the "
        "teacher's alone, later the student's.",
        symbol="α·T(x) + (1 − α)·S(x)",
        seen="slow motion of KD3",
        source=KD3,
        related=("confidence threshold", "logit", "choice of images"),
    ),
    Term(
        "judged loss",
        "Cross-entropy of the teacher's answer with its own most likely class: low where the teacher is sure. It is "
        "measured in nats and scaled to between 0 and 1 within the batch, so the scale tells nothing across batches.",
        symbol="ℓ_i = CE(T(x̂_i), argmax T(x̂_i))",
        seen="Distill and Inspect, judged losses",
        source=f"{TA_DFKD}, after {DIVIDE_MIX}",
        related=("mixture", "posterior", "confidence", "class prior"),
        also=("judged losses", "loss"),
    ),
    Term(
        "kept",
        "Share of the generated samples that were clean. It says how lenient the expert is at this step. Where a "
        "method chooses among collected images, the share of these that it keeps.",
        seen="Distill, course; Runs",
        source=TA_DFKD,
        related=("clean", "draws", "threshold"),
        also=("share kept",),
    ),
    Term(
        "KL divergence",
        "How far one distribution is from another, in nats; 0 where they are the same. Of a level of latents it says "
        "how much that level tells about an image beyond the prior.",
        symbol="KL(q ‖ p)",
        seen="Generative; Distill, losses by term",
        source="Kullback & Leibler, 1951",
        related=("discrepancy", "ELBO", "level", "guidance"),
        also=("KL", "kl_weight"),
    ),
    Term(
        "label",
        "The class that a network finds most likely, its argmax. A synthetic image has no true label, only the "
        "teacher's.",
        symbol="argmax T(x̂)",
        seen="Distill, below each image; Inspect",
        related=("confidence", "logit", "classes covered"),
    ),
    Term(
        "latent",
        "A vector of independent normal random numbers from which the generator makes one image. The knob is its "
        "length. In a model such as a VAE latents come in levels, and an encoder finds those of an image.",
        symbol="z",
        seen="the form, networks; Inspect; Generative",
        related=("generator", "fixed latents", "level", "latent-variable model"),
        also=("latents",),
    ),
    Term(
        "latent match",
        "UKD's second term: over all levels, the mean squared differences between the means and between the standard "
        "deviations of the teacher's and the student's prior, given the same noise.",
        symbol="Σ_l mean[(μ_l^T − μ_l^S)² + (σ_l^T − σ_l^S)²], weight 0.1",
        seen="Generative, losses by term",
        source=UKD,
        related=("UKD", "output KL", "level", "prior"),
        also=("latent_weight",),
    ),
    Term(
        "latent optimisation",
        "Samples of the teacher are improved by moving their latents down the gradient of the guidance. It takes "
        "nothing but the teacher.",
        seen="the form, synthesis; the form, guidance",
        related=("latent", "guidance", "ancestral sampling"),
        also=("latent_steps", "latent_lr"),
    ),
    Term(
        "latent-variable model",
        "A model that explains an image by hidden numbers, its latents: a decoder makes images from them, an encoder "
        "finds those of an image. A VAE is one; LVAE-H is one of several levels and width H.",
        seen="Generative; Library",
        source=f"{VAE}; {LVAE}",
        related=("latent", "level", "ELBO", "width"),
        also=("VAE", "LVAE", "conv-vae", "generative model"),
    ),
    Term(
        "layer attention",
        "Which layers of the teacher each layer of the student learns from, image by image. SemCKD learns these "
        "weights together with the student, instead of pairing layers by hand.",
        symbol="Σ_ij α_ij ‖f_ij^S − f_j^T‖²",
        seen="Distill, losses by term; the form, student",
        source="Chen et al., AAAI 2021 (SemCKD)",
        related=("objective", "network"),
        also=("attended_layers", "SemCKD"),
    ),
    Term(
        "learning rate",
        "The size of a network's updates. The student's falls along half a cosine from epoch to epoch; the generator's "
        "stays.",
        symbol="η_S, η_G",
        seen="the form, optimisation; Runs",
        source="cosine: Loshchilov & Hutter, 2017",
        related=("optimiser", "epoch"),
        also=("student_lr", "generator_lr"),
    ),
    Term(
        "lenient expert",
        "The teacher's part in TA-DFKD. It judges samples and picks the clean ones, and leaves the generator free, "
        "where a strict supervisor would force its class prior on the generator.",
        seen="Distill, the tour",
        source=TA_DFKD,
        related=("teacher", "selection", "class prior"),
        also=("teacher as a lenient expert",),
    ),
    Term(
        "level",
        "One of the layers of latents of an LVAE. The top one has the fewest and says what the image is about; each "
        "one below adds detail, given the one above.",
        symbol="z_l",
        seen="Generative",
        source=LVAE,
        related=("latent", "prior", "posterior of a latent", "latent-variable model"),
        also=("levels", "posterior and prior"),
    ),
    Term(
        "live knob",
        "A knob that can change while the run goes on: term weights, learning rates, the threshold. A change counts "
        "from the next step on and is marked on the curves and kept in the log, so that a resumed run applies it as "
        "well.",
        seen="Distill",
        related=("run", "preset", "step"),
        also=("live knobs", "change knobs"),
    ),
    Term(
        "logit",
        "A network's raw score for a class. Softmax turns the scores of all classes into probabilities that sum to 1.",
        symbol="T(x̂), S(x̂)",
        seen="student loss; Inspect, class distributions",
        related=("confidence", "cross-entropy", "student loss"),
        also=("logits", "softmax", "class distribution"),
    ),
    Term(
        "loss term",
        "One summand of a loss, drawn as it enters the sum, its weight included. Each has an axis of its own, because "
        "they differ in size.",
        seen="Distill, losses by term",
        related=("generator loss", "student loss", "term health"),
        also=("losses by term", "terms"),
    ),
    Term(
        "method",
        "An algorithm of data-free distillation: what is generated, what is learned from, and in which order. In the "
        "lab, one file of code.",
        seen="the form; Library",
        related=("data-free distillation", "noise images", "selection"),
        also=("TA-DFKD",),
    ),
    Term(
        "mismatch",
        "Mean squared difference between the pixels that teacher and student make of the same noise. Lower is better; "
        "it needs no test image.",
        seen="Generative; Runs",
        source=LAB,
        related=("shared noise", "FID", "output KL"),
    ),
    Term(
        "MixDistribution",
        "An image takes over part of the channel means and deviations of another one: its brightness and contrast, "
        "not its shapes. The student shall see the same in both.",
        symbol="λ ~ Beta(a, a)",
        seen="the form, contrast",
        source=f"{KD3}; Zhou et al., ICLR 2021 (MixStyle)",
        related=("contrastive loss", "augmentation"),
        also=("mixing", "MixStyle"),
    ),
    Term(
        "mixture",
        "Two Gaussians fitted to the scaled judged losses of a batch. The component of the lower mean stands for the "
        "samples that the teacher vouches for, the other one for the rest.",
        seen="Distill and Inspect, judged losses (solid: lower mean)",
        source=f"{TA_DFKD}, after {DIVIDE_MIX}",
        related=("posterior", "judged loss", "expectation–maximisation", "accepted region"),
        also=("Gaussian mixture", "two components", "component", "low component", "high component", "GMM"),
    ),
    Term(
        "momentum",
        "The part of the last update that the student's optimiser carries into the next, which smooths its way.",
        seen="the form, optimisation",
        source="Polyak, 1964",
        related=("optimiser", "learning rate"),
    ),
    Term(
        "nat",
        "The unit of a cross-entropy taken with the natural logarithm. 1 nat is about 1.44 bits.",
        seen="judged losses",
        related=("cross-entropy", "judged loss"),
        also=("nats",),
    ),
    Term(
        "nearest real image",
        "Of the test images, the one whose features are nearest to those of a synthetic image, and how far away it is.",
        seen="Generative, synthesis",
        related=("synthetic image", "extractor", "original data"),
        also=("nearest real images",),
    ),
    Term(
        "network",
        "A function whose parameters are learned. Teacher and student are classifiers (LeNet-5, ResNets); the "
        "generator makes images.",
        seen="the form; Library",
        related=("teacher", "student", "generator"),
        also=("networks", "LeNet-5", "ResNet"),
    ),
    Term(
        "noise adaptation",
        "On collected images the teacher's argmax is only a guess. DFND learns a matrix of how likely each guess is "
        "where another class is the true one, and compares the student with the guesses through it. The assumed "
        "accuracy of the teacher is its diagonal.",
        symbol="Q, K × K; − log (softmax S(x) · Q)_y",
        seen="the form, noise adaptation; losses by term",
        source=DFND,
        related=("pseudo-label", "student loss", "loss term"),
        also=("noise_weight", "noise_lr", "noisy_labels", "noise adaptation layer", "assumed_accuracy"),
    ),
    Term(
        "noise images",
        "Random pixels in the place of generated images. What a student learns from them is the floor that a generator "
        "has to beat.",
        seen="the form, method",
        source=f"{DFAD}, as a baseline",
        related=("method", "generator", "query"),
        also=("noise", "kind"),
    ),
    Term(
        "objective",
        "What the student matches of its teacher. HiDFD's way: the teacher's classifier is shared and frozen, and the "
        "student's features are aligned with the teacher's. The others are its rivals in the paper's Table 2. Where "
        "one asks for labels, it gets the class that the teacher names; a generative student has UKD or the ELBO.",
        symbol="L_align",
        seen="Hybrid; the form, student",
        source=f"{HIDFD}, eq. 14 and Table 2",
        related=("student", "student loss", "UKD", "ELBO"),
        also=("classifier sharing", "align", "alignment", "SimKD"),
    ),
    Term(
        "optimiser",
        "The rule that turns gradients into updates: SGD with momentum for the student, Adam for the generator.",
        seen="the form, optimisation",
        source="Adam: Kingma & Ba, 2015",
        related=("learning rate", "momentum", "weight decay"),
        also=("optimisation", "SGD", "Adam"),
    ),
    Term(
        "original data",
        "The images that the teacher was trained on. Data-free distillation does without them. The lab shows real "
        "images of the test set for comparison only.",
        seen="Inspect and Class prior, real images",
        related=("data-free distillation", "benchmark", "boundary of the real class"),
        also=("real", "real images", "real data"),
    ),
    Term(
        "output KL",
        "UKD's first term: the divergence between what teacher and student make of the same noise. Both are Gaussians "
        "around an image, of the same standard deviation √(β/2), so it is the mean squared difference over β.",
        symbol="KL(p_T(x | z₁) ‖ p_S(x | z₁)) = (μ_T − μ_S)² / β",
        seen="Generative, losses by term; the form, student",
        source=UKD,
        related=("UKD", "latent match", "mismatch"),
        also=("beta",),
    ),
    Term(
        "PCA",
        "Principal component analysis: a projection on the directions in which the points vary most. It is linear, so "
        "it distorts less than UMAP or t-SNE and separates less.",
        seen="Inspect, projection",
        source="Pearson, 1901",
        related=("projection", "UMAP", "t-SNE"),
        also=("principal component analysis",),
    ),
    Term(
        "penultimate features",
        "The vector that a network computes for an image just before its last layer. Images close to each other there "
        "look alike to the network.",
        symbol="f",
        seen="Inspect, projection",
        related=("projection", "diversity", "boundary of the real class"),
        also=("features", "teacher features"),
    ),
    Term(
        "phase",
        "One part of a step, such as generating, judging, splitting, learning. Slow motion shows a step phase by "
        "phase.",
        seen="Distill, slow motion",
        related=("slow motion", "step"),
        also=("phases",),
    ),
    Term(
        "posterior",
        "Probability that a sample belongs to the mixture's component of the lower mean, given its judged loss. Above "
        "the threshold the sample is clean.",
        symbol="P(low-mean component | ℓ_i)",
        seen="Distill, judged losses; Inspect",
        source=f"{TA_DFKD}, after {DIVIDE_MIX}",
        related=("mixture", "threshold", "clean", "judged loss"),
    ),
    Term(
        "posterior of a latent",
        "How a level's latents are distributed once the image is known, as the encoder says. Where it equals the "
        "prior, the level says nothing about the image.",
        symbol="q(z_l | x, z_{l+1})",
        seen="Generative",
        source=VAE,
        related=("prior", "KL divergence", "level"),
        also=("teacher's posterior",),
    ),
    Term(
        "precision and recall",
        "Of two sets of images: precision is the share of generated images within reach of a real one, recall the "
        "share of real images within reach of a generated one. An image reaches as far as its k-th nearest neighbour "
        "in its own set (k = 3).",
        seen="Class prior",
        source=PRECISION_RECALL,
        related=("density and coverage", "FID", "selection audit"),
        also=("precision", "recall"),
    ),
    Term(
        "prediction entropy",
        "Mean entropy of the teacher's predictions for single images. Minimising it asks for images that are clearly "
        "of one class.",
        symbol="L_e, weight λ_e",
        seen="the form, GAN; losses by term",
        source=DEGAN,
        related=("class balance", "class prior", "generator loss"),
        also=("entropy", "entropy_weight"),
    ),
    Term(
        "preset",
        "A set of knob values to start from: demo for a minute or two on a CPU, cpu for half an hour, paper as "
        "published.",
        seen="the form",
        related=("method", "schedule"),
        also=("demo", "cpu", "paper"),
    ),
    Term(
        "prior",
        "How a level's latents are distributed before any image is seen, given the level above; standard normal at the "
        "top. The student's has to become the teacher's.",
        symbol="p(z_l | z_{l+1})",
        seen="Generative",
        source=VAE,
        related=("posterior of a latent", "level", "ancestral sampling", "latent match"),
        also=("teacher's prior", "student's prior", "student_prior"),
    ),
    Term(
        "projection",
        "A picture in two dimensions of features that have many. One layout serves all steps of a run, so that what "
        "moves is the samples and not the picture.",
        seen="Inspect",
        related=("PCA", "UMAP", "t-SNE", "penultimate features"),
        also=("layout",),
    ),
    Term(
        "pseudo-label",
        "The class that the teacher gives an image. Collected images have no other.",
        symbol="y = argmax T(x)",
        seen="Hybrid",
        related=("teacher", "collected images", "judged loss"),
        also=("teacher_label",),
    ),
    Term(
        "query",
        "One image shown to the teacher. Methods are compared fairly at equal numbers of queries.",
        seen="Runs",
        related=("draws", "teacher", "noise images"),
        also=("queries",),
    ),
    Term(
        "ratio",
        "How many images are collected, against how many the teacher was trained on.",
        symbol="ρ = |D_c| / |D_o|",
        seen="Hybrid; the form",
        source=HIDFD,
        related=("collected images",),
    ),
    Term(
        "reconstruction",
        "What a model makes of the latents that an encoder found in an image. Its error is a mean square over pixels "
        "in [0, 1]; as a term of the ELBO it is −log p(x | z₁), and as a term of the guidance MSE(x, T(x)).",
        symbol="T(x), weight m in the guidance",
        seen="Generative; the form, guidance",
        source=VAE,
        related=("ELBO", "guidance", "posterior of a latent"),
        also=("reconstructions", "mse", "mse_weight", "reconstruction error"),
    ),
    Term(
        "recorded run",
        "A finished run that comes with the lab. It plays until a run of your own is there, so that there is something "
        "to see before anything is trained.",
        seen="Distill; Inspect",
        related=("run", "step"),
    ),
    Term(
        "rejected",
        "Said of a sample that the teacher does not vouch for: its posterior is not above the threshold. The student "
        "never learns from it; the generator's other terms still count it.",
        seen="Distill, synthetic images (orange, dashed frame); Inspect",
        source=TA_DFKD,
        related=("clean", "posterior", "flagged sample"),
        also=("rejected sample",),
    ),
    Term(
        "relational distillation",
        "The student keeps the teacher's geometry: distances between pairs of images of a batch, and angles between "
        "triples, in the penultimate features. Neither the scale nor the place of the features matters.",
        symbol="25 · distances + 50 · angles",
        seen="Distill, losses by term; the form, student",
        source="Park et al., CVPR 2019 (RKD)",
        related=("objective", "correlation congruence", "penultimate features"),
        also=("RKD", "pair_distances", "angles"),
    ),
    Term(
        "run",
        "One training, in a folder of its own: what was asked for, every event, samples, checkpoints. The address bar "
        "holds its name, so that a link opens it.",
        seen="Distill; Runs",
        related=("step", "seed", "checkpoint", "study"),
    ),
    Term(
        "schedule",
        "How the training is divided: epochs of so many steps, each of so many student steps on batches of so many "
        "images.",
        seen="the form",
        related=("epoch", "step", "student steps", "batch size"),
    ),
    Term(
        "seed",
        "The number from which everything random in a run follows. The same seed and knobs repeat a run on the same "
        "CPU bit by bit. Several seeds show, as a band, how much of a result is chance.",
        seen="the form; Runs; Class prior",
        related=("run", "study"),
        also=("band over seeds",),
    ),
    Term(
        "selection",
        "Learning only from the samples that the teacher vouches for: judge the losses, fit the mixture, keep the "
        "clean. With selection off the student learns from all of them.",
        seen="the form",
        source=TA_DFKD,
        related=("clean", "mixture", "lenient expert", "threshold"),
        also=("sample selection",),
    ),
    Term(
        "selection audit",
        "Checks the mixture's verdict against what it cannot know: whether a sample is inside the boundary of the real "
        "class, and whether the student disagrees. Precision is the share of the clean that are inside, recall the "
        "share of those inside that are clean.",
        seen="Inspect",
        source=LAB,
        related=("boundary of the real class", "clean", "agreement", "AUROC"),
        also=("audit",),
    ),
    Term(
        "shared noise",
        "Teacher and student get the same random numbers, so that their images can be compared one by one. Noise can "
        "be drawn, or be what the teacher's posterior on an image comes to as noise of its prior.",
        symbol="ε_l = (z_l − μ_l) / σ_l",
        seen="Generative",
        source=UKD,
        related=("UKD", "latent", "interpolation"),
        also=("samples from the same noise",),
    ),
    Term(
        "slow motion",
        "One step of the method, phase by phase, on a diagram that shows the step's own images and numbers. A live run "
        "does one more step for it and stays paused.",
        seen="Distill",
        related=("phase", "step", "student steps", "gradient"),
    ),
    Term(
        "stage",
        "A part of a run in which something else learns: first the GAN, then the student. One run, one scrubber.",
        seen="Hybrid; Distill, the curves",
        related=("GAN", "student", "step"),
        also=("distill_steps", "stages"),
    ),
    Term(
        "step",
        "One round of a method; in TA-DFKD a few student steps and then one generator step. Curves, images and the "
        "scrubber count in steps.",
        seen="Distill, the track; the form, schedule",
        related=("epoch", "student steps", "generator"),
        also=("training step", "iterations", "iteration", "scrubber", "generator step"),
    ),
    Term(
        "student",
        "The small network that is trained. It learns from the teacher's answers to synthetic images.",
        symbol="S",
        seen="everywhere",
        source=DISTILLATION,
        related=("teacher", "student loss", "accuracy"),
        also=("student network",),
    ),
    Term(
        "student loss",
        "Mean absolute difference between the student's and the teacher's logits, on clean samples only.",
        symbol="L_S = mean |S(x̂) − T(x̂)|",
        seen="Distill, losses by term; Runs",
        source=f"{TA_DFKD}; {DFAD}, eq. 3",
        related=("logit", "clean", "discrepancy"),
    ),
    Term(
        "student steps",
        "Updates of the student for each update of the generator. The student has to keep up with a generator that "
        "looks for its mistakes.",
        symbol="k",
        seen="the form, schedule",
        source=f"{DFAD}; {TA_DFKD}",
        related=("step", "adversarial term", "student"),
        also=("student step",),
    ),
    Term(
        "study",
        "Several runs that differ in what is studied, say the weight of the class prior, and in the seed; then the "
        "figures measured on all of them.",
        seen="Class prior; Lessons",
        related=("run", "seed", "FID"),
        also=("studies", "experiment"),
    ),
    Term(
        "synthesis",
        "The stage in which images are made for the student: by a diffusion model that the teacher guides or, for "
        "generative teachers, from the teacher's own latents. They come in batches.",
        seen="Generative; Distill, stages; the form, synthesis",
        related=("synthetic image", "guidance", "diffusion model"),
        also=("source", "synthesis_batches", "synthesis_size"),
    ),
    Term(
        "synthetic image",
        "An image made by the generator. It need not look like anything to people: what counts is what the teacher's "
        "answer to it teaches the student.",
        symbol="x̂ = G(z)",
        seen="Distill, synthetic images; Inspect",
        related=("generator", "clean", "rejected", "label"),
        also=("synthetic images", "synthetic", "sample", "samples", "images"),
    ),
    Term(
        "t-SNE",
        "A projection that keeps neighbours together. Distances between far groups, and the sizes of groups, mean "
        "little.",
        seen="Inspect, projection",
        source="van der Maaten & Hinton, 2008",
        related=("projection", "UMAP", "PCA"),
    ),
    Term(
        "tag",
        "A word of your own for some samples. Tags are kept with the run and go along when samples are exported.",
        seen="Inspect",
        related=("synthetic image",),
        also=("tags",),
    ),
    Term(
        "target class",
        "The class that the teacher names. DKD and NKD learn its probability apart from how the other classes share "
        "what is left: where the teacher is sure, plain distillation hardly passes on the latter.",
        symbol="DKD: TCKD + 8 · NCKD",
        seen="Distill, losses by term; the form, student",
        source="Zhao et al., CVPR 2022 (DKD); Yang et al., ICCV 2023 (NKD)",
        related=("objective", "distillation", "temperature", "pseudo-label"),
        also=("other_classes", "DKD", "NKD"),
    ),
    Term(
        "teacher",
        "The large network whose knowledge is passed on. It is frozen: it answers, and nothing changes it. Teachers of "
        "equal accuracy can differ much in how well they teach, which is what TA-DFKD is about.",
        symbol="T",
        seen="everywhere; the dashed line on Distill",
        source=f"{DISTILLATION}; {TA_DFKD}",
        related=("student", "lenient expert", "BN statistics"),
        also=("teacher accuracy", "teacher's card"),
    ),
    Term(
        "temperature",
        "Logits are divided by it before the softmax, so that what the teacher holds of the classes it did not choose "
        "shows as well. The loss is multiplied by its square, which keeps the gradient's size. Of a generative teacher "
        "it multiplies the noise instead: below 1 samples are more typical and more alike.",
        symbol="T",
        seen="the form, student; the form, synthesis",
        source=DISTILLATION,
        related=("logit", "distillation", "student loss", "ancestral sampling"),
    ),
    Term(
        "term health",
        "How hard each term pulls: the norm of its gradient at the generator's parameters, as a share of the sum over "
        "all terms.",
        seen="Distill",
        source=LAB,
        related=("dead term", "loss term", "generator loss"),
        also=("share", "share of the gradient", "gradient share"),
    ),
    Term(
        "threads",
        "How many processor cores torch may use for one operation. On busy cores one can be far faster than two, which "
        "wait for each other.",
        seen="the form",
        related=("device",),
    ),
    Term(
        "threshold",
        "The posterior above which a sample is clean; 0.5 in the paper. A higher one is stricter. Set high enough, it "
        "leaves nothing to learn from.",
        symbol="τ",
        seen="Distill and Inspect, judged losses; the form, selection",
        source=TA_DFKD,
        related=("posterior", "accepted region", "what-if cut", "kept"),
        also=("τ", "posterior_cut", "tau", "cut"),
    ),
    Term(
        "total variation",
        "Norms of the differences between neighbouring pixels, over the batch. As a term it makes images smoother. The "
        "weight holds for 1,024 images and is scaled to other batch sizes.",
        symbol="TV(x̂), weight λ_TV",
        seen="Distill, losses by term",
        source=f"{DEEP_INVERSION}; {TA_DFKD}",
        related=("image norm", "generator loss"),
        also=("tv", "tv_weight"),
    ),
    Term(
        "total variation distance",
        "The largest difference between the probabilities that two distributions give to the same set of images: 0 for "
        "the same distribution, 1 for two that share nothing. The paper bounds that of the hybrid set, "
        "U = αP + (1 − α)Q, from the synthetic images Q by (2 − α) TVD(P, Q); exactly, it is α TVD(P, Q), and "
        "(1 − α) TVD(P, Q) from the collected images P. So inflation moves the hybrid set towards the collected images "
        "and away from the synthetic ones.",
        symbol="TVD",
        seen="Hybrid, hybrid set",
        source=f"{HIDFD}, eqs. 2 to 5",
        related=("hybrid set", "inflation", "two-sample test"),
        also=("distance from the collected images", "bound"),
    ),
    Term(
        "transfer",
        "L_trans: the discriminator's features of an image come near the teacher's of the same image, real or fake.",
        symbol="L_trans",
        seen="Hybrid; Distill, losses by term",
        source=f"{HIDFD}, eq. 9",
        related=("feature integration", "blend"),
    ),
    Term(
        "two-sample test",
        "A classifier learns to tell collected from synthetic images by the teacher's features. With balanced accuracy "
        "a on images that it has not learned from, their total variation distance is at least 2a − 1. It is above "
        "chance where no permutation of the labels gives as much.",
        symbol="TVD(P, Q) ≥ 2a − 1",
        seen="Hybrid, hybrid set",
        source="Lopez-Paz & Oquab, ICLR 2017",
        related=("total variation distance", "penultimate features"),
    ),
    Term(
        "UKD",
        "Unified knowledge distillation of generative models: teacher and student turn the same noise into latents and "
        "an image, and the student learns to say what the teacher says at every level. Its encoder is not trained.",
        symbol="output KL + 0.1 · latent match",
        seen="Generative; the form, student",
        source=UKD,
        related=("output KL", "latent match", "shared noise", "student"),
        also=("unified knowledge distillation",),
    ),
    Term(
        "UMAP",
        "A projection that keeps neighbours together, like t-SNE, and tries to keep more of the large picture. "
        "Distances between far groups still mean little.",
        seen="Inspect, projection",
        source="McInnes et al., 2018",
        related=("projection", "t-SNE", "PCA"),
    ),
    Term(
        "updates",
        "How many batches the GAN, or the student, learns from in one step of a run.",
        seen="the form, schedule",
        related=("step", "student steps"),
        also=("update",),
    ),
    Term(
        "weight decay",
        "A pull of the student's weights towards zero at each update, which keeps them small.",
        seen="the form, optimisation",
        related=("optimiser",),
    ),
    Term(
        "what-if cut",
        "Another threshold tried out on a recorded batch: which samples would have been clean. The run itself stays as "
        "it was.",
        seen="Inspect",
        source=LAB,
        related=("threshold", "accepted region", "kept"),
        also=("what-if",),
    ),
    Term(
        "width",
        "Channels of the generator's last hidden layer. A wider generator can make more, and costs more memory and "
        "time.",
        symbol="w",
        seen="the form, networks",
        related=("generator", "latent"),
    ),
    Term(
        "within-class diversity",
        "Mean distance between the features of images of the same class, averaged over classes. The TA-DFKD paper "
        "holds that a class prior lowers it.",
        seen="Class prior",
        source=f"{LAB}, for the claim of {TA_DFKD}",
        related=("class prior", "diversity", "FID"),
    ),
)

_BY_SLUG = {slug(name): term for term in TERMS for name in _names(term)}
