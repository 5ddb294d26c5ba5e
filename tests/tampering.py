"""Folders of runs as no lab leaves them: flipped bits, and two hundred kinds of tampering, each from its number."""

from __future__ import annotations

import json
import os
import random
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import execute, new_run

from dfkd_core.analysis import layout, student, two_sample
from dfkd_core.analysis.jobs import Job
from dfkd_core.analysis.recorded import Recorded
from dfkd_core.analysis.tags import Tags
from dfkd_core.analysis.timeline import Timeline
from dfkd_core.cli.main import main
from dfkd_core.events import Event, Step
from dfkd_core.store import Place, RunFolder
from dfkd_core.store.sealed import unsealed
from dfkd_core.study import Study

ODD: tuple[Any, ...] = (-1, "x", "", None, [], {}, [1], {"a": 1}, 1e300, 2**70, True, -(2**63), "../../outside", 0.5)
SPECIAL = (b"NaN", b"Infinity", b"-Infinity", b"1" + b"0" * 500, b"[" * 5000 + b"]" * 5000, b'"\\ud800"', b"1e999")


def run_of_each_file(runs: Path) -> RunFolder:
    """It collects, was measured and tagged, was changed live, and was stopped one step before its end; a student and a
    manifest are there too, as where a process dies in its last moment."""
    folder = new_run(runs, method="hidfd", checkpoint_seconds=0.0, phases_every=2)

    def steer(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            folder.command("set", student_lr=0.02)
        if isinstance(event, Step) and event.step == 5:
            folder.command("stop")

    assert execute(folder, steer).state == "stopped"
    with pytest.MonkeyPatch.context() as briefly:  # what it found is not looked at
        briefly.setattr(two_sample, "PERMUTATIONS", 1)
        briefly.setattr(two_sample, "SPLITS", 1)
        for command in (["measure", "--samples", "60"], ["distance"]):
            assert main([command[0], folder.id, *command[1:], "--runs", str(runs)]) == 0
    Tags(folder).add("samples", 1, [0], "odd")
    recorded = Recorded(Timeline(folder))
    recorded.timeline.update()
    layout.pca(recorded)
    Job(folder, "measure").leases.take().close()
    folder.files.write(student.WEIGHTS, b"as it will be after the last step")
    folder.write_manifest()
    return folder


def content(files: Place, name: str) -> Any:
    """Of a JSON file, without its checksum."""
    return json.loads(unsealed(files.read(name)))


def edit(files: Place, name: str, change: Callable[[Any], Any]) -> None:
    """Another content of a JSON file, with a checksum that fits it: a stranger can do that as well."""
    value = content(files, name)
    files.write_json(name, change(value) or value)


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(data)


def copied(template: RunFolder, to: Path) -> RunFolder:
    shutil.copytree(template.path, to)
    return RunFolder(to)


def tampered(template: RunFolder, runs: Path, outside: Path, number: int) -> tuple[RunFolder, str]:
    """A copy of ``template`` with one to three things amiss, and what they are."""
    draw = random.Random(number)
    folder = copied(template, runs / f"20260101-000000-{number:06x}")
    names = list(folder.files.walk())
    texts = [name for name in names if name.endswith((".json", ".jsonl"))]
    said = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        kind = draw.choice(KINDS)
        name = draw.choice(texts if kind in (_field, _special) else names)
        if _is_still_there(folder, name):
            kind(folder, name, draw, outside)
            said.append(f"{kind.__name__} {name}")
    return folder, f"{number}: {', '.join(said)}"


def _is_still_there(folder: RunFolder, name: str) -> bool:
    """A file of its own, as what was done before has left it: none behind a link, which leads out of the folder."""
    path = folder.path / name
    return path.is_file() and path.resolve() == folder.path.resolve() / name


def tampered_study(template: Study, number: int) -> tuple[Study, str]:
    """A copy of ``template`` beside it with one or two fields of another kind, and which; the checksums fit."""
    draw = random.Random(number)
    study = Study(template.path.parent / f"20260202-000000-{number:06x}")
    shutil.copytree(template.path, study.path)
    said = []
    for _ in range(draw.choice((1, 1, 2))):
        part, odd = draw.choice(PARTS_OF_A_STUDY), draw.choice((*ODD, "a" * 5000, [None], [[1]]))
        name = "study.json" if part != "record" else f"cells/{draw.choice(study.files.names('cells'))}"

        def change(stored: dict[str, Any], part: str = part, odd: Any = odd) -> None:
            deep = {"record": [stored.get("figures")], "labels": [one.get("labels") for one in stored.get("cells", ())]}
            inner = draw.choice(deep.get(part) or [stored.get(part)])
            if isinstance(inner, dict) and draw.random() < 0.8:
                _put(inner, draw, odd)
            else:
                _put(stored, draw, odd)

        with suppress(AttributeError, TypeError):  # something else is amiss there already
            edit(study.files, name, change)
            said.append(f"{name} {part} {odd!r:.30}")
    return study, f"{number}: {', '.join(said)}"


PARTS_OF_A_STUDY = ("settings", "labels", "asked", "record", "record")


# --- what can be amiss -----------------------------------------------------------------------------------------


def _bits(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    path = folder.path / name
    for _ in range(draw.choice((1, 1, 50))):
        if path.stat().st_size:
            flip(path, draw.randrange(8 * path.stat().st_size))


def _cut(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    path = folder.path / name
    os.truncate(path, draw.randrange(path.stat().st_size + 1))


def _garbage(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    (folder.path / name).write_bytes(draw.randbytes(draw.choice((0, 1, 300, 70_000))))


def _missing(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    parent = (folder.path / name).parent
    if draw.random() < 0.3 and parent != folder.path:
        shutil.rmtree(parent)
    else:
        (folder.path / name).unlink()


def _link(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    path = folder.path / name
    if draw.random() < 0.4 and path.parent != folder.path:
        path = path.parent
    there = outside / f"{folder.id}-{path.relative_to(folder.path)}".replace("/", "-")
    shutil.move(path, there)
    path.symlink_to(draw.choice((there, outside, Path("/dev/zero"), path)))


def _other_kind(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    path = folder.path / name
    path.unlink()
    draw.choice((os.mkfifo, os.mkdir))(path)


def _other_file(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    """Whole in itself, but of another step, or another kind."""
    alike = [one for one in folder.files.walk() if one.endswith(Path(name).suffix)]
    shutil.copyfile(folder.path / draw.choice(alike), folder.path / "beside")
    os.replace(folder.path / "beside", folder.path / name)


def _field(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    """One field has another type, in one of the texts, with a checksum that fits."""
    _change_text(folder, name, draw, lambda value: _put(value, draw, draw.choice(ODD)))


def _special(folder: RunFolder, name: str, draw: random.Random, outside: Path) -> None:
    """The same with what JSON from elsewhere may hold."""
    mark, raw = "odd value", draw.choice(SPECIAL)
    _change_text(
        folder, name, draw, lambda value: _put(value, draw, mark), lambda text: text.replace(b'"odd value"', raw)
    )


def _change_text(
    folder: RunFolder,
    name: str,
    draw: random.Random,
    change: Callable[[Any], None],
    after: Callable[[bytes], bytes] = lambda text: text,
) -> None:
    lines, one = folder.files.read(name), name.endswith(".jsonl")
    parts = lines.splitlines() if one else [lines]
    places = [place for place, part in enumerate(parts) if part.startswith(b"{")]
    if not places:
        return
    place = draw.choice(places)
    try:
        value = json.loads(unsealed(parts[place]))
    except (ValueError, RecursionError):  # something else is amiss there already
        return
    change(value)
    parts[place] = _resealed(after(json.dumps({**value, "crc32": "00000000"}).encode()))
    folder.files.write(name, b"\n".join(parts) + b"\n" * one)


def _resealed(text: bytes) -> bytes:
    before, mark, _ = text.rpartition(b'"crc32": "')
    return b'%s%s%08x"}' % (before, mark, zlib.crc32(before))


def _put(value: Any, draw: random.Random, odd: Any) -> None:
    """Put ``odd`` in the place of something in ``value``, at any depth; or take that away, or add to it."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = draw.choice(keys)
        deeper = isinstance(value[key], dict | list) and value[key]
        if not deeper or draw.random() < 0.3:
            break
        value = value[key]
    if draw.random() < 0.15:
        del value[key]
    else:
        value[key] = odd


KINDS: tuple[Callable[..., None], ...] = (
    *(_bits, _cut, _garbage, _missing, _link, _other_kind, _other_file),
    *(_field, _field, _field, _special, _special),
)
