"""What determines a run: pure data. Does not import torch, so that pages and the command line hold it at once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dfkd_core.images import ImageSpec
from dfkd_core.kit.config import MethodConfig, Stage
from dfkd_core.kit.recording import FILE, Recording, times
from dfkd_core.store import KEPT_CHECKPOINTS, RunFolder

Task = Literal["classifier", "generative"]
NOT_DATA_FREE = "not data-free"
ELSEWHERE = {"data", "gpu_share"}  # fields that say where something lies or runs: not what determines a run
CLUSTER_DEVICES = set[str]()
"""What runs may ask for though this machine has not got it: an engine that sends them elsewhere says so here."""
KEPT = 2000  # collected images that are kept with a run
FOLLOWS = ("method", "task", "config", "stages")  # from what else is asked


class RunSpec(BaseModel):
    """One run. ``config`` holds every knob of the method, resolved, so that a changed default changes no old run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    benchmark: str = Field("digits", description="Evaluation data, and the task's name.")
    method: str = Field("ta-dfkd", description="Distillation method.")
    teacher: str = Field("", description="A teacher's name or the path of its card; empty: the benchmark's first.")
    student: str = Field(
        "", description="Student network; empty: the benchmark's usual one. Which suit it: dfkd_core networks."
    )
    collected: str = Field("", description="Where collected images come from; empty: the benchmark's usual source.")
    ratio: float = Field(
        0.0, ge=0, le=20, description="Collected images, as a ratio (ρ) of the original ones; 0: the usual."
    )
    collecting: Literal["random", "cross-entropy", "confidence"] = Field(
        "random", description="How they are chosen: at random, or by the teacher."
    )
    not_data_free: bool = Field(
        False, description="Collect images even if they are the teacher's own data: the run is marked not data-free."
    )
    diffusion: str = Field(
        "",
        description="A diffusion model: its name or its card's path, or where Stable Diffusion lies; empty: the usual.",
    )
    task: Task = Field("classifier", description="What teacher and student are: the method says it.")
    preset: str = Field("demo", description="Where the method's knobs start from.")
    config: dict[str, Any] = Field(default_factory=dict, description="The method's knobs.")
    stages: tuple[Stage, ...] = Field((), description="The stages of the run, which follow from the knobs.")
    data: str = Field("", description="Where data lie; empty: DFKD_DATA, or else data/.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of everything random.")
    device: str = Field("cpu", description="cpu, cuda or cuda:N.")
    gpu_share: float = Field(
        1.0, gt=0, le=1, description="On a cluster: share of a GPU that it takes; 0.5: two such runs on one."
    )
    threads: int = Field(1, ge=1, le=256, description="torch threads on the CPU.")
    precision: Literal["auto", "float32", "tf32", "bf16"] = Field(
        "auto", description="What networks compute in; auto: bf16 where a GPU has it, float32 on a CPU."
    )
    compile: Literal["off", "auto", "on"] = Field(
        "auto",
        description="On a GPU; off: as written. auto: small networks as CUDA graphs, torch.compile for long runs. on.",
    )
    deterministic: bool = Field(False, description="The same bits again on the same GPU, more slowly.")
    log_every: int = Field(1, ge=1, le=100_000, description="Steps between two rows of metrics.")
    samples_every: int = Field(10, ge=0, le=100_000, description="Steps between two sheets of samples; 0: none.")
    samples: int = Field(128, ge=1, le=8192, description="Samples on a sheet, at most a batch.")
    features: bool = Field(True, description="Keep features and class distributions of samples, for Inspect.")
    probes_every: int = Field(20, ge=0, le=100_000, description="Steps between two sheets of fixed latents; 0: none.")
    probes: int = Field(64, ge=2, le=2048, description="Fixed latents, the same in every run.")
    real: int = Field(500, ge=0, le=10_000, description="Real test images kept with the run to compare with.")
    health_every: int = Field(25, ge=0, le=100_000, description="Steps between two measurements of term health.")
    phases_every: int = Field(
        50, ge=0, le=100_000, description="Steps between two recordings in slow motion; 0: none but of synthesis."
    )
    evaluate_every: int = Field(10, ge=1, le=100_000, description="Steps between two evaluations of the student.")
    checkpoint_seconds: float = Field(20.0, ge=0, le=86_400, description="Seconds between two checkpoints.")

    @classmethod
    def asked_fields(cls) -> list[str]:
        """The fields that can be asked for beside the method and its knobs."""
        return [name for name in cls.model_fields if name not in FOLLOWS]

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(stage.steps for stage in self.stages)

    @property
    def title(self) -> str:
        """What tells this run from others, in a line."""
        return f"{self.method} · {self.teacher} → {self.student} · seed {self.seed}{self.mark}"

    @property
    def mark(self) -> str:
        """What stands beside its figures wherever they are shown; empty where they are what they seem."""
        return f" · {NOT_DATA_FREE}" if self.not_data_free else ""

    @property
    def is_generative(self) -> bool:
        return self.task == "generative"

    def steps_of(self, stage: str) -> int:
        """The steps of one stage; 0 where the run has none of that name."""
        return sum(one.steps for one in self.stages if one.name == stage)

    def learned_by(self, step: int) -> int:
        """How many images the student has learned from after ``step``, where it takes every image of its batches."""
        seen = begun = 0
        for stage in self.stages:
            seen += stage.learned * min(max(0, step - begun), stage.steps)
            begun += stage.steps
        return seen

    def knob(self, name: str, otherwise: Any = None) -> Any:
        """The value of a knob; ``otherwise`` where the method has none of that name."""
        return self.config.get(name, otherwise)

    def recording(self) -> Recording:
        """The part that the method needs to know."""
        names = [field.name for field in fields(Recording)]
        return Recording(**{name: getattr(self, name) for name in names})

    def recorded_bytes(self, config: MethodConfig, image: ImageSpec, width: int, original: int) -> int:
        """About how much disk the samples, fixed latents, slow motion, real and collected images of the whole run take,
        and the pools in its checkpoints.

        ``width``: of the teacher's pooled features. ``original``: |D_o|, the images that it was trained on.
        """
        recording, steps = self.recording(), self.total_steps
        one = recording.image_bytes(image, width)
        probes = times(self.probes_every, steps) * (self.probes * one + FILE)
        real = self.real * one if self.features else 0
        collected = min(KEPT, self.ratio * original) if self.collected else 0
        pools = KEPT_CHECKPOINTS * config.kept_bytes(image, width)
        return recording.bytes_of(config, steps, image, width) + probes + real + round(collected) * one + pools

    def fingerprint(self, teacher: str, data: str, code: str) -> str:
        """SHA-256 over the canonical specification, the teacher's identity, the data and the code's version."""
        parts = [json.dumps(self.model_dump(exclude=ELSEWHERE), sort_keys=True), teacher, data, code]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


_MODEL = TypeAdapter(RunSpec)


def read_spec(folder: RunFolder) -> RunSpec:
    """The specification of a run. Raises ``StoreError`` if it is missing, damaged or of another version."""
    return folder.spec(_MODEL)
