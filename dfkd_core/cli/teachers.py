"""``teachers`` and ``teacher``: which there are, training one again, and bringing one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dfkd_core.cli.flags import group
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card, user_folder

To = Annotated[Path | None, Parameter(help="Folder to write into (DFKD_TEACHERS).", show_default="teachers")]

teacher = group("teacher", "Train a teacher again from its card, or import one.")


def teachers() -> int:
    """List the teachers."""
    for task in ("classifier", "generative", "diffusion"):
        for name, card in available_teachers(None, task).items():
            kind = card.recipe.kind if card.recipe else "imported"
            print(f"{name:<28} {task:<10} {card.network:<10} {kind}{_quality(card)}")
    return 0


def _quality(card: TeacherCard) -> str:
    """What a card says of how good its network is."""
    if card.task == "diffusion":
        return f"; trained on {card.benchmark}"
    if card.task == "generative":
        return "; ELBO unknown" if card.elbo is None else f"; ELBO {card.elbo:.2f} nats"
    return "; accuracy unknown" if card.accuracy is None else f"; accuracy {card.accuracy:.2%}"


@teacher.command
def train(card: Annotated[str, Parameter(help="A teacher's name, or the path of a card.")], /, *, to: To = None) -> int:
    """Train a teacher again from its card."""
    from dfkd_core.teachers.make import train_teacher

    folder = to or user_folder()
    return _say(train_teacher(find_card(card)[0], folder), folder)


@teacher.command(name="import")
def bring(
    weights: Annotated[Path, Parameter(help="File of the weights.")],
    /,
    *,
    network: Annotated[str, Parameter(help="Name of the network, resnet34 for example.")],
    benchmark: Annotated[str, Parameter(help="Name of the benchmark, cifar10 for example.")],
    name: Annotated[str, Parameter(help="How to call the teacher.")],
    to: To = None,
) -> int:
    """Bring your own weights (.safetensors, or a .pt state dict)."""
    from dfkd_core.teachers.bring import import_weights

    folder = to or user_folder()
    return _say(import_weights(weights, network, benchmark, name, folder), folder)


def _say(card: TeacherCard, folder: Path) -> int:
    print(f"{card.name}: {card.network}{_quality(card)}, written to {folder}")
    return 0
