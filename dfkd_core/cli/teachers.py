"""``teachers`` and ``teacher``: which there are, training one again, and bringing one's own."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dfkd_core.analysis.jobs import report
from dfkd_core.cli.flags import Json, group, tell
from dfkd_core.teachers import making, measured
from dfkd_core.teachers.cards import TeacherCard, available_teachers, find_card, user_folder
from dfkd_core.teachers.making import Trained
from dfkd_core.teachers.taken import Taken

To = Annotated[Path | None, Parameter(help="Folder to write into (DFKD_TEACHERS).", show_default="teachers")]
OfImages = partial(Parameter, allow_leading_hyphen=True, show_default=False)

teacher = group("teacher", "Train a teacher from its card, import one, or measure one.")


def teachers(*, as_json: Json = False) -> int:
    """List the teachers."""
    for task in ("classifier", "generative", "diffusion"):
        for name, card in available_teachers(None, task).items():
            kind = card.recipe.kind if card.recipe else "imported"
            line = f"{name:<28} {task:<10} {card.network:<10} {kind}{_quality(card)}"
            tell(line, as_json, **card.model_dump(mode="json"))
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
    from tqdm import tqdm

    from dfkd_core.teachers.make import train_teacher

    folder, asked = to or user_folder(), find_card(card)[0]
    so_far = Trained(epochs=asked.recipe.epochs if asked.recipe else 1)
    with tqdm(total=so_far.epochs, unit="epoch", dynamic_ncols=True, leave=False, file=sys.stderr) as bar:

        def watch(epoch: int, of: int, loss: float, accuracy: float | None) -> None:
            so_far.loss.append(loss)
            so_far.accuracy.append(accuracy)
            making.keep(asked.name, folder, so_far)
            said = "" if accuracy is None else f", accuracy {accuracy:.2%}"
            report(epoch / of, f"Epoch {epoch} of {of}: loss {loss:.4g}{said}")
            bar.set_postfix_str(f"loss {loss:.4g}{said}")
            bar.update()

        made = train_teacher(asked, folder, watch)
    if made.task == "classifier":
        measured.keep(made, calibration_of(folder / f"{made.name}.json"), folder)
    _say(made, folder)
    _warn(made)
    return 0


@teacher.command
def measure(name: Annotated[str, Parameter(help="A teacher's name.")], /, *, as_json: Json = False) -> int:
    """Measure a classifier on its test images: calibration, and accuracy by class."""
    card = find_card(name)[0]
    found = calibration_of(name)
    measured.keep(card, found)
    if as_json:
        print(found.model_dump_json())
        return 0
    print(
        f"{name}: {found.images:,} test images, accuracy {found.accuracy:.2%}, confidence {found.confidence:.2%}, ",
        end="",
    )
    print(f"ECE {found.ece:.2%}, {found.nll:.3f} nats an image")
    width = max(map(len, card.image.classes))
    for title, share in zip(card.image.classes, found.per_class(), strict=True):
        print(f"{title:<{width}} {'–' if share is None else f'{share:.2%}':>8}")
    return 0


def calibration_of(name: str | Path) -> measured.Measured:
    """With a word to whoever started it as a job."""
    from dfkd_core.teachers import calibration

    return calibration.measure(str(name), lambda share: report(share, "Measuring on the test images"))


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
    trust: Annotated[
        bool, Parameter(negative="", help="Open a program of torch.export, which could do anything.")
    ] = False,
    to: To = None,
) -> int:
    """Bring your own weights, as public repositories save and name them; or a program, ONNX or torch.export."""
    from dfkd_core.teachers.bring import import_weights

    folder, taken = to or user_folder(), Taken.said(mean, std, size, channels, classes)
    card = import_weights(weights, network, benchmark, name, folder, taken=taken, part=part, trusted=trust)
    _say(card, folder)
    image = card.image
    print(f"from {card.origin}; {image.channels} × {image.size} × {image.size}, mean {_list(image.mean)}, ", end="")
    print(f"std {_list(image.std)}, {len(image.classes)} classes")
    _warn(card)
    return 0


def _list(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _warn(card: TeacherCard) -> None:
    for doubt in card.doubts:
        print(f"warning: {doubt}")


def _say(card: TeacherCard, folder: Path) -> None:
    print(f"{card.name}: {card.network}{_quality(card)}, written to {folder}")
