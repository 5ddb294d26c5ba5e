"""Which of our networks a file holds: told from names and shapes, before a number of it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, product

import torch

from dfkd_core.errors import RequestError
from dfkd_core.images import ImageSpec
from dfkd_core.networks.classifiers import CLASSIFIERS, build_classifier
from dfkd_core.networks.weights import WeightsError
from dfkd_core.teachers import from_timm
from dfkd_core.teachers.containers import Held, Parts
from dfkd_core.teachers.described import described, residual
from dfkd_core.teachers.styles import STYLES, Style

COUNTERS = ("total_ops", "total_params")  # of a profiler, in every layer
TRACKED = "num_batches_tracked"  # of BatchNorm, which nothing here reads
AVERAGE = re.compile(r"ema|averag|swa", re.IGNORECASE)
MOST_PREFIXES, MOST_CHANNELS, MOST_CLASSES = 64, 4, 10_000
FIRST = ("stages.stem.0.weight", "stages.conv1.0.weight", "stages.stage1.0.weight")  # what sees the image


@dataclass(frozen=True)
class Found:
    """A network of ours in a file. ``networks``: its name, and after it the variants that its weights fit as well;
    ``tensors`` by our names; ``size``: of the images that it takes, where that is told by its shapes; ``mean`` and
    ``std`` if it normalises them itself."""

    part: str
    style: Style
    networks: tuple[str, ...]
    tensors: Mapping[str, Held]
    size: int | None = None
    mean: Held | None = None
    std: Held | None = None

    @property
    def channels(self) -> int:
        """Of its images."""
        return _first(self.tensors).shape[1]

    @property
    def stem(self) -> int:
        """Side of its first kernel."""
        return _first(self.tensors).shape[-1]

    @property
    def classes(self) -> int:
        """How many it tells apart."""
        return self.tensors["head.weight"].shape[0]


@dataclass(frozen=True)
class _Candidate:
    """A place in a file where first and last layer of a style are. ``mapped``: by our names; ``unknown``: names that
    the style does not have."""

    part: str
    prefix: str
    style: Style
    mapped: Mapping[str, Held]
    unknown: tuple[str, ...]

    @property
    def where(self) -> str:
        return ".".join(filter(None, (self.part, self.prefix.rstrip("."))))


def recognise(parts: Parts, size: int, network: str = "", part: str = "") -> tuple[Found, tuple[str, ...]]:
    """The network in the ``parts`` of a file, and the other places where it has one.

    ``size``: side of the images, if a network's shapes leave it open; ``network``: take no other; ``part``: take what
    lies below it. Raises ``WeightsError`` with what the file holds instead.
    """
    if not parts:
        raise WeightsError("it holds no tensors by name: save a state_dict, torch.save(network.state_dict(), FILE)")
    found_places = _candidates(parts, _styles(network))
    candidates = [one for one in found_places if not part or f"{one.where}.".startswith(f"{part}.")]
    fitting = [found for one in candidates if (found := _fitted(one, candidates, parts[one.part], size))]
    asked = [found for found in fitting if not network or network in found.networks]
    if not asked:
        raise WeightsError(_refusal(parts, candidates, fitting, network, part))
    first, *more = _distinct(asked)
    if any(not AVERAGE.search(found.part) for found in more):
        places = ", ".join(found.part or "its root" for found in (first, *more))
        raise WeightsError(f"it holds several networks, in {places}: say which to take, --part {more[0].part}")
    if network:
        first = replace(first, networks=(network, *(name for name in first.networks if name != network)))
    return first, tuple(found.part for found in more)


def _distinct(found: list[Found]) -> list[Found]:
    """Without those that are another's very numbers; averages of weights last."""
    distinct: list[Found] = []
    for one in sorted(found, key=lambda one: AVERAGE.search(one.part) is not None):
        if not any(_same(one, other) for other in distinct):
            distinct.append(one)
    return distinct


def _same(one: Found, other: Found) -> bool:
    if one.tensors.keys() != other.tensors.keys():
        return False
    return all(torch.equal(held.read(), other.tensors[name].read()) for name, held in one.tensors.items())


# --- by names --------------------------------------------------------------------------------------------------


def _styles(network: str) -> tuple[Style, ...]:
    """Those that a file is looked through for: all, or that of the network of timm that was asked for."""
    return (from_timm.style(network),) if network.startswith(from_timm.PREFIX) else STYLES


def _candidates(parts: Parts, styles: tuple[Style, ...]) -> Iterator[_Candidate]:
    """Every place where first and last layer of a style are, in the style of each family that knows most of the names
    there; families that know fewer than another are left out."""
    for part, tensors in parts.items():
        places: dict[str, list[_Candidate]] = {}
        for style in styles:
            heads = [f"{layer}.weight" for layer, ours in style.layers.items() if ours == "head"]
            prefixes = (one for one in style.prefixes(tensors) if any(one + head in tensors for head in heads))
            for prefix in islice(prefixes, MOST_PREFIXES):
                places.setdefault(prefix, []).append(_mapped(part, prefix, style, tensors))
        for same_place in places.values():
            least = min(len(candidate.unknown) for candidate in same_place)
            families: dict[str, _Candidate] = {}
            for candidate in same_place:
                if len(candidate.unknown) == least:
                    families.setdefault(candidate.style.family, candidate)
            yield from families.values()


def _mapped(part: str, prefix: str, style: Style, tensors: Mapping[str, Held]) -> _Candidate:
    mapped, unknown = dict[str, Held](), []
    for name, held in tensors.items():
        if not name.startswith(prefix) or name.endswith(COUNTERS):
            continue
        ours = style.ours(name.removeprefix(prefix))
        if ours is not None and ours not in mapped:
            mapped[ours] = held
        else:
            unknown.append(name)
    return _Candidate(part, prefix, style, mapped, tuple(unknown))


# --- by shapes -------------------------------------------------------------------------------------------------


def _fitted(
    candidate: _Candidate, candidates: list[_Candidate], tensors: Mapping[str, Held], size: int
) -> Found | None:
    """The network of ours that a candidate is, with every tensor in its place; None if it is none."""
    if _oddity(candidate) or _strangers(candidate, candidates, tensors):
        return None
    normaliser = _normaliser(candidate, tensors)
    for side in dict.fromkeys((size, *_sizes(candidate.mapped))):
        for base in _bases(candidate):
            networks = _variants(base, candidate)
            tensors_of_ours = _placed(networks[0], candidate.mapped, side)
            if tensors_of_ours is not None:
                told = side if _is_lenet(base) else None
                mean, std = (next((normaliser[n] for n in normaliser if kind(n)), None) for kind in (_is_mean, _is_std))
                return Found(candidate.where, candidate.style, networks, tensors_of_ours, told, mean, std)
    return None


def _oddity(candidate: _Candidate) -> str:
    """What no classifier of images here has in its first or its last layer; empty where both are as they should be."""
    first, head = _first(candidate.mapped).shape, candidate.mapped["head.weight"].shape
    if len(first) != 4 or len(head) != 2:
        return "its first layer should be a convolution, and its last one linear"
    if not 1 <= first[1] <= MOST_CHANNELS or not 1 <= head[0] <= MOST_CLASSES:
        most = f"at most {MOST_CHANNELS} and {MOST_CLASSES:,}"
        return f"it takes {first[1]} channels and tells {head[0]} classes apart, which should be {most}"
    return ""


def _strangers(candidate: _Candidate, candidates: list[_Candidate], tensors: Mapping[str, Held]) -> list[str]:
    """Names beside the known ones that may be part of what the network computes: another whole network is not, nor is
    what normalises the images."""
    prefixes = {one.prefix for one in candidates if one.part == candidate.part} - {candidate.prefix}
    beside = tuple(prefix for prefix in prefixes if prefix.startswith(candidate.prefix))
    normaliser = _normaliser(candidate, tensors)
    return [name for name in candidate.unknown if not name.startswith(beside) and name not in normaliser]


def _bases(candidate: _Candidate) -> list[str]:
    """Names of the networks that a style's layers may make."""
    family = candidate.style.family
    if family == from_timm.PREFIX:
        return [candidate.style.name]
    return [name for name, known in CLASSIFIERS.items() if known.family == family]


def _is_lenet(network: str) -> bool:
    return network.startswith("lenet")


def _variants(base: str, candidate: _Candidate) -> tuple[str, ...]:
    """``base`` with the options that the shapes show, the usual one of those that they leave open first."""
    if base.startswith(from_timm.PREFIX):
        return (base,)
    known = CLASSIFIERS[base]
    if known.family == "ResNet":
        return tuple(base + more for more in _of_resnet(candidate, "option-a" in known.options))
    if known.family == "VGG":
        return tuple(base + more for more in _of_vgg(candidate))
    return (base + "+3x3" if "3x3" in known.options and _first(candidate.mapped).shape[-1] == 3 else base,)


def _of_resnet(candidate: _Candidate, has_option_a: bool) -> list[str]:
    stem, style = _first(candidate.mapped), candidate.style
    stems = ["", "+maxpool"] if style.may_pool and any("stage4" in name for name in candidate.mapped) else [""]
    if stem.shape[-1] == 7:
        stems = ["+7x7+maxpool", "+7x7"]
    shortcuts = [""]
    if has_option_a and not any("downsample" in name for name in candidate.mapped):
        shortcuts = sorted(["+option-a", "+option-a-behind"], reverse=style.behind)
    return [stem + shortcut for shortcut, stem in product(shortcuts, stems)]


def _of_vgg(candidate: _Candidate) -> list[str]:
    """How wide its hidden layers are, and of how many cells, shapes show; without them, not whether it always pools."""
    hidden = candidate.mapped.get("hidden.0.weight")
    if hidden is None or len(hidden.shape) != 2:
        return sorted(["", "+five-pools"], reverse=candidate.style.five_pools)
    units, inputs = hidden.shape
    return [f"+five-pools+hidden-{4096 if units > 512 else 512}" + "+grid-7" * (inputs > 512)]


def _placed(network: str, mapped: Mapping[str, Held], size: int) -> dict[str, Held] | None:
    """``mapped`` in the shapes that ``network`` has; None unless names and shapes are exactly its own."""
    channels, classes = _first(mapped).shape[1], mapped["head.weight"].shape[0]
    try:
        own = _shapes(network, channels, size if _is_lenet(network) else 32, classes)
    except RequestError:  # too small for a LeNet-5
        return None
    if mapped.keys() - own.keys() or any(not name.endswith(TRACKED) for name in own.keys() - mapped.keys()):
        return None
    placed = {name: held.viewed(own[name]) for name, held in mapped.items()}
    return placed if all(held.shape == own[name] for name, held in placed.items()) else None


@lru_cache(maxsize=128)
def _shapes(network: str, channels: int, size: int, classes: int) -> dict[str, tuple[int, ...]]:
    image = ImageSpec(channels, size, (0.5,) * channels, (0.5,) * channels, tuple(map(str, range(classes))))
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_classifier(network, image).state_dict().items()}


def _sizes(mapped: Mapping[str, Held]) -> list[int]:
    """Sides of the images that a LeNet-5 of these shapes takes: its last kernel covers what is left of them."""
    last, first = mapped.get("stages.conv3.0.weight"), _first(mapped)
    if last is None or len(last.shape) < 2 or not first.shape:
        return []
    before = mapped["stages.conv2.0.weight"].shape[0] if "stages.conv2.0.weight" in mapped else 1
    side = last.shape[-1] if len(last.shape) == 4 else math.isqrt(last.shape[1] // max(1, before))
    return [4 * side + 12 if first.shape[-1] == 5 else 4 * side] if side <= 64 else []


def _first(tensors: Mapping[str, Held]) -> Held:
    """The weights that see the image: those of timm's networks are the first with a kernel."""
    known = next((tensors[name] for name in FIRST if name in tensors), None)
    return known or next((held for held in tensors.values() if len(held.shape) == 4), next(iter(tensors.values())))


# --- normalisation inside --------------------------------------------------------------------------------------


def _normaliser(candidate: _Candidate, tensors: Mapping[str, Held]) -> dict[str, Held]:
    """Buffers of mean and std that stand in or around the network, one number a channel."""
    channels = _first(candidate.mapped).shape[1:2]
    known = set(candidate.mapped.values())
    return {
        name: held
        for name, held in tensors.items()
        if (_is_mean(name) or _is_std(name)) and held not in known and (math.prod(held.shape),) == channels
    }


def _is_mean(name: str) -> bool:
    return re.search(r"(^|[._])(mean|mu)$", name) is not None and not name.endswith("running_mean")


def _is_std(name: str) -> bool:
    return re.search(r"(^|[._])(std|sigma)$", name) is not None


# --- in words --------------------------------------------------------------------------------------------------


def _refusal(parts: Parts, candidates: list[_Candidate], fitting: list[Found], network: str, part: str) -> str:
    """Why nothing in a file can be taken: what it is instead, and the first names that do not fit."""
    if part and not candidates:
        return f"it has no network in {part!r}; what it holds lies in {', '.join(list(parts)[:5])}"
    if fitting:
        here = next(one for one in candidates if (one.where, one.style) == (fitting[0].part, fitting[0].style))
        names = ", or ".join(f"--network {name}" for name in fitting[0].networks)
        return f"the weights are not this network's: they are {_words(here, parts)}; take {names}"
    if not candidates:
        shapes = {name: held.shape for name, held in max(parts.values(), key=len).items()}
        names = ", ".join(list(shapes)[:3])
        return f"it holds {described(shapes) or 'a network that is not known'} ({names} …), none of the lab's networks"
    best = max(candidates, key=lambda one: len(one.mapped))
    return f"it holds {_words(best, parts)}, none of the lab's networks: {_misfit(best, candidates, parts, network)}"


def _words(candidate: _Candidate, parts: Parts) -> str:
    """What a candidate is called, though it may be none of ours."""
    shapes = {name: held.shape for name, held in parts[candidate.part].items()}
    told = residual(shapes, candidate.prefix, candidate.style) if candidate.style.is_residual else ""
    return told or described(shapes) or "a network that is not known"


def _misfit(candidate: _Candidate, candidates: list[_Candidate], parts: Parts, network: str) -> str:
    strangers = _strangers(candidate, candidates, parts[candidate.part])
    if strangers:
        return f"{', '.join(strangers[:3])} have no place in one"
    if odd := _oddity(candidate):
        return odd
    bases = _bases(candidate)
    asked = [base for base in bases if base == network.partition("+")[0]]
    found = [_differences(candidate, base) for base in asked or bases]
    return min(found, key=lambda differences: differences[0])[1]


def _differences(candidate: _Candidate, base: str) -> tuple[int, str]:
    """How far a candidate is from a network of ours: in how many names, and the first of them."""
    mapped = candidate.mapped
    channels, classes = _first(mapped).shape[1], mapped["head.weight"].shape[0]
    own = _shapes(_variants(base, candidate)[0], channels, next(iter(_sizes(mapped)), 32), classes)
    missing = [name for name in own if name not in mapped and not name.endswith(TRACKED)]
    beyond = [name for name in mapped if name not in own]
    unlike = [name for name in own if name in mapped and mapped[name].viewed(own[name]).shape != own[name]]
    if unlike:
        first = f"{unlike[0]} is {mapped[unlike[0]].shape}, should be {own[unlike[0]]}"
    else:
        first = f"they lack {missing[0]}" if missing else f"they have {', '.join(beyond[:1])} beyond it"
    return len(missing) + len(beyond) + len(unlike), f"of {base}, {first}"
