"""Which class a folder of images belongs to: by its name where the names are known, by its number, or by its place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SHOWN = 12  # folders that a warning names
PLACEHOLDER = re.compile(r"class \d+")


class MismatchError(ValueError):
    """The folders are not those of the classes; the sentence says which are."""


@dataclass(frozen=True)
class Match:
    """``labels``: the class of each folder; ``warning``: what a person should look at, empty where nothing is
    doubtful."""

    labels: dict[str, int]
    warning: str = ""


def match(folders: Sequence[str], classes: Sequence[str]) -> Match:
    """Each of ``folders`` with the index of its class.

    By name, where all are names of ``classes``; case, dashes and a number in front do not matter. By number, where they
    are 0 to K − 1 or 1 to K. Else in alphabetical order, with a warning. Raises ``MismatchError`` where there are more
    or fewer, or only some of them bear names of classes.
    """
    named, numbered = _by_name(folders, classes), _by_number(folders)
    if len(folders) != len(classes):
        raise MismatchError(_miscounted(folders, classes, named))
    if len(named) == len(folders):
        return Match(named)
    if numbered:
        first = min(numbered.values())
        labels = {folder: number - first for folder, number in numbered.items()}
        said = "Class folders are numbered from 1" if first else ""
        return Match(labels, _mapping(said, labels, classes) if said else "")
    if named:
        strange = [folder for folder in folders if folder not in named]
        missing = [name for label, name in enumerate(classes) if label not in named.values()]
        says = f"its subfolders {_list(strange)} are no classes of the teacher's, which also has {_list(missing)}"
        raise MismatchError(f"should have one subfolder a class; {says}. Name them so, or by numbers from 0.")
    ordered = sorted(folders, key=lambda name: (name.casefold(), name))
    labels = {folder: label for label, folder in enumerate(ordered)}
    said = "Class folders were matched in alphabetical order, since neither names nor numbers tell their classes"
    if ordered != sorted(folders):
        said += " (torchvision's ImageFolder would put capital letters first)"
    return Match(labels, _mapping(said, labels, classes))


def are_placeholders(classes: Sequence[str]) -> bool:
    """Whether the names say nothing: "class 0", "class 1" …"""
    return all(PLACEHOLDER.fullmatch(name) for name in classes)


# --- by name -----------------------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    """Without what people write in different ways."""
    return re.sub(r"[\s_\-/]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()


def _unnumbered(name: str) -> str:
    """Also without a number in front: 03.dog, 3_dog."""
    return re.sub(r"^\d+[\s.,)]+(?=\S)", "", _plain(name))


KEYS: tuple[Callable[[str], str], ...] = (str, _plain, _unnumbered)


def _by_name(folders: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """The folders that have the name of a class, with its index, by the strictest of ``KEYS`` that names the most."""
    found: dict[str, int] = {}
    for key in KEYS:
        known = {key(name): label for label, name in enumerate(classes)}
        named = {folder: known[key(folder)] for folder in folders if key(folder) in known}
        alike = len(known) < len(classes) or len(set(named.values())) < len(named)
        if not alike and len(named) > len(found):
            found = named
    return found


# --- by number ---------------------------------------------------------------------------------------------------


def _by_number(folders: Sequence[str]) -> dict[str, int]:
    """The first number of each name, or the last, where those are 0 to K − 1 or 1 to K; else nothing."""
    for place in (0, -1):
        numbers = [_number(folder, place) for folder in folders]
        known = {folder: number for folder, number in zip(folders, numbers, strict=True) if number is not None}
        if known and sorted(known.values()) in (list(range(len(folders))), list(range(1, len(folders) + 1))):
            return known
    return {}


def _number(name: str, place: int) -> int | None:
    if _plain(name) in NUMBER_WORDS:
        return NUMBER_WORDS.index(_plain(name))
    found = re.findall(r"[0-9]{1,9}", name)
    return int(found[place]) if found else None


# --- in words ----------------------------------------------------------------------------------------------------


def _mapping(said: str, labels: dict[str, int], classes: Sequence[str]) -> str:
    pairs = [f"{folder} is {classes[label]}" for folder, label in sorted(labels.items(), key=lambda pair: pair[1])]
    more = f" and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
    return f"{said}: {', '.join(pairs[:SHOWN])}{more}. Look whether that is right."


def _miscounted(folders: Sequence[str], classes: Sequence[str], named: dict[str, int]) -> str:
    said = f"should have {len(classes)} subfolders, one a class; it has {len(folders)}"
    strange = [folder for folder in folders if folder not in named]
    missing = [name for label, name in enumerate(classes) if label not in named.values()]
    if named and missing and not strange:
        said += f": there is none for {_list(missing)}"
    elif named and strange:
        said += f": {_list(strange)} should not be there"
    return said + "."


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:SHOWN]) + more
