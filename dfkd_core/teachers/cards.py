"""Trained teachers: a safetensors file with a JSON card beside it, which says how it was made.

Cards are read without importing torch, so that a page can list them at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dfkd_core.data.files import full_name
from dfkd_core.errors import RequestError, explain
from dfkd_core.images import ImageSpec
from dfkd_core.networks.known import ENDINGS
from dfkd_core.networks.weights import WeightsError, read_file

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "teachers"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_CARD_BYTES = 1 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ImageCard(_Strict):
    """What the teacher takes: the fields of ``ImageSpec``, from a file and so with bounds."""

    channels: int = Field(ge=1, le=4, description="Colour channels.")
    size: int = Field(ge=4, le=256, description="Side of the square image, in pixels.")
    mean: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(description="Per channel, of pixels in [0, 1].")
    std: tuple[Annotated[float, Field(ge=-1, le=1)], ...] = Field(
        description="Per channel, of pixels in [0, 1]; with a mean of 1, -1 inverts them."
    )
    classes: tuple[str, ...] = Field(min_length=1, max_length=10_000, description="Names of the classes, in order.")

    @model_validator(mode="after")
    def _one_per_channel(self) -> ImageCard:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std should have {self.channels} values each, one per channel")
        if 0 in self.std:
            raise ValueError("std should not be 0")
        return self

    def spec(self) -> ImageSpec:
        """The same as the engine's ``ImageSpec``."""
        return ImageSpec(self.channels, self.size, self.mean, self.std, self.classes)


# What recipes have in common.
Kind = Annotated[str, Field(max_length=80, description="What sets it apart, in words: plain, label smoothing …")]
Epochs = Annotated[int, Field(ge=1, le=10_000, description="Passes over the training data.")]
BatchSize = Annotated[int, Field(ge=2, le=4096, description="Images a step; an incomplete last batch is dropped.")]
Rate = Annotated[float, Field(gt=0, le=10, description="At the start.")]
Decay = Annotated[float, Field(ge=0, le=1, description="L2 penalty, added to the gradient.")]
Schedule = Annotated[Literal["cosine", "constant"], Field(description="Of the learning rate; cosine ends at 0.")]


class Recipe(_Strict):
    """How a teacher is trained; with the seed, all that determines its weights."""

    kind: Kind
    epochs: Epochs
    batch_size: BatchSize = 128
    optimizer: Literal["sgd", "adam"] = Field(default="sgd", description="Which optimizer.")
    learning_rate: Rate = 0.1
    weight_decay: Decay = 5e-4
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Of SGD; Adam ignores it.")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    mixup: float = Field(
        default=0.0, ge=0, le=10, description="α of mixup's Beta(α, α), one draw a batch; 0 turns it off."
    )
    augment: Literal["none", "shift", "shift+flip", "strong"] = Field(
        default="none",
        description="Per image, black moving in. shift: by up to an eighth of the side in each direction; "
        "shift+flip: mirrored half of the time, too. "
        "strong: turned by up to 15°, sheared by up to 0.2, scaled by 0.85 to 1.15, a square of a quarter of the "
        "side blackened, then shifted.",
    )
    schedule: Schedule = "cosine"


class ElboRecipe(_Strict):
    """How a generative teacher is trained: by the ELBO, with Adam."""

    kind: Kind
    epochs: Epochs
    batch_size: BatchSize = 128
    learning_rate: Rate = 1e-3
    weight_decay: Decay = 1e-4
    warmup: float = Field(
        default=0.2, ge=0, le=1, description="Share of the training over which the KL's weight rises from 0 to 1."
    )
    beta: float = Field(default=0.1, gt=0, le=10, description="The output's std is √(β/2).")
    schedule: Schedule = "cosine"


class DiffusionRecipe(_Strict):
    """How a diffusion model is trained: to predict noise, with Adam."""

    kind: Kind
    epochs: Epochs
    batch_size: BatchSize = 64
    learning_rate: Rate = 1e-3
    drop_class: float = Field(
        default=0.1, ge=0, le=1, description="Share of the images whose class is hidden, for classifier-free guidance."
    )
    average: float = Field(
        default=0.995, ge=0, lt=1, description="Decay a step of the weights' moving average, which is what is kept."
    )
    schedule: Schedule = "cosine"


RECIPES: dict[str, type[_Strict]] = {"classifier": Recipe, "generative": ElboRecipe, "diffusion": DiffusionRecipe}


class TeacherCard(_Strict):
    """What is known about a teacher. A card that was only written by hand has no ``sha256`` yet: train it."""

    task: Literal["classifier", "generative", "diffusion"] = Field(
        default="classifier",
        description="A classifier of images, a latent-variable model of them, or a diffusion model that helps to "
        "make images for another benchmark's teachers.",
    )

    name: str = Field(pattern=NAME_PATTERN, description="The name of its two files, without the ending.")
    title: str = Field(min_length=1, max_length=80, description="For people.")
    benchmark: str = Field(
        min_length=1,
        max_length=1000,
        description="What it was trained for; of a diffusion model what it was trained on: a benchmark, or a source of "
        "collected images.",
    )
    network: str = Field(
        min_length=1,
        max_length=80,
        description="Key of networks.CLASSIFIERS, maybe with options (resnet18+maxpool), timm:NAME, or onnx or "
        "torch-export for a program beside the card; lvae-H or conv-vae-H if generative, unet-W if diffusion.",
    )
    image: ImageCard
    recipe: Recipe | ElboRecipe | DiffusionRecipe | None = Field(
        default=None, description="None for weights that were brought from elsewhere."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of initialisation, order and augmentation.")
    accuracy: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the test images classified right after the last epoch, never the best.",
    )
    elbo: float | None = Field(
        default=None, description="Of a generative one: ELBO in nats per test image after the last epoch."
    )
    origin: str = Field(default="", max_length=1000, description="Of brought weights: from which file, named how.")
    doubts: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        default=(),
        max_length=16,
        description="What seemed wrong with brought weights, or with the images that it was measured on.",
    )
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="Of the safetensors file.")
    torch: str = Field(default="", max_length=80, description="Version of torch that made the file.")

    @property
    def identity(self) -> str:
        """SHA-256 over what decides its answers: the weights, the network that holds them, and what its images are."""
        facts = [self.sha256, self.network, self.image.model_dump_json()]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()

    @model_validator(mode="before")
    @classmethod
    def _recipe_of_the_task(cls, card: Any) -> Any:
        """Where fields would fit several kinds of recipe the task decides; what fits none is the union's to refuse."""
        if not isinstance(card, dict) or not isinstance(card.get("recipe"), dict):
            return card
        kind = RECIPES.get(card.get("task", "classifier"))
        with suppress(ValidationError):
            return card | ({"recipe": kind.model_validate(card["recipe"])} if kind else {})
        return card

    @property
    def beta(self) -> float:
        """β of a generative one's output, whose std is √(β/2)."""
        recipe = self.recipe if isinstance(self.recipe, ElboRecipe) else None
        return recipe.beta if recipe else float(ElboRecipe.model_fields["beta"].default)

    @model_validator(mode="after")
    def _two_classes_to_tell_apart(self) -> TeacherCard:
        if self.task == "classifier" and len(self.image.classes) < 2:
            raise ValueError("a classifier should have two classes at least")
        return self


def read_card(path: Path) -> TeacherCard:
    """The card at ``path``. Raises ``RequestError`` (teacher) if it is missing or damaged."""
    try:
        return TeacherCard.model_validate_json(read_file(path, MAX_CARD_BYTES))
    except ValidationError as error:
        raise RequestError("teacher", str(path), f"is no card of a teacher: {explain(error)}") from None
    except WeightsError as error:
        raise RequestError("teacher", str(path), f"{error}.") from None


def user_folder() -> Path:
    """Where own teachers lie: ``DFKD_TEACHERS``, else ``teachers`` in the current folder."""
    return Path(os.environ.get("DFKD_TEACHERS") or "teachers").expanduser()


def available_teachers(benchmark: str | None = None, task: str = "classifier") -> dict[str, TeacherCard]:
    """All trained teachers of ``task`` by name, the shipped ones first; only those of ``benchmark`` if one is given.

    ``benchmark`` may be ``folder:PATH`` from the current folder. A damaged card is passed over with a warning in
    the log.
    """
    cards = {name: card for name, (card, _) in _found().items() if card.task == task}
    wanted = None if benchmark is None else full_name(benchmark)
    return {name: card for name, card in cards.items() if wanted in (None, card.benchmark)}


def find_card(name_or_path: str | Path) -> tuple[TeacherCard, Path]:
    """A card and its file, by the teacher's name or as a path ending in ``.json``. Raises ``RequestError``."""
    if str(name_or_path).endswith(".json"):
        path = Path(name_or_path).expanduser()
        return read_card(path), path
    found = _found()
    if str(name_or_path) not in found:
        names = ", ".join(found) or "none found"
        raise RequestError("teacher", str(name_or_path), f"should be one of {names}, or a path to a card (.json).")
    return found[str(name_or_path)]


def file_of(card: TeacherCard, path: Path) -> Path:
    """The file of the network whose card is at ``path``."""
    return path.with_suffix(ENDINGS.get(card.network, ".safetensors"))


def proposed_name(data: str, *words: str) -> str:
    """A name for a teacher of somebody's own, of the benchmark or file ``data``, that a card may have."""
    known = "-".join((Path(data).name, *words, "mine"))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", known)[:64].strip("._-")


def is_taken(name: str, folder: Path) -> bool:
    """Whether a teacher is called ``name`` already, or would be once ``folder`` is among the user's."""
    return name in _found() or (folder / f"{name}.json").exists()


def check_same(card: TeacherCard, folder: Path) -> None:
    """Raises ``RequestError`` (name) where a teacher of another network, of other images or by another recipe has the
    name of ``card`` already, or has it in ``folder``: training ``card`` would replace it."""
    found, path = _found(), folder / f"{card.name}.json"
    there = [found[card.name][0]] if card.name in found else []
    there += [read_card(path)] if path.exists() else []
    for one in there:
        if (one.network, one.image, one.recipe) != (card.network, card.image, card.recipe):
            raise RequestError("name", card.name, "is taken by another teacher; choose a new one.")


def _found() -> dict[str, tuple[TeacherCard, Path]]:
    found: dict[str, tuple[TeacherCard, Path]] = {}
    for path in [*sorted(SHIPPED.glob("*.json")), *sorted(user_folder().glob("*.json"))]:
        try:
            card = read_card(path)
        except RequestError as error:
            logger.warning("%s", error)
            continue
        if not card.sha256:
            logger.warning("%s: not trained yet", path)
        elif found.setdefault(card.name, (card, path))[1] != path:
            logger.warning("%s: passed over, %s is another teacher of that name", path, found[card.name][1])
    return found
