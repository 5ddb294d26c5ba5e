"""``teachers`` and ``teacher``: which there are, training one again, and bringing one's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dfkd_core.cli.flags import group
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card, user_folder
from dfkd_core.teachers.taken import Taken

To = Annotated[Path | None, Parameter(help="Folder to write into (DFKD_TEACHERS).", show_default="teachers")]
OfImages = partial(Parameter, allow_leading_hyphen=True, show_default=False)

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
    weights: Annotated[Path, Parameter(help="File of the weights, or a folder with config.json and weights.")],
    /,
    *,
    benchmark: Annotated[str, Parameter(help="Name of the benchmark, cifar10 for example, or folder:PATH.")],
    name: Annotated[str, Parameter(help="How to call the teacher.")],
    network: Annotated[str, Parameter(help="Name of the network, resnet34 for example; told from the weights.")] = "",
    mean: Annotated[str, OfImages(help="Of its images, per channel, of pixels from 0 to 1: 0.49,0.48,0.45.")] = "",
    std: Annotated[str, OfImages(help="The same of their standard deviation.")] = "",
    size: Annotated[str, OfImages(help="Side of its images in pixels.")] = "",
    channels: Annotated[str, OfImages(help="Channels of its images.")] = "",
    classes: Annotated[str, OfImages(help="Names of its classes between commas, or a folder with one each.")] = "",
    part: Annotated[str, Parameter(help="Which of several networks in the file, model_ema for example.")] = "",
    to: To = None,
) -> int:
    """Bring your own weights, as public repositories save and name them."""
    from dfkd_core.teachers.bring import import_weights

    folder, taken = to or user_folder(), Taken.said(mean, std, size, channels, classes)
    card = import_weights(weights, network, benchmark, name, folder, taken=taken, part=part)
    _say(card, folder)
    image = card.image
    print(f"from {card.origin}; {image.channels} × {image.size} × {image.size}, mean {_list(image.mean)}, ", end="")
    print(f"std {_list(image.std)}, {len(image.classes)} classes")
    for doubt in card.doubts:
        print(f"warning: {doubt}")
    return 0


def _list(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _say(card: TeacherCard, folder: Path) -> int:
    print(f"{card.name}: {card.network}{_quality(card)}, written to {folder}")
    return 0
