"""Whether a brought network does what it is said to do: measured on labelled images, told in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dfkd_core.data.labelled import LabelledImages, evenly_by_class
from dfkd_core.images import ImageSpec
from dfkd_core.losses.bn_statistics import moments
from dfkd_core.networks.classifiers import Classifier, evaluating, parameter_count
from dfkd_core.teachers.taken import usual

LARGE = 1_000_000  # parameters of a network that is tried with fewer images
FEW, MANY = 200, 400  # images that normalisations and variants are tried with
CLEARLY = 0.005  # of accuracy, by which another normalisation should be better to be named
MUCH = 0.05  # by which another variant should be, measured on fewer images
CHANCE = 3  # so many more images that are right say nothing, whatever share of a small folder they are
NAMED = 3  # at most, of normalisations that are as good
NEAR_CHANCE = 0.1  # share of the way from chance to 1
CONSTANT = 0.9  # share of the images that get one answer
FAR, WIDE = 0.3, 1.0  # of BatchNorm's means from the images', in standard deviations; of log variances. Right: 0.1, 0.3


@dataclass(frozen=True)
class Examined:
    """Which variant of the network it is, with which normalisation; how good, and what is doubtful."""

    network: str
    image: ImageSpec
    accuracy: float | None
    doubts: tuple[str, ...]


def examine(
    networks: Mapping[str, Classifier], data: LabelledImages, image: ImageSpec, settled: bool, free: bool
) -> Examined:
    """Measure ``networks``, variants of one that its weights fit equally, the most usual first.

    ``settled``: the first one was asked for; ``free``: no normalisation was, so that of those as good as the best the
    likeliest is taken, ``image``'s before the usual ones. What else would be better, or as good, is a doubt.
    """
    name, network = next(iter(networks.items()))
    sample = _part(data, FEW if parameter_count(network) > LARGE else MANY)
    images = [image, *(replace(image, mean=mean, std=std) for mean, std in usual(image.channels, image.size))]
    doubts = []
    if len(networks) > 1:
        scores = {one: _best(networks[one], sample, image, images)[1] for one in networks}
        best_network = max(scores, key=lambda one: scores[one])
        if not settled:
            name, network = best_network, networks[best_network]
        elif scores[best_network] > scores[name] + MUCH:
            doubts.append(f"as {best_network} it is right for {scores[best_network]:.1%}: --network {best_network}")
    few = {one: _accuracy(network, sample, one) for one in dict.fromkeys(images)}
    best = max(few, key=lambda one: few[one])
    by_chance = max(CLEARLY, CHANCE / len(sample))
    if free:  # so few images do not tell those apart that are close
        image = next(one for one in few if few[one] >= few[best] - max(MUCH, by_chance))
    answers = {one: _answers(network, data, one) for one in dict.fromkeys((image, best))}
    right = {one: _share_right(given, data) for one, given in answers.items()}
    clearly = right[best] > right[image] + max(CLEARLY, CHANCE / len(data))
    if free and clearly:
        del few[image]
        image = best
    doubts += _of_answers(answers[image], image, right[image])
    doubts += [*_of_statistics(network, image.from_bytes(sample.images[:FEW])), *of_weights(network)]
    if free:
        doubts += _of_guess(image, [one for one in few if few[one] >= few[image] - by_chance and one != image])
    elif clearly:
        doubts.append(f"with another normalisation it is right for {right[best]:.2%}: {_flags(best)}")
    return Examined(name, image, right[image], tuple(doubts))


def _best(
    network: Classifier, data: LabelledImages, image: ImageSpec, images: list[ImageSpec]
) -> tuple[ImageSpec, float]:
    """``image``, unless that is near chance: then the best of ``images``; and its accuracy."""
    accuracy = _accuracy(network, data, image)
    if accuracy >= _near_chance(image):
        return image, accuracy
    return max(((one, _accuracy(network, data, one)) for one in images), key=lambda pair: pair[1])


def _accuracy(network: Classifier, data: LabelledImages, image: ImageSpec) -> float:
    return _share_right(_answers(network, data, image), data)


def _share_right(answers: Tensor, data: LabelledImages) -> float:
    return (answers == data.labels).double().mean().item()


@torch.no_grad()
def _answers(network: Classifier, data: LabelledImages, image: ImageSpec) -> Tensor:
    """The class of each of ``data``, (N,); -1 where the answer is not a number."""
    found = []
    with evaluating(network):
        for images in data.images.split(64):  # channels-last and few at a time: twice as fast
            logits = network(image.from_bytes(images).contiguous(memory_format=torch.channels_last))
            found.append(logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1))
    return torch.cat(found)


def _part(data: LabelledImages, count: int) -> LabelledImages:
    chosen = evenly_by_class(data.labels, count)
    return LabelledImages(data.images[chosen], data.labels[chosen])


def _near_chance(image: ImageSpec) -> float:
    chance = 1 / len(image.classes)
    return chance + NEAR_CHANCE * (1 - chance)


def _of_answers(answers: Tensor, image: ImageSpec, accuracy: float) -> Iterator[str]:
    """What is doubtful in the ``answers`` to test images."""
    if lost := int((answers < 0).sum()):
        yield f"its answers to {lost} of {len(answers)} test images are not numbers (NaN or infinite)"
    counts = torch.bincount(answers.clamp_min(0), minlength=len(image.classes))
    share = counts.max().item() / len(answers)
    if share >= CONSTANT and not lost:
        yield f"it answers {image.classes[int(counts.argmax())]!r} to {share:.0%} of the test images"
    if accuracy < _near_chance(image):
        yield f"its accuracy, {accuracy:.2%}, is near chance, {1 / len(image.classes):.2%}"


def _of_statistics(network: Classifier, images: Tensor) -> Iterator[str]:
    """Whether its first BatchNorm remembers such ``images``, (B, C, H, W), normalised."""
    norm = next((part for part in network.modules() if isinstance(part, _BatchNorm)), None)
    if norm is None or norm.running_mean is None or norm.running_var is None:
        return
    seen: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.extend(moments(inputs[0])))
    with torch.no_grad(), evaluating(network):
        network(images)
    hook.remove()
    remembered = norm.running_var.clamp_min(norm.eps)
    apart = ((seen[0] - norm.running_mean).abs() / remembered.sqrt()).mean().item()
    wider = (seen[1].clamp_min(norm.eps) / remembered).log().abs().mean().item()
    if apart > FAR or wider > WIDE:
        yield (
            f"its BatchNorm remembers other images than the test images: their means are {apart:.1f} standard "
            f"deviations apart, their variances differ by a factor of {math.exp(wider):.1f}"
        )


def _of_guess(image: ImageSpec, alike: list[ImageSpec]) -> Iterator[str]:
    """That the normalisation of ``image`` was taken, though others do as well."""
    if alike:
        others = " or ".join(map(_flags, alike[:NAMED]))
        yield f"its normalisation is not said: {_flags(image)} is taken, {others} would be as good"


def _flags(image: ImageSpec) -> str:
    """Its normalisation, as ``teacher import`` takes it."""
    mean, std = (",".join(f"{value:g}" for value in values) for values in (image.mean, image.std))
    return f"--mean {mean} --std {std}"


def of_weights(network: nn.Module) -> Iterator[str]:
    """What is doubtful in the weights alone."""
    norms = {name: part for name, part in network.named_modules() if isinstance(part, _BatchNorm)}
    variances = {name: norm.running_var for name, norm in norms.items() if norm.running_var is not None}
    negative = [name for name, variance in variances.items() if (variance < 0).any()]
    if negative:
        yield f"{negative[0]} has negative variances, of which no square root can be taken"
    if variances and all((variance == 1).all() for variance in variances.values()):
        yield "its BatchNorm has not seen an image yet: all its variances are 1"
