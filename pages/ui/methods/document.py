"""A method's page of the documentation, ``docs/methods/NAME.md``: there its formulas stand, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pages.ui import boot

FOLDER = boot.ROOT / "docs" / "methods"
RESULTS = re.compile(r"Beside the|Results")
PARTS = {"Knobs": "knobs", "Logged numbers": "numbers"}  # all other headings are of the method itself


@dataclass(frozen=True)
class Document:
    """Markdown as Streamlit takes it. ``lead``: what stands before the first heading. ``method``: objective, steps,
    deviations; ``results``: beside the paper's; ``numbers``: each that is logged, with its equation."""

    lead: str
    method: str
    results: str
    numbers: str


def read(name: str) -> Document | None:
    """The page of the method ``name``; None where nobody has written one."""
    path = FOLDER / f"{name}.md"
    return parse(path.read_text("utf-8")) if path.exists() else None


def parse(text: str) -> Document:
    """The document of a page as GitHub shows it."""
    lead, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    parts: dict[str, list[str]] = {"method": [], "results": [], "numbers": [], "knobs": []}
    for section in sections:
        heading, _, body = section.partition("\n")
        kind = "results" if RESULTS.match(heading) else PARTS.get(heading, "method")
        title = f"#### {heading}\n" if kind == "method" else ""  # the others have a place of their own
        parts[kind].append(title + body)
    _, _, begin = lead.partition("\n")  # behind the title
    begin = re.sub(
        r"^`dfkd_core/methods/[^\n]*\n|^```sh\n.*?^```\n", "", begin, flags=re.DOTALL | re.MULTILINE
    )  # the source says so
    return Document(_shown(begin), *(_shown("\n".join(parts[kind])) for kind in ("method", "results", "numbers")))


def _shown(text: str) -> str:
    """GitHub's fences of formulas become Streamlit's; links lead to pages of the lab, where it has one."""
    text = re.sub(r"^```math\n(.*?)^```", r"$$\n\1$$", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)  # pictures of the lab
    text = re.sub(r"\]\(([\w-]+)\.md(?:#[\w-]*)?\)", rf"]({boot.base_path()}/methods?method=\1)", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|/)[^)]*\)", r"\1", text).strip()
