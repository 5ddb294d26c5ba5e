"""A study as a YAML file: the fields of its kind's ``Request`` beside ``kind``. Some come with the lab.

A file may come from a stranger: it is read as plain data, without anchors (which can stand for gigabytes), and what it
says is held against the kind's model, as what a page or a command line says is.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from dfkd_core.errors import UNSAID, RequestError
from dfkd_core.study.contract import Kind, Request
from dfkd_core.study.folder import Study

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "studies"
MOST_BYTES = 1 << 20
HEAD = "# A study of DFKD Lab. Run it: python -m dfkd_core study run {name}\n"


class Filed(NamedTuple):
    """What a file says: the name of the kind, and what its ``Request`` is made from."""

    kind: str
    given: dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Plain data, each key once, and nothing that refers to something else."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "anchors are not read here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def shipped() -> dict[str, Path]:
    """The files that come with the lab, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def find_file(name: str) -> Path:
    """A path, or the name of a file that comes with the lab. Raises ``RequestError``."""
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if not path.is_file():
        says = f"is no file, and none that comes with the lab: {', '.join(known)}."
        raise RequestError("file", name, says)
    return path


def read_file(path: Path) -> Filed:
    """What the file says. Raises ``RequestError``."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RequestError("file", str(path), f"cannot be read ({error.strerror}).") from None
    return read(text, str(path))


def read(text: bytes | str, name: str) -> Filed:
    """What ``text`` says; ``name`` is what a file is called in messages. Raises ``RequestError``."""
    if len(text) > MOST_BYTES:
        raise RequestError("file", name, "should be a study of at most 1 MiB.")
    try:
        said = yaml.load(text, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise RequestError("file", name, f"is no YAML that can be read: {_where(error)}.") from None
    if not isinstance(said, dict):
        raise RequestError("file", name, "should hold a study: fields with values, such as `kind: grid`.")
    kind = said.pop("kind", "grid")
    return Filed(str(kind), {str(key): value for key, value in said.items() if value is not None})


def _where(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return place + " ".join(str(problem or error).split())


def request_of(kind: Kind[Any], given: dict[str, Any]) -> Any:
    """A checked request of what a file says. Raises ``RequestError`` with the first thing that is wrong."""
    fields = list(kind.Request.model_fields)
    for name in given:
        if name not in fields:
            raise RequestError(
                name, UNSAID, f"is no field of a {kind.name} study; these are: kind, {', '.join(fields)}."
            )
    for name in (name for name, field in kind.Request.model_fields.items() if field.is_required()):
        if name not in given:
            raise RequestError(name, UNSAID, f"is missing; a {kind.name} study needs it.")
    return kind.Request.build(given)


def write(kind: str, request: Request, name: str = "FILE.yaml") -> str:
    """The file of a request: what it does not say is as usual."""
    said = {"kind": kind, **_plain(request)}
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)
    return HEAD.format(name=name) + text


def text_of(study: Study, kind: Kind[Any]) -> str:
    """The file that makes a study like this one. Raises ``RequestError`` where it was not kept what it was made of."""
    if not study.asked and kind.Request.model_fields:
        raise RequestError("study", study.id, "was begun before studies kept what they were made from.")
    return write(kind.name, request_of(kind, study.asked), f"{study.id}.yaml")


def _plain(request: BaseModel) -> dict[str, Any]:
    said: dict[str, Any] = request.model_dump(mode="json", exclude_defaults=True)
    return said
