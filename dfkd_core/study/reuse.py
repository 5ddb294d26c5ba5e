"""Runs that are done already: a study takes their results over instead of training the same again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from dfkd_core.errors import RequestError, StoreError
from dfkd_core.runs.spec import ELSEWHERE, RunSpec
from dfkd_core.store import EventReader, RunFolder, runs_in

Reuse = Literal["none", "same-code", "any-code"]
CHANGES = "+changes"  # at the end of a revision: two such need not be the same


def finished(runs: Path, specs: Sequence[RunSpec], reuse: str) -> list[str]:
    """For each of ``specs`` the id of a run below ``runs`` that is done and is the same; empty where none is.

    The same are: the specification (but where data lie, and which of several GPUs), the teacher, the test
    images, and, with ``same-code``, the revision. Runs whose knobs were changed while they went on are none of these,
    nor those with collected images or a diffusion model, which would have to be made again to be compared.
    """
    if reuse not in get_args(Reuse):
        raise RequestError("reuse", reuse, f"should be one of {', '.join(get_args(Reuse))}.")
    wanted = {identity(spec.model_dump(mode="json")): spec for spec in specs if _comparable(spec)}
    if reuse == "none" or not wanted:
        return [""] * len(specs)
    code = _code() if reuse == "same-code" else ""
    found, images = dict[str, str](), dict[tuple[str, str], str]()
    for folder in runs_in(runs):
        key = _identity_of(folder)
        if key in wanted and key not in found and _is_the_same(folder, wanted[key], code, images):
            found[key] = folder.id
    return [found.get(identity(spec.model_dump(mode="json")), "") for spec in specs]


def identity(spec: dict[str, Any]) -> str:
    """SHA-256 over what of a specification, JSON-ready, decides a run."""
    plain = {name: value for name, value in spec.items() if name not in ELSEWHERE}
    plain["device"] = str(plain.get("device", "")).partition(":")[0]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _comparable(spec: RunSpec) -> bool:
    return not (spec.collected or spec.diffusion)


def _identity_of(folder: RunFolder) -> str:
    """Empty where it is not done, or cannot be read."""
    try:
        return identity(folder.spec()) if folder.status().state == "done" else ""
    except (OSError, StoreError):
        return ""


def _is_the_same(folder: RunFolder, spec: RunSpec, code: str, images: dict[tuple[str, str], str]) -> bool:
    from dfkd_core.teachers.cards import find_card

    environments = [environment for environment in map(folder.environment_of, folder.attempts()) if environment]
    if code.endswith(CHANGES) or not environments:
        return False
    wanted = {"teacher": find_card(spec.teacher)[0].identity, "data": _images(spec, images)}
    for environment in environments:
        held = environment.get("depends_on") or {}
        if (code and environment.get("code") != code) or environment.get("accepted"):
            return False
        if {name: held.get(name) for name in wanted} != wanted:
            return False
    try:
        return not any(row["type"] == "applied" and row["command"] == "set" for row in EventReader(folder).read())
    except (OSError, StoreError):
        return False


def _images(spec: RunSpec, known: dict[tuple[str, str], str]) -> str:
    """Fingerprint of the test images; those that are ``known`` are not read again."""
    from dfkd_core.data.catalogue import data_in, find_benchmark
    from dfkd_core.teachers.cards import find_card

    key = (spec.benchmark, spec.data)
    if key not in known:
        with data_in(spec.data):
            benchmark = find_benchmark(spec.benchmark, find_card(spec.teacher)[0].image.spec())
            known[key] = benchmark.load(train=False).fingerprint() if benchmark.is_there() else "none"
    return known[key]


def _code() -> str:
    from dfkd_core.provenance import code_version  # imports torch

    return code_version()
