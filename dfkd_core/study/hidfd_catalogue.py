"""What HiDFD's ready experiments vary, and what its paper found.

Figures are those that the paper prints (Tang, Chen & Gong, AAAI 2025, arXiv 2412.13525: Tables 1 and 2); where it only
draws a curve, what its text says stands in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["category", "linear", "log"]

SETTING = "CIFAR-10, ρ 0.1, ResNet34 → ResNet18"
FIELDS = ("ratio", "method")  # of a run; whatever else an experiment varies is a knob of the method
METHODS = ("hidfd", "degan", "dfnd", "kd3", "collected")
SHARED = ("gan_steps", "gan_batch_size", "distill_steps", "updates", "batch_size", "augmentation")
"""Knobs in which compared methods follow HiDFD where they have them, so that all students get the same number of
updates on equally many images; everything else is each method's own preset."""


@dataclass(frozen=True)
class Experiment:
    """Runs that differ in ``x``, and in the method if there are several ``methods`` (the series; the first leads).

    ``varies`` names the knob or field that x is, or ``variants`` the knobs that each x stands for. ``values`` are the
    usual ones, ``values_on`` those of single benchmarks; without any, all that the knob allows. Other series are
    compared with the first one, other x with ``reference`` (with the first x if it is not among them).
    ``published``: the paper's accuracies (0 to 1) by method and x, in ``setting``. ``measured``: images too.
    """

    title: str
    question: str
    finding: str
    axis: str
    scale: Scale = "category"
    varies: str = ""
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: tuple[Any, ...] = ()
    values_on: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    methods: tuple[str, ...] = METHODS[:1]
    reference: Any = None
    published: dict[tuple[str, Any], float] = field(default_factory=dict)
    setting: str = SETTING
    measured: bool = False
    against_seconds: bool = False

    def usual_values(self, benchmark: str) -> tuple[Any, ...]:
        """Of x; empty: all that the knob allows."""
        return tuple(self.variants) or self.values_on.get(benchmark, self.values)

    def compared(self) -> tuple[str, ...]:
        """The methods that take part, the leading one first."""
        return self.values if self.varies == "method" else self.methods

    def change(self, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The knobs and the fields of the run that ``x`` stands for."""
        if self.variants:
            return dict(self.variants[x]), {}
        return ({}, {self.varies: x}) if self.varies in FIELDS else ({self.varies: x}, {})

    def varied(self) -> set[str]:
        """Names of all knobs and fields that it changes."""
        return {self.varies} - {""} | {name for knobs in self.variants.values() for name in knobs}


FEW = {"digits": (0.02, 0.05, 0.1, 0.2), "mnist": (0.002, 0.005, 0.01, 0.02)}  # ρ; digits are few for MNIST
WEIGHTS = (0.001, 0.01, 0.1, 1.0, 10.0)
RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
STABLE = "In the paper the student's accuracy stays relatively stable, and is best at"


def _hidfd(values: dict[Any, float]) -> dict[tuple[str, Any], float]:
    return {("hidfd", x): accuracy for x, accuracy in values.items()}


EXPERIMENTS: dict[str, Experiment] = {
    "comparison": Experiment(
        title="HiDFD and its rivals over ρ",
        question="How few collected images are enough? Each method at each ρ, on the same collected images.",
        finding="The central claim (Table 1, Fig. 2d): its rivals fall short at small ρ, HiDFD is good at every ρ.",
        axis="collected images as a ratio of the original ones, ρ",
        scale="log",
        varies="ratio",
        values=(0.1, 0.3, 0.5, 1.0),
        values_on=FEW,
        methods=METHODS,
        published={
            ("hidfd", 0.1): 0.9474,
            ("hidfd", 1.0): 0.9511,
            ("degan", 0.1): 0.9039,
            ("degan", 1.0): 0.9195,
            ("dfnd", 0.1): 0.4882,
            ("dfnd", 1.0): 0.8582,
            ("kd3", 0.1): 0.6570,
            ("kd3", 1.0): 0.9337,
        },
        setting="CIFAR-10, ρ 0.1 and 1, ResNet34 → ResNet18 (Table 1)",
    ),
    "ablation": Experiment(
        title="Ablation of the teacher's guidance",
        question="What is lost without L_blend, L_trans, L_reg, two of them, or all three?",
        finding="In Table 2 each missing term costs 1.9 to 2.9 points, all three cost 5.2.",
        axis="guidance of the GAN",
        variants={
            "full": {},
            "w/o blend": {"blend": False},
            "w/o transfer": {"transfer": False},
            "w/o smoothing": {"smoothing": False},
            "w/o blend, transfer": {"blend": False, "transfer": False},
            "w/o blend, smoothing": {"blend": False, "smoothing": False},
            "w/o transfer, smoothing": {"transfer": False, "smoothing": False},
            "w/o all three": {"blend": False, "transfer": False, "smoothing": False},
        },
        reference="full",
        published=_hidfd(
            {
                "full": 0.9474,
                "w/o blend": 0.9287,
                "w/o transfer": 0.9186,
                "w/o smoothing": 0.9276,
                "w/o blend, transfer": 0.9110,
                "w/o blend, smoothing": 0.9077,
                "w/o transfer, smoothing": 0.9142,
                "w/o all three": 0.8955,
            }
        ),
        setting=f"{SETTING} (Table 2)",
    ),
    "objectives": Experiment(
        title="What the student matches",
        question="The same hybrid set for all; only what the student matches of its teacher differs.",
        finding="In Table 2 HiDFD's classifier sharing is 1.25 to 2.34 points above its eight rivals.",
        axis="objective of the student",
        varies="objective",
        reference="classifier-sharing",
        published=_hidfd(
            {
                "classifier-sharing": 0.9474,
                "kd": 0.9269,
                "dkd": 0.9295,
                "rkd": 0.9240,
                "cc": 0.9263,
                "semckd": 0.9349,
                "cat-kd": 0.9249,
                "nkd": 0.9326,
                "ofa-kd": 0.9288,
            }
        ),
        setting=f"{SETTING} (Table 2)",
    ),
    "guidance": Experiment(
        title="Sensitivity to λ_d",
        question="How much does the weight of L_blend and L_trans matter (Fig. 2a)?",
        finding=f"{STABLE} λ_d = 0.1.",
        axis="weight of L_blend and L_trans, λ_d",
        scale="log",
        varies="guidance_weight",
        values=WEIGHTS,
        reference=0.1,
    ),
    "frequency": Experiment(
        title="Sensitivity to λ_g",
        question="How much does the weight of L_reg matter (Fig. 2b)?",
        finding=f"{STABLE} λ_g = 0.1.",
        axis="weight of L_reg, λ_g",
        scale="log",
        varies="frequency_weight",
        values=WEIGHTS,
        reference=0.1,
    ),
    "inflation": Experiment(
        title="Inflation of the collected images",
        question="How often should collected images be repeated in the hybrid set (Fig. 2c)?",
        finding="In the paper accuracy rises with N up to 10 = ⌊|D_s| / |D_c|⌋ and falls beyond.",
        axis="inflation factor N",
        scale="linear",
        varies="inflation",
        values=(1, 2, 4, 6, 8, 10, 20),
        values_on={"digits": (1, 10, 30, 100, 300)},
        reference=10,
    ),
    "ratio": Experiment(
        title="HiDFD over ρ",
        question="What do more collected images bring to HiDFD alone (Fig. 2d)?",
        finding="In the paper HiDFD is satisfactory at every ρ from 0.1 to 1.",
        axis="collected images as a ratio of the original ones, ρ",
        scale="linear",
        varies="ratio",
        values=(0.1, 0.3, 0.5, 0.7, 1.0),
        values_on={"mnist": FEW["mnist"]},
        reference=0.1,
        published=_hidfd({0.1: 0.9474, 1.0: 0.9511}),
        setting="CIFAR-10, ρ 0.1 and 1, ResNet34 → ResNet18 (Table 1)",
    ),
    "rate": Experiment(
        title="Sensitivity to γ",
        question="How fast should class frequencies follow the newest batch (Fig. A-3a)?",
        finding=f"{STABLE} γ = 0.5.",
        axis="weight of the newest batch, γ",
        scale="linear",
        varies="frequency_rate",
        values=RATES,
        reference=0.5,
    ),
    "gate": Experiment(
        title="Sensitivity to q",
        question="How often should L_blend be applied (Fig. A-3b)?",
        finding=f"{STABLE} q = 0.7.",
        axis="gate of L_blend, q",
        scale="linear",
        varies="blend_gate",
        values=RATES,
        reference=0.7,
    ),
    "generators": Experiment(
        title="Other generators",
        question="Does a better generator make a better student? HiDFD's GAN, others with the same guidance, and the "
        "plain one without any (after Fig. A-3c), each with the FID of its images.",
        finding="In the paper better synthetic images go with a better student; it prints no figures.",
        axis="GAN",
        variants={
            "ADC-GAN": {},
            "AC-GAN": {"conditioning": "ac"},
            "projection": {"conditioning": "projection"},
            "unconditional": {"conditioning": "none"},
            "plain ADC-GAN": {"blend": False, "transfer": False, "smoothing": False},
        },
        reference="ADC-GAN",
        measured=True,
    ),
    "times": Experiment(
        title="Accuracy against training time",
        question="What does each method's accuracy cost (Fig. A-3d)? All at the same ρ, on this machine.",
        finding="In the paper HiDFD takes a few hours on an A100; it prints no other figures.",
        axis="method",
        varies="method",
        values=METHODS,
        reference="hidfd",
        against_seconds=True,
    ),
}
