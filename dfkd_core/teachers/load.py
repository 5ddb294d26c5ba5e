"""Networks from cards and their files of weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from dfkd_core.errors import RequestError
from dfkd_core.networks.classifiers import Classifier, build_classifier, freeze
from dfkd_core.networks.diffusion import Diffusion, build_diffusion
from dfkd_core.networks.known import PROGRAMS
from dfkd_core.networks.latent import LatentNetwork, build_latent_model
from dfkd_core.networks.program import MAX_BYTES, Program
from dfkd_core.networks.weights import (
    MAX_HEADER_BYTES,
    WeightsError,
    fill,
    from_safetensors,
    open_file,
    read_file,
    safetensors_header,
)
from dfkd_core.teachers.cards import TeacherCard, file_of, find_card
from dfkd_core.teachers.trusted import HOW_TO_TRUST, is_trusted

N = TypeVar("N", bound=nn.Module)
BUILD = {"classifier": build_classifier, "generative": build_latent_model, "diffusion": build_diffusion}


def load_teacher(name_or_path: str | Path) -> tuple[Classifier, TeacherCard]:
    """A frozen classifier in eval mode, on the CPU, and its card. Leaves torch's generators alone.

    Raises ``RequestError`` (teacher) for an unknown name, a generative model, or a file that is missing, damaged or
    does not fit.
    """
    return _load(name_or_path, Classifier, "teacher", "a classifier")


def load_latent_model(name_or_path: str | Path) -> tuple[LatentNetwork, TeacherCard]:
    """The same for a generative teacher."""
    return _load(name_or_path, LatentNetwork, "teacher", "a generative one")


def load_diffusion(name_or_path: str | Path) -> tuple[Diffusion, TeacherCard]:
    """The same for a diffusion model."""
    return _load(name_or_path, Diffusion, "diffusion", "a diffusion model")


def _load(name_or_path: str | Path, kind: type[N], field: str, wanted: str) -> tuple[N, TeacherCard]:
    card, path = find_card(name_or_path)
    weights = file_of(card, path)
    try:
        network = blank(card)
        data = read_file(weights, MAX_BYTES if isinstance(network, Program) else byte_limit(network))
        if hashlib.sha256(data).hexdigest() != card.sha256:
            raise WeightsError(f"{weights} is damaged or another file: its SHA-256 is not the card's")
        if isinstance(network, Program):
            if card.network == "torch-export" and not is_trusted(card.sha256):
                raise WeightsError(f"it is code, and nobody here said whether to trust {weights}: {HOW_TO_TRUST}")
            network.open(data)
        else:
            fill(network, from_safetensors(data))
    except RequestError as error:
        raise RequestError("teacher", str(name_or_path), f"{error.field} {error.value!r} {error.expected}") from None
    except WeightsError as error:
        raise RequestError("teacher", str(name_or_path), f"{error}.") from None
    if not isinstance(network, kind):
        raise RequestError(field, str(name_or_path), f"is a {card.task} network; take {wanted}.")
    freeze(network)
    return network, card


def build_network(card: TeacherCard) -> nn.Module:
    """The architecture that ``card`` names, with initial weights from torch's global generator; or an empty program."""
    if card.network in PROGRAMS:
        return Program(card.network)
    return BUILD[card.task](card.network, card.image.spec())


def blank(card: TeacherCard) -> nn.Module:
    """The architecture; its initial weights are drawn without moving torch's generators."""
    with torch.random.fork_rng(devices=[]):
        return build_network(card)


def has_batch_norm(card: TeacherCard, path: Path) -> bool:
    """Whether the file beside the card at ``path`` holds BatchNorm statistics; of a program nobody sees any. Raises
    ``WeightsError``."""
    return any(name.endswith("running_mean") for name in _in_file(card, path))


def pooled_width(card: TeacherCard, path: Path) -> int:
    """Numbers of the pooled features of the classifier beside the card at ``path``; of a program, whose logits stand
    for them, its classes. Raises ``WeightsError``."""
    head = _in_file(card, path).get("head.weight")
    return len(card.image.classes) if head is None else int(head["shape"][1])


def _in_file(card: TeacherCard, path: Path) -> dict[str, Any]:
    """What the file of weights says of each tensor; nothing of a program. Only its header is read: building the network
    imports torchvision, which takes seconds."""
    if card.network in PROGRAMS:
        return {}
    with open_file(file_of(card, path)) as file:
        return safetensors_header(file)[0]


def byte_limit(network: nn.Module) -> int:
    """The most bytes that a file of this network's weights has a use for (in float64)."""
    return 8 * sum(tensor.numel() for tensor in network.state_dict().values()) + MAX_HEADER_BYTES
